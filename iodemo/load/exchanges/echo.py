# -*- test-case-name: tests.test_load -*-
"""
Exchanges in which bytes come back as they were sent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from iodemo.load.exchanges.exchange import Known, Turn


class Echo:
    """
    Bytes come back as they were sent.

    A connection alternates between two random payloads, and, while they fit in
    memory, no two connections share one: an answer that came from the request
    before, or from a neighbour, is a wrong answer.

    @cvar VERIFIED: bytes echoed before anything is timed. A service that spoils
        one byte in a million at random passes with a probability of e^-16.
    """

    VERIFIED = 16 << 20
    SECONDS = 0.05
    leftOut: frozenset[str] = frozenset()
    _LARGEST = 64 << 10
    _POOL = 64 << 20

    def __init__(self, payload: int) -> None:
        """
        @param payload: bytes of a request.
        """
        if payload < 1:
            raise ValueError("an echo needs a payload of at least one byte")
        self._payload = payload
        self._poolSize = max(2, self._POOL // payload)
        self._pool: list[Turn] = []
        self._drawn = 0

    def _draw(self) -> Turn:
        self._drawn += 1
        if len(self._pool) < self._poolSize:
            self._pool.append(self._turn(self._payload))
            return self._pool[-1]
        return self._pool[self._drawn % self._poolSize]

    def _turn(self, size: int) -> Turn:
        payload = random.randbytes(size)
        return Turn(payload, payload)

    def turns(self) -> tuple[Turn, Turn]:
        """See L{Exchange.turns}."""
        return self._draw(), self._draw()

    def verification(self) -> Iterator[Turn]:
        """
        Every size at which something changes hands inside a server: one byte,
        the payload, its neighbours, page and buffer sizes; then bulk.
        """
        edges = (1, 2, 3, 4095, 4096, 4097, 16384, 65535, 65536, 65537)
        sizes = {*edges, self._payload, self._payload + 1, max(1, self._payload - 1)}
        for size in sorted(sizes):
            yield self._turn(size)
        for _ in range(self.VERIFIED // self._LARGEST):
            yield self._turn(self._LARGEST)

    def answer(self, turn: Turn) -> Known:
        """See L{Exchange.answer}."""
        return Known(
            turn.request,
            "byte {offset:,} of {size:,} came back as 0x{got:02x}, was sent as "
            "0x{right:02x}",
            "more came back than was sent: {came:,} bytes, not {size:,}",
        )


class Chat(Echo):
    """
    A line is said, and all members of the room hear it, the one who said it too.

    @cvar VERIFIED: bytes heard by each member before anything is timed.
    """

    VERIFIED = 4 << 20
    SECONDS = 0.2
    _SHORTEST = 17
    # The longest lines that iodemo-chat takes as it comes.
    _EDGES = (4095, 4096, 4097)

    def __init__(self, payload: int) -> None:
        """
        @param payload: bytes of a line, with its end.
        """
        if payload < self._SHORTEST:
            raise ValueError(
                f"a line of chat needs a payload of {self._SHORTEST} bytes at least, "
                "so that no two are the same"
            )
        super().__init__(payload)

    def _turn(self, size: int) -> Turn:
        line = random.randbytes(size // 2).hex()[: size - 1].encode() + b"\n"
        return Turn(line, line)

    def verification(self) -> Iterator[Turn]:
        """
        The payload, its neighbours, and the longest lines; then bulk.
        """
        near = max(self._SHORTEST, self._payload - 1), self._payload + 1
        for size in (*near, *self._EDGES):
            yield self._turn(size)
        for _ in range(self.VERIFIED // max(self._EDGES)):
            yield self._turn(max(self._EDGES))
