"""
Reactors that go wrong at C{callLater(0, ...)}, each in its own way, and otherwise
do what poll's does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from twisted.internet.base import DelayedCall
from twisted.internet.pollreactor import PollReactor
from twisted.python import log

#: Of all of them. Tests put something in.
CONFORMANCE_EXCEPTIONS: dict[str, str] = {}


class _BrokenReactor(PollReactor):
    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        if delay == 0:
            self.goWrong()
        return super().callLater(delay, callable, *args, **kw)

    def goWrong(self) -> None:
        """To be said."""
        raise NotImplementedError


class FailingReactor(_BrokenReactor):
    """Raises."""

    def goWrong(self) -> None:
        """Raise."""
        raise ValueError("this reactor knows no now\nand says so")


class HauntingReactor(_BrokenReactor):
    """Raises, and has the next of its kind in the process log an error."""

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
    """Waits for ever."""

    def goWrong(self) -> None:
        """Wait."""
        threading.Event().wait()


class CrashingReactor(_BrokenReactor):
    """Takes the process with it."""

    def goWrong(self) -> None:
        """Die."""
        os.abort()


class LeavingReactor(_BrokenReactor):
    """Ends the process as if all were well."""

    def goWrong(self) -> None:
        """Leave."""
        os._exit(0)


class UnmakeableReactor(PollReactor):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("the kernel says no")
