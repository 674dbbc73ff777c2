# -*- test-case-name: tests.test_completion -*-
"""
A completion queue made from readiness, in user space.

Facts. A non-blocking call on a ready descriptor succeeds at once, and nearly every
descriptor is ready to be written. epoll reports a descriptor as long as it is ready
(level-triggered) and takes no system call to go on doing so. Regular files cannot be
watched by it (EPERM); they are always ready.

Decision. Sending is tried when it is asked for, and only what did not fit is left to
epoll. Receiving is one watch for as long as it lasts, whoever is told what comes. So
an exchange is two calls, C{recv} and C{send}, and what C{epoll_wait} costs is shared
by all that were ready. A receive that is cancelled takes nothing more; that epoll has
no more to watch for it is said when the queue waits, as a connection that pauses often
resumes before.

Costs. To the program it is asynchronous; to the kernel it is not: each operation is a
system call of its own, made when it cannot wait. Data is copied when the kernel says
"ready", so nobody's memory is lent to the kernel meanwhile.
"""

from __future__ import annotations

import math
import os
import select
import socket
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EAGAIN, EALREADY, EINPROGRESS, EISCONN
from typing import Any

from twisted.python import log
from zope.interface import implementer

from iodemo.completion.interfaces import ICompletionQueue

_ERRORS = select.POLLHUP | select.POLLERR | select.POLLNVAL
_INPUT = select.POLLIN | select.POLLPRI | _ERRORS
_OUTPUT = select.POLLOUT | _ERRORS
#: How many events are fetched at a time.
_EVENTS = 256
#: How much is received at a time, as by Twisted.
_BYTES = 64 * 1024


@implementer(ICompletionQueue)
class ReadinessQueue:
    """
    Completions over epoll, or poll where there is no epoll.

    @ivar _operations: those not ended, by number.
    @ivar _watched: which of them wait for which descriptor.
    @ivar _stale: descriptors that are watched for more than anybody waits for.
    @ivar _results: operations that are over, and their results, not told yet.
    @ivar _alwaysReady: polls of what cannot be watched, and so is always ready.
    @ivar _waits: counts the waits, to tell what one of them brought about.
    @ivar _woken: whether somebody has woken it, and no wait ended since.
    @ivar _wakePipe: a pipe, both of its ends, that is written to for that.
    """

    def __init__(self) -> None:
        self.current: Any = None
        self._operations: dict[int, _Operation] = {}
        self._last = 0
        self._watched: dict[int, _Watched] = {}
        self._stale: set[int] = set()
        self._results: deque[tuple[_Operation, int]] = deque()
        self._alwaysReady: dict[int, _Poll] = {}
        self._waits = 0
        self._isEpoll = hasattr(select, "epoll")
        self._poller: Any = select.epoll() if self._isEpoll else select.poll()
        self._woken = False
        self._wakePipe = os.pipe()
        weakref.finalize(self, _close, self._wakePipe)
        self._poller.register(self._wakePipe[0], select.POLLIN)

    # ICompletionQueue

    def connect(self, owner: Any, descriptor: int, address: Any) -> int:
        """See L{ICompletionQueue.connect}."""
        if not isinstance(address, tuple):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
        with _borrowed(descriptor, family) as connecting:
            error = connecting.connect_ex(address)
        if error in (EINPROGRESS, EALREADY, EAGAIN) and family != socket.AF_UNIX:
            return self._begin(_Connect(owner, descriptor), select.POLLOUT)
        connected = _Connect(owner, descriptor)
        self._results.append((connected, 0 if error == EISCONN else -error))
        return self._begin(connected, 0)

    def receive(self, owner: Any, descriptor: int) -> int:
        """See L{ICompletionQueue.receive}."""
        return self._begin(_Receive(owner, descriptor), select.POLLIN)

    def send(
        self,
        owner: Any,
        descriptor: int,
        pieces: list[bytes],
        offset: int = 0,
        passed: int | None = None,
    ) -> int:
        """See L{ICompletionQueue.send}."""
        sending = _Send(owner, descriptor, pieces, offset, passed)
        result = sending.attempt()
        if result is None:
            return self._begin(sending, select.POLLOUT)
        self._results.append((sending, result))
        return self._begin(sending, 0)

    def sendNow(self, owner: Any, descriptor: int, data: bytes) -> None:
        """See L{ICompletionQueue.sendNow}."""
        try:
            result = os.write(descriptor, data)
        except OSError as error:
            result = -_number(error)
        if result != len(data):
            owner.sentPart(data, result)

    def poll(self, owner: Any, descriptor: int, events: int) -> int:
        """See L{ICompletionQueue.poll}."""
        polling = _Poll(owner, descriptor, events)
        try:
            return self._begin(polling, events)
        except PermissionError:
            # A regular file, say.
            operation = self._begin(polling, 0)
            self._alwaysReady[operation] = polling
            return operation

    def cancel(self, operation: int) -> None:
        """See L{ICompletionQueue.cancel}."""
        cancelled = self._operations.pop(operation, None)
        if cancelled is None:
            return
        cancelled.cancelled = True
        self._alwaysReady.pop(operation, None)
        self._unwatch(cancelled)

    def close(self, descriptor: int) -> None:
        """See L{ICompletionQueue.close}."""
        # The poller would go on with it if a child process has the file open, too.
        self._stale.discard(descriptor)
        watched = self._watched.get(descriptor)
        if watched is not None:
            self._updatePoller(descriptor, watched)
        os.close(descriptor)

    def wait(self, timeout: float | None) -> None:
        """See L{ICompletionQueue.wait}."""
        if self._results or self._alwaysReady:
            timeout = 0
        while self._stale:
            descriptor = self._stale.pop()
            watched = self._watched.get(descriptor)
            if watched is not None:
                self._updatePoller(descriptor, watched)
        ready = self._poll(timeout)
        self._waits += 1
        begun = self._waits
        before = self.current
        try:
            for _ in range(len(self._results)):
                if self._results:  # unless one of those told waited itself
                    self._end(*self._results.popleft())
            for polling in list(self._alwaysReady.values()):
                if not polling.cancelled:
                    self._perform(polling, polling.events)
            for descriptor, events in ready:
                if descriptor == self._wakePipe[0]:
                    os.read(descriptor, 1)
                    self._woken = False
                    continue
                watched = self._watched.get(descriptor)
                # One closed and watched anew meanwhile is another's.
                if watched is None or watched.since >= begun:
                    continue
                input, output = watched.input, watched.output
                if input is not None and (events & _INPUT or input is output):
                    self._perform(input, events)
                if output is input or output is not watched.output:
                    continue  # served already, or gone meanwhile
                if output is not None and events & _OUTPUT:
                    self._perform(output, events)
        finally:
            self.current = before

    def wake(self) -> None:
        """See L{ICompletionQueue.wake}."""
        if not self._woken:
            self._woken = True
            os.write(self._wakePipe[1], b"\0")

    # The rest is how.

    def _begin(self, operation: _Operation, events: int) -> int:
        """
        Have a descriptor watched for an operation if it is to wait, and number it.
        """
        if events:
            self._watch(operation, events)
        self._last += 1
        operation.number = self._last
        self._operations[self._last] = operation
        return self._last

    def _perform(self, operation: _Operation, events: int) -> None:
        """
        Do what an operation waited for.
        """
        self.current = operation.owner
        try:
            result = operation.perform(events)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.err()
        else:
            if result is not None:
                self._unwatch(operation)
                self._end(operation, result)

    def _end(self, operation: _Operation, result: int) -> None:
        """
        Tell how an operation ended, unless that was told or nobody wants to know.
        """
        if self._operations.pop(operation.number, None) is None:
            return
        self.current = operation.owner
        try:
            operation.ended(result)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.err()

    def _watch(self, operation: _Operation, events: int) -> None:
        """
        Have the poller watch for one operation more.

        @raise OSError: if the descriptor cannot be watched.
        """
        descriptor = operation.descriptor
        watched = self._watched.get(descriptor)
        if watched is None:
            self._poller.register(descriptor, events)
            watched = self._watched[descriptor] = _Watched(events, self._waits)
        elif events & ~watched.mask:
            watched.mask |= events
            self._poller.modify(descriptor, watched.mask)
        if events & ~select.POLLOUT:
            watched.input = operation
        if events & select.POLLOUT:
            watched.output = operation

    def _unwatch(self, operation: _Operation) -> None:
        """
        Watch no more for one operation.
        """
        descriptor = operation.descriptor
        watched = self._watched.get(descriptor)
        if watched is None:
            return
        if watched.input is operation:
            watched.input = None
        if watched.output is operation:
            watched.output = None
        if isinstance(operation, _Receive):
            self._stale.add(descriptor)
        else:
            self._updatePoller(descriptor, watched)

    def _updatePoller(self, descriptor: int, watched: _Watched) -> None:
        """
        Have the poller watch a descriptor for what is waited for, and no more.
        """
        mask = 0
        if watched.input is not None:
            mask |= watched.mask & ~select.POLLOUT
        if watched.output is not None:
            mask |= select.POLLOUT
        try:
            if not mask:
                del self._watched[descriptor]
                self._poller.unregister(descriptor)
            elif mask != watched.mask:
                watched.mask = mask
                self._poller.modify(descriptor, mask)
        except OSError:
            # Closed by somebody who did not say so; the kernel forgot it too.
            self._watched.pop(descriptor, None)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if self._isEpoll:
            return self._poller.poll(timeout, _EVENTS)
        # Rounded down, the last millisecond would be spun away.
        return self._poller.poll(None if timeout is None else math.ceil(timeout * 1000))


class _Watched:
    """
    Who waits for a descriptor, and for what.

    @ivar since: the round in which it began to be watched.
    """

    __slots__ = ("input", "mask", "output", "since")

    def __init__(self, mask: int, since: int) -> None:
        self.input: _Operation | None = None
        self.output: _Operation | None = None
        self.mask = mask
        self.since = since


class _Operation:
    """
    One operation that waits for its descriptor.
    """

    __slots__ = ("cancelled", "descriptor", "number", "owner")

    def __init__(self, owner: Any, descriptor: int) -> None:
        self.owner = owner
        self.descriptor = descriptor
        self.number = 0
        self.cancelled = False

    def perform(self, events: int) -> int | None:
        """
        Do it, as the descriptor is ready.

        @return: the result that ends it; L{None} while it goes on.
        """
        raise NotImplementedError

    def ended(self, result: int) -> None:
        """
        Tell the owner that it is over.
        """
        raise NotImplementedError


class _Receive(_Operation):
    __slots__ = ()

    def perform(self, events: int) -> int | None:
        try:
            data = os.read(self.descriptor, _BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            return -_number(error)
        if not data:
            return 0
        self.owner.received(data)
        return None

    def ended(self, result: int) -> None:
        self.owner.receiveEnded(result)


class _Send(_Operation):
    __slots__ = ("passed", "rest", "written")

    def __init__(
        self,
        owner: Any,
        descriptor: int,
        pieces: list[bytes],
        offset: int,
        passed: int | None,
    ) -> None:
        super().__init__(owner, descriptor)
        self.passed = passed
        self.rest: list[bytes | memoryview] = [*pieces]
        if offset:
            self.rest[0] = memoryview(pieces[0])[offset:]
        self.written = 0

    def attempt(self) -> int | None:
        """
        Send what there is room for.

        @return: as of L{perform}.
        """
        try:
            if self.passed is None:
                count = os.writev(self.descriptor, self.rest)
            else:
                with _borrowed(self.descriptor, socket.AF_UNIX) as sending:
                    count = socket.send_fds(sending, self.rest, [self.passed])
        except BlockingIOError:
            return None
        except OSError as error:
            return -_number(error)
        self.written += count
        gone = 0
        for piece in self.rest:
            if count < len(piece):
                break
            count -= len(piece)
            gone += 1
        else:
            return self.written
        del self.rest[:gone]
        self.rest[0] = memoryview(self.rest[0])[count:]
        return None

    def perform(self, events: int) -> int | None:
        return self.attempt()

    def ended(self, result: int) -> None:
        self.owner.sent(result)


class _Connect(_Operation):
    __slots__ = ()

    def perform(self, events: int) -> int | None:
        with _borrowed(self.descriptor, socket.AF_INET) as connecting:
            return -connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def ended(self, result: int) -> None:
        self.owner.connectEnded(result)


class _Poll(_Operation):
    __slots__ = ("events",)

    def __init__(self, owner: Any, descriptor: int, events: int) -> None:
        super().__init__(owner, descriptor)
        self.events = events

    def perform(self, events: int) -> int | None:
        self.owner.polled(events)
        return None

    def ended(self, result: int) -> None:
        self.owner.polled(result)


@contextmanager
def _borrowed(descriptor: int, family: int) -> Iterator[socket.socket]:
    """
    A socket object for a descriptor that somebody else will close.
    """
    borrowed = socket.socket(family, socket.SOCK_STREAM, 0, descriptor)
    try:
        yield borrowed
    finally:
        borrowed.detach()


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _number(error: OSError) -> int:
    """
    The C{errno} of an error: there always is one when a system call failed.
    """
    assert error.errno is not None
    return error.errno
