"""
Random scripts of connections, run under one reactor, which is to be held against
another: C{REACTOR FIRST COUNT}, the numbers of the scripts.

A script is made from its number alone, so it is the same under every reactor. It has
two ends: plain sockets, driven from here, and protocols. After each of its steps the
reactor is turned until nothing happens any more, so that what is told is the same
however a reactor divides its work into turns. Of each script a line of JSON says what
each connection was told, in order, and what its peer heard.

Two things are kept out, because they are the kernel's affair: how many bytes fit into
the buffers of a socket (what is sent fits by far, or by far does not, and then it is
not said how much of it arrived, unless all did), and into how many pieces a stream is
cut (what comes without anything between is one event).
"""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from .conformance.peers import reset

KIB = 1024
_SMALL = (1, 100, 5 * KIB)
_LARGE = 16 * KIB * KIB  # the buffers of no socket take that
_MOST_UNREAD = 30 * KIB  # the buffers of every socket take that
_STEPS = 14
_CONNECTIONS = 3
_MOST_TURNS = 5000
# Turns in which nothing happens, until nothing happens any more; and where something
# should, but perhaps never will.
_IDLE = 4
_LONG_IDLE = 100

# What a protocol does in its callbacks: several habits of each, and how frequent they
# are. Each is a list of methods of Told.
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

# What is done with a connection in a step: by its protocol or by its peer.
_PROTOCOL = (
    *("small", "small", "small", "subclass", "pieces", "empty", "large", "large"),
    *("pause", "pause", "resume", "resume", "push", "pull", "unregister"),
    *("lose", "loseWrite", "abort"),
)
_WRITING = ("small", "subclass", "pieces", "empty")
_CLOSING = ("loseWrite", "empty", "push", "pull", "unregister")
_PEER = ("say", "say", "say", "say", "hear", "hear", "shutDown", "close", "reset")

# What is not compared, and why. What says "not done" is kept out of the scripts here,
# the rest is let pass by tests.test_completion_oracle.
DIFFERENCES = {
    "not done: to resume reading when the input is over": "Twisted's own tell the end "
    "again, or find EPOLLHUP; the queues' transports know that nothing can come.",
    "not done: to close a direction that is closed here or there, to write nothing to "
    "it, to register a producer for it": "Twisted's own send(2) nothing to it then, "
    "find EPIPE or EPOLLHUP and lose the connection; an operation that has nothing to "
    "send is not asked for.",
    "not done: anything but to resume or abort, when reading is paused and the peer "
    "has closed": "Readiness reports that as EPOLLHUP or EPOLLERR to whoever writes; "
    "with completions it is the result of receiving, for which nobody has asked.",
    "order of both directions": "What was written in a turn is sent at its end, before "
    "anything more is received; Twisted's own receive first, if both are ready. What "
    "is told of each direction is in order, but not the one against the other.",
    "reason": "When the peer has closed, Twisted's own find EPOLLHUP or EPIPE as they "
    "close, and say ConnectionLost though nothing was left to be sent: here that is "
    "ConnectionDone.",
    "perhaps all of it": "Who closes a socket that has something to read resets the "
    "connection, and the kernel throws away what it has not sent. That is more, the "
    "more is sent at a time: Twisted's own send 128 KiB, the queues' transports all.",
    "contended": "When both ends do something with a connection before the reactor is "
    "turned, or the peer does several things before it is accepted or while reading "
    "is paused, it is for the same reason open what comes first: what the peer said, "
    "or that nothing can be sent any more. Likewise when it closes while much is sent: "
    "the kernel gives an error to one operation alone, to send or to receive.",
}


class Bytes(bytes):
    """
    As those of PyNaCl and numpy.
    """


class Told(Protocol):
    """
    Writes down what it is told, and does what are its habits then.

    @ivar events: what it was told.
    @ivar received: how many bytes.
    @ivar written: how many bytes it has written.
    @ivar waiting: how many things its peer did while reading was paused.
    @ivar isTorn: whether its peer closed before it had heard all that was written.
    @ivar hasMuch: whether it has written more than a socket takes.
    """

    transport: Any

    def __init__(self, script: Script, number: int) -> None:
        self.script = script
        self.number = number
        self.random = random.Random(f"{script.number} {number}")
        self.events: list[str] = []
        self.received = 0
        self.checksum = 0
        self.isLost = False
        self.isHalfClosed = False
        self.hasMuch = False
        self.written = 0
        self.waiting = 0
        self.isTorn = False
        self.isPaused = False
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

    def told(self, callback: str, detail: str = "") -> None:
        """
        Write it down.
        """
        self.script.happened = True
        self.events.append(callback + detail)
        actions = self._habits[callback]
        if callback == "dataReceived":
            self._habits[callback] = []  # how often it is told is no matter
        for action in actions:
            self.do(action)

    def do(self, action: str) -> None:
        """
        Do something. What it raises is written down.
        """
        if action == "fail":
            raise ZeroDivisionError("as usual")
        try:
            getattr(self, action)()
        except Exception as error:
            self.events.append(f"{action} raised {type(error).__name__}")

    def act(self, action: str) -> None:
        """
        Do something in a step, if that is to be compared: see L{DIFFERENCES}.
        """
        peer = self.script.peers[self.number]
        isCompared = True
        if self.isLost:
            isCompared = action in _WRITING
        elif self.hasLostWrite or peer.isClosed:
            isCompared = action not in _CLOSING
        if self.isPaused and peer.isClosed:
            isCompared = action in ("resume", "abort")
        if isCompared:
            self.do(action)

    # What it is told

    def connectionMade(self) -> None:
        """See L{Protocol.connectionMade}."""
        if not self.script.isUNIX:
            self.transport.setTcpNoDelay(True)  # or something is sent some time later
        self.told("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        """See L{Protocol.dataReceived}."""
        self.received += len(data)
        self.checksum = zlib.crc32(data, self.checksum)
        if self.events[-1].startswith("dataReceived"):
            self.script.happened = True
            self.events[-1] = f"dataReceived to {self.received}"
        else:
            self.told("dataReceived", f" to {self.received}")

    def readConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol.readConnectionLost}."""
        self.isHalfClosed = True
        self.told("readConnectionLost")

    def writeConnectionLost(self) -> None:
        """See L{IHalfCloseableProtocol.writeConnectionLost}."""
        self.told("writeConnectionLost")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Protocol.connectionLost}."""
        self.isLost = True
        self.told("connectionLost", f" {type(reason.value).__name__}")

    def pauseProducing(self) -> None:
        """See L{IPushProducer.pauseProducing}."""
        self.told("pauseProducing")

    def resumeProducing(self) -> None:
        """See L{IPushProducer.resumeProducing}."""
        self.told("resumeProducing")

    def stopProducing(self) -> None:
        """See L{IProducer.stopProducing}."""
        self.told("stopProducing")

    # What it does

    def _write(self, data: bytes) -> None:
        self.written += len(data)
        self.transport.write(data)

    def small(self) -> None:
        """
        Write little.
        """
        self._write(self.random.randbytes(self.random.choice(_SMALL)))

    def subclass(self) -> None:
        """
        Write what is not exactly C{bytes}.
        """
        self._write(Bytes(b"subclass"))

    def pieces(self) -> None:
        """
        Write in pieces.
        """
        self.transport.writeSequence([b"", b"some", b"", Bytes(b"pieces"), b""])

    def empty(self) -> None:
        """
        Write nothing.
        """
        self.transport.writeSequence([b"", b""])
        self.transport.write(b"")

    def large(self) -> None:
        """
        Write much.
        """
        self.hasMuch = True
        self._write(self.random.randbytes(1) * _LARGE)

    def pause(self) -> None:
        """
        Read no more.
        """
        self.isPaused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """
        Read again.
        """
        self.isPaused = False
        if not self.isHalfClosed:
            self.transport.resumeProducing()

    def push(self) -> None:
        """
        Be a push producer.
        """
        self.transport.registerProducer(self, True)

    def pull(self) -> None:
        """
        Be a pull producer.
        """
        self.transport.registerProducer(self, False)

    def produce(self) -> None:
        """
        Produce something, and then no more.
        """
        self._left -= 1
        if self._left > 0:
            self.small()
        else:
            self.transport.unregisterProducer()

    def unregister(self) -> None:
        """
        Be no producer.
        """
        self.transport.unregisterProducer()

    def lose(self) -> None:
        """
        Close when all is written.
        """
        self.transport.loseConnection()

    def loseWrite(self) -> None:
        """
        Close this direction when all is written.
        """
        if not self.hasLostWrite:
            self.hasLostWrite = True
            self.transport.loseWriteConnection()

    def abort(self) -> None:
        """
        Abort.
        """
        self.transport.abortConnection()


class Peer:
    """
    The other end, and what it heard.

    @ivar said: how many bytes it said.
    @ivar length: how many it heard.
    @ivar end: how that ended.
    """

    def __init__(self, connection: socket.socket, choose: random.Random) -> None:
        self.connection = connection
        self.random = choose
        self.said = 0
        self.length = 0
        self.checksum = 0
        self.end = "open"
        self.isClosed = False
        self.hasShutDown = False

    def do(self, action: str, owner: Told | None) -> None:
        """
        Do something, if it still can.
        """
        if self.isClosed:
            return
        received = 0 if owner is None else owner.received
        if owner is not None and owner.isPaused:
            owner.waiting += 1
        if owner is not None and action in ("close", "reset"):
            owner.isTorn = owner.isTorn or self.length < owner.written
        if action == "say" and not self.hasShutDown:
            piece = self.random.randbytes(self.random.choice(_SMALL))
            if self.said + len(piece) - received <= _MOST_UNREAD:
                try:
                    self.said += self.connection.send(piece)
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

    def describe(self, owner: Told | None) -> str:
        """
        Say what it heard.
        """
        if owner is not None and owner.hasMuch:
            if owner.isLost and owner.received < self.said:
                return "perhaps all of it"
            if self.length < _LARGE:
                return "not all of it"
        return f"{self.length} bytes, {self.checksum:x}, {self.end}"

    @property
    def isHearing(self) -> bool:
        """
        Whether it still may hear something.
        """
        return not self.isClosed and self.end == "open"

    def hear(self) -> bool:
        """
        Receive what there is: whether there was anything.
        """
        if not self.isHearing:
            return False
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
            self.length += len(data)
            self.checksum = zlib.crc32(data, self.checksum)
        return some


@dataclass(frozen=True)
class Action:
    """
    What somebody does.

    @ivar who: C{"port"}, C{"protocol"} or C{"peer"}.
    @ivar connection: the number of the connection.
    @ivar what: what it does.
    """

    who: str
    connection: int
    what: str

    def isFor(self, connection: int) -> bool:
        """
        Whether it changes anything for a connection.
        """
        isThere = self.who != "port" and self.connection == connection
        return isThere and self.what != "hear"

    def __str__(self) -> str:
        return f"[{self.who} {self.connection} {self.what}]"


def isCalm(number: int) -> bool:
    """
    Whether in a script one thing is done at a time.
    """
    return number % 2 == 0


def plan(number: int) -> list[list[Action]]:
    """
    What is done in a script: in each step some things, before the reactor is turned.
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
                    # It may go on before it is accepted, and go.
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


def isContended(steps: list[list[Action]], connection: int) -> bool:
    """
    Whether in any step more than one thing is done with a connection.
    """
    return any(
        len([each for each in step if each.isFor(connection)]) > 1 for step in steps
    )


class Script(Factory):
    """
    One script.

    @ivar happened: whether anything happened since it was set to L{False}.
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
        Turn the reactor until nothing happens any more.

        @param hearing: the numbers of peers that receive meanwhile.
        """
        idle = turns = 0
        while idle < (_LONG_IDLE if self.isOwed(hearing) else _IDLE):
            turns += 1
            if turns > _MOST_TURNS:
                self.mistakes.append("something happens without end")
                return
            self.happened = False
            try:
                self.reactor.iterate(0 if idle < _IDLE // 2 else 0.001)
            except Exception as error:
                # What no reactor should let through.
                self.mistakes.append(f"iterate raised {type(error).__name__}")
            for number in hearing:
                self.happened |= self.peers[number].hear()
            idle = 0 if self.happened else idle + 1

    def isOwed(self, hearing: Sequence[int]) -> bool:
        """
        Whether any of these peers has not heard all that was written, and still may:
        the kernel sends some of it in its own time.
        """
        return any(
            number < len(self.owners)
            and self.peers[number].isHearing
            and self.peers[number].length < self.owners[number].written
            and not self.owners[number].isLost
            for number in hearing
        )

    def connect(self) -> None:
        """
        Have somebody come.
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
        self.peers.append(Peer(connection, random.Random(len(self.peers))))

    def step(self, actions: list[Action]) -> None:
        """
        Do something, and then turn the reactor.
        """
        hearing = []
        for action in actions:
            number = action.connection
            owner = self.owners[number] if number < len(self.owners) else None
            if action.who == "port":
                self.reactor.callLater(0, self.port.stopListening)
                self.isListening = False
            elif action.who == "protocol":
                if owner is not None:
                    self.reactor.callLater(0, owner.act, action.what)
            elif action.what == "connect":
                self.connect()
            elif action.what == "hear":
                hearing.append(number)
            else:
                self.peers[number].do(action.what, owner)
        self.settle(hearing)

    def run(self) -> dict[str, Any]:
        """
        Do all of it.

        @return: what was told and heard.
        """
        for actions in self.plan:
            self.step(actions)
        # All that was said is heard, and all ends.
        for owner in self.owners:
            if not owner.isLost:
                owner.do("resume")
        self.settle(range(len(self.peers)))
        for peer, owner in itertools.zip_longest(self.peers, self.owners):
            peer.do("close", owner)
        self.settle()
        told = [list(owner.events) for owner in self.owners]
        for owner in self.owners:
            if not owner.isLost:
                owner.do("abort")
        if self.isListening:
            self.port.stopListening()
        self.settle()
        ends = itertools.zip_longest(self.peers, self.owners)
        return {
            "number": self.number,
            "isUNIX": self.isUNIX,
            "plan": [" ".join(map(str, actions)) for actions in self.plan],
            "told": told,
            "received": [owner.checksum for owner in self.owners],
            "mistakes": self.mistakes,
            "contended": [
                owner.waiting > 1
                or (owner.isTorn and owner.hasMuch)
                or isContended(self.plan, owner.number)
                for owner in self.owners
            ],
            "heard": [peer.describe(owner) for peer, owner in ends],
        }


def main(name: str, first: str, count: str) -> None:
    """
    Run some scripts under one reactor.
    """
    reactor: Any = installReactor(name)
    reactor.startRunning(installSignalHandlers=False)
    for number in range(int(first), int(first) + int(count)):
        script = Script(reactor, number)
        print(json.dumps(script.run()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
