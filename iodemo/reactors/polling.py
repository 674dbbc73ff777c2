# -*- test-case-name: tests.conformance -*-
"""
What the reactors of this package have in common: who wants to read, who wants
to write, and how one of them is served.

It is a complete reactor on poll(2). That is what the blocking models use for all
that is no connection (listening ports, datagrams, pipes, wakers), and what the
others put something else in the place of. They share a bound, too, on how many
connections there are (L{BoundedReactor}).
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

#: What poll(2) reports of a descriptor that can be read, also for the last time.
READABLE = select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLERR
WRITABLE = select.POLLOUT


@implementer(IReactorFDSet)
class ReadinessReactor(PosixReactorBase):
    """
    A reactor that asks poll(2).

    @ivar _reads: who wants to read, and the descriptor each had when it said so:
        one that was closed meanwhile has none any more.
    @ivar _writes: likewise for writing.
    @ivar _selectables: by descriptor, all of these that have it: a program may read
        it by one object and write it by another.
    @ivar _poll: the descriptors of both.
    """

    def __init__(self) -> None:
        self._reads: dict[IReadDescriptor, int] = {}
        self._writes: dict[IWriteDescriptor, int] = {}
        self._selectables: dict[int, list[Any]] = {}
        self._poll = select.poll()
        super().__init__()

    # IReactorFDSet

    def addReader(self, reader: IReadDescriptor) -> None:
        """See L{IReactorFDSet.addReader}."""
        if reader not in self._reads:
            self._reads[reader] = reader.fileno()
            self._watch(reader, self._reads[reader])

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """See L{IReactorFDSet.addWriter}."""
        if writer not in self._writes:
            self._writes[writer] = writer.fileno()
            self._watch(writer, self._writes[writer])

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See L{IReactorFDSet.removeReader}."""
        descriptor = self._reads.pop(reader, None)
        if descriptor is not None:
            self._watch(reader, descriptor)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """See L{IReactorFDSet.removeWriter}."""
        descriptor = self._writes.pop(writer, None)
        if descriptor is not None:
            self._watch(writer, descriptor)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See L{IReactorFDSet.removeAll}."""
        removed: list[IReadDescriptor | IWriteDescriptor] = self._removeAll(
            list(self._reads), list(self._writes)
        )
        return removed

    def getReaders(self) -> list[IReadDescriptor]:
        """See L{IReactorFDSet.getReaders}."""
        return list(self._reads)

    def getWriters(self) -> list[IWriteDescriptor]:
        """See L{IReactorFDSet.getWriters}."""
        return list(self._writes)

    def _watch(self, selectable: Any, descriptor: int) -> None:
        """
        Have the poller watch a descriptor for what those that have it now want.
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
        Watch a descriptor.

        @param mask: for what, as of poll(2); 0 watches it no more.
        """
        if mask:
            self._poll.register(descriptor, mask)
        else:
            self._poll.unregister(descriptor)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """
        Wait until a descriptor is ready.

        @param timeout: seconds; L{None} waits for ever. It is rounded up to
            poll's milliseconds: rounded down, the last of them would be spun away.
        @return: descriptors and what they are ready for, as of poll(2).
        """
        return self._poll.poll(None if timeout is None else math.ceil(timeout * 1000))

    def doIteration(self, delay: float | None) -> None:
        """
        Wait, and serve what is ready.
        """
        # mainLoop passes False for no time at all.
        ready = self.wait(None if delay is None else float(delay))
        for descriptor, events in ready:
            self.serve(descriptor, events)

    def serve(self, descriptor: int, events: int) -> None:
        """
        Serve whatever has a descriptor that is ready.

        @param events: what it is ready for, as of poll(2).
        """
        # None, if one that was served before took it away.
        for selectable in list(self._selectables.get(descriptor, ())):
            log.callWithLogger(selectable, self._serve, selectable, descriptor, events)

    def _serve(self, selectable: Any, descriptor: int, events: int) -> None:
        """
        Let one descriptor read or write, or both; disconnect it if it is over.
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
            # Nobody reads, nothing can be written, and it would be reported again.
            self._disconnectSelectable(selectable, CONNECTION_LOST, False)
            return
        if events & WRITABLE and selectable in self._writes:
            self.perform(selectable, selectable.doWrite, isRead=False)

    def perform(
        self, selectable: Any, operation: Callable[[], object], isRead: bool
    ) -> bool:
        """
        Read or write; disconnect the descriptor if that was the end of it.

        @return: whether it was not.
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
    A reactor that serves so many connections at once and no more. Those that come
    then wait in the listen queue, with a line in the log.

    @cvar bound: the setting that says how many, and how many there are without it.
    @cvar unit: what there are as many of.
    @ivar most: how many connections.
    @ivar _full: listening ports that are not served for now.
    @ivar _overrun: whether somebody was left waiting, and that has not passed.
    """

    bound: ClassVar[tuple[str, int]]
    unit: ClassVar[str]

    _log = Logger()

    def __init__(self) -> None:
        self.most = setting(*self.bound)
        self._full: set[IReadDescriptor] = set()
        self._overrun = False
        super().__init__()

    def addReader(self, reader: IReadDescriptor) -> None:
        """See L{IReactorFDSet.addReader}."""
        if reader not in self._full:
            super().addReader(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See L{IReactorFDSet.removeReader}."""
        self._full.discard(reader)
        super().removeReader(reader)

    def getReaders(self) -> list[IReadDescriptor]:
        """See L{IReactorFDSet.getReaders}."""
        return [*super().getReaders(), *self._full]

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """See L{IReactorFDSet.removeAll}."""
        removed: list[IReadDescriptor | IWriteDescriptor] = self._removeAll(
            self.getReaders(), self.getWriters()
        )
        return removed

    def describeBound(self) -> str:
        """
        Say that there are as many as there may be.
        """
        return f"{self.most:,} {self.unit} are the most ({self.bound[0]})"

    def overrun(self, port: IReadDescriptor) -> None:
        """
        Serve a listening port no more, as there are as many as there may be. There
        is a line in the log only if there was none since others could be accepted.
        """
        self.setAside(port)
        if not self._overrun:
            self._overrun = True
            self._log.warn(
                "{bound}: connections wait until some of them end",
                bound=self.describeBound(),
            )

    def setAside(self, port: IReadDescriptor) -> None:
        """
        Serve a listening port no more.
        """
        super().removeReader(port)
        self._full.add(port)

    def acceptAgain(self) -> None:
        """
        There is one fewer: serve the listening ports.
        """
        if self._full:
            while self._full:
                super().addReader(self._full.pop())
        elif self._overrun:
            # Nobody was left waiting since another one ended.
            self._overrun = False
            self._log.info("connections are accepted again")


_WENT_AWAY = ConnectionFdescWentAway("File descriptor lost")


def setting(name: str, default: int, least: int = 1) -> int:
    """
    A whole number from the environment.
    """
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise SystemExit(f"{name}={text!r} is not a whole number from {least}")
    return int(text)


def flush() -> None:
    """
    Write what was printed, before this process is forked or ends at once.
    """
    for stream in (sys.stdout, sys.stderr):
        # They may be closed, and need not be there.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
