# -*- test-case-name: tests.conformance -*-
"""
The base of the reactors on readiness: it keeps readers and writers, and calls each one
whose descriptor poll(2) reports.

L{ReadinessReactor} is a complete reactor. The blocking models use it for every
descriptor that is not an accepted connection (listening ports, datagrams, pipes,
wakers); the other models replace its wait. L{BoundedReactor} adds a bound on the number
of connections.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python import log
from zope.interface import implementer

#: The events of poll(2) after which a read does not block. It may return data, an end
#: of file or an error.
READABLE = select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLERR
WRITABLE = select.POLLOUT


@implementer(IReactorFDSet)
class ReadinessReactor(PosixReactorBase):
    """
    A reactor on poll(2).

    @ivar _reads: the readers, each with the descriptor that it had when it was added: a
        reader that was closed meanwhile has none any more.
    @ivar _writes: the writers, likewise.
    @ivar _selectables: the readers and writers of each descriptor. There may be two: a
        program may read a descriptor by one object and write it by another.
    @ivar _poll: the poll object with the descriptors of all readers and writers.
    """

    def __init__(self) -> None:
        self._reads: dict[IReadDescriptor, int] = {}
        self._writes: dict[IWriteDescriptor, int] = {}
        self._selectables: dict[int, list[Any]] = {}
        self._poll = select.poll()
        super().__init__()

    # IReactorFDSet

    def addReader(self, reader: IReadDescriptor) -> None:
        """See C{IReactorFDSet.addReader}."""
        if reader not in self._reads:
            self._reads[reader] = reader.fileno()
            self._watch(reader, self._reads[reader])

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See C{IReactorFDSet.addWriter}."""
        if writer not in self._writes:
            self._writes[writer] = writer.fileno()
            self._watch(writer, self._writes[writer])

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See C{IReactorFDSet.removeReader}."""
        descriptor = self._reads.pop(reader, None)
        if descriptor is not None:
            self._watch(reader, descriptor)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See C{IReactorFDSet.removeWriter}."""
        descriptor = self._writes.pop(writer, None)
        if descriptor is not None:
            self._watch(writer, descriptor)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See C{IReactorFDSet.removeAll}."""
        removed: list[IReadDescriptor | IWriteDescriptor] = self._removeAll(
            list(self._reads), list(self._writes)
        )
        return removed

    def getReaders(self) -> list[IReadDescriptor]:
        """See C{IReactorFDSet.getReaders}."""
        return list(self._reads)

    def getWriters(self) -> list[IWriteDescriptor]:
        """See C{IReactorFDSet.getWriters}."""
        return list(self._writes)

    def _watch(self, selectable: Any, descriptor: int) -> None:
        """
        Update what poll(2) watches a descriptor for, after a reader or writer of it was
        added or removed.
        """
        selectables = self._selectables.setdefault(descriptor, [])
        wants = descriptor in (
            self._reads.get(selectable),
            self._writes.get(selectable),
        )
        if wants and selectable not in selectables:
            selectables.append(selectable)
        elif not wants and selectable in selectables:
            selectables.remove(selectable)
        mask = 0
        for each in selectables:
            if self._reads.get(each) == descriptor:
                mask |= READABLE
            if self._writes.get(each) == descriptor:
                mask |= WRITABLE
        if not mask:
            del self._selectables[descriptor]
        self.watch(descriptor, mask)

    # The loop

    def watch(self, descriptor: int, mask: int) -> None:
        """
        Start, change or stop watching a descriptor.

        @param mask: events of poll(2); 0 stops watching.
        """
        if mask:
            self._poll.register(descriptor, mask)
        else:
            self._poll.unregister(descriptor)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """
        Wait until a descriptor is ready.

        @param timeout: seconds; C{None} waits without limit. It is rounded up to the
            milliseconds of poll(2): rounded down, the loop would spin until a timer is
            due.
        @return: the ready descriptors, each with its events of poll(2).
        """
        return self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))

    def doIteration(self, delay: float | None) -> None:
        """
        Wait, and serve the descriptors that are ready.
        """
        # While the reactor stops, mainLoop passes False for a delay of 0.
        ready = self.wait(None if delay is None else float(delay))
        for descriptor, events in ready:
            self.serve(descriptor, events)

    def serve(self, descriptor: int, events: int) -> None:
        """
        Call the readers and writers of a descriptor that is ready.

        @param events: its events of poll(2).
        """
        # A selectable that was served earlier may have removed this one.
        for selectable in list(self._selectables.get(descriptor, ())):
            log.callWithLogger(selectable, self._serve, selectable, descriptor, events)

    def _serve(self, selectable: Any, descriptor: int, events: int) -> None:
        """
        Call C{doRead} or C{doWrite} of one selectable, or both; disconnect it if it has
        ended.
        """
        why: BaseException | None = None
        try:
            if events & select.POLLNVAL or selectable.fileno() != descriptor:
                why = _WENT_AWAY
        except BaseException as error:
            log.err()
            why = error
        if why is not None:
            self._disconnectSelectable(selectable, why, False)
            return
        if events & READABLE and selectable in self._reads:
            if not self.perform(selectable, selectable.doRead, isRead=True):
                return
        elif events & (select.POLLHUP | select.POLLERR) and not events & WRITABLE:
            # It is no reader, it cannot be written, and poll(2) would report it again.
            self._disconnectSelectable(selectable, CONNECTION_LOST, False)
            return
        if events & WRITABLE and selectable in self._writes:
            self.perform(selectable, selectable.doWrite, isRead=False)

    def perform(
        self, selectable: Any, operation: Callable[[], object], isRead: bool
    ) -> bool:
        """
        Call C{doRead} or C{doWrite}. If this method raises an exception or returns a
        reason, disconnect the selectable.

        @param operation: the method.
        @return: whether the selectable is still connected.
        """
        try:
            why = operation()
        except BaseException:
            why = sys.exc_info()[1]
            log.err()
        if why:
            self._disconnectSelectable(selectable, why, isRead)
            return False
        return True


class BoundedReactor(ReadinessReactor):
    """
    A reactor that serves a bounded number of connections at once. Further connections
    wait in the backlog of the listening socket, and the log has a line about that.

    @cvar bound: the environment variable with the number, and the default.
    @cvar unit: the name of what the bound counts, in the plural.
    @ivar most: the bound: how many connections at once.
    @ivar _paused: the listening ports from which no connection is accepted for now.
    @ivar _warned: whether the log has a line that connections wait, and none yet that
        they are accepted again.
    """

    bound: ClassVar[tuple[str, int]]
    unit: ClassVar[str]

    _log = Logger()

    def __init__(self) -> None:
        self.most = environmentNumber(*self.bound)
        self._paused: set[IReadDescriptor] = set()
        self._warned = False
        super().__init__()

    def addReader(self, reader: IReadDescriptor) -> None:
        """See C{IReactorFDSet.addReader}."""
        if reader not in self._paused:
            super().addReader(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See C{IReactorFDSet.removeReader}."""
        self._paused.discard(reader)
        super().removeReader(reader)

    def getReaders(self) -> list[IReadDescriptor]:
        """See C{IReactorFDSet.getReaders}."""
        return [*super().getReaders(), *self._paused]

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See C{IReactorFDSet.removeAll}."""
        removed: list[IReadDescriptor | IWriteDescriptor] = self._removeAll(
            self.getReaders(), self.getWriters()
        )
        return removed

    def describeBound(self) -> str:
        """
        The bound in words, for a message that it is reached.
        """
        return f"{self.most:,} {self.unit} are the most ({self.bound[0]})"

    def boundReached(self, port: IReadDescriptor) -> None:
        """
        Pause a listening port because the bound is reached. The log gets a line, unless
        the last such line is still true.
        """
        self.pauseAccepting(port)
        if not self._warned:
            self._warned = True
            self._log.warn(
                "{bound}: connections wait until some of them end",
                bound=self.describeBound(),
            )

    def pauseAccepting(self, port: IReadDescriptor) -> None:
        """
        Accept no connection from a listening port until L{resumeAccepting}.
        """
        super().removeReader(port)
        self._paused.add(port)

    def resumeAccepting(self) -> None:
        """
        A connection has ended: accept from the paused ports again.
        """
        if self._paused:
            while self._paused:
                super().addReader(self._paused.pop())
        elif self._warned:
            # The bound was not reached again since the previous connection ended.
            self._warned = False
            self._log.info("connections are accepted again")


_WENT_AWAY = ConnectionFdescWentAway("File descriptor lost")


def environmentNumber(name: str, default: int, least: int = 1) -> int:
    """
    Read a whole number from an environment variable.

    @param default: its value if the variable is not set, or empty.
    @param least: the smallest number that is accepted.
    @raise SystemExit: with one line to print, if it holds anything else.
    """
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise SystemExit(f"{name}={text!r} is not a whole number from {least}")
    return int(text)


def flush() -> None:
    """
    Flush standard output and error, before this process is forked or calls C{_exit}.
    """
    for stream in (sys.stdout, sys.stderr):
        # A stream may be closed, or None.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
