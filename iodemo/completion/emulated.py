# -*- test-case-name: tests.test_completion -*-
"""
A completion queue made from readiness, in user space. L{iodemo.completion} defines the
terms.

Facts. A non-blocking call on a ready descriptor succeeds at once, and nearly every
socket is ready to be written. epoll reports a descriptor as long as it is ready
(level-triggered), and one registration is enough for that. epoll refuses regular files
(EPERM); they are always ready.

Decisions. A send calls C{writev} when it is added, and only if data is left does epoll
watch the socket. A receive is registered with epoll once, until it ends. So an exchange
takes two system calls, C{recv} and C{send}, and a share of one C{epoll_wait}. A receive
that is cancelled reads nothing more, but its registration is removed by the next wait:
a connection that pauses often resumes before.

Costs. The program sees asynchronous operations, but each is a system call of its own,
made when it does not block. In return the kernel never holds memory of the program:
data is copied during the call.
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
#: How many events one call of epoll_wait returns at most.
_EVENTS = 256
#: How many bytes are received at a time: Twisted's bufferSize.
_BYTES = 64 * 1024


@implementer(ICompletionQueue)
class ReadinessQueue:
    """
    Completions over epoll, or poll where there is no epoll: the I{poller}.

    @ivar _operations: the operations, by number.
    @ivar _watched: the operations that wait for a descriptor, by descriptor.
    @ivar _stale: descriptors that the poller watches for more events than operations
        wait for.
    @ivar _results: operations with a result that is not dispatched yet.
    @ivar _alwaysReady: polls of files that the poller refuses.
    @ivar _waits: the number of waits so far.
    @ivar _woken: whether L{wake} was called, and no wait has ended since.
    @ivar _wakePipe: the reading and the writing end of a pipe that L{wake} writes.
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
            # The poller refuses it: it is a regular file, say.
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
        # The poller would go on to report it if a child process has the file open.
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
                if self._results:  # a callback may have called wait
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
                # A callback may have closed it, and the number is a new file's.
                if watched is None or watched.since >= begun:
                    continue
                input, output = watched.input, watched.output
                if input is not None and (events & _INPUT or input is output):
                    self._perform(input, events)
                if output is input or output is not watched.output:
                    continue  # performed already, or cancelled meanwhile
                if output is not None and events & _OUTPUT:
                    self._perform(output, events)
        finally:
            self.current = before

    def wake(self) -> None:
        """See L{ICompletionQueue.wake}."""
        if not self._woken:
            self._woken = True
            os.write(self._wakePipe[1], b"\0")

    def statistics(self) -> dict[str, int | None]:
        """See L{ICompletionQueue.statistics}."""
        return {"operations": len(self._operations), "watched": len(self._watched)}

    # Operations

    def _begin(self, operation: _Operation, events: int) -> int:
        """
        Give an operation its number and, if it waits, watch its descriptor.

        @param events: the events to wait for; 0 if it does not wait.
        """
        if events:
            self._watch(operation, events)
        self._last += 1
        operation.number = self._last
        self._operations[self._last] = operation
        return self._last

    def _perform(self, operation: _Operation, events: int) -> None:
        """
        Perform an operation whose descriptor is ready.
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
        End an operation with a result, unless it has ended or was cancelled.
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
        Have the poller watch a descriptor for one operation more.

        @raise OSError: if the poller refuses the descriptor.
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
        Have the poller watch a descriptor for one operation less.
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
        Have the poller watch a descriptor for the events that operations wait for.
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
            # Closed, but not by L{close}; so epoll has dropped it, too.
            self._watched.pop(descriptor, None)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if self._isEpoll:
            return self._poller.poll(timeout, _EVENTS)
        # Rounded down, the loop would spin for the last millisecond.
        return self._poller.poll(None if timeout is None else math.ceil(timeout * 1000))


class _Watched:
    """
    The operations that wait for a descriptor.

    @ivar input: the one that waits for anything but POLLOUT.
    @ivar output: the one that waits for POLLOUT.
    @ivar mask: the events that the poller watches for.
    @ivar since: the number of waits when this began.
    """

    __slots__ = ("input", "mask", "output", "since")

    def __init__(self, mask: int, since: int) -> None:
        self.input: _Operation | None = None
        self.output: _Operation | None = None
        self.mask = mask
        self.since = since


class _Operation:
    """
    One operation.
    """

    __slots__ = ("cancelled", "descriptor", "number", "owner")

    def __init__(self, owner: Any, descriptor: int) -> None:
        self.owner = owner
        self.descriptor = descriptor
        self.number = 0
        self.cancelled = False

    def perform(self, events: int) -> int | None:
        """
        Make the system call, as the descriptor is ready.

        @return: the result that ends the operation; C{None} if it goes on.
        """
        raise NotImplementedError

    def ended(self, result: int) -> None:
        """
        Call the owner with the result that ended the operation.
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
        Send as much as the socket has space for.

        @return: see L{perform}.
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
    A socket object for a descriptor that it does not own, and does not close.
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
    The C{errno} of an error. A system call that fails always sets it.
    """
    assert error.errno is not None
    return error.errno
