# -*- test-case-name: tests.test_threads -*-
"""
A thread per connection: each blocks until its peer has said something, and the
kernel's scheduler is the event loop.

Facts. A thread that waits costs a stack (address space, of which the kernel backs
what was touched: some 20 KiB here) and a task structure. To wake it is a context
switch; in CPython it must then take the interpreter lock too. A C{recv} that waits
takes what comes next, and nothing can be given back to the socket: if the descriptor
was handed to another reader meanwhile, that data is lost to it. While a thread waits in
the kernel for a descriptor, C{close} frees the number and no more: the socket is open,
its port in use, its peer not told of the end, until that thread has returned.
C{shutdown} makes it return. A child that C{fork} makes has only the thread that called
it.

Twisted's contract is that no two callbacks ever run at once. So there is one
lock around all protocol code. A thread takes it once there is something to receive,
and the thread that runs the reactor holds it except while it waits.

Decision. The transports are Twisted's own, and so are their sockets, but for C{close}
(L{_ThreadSocket}). A connection that wants to read is given a thread at the end of the
turn. Without the lock, the thread waits in poll(2) for this one descriptor; with the
lock, and if the connection still wants to read, it has the transport receive and
deliver (a I{turn}). At the end of the turn it sends what was written, in whatever
connection, without waiting. What the kernel does not take at once, because a peer does
not read, the main thread sends later: nobody waits for that peer. A connection that has
paused takes nothing from its socket, and the reactor does not keep it alive. Before a
socket is closed its thread is made to return from the kernel.

The main thread is a readiness loop for all the rest: listening ports, outgoing
connections until they are made, datagrams, pipes, timers, signals.

Costs. Two context switches a request where an event loop has none, and memory for every
connection, silent or not. To receive takes two system calls, C{poll} and C{recv}, where
a C{recv} that waits would be one: some 0.5 microseconds of an echo.
C{IODEMO_THREADS_MAX} bounds the number of threads (16,000): beyond it, connections wait
in the listen queue, with a line in the log. C{IODEMO_THREADS_STACK_KIB} is the size of
a stack (2,048, which is address space, and a page for its table: in less, code that
recurses, json on deep data for one, ends the process before it ends in a
C{RecursionError}). As there is one lock, threads gain nothing from a second core; they
did not in a Python with a global interpreter lock anyway.

If it is a callback of another connection, or a timer, that pauses a connection, its
thread goes on waiting, and holds the socket open, until data comes or the connection is
lost. A process or thread to which such a connection was handed, and that is to keep it
when it is aborted here, must be handed it in a callback of its own.
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

from iodemo.reactors.polling import BoundedReactor, flush, setting


class ThreadsReactor(BoundedReactor):
    """
    A reactor with a thread for every stream connection.

    @ivar lock: held by whoever runs protocol code.
    @ivar forked: whether this is a child, forked in a turn that has not ended.
    @ivar _holding: whether the main thread holds the lock.
    @ivar _awoken: whether another has changed what the main thread waits for.
    @ivar _threads: a thread for each open connection.
    @ivar _reading: the connections that want to read, and their threads.
    @ivar _beginning: the threads that begin at the end of this turn.
    @ivar _unsent: connections that were written to in this turn, in order.
    @ivar _sending: the one whose data is being sent, at the end of a turn.
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
        # 32 is what Python takes at least.
        self._stackBytes = setting("IODEMO_THREADS_STACK_KIB", 2048, 32) * 1024
        self._threads: set[_ConnectionThread] = set()
        self._reading: dict[IReadDescriptor, _ConnectionThread] = {}
        self._beginning: dict[_ConnectionThread, None] = {}
        self._unsent: dict[IWriteDescriptor, None] = {}
        self._sending: IWriteDescriptor | None = None
        super().__init__()
        _noticeFork(self)

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
        try:
            self._finishTurn()
        finally:
            self.lock.release()

    def _finishTurn(self) -> None:
        """
        Do what a turn has left to its end.
        """
        self._sendAll()
        if self.forked:
            self._goOn()
        for thread in self._beginning:
            self._begin(thread)
        self._beginning.clear()

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """
        Let the other threads run until there is something to do for this one.
        """
        self._awoken = False
        if self._holding:
            if self._unsent or self._beginning or self.forked:
                self._finishTurn()
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
        """
        End all threads but those that wait for data of a connection which is still
        open: they end when some comes, or with the process.
        """
        left = list(self._threads)
        for thread in left:
            thread.end()
        # Those that wait for a turn find that theirs does not come any more.
        self.lock.release()
        for thread in left:
            if thread.is_alive() and not thread.waiting.locked():
                thread.join()
        self.lock.acquire()

    def iterate(self, delay: float = 0.0) -> None:
        """
        See L{twisted.internet.interfaces.IReactorCore.iterate}. In a connection's
        thread, the main thread is what serves meanwhile.
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

    def addReader(self, reader: Any) -> None:
        """
        Serve a connection by its thread, anything else by the main thread.
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
            self._beginning[thread] = None

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet.removeReader}."""
        thread = self._reading.pop(reader, None)
        if thread is not None:
            thread.pause()
        else:
            super().removeReader(reader)

    def getReaders(self) -> list[IReadDescriptor]:
        """See L{twisted.internet.interfaces.IReactorFDSet.getReaders}."""
        return [*super().getReaders(), *self._reading]

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """
        Send at the end of the turn; or, while that is being done, in the main
        thread, as a producer could go on for ever.
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
            except BaseException:
                # KeyboardInterrupt. It ends the turn of nobody else.
                log.err()
            finally:
                self._sending = None
            if not self._sent:
                super().addWriter(writer)

    def _watch(self, selectable: Any, descriptor: int) -> None:
        super()._watch(selectable, descriptor)
        self._awaken()

    # Threads

    def _begin(self, thread: _ConnectionThread) -> None:
        """
        Start the thread of a connection, unless that has paused, or is closed.
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
        End a connection that can have no thread.
        """
        self._log.warn("refused {connection}: {why}", connection=connection, why=why)
        self.callLater(
            0, self._disconnectSelectable, connection, CONNECTION_LOST, False
        )

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

    def threadEnded(self, thread: _ConnectionThread) -> None:
        """
        A connection is closed, and its thread is about to be gone. The caller has
        the lock.
        """
        self._threads.discard(thread)
        self.acceptAgain()

    # In a child that was forked in a turn

    def _goOn(self) -> None:
        """
        Have new threads in the place of those that are the parent's, and a waker
        that does not wake the parent.
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
                    self._beginning[successor] = None
        # That of the parent may be in use, by a thread that is not here.
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
        Run in the thread of a connection, which is the only one of the child.
        """
        self.beginTurn()
        self._holding = True
        self.mainLoop()


class _ConnectionThread(threading.Thread):
    """
    Waits for one connection, and has it read what has come.

    @ivar connection: the connection while it wants to read, and else L{None}.
    @ivar ended: whether there is nothing to wait for any more.
    @ivar waiting: held while the thread waits in the kernel.
    @ivar runsReactor: whether this is the only thread of a child that was forked.
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
        its = connection.socket
        its.__class__ = _ThreadSocket
        _threads[its] = self
        self._socket = weakref.ref(its, self._forgotten)
        self._poll = select.poll()
        self._poll.register(its, select.POLLIN)

    def succeed(self) -> _ConnectionThread | None:
        """
        Find a successor for this thread, which is gone with the parent.

        @return: it has not begun; L{None} if the connection is closed.
        """
        owner = self._owner()
        if owner is None or self.ended:
            return None
        successor = _ConnectionThread(self._reactor, owner)
        successor.connection = self.connection
        return successor

    def _forgotten(self, _: object) -> None:
        """
        Nobody has the connection any more, nor its socket, which is closed by that.
        The collector may call this in any thread.
        """
        if not self.ended:
            self._reactor.callFromThread(self.end)

    def resume(self, connection: Any) -> None:
        """
        Have a connection read what comes. The caller has the lock, here and below.
        """
        self.connection = connection
        self._resumed.notify()

    def pause(self) -> None:
        """
        Have nothing read until L{resume}.
        """
        self.connection = None

    def end(self) -> None:
        """
        Wait for nothing any more.
        """
        if self.ended:
            return
        self.ended = True
        if self.is_alive():
            self._resumed.notify()
        else:
            self._reactor.threadEnded(self)

    def release(self, its: socket.socket) -> None:
        """
        Wait for nothing any more, nor in the kernel, as the socket is to be closed.
        """
        owner = self._owner()
        self.end()
        if not self.is_alive() or not self.waiting.locked():
            return
        # Of one that has paused, and is not lost, another process may have the
        # descriptor: C{shutdown} would be the end for that, too.
        if self.connection is not None or owner is None or owner.disconnected:
            # No packet is sent for it.
            with contextlib.suppress(OSError):
                its.shutdown(socket.SHUT_RD)
            with self.waiting:
                pass

    def run(self) -> None:
        """
        Wait, and have it read, until it is closed.
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
        Wait until the connection wants to read, and there is something to read.

        @return: whether that came, and not the end.
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
        # It may have paused, or be closed, since there was something.
        if connection is None or self.ended:
            return
        try:
            log.callWithLogger(
                connection, self._reactor.perform, connection, connection.doRead, True
            )
        except BaseException:
            # KeyboardInterrupt, which callWithLogger lets through. It ends no thread.
            log.err()

    def _runReactor(self) -> None:
        """
        Run the reactor of a child that was forked in this thread's turn. It does
        not return: where C{reactor.run} was called is another thread, and gone.
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
    The socket of a connection that has a thread: the socket it had before, of another
    class.
    """

    __slots__ = ()

    def close(self) -> None:
        """
        Close it, and not only its number: no thread waits for it afterwards. The
        caller has the lock.
        """
        thread = _threads.pop(self, None)
        if thread is not None:
            thread.release(self)
        super().close()


#: The threads of all sockets that are open.
_threads: weakref.WeakKeyDictionary[socket.socket, _ConnectionThread] = (
    weakref.WeakKeyDictionary()
)


def _isStreamConnection(reader: object) -> bool:
    """
    Whether this is a stream connection that has been made. While it is being
    made, its C{doRead} is another than its class's.
    """
    return (
        isinstance(reader, tcp.Connection)
        and "doRead" not in vars(reader)
        and type(getattr(reader, "socket", None)) in (socket.socket, _ThreadSocket)
    )


def _noticeFork(reactor: ThreadsReactor) -> None:
    """
    Have a reactor know in a child that it has been forked.
    """
    known = weakref.ref(reactor)

    def notice() -> None:
        its = known()
        if its is not None:
            its.forked = True

    os.register_at_fork(after_in_child=notice)


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(ThreadsReactor())
