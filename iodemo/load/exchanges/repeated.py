# -*- test-case-name: tests.test_load -*-
"""
Exchanges in which one request is repeated, and answered the same every time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from iodemo.load.exchanges.exchange import (
    Answer,
    Known,
    Turn,
    WrongAnswer,
    shown,
)


class Repeated:
    """
    The same request every time. What the right answer is nobody told us: the first one
    shows it.

    @cvar VERIFIED: bytes of answers received before anything is timed, unless
        that takes longer than L{SECONDS}.
    """

    VERIFIED = 16 << 20
    SECONDS = 0.5

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = 0

    def turns(self) -> tuple[Turn, Turn]:
        """See L{Exchange.turns}."""
        return Turn(self._request, b""), Turn(self._request, b"")

    def verification(self) -> Iterator[Turn]:
        """
        The request, again and again.
        """
        end = time.monotonic() + self.SECONDS
        while self._received < self.VERIFIED and time.monotonic() < end:
            yield Turn(self._request, b"")

    def _answered(self, size: int) -> None:
        """
        A right answer of so many bytes has come.
        """
        self._received += size


#: Says how long an answer is, from its first bytes and from how many of these are new
#: since the last time; L{None} while that is not known.
Ending = Callable[[bytearray, int], int | None]


def ofLength(length: int) -> Ending:
    """
    The rule of answers that are all of one length.

    @raise ValueError: if that is nothing.
    """
    if length < 1:
        raise ValueError("an answer has at least one byte")
    return lambda received, new: length


def endingWith(delimiter: bytes) -> Ending:
    """
    The rule of answers that end with something that is nowhere else in them.

    @raise ValueError: if that is nothing.
    """
    if not delimiter:
        raise ValueError("an answer ends with at least one byte")

    def ending(received: bytearray, new: int) -> int | None:
        searched = len(received) - new - len(delimiter) + 1
        place = received.find(delimiter, max(0, searched))
        return None if place < 0 else place + len(delimiter)

    return ending


class Verbatim(Repeated):
    """
    Any request that is answered with the same bytes every time.

    @cvar LONGEST: bytes after which an answer should have ended whose length is not
        known.
    """

    LONGEST = 16 << 20
    leftOut: frozenset[str] = frozenset()

    def __init__(self, request: bytes, ending: Ending) -> None:
        """
        @raise ValueError: if there is nothing to send.
        """
        if not request:
            raise ValueError("a request has at least one byte")
        super().__init__(request)
        self._ending = ending
        self._first: bytes | None = None

    def answer(self, turn: Turn) -> Answer:
        """See L{Exchange.answer}."""
        return _VerbatimAnswer(self, turn)

    def known(self) -> Known | None:
        """
        What is compared with the first answer, if there was one.
        """
        if self._first is None:
            return None
        other = (
            "byte {offset:,} is not as in the first answer, of {size:,} (choose a "
            "request that is answered the same every time)"
        )
        more = "{came:,} bytes came, and the first answer had {size:,}"
        return Known(self._first, other, more)

    def lengthOf(self, received: bytearray, new: int) -> int | None:
        """
        How long the first answer is, as far as its bytes tell.

        @raise WrongAnswer: if there are more, or if it should have ended.
        """
        length = self._ending(received, new)
        if length is None and len(received) > self.LONGEST:
            raise WrongAnswer(f"it does not end within {self.LONGEST:,} bytes")
        if length is not None and len(received) > length:
            raise WrongAnswer(
                f"more came than the {length:,} bytes that an answer has: "
                f"{len(received):,}, which go on with "
                f"'{shown(bytes(received[length : length + 61]))}'"
            )
        return length

    def whole(self, turn: Turn, answer: bytearray | None) -> None:
        """
        An answer is whole.

        @param answer: the first one.
        """
        if answer is not None:
            self._first = bytes(answer)
        assert self._first is not None
        turn.expected = self._first
        self._answered(len(self._first))


class _VerbatimAnswer:
    """
    An answer that is compared with the first one, if it is not that itself.
    """

    def __init__(self, exchange: Verbatim, turn: Turn) -> None:
        self._exchange = exchange
        self._turn = turn
        self._known = exchange.known()
        self._received = bytearray()

    def received(self, data: bytes) -> bool:
        """See L{Answer.received}."""
        if self._known is None:
            self._received += data
            length = self._exchange.lengthOf(self._received, len(data))
            if len(self._received) != length:
                return False
            # Another connection may have had the first answer meanwhile.
            self._known = self._exchange.known()
            if self._known is None:
                self._exchange.whole(self._turn, self._received)
                return True
            data = bytes(self._received)
        if not self._known.received(data):
            return False
        self._exchange.whole(self._turn, None)
        return True

    def ended(self) -> bool:
        """See L{Answer.ended}."""
        return False
