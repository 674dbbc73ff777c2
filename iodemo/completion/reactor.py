# -*- test-case-name: tests.test_completion -*-
"""
A Twisted reactor on a completion queue. L{iodemo.completion} defines the terms, and
shows the event loop.

Connections over TCP and UNIX sockets, and TLS on top of them, use operations of the
queue (L{iodemo.completion.tcp}, L{iodemo.completion.unix}). Everything else, for
example a port, is Twisted's own code, and waits by the queue's C{poll}.
"""

from __future__ import annotations

import select
import signal
import socket
from typing import Any

from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python import context, log
from zope.interface import implementer

from iodemo.completion.interfaces import ICompletionQueue, QueueRefused
from iodemo.completion.tcp import (
    Client,
    Connector,
    Port,
    Server,
    StreamMixin,
)
from iodemo.completion.unix import UNIXClient, UNIXConnector, UNIXPort, UNIXServer
from iodemo.reactors.polling import ReadinessReactor

_INTERNET = (socket.AF_INET, socket.AF_INET6)


@implementer(IReactorFDSet)
class CompletionMixin(PosixReactorBase):
    """
    The part of a reactor on any completion queue that does not depend on its loop:
    connections are transports on the queue. The next base class watches everything
    else, for example a port.

    @ivar queue: the queue.
    @ivar streams: the connections that have a receive or a send in the queue.
    @ivar unsent: the connections that have written data and not sent it. The list
        object never changes.
    @ivar _sending: whether L{sendUnsent} is sending what was written.
    @cvar serverTransport: the class of connections that a L{Port} accepts.
    @cvar clientTransport: the class of connections that a L{Connector} makes.
    @cvar unixServerTransport: likewise for L{UNIXPort}.
    @cvar unixClientTransport: likewise for L{UNIXConnector}.
    """

    serverTransport: Any = Server
    clientTransport: Any = Client
    unixServerTransport: Any = UNIXServer
    unixClientTransport: Any = UNIXClient

    _log = Logger()

    def __init__(self, queue: ICompletionQueue, *args: Any) -> None:
        """
        @param args: for the next base class.
        """
        self.queue = queue
        self.streams: set[StreamMixin] = set()
        self.unsent: list[StreamMixin] = []
        self._sending = False
        super().__init__(*args)

    # Statistics

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """
        See C{ReactorBase.startRunning}. From now on SIGUSR2 logs the statistics, unless
        the program has another use for this signal.
        """
        super().startRunning(installSignalHandlers)
        if installSignalHandlers and (
            signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
        ):
            signal.signal(
                signal.SIGUSR2,
                lambda number, frame: self.callFromThread(self.logStatistics),
            )

    def statistics(self) -> dict[str, int | None]:
        """
        Count: C{connections} is the number of connections that receive or send. The
        other numbers are those of L{ICompletionQueue.statistics}.

        @return: the numbers, by name.
        """
        return {"connections": len(self.streams), **self.queue.statistics()}

    def logStatistics(self) -> None:
        """
        Write the statistics into the log, in one line.
        """
        numbers = " ".join(f"{name}={it}" for name, it in self.statistics().items())
        self._log.info(
            "{queue}: {numbers}", queue=type(self.queue).__name__, numbers=numbers
        )

    # The queue

    def sendUnsent(self) -> None:
        """
        Send what connections have written.
        """
        if not self.unsent:
            return
        if self._sending or self.queue.current is not None:
            # A callback has called iterate(). A sendNow may have been short, and that
            # is not dispatched yet: it comes first.
            self.queue.wait(0)
        queue = self.queue
        unsent = iter(self.unsent.copy())
        self.unsent.clear()
        before = self._sending, queue.current
        self._sending = True
        try:
            for stream in unsent:
                # Log messages begin with the prefix of this connection.
                queue.current = stream
                try:
                    stream.sendWritten()
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    self._failedToSend(stream)
        finally:
            self._sending, queue.current = before
            # After an interrupt the others are left for the next time.
            self.unsent[:0] = unsent

    def _failedToSend(self, stream: StreamMixin) -> None:
        """
        Drop a connection that raised an error while it was sending.
        """
        try:
            stream.failed(False)
        except BaseException:
            log.err()

    def refused(self, refusal: QueueRefused) -> None:
        """
        Log why this reactor ends. An exception of C{run} is not in a daemon's log.
        """
        self._log.critical("the reactor ends: {refusal}", refusal=refusal)

    def changeQueue(self, queue: ICompletionQueue) -> None:
        """
        Use another queue from now on. No connect and no send may be under way, so this
        is for a reactor that has not begun to wait. Its receives and polls are added to
        the new queue.
        """
        reading = [stream for stream in self.streams if stream.reading]
        for stream in reading:
            stream.stopReading()
        self.queue = queue
        for stream in reading:
            stream.startReading()

    # IReactorFDSet

    def addReader(self, reader: IReadDescriptor) -> None:
        """See C{IReactorFDSet.addReader}."""
        if isinstance(reader, StreamMixin):
            reader.startReading()
        else:
            super().addReader(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See C{IReactorFDSet.removeReader}."""
        if isinstance(reader, StreamMixin):
            reader.stopReading()
        else:
            super().removeReader(reader)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See C{IReactorFDSet.addWriter}."""
        if isinstance(writer, StreamMixin):
            writer.startWriting()
        else:
            super().addWriter(writer)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See C{IReactorFDSet.removeWriter}."""
        if isinstance(writer, StreamMixin):
            writer.stopWriting()
        else:
            super().removeWriter(writer)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See C{IReactorFDSet.removeAll}."""
        removed = super().removeAll()
        for stream in {*self.streams, *self.unsent}:
            if stream.reading or stream.writing:
                removed.append(stream)
                stream.stopReading()
        return removed

    def getReaders(self) -> list[IReadDescriptor]:
        """See C{IReactorFDSet.getReaders}."""
        streams = [stream for stream in self.streams if stream.reading]
        return [*super().getReaders(), *streams]

    def getWriters(self) -> list[IWriteDescriptor]:
        """See C{IReactorFDSet.getWriters}."""
        streams = [each for each in {*self.streams, *self.unsent} if each.writing]
        return [*super().getWriters(), *streams]

    # IReactorTCP

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Port:
        """See C{IReactorTCP.listenTCP}."""
        listening = Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> Connector:
        """See C{IReactorTCP.connectTCP}."""
        connector = Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    # IReactorUNIX

    def listenUNIX(
        self,
        address: Any,
        factory: Any,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: Any = 0,
    ) -> UNIXPort:
        """See C{IReactorUNIX.listenUNIX}."""
        listening = UNIXPort(address, factory, backlog, mode, self, wantPID)
        listening.startListening()
        return listening

    def connectUNIX(
        self, address: Any, factory: Any, timeout: float = 30, checkPID: Any = 0
    ) -> UNIXConnector:
        """See C{IReactorUNIX.connectUNIX}."""
        connector = UNIXConnector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector

    # IReactorSocket

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: Any
    ) -> Any:
        """See C{IReactorSocket.adoptStreamPort}."""
        if addressFamily == socket.AF_UNIX:
            adopted = UNIXPort._fromListeningDescriptor(self, fileDescriptor, factory)
        elif addressFamily in _INTERNET:
            adopted = Port._fromListeningDescriptor(
                self, fileDescriptor, addressFamily, factory
            )
        else:
            raise UnsupportedAddressFamily(addressFamily)
        adopted.startListening()
        return adopted

    def adoptStreamConnection(
        self, fileDescriptor: int, addressFamily: int, factory: Any
    ) -> Any:
        """See C{IReactorSocket.adoptStreamConnection}."""
        if addressFamily == socket.AF_UNIX:
            return self.unixServerTransport._fromConnectedSocket(
                fileDescriptor, factory, self
            )
        if addressFamily in _INTERNET:
            return self.serverTransport._fromConnectedSocket(
                fileDescriptor, addressFamily, factory, self
            )
        raise UnsupportedAddressFamily(addressFamily)


class CompletionReactor(CompletionMixin, ReadinessReactor):
    """
    A reactor on any completion queue, with Twisted's own loop.

    @ivar _watches: the owners of polls, by descriptor.
    @ivar _refusal: the error that ended the queue.
    """

    def __init__(self, queue: ICompletionQueue) -> None:
        self._watches: dict[int, _Watch] = {}
        self._refusal: QueueRefused | None = None
        super().__init__(queue)

    # The loop

    def mainLoop(self) -> None:
        """
        Run Twisted's loop, which calls L{runUntilCurrent} and L{doIteration} in turn,
        until the reactor is stopped.

        One C{twisted.python.context} is entered for the whole loop, where Twisted's
        reactors enter one for each event. It gives log messages the log prefix of the
        owner whose callback is running.
        """
        logged = {**context.get(log.ILogContext)}
        ours = {log.ILogContext: LogContext(logged, self)}
        context.call(ours, super().mainLoop)
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal

    def runUntilCurrent(self) -> None:
        """
        Run delayed calls that are due, and send what was written.
        """
        super().runUntilCurrent()
        self.sendUnsent()

    def doIteration(self, delay: float | None) -> None:
        """
        Wait for results, and call their owners.
        """
        # mainLoop passes False for no time at all. It decides on that before
        # runUntilCurrent, where a callback may stop the reactor.
        soon = self.unsent or self._justStopped or delay is False
        try:
            self.queue.wait(0 if soon else delay)
        except QueueRefused as refusal:
            # Twisted's main loop would log it and call this again, without end.
            self.refused(refusal)
            self._refusal = refusal
            self.crash()

    def installWaker(self) -> None:
        """
        Install nothing, since the queue has C{wake}.
        """

    def wakeUp(self) -> None:
        """
        See C{ReactorBase.wakeUp}.
        """
        self.queue.wake()

    # Everything but connections

    def changeQueue(self, queue: ICompletionQueue) -> None:
        """See L{CompletionMixin.changeQueue}."""
        super().changeQueue(queue)
        for watched in self._watches.values():
            watched.poll()

    def watch(self, descriptor: int, mask: int) -> None:
        """See L{ReadinessReactor.watch}."""
        watched = self._watches.pop(descriptor, None)
        if watched is not None:
            self.queue.cancel(watched.operation)
        if mask:
            self._watches[descriptor] = _Watch(self, descriptor, mask)

    def polled(self, descriptor: int, result: int) -> None:
        """
        Handle a descriptor that is ready.

        @param result: as of L{ICompletionQueue.poll}.
        """
        if result < 0:
            del self._watches[descriptor]
        self.serve(descriptor, select.POLLNVAL if result < 0 else result)


class _Watch:
    """
    The owner of a poll, because Twisted's readers and writers have no method for it.
    """

    __slots__ = ("descriptor", "mask", "operation", "reactor")

    def __init__(self, reactor: CompletionReactor, descriptor: int, mask: int) -> None:
        self.reactor = reactor
        self.descriptor = descriptor
        self.mask = mask
        self.poll()

    def poll(self) -> None:
        """
        Add the poll to the reactor's queue.
        """
        self.operation = self.reactor.queue.poll(self, self.descriptor, self.mask)

    def polled(self, result: int) -> None:
        """
        Called by the queue when the descriptor is ready.
        """
        self.reactor.polled(self.descriptor, result)


class LogContext(dict[str, Any]):
    """
    A log context whose C{system} is the log prefix of the owner whose callback is
    running.

    @ivar _user: the reactor or selector that uses the queue. It may change its queue.
    """

    def __init__(self, context: dict[str, Any], user: Any) -> None:
        super().__init__(context)
        self._user = user

    def __getitem__(self, key: str) -> Any:
        if key != "system":
            return super().__getitem__(key)
        prefix = getattr(self._user.queue.current, "logPrefix", None)
        if prefix is None:
            return super().__getitem__(key)
        try:
            return prefix()
        except Exception:
            return "(buggy logPrefix method)"

    def copy(self) -> dict[str, Any]:
        """
        The values for one log message.
        """
        return {**dict(self), "system": self["system"]}
