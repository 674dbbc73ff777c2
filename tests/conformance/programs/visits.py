"""
A server for visitors who do not stay.
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
    Sends back what it receives. Tells when somebody who has said something is
    gone.
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
        Tell.
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
    Serve L{Visit}, and look all the time at who is there.
    """

    def look() -> None:
        for _ in range(100):
            reactor.getReaders()
        reactor.callLater(0.001, look)

    # If there are threads, each has its chance to change what is looked at.
    sys.setswitchinterval(1e-6)
    serve(reactor)
    reactor.callWhenRunning(look)


def echo(reactor: Any) -> None:
    """
    Serve L{Echo}.
    """
    listen(reactor, Echo)
