"""
Turns of the reactor in which one owner of many raises an exception.

Every place where a reactor calls the owner of a connection is one line of L{STREAMS} or
L{CLIENTS}; L{tests.conformance.programs.owners} has the other kinds of owners.
"""

from __future__ import annotations

import selectors
import socket
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from typing import Protocol as Shape

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.error import TimeoutError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from ...children import TIMEOUT
from ..peers import connectTo, reset
from ..sizes import KIB
from . import enact, tell

#: The number of owners in a turn, and the index of the one that raises: some are called
#: before it, some after it.
OWNERS = 7
GUILTY = 3

_MUCH = bytes(100 * KIB)  # more than a transport takes before it pauses its producer


class Injected(Exception):
    """
    The error of an owner.
    """


class InjectedBase(BaseException):
    """
    The same, but not caught by C{except Exception}.
    """


#: The errors that are raised at every place.
ERRORS: tuple[type[BaseException], ...] = (
    Injected,
    InjectedBase,
    SystemExit,
    GeneratorExit,
)


class Owner:
    """
    Notes which of its callbacks were called. One of them raises, once.

    @ivar told: the names of the callbacks that were called.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self._raising = ""
        self._skipped = 0
        self._error: BaseException = Injected()

    @property
    def hasRaised(self) -> bool:
        """
        Whether it has raised the error.
        """
        return not self._raising

    def raiseIn(self, callback: str, error: BaseException, skipped: int = 0) -> None:
        """
        Raise an error when a callback is called next.

        @param skipped: how many calls come before that.
        """
        self._raising, self._error, self._skipped = callback, error, skipped

    def called(self, callback: str, reason: Failure | None = None) -> None:
        """
        Note that a callback was called.
        """
        kind = "" if reason is None else type(reason.value).__name__
        if kind in [error.__name__ for error in ERRORS]:
            kind = "error"
        self.told.append(f"{callback}({kind})" if kind else callback)
        self.raiseIfDue(callback)

    def raiseIfDue(self, callback: str) -> None:
        """
        Raise the error if this callback has to, without a note of the call: how often a
        reactor calls it is not specified.
        """
        if callback == self._raising:
            if self._skipped:
                self._skipped -= 1
                return
            self._raising = ""
            raise self._error


class Patience:
    """
    How long to wait for events: shorter once an event did not come.

    @ivar seconds: the time-out.
    """

    def __init__(self) -> None:
        self.seconds = TIMEOUT / 2

    def lose(self) -> None:
        """
        An event did not come.
        """
        self.seconds = 1.0

    async def until(self, reactor: Any, condition: Callable[[], bool]) -> None:
        """
        Wait for a condition that causes no event.
        """
        deadline = time.monotonic() + self.seconds
        while not condition():
            if time.monotonic() > deadline:
                self.lose()
                return
            await deferLater(reactor, 0.005)

    async def gather(self, reactor: Any, events: Sequence[Deferred[None]]) -> bool:
        """
        Wait for all of these.

        @return: whether all came.
        """
        together = gatherResults(events, consumeErrors=True)
        together.addTimeout(self.seconds, reactor)
        try:
            await together
        except (TimeoutError, FirstError):
            self.lose()
            return False
        return True


class Named(Shape):
    """
    A case with a name.
    """

    @property
    def name(self) -> str:
        """
        The callback; after a colon, the circumstances of its call.
        """


_Case = TypeVar("_Case", bound=Named)


def tryAll(
    reactor: Any,
    cases: Sequence[_Case],
    tryOne: Callable[[_Case, BaseException, Patience], Awaitable[list[str]]],
) -> None:
    """
    Try every case with every error; report the faults of each.
    """

    # The sockets of some owners that raised are closed by the garbage collector.
    warnings.simplefilter("ignore", ResourceWarning)

    async def inOrder() -> None:
        patience = Patience()
        for case in cases:
            for error in ERRORS:
                name = f"{case.name}, {error.__name__}"
                wrong = await tryOne(case, error(name), patience)
                tell("case", name=name, wrong=wrong)

    enact(reactor, inOrder)


# Accepted connections.


class Spoken(Owner, Protocol):
    """
    Sends back what it receives, and can be the producer of its transport.
    """

    transport: Any

    def logPrefix(self) -> str:
        """See L{ILoggingContext.logPrefix}."""
        self.raiseIfDue("logPrefix")
        return "Spoken"

    def connectionMade(self) -> None:
        """See L{Protocol.connectionMade}."""
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        self.called("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol.dataReceived}."""
        self.called("dataReceived")
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol.connectionLost}."""
        self.called("connectionLost", reason)

    def readConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol.readConnectionLost}."""
        self.called("readConnectionLost")

    def writeConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol.writeConnectionLost}."""
        self.called("writeConnectionLost")

    def pauseProducing(self) -> None:
        """See L{IPushProducer.pauseProducing}."""
        self.called("pauseProducing")

    def resumeProducing(self) -> None:
        """See L{IPushProducer.resumeProducing}."""
        self.called("resumeProducing")
        self.transport.write(b".")

    def stopProducing(self) -> None:
        """See L{IProducer.stopProducing}."""
        self.called("stopProducing")


@dataclass(frozen=True)
class Ends:
    """
    Both ends of the connection whose owner raises.
    """

    owner: Spoken
    peer: socket.socket

    def say(self) -> None:
        """
        The peer sends something.
        """
        self.peer.sendall(b"x")

    def shutDown(self) -> None:
        """
        The peer shuts down its sending side.
        """
        self.peer.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """
        The peer closes.
        """
        self.peer.close()

    def reset(self) -> None:
        """
        The peer resets; on a UNIX socket it closes.
        """
        reset(self.peer)

    def lose(self) -> None:
        """
        The owner closes.
        """
        self.owner.transport.loseConnection()

    def loseWrite(self) -> None:
        """
        The owner shuts down its sending side.
        """
        self.owner.transport.loseWriteConnection()

    def abort(self) -> None:
        """
        The owner aborts.
        """
        self.owner.transport.abortConnection()

    def write(self) -> None:
        """
        The owner writes enough data for its producer to be paused.
        """
        self.owner.transport.write(_MUCH)

    def push(self) -> None:
        """
        The owner is a push producer.
        """
        self.owner.transport.registerProducer(self.owner, True)

    def pull(self) -> None:
        """
        The owner is a pull producer.
        """
        self.owner.transport.registerProducer(self.owner, False)


@dataclass(frozen=True)
class Case:
    """
    A callback in which the owner of a connection raises.

    @ivar name: the callback; after a colon, the circumstances of its call.
    @ivar provoke: the actions that lead to the call, in order; empty if to connect is
        enough.
    @ivar told: the expected callbacks, in order; C{None} if they are not specified.
    @ivar last: the expected callbacks when the peer closes.
    @ivar halfCloses: whether the protocol provides L{IHalfCloseableProtocol}.
    @ivar skipped: how many calls of the callback come before it raises.
    """

    name: str
    provoke: tuple[Callable[[Ends], None], ...]
    told: str | None
    last: str = ""
    halfCloses: bool = False
    skipped: int = 0


_DONE = "connectionLost(ConnectionDone)"
_LOST = "connectionLost(ConnectionLost)"
_ABORTED = "connectionLost(ConnectionAborted)"
_ERROR = "connectionLost(error)"
_STOPPED = f"stopProducing {_DONE}"

# Except for the callbacks that connecting leads to, connectionMade comes first.
STREAMS: tuple[Case, ...] = (
    Case("buildProtocol", (), ""),
    Case("logPrefix", (), ""),
    Case("connectionMade", (), "", _DONE),
    Case("dataReceived", (Ends.say,), f"dataReceived {_ERROR}"),
    Case(
        "readConnectionLost",
        (Ends.shutDown,),
        f"readConnectionLost {_ERROR}",
        halfCloses=True,
    ),
    Case(
        "writeConnectionLost",
        (Ends.loseWrite,),
        f"writeConnectionLost {_ERROR}",
        halfCloses=True,
    ),
    Case(
        "writeConnectionLost:written",
        (Ends.write, Ends.loseWrite),
        f"writeConnectionLost {_ERROR}",
        halfCloses=True,
    ),
    Case("connectionLost:close", (Ends.close,), _DONE),
    Case("connectionLost:reset", (Ends.reset,), _LOST),
    Case("connectionLost:shutDown", (Ends.shutDown,), _DONE),
    Case("connectionLost:lose", (Ends.lose,), _DONE),
    Case("connectionLost:written", (Ends.write, Ends.lose), _DONE),
    Case("connectionLost:loseWrite", (Ends.loseWrite,), "", _DONE),
    Case("connectionLost:abort", (Ends.abort,), _ABORTED),
    Case("connectionLost:writtenAbort", (Ends.write, Ends.abort), _ABORTED),
    # Twisted's own reactors send that data with the next write, others at once.
    Case("pauseProducing", (Ends.push, Ends.write), None),
    Case(
        "resumeProducing:push",
        (Ends.push, Ends.write),
        f"pauseProducing resumeProducing stopProducing {_ERROR}",
    ),
    Case("resumeProducing:pull", (Ends.pull,), "resumeProducing", _STOPPED),
    Case(
        "resumeProducing:again",
        (Ends.pull,),
        f"resumeProducing resumeProducing stopProducing {_ERROR}",
        skipped=1,
    ),
    # Twisted's transport stops its producer first, and does nothing after that.
    Case("stopProducing:close", (Ends.push, Ends.close), "stopProducing"),
    Case("stopProducing:reset", (Ends.push, Ends.reset), "stopProducing"),
    Case("stopProducing:abort", (Ends.push, Ends.abort), "stopProducing"),
)


class Listening(Factory):
    """
    Makes the owners of one case after the other.

    @ivar owners: the owners of the case, in the order of their connections.
    """

    noisy = False

    def begin(self, case: Case, error: BaseException) -> None:
        """
        Begin another case with the next connections.
        """
        self.owners: list[Spoken] = []
        self._case, self._error = case, error

    def buildProtocol(self, addr: Any) -> Spoken:
        """See L{Factory.buildProtocol}."""
        case, owner = self._case, Spoken()
        self.owners.append(owner)
        if len(self.owners) == GUILTY + 1:
            if case.halfCloses:
                directlyProvides(owner, IHalfCloseableProtocol)
            callback = case.name.partition(":")[0]
            owner.raiseIn(callback, self._error, case.skipped)
            owner.raiseIfDue("buildProtocol")
        return owner


def hear(
    peers: list[socket.socket], size: int, patience: Patience
) -> list[bytes | None]:
    """
    Receive this number of bytes from each, or all bytes until it ends. This blocks.

    @param size: 0 for all bytes until the end.
    @return: the data of each; C{None} if not all of it came.
    """
    heard: dict[Any, bytes] = dict.fromkeys(peers, b"")
    waiting = set(peers)
    deadline = time.monotonic() + patience.seconds
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer, selectors.EVENT_READ)
        while waiting:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                patience.lose()
                break
            for key, _ in ready:
                speaker: Any = key.fileobj
                try:
                    data = speaker.recv(size - len(heard[speaker]) if size else 65536)
                except ConnectionError:
                    data = b""
                heard[speaker] += data
                if not data or len(heard[speaker]) == size:
                    waiting.remove(speaker)
                    selector.unregister(speaker)
    return [None if peer in waiting else heard[peer] for peer in peers]


def streams(reactor: Any, transport: str, onlyExceptions: bool) -> None:
    """
    Let the owner of one connection among many raise, at every place.

    @param transport: C{"tcp"} or C{"unix"}.
    @param onlyExceptions: whether the later callbacks of the owner that raised are
        checked only after an L{Exception}.
    """
    factory = Listening()
    if transport == "unix":
        reactor.listenUNIX("socket", factory)
    else:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port

    def connect() -> socket.socket:
        if transport == "tcp":
            return connectTo(port)
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(TIMEOUT)
        peer.connect("socket")
        return peer

    async def tryOne(case: Case, error: BaseException, patience: Patience) -> list[str]:
        factory.begin(case, error)
        wrong = []
        peers = [connect() for _ in range(OWNERS)]
        guilty, others = peers[GUILTY], peers[:GUILTY] + peers[GUILTY + 1 :]

        async def check(when: str, *expected: bytes) -> None:
            heard = await deferToThread(hear, others, len(expected[0]), patience)
            if not set(heard) <= set(expected):
                wrong.append(f"{when} the others heard {heard}")

        # All are accepted in one turn, and have something to read.
        for peer in others:
            peer.sendall(b"hello")
        await check("when they connected", b"hello")
        # All do something in one turn, and have something to read.
        for peer, owner in zip(peers, factory.owners, strict=True):
            if peer is not guilty:
                peer.sendall(b"more")
                reactor.callLater(0, owner.transport.write, b"said")
            else:
                for step in case.provoke:
                    reactor.callLater(0, step, Ends(owner, peer))
        await check("in the turn", b"saidmore", b"moresaid")
        for peer in others:
            peer.sendall(b"again")
        await check("after the turn", b"again")
        blamed = factory.owners[GUILTY]
        innocent = [owner for owner in factory.owners if owner is not blamed]
        for owner in innocent:
            reactor.callLater(0, owner.transport.loseConnection)
        await check("at the end", b"")
        made = "" if case.name in ("buildProtocol", "logPrefix") else "connectionMade "
        expected = (made + (case.told or "")).split()
        if transport == "unix":
            expected = [_DONE if each == _LOST else each for each in expected]
        isCompared = isinstance(error, Exception) or not onlyExceptions
        isCompared = isCompared and case.told is not None
        if isCompared:
            await patience.until(reactor, lambda: blamed.told == expected)
        guilty.close()
        await patience.until(reactor, lambda: blamed.hasRaised)
        expected += case.last.split()
        if isCompared:
            await patience.until(reactor, lambda: blamed.told == expected)
            if blamed.told != expected:
                wrong.append(f"the callbacks of its owner: {blamed.told}")
        await patience.until(
            reactor, lambda: all(_DONE in owner.told for owner in innocent)
        )
        ends = [owner.told.count(_DONE) for owner in innocent]
        if ends != [1] * len(innocent):
            wrong.append(f"the ends of the others: {ends}")
        for peer in others:
            peer.close()
        return wrong

    tryAll(reactor, STREAMS, tryOne)


# Outgoing connections.


class Calling(Owner, ClientFactory):
    """
    Connects, sends something and receives it again.

    @ivar heard: fires when it has received it; it is replaced for the next time.
    @ivar over: fires when its connection has ended, or could not be made.
    @ivar made: the connection's protocol.
    """

    noisy = False

    def __init__(self) -> None:
        super().__init__()
        self.heard: Deferred[None] = Deferred()
        self.over: Deferred[None] = Deferred()
        self.made: Caller | None = None

    def doStart(self) -> None:
        """See L{Factory.doStart}."""
        self.called("doStart")
        super().doStart()

    def startedConnecting(self, connector: Any) -> None:
        """See L{ClientFactory.startedConnecting}."""
        self.called("startedConnecting")

    def buildProtocol(self, addr: Any) -> Any:
        """See L{Factory.buildProtocol}."""
        self.called("buildProtocol")
        self.made = Caller()
        self.made.factory = self
        return self.made

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """See L{ClientFactory.clientConnectionFailed}."""
        self.over.callback(None)
        self.called("clientConnectionFailed", reason)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """See L{ClientFactory.clientConnectionLost}."""
        self.over.callback(None)
        self.called("clientConnectionLost", reason)

    def doStop(self) -> None:
        """See L{Factory.doStop}."""
        super().doStop()
        self.called("doStop")


class Caller(Protocol):
    """
    One connection of L{Calling}.
    """

    factory: Calling
    transport: Any

    def logPrefix(self) -> str:
        """See L{ILoggingContext.logPrefix}."""
        self.factory.raiseIfDue("logPrefix")
        return "Caller"

    def connectionMade(self) -> None:
        """See L{Protocol.connectionMade}."""
        self.factory.called("connectionMade")
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol.dataReceived}."""
        heard, self.factory.heard = self.factory.heard, Deferred()
        heard.callback(None)
        self.factory.called("dataReceived")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol.connectionLost}."""
        self.factory.called("connectionLost", reason)


class Echo(Protocol):
    """
    Sends back what it receives.
    """

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol.dataReceived}."""
        self.transport.write(data)


@dataclass(frozen=True)
class ClientCase:
    """
    A callback in which the owner of an outgoing connection raises.

    @ivar name: the callback.
    @ivar told: the expected callbacks, in order.
    @ivar isAnswered: whether there is a server to connect to.
    """

    name: str
    told: str
    isAnswered: bool = True


_BEGUN = "doStart startedConnecting"
_MADE = f"{_BEGUN} buildProtocol connectionMade"
_ENDED = f"{_MADE} dataReceived {_DONE}"

CLIENTS: tuple[ClientCase, ...] = (
    ClientCase("doStart", "doStart"),
    ClientCase(
        "startedConnecting",
        f"{_ENDED} clientConnectionLost(ConnectionDone) doStop",
    ),
    ClientCase(
        "buildProtocol",
        f"{_BEGUN} buildProtocol clientConnectionFailed(ConnectError) doStop",
    ),
    ClientCase(
        "logPrefix",
        f"{_BEGUN} buildProtocol {_ERROR} clientConnectionLost(error) doStop",
    ),
    ClientCase(
        "connectionMade", f"{_MADE} {_ERROR} clientConnectionLost(error) doStop"
    ),
    ClientCase(
        "dataReceived",
        f"{_MADE} dataReceived {_ERROR} clientConnectionLost(error) doStop",
    ),
    ClientCase("connectionLost", _ENDED),
    ClientCase(
        "clientConnectionLost", f"{_ENDED} clientConnectionLost(ConnectionDone)"
    ),
    ClientCase("doStop", f"{_ENDED} clientConnectionLost(ConnectionDone) doStop"),
    ClientCase(
        "clientConnectionFailed",
        f"{_BEGUN} clientConnectionFailed(ConnectionRefusedError)",
        isAnswered=False,
    ),
    ClientCase(
        "doStop:failed",
        f"{_BEGUN} clientConnectionFailed(ConnectionRefusedError) doStop",
        isAnswered=False,
    ),
)


def clients(reactor: Any, transport: str, onlyExceptions: bool) -> None:
    """
    Let the owner of one outgoing connection among many raise, at every place.

    @param transport: as for L{streams}.
    @param onlyExceptions: as for L{streams}.
    """
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    if transport == "unix":
        reactor.listenUNIX("socket", factory)
    else:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
        nobody = socket.socket()
        nobody.bind(("127.0.0.1", 0))

    def connect(owner: Calling, isAnswered: bool) -> None:
        if transport == "unix":
            reactor.connectUNIX("socket" if isAnswered else "nobody", owner)
        else:
            where = port if isAnswered else nobody.getsockname()[1]
            reactor.connectTCP("127.0.0.1", where, owner)

    async def tryOne(
        case: ClientCase, error: BaseException, patience: Patience
    ) -> list[str]:
        wrong = []
        owners = [Calling() for _ in range(OWNERS)]
        blamed = owners[GUILTY]
        blamed.raiseIn(case.name.partition(":")[0], error)
        innocent = [owner for owner in owners if owner is not blamed]

        async def check(when: str, events: list[Deferred[None]]) -> None:
            if not await patience.gather(reactor, events):
                came = [event.called for event in events]
                wrong.append(f"{when} the others got so far: {came}")

        for owner in owners:
            isAnswered = owner is not blamed or case.isAnswered
            reactor.callLater(0, connect, owner, isAnswered)
        hearing = owners if "dataReceived" in case.told else innocent
        await check("connecting", [owner.heard for owner in hearing])
        for owner in owners:
            connection: Any = owner.made and owner.made.transport
            if owner is not blamed:
                reactor.callLater(0, connection.write, b"again")
            elif connection:
                reactor.callLater(0, connection.loseConnection)
        await check("in the turn", [owner.heard for owner in innocent])
        for owner in innocent:
            assert owner.made is not None
            reactor.callLater(0, owner.made.transport.loseConnection)
        await check("at the end", [owner.over for owner in innocent])
        await patience.until(reactor, lambda: blamed.hasRaised)
        # A UNIX socket is connected within connectUNIX, or later.
        isCompared = isinstance(error, Exception) or not onlyExceptions
        if transport == "tcp" and isCompared:
            expected = case.told.split()
            await patience.until(reactor, lambda: blamed.told == expected)
            if blamed.told != expected:
                wrong.append(f"the callbacks of its owner: {blamed.told}")
        return wrong

    tryAll(reactor, CLIENTS, tryOne)
