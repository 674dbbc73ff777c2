# -*- test-case-name: tests.test_threads -*-
"""
A thread per connection: each blocks in C{recv}, and the kernel's scheduler is
the event loop.

Facts. A thread that waits in C{recv} costs a stack (address space, of which the
kernel backs what was touched: some 20 KiB here) and a task structure. To wake
it is a context switch; in CPython it must then take the interpreter lock too.
C{close} does not wake a thread that waits on the descriptor, and the number may
be somebody else's before it has looked; C{shutdown} wakes it. Whether a
descriptor blocks is a property of the open file, but a single C{send} can be
told not to (MSG_DONTWAIT).

Twisted's contract is that no two callbacks ever run at once. So there is one
lock around all protocol code. A thread takes it once it has received something,
and the thread that runs the reactor holds it except while it waits.

Decision. The transports are Twisted's own. When one of them first asks to read,
it is given a thread and a socket that blocks (L{_ThreadSocket}). The thread
receives without the lock, takes it, delivers (a I{turn}), and at the end of the
turn sends what was written, in whatever connection, without waiting. What the
kernel does not take at once, because a peer does not read, the main thread
sends later: nobody waits for that peer. A transport that has paused leaves its
thread at most one C{recv} of data to keep. Only its own thread closes a socket;
everybody else shuts it down, and so wakes it.

The main thread is a readiness loop for all the rest: listening ports, outgoing
connections until they are made, datagrams, pipes, timers, signals.

Costs. Two context switches a request where an event loop has none, and memory
for every connection, silent or not. C{IODEMO_THREADS_MAX} bounds the number of
threads (16,000): beyond it, connections wait in the listen queue, with a line in
the log. C{IODEMO_THREADS_STACK_KIB} is the size of a stack (2,048, which is
address space, and a page for its table: in less, code that recurses, json on deep
data for one, ends the process before it ends in a C{RecursionError}). As there is
one lock, threads gain nothing from a second core; they did not in a Python with a
global interpreter lock anyway.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.main import CONNECTION_LOST, installReactor
from twisted.logger import Logger
from twisted.python import log, threadable

from iodemo.reactors.readiness import (
    BlockingSocket,
    BoundedReactor,
    isPlainStream,
    received,
    setting,
)

CONFORMANCE_EXCEPTIONS = {
    "twisted.internet.test.test_unix.UNIXAdoptStreamConnectionTestsBuilder.*": (
        "it takes the descriptor from a transport that has a thread waiting in recv "
        "on the same socket: a thread cannot be called back from there, and receives "
        "what comes next"
    ),
}


class ThreadsReactor(BoundedReactor):
    """
    A reactor with a thread for every stream connection.

    @ivar lock: held by whoever runs protocol code.
    @ivar _holding: whether the main thread holds it.
    @ivar _awoken: whether another has changed what the main thread waits for.
    @ivar _threads: the connections that have a thread.
    @ivar _unsent: connections that were written to in this turn, in order.
    @ivar _sending: the one whose data is being sent, at the end of a turn.
    """

    bound = ("IODEMO_THREADS_MAX", 16_000)
    unit = "threads"

    _log = Logger()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self._holding = True
        self._awoken = False
        # 32 is what Python takes at least.
        self._stackBytes = setting("IODEMO_THREADS_STACK_KIB", 2048, 32) * 1024
        self._threads: dict[object, _ConnectionThread] = {}
        self._unsent: dict[IWriteDescriptor, None] = {}
        self._sending: IWriteDescriptor | None = None
        super().__init__()

    # Turns

    def beginTurn(self) -> None:
        """
        Wait until nobody else runs protocol code. It is then this thread that
        is Twisted's I/O thread.
        """
        self.lock.acquire()
        threadable.registerAsIOThread()

    def endTurn(self) -> None:
        """
        Send what was written, and let somebody else run.
        """
        self._sendAll()
        self.lock.release()

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """
        Let the other threads run until there is something to do for this one.
        """
        self._awoken = False
        if self._holding:
            if self._unsent:
                self._sendAll()
                # That may have run anything, so that the timeout is none any more.
                timeout = 0
            self._holding = False
            self.lock.release()
        try:
            ready = super().wait(timeout)
        finally:
            self.beginTurn()
            self._holding = True
        # A descriptor may have another owner now: ask again what is so.
        return super().wait(0) if self._awoken else ready

    def run(self, installSignalHandlers: bool = True) -> None:
        """See L{twisted.internet.interfaces.IReactorCore.run}."""
        try:
            super().run(installSignalHandlers)
        finally:
            # Not if it crashed, as it may be run again; nor if it runs already.
            if self._stopped and not self._started:
                self._endThreads()

    def _endThreads(self) -> None:
        left = list(self._threads.values())
        for thread in left:
            thread.end()
        # Those that wait for a turn find that theirs does not come any more.
        self.lock.release()
        for thread in left:
            thread.join()
        self.lock.acquire()

    def iterate(self, delay: float = 0.0) -> None:
        """
        See L{twisted.internet.interfaces.IReactorCore.iterate}. In a connection's
        thread, the main thread is what serves meanwhile.
        """
        if isinstance(threading.current_thread(), _ConnectionThread):
            self.endTurn()
            time.sleep(delay)
            self.beginTurn()
        else:
            super().iterate(delay)

    def _awaken(self) -> None:
        """
        Have the main thread look again, if it does not run: then it is another
        that changed what it waits for.
        """
        if not self._holding and not self._awoken:
            self._awoken = True
            self.wakeUp()

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> DelayedCall:
        """See L{twisted.internet.interfaces.IReactorTime.callLater}."""
        call = super().callLater(delay, callable, *args, **kw)
        self._awaken()
        return call

    def _moveCallLaterSooner(self, delayedCall: DelayedCall) -> None:
        super()._moveCallLaterSooner(delayedCall)
        self._awaken()

    def stop(self) -> None:
        """See L{twisted.internet.interfaces.IReactorCore.stop}."""
        super().stop()
        self._awaken()

    def crash(self) -> None:
        """See L{twisted.internet.interfaces.IReactorCore.crash}."""
        super().crash()
        self._awaken()

    # Who is served by whom

    def addReader(self, reader: IReadDescriptor) -> None:
        """
        Serve a connection by its thread, anything else by the main thread.
        """
        thread = self._threads.get(reader)
        if thread is None and _isStreamConnection(reader):
            thread = self._startThread(reader)
            if thread is None:
                return
        if thread is not None:
            thread.resume()
        else:
            super().addReader(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet.removeReader}."""
        thread = self._threads.get(reader)
        if thread is not None:
            thread.pause()
        super().removeReader(reader)

    def getReaders(self) -> list[IReadDescriptor]:
        """See L{twisted.internet.interfaces.IReactorFDSet.getReaders}."""
        reading: Any = [each for each, its in self._threads.items() if its.reading]
        return [*super().getReaders(), *reading]

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """
        Send at the end of the turn; or, while that is being done, in the main
        thread, as a producer could go on for ever.
        """
        if writer is self._sending:
            self._sent = False
        elif self._sending is None and writer in self._threads:
            if writer not in self._writes:
                self._unsent[writer] = None
        else:
            super().addWriter(writer)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet.removeWriter}."""
        if writer is self._sending:
            self._sent = True
        self._unsent.pop(writer, None)
        super().removeWriter(writer)

    def getWriters(self) -> list[IWriteDescriptor]:
        """See L{twisted.internet.interfaces.IReactorFDSet.getWriters}."""
        return [*super().getWriters(), *self._unsent]

    def _sendAll(self) -> None:
        """
        Send what was written in this turn, as far as the kernel takes it.
        """
        while self._unsent:
            writer = next(iter(self._unsent))
            del self._unsent[writer]
            self._sending, self._sent = writer, False
            try:
                log.callWithLogger(writer, self.perform, writer, writer.doWrite, False)
            finally:
                self._sending = None
            if not self._sent:
                super().addWriter(writer)

    def _watch(self, selectable: Any, descriptor: int) -> None:
        super()._watch(selectable, descriptor)
        self._awaken()

    # Threads

    def _startThread(self, connection: Any) -> _ConnectionThread | None:
        """
        @return: the thread, or L{None} if there can be no more; the connection is
            then as good as lost.
        """
        why = self.describeBound()
        if len(self._threads) < self.most:
            thread = _ConnectionThread(self, connection)
            before = threading.stack_size(self._stackBytes)
            try:
                thread.start()
            except RuntimeError as error:
                thread.giveBack()
                why = str(error)
            else:
                self._threads[connection] = thread
                return thread
            finally:
                threading.stack_size(before)
        self._log.warn("refused {connection}: {why}", connection=connection, why=why)
        self.callLater(
            0, self._disconnectSelectable, connection, CONNECTION_LOST, False
        )
        return None

    def _serve(self, selectable: Any, descriptor: int, events: int) -> None:
        """
        Accept no more connections than there may be threads.
        """
        if isinstance(selectable, tcp.Port):
            room = self.most - len(self._threads)
            if room < 1:
                self.overrun(selectable)
                return
            selectable.numberAccepts = min(selectable.numberAccepts, room)
        super()._serve(selectable, descriptor, events)

    def threadEnded(self, connection: IReadDescriptor) -> None:
        """
        A connection is closed and its thread about to be gone. The caller has the
        lock.
        """
        del self._threads[connection]
        self.acceptAgain()


class _ConnectionThread(threading.Thread):
    """
    Receives for one connection, and delivers.

    @ivar reading: whether the connection wants to be given what is received.
    @ivar _ended: whether there is nothing to receive any more. Set by whoever
        closes the connection, and read without the lock.
    """

    def __init__(self, reactor: ThreadsReactor, connection: Any) -> None:
        super().__init__(name=f"iodemo {connection.logstr}", daemon=True)
        self._reactor = reactor
        self._connection = connection
        self._socket = _ThreadSocket.of(connection.socket, self)
        self._give(self._socket)
        self.reading = False
        self._resumed = threading.Condition(reactor.lock)
        self._ended = False

    def giveBack(self) -> None:
        """
        Have the connection as it was, if there can be no thread for it.
        """
        self._give(self._socket.original())

    def _give(self, its: socket.socket) -> None:
        self._connection.socket = its
        self._connection.fileno = its.fileno

    def resume(self) -> None:
        """
        Deliver what is received.
        """
        if not self.reading:
            self.reading = True
            self._resumed.notify()

    def pause(self) -> None:
        """
        Deliver nothing until L{resume}.
        """
        self.reading = False

    def end(self) -> None:
        """
        Close the connection's socket. The caller has the lock.
        """
        if self._ended:
            return
        self._ended = True
        # No packet is sent for it, and a waiting recv returns. If the connection
        # is lost already, recv has returned by itself.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self._resumed.notify()

    def run(self) -> None:
        """
        Receive and deliver, until the connection ends.
        """
        reactor = self._reactor
        receive = self._receive if isPlainStream(self._connection) else self._peek
        while not self._ended:
            deliver = receive()
            if self._ended:
                break
            reactor.beginTurn()
            try:
                # What came in spite of a pause is kept until the end of it.
                self._awaitReading()
                if not self._ended:
                    log.callWithLogger(
                        self._connection,
                        reactor.perform,
                        self._connection,
                        deliver,
                        True,
                    )
            finally:
                reactor.endTurn()
            if not self.reading:
                with reactor.lock:
                    self._awaitReading()
        self._socket.closeNow()
        with reactor.lock:
            reactor.threadEnded(self._connection)

    def _awaitReading(self) -> None:
        """
        Wait until the connection wants to read, or has ended. The lock is free
        meanwhile, and this thread's again afterwards.
        """
        while not self.reading and not self._ended:
            self._resumed.wait()
            threadable.registerAsIOThread()

    def _receive(self) -> Callable[[], object]:
        """
        @return: what delivers it.
        """
        data: bytes | None
        try:
            data = self._socket.recv(self._connection.bufferSize)
        except OSError:
            data = None
        return lambda: self._deliver(data)

    def _deliver(self, data: bytes | None) -> object:
        # It may have been aborted meanwhile, and reads nothing any more.
        if not isPlainStream(self._connection):
            return self._connection.doRead()
        return CONNECTION_LOST if data is None else received(self._connection, data)

    def _peek(self) -> Callable[[], object]:
        """
        Wait until there is something, and leave it to the transport to receive.
        """
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return lambda: CONNECTION_LOST
        return lambda: self._connection.doRead()


class _ThreadSocket(BlockingSocket):
    """
    A socket that one thread waits on: closing it is left to that thread.
    """

    __slots__ = ("_original", "_thread")
    _original: socket.socket
    _thread: _ConnectionThread

    @classmethod
    def of(cls, original: socket.socket, thread: _ConnectionThread) -> _ThreadSocket:
        """
        Take over the descriptor of another socket, which stays usable.
        """
        blocking = cls(
            original.family, original.type, original.proto, original.fileno()
        )
        blocking._original = original
        blocking.setblocking(True)
        blocking._thread = thread
        return blocking

    def original(self) -> socket.socket:
        """
        The socket that this one has taken over, which is alone again.
        """
        self.setblocking(False)
        self.detach()
        return self._original

    def close(self) -> None:
        """
        Have the thread close it.
        """
        self._thread.end()

    def closeNow(self) -> None:
        """
        Close it. The descriptor is one, and must be closed once.
        """
        self._original.detach()
        super().close()


def _isStreamConnection(reader: object) -> bool:
    """
    Whether this is a stream connection that has been made. While it is being
    made, its C{doRead} is another than its class's.
    """
    return (
        isinstance(reader, tcp.Connection)
        and "doRead" not in vars(reader)
        and isinstance(getattr(reader, "socket", None), socket.socket)
    )


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(ThreadsReactor())
