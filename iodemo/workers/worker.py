# -*- test-case-name: tests.test_workers -*-
"""
The plugin C{iodemo-worker}, which is internal: C{iodemo-workers} starts it in each
worker. It hosts another plugin on listening sockets that it inherits, and drains
before it ends.

Facts. Twisted's reactor stops all at once: the triggers before its shutdown, among them
the C{stopService} of every service, run together, and afterwards it closes every
connection. A factory is stopped with its last port, and some factories close their
files then. C{getsockname} of an accepted socket returns the address of the listening
one. (If that listens on all interfaces, the port alone is the same. The kernel gives
that port to no outgoing connection, as it is bound.)

Decision. At SIGTERM the ports pause: they accept no more, and stay ports. The reactor
is stopped when the last connection has ended, so that until then nothing of the plugin
notices. The open connections are those that the kernel reports in C{/proc/self/fd}:
this includes connections that are paused, under every reactor. Since no connection is
added, it is enough to look at one of them again and again, and at the rest when that
one has ended.

Costs. The worker looks L{INTERVAL} seconds apart, so it ends that much late. A
connection that is open and silent, such as an HTTP connection between two requests,
counts like any other.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from twisted.application.service import IService, IServiceMaker, MultiService
from twisted.internet import unix
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python import usage

from iodemo.interfaces import ISharesNothing
from iodemo.process.listening import BACKLOG, FIRST_DESCRIPTOR

#: Seconds from one look at an open connection to the next.
INTERVAL = 0.05

#: Seconds after which a plugin that does not listen yet is worth a line in the log.
PATIENCE = 10.0

#: The reports of a worker to its parent, each in a line.
READY = b"ready"
DRAINING = b"draining"


class Options(usage.Options):
    """
    C{twistd iodemo-worker}.
    """

    synopsis = "--sockets N --report FD --grace SECONDS PLUGIN [options]"
    longdesc = (
        "Not for people: iodemo-workers starts it. It hosts PLUGIN on N inherited "
        "sockets, writes what it does to descriptor FD and, at SIGTERM, stops to "
        "accept and ends with its last connection or after the grace."
    )
    optParameters = [
        ["sockets", None, None, "Number of inherited sockets.", int],
        ["report", None, None, "Descriptor to report to.", int],
        ["grace", None, None, "Seconds that connections have to end.", float],
    ]

    def parseArgs(self, *plugin: str) -> None:
        """
        Parse the command line of the plugin, as C{twistd} would.

        @raise SystemExit: with one line to print, if it has an error.
        """
        if not plugin or None in (self["sockets"], self["report"], self["grace"]):
            raise SystemExit(
                "iodemo-worker: only iodemo-workers starts it: see "
                "twistd iodemo-workers --help"
            )
        name, *arguments = plugin
        for maker in getPlugins(IServiceMaker):
            if maker.tapname == name:
                break
        else:
            raise SystemExit(f"{name}: there is no such plugin")
        self.maker = maker
        self.plugin = maker.options()
        self.plugin.parent = self.parent
        try:
            self.plugin.parseOptions(arguments)
        except usage.UsageError as error:
            raise SystemExit(f"{name}: {error} (see twistd {name} --help)") from None


class DrainingService(MultiService):
    """
    The parent of the plugin's service.

    @ivar ports: the ports that have adopted inherited sockets.
    """

    log = Logger()

    def __init__(self, sockets: int, report: int, grace: float) -> None:
        super().__init__()
        from twisted.internet import reactor

        self.ports: list[Any] = []
        self.grace = grace
        self._reactor = cast(Any, reactor)
        self._report = report
        os.set_inheritable(report, False)
        self._unadopted = {FIRST_DESCRIPTOR + index for index in range(sockets)}
        for descriptor in self._unadopted:
            os.set_inheritable(descriptor, False)
        self._inherited = {_inode(each): _address(each) for each in self._unadopted}
        self._running = False
        self._draining = False
        self._adopt = self._reactor.adoptStreamPort
        # Every endpoint calls this method of the reactor.
        self._reactor.adoptStreamPort = self.adoptStreamPort
        unix.Port._fromListeningDescriptor = classmethod(_inheritedUNIXPort)  # type: ignore[assignment, method-assign]

    def startService(self) -> None:
        """
        Start the plugin's service, and let SIGTERM drain.
        """
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        # The reactor has installed its own handler by now.
        signal.signal(signal.SIGTERM, self._terminated)
        self._running = True
        self._reportReady()
        if self._unadopted:
            self._reactor.callLater(PATIENCE, self._warn)

    def _warn(self) -> None:
        if self._unadopted:
            self.log.warn(
                "the plugin does not listen on {count} of its sockets yet",
                count=len(self._unadopted),
            )

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: Any
    ) -> IListeningPort:
        """See C{IReactorSocket.adoptStreamPort}."""
        port = self._adopt(fileDescriptor, addressFamily, factory)
        self.ports.append(port)
        self._unadopted.discard(fileDescriptor)
        self._reportReady()
        return port

    def _reportReady(self) -> None:
        if self._running and not self._unadopted:
            self._running = False
            self._say(READY)

    def _say(self, word: bytes) -> None:
        os.write(self._report, word + b"\n")

    def _terminated(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self.drain)

    def drain(self) -> None:
        """
        Accept no more, and stop the reactor when the last connection has ended or the
        grace is over. If it drains already, stop the reactor now.
        """
        if self._draining:
            self._stop()
            return
        self._draining = True
        for port in self.ports:
            port.stopReading()
            # Some reactors resume a port that they have paused themselves.
            port.startReading = _ignore
        self._say(DRAINING)
        self._waitFor(self._reactor.seconds() + self.grace, lambda: False)

    def _waitFor(self, deadline: float, isOpen: Callable[[], bool]) -> None:
        """
        Look at one connection, and at the others if it has ended.
        """
        if not isOpen():
            found = next(self._connections(), None)
            if found is None:
                self._stop()
                return
            isOpen = found
        if self._reactor.seconds() >= deadline:
            self.log.info("{grace:g} s are over: closing connections", grace=self.grace)
            self._stop()
            return
        self._reactor.callLater(INTERVAL, self._waitFor, deadline, isOpen)

    def _stop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def _connections(self) -> Iterator[Callable[[], bool]]:
        """
        The open connections that were accepted from inherited sockets, each as a
        function that returns whether it is still open.
        """
        if ISharesNothing.providedBy(self._reactor):
            # They are in other processes.
            if self._reactor.connections():
                yield lambda: self._reactor.connections() > 0
            return
        for name in os.listdir("/proc/self/fd"):
            descriptor = int(name)
            inode = _inode(descriptor)
            if inode in self._inherited:
                continue
            try:
                address = _address(descriptor)
            except OSError:
                continue  # no stream socket, or closed meanwhile
            if any(_isOf(address, each) for each in self._inherited.values()):
                yield partial(_hasInode, descriptor, inode)


def _inode(descriptor: int) -> int | None:
    """
    The number that identifies an open file; C{None} if the descriptor is closed.
    """
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None


def _hasInode(descriptor: int, inode: int | None) -> bool:
    return _inode(descriptor) == inode


_Address = tuple[int, Any]


def _address(descriptor: int) -> _Address:
    """
    The family and the local address of a stream socket.

    @raise OSError: if the descriptor is not one.
    """
    borrowed = socket.socket(fileno=descriptor)
    try:
        if borrowed.type != socket.SOCK_STREAM:
            raise OSError(errno.ESOCKTNOSUPPORT, os.strerror(errno.ESOCKTNOSUPPORT))
        return borrowed.family, borrowed.getsockname()
    finally:
        # Otherwise Python would close the descriptor.
        borrowed.detach()


def _isOf(connection: _Address, listening: _Address) -> bool:
    """
    Whether a connection was accepted from a listening socket, by their addresses.
    """
    family, name = listening
    if connection[0] != family:
        return False
    if family == socket.AF_UNIX:
        return bool(connection[1] == name)
    host, port = name[:2]
    return connection[1][1] == port and host in ("0.0.0.0", "::", connection[1][0])


def _ignore() -> None:
    """Take the place of a port's C{startReading}."""


def _inheritedUNIXPort(cls: Any, reactor: Any, fd: int, factory: Any) -> Any:
    """
    Take the place of C{unix.Port._fromListeningDescriptor}, whose port sets the
    permissions and the backlog of the socket and removes its path in the end. All three
    are for the parent to decide. A port leaves the path of an abstract socket alone.
    """
    inherited = socket.socket(fileno=os.dup(fd))
    port = cls(inherited.getsockname(), factory, BACKLOG, reactor=reactor)
    port._preexistingSocket = inherited
    port._bindPath = b"\0" + port._bindPath
    return port


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    service = DrainingService(options["sockets"], options["report"], options["grace"])
    service.addService(options.maker.makeService(options.plugin))
    return service
