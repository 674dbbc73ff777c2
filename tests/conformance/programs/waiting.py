"""
Servers with connections that wait in the backlog.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from ...children import TIMEOUT
from ..sizes import WAITING
from . import enact, listen, tell, tellListening
from .closing import Telling
from .turns import Patience, hear

_BACKLOG = 2 * WAITING


class TellingAll(Telling):
    """
    Also reports the data that it receives.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Report it.
        """
        tell("dataReceived", data=data.decode())


def tellAll(reactor: Any, transport: str) -> None:
    """
    Serve L{TellingAll}.

    @param transport: C{"tcp"} or C{"unix"}.
    """
    if transport == "unix":
        factory = Factory.forProtocol(TellingAll)
        factory.noisy = False
        reactor.listenUNIX("socket", factory)
        tellListening(reactor, 0)
    else:
        listen(reactor, TellingAll)


class Counted(Protocol):
    """
    Sends back what it receives.

    @cvar made: how many connections were made.
    """

    made = 0
    transport: Any

    def connectionMade(self) -> None:
        """
        Count it.
        """
        Counted.made += 1

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


class OneAtATime(Counted):
    """
    Pauses its port as long as its connection is open.

    @cvar port: the port.
    """

    port: Any

    def connectionMade(self) -> None:
        """
        Pause the port.
        """
        super().connectionMade()
        self.port.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back, and close.
        """
        super().dataReceived(data)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Resume the port.
        """
        self.port.resumeProducing()


def _listener(transport: str, name: str) -> socket.socket:
    """
    A listening socket that other objects can share.
    """
    if transport == "unix":
        listener = socket.socket(socket.AF_UNIX)
        # In no file system, as each of several ports would remove the file.
        listener.bind(f"\0iodemo-{os.getpid()}-{name}")
    else:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _come(listener: socket.socket) -> list[socket.socket]:
    """
    Connect many clients at once, and send something on each.
    """
    peers = []
    for _ in range(WAITING):
        peer = socket.socket(listener.family)
        peer.settimeout(TIMEOUT)
        peer.connect(listener.getsockname())
        peer.sendall(b"hello")
        peers.append(peer)
    return peers


def _adopt(reactor: Any, listener: socket.socket, protocol: type[Protocol]) -> Any:
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    return reactor.adoptStreamPort(listener.fileno(), listener.family, factory)


def stop(reactor: Any, transport: str) -> None:
    """
    Stop while many connections wait at each of two ports, whose sockets another object
    has, too. Report how many were made, were served, and are left for that object.
    """
    listeners = [_listener(transport, name) for name in ("one", "two")]
    for listener in listeners:
        _adopt(reactor, listener, Counted)
    peers: list[socket.socket] = []

    def end() -> None:
        for listener in listeners:
            peers.extend(_come(listener))
        reactor.stop()

    def count() -> None:
        left = []
        for listener in listeners:
            with contextlib.suppress(BlockingIOError), listener:
                while True:
                    left.append(listener.accept()[0])
        tell("counted", came=len(peers), served=Counted.made, left=len(left))
        for each in left + peers:
            each.close()

    reactor.addSystemEventTrigger("after", "shutdown", count)
    reactor.callLater(0, reactor.callLater, 0, end)


def pause(reactor: Any, transport: str, how: str) -> None:
    """
    Connect many clients to a port that does not accept all of them at once; report how
    many were served.

    @param how: C{"pause"}: the port pauses in the turn in which they come, and resumes
        later; C{"stop"}: it stops then, and another port has its socket; C{"one"}: it
        serves one at a time.
    """
    listener = _listener(transport, "one")
    port = _adopt(reactor, listener, OneAtATime if how == "one" else Counted)
    OneAtATime.port = port
    if how == "stop":
        _adopt(reactor, listener, Counted)

    async def come() -> None:
        await deferLater(reactor, 0)
        peers = _come(listener)
        if how == "pause":
            port.pauseProducing()
            # Some turns, in which no connection is served.
            for _ in range(5):
                await deferLater(reactor, 0)
            port.resumeProducing()
        elif how == "stop":
            await port.stopListening()
        heard = await deferToThread(hear, peers, 5, Patience())
        tell("served", count=heard.count(b"hello"))
        for each in [listener, *peers]:
            each.close()

    enact(reactor, come)
