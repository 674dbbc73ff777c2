"""
io_uring, entered for every send. All above the completion queue is as in C{proactor}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.main import installReactor

from iodemo.completion.reactor import CompletionReactor
from iodemo.completion.ring import RingQueue
from iodemo.reactors.uring import BUFFER_KIB, BUFFERS, RESULTS


class _Queue(RingQueue):
    def sendNow(self, owner: Any, descriptor: int, data: bytes) -> None:
        """
        See L{ICompletionQueue.sendNow}.
        """
        super().sendNow(owner, descriptor, data)
        self.wait(0)


def install() -> None:
    """
    Make it the reactor of the process.
    """
    installReactor(CompletionReactor(_Queue(BUFFERS, BUFFER_KIB * 1024, RESULTS)))
