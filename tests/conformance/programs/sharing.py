"""
Programs in which a connection's descriptor is used by another process, another thread
or another object, or its number by the next file.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import socket
import warnings
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import (
    ClientFactory,
    ProcessProtocol,
    Protocol,
    connectionDone,
)
from twisted.internet.threads import deferToThread
from twisted.python import log
from twisted.python.failure import Failure

from . import listen, tell, tellListening, tellLost, whenPermitted

# How many descriptors may be opened beyond those that are open, at the limit.
_SPARE = 5


class _Ending(ProcessProtocol):
    """
    Waits for a process to end.
    """

    def __init__(self, finish: Callable[[], object]) -> None:
        self.finish = finish

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended.
        """
        self.finish()


class Handing(Protocol):
    """
    Stops reading, and passes the descriptor to a process or thread, which sends back
    the data received from then on. Reports the data that the protocol still receives.
    Closes the connection when the process or thread has ended.
    """

    transport: Any

    def __init__(self, reactor: Any, when: str, taker: str) -> None:
        """
        @param when: C{"made"}, C{"received"} (when it receives something) or
            C{"permitted"} (by a timer, when the test permits it).
        @param taker: C{"process"} or C{"thread"}.
        """
        self.reactor = reactor
        self.when = when
        self.taker = taker
        self.handed = False

    def connectionMade(self) -> None:
        """
        Pass it on, now or later.
        """
        if self.when == "made":
            self.hand()
        elif self.when == "permitted":
            tell("connectionMade")
            whenPermitted(self.reactor, "hand", self.hand)

    def dataReceived(self, data: bytes) -> None:
        """
        Pass it on; afterwards nothing must be received.
        """
        if self.handed:
            tell("received", data=data.decode())
        else:
            self.hand()

    def hand(self) -> None:
        """
        Pass it on.
        """
        self.handed = True
        self.transport.stopReading()
        descriptor = self.transport.fileno()
        if self.taker == "process":
            os.set_blocking(descriptor, True)
            self.reactor.spawnProcess(
                _Ending(self.transport.loseConnection),
                "/bin/cat",
                ["cat"],
                childFDs={0: descriptor, 1: descriptor, 2: 2},
            )
        else:
            deferToThread(_sendBack, descriptor).addCallbacks(
                lambda _: self.transport.loseConnection(), log.err
            )
        tell("handed")


class Restarting(Handing):
    """
    When the test permits it, the second connection waits until it has something to
    receive. Then it stops the port, closes the first connection and stops reading a
    pipe, as a service that is about to restart. At last the connection is passed to a
    thread.

    @cvar first: the first connection.
    @cvar port: the port.
    """

    first: Any = None
    port: Any

    def connectionMade(self) -> None:
        """
        Note the first connection; for the second, restart when that is permitted.
        """
        if Restarting.first is None:
            Restarting.first = self
            self.reader = FileDescriptor(self.reactor)
            self.pipe = os.pipe()
            self.reader.fileno = lambda: self.pipe[0]  # type: ignore[method-assign]
            self.reader.startReading()
        else:
            whenPermitted(self.reactor, "restart", self.restart)
        tell("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back, until the connection is passed on.
        """
        if self.handed:
            tell("received", data=data.decode())
        else:
            self.transport.write(data)

    def restart(self) -> None:
        """
        End everything else, and pass this connection on.
        """
        tell("waiting")
        select.select([self.transport.fileno()], [], [])
        self.port.stopListening()
        self.first.reader.stopReading()
        self.first.transport.loseConnection()
        self.hand()


def restart(reactor: Any) -> None:
    """
    Serve L{Restarting}.
    """
    Restarting.port = listen(
        reactor, lambda: Restarting(reactor, "restarted", "thread")
    )


def _sendBack(descriptor: int) -> None:
    """
    Send back everything, until the end.
    """
    while True:
        select.select([descriptor], [], [])
        data = os.read(descriptor, 1000)
        if not data:
            return
        os.write(descriptor, data)


def hand(reactor: Any, when: str, taker: str) -> None:
    """
    Serve L{Handing}.
    """
    listen(reactor, lambda: Handing(reactor, when, taker))


class Lending(Protocol):
    """
    Lets a thread receive one piece, reports it, and sends back all that comes
    afterwards.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Let the thread receive.
        """
        self.transport.pauseProducing()
        deferToThread(self.receive).addCallbacks(self.goOn, log.err)

    def receive(self) -> bytes:
        """
        Receive, in another thread.
        """
        descriptor = self.transport.fileno()
        select.select([descriptor], [], [])
        return os.read(descriptor, 5)

    def goOn(self, data: bytes) -> None:
        """
        Read again.
        """
        tell("lent", data=data.decode())
        self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


def lend(reactor: Any) -> None:
    """
    Serve L{Lending}.
    """
    listen(reactor, Lending)


def inetd(reactor: Any) -> None:
    """
    Run C{cat} for each client, by Twisted's inetd. Once permitted, collect garbage, and
    report it.
    """
    from twisted.runner.inetd import InetdFactory

    # inetd itself never closes a connection.
    warnings.simplefilter("ignore", ResourceWarning)

    class Service:
        program = "/bin/cat"
        programArgs = ("cat",)
        user = os.getuid()
        group = os.getgid()

    def collect() -> None:
        gc.collect()
        tell("collected")

    factory = InetdFactory(Service)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    tellListening(reactor, port.getHost().port)
    whenPermitted(reactor, "collect", collect)


class _Reconnecting(Protocol):
    """
    Connects again as soon as its connection is lost.
    """

    transport: Any

    def __init__(
        self, made: Callable[[], object], connect: Callable[[], object], how: str
    ) -> None:
        self.made = made
        self.connect = connect
        self.how = how

    def connectionMade(self) -> None:
        """
        End the connection, unless the peer does.
        """
        self.made()
        if self.how == "paused":
            self.transport.pauseProducing()
        if self.how != "peer":
            reactor = self.transport.reactor
            reactor.callLater(0, self.transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Connect again.
        """
        self.connect()


def _reconnect(
    reactor: Any,
    port: int,
    how: str,
    times: int,
    made: Callable[[int], object],
    finish: Callable[[], object],
    source: Any = None,
) -> None:
    """
    Connect a number of times, each time when the previous connection is lost.

    @param how: as for L{rebind}.
    @param made: called with the number of each connection, from 0.
    @param source: the address to connect from.
    """
    left = iter(range(times))

    class Connecting(ClientFactory):
        noisy = False

        def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
            tell("failed", why=reason.getErrorMessage())
            finish()

    def connect() -> None:
        number = next(left, None)
        if number is None:
            finish()
            return
        factory = Connecting.forProtocol(
            lambda: _Reconnecting(lambda: made(number), connect, how)
        )
        reactor.connectTCP("127.0.0.1", port, factory, bindAddress=source)

    reactor.callWhenRunning(connect)


def rebind(reactor: Any, port: int, how: str, times: int) -> None:
    """
    Connect a number of times from the same port.

    @param how: how each connection ends: by the C{"peer"}; by an C{"abort"} in a later
        turn; or by an abort when it is C{"paused"}.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        source = free.getsockname()
    _reconnect(reactor, port, how, times, _tellMade, reactor.stop, source)


def _tellMade(number: int) -> None:
    tell("connectionMade", number=number)


def exhausted(reactor: Any, port: int, how: str, times: int) -> None:
    """
    Connect a number of times, after the first time without a spare descriptor.

    @param how: as for L{rebind}.
    """
    held: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def made(number: int) -> None:
        if number == 0:
            fill()
        _tellMade(number)

    def fill() -> None:
        most = max(map(int, os.listdir("/proc/self/fd"))) + _SPARE
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
        while True:
            try:
                held.append(os.dup(0))
            except OSError:
                return

    def finish() -> None:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        reactor.stop()

    _reconnect(reactor, port, how, times, made, finish)


class Forking(Protocol):
    """
    Ends the connection in some way when it receives something, and forks in
    C{connectionLost}. The child lives until this process ends.
    """

    transport: Any

    def __init__(self, reactor: Any, how: str, later: bool) -> None:
        """
        @param how: the name of the transport's method.
        @param later: whether a timer calls it.
        """
        self.reactor = reactor
        self.how = how
        self.later = later

    def dataReceived(self, data: bytes) -> None:
        """
        End the connection.
        """
        end = getattr(self.transport, self.how)
        if self.later:
            self.reactor.callLater(0, end)
        else:
            end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Fork.
        """
        reading, self.writing = os.pipe()
        if os.fork() == 0:
            os.close(self.writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        tell("forked")
        _kept.append(self)


_kept: list[object] = []


def forkWhenLost(reactor: Any, how: str, later: bool) -> None:
    """
    Serve L{Forking}.
    """
    listen(reactor, lambda: Forking(reactor, how, later))


class Multiplying(Protocol):
    """
    When it receives something, forks a child that continues to run the reactor and ends
    by itself; sends the data back when the child has ended.
    """

    transport: Any

    def __init__(self, reactor: Any, how: str) -> None:
        """
        @param how: C{"received"} or C{"timer"}: the callback in which it forks.
        """
        self.reactor = reactor
        self.how = how

    def dataReceived(self, data: bytes) -> None:
        """
        Fork, now or later.
        """
        if data == b"still":
            self.transport.write(data)
        elif self.how == "timer":
            self.reactor.callLater(0, self.fork)
        else:
            self.fork()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report the reason.
        """
        tellLost(reason)

    def fork(self) -> None:
        """
        Fork.
        """
        pid = os.fork()
        if pid:
            self.await_(pid)
            return
        # Two turns of the child's reactor later.
        self.reactor.callLater(0, self.reactor.callLater, 0.01, os._exit, 7)

    def await_(self, pid: int) -> None:
        """
        Wait for the child, and report how it has ended.
        """
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            tell("childEnded", status=os.waitstatus_to_exitcode(status))
        else:
            self.reactor.callLater(0.01, self.await_, pid)


def multiply(reactor: Any, how: str) -> None:
    """
    Serve L{Multiplying}.
    """
    listen(reactor, lambda: Multiplying(reactor, how))


class _One(FileDescriptor):
    """
    One of several objects with the same descriptor.
    """

    def __init__(self, reactor: Any, shared: socket.socket, name: str) -> None:
        super().__init__(reactor)
        self.shared = shared
        self.name = name

    def fileno(self) -> int:
        """
        See L{FileDescriptor}.
        """
        return self.shared.fileno()

    def doRead(self) -> None:
        """
        Report the data.
        """
        tell("read", name=self.name, data=self.shared.recv(10).decode())

    def doWrite(self) -> None:
        """
        Report it, once.
        """
        self.stopWriting()
        tell("wrote", name=self.name)


def sameDescriptor(reactor: Any, order: str) -> None:
    """
    Let one object read a descriptor and another one write it, added in some order; then
    stop each while the other continues.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reader, writer = (_One(reactor, ours, name) for name in ("reader", "writer"))

    def begin() -> None:
        steps = [reader.startReading, writer.startWriting]
        for step in steps if order == "reader first" else reversed(steps):
            step()
        whenPermitted(reactor, "read", lambda: theirs.send(b"one"))
        whenPermitted(reactor, "write", writer.startWriting)
        whenPermitted(reactor, "read again", lambda: theirs.send(b"two"))
        whenPermitted(reactor, "write alone", writeAlone)
        whenPermitted(reactor, "end", end)
        tell("began")

    def writeAlone() -> None:
        reader.stopReading()
        writer.startWriting()

    def end() -> None:
        ours.close()
        theirs.close()
        reactor.stop()

    reactor.callWhenRunning(begin)
