# -*- test-case-name: tests.test_cli -*-
"""
SIGINT, SIGTERM and SIGHUP as one exception that unwinds the program.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """
    Somebody asked the comparison to end.

    Not an L{Exception}: nothing between the signal and the command line may take
    it for a failed round.

    @ivar signal: the number of the signal they asked with.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Interruption:
    """
    Whether somebody has asked the comparison to end.
    """

    def __init__(self) -> None:
        self._asked: int | None = None

    def asked(self, number: int, frame: FrameType | None) -> None:
        """
        Note it, and raise L{Interrupted}: once, so that what that unwinds can
        finish.
        """
        if self._asked is None:
            self._asked = number
            raise Interrupted(number)

    def check(self) -> None:
        """
        Raise L{Interrupted} again if what ran meanwhile has swallowed it. Looking
        for plugins does: Twisted takes whatever comes out of one for its fault.
        """
        if self._asked is not None:
            raise Interrupted(self._asked)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """
    Within the block, SIGINT, SIGTERM and SIGHUP raise L{Interrupted}; those that
    were ignored (nohup, a job in the background) still are.
    """
    interruption = Interruption()
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interruption.asked) for number in numbers}
    try:
        yield interruption
    finally:
        for number, disposition in before.items():
            signal.signal(number, disposition)
