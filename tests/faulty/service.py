"""
An echo service with one of the faults in L{FAULTS}.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

from twisted.application import internet, service
from twisted.internet import endpoints, protocol
from twisted.internet.interfaces import ITCPTransport
from twisted.python import usage


class Faulty(protocol.Protocol):
    """Sends back what it receives, changed by its fault."""

    transport: ITCPTransport
    fault: str

    def connectionMade(self) -> None:
        """See L{protocol.Protocol.connectionMade}."""
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """See L{protocol.Protocol.dataReceived}."""
        FAULTS[self.fault](self, data)

    def corrupt(self, data: bytes) -> None:
        """Sends back one byte in a million, at random, wrong."""
        spoiled = bytearray(data)
        for offset in range(len(spoiled)):
            if random.random() < 1e-6:
                spoiled[offset] ^= 0x01
        self.transport.write(bytes(spoiled))

    def corruptHttp(self, data: bytes) -> None:
        """A web server that corrupts one byte in a million."""
        page = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + bytes(65536)
        for _ in range(data.count(b"\r\n\r\n")):
            self.corrupt(page)

    def repeat(self, data: bytes) -> None:
        """Sends the answer twice."""
        self.transport.write(data * 2)

    def swallow(self, data: bytes) -> None:
        """Sends no answer."""

    def hangUp(self, data: bytes) -> None:
        """Closes the connection instead of an answer."""
        self.transport.loseConnection()

    def die(self, data: bytes) -> None:
        """Kills its process."""
        os.kill(os.getpid(), signal.SIGKILL)

    def outlive(self, data: bytes) -> None:
        """Answers correctly, and ignores SIGTERM."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.transport.write(data)

    def serve(self, data: bytes) -> None:
        """Has no fault."""
        self.transport.write(data)


FAULTS: dict[str, Callable[[Faulty, bytes], None]] = {
    "corrupt": Faulty.corrupt,
    "corrupt-http": Faulty.corruptHttp,
    "repeat": Faulty.repeat,
    "swallow": Faulty.swallow,
    "hang-up": Faulty.hangUp,
    "die": Faulty.die,
    "outlive": Faulty.outlive,
    "none": Faulty.serve,
}


class Options(usage.Options):
    """The fault, and the endpoint."""

    optParameters = [
        ["fault", None, "none", "One of FAULTS."],
        ["listen", None, "", ""],
    ]


def makeService(options: Options) -> service.Service:
    """See C{IServiceMaker}."""
    from twisted.internet import reactor

    Faulty.fault = options["fault"]
    factory = protocol.Factory.forProtocol(Faulty)
    endpoint = endpoints.serverFromString(reactor, options["listen"])
    return internet.StreamServerEndpointService(endpoint, factory)
