# -*- test-case-name: tests.test_load -*-
"""
The interface of a protocol to the driver: L{Exchange}, L{Turn} and L{Answer}.

An exchange gives the driver the bytes of a request and, if it is known, the expected
answer. Every answer is checked, in the measured window too: the driver compares the
bytes received with the expected answer, which costs one C{memcmp}. If they differ (an
answer in several pieces, a C{Date} that has changed), or no answer is expected, the
driver takes an L{Answer} from the exchange. An L{Answer} decides whether the bytes
received are right and where the answer ends, in time proportional to its length and in
bounded memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol


class WrongAnswer(Exception):
    """An answer is wrong. The message gives the difference and its place."""


@dataclass(slots=True)
class Turn:
    """
    One request and the answer expected.

    @ivar expected: the whole answer, if it is known beforehand or from earlier ones;
        otherwise empty.
    @ivar last: whether the server closes the connection after the answer; then
        C{expected} is empty.
    """

    request: bytes
    expected: bytes
    last: bool = False


class Answer(Protocol):
    """
    One answer, while its bytes are received.
    """

    def received(self, data: bytes) -> bool:
        """
        The next bytes were received, at least one.

        @return: whether the answer is now whole.
        @raise WrongAnswer: if the bytes are not those of a right answer, or are more
            than it has.
        """

    def ended(self) -> bool:
        """
        The server has closed the connection.

        @return: whether this makes the answer whole.
        @raise WrongAnswer: if the answer is wrong.
        """


class Exchange(Protocol):
    """
    A protocol as a load sees it: a repetition of one request and one answer.

    @cvar SECONDS: how long verification takes, in seconds: an estimate, or a limit.
    """

    SECONDS: float

    @property
    def leftOut(self) -> Collection[str]:
        """
        The parts of the answers that have changed and are not compared, by name.
        """

    def turns(self) -> tuple[Turn, Turn]:
        """
        The two turns that one connection alternates between.
        """

    def verification(self) -> Iterator[Turn]:
        """
        The turns made before the measurement.
        """

    def answer(self, turn: Turn) -> Answer:
        """
        A new answer, without any bytes yet, to the request of a turn.
        """


class Known:
    """
    An answer whose bytes are known beforehand.
    """

    def __init__(self, expected: bytes, wrong: str, more: str) -> None:
        """
        @param wrong: the message about a wrong byte, a format of C{offset}, C{size},
            C{right} and C{got}.
        @param more: the message about too many bytes, a format of C{came} and C{size}.
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
    Bytes from a server, made safe for a message: bytes other than printable ASCII are
    escaped, so that they do not control a terminal, and only the first C{most} are
    shown.
    """
    more = "..." if len(data) > most else ""
    return repr(bytes(data[:most]))[2:-1] + more
