"""
An echo server as plain as it gets: C{echo.py BACKEND PORT}.

C{BACKEND} is a Twisted reactor, or C{on-uvloop}: not Twisted but asyncio's own
protocols, on uvloop. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

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


class AsyncioEcho(asyncio.Protocol):
    """
    The same for asyncio.
    """

    def connection_made(self, transport: Any) -> None:
        """
        Send small answers at once.
        """
        self.transport = transport
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


class Input(Protocol):
    """
    Ends the server with its standard input.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def connectionLost(self, reason: object = None) -> None:
        """
        Stop.
        """
        self.reactor.stop()


def serve(backend: str, port: int) -> None:
    """
    Serve under a reactor.
    """
    reactor: Any = installReactor(backend)
    from twisted.internet.stdio import StandardIO

    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    reactor.listenTCP(port, factory, backlog=BACKLOG, interface=HOST)
    StandardIO(Input(reactor), reactor=reactor)
    reactor.run()


async def serveAsyncio(port: int) -> None:
    """
    Serve on asyncio's loop.
    """
    loop = asyncio.get_running_loop()
    await loop.create_server(AsyncioEcho, HOST, port, backlog=BACKLOG)
    ended = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), ended.cancel)
    try:
        await ended
    except asyncio.CancelledError:
        return


def main(backend: str, port: str) -> None:
    """
    Serve until the input ends.
    """
    if backend == "on-uvloop":
        import uvloop

        uvloop.install()
        asyncio.run(serveAsyncio(int(port)))
    else:
        serve(backend, int(port))


main(*sys.argv[1:])
