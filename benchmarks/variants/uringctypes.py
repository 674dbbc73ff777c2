"""
io_uring without an extension, driven through C{ctypes} and C{struct} of the standard
library. All above the completion queue is as in C{proactor}.

The queue works as L{iodemo.completion.ring} does, whose head has the facts: multishot
accept and receive, one buffer ring, sends that report only failure, one io_uring_enter
a wait. It is as much of a queue as an echo server needs.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import struct
from errno import ECANCELED, EINTR, ENOBUFS, ETIME
from typing import Any

from twisted.internet.main import installReactor
from twisted.python import log

from iodemo.completion.reactor import CompletionReactor
from iodemo.reactors.uring import BUFFER_KIB, BUFFERS, RESULTS

_SETUP, _ENTER, _REGISTER = 425, 426, 427
_POLL, _ACCEPT, _CANCEL, _CLOSE, _SEND, _RECEIVE = 6, 13, 14, 19, 26, 27
_SKIP_SUCCESS, _BUFFER_SELECT = 1 << 6, 1 << 5
_MORE = 1 << 1
# CQSIZE, CLAMP, SUBMIT_ALL, SINGLE_ISSUER, DEFER_TASKRUN
_FLAGS = 1 << 3 | 1 << 4 | 1 << 7 | 1 << 12 | 1 << 13
_MULTISHOT_ACCEPT, _MULTISHOT_RECEIVE = 1 << 0, 1 << 1
_CLOEXEC_NONBLOCK = 0o2000000 | 0o4000
_NOSIGNAL, _WAITALL, _DONTWAIT = 0x4000, 0x100, 0x40

_ENTRY = struct.Struct("<BBHiQQIIQHHiQQ")
_RESULT = struct.Struct("<QiI")
_PARAMS = struct.Struct("<30I")
_BUFFER = struct.Struct("<QIHH")
_NUMBER = struct.Struct("<I")
_WAITING = struct.Struct("<QIIQ")
_TIME = struct.Struct("<qq")

_SUBMISSIONS, _BYTES = 1024, BUFFER_KIB * 1024
_NOBODY = 0

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def _addressOf(memory: Any) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class CtypesRing:
    """
    See L{ICompletionQueue}, of which this has a part.
    """

    def __init__(self) -> None:
        self.current: Any = None
        self._operations: dict[int, tuple[int, Any, int, Any]] = {}
        self._last = _NOBODY
        self._pending: list[tuple[int, ...]] = []
        self._tries: dict[int, tuple[Any, bytes]] = {}
        self._again: list[int] = []
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ring = -1

    def _open(self) -> None:
        params = bytearray(_PARAMS.pack(0, RESULTS, _FLAGS, *[0] * 27))
        self._ring = _call(
            _SETUP, ctypes.c_uint(_SUBMISSIONS), ctypes.c_void_p(_addressOf(params))
        )
        numbers = _PARAMS.unpack(params)
        submission, completion = numbers[10:20], numbers[20:30]
        size = max(submission[6] + 4 * numbers[0], completion[5] + 16 * numbers[1])
        self._rings = mmap.mmap(self._ring, size)
        self._entries = mmap.mmap(self._ring, 64 * numbers[0], offset=0x10000000)
        self._submissionHead, self._submissionTail = submission[0], submission[1]
        self._resultHead, self._resultTail, self._results = (
            completion[each] for each in (0, 1, 5)
        )
        self._submissionMask, self._resultMask = numbers[0] - 1, numbers[1] - 1
        for number in range(numbers[0]):
            _NUMBER.pack_into(self._rings, submission[6] + 4 * number, number)
        self._buffers = mmap.mmap(-1, 16 * BUFFERS + BUFFERS * _BYTES)
        self._bufferTail = 0
        at = _addressOf(self._buffers)
        self._memory = at + 16 * BUFFERS
        registration = bytearray(struct.pack("<QIHH3Q", at, BUFFERS, 0, 0, 0, 0, 0))
        _call(
            _REGISTER,
            ctypes.c_int(self._ring),
            ctypes.c_uint(22),
            ctypes.c_void_p(_addressOf(registration)),
            ctypes.c_uint(1),
        )
        for number in range(BUFFERS):
            self._lend(number)
        self._time = bytearray(_TIME.size)
        self._waiting = bytearray(_WAITING.pack(0, 8, 0, _addressOf(self._time)))
        self._forever = bytearray(_WAITING.pack(0, 8, 0, 0))
        self.poll(self, self._bell, select.POLLIN)

    def _lend(self, number: int) -> None:
        # The last field of the first is the ring's tail.
        place = self._bufferTail % BUFFERS
        address = self._memory + number * _BYTES
        struct.pack_into("<QIH", self._buffers, 16 * place, address, _BYTES, number)
        self._bufferTail = (self._bufferTail + 1) & 0xFFFF
        struct.pack_into("<H", self._buffers, 14, self._bufferTail)

    def _begin(self, kind: int, owner: Any, descriptor: int, detail: Any = None) -> int:
        self._last += 1
        self._operations[self._last] = (kind, owner, descriptor, detail)
        self._ask(self._last)
        return self._last

    def _ask(self, number: int) -> None:
        kind, _, descriptor, detail = self._operations[number]
        flags = priority = address = length = more = 0
        if kind == _RECEIVE:
            flags, priority = _BUFFER_SELECT, _MULTISHOT_RECEIVE
        elif kind == _ACCEPT:
            priority, more = _MULTISHOT_ACCEPT, _CLOEXEC_NONBLOCK
        elif kind == _POLL:
            more = detail
        elif kind == _SEND:
            address = ctypes.cast(ctypes.c_char_p(detail), ctypes.c_void_p).value or 0
            length, more = len(detail), _NOSIGNAL | _WAITALL
        self._put(kind, flags, priority, descriptor, 0, address, length, more, number)

    def _put(self, *entry: int) -> None:
        self._pending.append((*entry, 0, 0, 0, 0, 0))

    def accept(self, owner: Any, descriptor: int) -> int:
        """See L{ICompletionQueue.accept}."""
        return self._begin(_ACCEPT, owner, descriptor)

    def receive(self, owner: Any, descriptor: int) -> int:
        """See L{ICompletionQueue.receive}."""
        return self._begin(_RECEIVE, owner, descriptor)

    def send(
        self,
        owner: Any,
        descriptor: int,
        pieces: list[bytes],
        offset: int = 0,
        passed: int | None = None,
    ) -> int:
        """See L{ICompletionQueue.send}."""
        return self._begin(_SEND, owner, descriptor, b"".join(pieces)[offset:])

    def sendNow(self, owner: Any, descriptor: int, data: bytes) -> None:
        """See L{ICompletionQueue.sendNow}."""
        self._last += 1
        self._tries[self._last] = (owner, data)
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        how = _NOSIGNAL | _WAITALL | _DONTWAIT
        where = (descriptor, 0, address, len(data), how, self._last)
        self._put(_SEND, _SKIP_SUCCESS, 0, *where)

    def poll(self, owner: Any, descriptor: int, events: int) -> int:
        """See L{ICompletionQueue.poll}."""
        return self._begin(_POLL, owner, descriptor, events)

    def cancel(self, operation: int) -> None:
        """See L{ICompletionQueue.cancel}."""
        found = self._operations.get(operation)
        if found is not None:
            self._put(_CANCEL, _SKIP_SUCCESS, 0, -1, 0, operation, 0, 0, _NOBODY)
            if found[0] not in (_RECEIVE, _SEND):
                del self._operations[operation]

    def close(self, descriptor: int) -> None:
        """See L{ICompletionQueue.close}."""
        self._put(_CLOSE, _SKIP_SUCCESS, 0, descriptor, 0, 0, 0, 0, _NOBODY)

    def wake(self) -> None:
        """See L{ICompletionQueue.wake}."""
        os.eventfd_write(self._bell, 1)

    def polled(self, result: int) -> None:
        """
        Called by this queue itself, after a call of C{wake}.
        """
        os.eventfd_read(self._bell)

    def wait(self, timeout: float | None) -> None:
        """See L{ICompletionQueue.wait}."""
        if self._ring < 0:
            self._open()
        while self._again:
            number = self._again.pop()
            if number in self._operations:
                self._ask(number)
        pending, self._pending = self._pending, []
        tried, self._tries = self._tries, {}
        while True:
            some, pending = pending[:_SUBMISSIONS], pending[_SUBMISSIONS:]
            self._enter(some, 0 if pending else timeout)
            if not pending:
                break
        before = self.current
        try:
            self._tell(tried)
        finally:
            self.current = before

    def _enter(self, entries: list[tuple[int, ...]], timeout: float | None) -> None:
        """
        Submit entries, and wait for a result.
        """
        (tail,) = _NUMBER.unpack_from(self._rings, self._submissionTail)
        for number, entry in enumerate(entries, tail):
            _ENTRY.pack_into(
                self._entries, 64 * (number & self._submissionMask), *entry
            )
        tail = (tail + len(entries)) & 0xFFFFFFFF
        _NUMBER.pack_into(self._rings, self._submissionTail, tail)
        waiting = self._forever
        if timeout is not None:
            seconds = int(timeout)
            nanoseconds = int((timeout - seconds) * 1e9)
            _TIME.pack_into(self._time, 0, seconds, nanoseconds)
            waiting = self._waiting
        head, last = self._resultsThere()
        try:
            _call(
                _ENTER,
                ctypes.c_int(self._ring),
                ctypes.c_uint(len(entries)),
                ctypes.c_uint(0 if timeout == 0 or head != last else 1),
                ctypes.c_uint(1 << 0 | 1 << 3),
                ctypes.c_void_p(_addressOf(waiting)),
                ctypes.c_size_t(len(waiting)),
            )
        except OSError as error:
            if error.errno not in (ETIME, EINTR):
                raise

    def _resultsThere(self) -> tuple[int, int]:
        (head,) = _NUMBER.unpack_from(self._rings, self._resultHead)
        (tail,) = _NUMBER.unpack_from(self._rings, self._resultTail)
        return head, tail

    def _tell(self, tried: dict[int, tuple[Any, bytes]]) -> None:
        """
        Tell all results that are there.
        """
        head, tail = self._resultsThere()
        while head != tail:
            at = self._results + 16 * (head & self._resultMask)
            number, result, flags = _RESULT.unpack_from(self._rings, at)
            head = (head + 1) & 0xFFFFFFFF
            _NUMBER.pack_into(self._rings, self._resultHead, head)
            try:
                if number in tried:
                    self.current, data = tried[number]
                    self.current.sentPart(data, result)
                else:
                    self._completed(number, result, flags)
            except KeyboardInterrupt:
                raise
            except BaseException:
                log.err()

    def _completed(self, number: int, result: int, flags: int) -> None:
        found = self._operations.get(number)
        if found is None:
            return
        kind, owner, _, _ = found
        self.current = owner
        more = bool(flags & _MORE)
        if kind == _POLL:
            self._again.append(number)
            owner.polled(result)
        elif kind == _RECEIVE and result > 0:
            buffer = flags >> 16
            start = 16 * BUFFERS + buffer * _BYTES
            data = self._buffers[start : start + result]
            self._lend(buffer)
            if not more:
                self._again.append(number)
            owner.received(data)
        elif kind == _RECEIVE and result == -ENOBUFS:
            self._again.append(number)
        elif kind == _ACCEPT and result >= 0:
            if not more:
                self._again.append(number)
            owner.accepted(result)
        else:
            del self._operations[number]
            told = {_RECEIVE: "receiveEnded", _SEND: "sent", _ACCEPT: "acceptEnded"}
            getattr(owner, told[kind])(-ECANCELED if result == -ENOBUFS else result)


def install() -> None:
    """
    Make it the reactor of the process.
    """
    queue: Any = CtypesRing()
    installReactor(CompletionReactor(queue))
