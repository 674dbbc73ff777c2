# -*- test-case-name: tests.test_eventloop -*-
"""
An asyncio event loop on a completion queue, and Twisted's asyncio reactor on this loop,
with connections on the same queue. L{iodemo.completion} defines the terms.

Facts.

  - C{asyncio.SelectorEventLoop} takes any selector: an object with the public methods
    of C{selectors.BaseSelector}. In each turn the loop computes a timeout, passes it to
    C{select}, and then makes the calls that are due: first those of the keys that
    C{select} has returned, in their order, then its delayed calls. An exception that
    C{select} raises ends C{run_forever}.
  - The loop registers a socket of its own with the selector when the loop is made. This
    is before a program becomes a daemon, changes its user, or starts the thread that
    runs the loop.
  - The descriptor of an epoll object is readable as long as one of the descriptors that
    it watches is ready (epoll(7)).
  - Twisted's asyncio reactor makes its delayed calls by delayed calls of the loop, and
    watches descriptors by C{add_reader} and C{add_writer}.

Decisions.

  - One wait serves Twisted's connections and asyncio's descriptors. C{select} calls
    C{wait} of the queue, and this calls the connections of Twisted. It also polls one
    descriptor for asyncio: that of an epoll object, where all of asyncio's descriptors
    are registered.
  - This epoll object belongs to a selector of the standard library. So a registration
    has the same result as in asyncio's own loop: a regular file is refused, a closed
    descriptor is forgotten, and its number can be registered again. C{select} of that
    selector is called after the last callback of the wait. So a callback cannot
    unregister a reported descriptor and open another file with its number.
  - A call of the loop sends the written data; C{select} does not, before it waits. For
    sending may call a protocol, for example a producer, and the protocol may make calls
    of the loop. The loop computes its next timeout afterwards, and so takes account of
    these calls.
  - The loop makes that call in each turn, after the calls of the ready descriptors:
    each C{select} adds a key of our own at the end of its list, and that call is its
    callback. There is one such call a turn: between two sends of a connection the queue
    needs a wait, since the first may be short. Data that is written later in a turn, by
    a delayed call of asyncio, is sent in the next turn, which does not wait.
  - Before that call sends, it makes the delayed calls of Twisted that are due.
    Otherwise a peer could answer the sent data before a delayed call that was made
    earlier.
  - The first wait makes the ring, in the thread that runs the loop.

Costs.

  - A wait in which a descriptor of asyncio is ready makes two system calls more than
    asyncio's own loop: C{epoll_wait} on the epoll object of the ring and on that of
    this selector.
  - A turn more for data that a delayed call of asyncio writes.
  - In debug mode asyncio reports slow calls of the loop, but not slow callbacks of
    connections, which run inside C{select}.
"""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import socket
import sys
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ReactorAlreadyInstalledError
from twisted.internet.main import installReactor
from twisted.python import context, log
from typing_extensions import Self

from iodemo.completion.interfaces import ICompletionQueue, QueueRefused
from iodemo.completion.reactor import CompletionMixin, LogContext

_selectors: weakref.WeakSet[QueueSelector] = weakref.WeakSet()


class QueueSelector(selectors.BaseSelector):
    """
    A selector that waits by a completion queue.

    @ivar queue: the queue.
    @ivar reactor: the reactor whose connections are on the queue, if there is one.
    @ivar last: what each C{select} returns as the last, though it may not be ready.
    @ivar _registered: the selector that has what is registered.
    @ivar _polling: the queue's poll of that selector.
    @ivar _isReady: whether the poll has reported that something registered is ready.
    @ivar forked: whether this process was forked since the poll was added. A queue may
        drop the operations of the parent process.
    """

    def __init__(self, queue: ICompletionQueue) -> None:
        self.reactor: CompletionMixin | None = None
        self.last: list[tuple[selectors.SelectorKey, int]] = []
        self._registered = selectors.DefaultSelector()
        self._isReady = False
        self._useQueue(queue)
        _selectors.add(self)

    def register(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """See C{selectors.BaseSelector.register}."""
        return self._registered.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See C{selectors.BaseSelector.unregister}."""
        return self._registered.unregister(fileobj)

    def modify(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """See C{selectors.BaseSelector.modify}."""
        return self._registered.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See C{selectors.BaseSelector.get_map}."""
        return self._registered.get_map()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """See C{selectors.BaseSelector.get_key}."""
        return self._registered.get_key(fileobj)

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """
        See C{selectors.BaseSelector.select}. The callbacks of connections run here.

        @raise QueueRefused: as L{ICompletionQueue.wait} does. It ends the loop.
        """
        if timeout is not None and timeout < 0:
            timeout = 0
        if self.reactor is not None and self.reactor.unsent:
            timeout = 0
        if self.forked:
            self.queue.cancel(self._polling)
            self._useQueue(self.queue)
        self.queue.wait(timeout)
        if not self._isReady:
            return self.last.copy()
        self._isReady = False
        return self._registered.select(0) + self.last

    def close(self) -> None:
        """See C{selectors.BaseSelector.close}."""
        self.queue.cancel(self._polling)
        self._registered.close()

    def changeQueue(self, queue: ICompletionQueue) -> None:
        """
        Use another queue from now on, and have the reactor do so, too. See
        L{CompletionMixin.changeQueue}.
        """
        self.queue.cancel(self._polling)
        self._useQueue(queue)
        if self.reactor is not None:
            self.reactor.changeQueue(queue)

    def polled(self, result: int) -> None:
        """
        Called by the queue when something registered is ready.
        """
        self._isReady = True

    def _useQueue(self, queue: ICompletionQueue) -> None:
        self.queue = queue
        self.forked = False
        self._polling = queue.poll(self, self._registered.fileno(), select.POLLIN)


class QueueEventLoop(asyncio.SelectorEventLoop):
    """
    An event loop of asyncio on a completion queue. L{AsyncioCompletionReactor} can run
    on it, and so can asyncio alone.

    @ivar selector: the selector.
    @ivar _turn: a socket that never has data. The loop calls its reader in each turn.
    """

    selector: QueueSelector

    def __new__(cls) -> Self:
        """
        Make the queue, too. It may be refused, and the finalizer of asyncio's loops
        would fail if C{__init__} was.
        """
        selector = cls.makeSelector()
        loop = super().__new__(cls)
        loop.selector = selector
        return loop

    def __init__(self) -> None:
        self._turn = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        super().__init__(self.selector)

    @staticmethod
    def makeSelector() -> QueueSelector:
        """
        Make the selector, and its queue.
        """
        raise NotImplementedError

    def attach(self, reactor: AsyncioCompletionReactor) -> None:
        """
        Have a reactor, the only one, send what its connections have written, once in
        each turn.
        """
        self.add_reader(self._turn, reactor.turnEnds)
        self.selector.last = [(self.selector.get_key(self._turn), selectors.EVENT_READ)]
        self.selector.reactor = reactor

    def run_forever(self) -> None:
        """
        See C{asyncio.loop.run_forever}. A log message begins with the log prefix of the
        owner whose callback is running.
        """
        logged = {**context.get(log.ILogContext)}
        ours = {log.ILogContext: LogContext(logged, self.selector)}
        context.call(ours, super().run_forever)

    def close(self) -> None:
        """See C{asyncio.loop.close}."""
        super().close()
        self._turn.close()


class AsyncioCompletionReactor(CompletionMixin, AsyncioSelectorReactor):
    """
    Twisted's asyncio reactor on a L{QueueEventLoop}, with connections on its queue.

    @cvar loopClass: the class of its event loop.
    """

    loopClass: ClassVar[type[QueueEventLoop]]

    def __init__(self, eventloop: asyncio.AbstractEventLoop | None = None) -> None:
        """
        @param eventloop: the loop to run on. C{None} is the running loop, or else a new
            one, which becomes the current loop of asyncio.
        @raise TypeError: if the loop is not a C{loopClass}.
        @raise RuntimeError: if the loop has a reactor.
        """
        if eventloop is None:
            try:
                eventloop = asyncio.get_running_loop()
            except RuntimeError:
                eventloop = self.loopClass()
                asyncio.set_event_loop(eventloop)
        if not isinstance(eventloop, self.loopClass):
            raise TypeError(
                f"{type(self).__name__} cannot run on {eventloop!r}: make the loop "
                f"with {self.loopClass.__module__}.{self.loopClass.__qualname__}(), "
                "or install this reactor without a loop, before one runs"
            )
        if eventloop.selector.last:
            raise RuntimeError(
                f"{eventloop!r} has a reactor already: make a loop for this one"
            )
        super().__init__(eventloop.selector.queue, eventloop)
        eventloop.attach(self)

    def run(self, installSignalHandlers: bool = True) -> None:
        """See C{IReactorCore.run}."""
        try:
            super().run(installSignalHandlers)
        except QueueRefused as refusal:
            self.refused(refusal)
            raise

    def turnEnds(self) -> None:
        """
        Called by the loop in each turn, after the calls of descriptors. Send what was
        written, after the delayed calls that are due, as Twisted's own loop does: the
        peer may answer in the next wait.
        """
        if self.unsent:
            self.runUntilCurrent()
            self.sendUnsent()

    @classmethod
    def install(cls, eventloop: asyncio.AbstractEventLoop | None) -> None:
        """
        Make a reactor of this class the reactor of the process.

        @param eventloop: the loop to run on, a C{loopClass}. C{None} is the running
            loop, or else a new one, which becomes the current loop of asyncio.
        """
        if "twisted.internet.reactor" in sys.modules:
            # installReactor would find this when a new loop is the current one already.
            raise ReactorAlreadyInstalledError("reactor already installed")
        installReactor(cls(eventloop))


def _forked() -> None:
    for selector in list(_selectors):
        selector.forked = True


os.register_at_fork(after_in_child=_forked)
