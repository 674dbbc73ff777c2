# -*- test-case-name: tests.test_load -*-
"""
What a load says and what it must hear: one L{Exchange} a protocol.

An exchange gives the driver two things: the bytes of a request, and an L{Answer},
which says of the bytes that come whether they are right, and when they are all.
Every answer is checked, in the measured window too: the driver compares it with
the answer it expects, which costs one C{memcmp}, and makes an L{Answer} only when
the two differ (an answer in several pieces, a C{Date} that moved on). What an answer
takes is proportional to its length in time, and bounded in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol


class WrongAnswer(Exception):
    """The server answered something else. The message says what and where."""


@dataclass(slots=True)
class Turn:
    """
    One request and the answer expected.

    @ivar expected: the whole answer, if it is known beforehand or from earlier ones,
        else empty.
    @ivar last: whether the server closes the connection after the answer. C{expected}
        is empty then.
    """

    request: bytes
    expected: bytes
    last: bool = False


class Answer(Protocol):
    """
    One answer, while it comes.
    """

    def received(self, data: bytes) -> bool:
        """
        The next bytes have come, one at least.

        @return: whether the answer is whole with them.
        @raise WrongAnswer: if they are not those of a right answer, or more than it
            has.
        """

    def ended(self) -> bool:
        """
        The server has closed the connection.

        @return: whether the answer is whole by that.
        @raise WrongAnswer: if it is a wrong one.
        """


class Exchange(Protocol):
    """
    A protocol as a load sees it: one request, one answer, again.

    @cvar SECONDS: how long verification takes, about or at most.
    """

    SECONDS: float

    @property
    def leftOut(self) -> Collection[str]:
        """
        What of the answers has changed and is not compared, by name.
        """

    def turns(self) -> tuple[Turn, Turn]:
        """
        The two turns that one connection alternates between.
        """

    def verification(self) -> Iterator[Turn]:
        """
        The turns made before anything is timed.
        """

    def answer(self, turn: Turn) -> Answer:
        """
        The answer to the request of a turn, of which nothing has come yet.
        """


class Known:
    """
    An answer whose bytes are known beforehand.
    """

    def __init__(self, expected: bytes, wrong: str, more: str) -> None:
        """
        @param wrong: what to say of a wrong byte, as a format of C{offset}, C{size},
            C{right} and C{got}.
        @param more: what to say of too many bytes, as a format of C{came} and C{size}.
        """
        self._expected = expected
        self._wrong = wrong
        self._more = more
        self._came = 0

    def received(self, data: bytes) -> bool:
        """See L{Answer.received}."""
        expected, begin = self._expected, self._came
        size = len(expected)
        self._came += len(data)
        if expected.startswith(data, begin):
            return self._came == size
        pairs = zip(expected[begin : self._came], data, strict=False)
        for offset, (right, got) in enumerate(pairs, begin):
            if right != got:
                raise WrongAnswer(
                    self._wrong.format(offset=offset, size=size, right=right, got=got)
                )
        raise WrongAnswer(self._more.format(came=self._came, size=size))

    def ended(self) -> bool:
        """See L{Answer.ended}."""
        return False


def shown(data: bytes, most: int = 60) -> str:
    """
    Bytes from a server as they may be in a message: what is not printable ASCII is
    escaped, so that no terminal obeys it, and no more than C{most} bytes are there.
    """
    more = "..." if len(data) > most else ""
    return repr(bytes(data[:most]))[2:-1] + more
