# -*- test-case-name: tests.test_completion -*-
"""
A Twisted reactor on a completion queue.

Connections of TCP and UNIX sockets, and what is built on them (TLS), are on
operations of the queue (L{iodemo.completion.tcp}, L{iodemo.completion.unix}). All
else, ports among it, is Twisted's own, and goes by the queue's C{poll}.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.error import UnsupportedAddressFamily
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python import context, log

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


class CompletionReactor(ReadinessReactor):
    """
    A reactor on any completion queue.

    @ivar queue: the queue.
    @ivar streams: the connections that receive, or wait for room to send.
    @ivar unsent: the connections that have something to send. It is always the same
        list, so that they can hold on to it.
    @ivar _watches: who is polled, by descriptor.
    @ivar _sending: whether those that have something to send are being asked for it.
    @ivar _refusal: why the queue gave no more results.
    @cvar serverTransport: what L{Port} makes of an accepted connection.
    @cvar clientTransport: what L{Connector} makes.
    @cvar unixServerTransport: likewise for L{UNIXPort}.
    @cvar unixClientTransport: likewise for L{UNIXConnector}.
    """

    serverTransport: Any = Server
    clientTransport: Any = Client
    unixServerTransport: Any = UNIXServer
    unixClientTransport: Any = UNIXClient

    _log = Logger()

    def __init__(self, queue: ICompletionQueue) -> None:
        self.queue = queue
        self.streams: set[StreamMixin] = set()
        self.unsent: list[StreamMixin] = []
        self._watches: dict[int, _Watch] = {}
        self._sending = False
        self._refusal: QueueRefused | None = None
        super().__init__()

    # The loop

    def mainLoop(self) -> None:
        """
        Run until stopped.

        What is logged names who is being told something. One context for all does
        that; Twisted's reactors make one for every event.
        """
        logged = {**context.get(log.ILogContext)}
        ours = {log.ILogContext: _LogContext(logged, self.queue)}
        context.call(ours, super().mainLoop)
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal

    def runUntilCurrent(self) -> None:
        """
        Run what is due, and send what was written.
        """
        super().runUntilCurrent()
        if not self.unsent:
            return
        if self._sending or self.queue.current is not None:
            # Somebody called iterate() from within. What was tried and not told yet
            # may not all have been sent: first that.
            self.queue.wait(0)
        queue = self.queue
        unsent = iter(self.unsent.copy())
        self.unsent.clear()
        before = self._sending, queue.current
        self._sending = True
        try:
            for stream in unsent:
                # What is logged is this connection's.
                queue.current = stream
                try:
                    stream.sendWritten()
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    self._failedToSend(stream)
        finally:
            self._sending, queue.current = before
            # Those behind one that was interrupted have their turn yet.
            self.unsent[:0] = unsent

    def _failedToSend(self, stream: StreamMixin) -> None:
        """
        Drop a connection whose sending let an error through: the others go on.
        """
        try:
            stream.failed(False)
        except BaseException:
            log.err()

    def doIteration(self, delay: float | None) -> None:
        """
        Wait, and have told what there is to tell.
        """
        # mainLoop passes False for no time at all. Somebody who was told of an end
        # when all was sent may have stopped the reactor since it looked.
        soon = self.unsent or self._justStopped or delay is False
        try:
            self.queue.wait(0 if soon else delay)
        except QueueRefused as refusal:
            # Twisted's main loop would log it, and ask again, without end.
            self.refused(refusal)
            self._refusal = refusal
            self.crash()

    def installWaker(self) -> None:
        """
        Install nothing: the queue can be woken.
        """

    def wakeUp(self) -> None:
        """
        See L{ReactorBase.wakeUp}.
        """
        self.queue.wake()

    def refused(self, refusal: QueueRefused) -> None:
        """
        Log why this reactor ends. What C{run} raises is not in the log of a daemon.
        """
        self._log.critical("the reactor ends: {refusal}", refusal=refusal)

    # IReactorFDSet

    def addReader(self, reader: IReadDescriptor) -> None:
        """See L{IReactorFDSet.addReader}."""
        if isinstance(reader, StreamMixin):
            reader.startReading()
        else:
            super().addReader(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See L{IReactorFDSet.removeReader}."""
        if isinstance(reader, StreamMixin):
            reader.stopReading()
        else:
            super().removeReader(reader)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See L{IReactorFDSet.addWriter}."""
        if isinstance(writer, StreamMixin):
            writer.startWriting()
        else:
            super().addWriter(writer)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See L{IReactorFDSet.removeWriter}."""
        if isinstance(writer, StreamMixin):
            writer.stopWriting()
        else:
            super().removeWriter(writer)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See L{IReactorFDSet.removeAll}."""
        removed = super().removeAll()
        for stream in {*self.streams, *self.unsent}:
            if stream.reading or stream.writing:
                removed.append(stream)
                stream.stopReading()
        return removed

    def getReaders(self) -> list[IReadDescriptor]:
        """See L{IReactorFDSet.getReaders}."""
        streams = [stream for stream in self.streams if stream.reading]
        return [*super().getReaders(), *streams]

    def getWriters(self) -> list[IWriteDescriptor]:
        """See L{IReactorFDSet.getWriters}."""
        streams = [each for each in {*self.streams, *self.unsent} if each.writing]
        return [*super().getWriters(), *streams]

    def watch(self, descriptor: int, mask: int) -> None:
        """See L{ReadinessReactor.watch}."""
        watched = self._watches.pop(descriptor, None)
        if watched is not None:
            self.queue.cancel(watched.operation)
        if mask:
            self._watches[descriptor] = _Watch(self, descriptor, mask)

    def polled(self, descriptor: int, result: int) -> None:
        """
        Serve a descriptor that is ready.

        @param result: as of L{ICompletionQueue.poll}.
        """
        if result < 0:
            del self._watches[descriptor]
        self.serve(descriptor, select.POLLNVAL if result < 0 else result)

    # IReactorTCP

    def listenTCP(
        self, port: Any, factory: Any, backlog: int = 50, interface: str = ""
    ) -> Port:
        """See L{IReactorTCP.listenTCP}."""
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
        """See L{IReactorTCP.connectTCP}."""
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
        """See L{IReactorUNIX.listenUNIX}."""
        listening = UNIXPort(address, factory, backlog, mode, self, wantPID)
        listening.startListening()
        return listening

    def connectUNIX(
        self, address: Any, factory: Any, timeout: float = 30, checkPID: Any = 0
    ) -> UNIXConnector:
        """See L{IReactorUNIX.connectUNIX}."""
        connector = UNIXConnector(address, factory, timeout, self, checkPID)
        connector.connect()
        return connector

    # IReactorSocket

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: Any
    ) -> Any:
        """See L{IReactorSocket.adoptStreamPort}."""
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
        """See L{IReactorSocket.adoptStreamConnection}."""
        if addressFamily == socket.AF_UNIX:
            return self.unixServerTransport._fromConnectedSocket(
                fileDescriptor, factory, self
            )
        if addressFamily in _INTERNET:
            return self.serverTransport._fromConnectedSocket(
                fileDescriptor, addressFamily, factory, self
            )
        raise UnsupportedAddressFamily(addressFamily)


class _Watch:
    """
    The owner of one C{poll}: the selectable has no method for it.
    """

    __slots__ = ("descriptor", "operation", "reactor")

    def __init__(self, reactor: CompletionReactor, descriptor: int, mask: int) -> None:
        self.reactor = reactor
        self.descriptor = descriptor
        self.operation = reactor.queue.poll(self, descriptor, mask)

    def polled(self, result: int) -> None:
        """
        Told by the queue: the descriptor is ready.
        """
        self.reactor.polled(self.descriptor, result)


class _LogContext(dict[str, Any]):
    """
    A log context that says who is being told something when it is asked.
    """

    def __init__(self, context: dict[str, Any], queue: ICompletionQueue) -> None:
        super().__init__(context)
        self._queue = queue

    def __getitem__(self, key: str) -> Any:
        if key != "system":
            return super().__getitem__(key)
        prefix = getattr(self._queue.current, "logPrefix", None)
        if prefix is None:
            return super().__getitem__(key)
        try:
            return prefix()
        except Exception:
            return "(buggy logPrefix method)"

    def copy(self) -> dict[str, Any]:
        """
        What a message is made from.
        """
        return {**dict(self), "system": self["system"]}
