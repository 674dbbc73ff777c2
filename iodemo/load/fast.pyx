# -*- test-case-name: tests.test_load -*-
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""
The hot loop of L{iodemo.load.driver}, compiled.

Facts. Two system calls and the C{memcmp} between them take some 5 microseconds, nearly
all of it in the kernel. The loop in Python adds half as much again; this one adds a
fiftieth.

Decisions. Only the steps taken at every answer are here: receive, compare, count and
send. An answer that comes in pieces is compared piece by piece. For rarer events (bytes
other than those expected, a lost connection) the loop calls the methods of the driver
in Python, and so do all phases but warm-up and window: the connections here have the
same attributes. The global interpreter lock is released only while the loop waits.

Costs. A connection is a Python object, and a dictionary finds it by its descriptor.
"""

from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import os

from iodemo.load import pacing
from iodemo.load.driver import Driver
from iodemo.load.recording import BITS, HIGHEST_NS

cdef extern from "sys/socket.h":
    const int MSG_NOSIGNAL
    Py_ssize_t recv(int descriptor, void *buffer, size_t length, int flags)
    Py_ssize_t send(int descriptor, const void *data, size_t length, int flags)

cdef extern from "poll.h":
    const short POLLIN
    cdef struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd *files, unsigned long count, const timespec *time, void *) nogil

cdef extern from "sys/epoll.h":
    const uint32_t EPOLLIN, EPOLLOUT
    ctypedef union epoll_data_t:
        int fd
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout) nogil

cdef extern from *:
    int __builtin_clzll(unsigned long long value)

cdef enum:
    EVENTS = 1024

cdef int64_t SECOND = 10**9
cdef int64_t MILLISECOND = 10**6
cdef int64_t HIGHEST = HIGHEST_NS
cdef int64_t NEVER = pacing.NEVER
cdef int KEPT = BITS


cdef int64_t clock():
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * SECOND + now.tv_nsec


cdef void count(int64_t[::1] counters, int64_t latency):
    """
    The same as L{iodemo.load.recording.Recording.add}, for one latency.
    """
    cdef int shift
    latency = max(<int64_t>0, min(latency, HIGHEST))
    shift = max(0, 64 - __builtin_clzll(latency | 1) - KEPT)
    counters[(latency >> shift) + (<int64_t>shift << (KEPT - 1))] += 1


cdef int wait(int epoll, epoll_event *events, int64_t left, bint exactly):
    """
    Wait for events, for C{left} nanoseconds at most. If not exactly, this is rounded up
    to milliseconds, which saves a system call.
    """
    cdef pollfd any = pollfd(epoll, POLLIN, 0)
    cdef timespec time = timespec(left // SECOND, left % SECOND)
    cdef int timeout = 0
    if not exactly:
        timeout = (left + MILLISECOND - 1) // MILLISECOND
    with nogil:
        if exactly:
            ppoll(&any, 1, &time, NULL)
        return epoll_wait(epoll, events, EVENTS, timeout)


cdef object lastError():
    return OSError(errno, os.strerror(errno))


cdef class Connection:
    """
    See L{iodemo.load.driver._Connection}. While the bytes received are the beginning of
    the answer expected, only their number is kept (C{matched}).
    """

    cdef readonly str name
    cdef readonly object socket
    cdef public object turn, following
    cdef public bytes expected
    cdef public Py_ssize_t unsent
    cdef public int64_t sent
    cdef public int64_t due
    cdef public int64_t first
    cdef public bint spent
    cdef public bint anew
    cdef int descriptor
    cdef Py_ssize_t matched
    cdef public object answer
    cdef Py_ssize_t other

    def __init__(self, str name, connected, exchange):
        self.name = name
        self.turn, self.following = exchange.turns()
        self.expected = self.turn.expected
        self.renew(connected)

    def renew(self, connected):
        """
        See L{iodemo.load.driver._Connection.renew}.
        """
        self.socket = connected
        self.descriptor = connected.fileno()
        self.unsent = 0
        self.answer = None
        self.came = 0
        self.first = 0
        self.spent = False
        self.anew = False

    @property
    def came(self):
        return self.matched + self.other

    @came.setter
    def came(self, Py_ssize_t came):
        self.matched = 0
        self.other = came

    cdef bint continues(self, const char *data, Py_ssize_t length):
        """
        Whether these are the next bytes of the answer expected.
        """
        cdef Py_ssize_t left = PyBytes_GET_SIZE(self.expected) - self.matched
        if length > left or (length == left and self.unsent):
            return False
        return not memcmp(PyBytes_AS_STRING(self.expected) + self.matched, data, length)


cdef start(driver, Connection connection, int64_t now):
    """
    The same as L{Driver._start}.
    """
    if connection.spent:
        driver._start(connection, now)
        return
    connection.expected = connection.turn.expected
    connection.matched = 0
    connection.sent = now
    connection.unsent = len(connection.turn.request)
    push(driver, connection)
    if connection.unsent:
        driver._sendLater(connection, connection.unsent)


cdef push(driver, Connection connection):
    """
    Send the unsent rest of the request, as far as the kernel takes it.
    """
    cdef bytes request = connection.turn.request
    cdef Py_ssize_t unsent = connection.unsent
    cdef const char *data = PyBytes_AS_STRING(request) + len(request) - unsent
    cdef Py_ssize_t sent = send(connection.descriptor, data, unsent, MSG_NOSIGNAL)
    if sent >= 0:
        connection.unsent -= sent
    elif errno != EAGAIN:
        driver._notSent(connection, lastError())


class FastDriver(Driver):
    """
    A driver whose hot loop is compiled.
    """

    _connectionOf = Connection

    def _received(self, Connection connection, bytes data):
        """
        See L{Driver._received}. Bytes that matched so far are passed on first.
        """
        cdef bytes matched
        if connection.matched:
            matched = connection.expected[:connection.matched]
            connection.matched = 0
            super()._received(connection, matched)
        return super()._received(connection, data)

    def _drive(self, int64_t length, recording, uncorrected):
        """
        See L{Driver._drive}.
        """
        if self._profile.churn:
            # Nearly all of its time is spent in the kernel.
            super()._drive(length, recording, uncorrected)
            return
        cdef int64_t[::1] counters = recording.counters
        cdef int64_t[::1] fromSent = uncorrected.counters
        cdef int64_t deadline = self._deadline
        cdef int64_t now = clock()
        cdef int64_t end = now + length
        cdef int64_t left
        cdef Py_ssize_t size = self._size
        cdef Py_ssize_t got
        cdef bytearray memory = bytearray(size)
        cdef char *buffer = memory
        cdef epoll_event events[EVENTS]
        cdef int epoll = self._epoll.fileno()
        cdef int ready, index
        cdef dict connections = self._connections
        cdef Connection connection
        schedule = self._schedule
        cdef bint isOpen = schedule is not None
        cdef int64_t due = schedule.due if isOpen else 0
        cdef Py_ssize_t active = self._profile.active
        free = self._free
        while now < end and not self._interrupted:
            left = min(end - now, SECOND)
            if isOpen:
                while due <= now and free:
                    connection = free.popleft()
                    connection.due = due
                    start(self, connection, clock())
                    due = schedule.advance()
                if free:
                    left = min(left, due - now)
            ready = wait(epoll, events, left, isOpen)
            if ready < 0 and errno != EINTR:
                raise lastError()
            PyErr_CheckSignals()
            for index in range(ready):
                connection = connections[events[index].data.fd]
                if events[index].events & EPOLLOUT and connection.unsent:
                    push(self, connection)
                    if not connection.unsent:
                        self._epoll.modify(connection.descriptor, EPOLLIN)
                    if events[index].events == EPOLLOUT:
                        continue
                got = recv(connection.descriptor, buffer, size, 0)
                if got < 0:
                    if errno != EAGAIN:
                        self._lost(connection, lastError())
                    continue
                if got > 0 and connection.continues(buffer, got):
                    connection.matched += got
                    if connection.matched < len(connection.expected):
                        continue
                elif not self._received(
                    connection, PyBytes_FromStringAndSize(buffer, got)
                ):
                    continue
                now = clock()
                connection.turn, connection.following = (
                    connection.following,
                    connection.turn,
                )
                if not isOpen:
                    count(counters, now - connection.sent)
                    start(self, connection, now)
                else:
                    count(counters, now - connection.due)
                    count(fromSent, now - connection.sent)
                    connection.matched = 0
                    self._silence(connection)
                    free.append(connection)
            now = clock()
            if now >= deadline:
                self._checkWaiting(now)
                deadline = self._deadline
            if due == NEVER and len(free) == active:
                break
