"""
Clients, of servers in the same process and of ports without a server.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.protocol import (
    ClientFactory,
    Factory,
    Protocol,
    ServerFactory,
    connectionDone,
)
from twisted.python import log
from twisted.python.failure import Failure

from ..peers import pattern
from ..sizes import CONNECTIONS, LARGEST_MESSAGE
from . import tell
from .time import Echo


class Asking(Protocol):
    """
    Sends something, waits until all of it has come back, and closes.
    """

    transport: Any

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.heard = bytearray()
        self.whenLost: Deferred[str] = Deferred()

    def connectionMade(self) -> None:
        """
        Send it.
        """
        self.transport.write(self.said)

    def dataReceived(self, data: bytes) -> None:
        """
        Receive it.
        """
        self.heard += data
        if len(self.heard) >= len(self.said):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report whether all came back.
        """
        right = bytes(self.heard) == self.said
        self.whenLost.callback(f"{type(reason.value).__name__} {right}")


def echo(reactor: Any) -> None:
    """
    Connect many clients at once to a server of this reactor.
    """

    async def ask(port: int, size: int) -> str:
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
        asking = Asking(pattern(size))
        await endpoint.connect(Factory.forProtocol(lambda: asking))
        return await asking.whenLost

    async def main() -> None:
        factory = ServerFactory.forProtocol(Echo)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=200)
        number = port.getHost().port
        sizes = [LARGEST_MESSAGE >> each % 21 for each in range(CONNECTIONS)]
        asked = [ensureDeferred(ask(number, size)) for size in sizes]
        tell("asked", answers=await gatherResults(asked))
        await port.stopListening()

    _run(reactor, main())


def refused(reactor: Any) -> None:
    """
    Connect to a port without a server, in both of Twisted's ways.
    """
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    async def main() -> None:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        try:
            await endpoint.connect(Factory.forProtocol(Protocol))
        except Exception as error:
            tell("failed", type=type(error).__name__)
        factory = _Telling()
        reactor.connectTCP("127.0.0.1", port, factory)
        await factory.whenOver

    _run(reactor, main())


def unanswered(reactor: Any) -> None:
    """
    Connect to a listener whose backlog is full, so that there is no answer; give up
    after a time-out, and once by a call before the time-out.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    waiting = []
    # More connections than the backlog holds, or it would not be full yet.
    for _ in range(4):
        each = socket.socket()
        each.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            each.connect(address)
        waiting.append(each)

    async def main() -> None:
        endpoint = TCP4ClientEndpoint(reactor, address[0], address[1], timeout=1)
        try:
            await endpoint.connect(Factory.forProtocol(Protocol))
        except Exception as error:
            tell("failed", type=type(error).__name__)
        factory = _Telling()
        connector = reactor.connectTCP(*address, factory)
        reactor.callLater(0.1, connector.disconnect)
        await factory.whenOver
        for each in (listener, *waiting):
            each.close()

    _run(reactor, main())


def factory(reactor: Any, port: int) -> None:
    """
    Connect to a server of the test, send something and close; then connect again, by
    the same connector.
    """

    async def main() -> None:
        factory = _Telling(again=True)
        reactor.connectTCP("127.0.0.1", port, factory)
        await factory.whenOver

    _run(reactor, main())


class _Telling(ClientFactory):
    """
    Reports each callback of its connector.
    """

    noisy = False

    def __init__(self, again: bool = False) -> None:
        self.again = again
        self.whenOver: Deferred[None] = Deferred()

    def startedConnecting(self, connector: Any) -> None:
        """
        Report it.
        """
        tell("startedConnecting")

    def buildProtocol(self, addr: object) -> Protocol:
        """
        Make a protocol.
        """
        tell("buildProtocol")
        return Asking(b"hello")

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """
        Report the reason.
        """
        tell("clientConnectionFailed", reason=type(reason.value).__name__)
        self.whenOver.callback(None)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """
        Report the reason, and connect again if that is to be.
        """
        tell("clientConnectionLost", reason=type(reason.value).__name__)
        if self.again:
            self.again = False
            connector.connect()
        else:
            self.whenOver.callback(None)


def _run(reactor: Any, main: Any) -> None:
    """
    Wait until that has ended.
    """

    def start() -> None:
        ensureDeferred(main).addErrback(_log).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)


def _log(failure: Failure) -> None:
    log.err(failure)
