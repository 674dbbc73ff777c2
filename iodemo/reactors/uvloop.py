# -*- test-case-name: tests.test_uvloop -*-
"""
Twisted's asyncio reactor on uvloop.

Facts. uvloop is asyncio's event loop written over libuv. Its speed comes from
transports in C; Twisted brings its own transports, in Python, and asks a loop
only for C{add_reader}, C{add_writer} and timers. libuv is epoll on Linux, and
since 1.45 hands its C{epoll_ctl} calls to the kernel in batches through
io_uring where that is allowed.

Two things differ from the standard library's loop. When a descriptor has an error
pending, libuv stops watching it, and uvloop calls its reader once more and then
never again: what the peer sent before a reset, and the reset, could be lost, and a
UDP port would be deaf after the first ICMP message. And while it runs, uvloop takes
the wakeup descriptor of the process (C{signal.set_wakeup_fd}) for itself; Twisted
learns from that of children that end.

Decision. L{AsyncioSelectorReactor} is given a uvloop loop that keeps watching
until it is told to stop, and hears of children from a signal handler.

Costs. Two loops' bookkeeping for one, as with C{asyncio}; what is gained is the
inner of the two. A small object for every C{add_reader}: one a connection.
"""

from __future__ import annotations

import signal
import weakref
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.main import installReactor
from twisted.internet.process import reapAllProcesses
from twisted.python import log

try:
    import uvloop
except ImportError as error:
    raise ImportError(
        f"uvloop is not installed ({error}): pip install 'iodemo[uvloop]'"
    ) from error


_WENT_AWAY = ConnectionFdescWentAway("File descriptor lost")


class PersistentLoop(uvloop.Loop):
    """
    A uvloop loop that watches for reading until it is told to stop.

    @ivar _watched: by descriptor, who tells that the loop has let go of a callback.
        One that is removed from here first tells nothing.
    @ivar _dropped: the callbacks of descriptors that the loop no longer watches,
        though nobody said so.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[Any, weakref.ref[partial[Any]]] = {}
        self._dropped: dict[Any, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def add_reader(  # type: ignore[override]  # as uvloop itself declares it
        self, fd: Any, callback: Callable[..., Any], *args: Any
    ) -> None:
        """See L{asyncio.loop.add_reader}."""
        self.remove_reader(fd)
        # The loop alone holds this while it watches: no frame of a traceback does.
        watched = partial(callback, *args)
        super().add_reader(fd, watched)

        def dropped(_: object) -> None:
            self._dropped[fd] = (callback, args)
            self.call_soon(self._resume, fd)

        self._watched[fd] = weakref.ref(watched, dropped)

    def remove_reader(self, fd: Any) -> None:  # type: ignore[override]  # likewise
        """See L{asyncio.loop.remove_reader}."""
        self._watched.pop(fd, None)
        self._dropped.pop(fd, None)
        super().remove_reader(fd)

    def add_writer(  # type: ignore[override]  # as uvloop itself declares it
        self, fd: Any, callback: Callable[..., Any], *args: Any
    ) -> None:
        """See L{asyncio.loop.add_writer}."""
        # What is left of the old watch would refuse it.
        self._resume(fd)
        super().add_writer(fd, callback, *args)

    def close(self) -> None:
        """See L{asyncio.loop.close}."""
        self._watched.clear()
        super().close()

    def _resume(self, fd: Any) -> None:
        if fd in self._dropped:
            callback, args = self._dropped[fd]
            self.add_reader(fd, callback, *args)


class UvloopReactor(AsyncioSelectorReactor):
    """
    Twisted's asyncio reactor, on a uvloop loop of its own.
    """

    def __init__(self) -> None:
        super().__init__(PersistentLoop())

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """See L{ReactorBase.startRunning}."""
        if installSignalHandlers:
            # After Twisted's own, which are installed during startup.
            self.addSystemEventTrigger("after", "startup", self._awaitChildren)
        super().startRunning(installSignalHandlers)

    def _readOrWrite(self, selectable: Any, read: bool) -> None:
        """
        Let one descriptor read or write; disconnect it if that was the end of it. A
        C{SystemExit} or C{KeyboardInterrupt} is an exception like others here, as under
        Twisted's epoll reactor: asyncio would end the loop.
        """
        why: BaseException | None
        try:
            if selectable.fileno() == -1:
                why = _WENT_AWAY
            else:
                why = selectable.doRead() if read else selectable.doWrite()
        except BaseException as error:
            log.err()
            why = error
        try:
            if why:
                self._disconnectSelectable(selectable, why, read)
        except BaseException:
            log.err()

    def _awaitChildren(self) -> None:
        def childEnded(number: int, frame: FrameType | None) -> None:
            self.callFromThread(reapAllProcesses)

        signal.signal(signal.SIGCHLD, childEnded)
        signal.siginterrupt(signal.SIGCHLD, False)
        # Those that ended meanwhile.
        reapAllProcesses()


def install() -> None:
    """
    Make this the reactor of the process, and its loop asyncio's.
    """
    import asyncio

    reactor = UvloopReactor()
    asyncio.set_event_loop(reactor._asyncioEventloop)
    installReactor(reactor)
