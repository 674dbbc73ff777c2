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
        Have each answer sent at once.
        """
        noDelay(self.transport)

    def lineReceived(self, line: bytes) -> None:
        """
        Send it back, louder.
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
    C{twistd shout}: C{--listen}, and nothing else.
    """

    command = "shout"
    longdesc = "Sends every line back in capitals."


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    return listeningService(options, ShoutFactory())
