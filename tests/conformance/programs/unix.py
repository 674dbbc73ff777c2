"""
Servers and clients on UNIX sockets.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IFileDescriptorReceiver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from . import tell, tellLost, whenPermitted

_PATH = "socket"


@implementer(IFileDescriptorReceiver)
class Returning(Protocol):
    """
    Sends back what it receives, including descriptors.
    """

    transport: Any

    def __init__(self) -> None:
        self._held: list[int] = []

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """
        Send it back, and keep it open until it is sent.
        """
        self._held.append(descriptor)
        self.transport.sendFileDescriptor(descriptor)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Close the kept descriptors.
        """
        for descriptor in self._held:
            os.close(descriptor)
        tellLost(reason)


class Paused(Returning):
    """
    Receives nothing until it is permitted.
    """

    def connectionMade(self) -> None:
        """
        Pause.
        """
        self.transport.pauseProducing()
        tell("paused")
        whenPermitted(
            self.transport.reactor, "read", lambda: self.transport.resumeProducing()
        )


class Careless(Protocol):
    """
    Sends a descriptor without any byte.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Send it.
        """
        self.transport.sendFileDescriptor(0)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report the reason.
        """
        tellLost(reason)


class Last(Protocol):
    """
    Closes at once, and then the program ends.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Close.
        """
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        End the program.
        """
        self.transport.reactor.stop()


def serve(reactor: Any, protocol: str) -> None:
    """
    Listen on C{socket} in the working directory.
    """
    protocols = {
        "careless": Careless,
        "last": Last,
        "paused": Paused,
        "returning": Returning,
    }
    factory = Factory.forProtocol(protocols[protocol])
    reactor.listenUNIX(_PATH, factory, mode=0o600)
    reactor.callLater(0, tell, "listening")


class Greeting(Protocol):
    """
    Sends a greeting.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Send it.
        """
        tell("connectionMade")
        self.transport.write(b"hello")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report the reason.
        """
        tellLost(reason)


def connect(reactor: Any, timeout: float) -> None:
    """
    Connect to C{socket} in the working directory, when it is permitted.
    """

    def begin() -> None:
        endpoint = UNIXClientEndpoint(reactor, _PATH, timeout)
        connecting = endpoint.connect(Factory.forProtocol(Greeting))
        connecting.addErrback(lambda why: tell("failed", why=type(why.value).__name__))
        reactor.callLater(0, tell, "connecting")

    reactor.callWhenRunning(whenPermitted, reactor, "connect", begin)
