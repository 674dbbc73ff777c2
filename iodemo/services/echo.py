# -*- test-case-name: tests.test_echo -*-
"""
C{iodemo-echo}: sends back the bytes that it receives.
"""

from __future__ import annotations

from twisted.application.service import IService
from twisted.internet import protocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from zope.interface import implementer

from . import IStreamTransport, listeningService, noDelay, renewProducer
from . import Options as BaseOptions


@implementer(IHalfCloseableProtocol, IPushProducer)
class Echo(protocol.Protocol):
    """
    Sends back what it receives.
    """

    transport: IStreamTransport

    def connectionMade(self) -> None:
        """
        Register as a producer, so that reading is paused while the peer does not read.
        TCP then slows the peer down. Otherwise its bytes would pile up in this process.
        """
        noDelay(self.transport)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)

    def pauseProducing(self) -> None:
        """
        The transport's buffer is full: stop reading.
        """
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The transport's buffer is empty: continue reading.
        """
        renewProducer(self.transport, self)
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        Do nothing: the connection has ended, and nothing more is received.
        """

    def readConnectionLost(self) -> None:
        """
        The peer has closed its sending side and may still read: close when everything
        is sent. The transport would wait for its producer before it closes, so
        unregister it.
        """
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Not used: this side never closes only its sending direction.
        """


class EchoFactory(protocol.ServerFactory):
    """
    Makes an L{Echo} for each connection.
    """

    protocol = Echo
    noisy = False


class Options(BaseOptions):
    """
    C{twistd iodemo-echo}.
    """

    command = "iodemo-echo"
    longdesc = (
        "Sends back the bytes that it receives. There is no time-out: a client keeps "
        "its connection for as long as it likes."
    )


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    return listeningService(options, EchoFactory())
