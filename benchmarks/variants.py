"""
Reactors that no one should use, made to see what one change is worth: for
C{findings.py}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import epollreactor, tcp
from twisted.internet.main import installReactor
from twisted.internet.posixbase import PosixReactorBase


class _TryingServer(tcp.Server):
    """
    Twisted's, but that it tries to send at once: EPOLLOUT is asked for, with two calls
    of epoll_ctl, only if there was no room.
    """

    def write(self, data: bytes) -> None:
        """
        See L{ITransport.write}.
        """
        idle = self.connected and not (self._tempDataBuffer or self.dataBuffer)
        sent = self.writeSomeData(data) if idle else 0
        if isinstance(sent, BaseException):
            sent = 0  # The reactor finds out, and closes the connection.
        if sent < len(data):
            super().write(data[sent:])


class _TryingPort(tcp.Port):
    transport = _TryingServer


class _TryingReactor(epollreactor.EPollReactor):
    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """
        See L{IReactorTCP.listenTCP}.
        """
        listening = _TryingPort(port, factory, backlog, interface, self)
        listening.startListening()
        return listening


def _tryingEpoll() -> Any:
    return _TryingReactor()


def _ringReadiness() -> Any:
    """
    io_uring that only says who is ready: Twisted's own transports receive and send.
    """
    from iodemo.reactors.uring import UringReactor

    class RingReadinessReactor(UringReactor):
        listenTCP = PosixReactorBase.listenTCP

    return RingReadinessReactor()


def _ctypesRing() -> Any:
    """
    io_uring driven through ctypes. All above the queue is what proactor has.
    """
    from ctypesring import CtypesRing

    from iodemo.completion.reactor import CompletionReactor

    queue: Any = CtypesRing()
    return CompletionReactor(queue)


def _ringByOperation() -> Any:
    """
    io_uring, entered for every send. All above the queue is what proactor has.
    """
    from iodemo.completion.reactor import CompletionReactor
    from iodemo.completion.ring import RingQueue

    class RingByOperation(RingQueue):
        def sendNow(self, owner: Any, descriptor: int, data: bytes) -> None:
            """
            See L{ICompletionQueue.sendNow}.
            """
            super().sendNow(owner, descriptor, data)
            self.wait(0)

    return CompletionReactor(RingByOperation(256, 32 * 1024, 16384))


VARIANTS: dict[str, Callable[[], Any]] = {
    "epoll-trying": _tryingEpoll,
    "uring-readiness": _ringReadiness,
    "uring-by-operation": _ringByOperation,
    "uring-ctypes": _ctypesRing,
}


def install(name: str) -> Any:
    """
    Make a variant the reactor of the process.
    """
    reactor = VARIANTS[name]()
    installReactor(reactor)
    return reactor
