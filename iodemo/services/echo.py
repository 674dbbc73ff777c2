# -*- test-case-name: tests.test_echo -*-
"""
C{iodemo-echo}: bytes back.
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
        Make reading wait for writing. A peer who sends and never reads is then
        slowed down by TCP; otherwise its bytes would pile up in this process.
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
        Too much is waiting to be sent: read no more.
        """
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Everything is sent: read on.
        """
        renewProducer(self.transport, self)
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        The connection is gone, and nothing comes from it.
        """

    def readConnectionLost(self) -> None:
        """
        The peer has said all it will say, and may still be reading: close once
        everything is sent. A transport waits for its producer before it closes.
        """
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """
        Not used: this side never closes one direction alone.
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
        "Sends bytes back. There is no time-out: a client keeps its connection for as "
        "long as it likes."
    )


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    return listeningService(options, EchoFactory())
