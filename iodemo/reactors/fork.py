# -*- test-case-name: tests.test_fork -*-
"""
A process per connection: each blocks in C{recv}, and the kernel's scheduler is
the event loop.

Facts. C{fork} copies the page tables of the process, here in some 3 milliseconds,
and the descriptors; of the threads it leaves only the one that called it. A page
is copied once either process writes to it, which Python does by counting a
reference; C{gc.freeze} keeps the collector at least from writing to all of them.
A socket ends when its last descriptor is closed, whoever has it. A system call
that a signal interrupts goes on after the handler (PEP 475), unless that raises;
and a signal that comes between Python's last look and the call interrupts
nothing. PR_SET_PDEATHSIG has the kernel end a process when its parent does.

Decision. The parent is a readiness loop. Its listening sockets fork when they
accept (L{_ForkingSocket}): Twisted's own port goes on in the child, where it
builds the protocol and its transport, while in the parent there was nothing to
accept. The child has the reactor of its parent, made anew: no timer, reader,
trigger or thread that the parent had. The parent's descriptors are replaced by
/dev/null, so that their numbers stay taken and whoever still holds one closes
nothing else; for that the parent waits, as what it closes would not be closed before.
When there is nothing to wait for but its connection, the child
blocks in C{recv}; when there is (a timer, an outgoing connection, a thread, a
peer that does not read), it polls like any other. It ends with its connection.

Costs. Children share nothing: what a factory counts, it counts for one connection,
and C{stop} or C{stopListening} in a child concerns the child alone. Some 3 MiB
for each connection, a C{fork} before its first byte, and two context switches
a request. C{IODEMO_FORK_MAX} bounds the number of processes (1,000): beyond it,
connections wait in the listen queue, with a line in the log. Told to end, the
parent asks its children to (SIGTERM, again and again because of the above) and
ends them after L{GRACE} seconds. If it is killed they are too. As for
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
from iodemo.reactors.forkexceptions import (
    CONFORMANCE_EXCEPTIONS as CONFORMANCE_EXCEPTIONS,
)
from iodemo.reactors.polling import BoundedReactor, flush
from iodemo.reactors.sharedlog import SharedLog

if not sys.platform.startswith("linux"):
    raise ImportError("it needs Linux, which ends children with their parent (prctl)")

#: Seconds that children have to end after SIGTERM, and between two of those.
GRACE = 5.0
_AGAIN = 0.25
#: For how many seconds a parent waits for its child to begin.
_HANGING = 1

_Socket = TypeVar("_Socket", bound=socket.socket)


@implementer(ISharesNothing)
class ForkReactor(BoundedReactor):
    """
    A reactor with a process for every stream connection that it accepts.

    In the parent:

    @ivar _children: those that have not ended, by process id.
    @ivar _known: whose descriptors a child has and should not.
    @ivar _beginning: what the latest child waits for: that this is closed.
    @ivar _ending: whether there are to be no more children.
    @ivar _allEnded: what waits for the end of them all.

    In a child:

    @ivar _served: the socket that was accepted; L{None} in the parent.
    @ivar _connection: its transport, once there is one.
    @ivar _tried: whether what is written was sent as far as the kernel takes it.
    @ivar _inherited: what the parent had, kept so that none of it is finalized.
    """

    bound = ("IODEMO_FORK_MAX", 1_000)
    unit = "processes"

    _log = Logger()

    _served: _ServedSocket | None = None
    _connection: Any = None
    _tried = False

    def __init__(self) -> None:
        self._children: dict[int, _Child] = {}
        self._known: WeakSet[FileDescriptor] = WeakSet()
        self._ending = False
        self._beginning: socket.socket | None = None
        self._allEnded: Deferred[None] | None = None
        super().__init__()
        self._sharedLog = SharedLog()
        self._addInternalReader(self._sharedLog)
        self.addSystemEventTrigger("before", "shutdown", self._endChildren)

    # Both

    def addReader(self, reader: IReadDescriptor) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet.addReader}."""
        if self._served is None:
            self._know(reader)
            if isinstance(reader, tcp.Port):
                _ForkingSocket.replaceThatOf(reader, self)
        elif getattr(reader, "socket", None) is self._served:
            self._connection = reader
        super().addReader(reader)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See L{twisted.internet.interfaces.IReactorFDSet.addWriter}."""
        if self._served is None:
            self._know(writer)
        super().addWriter(writer)

    def doIteration(self, delay: float | None) -> None:
        """See L{ReadinessReactor.doIteration}."""
        if self._served is None:
            self._letBegin()
            super().doIteration(delay)
        else:
            self._doIterationInChild(self._served, delay)

    def sigTerm(self, number: int, frame: FrameType | None = None) -> None:
        """See L{twisted.internet.base.ReactorBase.sigTerm}."""
        if self._served is None:
            super().sigTerm(number, frame)
        else:
            self.callFromThread(self._stopChild)
            self._served.interrupt()

    # The parent

    def run(self, installSignalHandlers: bool = True) -> None:
        """See L{twisted.internet.interfaces.IReactorCore.run}."""
        try:
            super().run(installSignalHandlers)
        finally:
            # There are some only if it crashed. Who runs it twice runs it still.
            if not self._started:
                for child in list(self._children.values()):
                    child.kill()

    def _know(self, selectable: object) -> None:
        if isinstance(selectable, FileDescriptor):
            self._known.add(selectable)

    def _serve(self, selectable: Any, descriptor: int, events: int) -> None:
        """
        Accept one connection, if there may be another process for it.
        """
        if self._served is not None or not isinstance(selectable, tcp.Port):
            super()._serve(selectable, descriptor, events)
        elif self._ending:
            self.setAside(selectable)
        elif len(self._children) >= self.most:
            self.overrun(selectable)
        else:
            selectable.numberAccepts = 1
            super()._serve(selectable, descriptor, events)
            if self._served is not None:
                self._live(self._served)

    def childEnded(self, pid: int, status: int) -> None:
        """
        A child is no more.

        @param status: its exit status, or the negative number of a signal.
        """
        del self._children[pid]
        # Its last words come before what is said of it.
        self._sharedLog.doRead()
        if status:
            self._log.warn(
                "the process of a connection ended with {how}",
                how=status if status > 0 else signal.Signals(-status).name,
            )
        if self._ending:
            if not self._children and self._allEnded is not None:
                self._allEnded.callback(None)
        else:
            self.acceptAgain()

    def _endChildren(self) -> Deferred[None] | None:
        """
        Have no more children.

        @return: what fires when there are none.
        """
        self._ending = True
        if not self._children:
            return None
        self._allEnded = Deferred()
        self._askToEnd(self.seconds() + GRACE)
        return self._allEnded

    def _askToEnd(self, deadline: float) -> None:
        isOver = self.seconds() > deadline
        for pid in self._children:
            # One that has changed its user cannot be asked.
            with contextlib.suppress(PermissionError):
                os.kill(pid, signal.SIGKILL if isOver else signal.SIGTERM)
        # Without signal handlers nobody does it for us.
        process.reapAllProcesses()
        if self._children:
            self.callLater(_AGAIN, self._askToEnd, deadline)

    def _letBegin(self) -> None:
        """
        Have the latest child serve, if it waits for that.
        """
        if self._beginning is not None:
            # Another process that was forked meanwhile may have it, too.
            self._beginning.shutdown(socket.SHUT_RDWR)
            self._beginning.close()
            self._beginning = None

    def fork(self, connection: _ServedSocket) -> bool:
        """
        Have a child serve a connection. The parent waits until the child holds nothing
        of the parent's open, and the child until the parent has served what is ready,
        its own clients of this server for one.

        @return: whether this is the child.
        """
        # Or the next child would hold what that waits for.
        self._letBegin()
        flush()
        parent = os.getpid()
        # What signals do in the parent they must not do in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    pid = os.fork()
                except OSError:
                    ours.close()
                    raise
                if pid == 0:
                    ours.close()
                    self._begin(parent, connection, theirs)
            if pid:
                self._beginning = ours
                poll = select.poll()
                poll.register(ours, select.POLLIN)
                # A child that hangs, in somebody's hook of fork, keeps nobody else.
                poll.poll(_HANGING * 1000)
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
        self, parent: int, connection: _ServedSocket, theirs: socket.socket
    ) -> None:
        """
        Be a new reactor, which knows a connection and nothing of the parent.

        @param theirs: its peer is the parent's. One ends it when it has let go of what
            is the other's, and the other when it has served what is ready.
        """
        try:
            endWithParent(parent)
            gc.freeze()
            self._disown(connection.fileno())
            theirs.shutdown(socket.SHUT_WR)
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
            theirs.recv(1)
        except BaseException:
            log.err(None, "the process of a connection could not begin")
            os._exit(1)

    def _disown(self, served: int) -> None:
        """
        Let go of what the parent has open, but for a connection's descriptor.
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
                continue  # closed, and not one of Twisted's
            if descriptor > 2 and descriptor != served:
                os.dup2(null, descriptor, inheritable=False)
            if isinstance(owner, FileDescriptor):
                owner.connected = 0
        os.close(null)

    def _live(self, served: _ServedSocket) -> None:
        """
        Run until the connection is over. It does not return.
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
        isOver = connection is None or served.fileno() < 0
        if isOver and not self._stopped:
            self.stop()
        elif connection in self._writes and not self._tried:
            # Most often it can be sent, and there is nothing to wait for.
            self._tried = True
            log.callWithLogger(
                connection, self.perform, connection, connection.doWrite, False
            )
        else:
            self._tried = False
            if delay is None and self._isAlone():
                log.callWithLogger(
                    connection, self.perform, connection, connection.doRead, True
                )
            else:
                super().doIteration(delay)

    def _isAlone(self) -> bool:
        """
        Whether nothing can happen to this process, but by its connection.
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
    A process that serves a connection, as Twisted's reaper knows it.
    """

    def __init__(self, pid: int, reactor: ForkReactor) -> None:
        self._pid = pid
        self._reactor = reactor

    def reapProcess(self) -> None:
        """
        See whether it has ended.
        """
        self._reap(os.WNOHANG)

    def kill(self) -> None:
        """
        End it.
        """
        os.kill(self._pid, signal.SIGKILL)
        self._reap(0)

    def _reap(self, options: int) -> None:
        try:
            pid, status = os.waitpid(self._pid, options)
        except ChildProcessError:
            pid, status = self._pid, 0  # somebody else has reaped it
        if pid:
            process.unregisterReapProcessHandler(pid, self)
            self.processEnded(status)

    def processEnded(self, status: int) -> None:
        """
        It has ended.

        @param status: as of C{waitpid}.
        """
        self._reactor.childEnded(self._pid, os.waitstatus_to_exitcode(status))


class _ForkingSocket(socket.socket):
    """
    A listening socket. To accept from it is to fork: a connection is accepted in
    the child, and none in the parent.
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
        """See L{socket.socket.accept}."""
        connection, address = super().accept()
        served = _takeOver(connection, _ServedSocket)
        served.waiting = False
        if self._reactor.fork(served):
            return served, address
        served.close()
        self._port.sessionno += 1
        raise BlockingIOError(errno.EAGAIN, "a child has it")


class _ServedSocket(socket.socket):
    """
    The socket of a child's connection. It waits when it receives, until a signal
    interrupts it, and never when it sends.

    @ivar waiting: whether it receives, and so perhaps waits.
    """

    __slots__ = ("waiting",)
    waiting: bool

    def send(self, data: Any, flags: int = 0) -> int:
        """See L{socket.socket.send}."""
        return super().send(data, flags | socket.MSG_DONTWAIT)

    def sendmsg(
        self,
        buffers: Iterable[Any],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: Any = None,
    ) -> int:
        """See L{socket.socket.sendmsg}."""
        return super().sendmsg(buffers, ancdata, flags | socket.MSG_DONTWAIT, address)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See L{socket.socket.recv}."""
        self.waiting = True
        try:
            return super().recv(size, flags)
        finally:
            self.waiting = False

    def recvmsg(self, size: int, *arguments: Any) -> Any:
        """See L{socket.socket.recvmsg}."""
        self.waiting = True
        try:
            return super().recvmsg(size, *arguments)
        finally:
            self.waiting = False

    def interrupt(self) -> None:
        """
        Called by the handler of a signal: have nothing received, if something
        is waited for.
        """
        if self.waiting:
            self.waiting = False
            raise BlockingIOError(errno.EAGAIN, "interrupted")


def _takeOver(original: socket.socket, kind: type[_Socket]) -> _Socket:
    """
    Make a socket of another's descriptor, which is that other's no more.
    """
    family, type_, protocol = original.family, original.type, original.proto
    return kind(family, type_, protocol, original.detach())


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(ForkReactor())
