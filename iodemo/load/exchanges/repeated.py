# -*- test-case-name: tests.test_load -*-
"""
Exchanges that repeat one request, whose answer is the same every time.
"""

from __future__ import annotations

import hashlib
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
    The same request every time. The right answer is not known beforehand: it is the
    first answer.

    @cvar VERIFIED: bytes of answers received before the measurement, unless this takes
        longer than L{SECONDS}.
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
        A right answer was received.

        @param size: its bytes.
        """
        self._received += size


#: A rule for the end of an answer. It takes the bytes received and how many of them are
#: new since its last call, and returns the length of the answer; C{None} while that is
#: unknown.
Ending = Callable[[bytearray, int], int | None]


def ofLength(length: int) -> Ending:
    """
    The rule for answers that all have one length.

    @raise ValueError: if the length is 0.
    """
    if length < 1:
        raise ValueError("an answer has at least one byte")
    return lambda received, new: length


def endingWith(delimiter: bytes) -> Ending:
    """
    The rule for answers that end with a delimiter, which is nowhere else in them.

    @raise ValueError: if the delimiter is empty.
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
    Any request whose answer has the same bytes every time.

    @cvar LONGEST: bytes of the longest answer that is kept; of a longer one only a
        digest is kept. An answer of unknown length must end within so many bytes.
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
        # The first answer, or its digest.
        self._first: bytes | None = None
        self._digest: bytes | None = None

    def answer(self, turn: Turn) -> Answer:
        """See L{Exchange.answer}."""
        return _VerbatimAnswer(self, turn)

    def known(self) -> Known | None:
        """
        An answer to be compared with the first one, if that is kept.
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
        The length of an answer, if its bytes so far determine it.

        @param new: how many bytes were received since the last call.
        @raise WrongAnswer: if the answer does not end within L{LONGEST} bytes.
        """
        length = self._ending(received, new)
        if length is None and len(received) > self.LONGEST:
            raise WrongAnswer(f"it does not end within {self.LONGEST:,} bytes")
        return length

    def whole(
        self, turn: Turn, size: int, kept: bytearray | None, digest: bytes
    ) -> None:
        """
        An answer is whole.

        @param kept: the first answer, if it is not too long to be kept.
        @param digest: the digest of a longer answer.
        @raise WrongAnswer: if the first answer had another digest.
        """
        if kept is not None:
            self._first = bytes(kept)
        elif self._first is None:
            self._digest = self._digest or digest
            if digest != self._digest:
                raise WrongAnswer(
                    f"its {size:,} bytes are not those of the first answer (choose a "
                    "request that is answered the same every time)"
                )
        turn.expected = self._first or b""
        self._answered(size)


class _VerbatimAnswer:
    """
    The first answer, or one that is compared with it.
    """

    def __init__(self, exchange: Verbatim, turn: Turn) -> None:
        self._exchange = exchange
        self._turn = turn
        self._known = exchange.known()
        self._came = 0
        self._length: int | None = None
        self._kept: bytearray | None = bytearray()
        self._digest = hashlib.blake2b(digest_size=16)

    def received(self, data: bytes) -> bool:
        """See L{Answer.received}."""
        self._came += len(data)
        if self._known is None:
            whole = self._receivedUnknown(data)
        else:
            whole = self._known.received(data)
        if whole:
            kept = self._kept if self._known is None else None
            self._exchange.whole(self._turn, self._came, kept, self._digest.digest())
        return whole

    def _receivedUnknown(self, data: bytes) -> bool:
        if self._kept is not None:
            self._kept += data
            if self._length is None:
                self._length = self._exchange.lengthOf(self._kept, len(data))
        if self._length is None:
            return False
        more = self._came - self._length
        if more > 0:
            raise WrongAnswer(
                f"more came than the {self._length:,} bytes that an answer has: "
                f"{self._came:,}, which go on with '{shown(data[-more:])}'"
            )
        if self._length > self._exchange.LONGEST:
            self._digest.update(data if self._kept is None else self._kept)
            self._kept = None
        if more < 0:
            return False
        # Another connection may have received the first answer meanwhile.
        self._known = self._exchange.known()
        if self._known is None or self._kept is None:
            return True
        return self._known.received(bytes(self._kept))

    def ended(self) -> bool:
        """See L{Answer.ended}."""
        return False
