"""
A server for visitors who do not stay.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from . import listen, tell


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
