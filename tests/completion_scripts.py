"""
Random scripts of connections, run under one reactor, whose results are compared with
another's. Arguments: C{REACTOR FIRST COUNT}, the first number and the number of
scripts.

A script is made from its number alone, so it is the same under every reactor. A
connection has two ends: a protocol, and its peer, a plain socket that this program
drives. After each step the reactor iterates until nothing happens any more, so the
calls to protocols are the same however a reactor divides its work into iterations. In
three of four scripts the ends act in turn: a step is one action of one end, and the
next step waits until its effect has reached the other end. For each script this prints
a line of JSON: the calls to each protocol, in order, the bytes that its peer received,
and the mistakes.

A mistake is a breach of a rule that holds under every reactor, in whatever order both
ends act: the bytes that arrive are those that the other end wrote, in order, and all of
them before an end by FIN; no data is delivered while reading is paused; the end of a
direction is reported once, and no callback comes after C{connectionLost}; producers are
paused and resumed in turn.

Two things are not compared, because the kernel decides them: how many bytes fit into
the buffers of a socket (the scripts send far less or far more, and in the second case
the number is only compared if all bytes arrived), and into how many pieces a stream is
cut (consecutive calls of C{dataReceived} are one event).
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from select import EPOLLOUT
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet import tcp
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from .conformance.peers import reset

#: For epoll by L{sendFirst}.
SENDING_FIRST = "epoll sending first"
KIB = 1024
_SMALL = (1, 100, 5 * KIB)
_LARGE = 16 * KIB * KIB  # the buffers of no socket take that
_PERIOD = 251  # of what is in it, so that no two pieces of it can be exchanged
_MOST_UNREAD = 30 * KIB  # the buffers of every socket take that
_STEPS = 20
_CONNECTIONS = 3
_MOST_TURNS = 5000
# So many iterations without any event end a step; more, if an event is still expected,
# which may never come.
_IDLE = 4
_LONG_IDLE = 100

# The reactions of a protocol to its callbacks: several habits for each callback, with
# their frequencies. A habit is a list of methods of Told.
_HABITS: dict[str, tuple[tuple[int, str], ...]] = {
    "connectionMade": (
        (10, ""),
        (3, "small"),
        (2, "pause"),
        (1, "large"),
        (1, "large push"),
        (1, "small lose"),
        (1, "small loseWrite"),
        (1, "fail"),
    ),
    "dataReceived": (
        (8, ""),
        (5, "small"),
        (2, "pause"),
        (2, "pause resume"),
        (1, "small lose"),
        (1, "loseWrite"),
        (1, "abort"),
        (1, "fail"),
    ),
    "readConnectionLost": (
        (3, ""),
        (3, "lose"),
        (2, "small lose"),
        (1, "large loseWrite"),
        (1, "abort"),
        (1, "fail"),
    ),
    "writeConnectionLost": ((5, ""), (2, "lose"), (1, "abort"), (1, "fail")),
    "connectionLost": ((8, ""), (1, "small"), (1, "fail")),
    "pauseProducing": ((8, ""), (1, "pause")),
    "resumeProducing": ((3, "produce"), (1, "small unregister lose")),
    "stopProducing": ((8, ""), (1, "small")),
}

# The actions in a step: by the protocol of a connection, or by its peer.
_PROTOCOL = (
    *("small", "small", "small", "subclass", "pieces", "empty", "large", "large"),
    *("pause", "pause", "resume", "resume", "push", "pull", "unregister"),
    *("lose", "loseWrite", "abort"),
)
_WRITING = ("small", "subclass", "pieces", "empty")
_CLOSING = ("loseWrite", "empty", "push", "pull", "unregister")
_PEER = ("say", "say", "say", "say", "hear", "hear", "shutDown", "close", "reset")

# Differences that are accepted, with reasons. The scripts here do not contain the ones
# that begin with "not done"; tests.test_completion_oracle accepts the rest.
DIFFERENCES = {
    "not done: to resume reading when the input is over": "Twisted's own transports "
    "report the end again, or find EPOLLHUP; those of the queues know that nothing can "
    "come.",
    "not done: to close a direction that is closed here or there, to write nothing to "
    "it, to register a producer for it": "Twisted's own transports call send(2) with "
    "no data then, find EPIPE or EPOLLHUP and lose the connection; the queues' begin "
    "no operation if they have nothing to send.",
    "not done: anything but to resume or abort, when reading is paused and the peer "
    "has closed": "Readiness reports that as EPOLLHUP or EPOLLERR to a connection that "
    "writes; with completions it is the result of a receive, and none is under way.",
    "sending first": "The queues' transports send what was written in a turn at its "
    "end, before they receive more; Twisted's own receive first if both are ready. "
    "Each connection must be as under epoll, or as under epoll with that order: see "
    "sendFirst.",
    "reason": "A protocol that had readConnectionLost and then closes is lost with "
    "ConnectionDone. Twisted's own find EPOLLHUP, if its peer has closed, and say "
    "ConnectionLost though nothing was left to be sent.",
    "perhaps all of it": "To close a socket that has something to read resets the "
    "connection, and the kernel drops what it has not sent. How much that is depends "
    "on how much is sent at a time: Twisted's own send 128 KiB, the queues' all.",
    "race: both ends do something before the reactor is turned": "An end may come "
    "before or after what else happens, and between two sends of 128 KiB, too.",
    "race: the peer does several things before it is accepted, or while reading is "
    "paused": "The first send may find that the peer is gone before what it said is "
    "received.",
    "race: the peer closes while much is being sent to it": "The kernel gives the "
    "error to one operation alone, to send or to receive.",
}
# After one of these races a connection may differ from both orders of epoll: it must be
# the same up to that step, and break no rule after it. This may happen to few
# connections.


class Bytes(bytes):
    """
    A subclass of C{bytes}, such as PyNaCl and numpy have.
    """


class Stream:
    """
    The bytes of one direction of a connection.

    @ivar written: the number of bytes that one end wrote.
    @ivar arrived: the number of them that the other end received.
    """

    def __init__(self) -> None:
        self.written = 0
        self.arrived = 0
        self._due: deque[memoryview] = deque()

    def write(self, data: bytes) -> None:
        """
        One end writes these bytes.
        """
        if data:
            self.written += len(data)
            self._due.append(memoryview(data))

    def arrive(self, data: bytes) -> bool:
        """
        The other end receives these bytes.

        @return: whether they are the next bytes of the stream.
        """
        self.arrived += len(data)
        while data and self._due:
            piece = self._due.popleft()
            count = min(len(piece), len(data))
            if bytes(piece[:count]) != data[:count]:
                return False
            if count < len(piece):
                self._due.appendleft(piece[count:])
            data = data[count:]
        return not data


class Told(Protocol):
    """
    A protocol that records its callbacks, and reacts to them with its habits. A
    callback that no reactor may make, whatever the peer does at the same time, is a
    mistake.

    @ivar events: the callbacks so far.
    @ivar stream: the bytes that it writes.
    @ivar owed: how many bytes it had written when it first closed its direction.
    @ivar reason: the reason of C{connectionLost}.
    @ivar waiting: the number of the peer's actions while reading was paused.
    @ivar hasMuch: whether it has written more than the buffers of a socket hold.
    @ivar isPaused: whether reading is paused.
    @ivar isStreaming: whether it is a push producer; C{None} if it is no producer.
    @ivar isFull: whether it was paused as a producer, and not resumed since. As in
        Twisted's transports, this outlasts the registration of the producer.
    """

    transport: Any

    def __init__(self, script: Script, number: int) -> None:
        self.script = script
        self.number = number
        self.random = random.Random(f"{script.number} {number}")
        self.events: list[str] = []
        self.stream = Stream()
        self.owed: int | None = None
        self.reason: str | None = None
        self.waiting = 0
        self.hasMuch = False
        self.isPaused = False
        self.isStreaming: bool | None = None
        self.isFull = False
        self.isHalfClosed = False
        self.hasLostWrite = False
        self._left = 3
        if self.random.random() < 0.6:
            directlyProvides(self, IHalfCloseableProtocol)
        self._habits = {
            callback: self.random.choices(
                [actions for _, actions in habits],
                [frequency for frequency, _ in habits],
            )[0].split()
            for callback, habits in _HABITS.items()
        }

    @property
    def isLost(self) -> bool:
        """
        Whether C{connectionLost} was called.
        """
        return self.reason is not None

    @property
    def peer(self) -> Peer:
        """
        The other end of the connection.
        """
        return self.script.peers[self.number]

    def must(self, holds: bool, rule: str) -> None:
        """
        Record a mistake if a rule does not hold.
        """
        mistake = f"connection {self.number}: {rule}"
        if not holds and mistake not in self.script.mistakes:
            self.script.mistakes.append(mistake)

    def told(self, callback: str, detail: str = "") -> None:
        """
        Record a callback, and react to it.
        """
        self.script.happened = True
        isFirst = callback == "connectionMade"
        self.must(isFirst != bool(self.events), "connectionMade is called first, once")
        isOver = self.isLost and callback != "connectionLost"
        self.must(not isOver, f"{callback} after connectionLost")
        self.events.append(callback + detail)
        actions = self._habits[callback]
        if callback != "resumeProducing":
            # A habit is used once: the number of dataReceived calls must not matter,
            # and a wrong reactor that repeats a callback must not make it write without
            # end.
            self._habits[callback] = []
        for action in actions:
            self.do(action)

    def do(self, action: str) -> None:
        """
        Do an action. An exception is recorded.
        """
        if action == "fail":
            raise ZeroDivisionError("as usual")
        try:
            getattr(self, action)()
        except Exception as error:
            self.events.append(f"{action} raised {type(error).__name__}")

    def act(self, action: str) -> None:
        """
        Do an action in a step, if its effect is compared: see L{DIFFERENCES}.
        """
        peer = self.peer
        isCompared = True
        if self.isLost:
            isCompared = action in _WRITING
        elif self.hasLostWrite or peer.isClosed:
            isCompared = action not in _CLOSING
        if self.isPaused and peer.isClosed:
            isCompared = action in ("resume", "abort")
        if isCompared:
            self.do(action)

    # Callbacks

    def connectionMade(self) -> None:
        """See L{Protocol.connectionMade}."""
        if not self.script.isUNIX:
            self.transport.setTcpNoDelay(True)  # or something is sent some time later
        self.told("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol.dataReceived}."""
        stream = self.peer.stream
        self.must(stream.arrive(data), "other bytes than its peer wrote, or lost ones")
        self.must(not self.isPaused, "dataReceived while reading is paused")
        self.must(not self.isHalfClosed, "dataReceived after readConnectionLost")
        if self.events[-1].startswith("dataReceived") and not self.isLost:
            self.script.happened = True
            self.events[-1] = f"dataReceived to {stream.arrived}"
        else:
            self.told("dataReceived", f" to {stream.arrived}")

    def readConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol.readConnectionLost}."""
        self.must(not self.isHalfClosed, "a second readConnectionLost")
        self.must(not self.isPaused, "readConnectionLost while reading is paused")
        self.isHalfClosed = True
        self.inputEnded()
        self.told("readConnectionLost")

    def writeConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol.writeConnectionLost}."""
        isFirst = "writeConnectionLost" not in self.events
        self.must(isFirst, "a second writeConnectionLost")
        self.must(self.hasLostWrite, "writeConnectionLost before loseWriteConnection")
        self.told("writeConnectionLost")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol.connectionLost}."""
        self.must(not self.isLost, "a second connectionLost")
        self.must(self.isStreaming is None, "connectionLost before stopProducing")
        self.reason = type(reason.value).__name__
        if self.reason == "ConnectionDone" and self.owed is None:
            self.inputEnded()
        self.told("connectionLost", f" {self.reason}")

    def inputEnded(self) -> None:
        """
        The input has ended.
        """
        stream, peer = self.peer.stream, self.peer
        hasEnded = peer.hasShutDown or peer.isClosed
        self.must(hasEnded, "an end that its peer did not make")
        self.must(stream.arrived == stream.written, "the end before all bytes")

    def pauseProducing(self) -> None:
        """See L{IPushProducer.pauseProducing}."""
        self.must(self.isStreaming is True, "pauseProducing of no push producer")
        self.isFull = True
        self.told("pauseProducing")

    def resumeProducing(self) -> None:
        """See L{IPushProducer.resumeProducing}."""
        self.must(self.isStreaming is not None, "resumeProducing of no producer")
        isDue = self.isFull or self.isStreaming is False
        self.must(isDue, "resumeProducing of a push producer that was not paused")
        self.isFull = False
        self.told("resumeProducing")

    def stopProducing(self) -> None:
        """See L{IProducer.stopProducing}."""
        self.must(self.isStreaming is not None, "stopProducing of no producer")
        self.isStreaming = None
        self.told("stopProducing")

    # Actions

    def _write(self, data: bytes) -> None:
        self.stream.write(bytes(data))
        self.transport.write(data)

    def small(self) -> None:
        """
        Write a few bytes.
        """
        self._write(self.random.randbytes(self.random.choice(_SMALL)))

    def subclass(self) -> None:
        """
        Write an instance of a subclass of C{bytes}.
        """
        self._write(Bytes(b"subclass"))

    def pieces(self) -> None:
        """
        Write a sequence of pieces.
        """
        self.stream.write(b"somepieces")
        self.transport.writeSequence([b"", b"some", b"", Bytes(b"pieces"), b""])

    def empty(self) -> None:
        """
        Write no bytes.
        """
        self.transport.writeSequence([b"", b""])
        self.transport.write(b"")

    def large(self) -> None:
        """
        Write more bytes than the buffers of a socket hold.
        """
        self.hasMuch = True
        pattern = self.random.randbytes(_PERIOD)
        self._write(pattern * (_LARGE // _PERIOD + 1))

    def pause(self) -> None:
        """
        Pause reading.
        """
        self.isPaused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """
        Resume reading.
        """
        self.isPaused = False
        if not self.isHalfClosed:
            self.transport.resumeProducing()

    def push(self) -> None:
        """
        Register as a push producer.
        """
        self._produce(True)

    def pull(self) -> None:
        """
        Register as a pull producer.
        """
        self._produce(False)

    def _produce(self, isStreaming: bool) -> None:
        if self.isStreaming is None:
            self.isStreaming = isStreaming
        self.transport.registerProducer(self, isStreaming)

    def produce(self) -> None:
        """
        Write a few bytes; at the third call, unregister as a producer instead.
        """
        self._left -= 1
        if self._left > 0:
            self.small()
        else:
            self.unregister()

    def unregister(self) -> None:
        """
        Unregister as a producer.
        """
        self.isStreaming = None
        self.transport.unregisterProducer()

    def lose(self) -> None:
        """
        Close when all bytes are sent.
        """
        self._owe()
        self.transport.loseConnection()

    def loseWrite(self) -> None:
        """
        Close this direction when all bytes are sent.
        """
        if not self.hasLostWrite:
            self.hasLostWrite = True
            self._owe()
            self.transport.loseWriteConnection()

    def _owe(self) -> None:
        if self.owed is None:
            self.owed = self.stream.written

    def abort(self) -> None:
        """
        Abort the connection.
        """
        self.transport.abortConnection()


class Peer:
    """
    The peer of a protocol: a plain socket.

    @ivar stream: the bytes that it sends.
    @ivar end: how its input has ended, or C{"open"}.
    @ivar certain: the result of L{describe} before the first race, if there was any:
        see L{DIFFERENCES}.
    """

    def __init__(self, script: Script, connection: socket.socket) -> None:
        self.script = script
        self.connection = connection
        self.number = len(script.peers)
        self.random = random.Random(f"{script.number} peer {self.number}")
        self.stream = Stream()
        self.end = "open"
        self.certain: dict[str, Any] | None = None
        self.isClosed = False
        self.hasShutDown = False

    @property
    def owner(self) -> Told | None:
        """
        The protocol of this connection, once it is accepted.
        """
        owners = self.script.owners
        return owners[self.number] if self.number < len(owners) else None

    def do(self, action: str) -> None:
        """
        Do an action, unless the socket is closed.
        """
        if self.isClosed:
            return
        owner = self.owner
        if owner is not None:
            owner.waiting += owner.isPaused
            isTorn = action in ("close", "reset") and self.isOwed and owner.hasMuch
            if owner.waiting > 1 or isTorn:
                self.race()
        if action == "say" and not self.hasShutDown:
            piece = self.random.randbytes(self.random.choice(_SMALL))
            unread = self.stream.written - self.stream.arrived
            if unread + len(piece) <= _MOST_UNREAD:
                try:
                    self.stream.write(piece[: self.connection.send(piece)])
                except ConnectionError:
                    self.hasShutDown = True
        elif action == "shutDown" and not self.hasShutDown:
            self.hasShutDown = True
            try:
                self.connection.shutdown(socket.SHUT_WR)
            except OSError:
                return
        elif action in ("close", "reset"):
            self.isClosed = True
            if action == "close":
                self.connection.close()
            else:
                reset(self.connection)

    def race(self) -> None:
        """
        Record that the order of events is open from now on.
        """
        if self.certain is None:
            self.certain = self.describe()

    def describe(self) -> dict[str, Any]:
        """
        The callbacks of the protocol, and the bytes received from it.
        """
        owner = self.owner
        heard = f"{0 if owner is None else owner.stream.arrived} bytes, {self.end}"
        if owner is not None and owner.hasMuch:
            if owner.isLost and self.stream.arrived < self.stream.written:
                heard = "perhaps all of it"
            elif self.isOwed:
                heard = "not all of it"
        return {"told": [] if owner is None else [*owner.events], "heard": heard}

    @property
    def isHearing(self) -> bool:
        """
        Whether its input is still open.
        """
        return not self.isClosed and self.end == "open"

    @property
    def isOwed(self) -> bool:
        """
        Whether it has not received all bytes that the protocol wrote.
        """
        owner = self.owner
        return owner is not None and owner.stream.arrived < owner.stream.written

    @property
    def isWaiting(self) -> bool:
        """
        Whether a callback about one of its actions is still to come.
        """
        owner = self.owner
        if owner is None:
            return self.script.isListening
        if owner.isLost or owner.isPaused or owner.isHalfClosed:
            return False
        hasEnded = self.hasShutDown or self.isClosed
        return hasEnded or self.stream.arrived < self.stream.written

    def hear(self) -> bool:
        """
        Receive all bytes that have arrived.

        @return: whether there were any, or an end.
        """
        if not self.isHearing:
            return False
        owner = self.owner
        some = False
        while self.end == "open":
            try:
                data = self.connection.recv(1 << 20)
            except BlockingIOError:
                return some
            except ConnectionError as error:
                self.end = type(error).__name__
                return True
            some = True
            if not data:
                self.end = "end"
            elif owner is not None:
                isNext = owner.stream.arrive(data)
                owner.must(isNext, "other bytes than it wrote, or lost ones, are heard")
        if owner is not None and owner.owed is not None and not self.hasShutDown:
            isOrderly = owner.reason in (None, "ConnectionDone")
            isAll = owner.stream.arrived >= owner.owed or not isOrderly
            owner.must(isAll or self.end != "end", "an end before all that it wrote")
        return some


@dataclass(frozen=True)
class Action:
    """
    One action in a step.

    @ivar who: the actor: C{"port"}, C{"protocol"} or C{"peer"}.
    @ivar connection: the number of the connection.
    @ivar what: the name of the action.
    """

    who: str
    connection: int
    what: str

    def isFor(self, connection: int) -> bool:
        """
        Whether it affects a connection.
        """
        isThere = self.who != "port" and self.connection == connection
        return isThere and self.what != "hear"

    def __str__(self) -> str:
        return f"[{self.who} {self.connection} {self.what}]"


def isCalm(number: int) -> bool:
    """
    Whether both ends act in turn in a script.
    """
    return number % 4 != 0


def plan(number: int) -> list[list[Action]]:
    """
    The steps of a script. Each is a list of actions, after which the reactor iterates.
    """
    choose = random.Random(number)
    connected, isListening = 0, True
    steps = []
    for _ in range(_STEPS):
        step: list[Action] = []
        for _ in range(1 if isCalm(number) else choose.choice((1, 1, 2, 3))):
            connection = choose.randrange(_CONNECTIONS)
            if connection >= connected:
                if isListening:
                    # A peer may act, and even close, before it is accepted.
                    some = choose.choices((*_PEER, *[""] * len(_PEER)), k=2)
                    if isCalm(number):
                        some = []
                    for what in ["connect", *filter(None, some)]:
                        step.append(Action("peer", connected, what))
                    connected += 1
            elif isListening and choose.random() < 0.05:
                isListening = False
                step.append(Action("port", 0, "stopListening"))
            elif choose.random() < 0.5:
                step.append(Action("peer", connection, choose.choice(_PEER)))
            else:
                step.append(Action("protocol", connection, choose.choice(_PROTOCOL)))
        steps.append(step)
    return steps


class Script(Factory):
    """
    The run of a script: the factory of its protocols.

    @ivar happened: whether any callback was made since this was set to L{False}.
    """

    noisy = False

    def __init__(self, reactor: Any, number: int) -> None:
        self.reactor = reactor
        self.number = number
        self.happened = False
        self.peers: list[Peer] = []
        self.owners: list[Told] = []
        self.mistakes: list[str] = []
        self.isUNIX = number % 3 == 2
        self.plan = plan(number)
        if self.isUNIX:
            self.path = tempfile.mktemp()
            self.port = reactor.listenUNIX(self.path, self)
        else:
            self.port = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.isListening = True

    def buildProtocol(self, addr: Any) -> Told:
        """See L{Factory.buildProtocol}."""
        self.owners.append(Told(self, len(self.owners)))
        return self.owners[-1]

    def settle(self, hearing: Sequence[int] = ()) -> None:
        """
        Iterate the reactor until nothing happens any more.

        @param hearing: the numbers of the peers that receive meanwhile.
        """
        idle = turns = 0
        while idle < (_LONG_IDLE if self.isUnsettled(hearing) else _IDLE):
            turns += 1
            if turns > _MOST_TURNS:
                self.mistakes.append("something happens without end")
                return
            self.happened = False
            try:
                self.reactor.iterate(0 if idle < _IDLE // 2 else 0.001)
            except Exception as error:
                # No exception may leave iterate.
                self.mistakes.append(f"iterate raised {type(error).__name__}")
            for number in hearing:
                self.happened |= self.peers[number].hear()
            idle = 0 if self.happened else idle + 1

    def isUnsettled(self, hearing: Sequence[int]) -> bool:
        """
        Whether an event is still expected, perhaps when the kernel has delivered it: a
        callback about an action of a peer, or bytes for these peers.
        """
        return any(peer.isWaiting for peer in self.peers) or any(
            peer.isOwed and peer.isHearing and peer.owner and not peer.owner.isLost
            for peer in (self.peers[number] for number in hearing)
        )

    def connect(self) -> None:
        """
        Connect a new peer.
        """
        if self.isUNIX:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self.path)
        else:
            connection = socket.create_connection(
                ("127.0.0.1", self.port.getHost().port)
            )
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self.peers.append(Peer(self, connection))

    def step(self, actions: list[Action]) -> None:
        """
        Do the actions of a step, and then iterate the reactor.
        """
        hearing = []
        for action in actions:
            number = action.connection
            if action.what == "connect":
                self.connect()
            elif action.who == "port":
                self.reactor.callLater(0, self.port.stopListening)
                self.isListening = False
                continue
            peer = self.peers[number]
            if sum(each.isFor(number) for each in actions) > 1:
                peer.race()
            if action.who == "protocol":
                if peer.owner is not None:
                    self.reactor.callLater(0, peer.owner.act, action.what)
            elif action.what == "hear":
                hearing.append(number)
            elif action.what != "connect":
                peer.do(action.what)
        self.settle(hearing)

    def run(self) -> dict[str, Any]:
        """
        Run the whole script.

        @return: the callbacks, the bytes received, and the mistakes.
        """
        for actions in self.plan:
            self.step(actions)
        # At the end all bytes must arrive, and all connections must end.
        for owner in self.owners:
            if not owner.isLost:
                owner.do("resume")
        self.settle(range(len(self.peers)))
        for owner in self.owners:
            if owner.isLost:
                continue
            stream = owner.peer.stream
            isAll = owner.isPaused or stream.arrived == stream.written
            owner.must(isAll, "bytes of its peer never came")
            isAll = not owner.peer.isHearing or owner.hasLostWrite
            isAll = isAll or owner.stream.arrived == owner.stream.written
            owner.must(isAll, "bytes that it wrote never came")
        for peer in self.peers:
            peer.do("close")
        self.settle()
        all_ = [peer.describe() for peer in self.peers]
        for owner in self.owners:
            if not owner.isLost:
                owner.do("abort")
        if self.isListening:
            self.isListening = False
            self.port.stopListening()
        self.settle()
        for owner in self.owners:
            owner.must(owner.isLost, "connectionLost never came")
        return {
            "number": self.number,
            "isUNIX": self.isUNIX,
            "plan": [" ".join(map(str, actions)) for actions in self.plan],
            "mistakes": self.mistakes,
            "all": all_,
            "certain": [peer.certain for peer in self.peers],
        }


def sendFirst(reactor: Any) -> None:
    """
    Make epoll send the bytes written in an iteration at its end, before it receives any
    more: Twisted's own transports, in the order of the completion queues'.
    """
    runUntilCurrent = reactor.runUntilCurrent

    def runAndSend() -> None:
        runUntilCurrent()
        for writer in reactor.getWriters():
            if isinstance(writer, tcp.Connection):
                send = reactor._doReadOrWrite
                log.callWithLogger(writer, send, writer, writer.fileno(), EPOLLOUT)

    reactor.runUntilCurrent = runAndSend


def main(name: str, first: str, count: str) -> None:
    """
    Run scripts under one reactor.
    """
    reactor: Any = installReactor("epoll" if name == SENDING_FIRST else name)
    if name == SENDING_FIRST:
        sendFirst(reactor)
    reactor.startRunning(installSignalHandlers=False)
    for number in range(int(first), int(first) + int(count)):
        script = Script(reactor, number)
        print(json.dumps(script.run()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
