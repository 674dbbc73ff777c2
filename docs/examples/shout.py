"""
A service that sends every line back in capitals.
"""

from __future__ import annotations

from twisted.application.service import IService
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineOnlyReceiver

from iodemo.services import IStreamTransport, listeningService, noDelay
from iodemo.services import Options as BaseOptions


class Shout(LineOnlyReceiver):
    """
    Sends back what it receives, line by line, in capitals.
    """

    transport: IStreamTransport
    delimiter = b"\n"

    def connectionMade(self) -> None:
        """
        Set TCP_NODELAY, so that each answer is sent at once.
        """
        noDelay(self.transport)

    def lineReceived(self, line: bytes) -> None:
        """
        Send the line back in capitals.
        """
        self.sendLine(line.upper())


class ShoutFactory(ServerFactory):
    """
    Makes a L{Shout} for each connection.
    """

    protocol = Shout
    noisy = False


class Options(BaseOptions):
    """
    The options of C{twistd shout}: only C{--listen}.
    """

    command = "shout"
    longdesc = "Sends every line back in capitals."


def makeService(options: Options) -> IService:
    """
    Make the service that C{twistd} runs.
    """
    return listeningService(options, ShoutFactory())
