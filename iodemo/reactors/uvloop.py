# -*- test-case-name: tests.test_uvloop -*-
"""
Twisted's asyncio reactor on uvloop.

Facts. uvloop is asyncio's event loop over libuv. Its speed comes from transports in C;
but Twisted has transports of its own, in Python, and uses only C{add_reader},
C{add_writer} and the timers of a loop. On Linux, libuv uses epoll. Since 1.45 it
submits its C{epoll_ctl} calls in batches through io_uring, where that is allowed.

Two things differ from the standard library's loop. When a descriptor has a pending
error, libuv stops watching it, and uvloop calls the reader once more and then never
again. Data that the peer sent before a reset could be lost, the reset could go
unnoticed, and a UDP port would receive nothing after the first ICMP message. And while
uvloop runs, it takes the wakeup descriptor of the process (C{signal.set_wakeup_fd}), by
which Twisted learns that a child process has ended.

Decision. C{AsyncioSelectorReactor} runs on a uvloop loop that keeps watching a
descriptor until C{remove_reader} is called. A handler of SIGCHLD reaps child processes.

Costs. The bookkeeping of two loops, as with C{asyncio}; only the inner loop is faster.
Each C{add_reader}, one a connection, makes a small object.
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
    A uvloop loop that watches a descriptor for reading until C{remove_reader}.

    @ivar _watched: by descriptor, a weak reference to the callback that the loop holds.
        The reference is called when the loop drops the callback, unless it was removed
        from here before.
    @ivar _dropped: the callbacks, by descriptor, that the loop has dropped without
        C{remove_reader}.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[Any, weakref.ref[partial[Any]]] = {}
        self._dropped: dict[Any, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def add_reader(  # type: ignore[override]  # as uvloop itself declares it
        self, fd: Any, callback: Callable[..., Any], *args: Any
    ) -> None:
        """See C{asyncio.loop.add_reader}."""
        self.remove_reader(fd)
        # Only the loop refers to this object, so its end shows that the loop dropped
        # it.
        watched = partial(callback, *args)
        super().add_reader(fd, watched)

        def dropped(_: object) -> None:
            self._dropped[fd] = (callback, args)
            self.call_soon(self._resume, fd)

        self._watched[fd] = weakref.ref(watched, dropped)

    def remove_reader(self, fd: Any) -> None:  # type: ignore[override]  # likewise
        """See C{asyncio.loop.remove_reader}."""
        self._watched.pop(fd, None)
        self._dropped.pop(fd, None)
        super().remove_reader(fd)

    def add_writer(  # type: ignore[override]  # as uvloop itself declares it
        self, fd: Any, callback: Callable[..., Any], *args: Any
    ) -> None:
        """See C{asyncio.loop.add_writer}."""
        # The loop would refuse the writer while it keeps a rest of the dropped watch.
        self._resume(fd)
        super().add_writer(fd, callback, *args)

    def close(self) -> None:
        """See C{asyncio.loop.close}."""
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
        """See C{ReactorBase.startRunning}."""
        if installSignalHandlers:
            # After Twisted's own, which are installed during startup.
            self.addSystemEventTrigger("after", "startup", self._awaitChildren)
        super().startRunning(installSignalHandlers)

    def _readOrWrite(self, selectable: Any, read: bool) -> None:
        """
        Call C{doRead} or C{doWrite} of one selectable; disconnect it if it raises an
        exception or returns a reason to. C{SystemExit} and C{KeyboardInterrupt} are
        treated like other exceptions, as under Twisted's epoll reactor: asyncio would
        end the loop.
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
        # Children that have ended before the handler was installed.
        reapAllProcesses()


def install() -> None:
    """
    Make this the reactor of the process, and its loop asyncio's.
    """
    import asyncio

    reactor = UvloopReactor()
    asyncio.set_event_loop(reactor._asyncioEventloop)
    installReactor(reactor)
