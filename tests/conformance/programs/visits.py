"""
A server for short connections.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from . import listen, tell
from .time import Echo


class Visit(Protocol):
    """
    Sends back what it receives. Reports when a connection that has received something
    is lost.
    """

    transport: Any
    spoke = False

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.spoke = True
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report it.
        """
        if self.spoke:
            tell("gone")


def serve(reactor: Any) -> None:
    """
    Serve L{Visit}.
    """
    listen(reactor, Visit)


def watched(reactor: Any) -> None:
    """
    Serve L{Visit}, and call C{getReaders} all the time.
    """

    def look() -> None:
        for _ in range(100):
            reactor.getReaders()
        reactor.callLater(0.001, look)

    # Other threads get the chance to change the collections that are read.
    sys.setswitchinterval(1e-6)
    serve(reactor)
    reactor.callWhenRunning(look)


def echo(reactor: Any) -> None:
    """
    Serve L{Echo}.
    """
    listen(reactor, Echo)
