"""
Turns of the reactor in which one owner of many raises an exception: owners of other
things than connections. Each place where a reactor calls one is a line of L{OTHERS}.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import DatagramProtocol, Factory, ProcessProtocol
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from .turns import GUILTY, Owner, Patience, tryAll


class Acting(Owner):
    """
    An owner that does two things, each in a turn together with others of its kind.

    @cvar count: how many exist.
    @ivar first: fires when it has done the first.
    @ivar second: fires when it has done the second.
    """

    count = 2 * GUILTY + 1

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.reactor = reactor
        self.first: Deferred[None] = Deferred()
        self.second: Deferred[None] = Deferred()

    def begin(self) -> None:
        """
        Set it up.
        """

    def actFirst(self) -> None:
        """
        Cause the first callback.
        """
        raise NotImplementedError

    def actSecond(self) -> None:
        """
        Cause the second callback.
        """
        raise NotImplementedError


@implementer(IReadWriteDescriptor)
class Selectable(Acting):
    """
    One end of a pair of sockets: data arrives, and then the end.
    """

    def begin(self) -> None:
        """See L{Acting.begin}."""
        self.mine, self.other = socket.socketpair()
        self.mine.setblocking(False)
        self.reactor.addReader(self)

    def actFirst(self) -> None:
        """See L{Acting.actFirst}."""
        self.other.sendall(b"x")

    def actSecond(self) -> None:
        """See L{Acting.actSecond}."""
        self.other.close()

    def fileno(self) -> int:
        """See L{IFileDescriptor.fileno}."""
        self.raiseIfDue("fileno")
        return self.mine.fileno()

    def logPrefix(self) -> str:
        """See L{ILoggingContext.logPrefix}."""
        self.raiseIfDue("logPrefix")
        return "Selectable"

    def doRead(self) -> Any:
        """See L{IReadDescriptor.doRead}."""
        self.called("doRead")
        if not self.mine.recv(1):
            return CONNECTION_DONE
        self.first.callback(None)
        return None

    def doWrite(self) -> None:
        """See L{IWriteDescriptor.doWrite}."""
        self.reactor.removeWriter(self)
        self.called("doWrite")

    def connectionLost(self, reason: Failure) -> None:
        """See L{IFileDescriptor.connectionLost}."""
        self.mine.close()
        self.other.close()
        self.second.callback(None)
        self.called("connectionLost", reason)


class WritingSelectable(Selectable):
    """
    A selectable that also writes.
    """

    def actFirst(self) -> None:
        """See L{Acting.actFirst}."""
        self.reactor.addWriter(self)
        super().actFirst()


class Timed(Acting):
    """
    It is called by a timer, and from another thread.
    """

    def actFirst(self) -> None:
        """See L{Acting.actFirst}."""
        self.reactor.callLater(0, self.timed)

    def timed(self) -> None:
        """
        The timer has fired.
        """
        self.first.callback(None)
        self.called("timed")

    def actSecond(self) -> None:
        """See L{Acting.actSecond}."""
        self.reactor.callInThread(self.reactor.callFromThread, self.calledFromThread)

    def calledFromThread(self) -> None:
        """
        The call from the other thread is made.
        """
        self.second.callback(None)
        self.called("calledFromThread")


class Threaded(Acting):
    """
    It is called in another thread, which calls the reactor.
    """

    def actFirst(self) -> None:
        """See L{Acting.actFirst}."""
        self.reactor.callInThread(self.work, self.first)

    def work(self, done: Deferred[None]) -> None:
        """
        The call in the other thread.
        """
        self.reactor.callFromThread(done.callback, None)
        self.called("work")

    def actSecond(self) -> None:
        """See L{Acting.actSecond}."""
        self.reactor.callInThread(self.work, self.second)


class Datagrams(Acting, DatagramProtocol):
    """
    Receives a datagram, and stops.
    """

    noisy = False

    def begin(self) -> None:
        """See L{Acting.begin}."""
        self.port = self.reactor.listenUDP(0, self, interface="127.0.0.1")

    def actFirst(self) -> None:
        """See L{Acting.actFirst}."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"x", ("127.0.0.1", self.port.getHost().port))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """See L{DatagramProtocol.datagramReceived}."""
        self.first.callback(None)
        self.called("datagramReceived")

    def actSecond(self) -> None:
        """See L{Acting.actSecond}."""
        self.port.stopListening()

    def stopProtocol(self) -> None:
        """See L{DatagramProtocol.stopProtocol}."""
        self.second.callback(None)
        self.called("stopProtocol")


class Port(Acting, Factory):
    """
    A port that listens and then stops.
    """

    noisy = False
    port: Any = None

    def actFirst(self) -> None:
        """See L{Acting.actFirst}."""
        self.port = self.reactor.listenTCP(0, self, interface="127.0.0.1")

    def doStart(self) -> None:
        """See L{Factory.doStart}."""
        self.first.callback(None)
        self.called("doStart")
        super().doStart()

    def actSecond(self) -> None:
        """See L{Acting.actSecond}."""
        if self.port is not None:
            self.port.stopListening().addErrback(log.err)

    def doStop(self) -> None:
        """See L{Factory.doStop}."""
        super().doStop()
        self.second.callback(None)
        self.called("doStop")


class Child(Acting, ProcessProtocol):
    """
    A child process that writes something and ends.
    """

    count = 3
    transport: Any

    def actFirst(self) -> None:
        """See L{Acting.actFirst}."""
        script = "read line; echo out; echo err >&2"
        self.reactor.spawnProcess(self, "/bin/sh", ["sh", "-c", script])

    def connectionMade(self) -> None:
        """See L{ProcessProtocol.connectionMade}."""
        self.first.callback(None)
        self.called("connectionMade")

    def actSecond(self) -> None:
        """See L{Acting.actSecond}."""
        self.transport.write(b"end\n")

    def outReceived(self, data: bytes) -> None:
        """See L{ProcessProtocol.outReceived}."""
        self.called("outReceived")

    def errReceived(self, data: bytes) -> None:
        """See L{ProcessProtocol.errReceived}."""
        self.called("errReceived")

    def inConnectionLost(self) -> None:
        """See L{ProcessProtocol.inConnectionLost}."""
        self.called("inConnectionLost")

    def outConnectionLost(self) -> None:
        """See L{ProcessProtocol.outConnectionLost}."""
        self.called("outConnectionLost")

    def errConnectionLost(self) -> None:
        """See L{ProcessProtocol.errConnectionLost}."""
        self.called("errConnectionLost")

    def processExited(self, reason: Failure) -> None:
        """See L{ProcessProtocol.processExited}."""
        self.called("processExited")

    def processEnded(self, reason: Failure) -> None:
        """See L{ProcessProtocol.processEnded}."""
        self.second.callback(None)
        self.called("processEnded")


@dataclass(frozen=True)
class OtherCase:
    """
    A place where an owner raises.

    @ivar name: the callback.
    @ivar owner: the class of the owner.
    """

    name: str
    owner: type[Acting]


OTHERS: tuple[OtherCase, ...] = (
    OtherCase("fileno", Selectable),
    OtherCase("logPrefix", Selectable),
    OtherCase("doRead", Selectable),
    OtherCase("connectionLost", Selectable),
    OtherCase("doWrite", WritingSelectable),
    OtherCase("timed", Timed),
    OtherCase("calledFromThread", Timed),
    OtherCase("work", Threaded),
    OtherCase("datagramReceived", Datagrams),
    OtherCase("stopProtocol", Datagrams),
    OtherCase("doStart", Port),
    OtherCase("doStop", Port),
    OtherCase("connectionMade", Child),
    OtherCase("outReceived", Child),
    OtherCase("errReceived", Child),
    OtherCase("inConnectionLost", Child),
    OtherCase("outConnectionLost", Child),
    OtherCase("errConnectionLost", Child),
    OtherCase("processExited", Child),
    OtherCase("processEnded", Child),
)


def others(reactor: Any) -> None:
    """
    Let one owner of many raise, at every place.
    """

    async def tryOne(
        case: OtherCase, error: BaseException, patience: Patience
    ) -> list[str]:
        wrong = []
        owners = [case.owner(reactor) for _ in range(case.owner.count)]
        blamed = owners[len(owners) // 2]
        innocent = [owner for owner in owners if owner is not blamed]
        for owner in owners:
            owner.begin()
        blamed.raiseIn(case.name, error)
        for owner in owners:
            reactor.callLater(0, owner.actFirst)
        if not await patience.gather(reactor, [owner.first for owner in innocent]):
            wrong.append(f"first {[owner.told for owner in owners]}")
        for owner in owners:
            reactor.callLater(0, owner.actSecond)
        if not await patience.gather(reactor, [owner.second for owner in innocent]):
            wrong.append(f"second {[owner.told for owner in owners]}")
        await patience.until(reactor, lambda: blamed.hasRaised)
        return wrong

    tryAll(reactor, OTHERS, tryOne)
