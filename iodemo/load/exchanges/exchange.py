# -*- test-case-name: tests.test_load -*-
"""
What a load says and what it must hear: one L{Exchange} a protocol.

An exchange gives the driver two things: the bytes of a request, and a rule that
says of the bytes received whether the answer is whole, and whether it is right.
Every answer is checked, in the measured window too: the driver compares it with
the answer it expects, which costs one C{memcmp}, and asks the rule only when
the two differ (an answer in several pieces, a C{Date} that moved on).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class WrongAnswer(Exception):
    """The server answered something else. The message says what and where."""


@dataclass(slots=True)
class Turn:
    """
    One request and the answer expected.

    @ivar expected: the whole answer, if it is known beforehand or from the last
        one, else empty. Empty too after an answer that was the C{last}: then the rule
        is asked again.
    @ivar last: whether the answer says that the server takes no further request on its
        connection.
    """

    request: bytes
    expected: bytes
    last: bool = False


class Exchange(Protocol):
    """
    A protocol as a load sees it: one request, one answer, again.

    @cvar SECONDS: how long verification takes, about or at most.
    """

    SECONDS: float

    def turns(self) -> tuple[Turn, Turn]:
        """
        The two turns that one connection alternates between.
        """

    def verification(self) -> Iterator[Turn]:
        """
        The turns made before anything is timed.
        """

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """
        Whether C{received} is the whole right answer, or its right beginning.

        @raise WrongAnswer: if it is neither.
        """

    def ended(self, turn: Turn, received: bytes) -> bool:
        """
        Whether C{received}, which was no whole answer, is one now that the server has
        closed the connection behind it.

        @raise WrongAnswer: if it is wrong.
        """


def show(line: bytes) -> str:
    return line[:60].decode("ascii", "replace")
