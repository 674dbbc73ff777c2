"""
Twisted's epoll reactor, but that a transport tries to send at once: it asks for
EPOLLOUT, by two calls of epoll_ctl, only if the socket's send buffer is full.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import epollreactor, tcp
from twisted.internet.main import installReactor


class _Server(tcp.Server):
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


class _Port(tcp.Port):
    transport = _Server


class _Reactor(epollreactor.EPollReactor):
    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """
        See L{IReactorTCP.listenTCP}.
        """
        listening = _Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening


def install() -> None:
    """
    Make it the reactor of the process.
    """
    installReactor(_Reactor())
