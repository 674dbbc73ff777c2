"""
Reactors on poll(2) that fail in C{callLater(0, ...)}, each in its own way.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from twisted.internet.base import DelayedCall
from twisted.internet.pollreactor import PollReactor
from twisted.python import log

#: The reactors of all these classes. Tests add to it.
CONFORMANCE_EXCEPTIONS: dict[str, str] = {}


class _BrokenReactor(PollReactor):
    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        if delay == 0:
            self.goWrong()
        return super().callLater(delay, callable, *args, **kw)

    def goWrong(self) -> None:
        """Fail in the way of this class."""
        raise NotImplementedError


class FailingReactor(_BrokenReactor):
    """Raises an exception."""

    def goWrong(self) -> None:
        """Raise."""
        raise ValueError("this reactor fails\nat once")


class HauntingReactor(_BrokenReactor):
    """
    Raises an exception, and makes the next reactor of its kind in the process log an
    error.
    """

    haunted = False

    def __init__(self) -> None:
        super().__init__()
        if self.haunted:
            log.err(RuntimeError("of an earlier test"))

    def goWrong(self) -> None:
        """Raise."""
        HauntingReactor.haunted = True
        raise ValueError("as asked")


class HangingReactor(_BrokenReactor):
    """Blocks without end."""

    def goWrong(self) -> None:
        """Block."""
        threading.Event().wait()


class CrashingReactor(_BrokenReactor):
    """Kills its process."""

    def goWrong(self) -> None:
        """Kill the process."""
        os.abort()


class LeavingReactor(_BrokenReactor):
    """Ends its process with exit status 0."""

    def goWrong(self) -> None:
        """Exit."""
        os._exit(0)


class UnmakeableReactor(PollReactor):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("the kernel says no")
