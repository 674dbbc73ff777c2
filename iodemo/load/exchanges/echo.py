# -*- test-case-name: tests.test_load -*-
"""
Exchanges in which the answer is the request: echo and chat.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from iodemo.load.exchanges.exchange import Known, Turn


class Echo:
    """
    The server sends back the bytes of the request.

    A connection alternates between two random payloads, and, while they fit in
    memory, no two connections have the same one. So the answer to an earlier request,
    or to another connection's, is seen to be wrong.

    @cvar VERIFIED: bytes echoed before the measurement. A service that corrupts one
        byte in a million at random passes with a probability of e^-16.
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
        The sizes at which servers are likely to fail: one byte, the payload, its
        neighbours, the usual page and buffer sizes and their neighbours; then bulk.
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
    One member sends a line, and all members receive it, the speaker too.

    @cvar VERIFIED: bytes received by each member before the measurement.
    """

    VERIFIED = 4 << 20
    SECONDS = 0.2
    _SHORTEST = 17
    # Around 4096 bytes, the longest line that iodemo-chat accepts by default.
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
