"""
An echo server on Twisted as plain as it gets: C{echo.py REACTOR PORT}. The reactor may
be one of L{benchmarks.variants}.
"""

from __future__ import annotations

import sys
from typing import Any

import variants
from twisted.application.reactors import installReactor
from twisted.internet.protocol import Factory, Protocol

HOST = "127.0.0.1"
BACKLOG = 4096


class Echo(Protocol):
    """
    Sends back what it receives.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Send small answers at once.
        """
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


def main(backend: str, port: str) -> None:
    """
    Serve until the process is ended.
    """
    install = variants.install if backend in variants.VARIANTS else installReactor
    reactor: Any = install(backend)
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    reactor.listenTCP(int(port), factory, backlog=BACKLOG, interface=HOST)
    reactor.run()


main(*sys.argv[1:])
