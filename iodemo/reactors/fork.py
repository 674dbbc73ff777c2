# -*- test-case-name: tests.test_fork -*-
"""
A process per connection: each blocks in C{recv}, and the kernel's scheduler is the
event loop.

Facts. C{fork} copies the page tables of the process, here in some 3 milliseconds, and
its descriptors. The child has one thread, a copy of the thread that called C{fork}. A
memory page is copied when either process writes to it, and Python writes whenever it
counts a reference; C{gc.freeze} at least keeps the garbage collector from writing to
every page. A socket is closed when its last descriptor in any process is closed. A
system call that a signal interrupts is restarted after the handler (PEP 475), unless
the handler raises; and a signal that comes after Python's last check for signals, but
before the system call, does not interrupt that call. With PR_SET_PDEATHSIG, the kernel
ends a process when its parent ends.

Decision. The parent is a readiness loop. Its listening sockets fork when they accept
(L{_ForkingSocket}). In the child, Twisted's port continues as if it had accepted the
connection, and builds the protocol and its transport; in the parent, C{accept} raises
as if there had been no connection. The child runs the parent's reactor object,
initialised again: it has no timer, reader, trigger or thread of the parent. In the
child, each descriptor of the parent is replaced by /dev/null. So its number stays in
use, and an object that still holds the number cannot close an unrelated file. The
parent waits until the child has done that: otherwise a socket that the parent closes
would stay open in the child. A child that waits only for its connection blocks in
C{recv}; a child that also waits for something else (a timer, an outgoing connection, a
thread, a peer that does not read) uses poll(2). A child exits when its connection ends.

Costs. Children share nothing: a count that a factory keeps covers one connection, and
C{stop} or C{stopListening} in a child affects only that child. A connection costs some
3 MiB, a C{fork} before its first byte, and two context switches a request.
C{IODEMO_FORK_MAX} bounds the number of processes (1,000): beyond it, connections wait
in the backlog, with a line in the log. When the parent stops, it sends its children
SIGTERM, repeatedly because one signal may not interrupt C{recv}, and SIGKILL after
L{GRACE} seconds. If the parent is killed, the kernel kills the children. As for
C{spawnProcess}, the reactor has to run with its signal handlers.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any, TypeVar
from weakref import WeakSet

from twisted.internet import process, tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python import log
from zope.interface import implementer

from iodemo.interfaces import ISharesNothing
from iodemo.kernel import endWithParent
from iodemo.process.signals import signalName
from iodemo.reactors.forkexceptions import (
    CONFORMANCE_EXCEPTIONS as CONFORMANCE_EXCEPTIONS,
)
from iodemo.reactors.polling import BoundedReactor, flush
from iodemo.reactors.sharedlog import SharedLog

if not sys.platform.startswith("linux"):
    raise ImportError("it needs Linux, which ends children with their parent (prctl)")

#: Seconds from the first SIGTERM to SIGKILL.
GRACE = 5.0
#: Seconds from one SIGTERM to the next.
_SIGTERM_INTERVAL = 0.25
#: Seconds for which the parent waits at most until a child has replaced its
#: descriptors.
_FORK_TIMEOUT = 1

_Socket = TypeVar("_Socket", bound=socket.socket)


@implementer(ISharesNothing)
class ForkReactor(BoundedReactor):
    """
    A reactor with a process for every stream connection that it accepts.

    The attributes from C{_children} to C{_allEnded} are used in the parent, the others
    in a child.

    @ivar _children: the children that have not ended, by process id.
    @ivar _known: every reader or writer so far. A child inherits their descriptors, and
        replaces them.
    @ivar _startSignal: the parent's end of a socket pair; the latest child begins to
        serve when it is closed. C{None} if no child waits.
    @ivar _ending: whether the reactor is stopping, and forks no more.
    @ivar _allEnded: a Deferred that fires when the last child has ended; C{None} unless
        the reactor is stopping.
    @ivar _served: the socket that was accepted; C{None} in the parent.
    @ivar _connection: its transport; C{None} until there is one.
    @ivar _sendTried: whether this iteration has already tried to send what was written.
    @ivar _inherited: the attributes of the parent's reactor, kept so that none of them
        is finalized in the child.
    """

    bound = ("IODEMO_FORK_MAX", 1_000)
    unit = "processes"

    _log = Logger()

    _served: _ServedSocket | None = None
    _connection: Any = None
    _sendTried = False

    def __init__(self) -> None:
        self._children: dict[int, _Child] = {}
        self._known: WeakSet[FileDescriptor] = WeakSet()
        self._ending = False
        self._startSignal: socket.socket | None = None
        self._allEnded: Deferred[None] | None = None
        super().__init__()
        self._sharedLog = SharedLog()
        self._addInternalReader(self._sharedLog)
        self.addSystemEventTrigger("before", "shutdown", self._endChildren)

    # In the parent and in a child

    def addReader(self, reader: IReadDescriptor) -> None:
        """See C{twisted.internet.interfaces.IReactorFDSet.addReader}."""
        if self._served is None:
            self._know(reader)
            if isinstance(reader, tcp.Port):
                _ForkingSocket.replaceThatOf(reader, self)
        elif getattr(reader, "socket", None) is self._served:
            self._connection = reader
        super().addReader(reader)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See C{twisted.internet.interfaces.IReactorFDSet.addWriter}."""
        if self._served is None:
            self._know(writer)
        super().addWriter(writer)

    def doIteration(self, delay: float | None) -> None:
        """See L{ReadinessReactor.doIteration}."""
        if self._served is None:
            self._startLatestChild()
            super().doIteration(delay)
        else:
            self._doIterationInChild(self._served, delay)

    def sigTerm(self, number: int, frame: FrameType | None = None) -> None:
        """See C{twisted.internet.base.ReactorBase.sigTerm}."""
        if self._served is None:
            super().sigTerm(number, frame)
        else:
            self.callFromThread(self._stopChild)
            self._served.interrupt()

    # The parent

    def run(self, installSignalHandlers: bool = True) -> None:
        """See C{twisted.internet.interfaces.IReactorCore.run}."""
        try:
            super().run(installSignalHandlers)
        finally:
            # Children are left only after a crash. A nested run leaves them to the
            # outer one.
            if not self._started:
                for child in list(self._children.values()):
                    child.kill()

    def connections(self) -> int:
        """See L{ISharesNothing.connections}."""
        return len(self._children)

    def _know(self, selectable: object) -> None:
        if isinstance(selectable, FileDescriptor):
            self._known.add(selectable)

    def _serve(self, selectable: Any, descriptor: int, events: int) -> None:
        """
        Accept one connection of a port, unless the bound is reached. Serve any other
        selectable as usual.
        """
        if self._served is not None or not isinstance(selectable, tcp.Port):
            super()._serve(selectable, descriptor, events)
        elif self._ending:
            self.pauseAccepting(selectable)
        elif len(self._children) >= self.most:
            self.boundReached(selectable)
        else:
            selectable.numberAccepts = 1
            super()._serve(selectable, descriptor, events)
            if self._served is not None:
                self._live(self._served)

    def childEnded(self, pid: int, status: int) -> None:
        """
        A child has ended.

        @param status: its exit status, or the negative number of a signal.
        """
        del self._children[pid]
        # First log the child's own last events, then its end.
        self._sharedLog.doRead()
        if status:
            self._log.warn(
                "the process of a connection ended with {how}",
                how=status if status > 0 else signalName(-status),
            )
        if self._ending:
            if not self._children and self._allEnded is not None:
                self._allEnded.callback(None)
        else:
            self.resumeAccepting()

    def _endChildren(self) -> Deferred[None] | None:
        """
        End all children, and fork no more.

        @return: a Deferred that fires when all have ended; C{None} if there are none.
        """
        self._ending = True
        if not self._children:
            return None
        self._allEnded = Deferred()
        self._signalChildren(self.seconds() + GRACE)
        return self._allEnded

    def _signalChildren(self, deadline: float) -> None:
        isLate = self.seconds() > deadline
        for pid in self._children:
            # A child that has changed its user may not be signalled.
            with contextlib.suppress(PermissionError):
                os.kill(pid, signal.SIGKILL if isLate else signal.SIGTERM)
        # Without signal handlers, there is no other call that reaps them.
        process.reapAllProcesses()
        if self._children:
            self.callLater(_SIGTERM_INTERVAL, self._signalChildren, deadline)

    def _startLatestChild(self) -> None:
        """
        Let the latest child serve its connection, if it still waits for that.
        """
        if self._startSignal is not None:
            # A process that was forked meanwhile may hold a copy of the descriptor, so
            # closing it would not be enough.
            self._startSignal.shutdown(socket.SHUT_RDWR)
            self._startSignal.close()
            self._startSignal = None

    def fork(self, connection: _ServedSocket) -> bool:
        """
        Make a child that serves a connection. The parent waits until the child has
        replaced the parent's descriptors. The child waits until the parent has served
        all that is ready, which may include the parent's own clients of this server.

        @return: whether this process is the child.
        """
        # The next child would inherit the start signal of the previous one.
        self._startLatestChild()
        flush()
        parent = os.getpid()
        # The parent's signal handlers must not run in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            parentEnd, childEnd = socket.socketpair()
            with childEnd:
                try:
                    pid = os.fork()
                except OSError:
                    parentEnd.close()
                    raise
                if pid == 0:
                    parentEnd.close()
                    self._begin(parent, connection, childEnd)
            if pid:
                self._startSignal = parentEnd
                poll = select.poll()
                poll.register(parentEnd, select.POLLIN)
                # A child may hang in a hook of os.register_at_fork: serve the others.
                poll.poll(_FORK_TIMEOUT * 1000)
        except OSError as error:
            self._log.error("refused a connection: {error}", error=error)
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if pid:
            self._children[pid] = child = _Child(pid, self)
            process.registerReapProcessHandler(pid, child)
        return pid == 0

    # The child

    def _begin(
        self, parent: int, connection: _ServedSocket, childEnd: socket.socket
    ) -> None:
        """
        Turn the inherited reactor into a new one that has only a connection.

        @param childEnd: the child's end of the socket pair. The child shuts it down
            when it has replaced the parent's descriptors. The parent shuts down its own
            end when it has served all that is ready.
        """
        try:
            endWithParent(parent)
            gc.freeze()
            self._disown(connection.fileno())
            childEnd.shutdown(socket.SHUT_WR)
            self._signals.uninstall()
            for number in signal.valid_signals():
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_IGN)
            self.waker.connectionLost(None)
            self._sharedLog.leaveToParent()
            nameResolver = self.nameResolver
            inherited = vars(self).copy()
            vars(self).clear()
            self._inherited = inherited
            self._served = connection
            super().__init__()
            self.installNameResolver(nameResolver)
            self.startRunning()
            childEnd.recv(1)
        except BaseException:
            log.err(None, "the process of a connection could not begin")
            os._exit(1)

    def _disown(self, served: int) -> None:
        """
        Replace the descriptors of the parent by /dev/null.

        @param served: the descriptor of the connection, which is kept.
        """
        owners = {*self._reads, *self._writes, *self._known}
        for each in process.reapProcessHandlers.values():
            owners.update(getattr(each, "pipes", {}).values())
        process.reapProcessHandlers.clear()
        null = os.open(os.devnull, os.O_RDWR)
        for owner in owners - self._internalReaders:
            try:
                descriptor = owner.fileno()
            except Exception:
                continue  # a closed object that is not one of Twisted's
            if descriptor > 2 and descriptor != served:
                os.dup2(null, descriptor, inheritable=False)
            if isinstance(owner, FileDescriptor):
                owner.connected = 0
        os.close(null)

    def _live(self, served: _ServedSocket) -> None:
        """
        Run the child until its connection has ended. It does not return.
        """
        status = 1
        try:
            if served.fileno() >= 0:
                served.setblocking(True)
            while self._started:
                try:
                    self.runUntilCurrent()
                    self.doIteration(self.timeout() if self.running else 0)
                except BaseException:
                    log.err(None, "in the main loop of a child")
            status = 0
        finally:
            flush()
            os._exit(status)

    def _stopChild(self) -> None:
        if not self._stopped:
            self.stop()

    def _doIterationInChild(self, served: _ServedSocket, delay: float | None) -> None:
        connection = self._connection
        hasEnded = connection is None or served.fileno() < 0
        if hasEnded and not self._stopped:
            self.stop()
        elif connection in self._writes and not self._sendTried:
            # Most sends succeed at once, without a poll before them.
            self._sendTried = True
            log.callWithLogger(
                connection, self.perform, connection, connection.doWrite, False
            )
        else:
            self._sendTried = False
            if delay is None and self._waitsForConnectionOnly():
                log.callWithLogger(
                    connection, self.perform, connection, connection.doRead, True
                )
            else:
                super().doIteration(delay)

    def _waitsForConnectionOnly(self) -> bool:
        """
        Whether the connection is the only source of events of this process.
        """
        return (
            not self._writes
            and self._connection in self._reads
            and len(self._reads) == 1 + len(self._internalReaders)
            and not self.threadCallQueue
            and not process.reapProcessHandlers
            and threading.active_count() == 1
        )


class _Child:
    """
    A process that serves a connection, in the form that Twisted's reaper calls.
    """

    def __init__(self, pid: int, reactor: ForkReactor) -> None:
        self._pid = pid
        self._reactor = reactor

    def reapProcess(self) -> None:
        """
        Reap the process if it has ended.
        """
        self._reap(os.WNOHANG)

    def kill(self) -> None:
        """
        Kill the process, and reap it.
        """
        os.kill(self._pid, signal.SIGKILL)
        self._reap(0)

    def _reap(self, options: int) -> None:
        try:
            pid, status = os.waitpid(self._pid, options)
        except ChildProcessError:
            pid, status = self._pid, 0  # other code has reaped it
        if pid:
            process.unregisterReapProcessHandler(pid, self)
            self.processEnded(status)

    def processEnded(self, status: int) -> None:
        """
        The process has ended.

        @param status: its wait status, as C{waitpid} returns it.
        """
        self._reactor.childEnded(self._pid, os.waitstatus_to_exitcode(status))


class _ForkingSocket(socket.socket):
    """
    A listening socket that forks in C{accept}. In the child C{accept} returns the
    connection; in the parent it raises C{BlockingIOError}.
    """

    __slots__ = ("_port", "_reactor")
    _port: Any
    _reactor: ForkReactor

    @classmethod
    def replaceThatOf(cls, port: Any, reactor: ForkReactor) -> None:
        """
        Take the place of a port's socket.
        """
        if not isinstance(port.socket, cls):
            forking = _takeOver(port.socket, cls)
            forking.setblocking(False)
            forking._port = port
            forking._reactor = reactor
            port.socket = forking
            port.fileno = forking.fileno

    def accept(self) -> tuple[socket.socket, Any]:
        """See C{socket.socket.accept}."""
        connection, address = super().accept()
        served = _takeOver(connection, _ServedSocket)
        served.waiting = False
        if self._reactor.fork(served):
            return served, address
        served.close()
        self._port.sessionno += 1
        raise BlockingIOError(errno.EAGAIN, "a child serves the connection")


class _ServedSocket(socket.socket):
    """
    The socket of a child's connection. A receive blocks until data or a signal comes; a
    send never blocks.

    @ivar waiting: whether a receive is in progress, and so may be blocked.
    """

    __slots__ = ("waiting",)
    waiting: bool

    def send(self, data: Any, flags: int = 0) -> int:
        """See C{socket.socket.send}."""
        return super().send(data, flags | socket.MSG_DONTWAIT)

    def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: Any = None,
    ) -> int:
        """See C{socket.socket.sendmsg}."""
        return super().sendmsg(buffers, ancdata, flags | socket.MSG_DONTWAIT, address)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See C{socket.socket.recv}."""
        self.waiting = True
        try:
            return super().recv(size, flags)
        finally:
            self.waiting = False

    def recvmsg(self, size: int, *arguments: Any) -> Any:
        """See C{socket.socket.recvmsg}."""
        self.waiting = True
        try:
            return super().recvmsg(size, *arguments)
        finally:
            self.waiting = False

    def interrupt(self) -> None:
        """
        For a signal handler: end a receive that is in progress.

        @raise BlockingIOError: if one is. It unwinds the receive.
        """
        if self.waiting:
            self.waiting = False
            raise BlockingIOError(errno.EAGAIN, "interrupted")


def _takeOver(original: socket.socket, kind: type[_Socket]) -> _Socket:
    """
    Make a socket of another class, which takes the descriptor of the original. The
    original is closed by that.
    """
    family, type_, protocol = original.family, original.type, original.proto
    return kind(family, type_, protocol, original.detach())


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(ForkReactor())
