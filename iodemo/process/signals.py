# -*- test-case-name: tests.test_cli -*-
"""
The names of signals; and SIGINT, SIGTERM and SIGHUP as one exception that unwinds the
program.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def signalName(number: int) -> str:
    """
    The name of a signal or, since most real-time signals have none, its number.
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Interrupted(BaseException):
    """
    A signal to end the program has come.

    It is not an C{Exception}: code between the signal and the command line must not
    take it for a failed round.

    @ivar signal: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signalName(number))
        self.signal = number


class Interruption:
    """
    Whether a signal to end the program has come, and which.
    """

    def __init__(self) -> None:
        self._number: int | None = None

    def received(self, number: int, frame: FrameType | None) -> None:
        """
        Note the signal, and raise L{Interrupted} for the first one only, so that a
        second does not disturb the clean-up after the first.
        """
        if self._number is None:
            self._number = number
            raise Interrupted(number)

    def check(self) -> None:
        """
        Raise L{Interrupted} again, in case the code that ran meanwhile has swallowed
        it. Twisted's search for plugins does: it logs any exception as the plugin's.
        """
        if self._number is not None:
            raise Interrupted(self._number)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """
    Within the block, SIGINT, SIGTERM and SIGHUP raise L{Interrupted}. A signal that was
    ignored before (nohup, a job in the background) stays ignored.
    """
    interruption = Interruption()
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {
        number: signal.signal(number, interruption.received) for number in numbers
    }
    try:
        yield interruption
    finally:
        for number, disposition in before.items():
            signal.signal(number, disposition)
