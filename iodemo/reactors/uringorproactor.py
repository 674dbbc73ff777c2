# -*- test-case-name: tests.test_auto -*-
"""
A reactor on io_uring, or on completions made from readiness if the kernel refuses the
ring when the reactor starts. L{iodemo.reactors.auto} installs it where the kernel
allows io_uring at that time.

Decisions.

  - The reactor begins on the emulated queue, and changes to the ring when the kernel
    has made it. So a refusal changes nothing, and nothing is lost by it.
  - The ring is made just before the reactor starts, or is iterated for the first time:
    after the process has become a daemon and has changed its user, but before a connect
    or a send is under way.
  - The transports are those of C{uring}, because connections may exist before the
    choice. They work on either queue.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from twisted.internet.main import installReactor

from iodemo.completion.emulated import ReadinessQueue
from iodemo.completion.interfaces import ICompletionQueue, QueueRefused
from iodemo.completion.reactor import CompletionReactor
from iodemo.kernel import ioUringRefusal
from iodemo.reactors.auto import logChoice
from iodemo.reactors.uring import UringMixin, makeQueue

if TYPE_CHECKING:
    from iodemo.completion.ring import RingQueue


class Choice:
    """
    The choice between a ring and an emulated queue, which is in use before.

    @ivar _names: the names of the reactors on a ring, and on an emulated queue.
    @ivar _ring: the ring; C{None} if it was refused.
    @ivar _madeBy: the process that has chosen; 0 before.
    """

    def __init__(self, ring: str, emulated: str) -> None:
        """
        @raise ImportError: as L{makeQueue} does.
        """
        self._names = ring, emulated
        self._ring: RingQueue | None = makeQueue()
        self._madeBy = 0

    def make(self, current: ICompletionQueue) -> ICompletionQueue | None:
        """
        Choose, and log the choice. A process that was forked since then chooses again,
        because it has lost its ring.

        @param current: the queue that is in use.
        @return: the queue to add all operations to; C{None} if they can stay.
        """
        process = os.getpid()
        if self._ring is None or self._madeBy == process:
            return None
        self._madeBy = process
        ring = self._ring
        try:
            ring.open()
        except QueueRefused as refusal:
            # A smaller ring may be allowed. Then only this error has the reason.
            reason = ioUringRefusal() or str(refusal.strerror)
            self._ring = None
            logChoice(self._names[1], {self._names[0]: reason})
            return ReadinessQueue() if current is ring else None
        logChoice(self._names[0], {})
        return ring


class UringOrProactorReactor(UringMixin, CompletionReactor):
    """
    A reactor on the first queue that the kernel does not refuse.
    """

    def __init__(self) -> None:
        self._choice = Choice("uring", "proactor")
        super().__init__(ReadinessQueue())

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """See C{ReactorBase.startRunning}."""
        self._choose()
        super().startRunning(installSignalHandlers)

    def iterate(self, delay: float = 0.0) -> None:
        """See C{IReactorCore.iterate}."""
        self._choose()
        super().iterate(delay)

    def _choose(self) -> None:
        queue = self._choice.make(self.queue)
        if queue is not None:
            self.changeQueue(queue)


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(UringOrProactorReactor())
