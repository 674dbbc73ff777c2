"""
Writes in pieces, some of which are empty.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from ..peers import connectTo
from ..sizes import EMPTY_PIECES
from . import enact, tell
from .turns import Patience, hear

_SO_SNDBUFFORCE = 32  # socket(7); the module has no name for it


class Empty(bytes):
    """
    An empty piece.

    @cvar alive: how many exist.
    """

    alive = 0

    def __init__(self) -> None:
        Empty.alive += 1

    def __del__(self) -> None:
        Empty.alive -= 1


def empty(reactor: Any, transport: str) -> None:
    """
    Write many empty pieces; report how many are kept some turns later, and the data
    that the peer receives after them.

    @param transport: C{"tcp"} or C{"unix"}.
    """
    made: list[Any] = []

    class Made(Protocol):
        def connectionMade(self) -> None:
            made.append(self.transport)

    factory = Factory.forProtocol(Made)
    factory.noisy = False
    if transport == "unix":
        reactor.listenUNIX("socket", factory)
    else:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")

    def connect() -> socket.socket:
        if transport == "tcp":
            return connectTo(port.getHost().port)
        peer = socket.socket(socket.AF_UNIX)
        peer.connect("socket")
        return peer

    async def write() -> None:
        peer = connect()
        while not made:
            await deferLater(reactor, 0)
        (connection,) = made
        for _ in range(EMPTY_PIECES):
            connection.writeSequence([Empty(), Empty()])
            connection.writeSequence([])
            connection.write(Empty())
            connection.write(b"")
            await deferLater(reactor, 0)
        for _ in range(5):
            await deferLater(reactor, 0)
        tell("kept", count=Empty.alive)
        connection.writeSequence([Empty(), b"he", b"", b"llo", Empty()])
        connection.writeSequence([b"", Empty()])
        heard = (await deferToThread(hear, [peer], 5, Patience()))[0]
        connection.writeSequence([b"", Empty()])
        connection.loseConnection()
        ended = (await deferToThread(hear, [peer], 0, Patience()))[0]
        tell("heard", said=heard and heard.decode(), ended=ended == b"")
        peer.close()

    enact(reactor, write)


def huge(reactor: Any, size: int) -> None:
    """
    Write more than 1 GiB at once to a socket that takes all of it at once; report how
    much its peer receives.

    @param size: how many bytes.
    """
    mine, other = socket.socketpair()
    # The kernel doubles it, and has a maximum. To exceed that takes a privilege.
    mine.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 0x3FFFFFFF)
    mine.setblocking(False)

    def receive() -> int:
        received = 0
        while data := other.recv(1 << 22):
            received += len(data)
        return received

    class Writing(Protocol):
        def connectionMade(self) -> None:
            connection: Any = self.transport
            connection.write(bytes(size))
            # Later: if the peer does not read yet, a reactor may send in another way.
            reactor.callLater(0, reactor.callLater, 0, connection.loseConnection)

    async def count() -> None:
        factory = Factory.forProtocol(Writing)
        factory.noisy = False
        reactor.adoptStreamConnection(mine.fileno(), socket.AF_UNIX, factory)
        mine.close()
        # Read only now, so that the socket's buffer is filled as far as possible.
        for _ in range(5):
            await deferLater(reactor, 0)
        tell("received", count=await deferToThread(receive))
        other.close()

    enact(reactor, count)
