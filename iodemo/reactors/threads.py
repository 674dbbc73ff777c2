# -*- test-case-name: tests.test_threads -*-
"""
A thread per connection: each blocks until its peer has sent something, and the kernel's
scheduler is the event loop.

Facts. A waiting thread costs a task structure and a stack (address space; the kernel
backs only the touched pages, some 20 KiB here). To wake it is a context switch, after
which a CPython thread must also take the interpreter lock. A blocked C{recv} takes the
data that comes next, and cannot give it back to the socket: if the descriptor was
passed to another process or thread meanwhile, that reader misses the data. While a
thread is blocked in the kernel on a descriptor, C{close} frees only the number: until
the thread returns, the socket stays open, its port stays in use, and no FIN is sent to
the peer. C{shutdown} makes the thread return. A child made by C{fork} has only a copy
of the thread that called it.

Twisted promises that no two callbacks run at the same time. Therefore one lock covers
all protocol code. A connection's thread takes the lock when there is something to
receive. The main thread, which runs the reactor, holds the lock except while it waits.

Decision. The transports are Twisted's own, and so are their sockets, except for
C{close} (L{_ThreadSocket}). A connection that wants to read gets a thread at the end of
the turn. The thread waits in poll(2) for this one descriptor, without the lock. Then it
takes the lock, and if the connection still wants to read, the transport receives and
delivers: this is a I{turn}. At its end, the thread sends the data that was written to
any connection, without blocking. If the kernel does not take all of it, because a peer
does not read, the main thread sends the rest later, and no thread waits for that peer.
Nothing is received for a paused connection, and the reactor does not keep the
connection alive. Before a socket is closed, its thread is made to return from the
kernel.

The main thread is a readiness loop for everything else: listening ports, outgoing
connections until they are made, datagrams, pipes, timers, signals.

Costs. Two context switches a request, where an event loop has none, and memory for
every connection, silent or not. To receive takes two system calls, C{poll} and C{recv};
a blocking C{recv} would be one, and save some 0.5 microseconds of an echo.
C{IODEMO_THREADS_MAX} bounds the number of threads (16,000): beyond it, connections wait
in the backlog, with a line in the log. C{IODEMO_THREADS_STACK_KIB} is the size of a
stack (2,048, as address space, and one page for its page table). With a smaller stack,
deep recursion, such as json on deeply nested data, ends the process before it raises
C{RecursionError}. As there is one lock, threads gain nothing from a second core; they
would gain nothing from it in a Python with a global interpreter lock either.

When a connection is paused by a timer, or by a callback of another connection, its
thread keeps waiting, and keeps the socket open, until data comes or the connection is
lost. Suppose that such a connection was passed to another process or thread, which is
to keep it after an abort here: then it must be passed in a callback of its own.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.main import CONNECTION_LOST, installReactor
from twisted.logger import Logger
from twisted.python import log, threadable

from iodemo.reactors.polling import BoundedReactor, environmentNumber, flush


class ThreadsReactor(BoundedReactor):
    """
    A reactor with a thread for every stream connection.

    @ivar lock: held by the thread that runs protocol code.
    @ivar forked: whether this is a child process, forked in a turn that has not ended.
    @ivar _holding: whether the main thread holds the lock.
    @ivar _awoken: whether another thread has changed what the main thread waits for,
        since the main thread last began to wait.
    @ivar _threads: the threads, one for each open connection.
    @ivar _reading: the connections that want to read, each with its thread.
    @ivar _starting: the threads to start at the end of this turn, as keys.
    @ivar _unsent: the connections that were written to in this turn, in order, as keys.
    @ivar _sending: the connection whose data is being sent at the end of a turn.
    """

    bound = ("IODEMO_THREADS_MAX", 16_000)
    unit = "threads"

    _log = Logger()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.forked = False
        self._holding = True
        self._awoken = False
        # threading.stack_size accepts no less than 32 KiB.
        kib = environmentNumber("IODEMO_THREADS_STACK_KIB", 2048, 32)
        self._stackBytes = kib * 1024
        self._threads: set[_ConnectionThread] = set()
        self._reading: dict[IReadDescriptor, _ConnectionThread] = {}
        self._starting: dict[_ConnectionThread, None] = {}
        self._unsent: dict[IWriteDescriptor, None] = {}
        self._sending: IWriteDescriptor | None = None
        super().__init__()
        _noticeFork(self)

    # Turns

    def beginTurn(self) -> None:
        """
        Wait until no other thread runs protocol code. Then this thread becomes
        Twisted's I/O thread.
        """
        self.lock.acquire()
        threadable.registerAsIOThread()

    def endTurn(self) -> None:
        """
        Send what was written, and let another thread run protocol code.
        """
        try:
            self._finishTurn()
        finally:
            self.lock.release()

    def _finishTurn(self) -> None:
        """
        Do the work that is deferred to the end of a turn: send what was written, and
        start threads.
        """
        self._sendAll()
        if self.forked:
            self._replaceThreads()
        for thread in self._starting:
            self._start(thread)
        self._starting.clear()

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """
        Let the other threads run until there is something to do for this one.
        """
        self._awoken = False
        if self._holding:
            if self._unsent or self._starting or self.forked:
                self._finishTurn()
                # That may have run protocol code, which may have changed the timers.
                timeout = 0
            self._holding = False
            self.lock.release()
        try:
            ready = super().wait(timeout)
        finally:
            self.beginTurn()
            self._holding = True
        # A descriptor may have another owner now, so the answer may be stale.
        return super().wait(0) if self._awoken else ready

    def run(self, installSignalHandlers: bool = True) -> None:
        """See C{twisted.internet.interfaces.IReactorCore.run}."""
        try:
            super().run(installSignalHandlers)
        finally:
            # The threads stay after a crash, as the reactor may be run again, and after
            # a nested run.
            if self._stopped and not self._started:
                self._endThreads()

    def _endThreads(self) -> None:
        """
        End all threads, except those that wait in the kernel for a connection that is
        still open: these end when data comes, or with the process.
        """
        left = list(self._threads)
        for thread in left:
            thread.end()
        # A thread that waits for the lock now gets it, and sees that it has to end.
        self.lock.release()
        for thread in left:
            if thread.is_alive() and not thread.waiting.locked():
                thread.join()
        self.lock.acquire()

    def iterate(self, delay: float = 0.0) -> None:
        """
        See C{twisted.internet.interfaces.IReactorCore.iterate}. Called in the thread of
        a connection, this lets the main thread and the others run meanwhile.
        """
        current = threading.current_thread()
        if isinstance(current, _ConnectionThread) and not current.runsReactor:
            self.endTurn()
            time.sleep(delay)
            self.beginTurn()
        else:
            super().iterate(delay)

    def _awaken(self) -> None:
        """
        Wake the main thread if it waits, as another thread has changed what it waits
        for.
        """
        if not self._holding and not self._awoken:
            self._awoken = True
            self.wakeUp()

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> DelayedCall:
        """See C{twisted.internet.interfaces.IReactorTime.callLater}."""
        call = super().callLater(delay, callable, *args, **kw)
        self._awaken()
        return call

    def _moveCallLaterSooner(self, delayedCall: DelayedCall) -> None:
        super()._moveCallLaterSooner(delayedCall)
        self._awaken()

    def stop(self) -> None:
        """See C{twisted.internet.interfaces.IReactorCore.stop}."""
        super().stop()
        self._awaken()

    def crash(self) -> None:
        """See C{twisted.internet.interfaces.IReactorCore.crash}."""
        super().crash()
        self._awaken()

    # Readers and writers: the thread of a connection serves it, the main thread serves
    # all others

    def addReader(self, reader: Any) -> None:
        """
        Serve a connection in its own thread, any other reader in the main thread.
        """
        if reader in self._reading:
            return
        if not _isStreamConnection(reader):
            super().addReader(reader)
            return
        thread = _threads.get(reader.socket)
        if thread is None:
            if len(self._threads) >= self.most:
                self._refuse(reader, self.describeBound())
                return
            thread = _ConnectionThread(self, reader)
            self._threads.add(thread)
        self._reading[reader] = thread
        thread.resume(reader)
        if not thread.ident:
            self._starting[thread] = None

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See C{twisted.internet.interfaces.IReactorFDSet.removeReader}."""
        thread = self._reading.pop(reader, None)
        if thread is not None:
            thread.pause()
        else:
            super().removeReader(reader)

    def getReaders(self) -> list[IReadDescriptor]:
        """See C{twisted.internet.interfaces.IReactorFDSet.getReaders}."""
        return [*super().getReaders(), *self._reading]

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """
        Send at the end of the turn. A writer that is added while the turn sends is
        served by the main thread, as a producer could otherwise prolong the turn
        without end.
        """
        if writer is self._sending:
            self._sent = False
        elif (
            self._sending is None
            and hasattr(writer, "socket")
            and isinstance(writer.socket, _ThreadSocket)
        ):
            if writer not in self._writes:
                self._unsent[writer] = None
        else:
            super().addWriter(writer)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See C{twisted.internet.interfaces.IReactorFDSet.removeWriter}."""
        if writer is self._sending:
            self._sent = True
        self._unsent.pop(writer, None)
        super().removeWriter(writer)

    def getWriters(self) -> list[IWriteDescriptor]:
        """See C{twisted.internet.interfaces.IReactorFDSet.getWriters}."""
        return [*super().getWriters(), *self._unsent]

    def _sendAll(self) -> None:
        """
        Send what was written in this turn. The rest, where the kernel does not take
        all, is left to the main thread.
        """
        while self._unsent:
            writer = next(iter(self._unsent))
            del self._unsent[writer]
            self._sending, self._sent = writer, False
            try:
                log.callWithLogger(writer, self.perform, writer, writer.doWrite, False)
            except BaseException:
                # KeyboardInterrupt: it must not stop the sending of other connections.
                log.err()
            finally:
                self._sending = None
            if not self._sent:
                super().addWriter(writer)

    def _watch(self, selectable: Any, descriptor: int) -> None:
        super()._watch(selectable, descriptor)
        self._awaken()

    # Threads

    def _start(self, thread: _ConnectionThread) -> None:
        """
        Start the thread of a connection, unless the connection is paused or closed.
        """
        connection = thread.connection
        if connection is None or thread.ended:
            return
        before = threading.stack_size(self._stackBytes)
        try:
            thread.start()
        except RuntimeError as error:
            self._refuse(connection, str(error))
        finally:
            threading.stack_size(before)

    def _refuse(self, connection: IReadDescriptor, why: str) -> None:
        """
        End a connection for which there is no thread.

        @param why: the reason, for the log.
        """
        self._log.warn("refused {connection}: {why}", connection=connection, why=why)
        self.callLater(
            0, self._disconnectSelectable, connection, CONNECTION_LOST, False
        )

    def _serve(self, selectable: Any, descriptor: int, events: int) -> None:
        """
        Accept no more connections than threads may be started.
        """
        if isinstance(selectable, tcp.Port):
            left = self.most - len(self._threads)
            if left < 1:
                self.boundReached(selectable)
                return
            selectable.numberAccepts = min(selectable.numberAccepts, left)
        super()._serve(selectable, descriptor, events)

    def threadEnded(self, thread: _ConnectionThread) -> None:
        """
        A connection is closed, and its thread is about to end. The caller holds the
        lock.
        """
        self._threads.discard(thread)
        self.resumeAccepting()

    # In a child that was forked in a turn

    def _replaceThreads(self) -> None:
        """
        Make new threads for the connections, as the parent's threads do not exist in
        the child, and a new waker, as the inherited one would wake the parent.
        """
        self.forked = False
        current = threading.current_thread()
        if isinstance(current, _ConnectionThread):
            current.runsReactor = True
        for thread in list(self._threads):
            if thread.ident is None or (thread.is_alive() and thread is not current):
                continue
            self._threads.remove(thread)
            successor = thread.succeed()
            if successor is not None:
                self._threads.add(successor)
                connection = successor.connection
                if connection is not None:
                    self._reading[connection] = successor
                    self._starting[successor] = None
        # The inherited poll object may be locked by a thread of the parent.
        self._poll = select.poll()
        for descriptor, selectables in self._selectables.items():
            self._watch(selectables[0], descriptor)
        if self.waker is not None:
            self._internalReaders.discard(self.waker)
            self.removeReader(self.waker)
            self.waker.connectionLost(None)
            self.waker = None
            self.installWaker()

    def runInChild(self) -> None:
        """
        Run the reactor in the thread of a connection, the only thread of the child.
        """
        self.beginTurn()
        self._holding = True
        self.mainLoop()


class _ConnectionThread(threading.Thread):
    """
    The thread of one connection: waits until it can be read, and then calls its
    C{doRead}.

    @ivar connection: the connection while it wants to read, else C{None}.
    @ivar ended: whether the thread is to end, or has ended.
    @ivar waiting: a lock that the thread holds while it waits in the kernel.
    @ivar runsReactor: whether this is the only thread of a forked child, and so runs
        its reactor.
    """

    def __init__(self, reactor: ThreadsReactor, connection: Any) -> None:
        super().__init__(name=f"iodemo {connection.logstr}", daemon=True)
        self.connection: Any = None
        self.ended = False
        self.waiting = threading.Lock()
        self.runsReactor = False
        self._reactor = reactor
        self._resumed = threading.Condition(reactor.lock)
        self._owner = weakref.ref(connection)
        connectionSocket = connection.socket
        connectionSocket.__class__ = _ThreadSocket
        _threads[connectionSocket] = self
        self._socket = weakref.ref(connectionSocket, self._forgotten)
        self._poll = select.poll()
        self._poll.register(connectionSocket, select.POLLIN)

    def succeed(self) -> _ConnectionThread | None:
        """
        In a forked child, make a successor of this thread, which exists only in the
        parent.

        @return: a thread that is not started yet; C{None} if the connection is closed.
        """
        owner = self._owner()
        if owner is None or self.ended:
            return None
        successor = _ConnectionThread(self._reactor, owner)
        successor.connection = self.connection
        return successor

    def _forgotten(self, _: object) -> None:
        """
        The socket was garbage-collected together with its connection, and is closed by
        that. The collector may call this in any thread.
        """
        if not self.ended:
            self._reactor.callFromThread(self.end)

    def resume(self, connection: Any) -> None:
        """
        Start to read for a connection. The caller holds the lock, here and for pause,
        end and release.
        """
        self.connection = connection
        self._resumed.notify()

    def pause(self) -> None:
        """
        Read nothing until L{resume}.
        """
        self.connection = None

    def end(self) -> None:
        """
        Let the thread end as soon as it returns from the kernel.
        """
        if self.ended:
            return
        self.ended = True
        if self.is_alive():
            self._resumed.notify()
        else:
            self._reactor.threadEnded(self)

    def release(self, connectionSocket: socket.socket) -> None:
        """
        End the thread, and make it return from the kernel, as its socket is about to be
        closed.
        """
        owner = self._owner()
        self.end()
        if not self.is_alive() or not self.waiting.locked():
            return
        # A connection that is paused, and not lost, may have been passed to another
        # process; C{shutdown} would end it there, too.
        if self.connection is not None or owner is None or owner.disconnected:
            # SHUT_RD sends no packet.
            with contextlib.suppress(OSError):
                connectionSocket.shutdown(socket.SHUT_RD)
            with self.waiting:
                pass

    def run(self) -> None:
        """
        Wait and read, again and again, until the connection is closed.
        """
        reactor = self._reactor
        while self._await():
            reactor.beginTurn()
            try:
                self._read()
            finally:
                reactor.endTurn()
            if self.runsReactor:
                self._runReactor()
        with reactor.lock:
            reactor.threadEnded(self)

    def _await(self) -> bool:
        """
        Wait until the connection wants to read and there is something to read.

        @return: whether there is; false if the thread is to end.
        """
        if self.connection is None:
            with self._reactor.lock:
                while self.connection is None and not self.ended:
                    self._resumed.wait()
        with self.waiting:
            if not self.ended:
                self._poll.poll()
        return not self.ended

    def _read(self) -> None:
        connection = self.connection
        # It may have been paused or closed since poll returned.
        if connection is None or self.ended:
            return
        try:
            log.callWithLogger(
                connection, self._reactor.perform, connection, connection.doRead, True
            )
        except BaseException:
            # KeyboardInterrupt, which callWithLogger does not catch: the thread goes
            # on.
            log.err()

    def _runReactor(self) -> None:
        """
        Run the reactor of a child that was forked in this thread's turn. It does not
        return: C{reactor.run} was called in a thread that the child does not have.
        """
        status = 1
        try:
            self._reactor.runInChild()
            status = 0
        finally:
            flush()
            os._exit(status)


class _ThreadSocket(socket.socket):
    """
    The socket of a connection that has a thread. Its class was changed to this one when
    the thread was made.
    """

    __slots__ = ()

    def close(self) -> None:
        """
        Close the socket, after its thread has returned from the kernel: the kernel
        would keep it open until then. The caller holds the lock.
        """
        thread = _threads.pop(self, None)
        if thread is not None:
            thread.release(self)
        super().close()


#: The threads of all open sockets.
_threads: weakref.WeakKeyDictionary[socket.socket, _ConnectionThread] = (
    weakref.WeakKeyDictionary()
)


def _isStreamConnection(reader: object) -> bool:
    """
    Whether this is a stream connection that has been made. While Twisted connects it,
    the object has a C{doRead} of its own instead of the one of its class.
    """
    return (
        isinstance(reader, tcp.Connection)
        and "doRead" not in vars(reader)
        and type(getattr(reader, "socket", None)) in (socket.socket, _ThreadSocket)
    )


def _noticeFork(reactor: ThreadsReactor) -> None:
    """
    Set C{forked} of a reactor after a fork, in the child.
    """
    reference = weakref.ref(reactor)

    def notice() -> None:
        forked = reference()
        if forked is not None:
            forked.forked = True

    os.register_at_fork(after_in_child=notice)


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(ThreadsReactor())
