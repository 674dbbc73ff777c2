# -*- test-case-name: tests.test_auto -*-
"""
Twisted's asyncio reactor on io_uring, or on completions made from readiness if the
kernel refuses the ring. L{iodemo.reactors.autoasyncio} installs it where the kernel
allows io_uring at that time.

L{iodemo.reactors.uringorproactor} has the decisions. Without the reactor, or if the
loop runs before the reactor starts, the ring is made by the first turn of the loop,
before any call of the loop runs.
"""

from __future__ import annotations

import asyncio
import selectors

from iodemo.completion.emulated import ReadinessQueue
from iodemo.completion.eventloop import (
    AsyncioCompletionReactor,
    QueueEventLoop,
    QueueSelector,
)
from iodemo.reactors.uring import UringMixin
from iodemo.reactors.uringorproactor import Choice


class UringOrProactorSelector(QueueSelector):
    """
    A selector that waits by the first queue that the kernel does not refuse.
    """

    def __init__(self) -> None:
        self._choice = Choice("uring-asyncio", "proactor-asyncio")
        super().__init__(ReadinessQueue())

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """See L{QueueSelector.select}."""
        self.choose()
        return super().select(timeout)

    def choose(self) -> None:
        """
        Change to the ring, if the kernel makes it; once.
        """
        queue = self._choice.make(self.queue)
        if queue is not None:
            self.changeQueue(queue)


class UringOrProactorEventLoop(QueueEventLoop):
    """
    An event loop of asyncio on the first queue that the kernel does not refuse.
    """

    selector: UringOrProactorSelector

    makeSelector = staticmethod(UringOrProactorSelector)


class UringOrProactorAsyncioReactor(UringMixin, AsyncioCompletionReactor):
    """
    Twisted's asyncio reactor on the first queue that the kernel does not refuse.
    """

    loopClass = UringOrProactorEventLoop
    _asyncioEventloop: UringOrProactorEventLoop

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """See C{ReactorBase.startRunning}."""
        self._asyncioEventloop.selector.choose()
        super().startRunning(installSignalHandlers)


def install(eventloop: asyncio.AbstractEventLoop | None = None) -> None:
    """
    Make this the reactor of the process.

    @param eventloop: a L{UringOrProactorEventLoop}. C{None} is the running loop, or
        else a new one, which becomes the current loop of asyncio.
    @raise TypeError: if it is a loop of another kind.
    """
    UringOrProactorAsyncioReactor.install(eventloop)
