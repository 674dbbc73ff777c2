# -*- test-case-name: tests.test_load -*-
"""
Exchanges in which one request is repeated, and answered the same every time.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

from iodemo.load.exchanges.exchange import Turn, WrongAnswer


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

    def ended(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.ended}."""
        return False

    def _answered(self, turn: Turn, answer: bytes) -> None:
        self._received += len(answer)
        turn.expected = answer


#: Says how long an answer is, from the bytes received; L{None} while that is not known.
Ending = Callable[[bytes], int | None]


def ofLength(length: int) -> Ending:
    """
    The rule of answers that are all of one length.

    @raise ValueError: if that is nothing.
    """
    if length < 1:
        raise ValueError("an answer has at least one byte")
    return lambda received: length


def endingWith(delimiter: bytes) -> Ending:
    """
    The rule of answers that end with something that is nowhere else in them.

    @raise ValueError: if that is nothing.
    """
    if not delimiter:
        raise ValueError("an answer ends with at least one byte")

    def ending(received: bytes) -> int | None:
        place = received.find(delimiter)
        return None if place < 0 else place + len(delimiter)

    return ending


class Verbatim(Repeated):
    """
    Any request that is answered with the same bytes every time.

    @cvar LONGEST: bytes after which an answer should have ended.
    """

    LONGEST = 16 << 20

    def __init__(self, request: bytes, ending: Ending) -> None:
        """
        @raise ValueError: if there is nothing to send.
        """
        if not request:
            raise ValueError("a request has at least one byte")
        super().__init__(request)
        self._ending = ending
        self._answer: bytes | None = None

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.isWhole}."""
        if self._answer is None:
            return self._isFirst(turn, received)
        if not self._answer.startswith(received):
            pairs = itertools.zip_longest(self._answer, received)
            offset = next(n for n, (was, got) in enumerate(pairs) if was != got)
            raise WrongAnswer(
                f"byte {offset:,} is not as in the first answer, of "
                f"{len(self._answer):,} (choose a request that is answered the same "
                "every time)"
            )
        if len(received) < len(self._answer):
            return False
        self._answered(turn, received)
        return True

    def _isFirst(self, turn: Turn, received: bytes) -> bool:
        length = self._ending(received)
        if length is not None and len(received) > length:
            raise WrongAnswer(
                f"more came than the {length:,} bytes that an answer has: "
                f"{len(received):,}"
            )
        if length is None or len(received) < length:
            if len(received) > self.LONGEST:
                raise WrongAnswer(f"it does not end within {self.LONGEST:,} bytes")
            return False
        self._answer = received
        self._answered(turn, received)
        return True
