# -*- test-case-name: tests.test_completion -*-
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""
A completion queue of the kernel's: io_uring, through its system calls alone.

Facts (io_uring_setup(2), io_uring_enter(2), io_uring_register(2); the constants are
the kernel's include/uapi/linux/io_uring.h).

  - Two rings are shared with the kernel: entries, each of which asks for an
    operation, and results. io_uring_enter submits what is in the one and waits for
    the other; one call does for any number of both.
  - An operation that can be done at once is done while it is submitted. Else the
    kernel polls the socket by itself and finishes the operation when it is ready.
  - A receive takes a buffer from a ring of buffers that all connections share, only
    when something is there: an idle connection holds none. With no buffer left it ends
    with ENOBUFS. A "multishot" receive goes on until it is cancelled, or ends without
    IORING_CQE_F_MORE. Where there is more than a buffer holds it has up to 32 results
    before the program sees the first. IORING_CQE_F_SOCK_NONEMPTY in a result says that
    the socket has more.
  - IORING_SETUP_DEFER_TASKRUN with SINGLE_ISSUER (6.1) has the kernel finish
    operations only inside io_uring_enter with IORING_ENTER_GETEVENTS, in the one thread
    that may submit: nothing interrupts the program, and results come in batches. What
    is submitted with the same call comes first. So a receive that is cancelled takes
    nothing more from its socket, though the cancellation is submitted later.
  - A connection that an accept in the kernel has taken from the listen queue cannot be
    put back, and a multishot accept has no place for the peer's address; getpeername(2)
    has none either once the peer has reset the connection.
  - With IOSQE_CQE_SKIP_SUCCESS an operation has a result only if it failed.
  - The kernel's own polling also ends at EPOLLRDHUP, asked for or not: a socket whose
    peer will send no more is always ready to it. A send that waits for room there is
    tried again at once, 128 times, and then left to a worker, a thread in which send
    blocks, but sendmsg heeds O_NONBLOCK and fails with EAGAIN (io_uring/poll.c; seen
    here on 6.18). epoll reports what it was asked for.
  - A multishot poll reports that something has come (an edge), and no more of what is
    still there (seen here: of two bytes in a pipe the second was not reported).
  - close(2) does not end operations on the descriptor: they hold the file open.
  - When the ring of results is full the kernel keeps the rest in a list, and delivers
    them once there is room and io_uring_enter asks.

Decisions. What is asked for is collected here, in memory of our own, and submitted by
L{RingQueue.wait}: one call an iteration, and one for a C{close}. So the ring itself can
be made late, by the thread that waits, after the process has become a daemon and
another user. Every operation has a row in a table, and a row a generation: a result
that is late finds that its row has another. Everything lent to the kernel (bytes to
send, addresses) is kept until the result is there. Of a receive, all results that are
in the ring make one piece of data: when a protocol stops reading for what it was given,
the ring has no more of that connection, and the rest is left in the socket, for another
process to read. So a receive begins with a single result; it becomes multishot when it
goes on for longer than a turn, and is single again where there is much to receive: what
a protocol is given at once is what it may have to keep. What is left in such a socket
after a result of the ring is received by recv(2), 64 KiB a wait as with Twisted's
reactors, into memory that the connection before has just freed: it is in the
processor's cache, which the memory of many receives submitted together is not. Data is copied out of its buffer when it is told, and the buffer goes back at
once; operations that found none wait in line for their turn. Ports wait for readiness,
and accept(2) is called when their turn comes: a port that stops leaves the rest in the
listen queue. Whatever is polled is in an epoll, and the ring watches the epoll: a poll
in the ring holds the file open, until a call that has the kernel go on with everything
it has. What waits for room on a socket whose peer will send no more is watched there,
too (put aside), and regular files alone, which epoll does not take, are polled by the
ring: asked for once at a time, and again after their owner was served. Whether a try to
send failed is told before the connection is asked for more, so nothing overtakes it. To
close a descriptor is an entry behind what was asked before, submitted at once, but
without having the kernel go on: that would take data of connections which the same
callback may be about to pause. So a socket whose receive was cancelled since the last
wait is closed by the next one; its peer has its end before, by shutdown(2). C{wake}
writes to an eventfd that the ring reads: being woken takes no call here. Python code
may run whenever an object is made (a collection, a finalizer) or dropped. So the table
is whole at each such place, and a pointer into it is taken anew afterwards.

Costs. The memory of the rings and buffers, whatever the load: 8 MiB of buffers, 320 KiB
of rings. A copy of everything received through a buffer. A call for each 64 KiB that is
received in bulk, for each connection that is closed, and for each that is accepted. One
thread. What is polled takes calls of its own, epoll_ctl and epoll_wait.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from libc.errno cimport errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

import gc
import os
import select
import socket
import struct
import weakref
from collections import deque
from errno import errorcode

from twisted.python import log
from zope.interface import classImplements

from iodemo.completion.interfaces import ICompletionQueue, QueueRefused

cdef extern from "Python.h":
    # It makes no slice object, so that no collection runs, and what it takes out of the
    # list is dropped when the list is whole.
    int PyList_SetSlice(object, Py_ssize_t, Py_ssize_t, void *) except -1

cdef extern from *:
    """
    #include <errno.h>
    #include <poll.h>
    #include <sys/mman.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <unistd.h>

    /* The numbers of all architectures but two, which the reactor refuses. */
    #define IODEMO_SETUP 425
    #define IODEMO_ENTER 426
    #define IODEMO_REGISTER 427

    #define iodemo_acquire(at) __atomic_load_n((at), __ATOMIC_ACQUIRE)
    #define iodemo_release(at, value) \
        __atomic_store_n((at), (value), __ATOMIC_RELEASE)
    """
    const int IODEMO_SETUP, IODEMO_ENTER, IODEMO_REGISTER
    const int EAGAIN, EBADF, EBUSY, ECANCELED, EEXIST, EINTR, ENOBUFS, ENOMEM, ETIME
    int sysClose "close"(int descriptor)
    Py_ssize_t recv(int descriptor, void *to, size_t length, int flags) nogil
    const int MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL
    const int SOL_SOCKET, SCM_RIGHTS
    const int POLLIN, POLLOUT, POLLERR, POLLHUP, POLLNVAL
    const int PROT_READ, PROT_WRITE
    const int MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_POPULATE, MADV_DONTFORK
    void *MAP_FAILED
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    size_t CMSG_LEN(size_t length)
    size_t CMSG_SPACE(size_t length)
    unsigned char *CMSG_DATA(cmsghdr *header)
    uint32_t iodemo_acquire(uint32_t *at) nogil
    void iodemo_release(uint32_t *at, uint32_t value) nogil
    void iodemo_release16 "iodemo_release"(uint16_t *at, uint16_t value) nogil
    long syscall(long number, ...) nogil
    void *mmap(void *at, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *at, size_t length)
    int madvise(void *at, size_t length, int advice)

# The kernel's structures, under its layout and names of our own.

cdef struct Entry:  # io_uring_sqe
    uint8_t opcode
    uint8_t flags
    uint16_t priority
    int32_t descriptor
    uint64_t offset
    uint64_t address
    uint32_t length
    uint32_t detail  # a union of the operations' own flags
    uint64_t userData
    uint16_t bufferGroup
    uint16_t personality
    int32_t fileIndex
    uint64_t unused[2]

cdef struct Result:  # io_uring_cqe
    uint64_t userData
    int32_t result
    uint32_t flags

cdef struct SubmissionOffsets:  # io_sqring_offsets
    uint32_t head, tail, mask, entries, flags, dropped, array, unused
    uint64_t address

cdef struct CompletionOffsets:  # io_cqring_offsets
    uint32_t head, tail, mask, entries, overflow, results, flags, unused
    uint64_t address

cdef struct Params:  # io_uring_params
    uint32_t submissions, completions, flags, cpu, idle, features, workers
    uint32_t unused[3]
    SubmissionOffsets submission
    CompletionOffsets completion

cdef struct Buffer:  # io_uring_buf; the first one's last field is the ring's tail
    uint64_t address
    uint32_t length
    uint16_t number
    uint16_t tail

cdef struct BufferRegistration:  # io_uring_buf_reg
    uint64_t address
    uint32_t entries
    uint16_t group
    uint16_t flags
    uint64_t unused[3]

cdef struct BufferStatus:  # io_uring_buf_status
    uint32_t group
    uint32_t head
    uint32_t unused[8]

cdef struct Timespec:  # __kernel_timespec
    int64_t seconds
    int64_t nanoseconds

cdef struct Waiting:  # io_uring_getevents_arg
    uint64_t signals
    uint32_t signalsSize
    uint32_t unused
    uint64_t timeout

cdef enum:
    # Operations.
    NOP = 0
    POLL_ADD = 6
    SEND = 9  # sendmsg
    ASYNC_CANCEL = 14
    CONNECT = 16
    CLOSE = 19
    READ = 22
    TRY = 26  # send
    RECEIVE = 27

    SETUP_CQSIZE = 1 << 3
    SETUP_CLAMP = 1 << 4
    SETUP_SUBMIT_ALL = 1 << 7
    SETUP_SINGLE_ISSUER = 1 << 12
    SETUP_DEFER_TASKRUN = 1 << 13

    ENTER_GETEVENTS = 1 << 0
    ENTER_EXT_ARG = 1 << 3

    REGISTER_BUFFER_RING = 22
    REGISTER_BUFFER_STATUS = 26  # since Linux 6.8

    OFFSET_RINGS = 0
    OFFSET_ENTRIES = 0x10000000
    OVERFLOWED = 1 << 1  # in the submission ring's flags

    ENTRY_BUFFER_SELECT = 1 << 5
    ENTRY_SKIP_SUCCESS = 1 << 6
    RECEIVE_MULTISHOT = 1 << 1
    CANCEL_ALL = 1 << 0
    CANCEL_ANY = 1 << 2

    RESULT_BUFFER = 1 << 0
    RESULT_MORE = 1 << 1
    RESULT_NONEMPTY = 1 << 2
    RESULT_BUFFER_SHIFT = 16

    # Ours: where an operation is.
    FREE = 0  # nowhere: the row is free
    ASKED = 1  # pending, or in the kernel
    SERVED = 2  # its owner is being called, and then it is asked for again
    IN_LINE = 3  # for a buffer
    ASIDE = 4  # watched by epoll

    # Manners of receiving.
    ONCE = 0  # one result, when there is something
    MULTISHOT = 1  # a result whenever there is something
    BULK = 2  # by recv(2), once a wait

    # So many results in a row, with nothing left in the socket, make it multishot.
    FEW = 8
    # How much is received in bulk at a time.
    BULK_BYTES = 64 * 1024  # as Twisted's bufferSize

    # A try that sends more than this is reported, as the kernel sends only so much.
    MOST_TRIED = 0x40000000
    SUBMISSIONS = 1024
    LEAST_SUBMISSIONS = 32
    PENDING = 256
    ROWS = 64
    # Buffers a whole number of pages apart would all compete for the same lines of
    # the processor's cache.
    BUFFER_GAP = 64
    SIGNALS_SIZE = 8
    UNIX_PATH = 108  # of struct sockaddr_un

cdef uint64_t NOBODY = <uint64_t>0x7FFFFFFF  # the result of something not in the table
cdef uint64_t READY = <uint64_t>0x7FFFFFFE  # what is put aside is ready
cdef uint64_t WOKEN = <uint64_t>0x7FFFFFFD  # somebody called wake
cdef uint64_t TRIED = <uint64_t>1 << 63  # the result of a try; the rest numbers it
cdef uint32_t GENERATIONS = 0x7FFFFFFF

cdef struct Row:
    uint64_t asked  # how many entries there were before its last one
    uint32_t generation
    int32_t next  # of the free ones
    int32_t descriptor
    uint32_t events
    uint8_t operation
    uint8_t state
    uint8_t cancelled  # its result is of no interest, but for data
    uint8_t manner  # of receiving
    uint8_t small  # how many results in a row left nothing in the socket
    uint32_t waiting  # how many results of it are in the ring

cdef object queues = weakref.WeakSet()
cdef bint checks = os.environ.get("IODEMO_DEBUG", "") not in ("", "0")


@cython.no_gc_clear
cdef class RingQueue:
    """
    A completion queue on io_uring.

    @ivar current: see L{ICompletionQueue}.
    """

    cdef object __weakref__
    cdef public object current

    # The ring, -1 while there is none; how many there were; its memory.
    cdef int ring
    cdef uint64_t ringsMade
    cdef void *rings
    cdef size_t ringsSize
    cdef Entry *entries
    cdef size_t entriesSize
    cdef uint32_t *submissionHead
    cdef uint32_t *submissionTail
    cdef uint32_t *submissionFlags
    cdef uint32_t submissionMask
    cdef uint32_t submissionCount
    cdef uint32_t *resultHead
    cdef uint32_t *resultTail
    cdef uint32_t resultMask
    cdef Result *results
    cdef uint32_t resultsWanted
    cdef uint32_t resultsCounted  # up to where they are, for their operations

    # What is lent to receives. All of a buffer ring is written here, and read by the
    # kernel.
    cdef Buffer *buffers
    cdef char *bufferMemory
    cdef size_t buffersSize
    cdef uint32_t bufferCount
    cdef uint32_t bufferBytes
    cdef uint16_t bufferTail
    cdef object line  # operations that found no buffer
    cdef list served  # receives that had a result, and are asked for again
    cdef object bulk  # receives whose sockets have more

    # What is put aside, by descriptor; the epoll that watches it, if there ever was
    # any; descriptors whose peers will send no more.
    cdef dict aside
    cdef object epoll
    cdef bint epollWatched
    cdef set ended

    # An eventfd, which wake writes to and the ring reads; whether it was written to,
    # and is being read; what was read.
    cdef int bell
    cdef bint woken
    cdef bint listening
    cdef uint64_t rung

    # What was asked for and is not submitted yet.
    cdef Entry *pending
    cdef size_t pendingCount
    cdef size_t pendingRoom
    cdef uint64_t submitted  # how many were, in all

    # The table of operations; owners and what is lent to each are lists beside it.
    cdef Row *rows
    cdef int32_t rowCount
    cdef int32_t freeRow
    cdef uint32_t rowsInUse
    cdef list owners
    cdef list lent

    # Owners and data of tries, alternating; how many there were before the first.
    cdef list tried
    cdef uint64_t triedBefore

    def __cinit__(self, uint32_t buffers, uint32_t bufferBytes, uint32_t results):
        self.ring = -1
        self.bell = -1
        self.freeRow = -1
        self.bufferCount = buffers
        self.bufferBytes = bufferBytes
        self.resultsWanted = results
        self.line = deque()
        self.served = []
        self.bulk = deque()
        self.aside = {}
        self.ended = set()
        self.owners = []
        self.lent = []
        self.tried = []
        self.pendingRoom = PENDING
        self.pending = <Entry *>malloc(PENDING * sizeof(Entry))
        if self.pending is NULL:
            raise MemoryError()
        self.bell = os.eventfd(0, os.EFD_CLOEXEC)
        self.epoll = select.epoll()

    def __init__(self, buffers, bufferBytes, results):
        """
        @param buffers: how many buffers all connections share, a power of two.
        @param bufferBytes: the size of each.
        @param results: the room for results, a power of two.
        """
        queues.add(self)

    def __del__(self):
        # Before a collection takes apart what the kernel was lent.
        self.tearDown()

    def __dealloc__(self):
        if self.bell >= 0:
            sysClose(self.bell)
        free(self.pending)
        free(self.rows)

    # ICompletionQueue

    def connect(self, owner, int descriptor, address):
        """See L{ICompletionQueue.connect}."""
        return self.begin(CONNECT, owner, descriptor, packed(address), 0)

    def receive(self, owner, int descriptor):
        """See L{ICompletionQueue.receive}."""
        return self.begin(RECEIVE, owner, descriptor, None, 0)

    def send(
        self,
        owner,
        int descriptor,
        list pieces not None,
        Py_ssize_t offset=0,
        passed=None,
    ):
        """See L{ICompletionQueue.send}."""
        return self.begin(
            SEND,
            owner,
            descriptor,
            (messageOf(pieces, offset, passed), pieces),
            POLLOUT,
        )

    def trySend(self, owner, int descriptor, bytes data not None):
        """See L{ICompletionQueue.trySend}."""
        self.tryToSend(owner, descriptor, data)

    def poll(self, owner, int descriptor, uint32_t events):
        """See L{ICompletionQueue.poll}."""
        cdef int32_t number = self.takeRow(POLL_ADD, owner, descriptor, None, events)
        cdef uint64_t operation = self.operationOf(number)
        if not self.watchAside(operation) and self.find(operation) is not NULL:
            self.ask(number)
        return operation

    def cancel(self, uint64_t operation):
        """See L{ICompletionQueue.cancel}."""
        cdef Row *row = self.find(operation)
        if row is NULL or row.cancelled:
            return
        cdef int32_t number = <int32_t><uint32_t>operation
        if row.state == ASKED and row.asked < self.submitted:
            row.cancelled = True
            self.askToCancel(operation)
            return
        # The kernel has nothing of it.
        if row.state == ASKED:
            self.dropEntry(row.asked - self.submitted)
        elif row.state == IN_LINE:
            self.line.remove(operation)
        elif row.state == ASIDE:
            self.takeBack(operation)
        self.over(number)

    def close(self, int descriptor):
        """See L{ICompletionQueue.close}."""
        self.ended.discard(descriptor)
        if self.ring < 0 or not self.pendingCount:
            sysClose(descriptor)
            return
        # What was asked for before, on this descriptor or to end it, comes first. The
        # kernel is not to go on with what it has: that would take data of connections
        # that the caller may be about to pause.
        self.next(CLOSE, descriptor).flags = ENTRY_SKIP_SUCCESS
        self.enter(0, 0, self.pendingCount, goOn=False)

    def wait(self, timeout):
        """See L{ICompletionQueue.wait}."""
        if self.ring < 0:
            self.open()
        cdef double seconds = -1 if timeout is None else max(0, timeout)
        if self.line or self.bulk:
            # Those in line that had their turn may find nothing to receive.
            seconds = 0
        if not self.listening:
            self.listen()
        if self.aside and not self.epollWatched:
            self.watchEpoll()
        if self.served:
            self.receiveAgain()
        cdef uint64_t made = self.ringsMade
        cdef uint64_t tried = self.triedBefore + len(self.tried) // 2
        # Not what is asked for while results are told: that may be without end.
        cdef size_t left = self.enter(1, seconds, self.pendingCount)
        self.tell()
        # In a child process that an owner has forked the ring is gone, and what was
        # left of it.
        while made == self.ringsMade and (
            left or self.isOverflowing() or self.isUntold(tried)
        ):
            left = self.enter(0, 0, left)
            self.tell()
        if made != self.ringsMade:
            return
        self.forget(tried)
        if self.bulk:
            self.receiveBulk()
            if made != self.ringsMade:
                return
        if self.line:
            self.serveLine()
        if checks:
            self.check()

    def wake(self):
        """See L{ICompletionQueue.wake}."""
        if not self.woken:
            self.woken = True
            os.eventfd_write(self.bell, 1)

    # For tests.

    @property
    def inFlight(self):
        """
        How many operations have been asked for and are not over.
        """
        return self.rowsInUse

    @property
    def buffersOut(self):
        """
        How many buffers the kernel has filled, or lost, that were not lent to it again;
        L{None} if it does not say how many it has.
        """
        cdef BufferStatus status
        memset(&status, 0, sizeof(status))
        if syscall(
            IODEMO_REGISTER, self.ring, REGISTER_BUFFER_STATUS, &status, 1
        ) < 0:
            return None
        return self.bufferCount - <uint16_t>(self.bufferTail - <uint16_t>status.head)

    # How.

    cdef uint64_t begin(
        self, int operation, owner, int descriptor, lent, uint32_t events
    ) except? 0:
        """
        Put an operation into the table and among what is to be submitted.

        @return: its number, which is its row and the row's generation.
        """
        cdef int32_t number = self.takeRow(operation, owner, descriptor, lent, events)
        self.ask(number)
        return self.operationOf(number)

    cdef int32_t takeRow(
        self, int operation, owner, int descriptor, lent, uint32_t events
    ) except -1:
        """
        Put an operation into the table.
        """
        # In this order: to add rows may run a finalizer, which takes the room.
        if self.freeRow < 0:
            self.addRows()
        self.makeRoom()
        cdef int32_t number = self.freeRow
        cdef Row *row = &self.rows[number]
        self.freeRow = row.next
        self.rowsInUse += 1
        row.operation = operation
        row.state = SERVED
        row.descriptor = descriptor
        row.events = events
        row.cancelled = False
        row.manner = ONCE
        row.small = FEW - 1
        row.waiting = 0
        # What they replace is None: nothing is dropped.
        self.owners[number] = owner
        self.lent[number] = lent
        return number

    cdef uint64_t operationOf(self, int32_t number) noexcept:
        """
        The number of the operation that has a row.
        """
        return <uint64_t>self.rows[number].generation << 32 | <uint64_t>number

    cdef int ask(self, int32_t number) except -1:
        """
        Ask the kernel for the operation of a row, the first time or again.
        """
        cdef Entry *entry = self.next(
            self.rows[number].operation, self.rows[number].descriptor
        )
        cdef Row *row = &self.rows[number]
        row.asked = self.submitted + self.pendingCount - 1
        row.state = ASKED
        entry.userData = self.operationOf(number)
        cdef bytes lent
        if row.operation == RECEIVE:
            entry.flags = ENTRY_BUFFER_SELECT
            if row.manner == MULTISHOT:
                entry.priority = RECEIVE_MULTISHOT
        elif row.operation == SEND:
            lent = self.lent[number][0]
            entry.address = <uint64_t>PyBytes_AS_STRING(lent)
            entry.length = 1
            entry.detail = MSG_NOSIGNAL | MSG_WAITALL
            if row.descriptor in self.ended:
                entry.detail |= MSG_DONTWAIT
        elif row.operation == POLL_ADD:
            entry.detail = row.events
        elif row.operation == CONNECT:
            lent = self.lent[number]
            entry.address = <uint64_t>PyBytes_AS_STRING(lent)
            entry.offset = PyBytes_GET_SIZE(lent)
        return 0

    cdef int askToCancel(self, uint64_t operation) except -1:
        """
        Ask the kernel to end an operation that it has.
        """
        cdef Entry *entry = self.next(ASYNC_CANCEL, -1)
        entry.address = operation
        entry.flags = ENTRY_SKIP_SUCCESS
        return 0

    cdef void dropEntry(self, size_t at) noexcept:
        """
        Submit nothing in the place of one of the entries that are pending.
        """
        cdef Entry *entry
        if at == self.pendingCount - 1:
            self.pendingCount -= 1
            return
        entry = &self.pending[at]
        memset(entry, 0, sizeof(Entry))
        entry.opcode = NOP
        entry.flags = ENTRY_SKIP_SUCCESS
        entry.descriptor = -1
        entry.userData = NOBODY

    cdef int listen(self) except -1:
        """
        Have the ring read what wake writes. It is no operation of the table: nobody
        is told, and it never ends.
        """
        cdef Entry *entry = self.next(READ, self.bell)
        entry.address = <uint64_t>&self.rung
        entry.length = sizeof(self.rung)
        entry.userData = WOKEN
        self.listening = True
        return 0

    cdef int tryToSend(self, owner, int descriptor, bytes data) except -1:
        self.tried.append(owner)
        self.tried.append(data)
        cdef Entry *entry = self.next(TRY, descriptor)
        entry.address = <uint64_t>PyBytes_AS_STRING(data)
        entry.length = min(PyBytes_GET_SIZE(data), MOST_TRIED)
        if PyBytes_GET_SIZE(data) <= MOST_TRIED:
            entry.flags = ENTRY_SKIP_SUCCESS
        # To wait for all has the kernel report what is less as a failure; not to wait
        # has it report that at once.
        entry.detail = MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT
        entry.userData = TRIED | (self.triedBefore + len(self.tried) // 2 - 1)
        return 0

    cdef Entry *next(self, int operation, int descriptor) except NULL:
        """
        An entry, to be submitted with the next ones.
        """
        self.makeRoom()
        cdef Entry *entry = &self.pending[self.pendingCount]
        self.pendingCount += 1
        memset(entry, 0, sizeof(Entry))
        entry.opcode = operation
        entry.descriptor = descriptor
        entry.userData = NOBODY
        return entry

    cdef int makeRoom(self) except -1:
        """
        Have room for one more entry that is pending.
        """
        cdef Entry *moved
        if self.pendingCount == self.pendingRoom:
            moved = <Entry *>realloc(
                self.pending, 2 * self.pendingRoom * sizeof(Entry)
            )
            if moved is NULL:
                raise MemoryError()
            self.pending = moved
            self.pendingRoom *= 2
        return 0

    cdef int addRows(self) except -1:
        """
        Make the table larger: there is no free row.
        """
        # To make a list may run a finalizer, which may make the table larger itself.
        cdef list none = [None] * max(<int32_t>ROWS, self.rowCount)
        if self.freeRow >= 0:
            return 0
        cdef int32_t count = self.rowCount + <int32_t>len(none)
        cdef Row *rows = <Row *>realloc(self.rows, count * sizeof(Row))
        if rows is NULL:
            raise MemoryError()
        self.rows = rows
        self.owners.extend(none)
        self.lent.extend(none)
        cdef int32_t number
        for number in range(count - 1, self.rowCount - 1, -1):
            rows[number].generation = 0
            rows[number].state = FREE
            rows[number].next = self.freeRow
            self.freeRow = number
        self.rowCount = count
        return 0

    cdef Row *find(self, uint64_t operation):
        """
        The row of an operation; NULL if it is over.
        """
        cdef uint32_t number = <uint32_t>operation
        if operation & TRIED or number >= <uint32_t>self.rowCount:
            return NULL
        cdef Row *row = &self.rows[number]
        if row.state == FREE or row.generation != operation >> 32:
            return NULL
        return row

    cdef int over(self, int32_t number) except -1:
        """
        An operation is over: its row is another's, and nothing is lent any more.
        """
        cdef Row *row = &self.rows[number]
        # They are dropped at the end, when the table is whole: a finalizer may run.
        owner, lent = self.owners[number], self.lent[number]
        self.owners[number] = None
        self.lent[number] = None
        row.state = FREE
        row.generation = (row.generation + 1) & GENERATIONS
        row.next = self.freeRow
        self.freeRow = number
        self.rowsInUse -= 1
        return 0

    cdef Py_ssize_t enter(
        self, uint32_t least, double seconds, size_t most, bint goOn=True
    ) except -1:
        """
        Submit what is pending, and wait.

        @param least: how many results to wait for, unless some are there.
        @param seconds: how long at most; less than 0 is for ever.
        @param most: how many of what is pending, the first come first.
        @param goOn: whether the kernel is to go on with the operations that it has.
        @return: how many of these the kernel did not take.
        """
        if self.ring < 0:
            return 0
        cdef uint32_t tail, taken, count
        cdef long done
        cdef int error
        cdef Timespec time
        cdef Waiting waiting
        memset(&waiting, 0, sizeof(waiting))
        waiting.signalsSize = SIGNALS_SIZE
        if seconds >= 0:
            time.seconds = <int64_t>seconds
            time.nanoseconds = <int64_t>((seconds - time.seconds) * 1e9)
            waiting.timeout = <uint64_t>&time
        while True:
            # Another thread may run a finalizer here that cancels something.
            most = min(most, self.pendingCount)
            tail = self.submissionTail[0]
            taken = iodemo_acquire(self.submissionHead)
            count = <uint32_t>min(self.submissionCount - (tail - taken), most)
            self.submit(tail, count)
            tail += count
            most -= count
            if (
                most
                or seconds == 0
                or self.resultHead[0] != iodemo_acquire(self.resultTail)
            ):
                least = 0
            with nogil:
                done = syscall(
                    IODEMO_ENTER,
                    self.ring,
                    tail - taken,
                    least,
                    # Operations go on only when all is submitted, what cancels them
                    # among it.
                    ENTER_EXT_ARG | (ENTER_GETEVENTS if goOn and not most else 0),
                    &waiting,
                    sizeof(waiting),
                )
                error = errno
            if done < 0:
                if error == EEXIST:
                    raise QueueRefused(
                        EEXIST,
                        "this reactor runs in another thread than it first did, "
                        "and io_uring serves the one that made it",
                    )
                if error not in (EINTR, ETIME, EAGAIN, EBUSY):
                    raise refused("io_uring_enter", error)
                # A signal; time is over; the kernel wants results fetched first.
                break
            if not most:
                break
        return most + (tail - iodemo_acquire(self.submissionHead))

    cdef void submit(self, uint32_t tail, uint32_t count) noexcept:
        """
        Copy the first of what is pending to where the kernel looks.
        """
        cdef uint32_t at = tail & self.submissionMask
        cdef uint32_t first = min(count, self.submissionCount - at)
        memcpy(&self.entries[at], self.pending, first * sizeof(Entry))
        memcpy(self.entries, &self.pending[first], (count - first) * sizeof(Entry))
        iodemo_release(self.submissionTail, tail + count)
        self.submitted += count
        self.pendingCount -= count
        if self.pendingCount:
            memmove(
                self.pending,
                &self.pending[count],
                self.pendingCount * sizeof(Entry),
            )

    cdef bint isOverflowing(self):
        """
        Whether the kernel keeps results for which there was no room.
        """
        return iodemo_acquire(self.submissionFlags) & OVERFLOWED

    cdef bint isUntold(self, uint64_t tried):
        """
        Whether the ring has a result of one of the tries up to this one. An owner that
        was called may have had the kernel deliver some for which there was no room.
        """
        cdef uint32_t at = self.resultHead[0]
        cdef uint64_t operation
        while at != iodemo_acquire(self.resultTail):
            operation = self.results[at & self.resultMask].userData
            if operation & TRIED and operation & ~TRIED < tried:
                return True
            at += 1
        return False

    cdef int tell(self) except -1:
        """
        Tell the results that are there now. One who is told may wait in turn, and
        have the rest of them told in between; or fork, and then the child has none.
        """
        cdef uint64_t made = self.ringsMade
        cdef uint32_t tail = iodemo_acquire(self.resultTail)
        cdef uint32_t head
        cdef Result result
        before = self.current
        try:
            while made == self.ringsMade:
                self.countResults()
                head = self.resultHead[0]
                if <int32_t>(tail - head) <= 0:
                    break
                result = self.results[head & self.resultMask]
                iodemo_release(self.resultHead, head + 1)
                try:
                    self.completed(result.userData, result.result, result.flags)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.err()
                # Were it the last to hold the owner, its finalizer would run while the
                # next result is looked at.
                self.current = before
        finally:
            self.current = before
        return 0

    cdef void countResults(self) noexcept:
        """
        Know of how many results each operation has in the ring.
        """
        cdef uint32_t tail = iodemo_acquire(self.resultTail)
        cdef Row *row
        while self.resultsCounted != tail:
            row = self.find(self.results[self.resultsCounted & self.resultMask].userData)
            if row is not NULL:
                row.waiting += 1
            self.resultsCounted += 1

    cdef int completed(
        self, uint64_t operation, int32_t result, uint32_t flags
    ) except -1:
        """
        Tell one result.
        """
        if operation & TRIED:
            return self.triedInVain(operation & ~TRIED, result)
        if operation == READY:
            return self.serveReady()
        if operation == WOKEN:
            self.woken = self.listening = False
            return 0
        cdef Row *row = self.find(operation)
        if row is NULL:
            if checks and operation != NOBODY:
                raise AssertionError(f"the operation {operation:#x} was over")
            return 0
        cdef int32_t number = <int32_t><uint32_t>operation
        cdef int kind = row.operation
        cdef bint cancelled = row.cancelled
        cdef uint32_t ready
        cdef bytes data
        row.waiting -= 1
        owner = self.owners[number]
        # From here on the row is read before anything is made, dropped or called.
        if kind == RECEIVE:
            if result > 0:
                data = self.takeData(operation, result, &flags)
                row = self.find(operation)
                if row is NULL:
                    pass  # only a finalizer may have done that
                elif flags & RESULT_MORE:
                    if PyBytes_GET_SIZE(data) > self.bufferBytes and not cancelled:
                        # That is more at once than a connection is to be given that
                        # may stop reading for it.
                        row.manner = BULK
                        row.small = 0
                        self.askToCancel(operation)
                elif cancelled:
                    self.over(number)
                else:
                    if flags & RESULT_NONEMPTY:
                        row.manner = BULK
                        row.small = 0
                    else:
                        row.small += row.small < FEW
                        row.manner = MULTISHOT if row.small == FEW else ONCE
                    self.receiveLater(row, operation)
                return self.give(owner, data)
            if result == -ECANCELED and not cancelled:
                return self.receiveLater(row, operation)
            if result == -ENOBUFS and not cancelled:
                row.state = IN_LINE
                self.line.append(operation)
                return 0
            if result == 0 and not cancelled:
                self.ended.add(row.descriptor)
            self.over(number)
            if not cancelled or result not in (-ECANCELED, -ENOBUFS):
                self.current = owner
                owner.receiveEnded(result)
        elif kind == SEND:
            if result == -EAGAIN and not cancelled:
                # Nobody who receives by poll has said so.
                self.ended.add(row.descriptor)
                # The kernel has nothing of it now.
                row.state = SERVED
                if self.watchAside(operation) or self.find(operation) is NULL:
                    return 0
                result = -EBADF  # closed by somebody who did not say so
            self.over(number)
            if not cancelled:
                self.current = owner
                owner.sent(result)
        elif kind == CONNECT:
            self.over(number)
            if not cancelled:
                self.current = owner
                owner.connectEnded(result)
        elif kind == POLL_ADD:
            ready = row.events | POLLERR | POLLHUP | POLLNVAL
            if cancelled:
                self.over(number)
            elif result < 0:
                self.over(number)
                self.current = owner
                owner.polled(result)
            else:
                ready &= <uint32_t>result
                row.state = SERVED
                self.current = owner
                try:
                    owner.polled(ready)
                finally:
                    # Unless it was cancelled, or this is another process.
                    row = self.find(operation)
                    if row is not NULL and row.state == SERVED:
                        self.ask(number)
        return 0

    cdef int give(self, owner, bytes data) except -1:
        """
        Tell an owner what was received.
        """
        self.current = owner
        if isinstance(owner, RingStream):
            (<RingStream>owner).take(data)
        else:
            owner.received(data)
        return 0

    cdef int triedInVain(self, uint64_t number, int32_t result) except -1:
        """
        Tell that a try did not send all.
        """
        cdef Py_ssize_t at = 2 * <Py_ssize_t>(number - self.triedBefore)
        owner, data = self.tried[at], self.tried[at + 1]
        self.current = owner
        owner.sentPart(data, result)
        return 0

    cdef int forget(self, uint64_t tried) except -1:
        """
        Of the tries up to this one everything is told.
        """
        cdef Py_ssize_t told
        if tried > self.triedBefore:
            told = 2 * <Py_ssize_t>(tried - self.triedBefore)
            self.triedBefore = tried
            PyList_SetSlice(self.tried, 0, told, NULL)
        return 0

    cdef bytes takeData(self, uint64_t operation, int32_t length, uint32_t *flags):
        """
        Copy all that the ring has of a receive, and lend the buffers again. So nothing
        is left there of a connection whose protocol stops reading for what it was given.

        @param length: of what is in the first buffer.
        @param flags: of the first result; of the last, afterwards.
        """
        cdef uint32_t first = flags[0] >> RESULT_BUFFER_SHIFT
        cdef uint32_t head = self.resultHead[0]
        cdef uint32_t left = self.rows[<uint32_t>operation].waiting
        cdef size_t size = length
        cdef Result *result
        cdef uint32_t at = head
        while left:
            result = &self.results[at & self.resultMask]
            at += 1
            if result.userData == operation:
                left -= 1
                if result.result > 0:
                    size += result.result
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        cdef char *to = PyBytes_AS_STRING(data)
        self.takeBuffer(first, to, length)
        to += length
        while head != at:
            result = &self.results[head & self.resultMask]
            head += 1
            if result.userData == operation and result.result > 0:
                self.takeBuffer(
                    result.flags >> RESULT_BUFFER_SHIFT, to, result.result
                )
                to += result.result
                flags[0] = result.flags
                self.rows[<uint32_t>operation].waiting -= 1
                result.userData = NOBODY
                result.flags = 0
        iodemo_release16(&self.buffers[0].tail, self.bufferTail)
        return data

    cdef void takeBuffer(self, uint32_t number, char *to, size_t length) noexcept:
        """
        Copy what is in a buffer, and lend the buffer again.
        """
        memcpy(
            to,
            self.bufferMemory + <size_t>number * (self.bufferBytes + BUFFER_GAP),
            length,
        )
        self.lend(number)

    cdef void lend(self, uint32_t number) noexcept:
        cdef Buffer *buffer = &self.buffers[self.bufferTail & (self.bufferCount - 1)]
        buffer.address = <uint64_t>(
            self.bufferMemory + <size_t>number * (self.bufferBytes + BUFFER_GAP)
        )
        buffer.length = self.bufferBytes
        buffer.number = number
        self.bufferTail += 1

    cdef int receiveLater(self, Row *row, uint64_t operation) except -1:
        """
        A receive had its result: its turn comes again with the next wait, or in bulk.
        """
        row.state = SERVED
        (self.bulk if row.manner == BULK else self.served).append(operation)
        return 0

    cdef int receiveAgain(self) except -1:
        """
        Ask again for the receives that had a result.
        """
        cdef uint64_t operation
        cdef Row *row
        none = []
        served, self.served = self.served, none
        for operation in served:
            row = self.find(operation)
            if row is not NULL and row.state == SERVED and self.isOpen(operation):
                self.ask(<int32_t><uint32_t>operation)
        return 0

    cdef bint isOpen(self, uint64_t operation) except -1:
        """
        Whether the socket of a receive is open still. If it is not, its number may be
        another's now, and the receive ends.
        """
        cdef int32_t number = <int32_t><uint32_t>operation
        owner = self.owners[number]
        if isinstance(owner, RingStream) and (<RingStream>owner).isClosed():
            self.over(number)
            owner.receiveEnded(-EBADF)
        return self.find(operation) is not NULL

    cdef int receiveBulk(self) except -1:
        """
        Receive once from each socket that has more.
        """
        cdef uint64_t made = self.ringsMade
        cdef size_t left = len(self.bulk)
        cdef uint64_t operation
        cdef Row *row
        before = self.current
        try:
            # An owner that is called may wait in turn, which does this for the rest.
            while left and self.bulk and made == self.ringsMade:
                left -= 1
                operation = self.bulk.popleft()
                row = self.find(operation)
                if row is NULL or row.state != SERVED:
                    continue
                try:
                    self.receiveNow(operation)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.err()
                self.current = before
        finally:
            self.current = before
        return 0

    cdef int receiveNow(self, uint64_t operation) except -1:
        """
        Receive what a socket has.
        """
        if not self.isOpen(operation):
            return 0
        cdef int32_t number = <int32_t><uint32_t>operation
        cdef bytes data = PyBytes_FromStringAndSize(NULL, BULK_BYTES)
        cdef Row *row = self.find(operation)
        if row is NULL:
            return 0
        cdef int descriptor = row.descriptor
        cdef char *to = PyBytes_AS_STRING(data)
        cdef Py_ssize_t length
        cdef int error
        owner = self.owners[number]
        with nogil:
            length = recv(descriptor, to, BULK_BYTES, MSG_DONTWAIT)
            error = errno
        if 0 < length < BULK_BYTES:
            data = data[:length]
        row = self.find(operation)
        if length > 0 or error == EAGAIN and length < 0:
            if row is not NULL:
                if length < BULK_BYTES:
                    row.manner = ONCE
                self.receiveLater(row, operation)
            return self.give(owner, data) if length > 0 else 0
        if row is not NULL:
            if length == 0:
                self.ended.add(descriptor)
            self.over(number)
            self.current = owner
            owner.receiveEnded(-error if length < 0 else 0)
        return 0

    cdef int serveLine(self) except -1:
        """
        Have as many go on receiving as there are buffers, the first come first.
        """
        cdef uint64_t operation
        cdef size_t left = min(<size_t>len(self.line), self.bufferCount)
        while left and self.line:
            left -= 1
            operation = self.line.popleft()
            self.ask(<int32_t><uint32_t>operation)
        return 0

    cdef bint watchAside(self, uint64_t operation) except -1:
        """
        Have epoll watch the descriptor of an operation, and serve the operation when
        that is ready.

        @return: whether epoll can: not a regular file, say.
        """
        there = []
        cdef Row *row = self.find(operation)
        if row is NULL:
            return True  # a finalizer has cancelled it
        cdef int descriptor = row.descriptor
        cdef uint32_t events = row.events
        try:
            if descriptor in self.aside:
                there = self.aside[descriptor]
                self.epoll.modify(descriptor, events | self.wanted(there))
            else:
                self.epoll.register(descriptor, events)
        except OSError:
            return False
        if self.find(operation) is NULL:
            return True  # likewise, in another thread; what is watched is forgotten
        self.aside[descriptor] = there
        there.append(operation)
        self.rows[<uint32_t>operation].state = ASIDE
        return True

    cdef uint32_t wanted(self, list operations):
        """
        What all of these wait for.
        """
        cdef uint64_t operation
        cdef uint32_t events = 0
        for operation in operations:
            events |= self.rows[<uint32_t>operation].events
        return events

    cdef int watchEpoll(self) except -1:
        """
        Have the ring watch the epoll.
        """
        cdef Entry *entry = self.next(POLL_ADD, self.epoll.fileno())
        entry.detail = POLLIN
        entry.userData = READY
        self.epollWatched = True
        return 0

    cdef int takeBack(self, uint64_t operation) except -1:
        """
        Forget an operation that was put aside.
        """
        cdef int descriptor = self.rows[<uint32_t>operation].descriptor
        there = self.aside[descriptor]
        there.remove(operation)
        if not there:
            del self.aside[descriptor]
        try:
            if there:
                self.epoll.modify(descriptor, self.wanted(there))
            else:
                self.epoll.unregister(descriptor)
        except OSError:
            pass  # closed by somebody who did not say so; epoll forgot it too
        return 0

    cdef int serveReady(self) except -1:
        """
        Serve the operations whose descriptors epoll reports.
        """
        self.epollWatched = False
        for descriptor, ready in self.epoll.poll(0):
            if descriptor not in self.aside:
                try:
                    self.epoll.unregister(descriptor)
                except OSError:
                    pass  # it was closed
            for operation in list(self.aside.get(descriptor, ())):
                try:
                    self.serveAside(operation, ready)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.err()
        return 0

    cdef int serveAside(self, uint64_t operation, uint32_t ready) except -1:
        """
        Tell that a descriptor is ready, or ask for a send again, unless one that was
        served before has cancelled that.
        """
        cdef int32_t number = <int32_t><uint32_t>operation
        cdef Row *row = self.find(operation)
        if row is NULL or row.state != ASIDE:
            return 0
        ready &= row.events | POLLERR | POLLHUP
        if not ready:
            return 0
        if row.operation == SEND:
            self.takeBack(operation)
            self.ask(number)
        else:
            owner = self.owners[number]
            self.current = owner
            owner.polled(ready)
        return 0

    cdef int check(self) except -1:
        """
        Hold what is counted against what is there.
        """
        # Asked before anything is counted: to make an object may run a finalizer.
        out = self.buffersOut
        cdef int32_t number
        cdef list there
        cdef size_t watched = 0
        cdef uint32_t used = 0
        cdef uint32_t aside = 0
        cdef uint32_t inLine = 0
        cdef uint32_t filled = 0
        cdef uint32_t head
        for number in range(self.rowCount):
            if self.rows[number].state != FREE:
                used += 1
                aside += self.rows[number].state == ASIDE
                inLine += self.rows[number].state == IN_LINE
                if self.owners[number] is None:
                    raise AssertionError("an operation has no owner")
        for there in self.aside.values():
            watched += len(there)
        if used != self.rowsInUse:
            raise AssertionError(f"{used} operations, counted {self.rowsInUse}")
        if aside != watched:
            raise AssertionError(f"{aside} operations aside, of {self.aside}")
        if inLine != <uint32_t>len(self.line):
            raise AssertionError(f"{inLine} operations in line, of {self.line}")
        head = self.resultHead[0]
        while head != iodemo_acquire(self.resultTail):
            filled += self.results[head & self.resultMask].flags & RESULT_BUFFER
            head += 1
        if out is not None and out != filled and not self.isOverflowing():
            raise AssertionError(f"{out} buffers out, of which {filled} have results")
        return 0

    # The ring itself.

    def open(self):
        """
        Make the ring, unless there is one. It belongs to the calling thread.

        @raise QueueRefused: if the kernel does not give one, with the reason.
        """
        if self.ring >= 0:
            return
        cdef Params params
        cdef int error
        cdef uint32_t results = self.resultsWanted
        # The kernel wants no less room for results.
        cdef uint32_t submissions = min(SUBMISSIONS, results)
        cdef long ring
        while True:
            memset(&params, 0, sizeof(params))
            params.flags = (
                SETUP_CQSIZE
                | SETUP_CLAMP
                | SETUP_SUBMIT_ALL
                | SETUP_SINGLE_ISSUER
                | SETUP_DEFER_TASKRUN
            )
            params.completions = results
            ring = syscall(IODEMO_SETUP, submissions, &params)
            if ring >= 0:
                break
            error = errno
            if error != ENOMEM or submissions <= <uint32_t>LEAST_SUBMISSIONS:
                raise refused("io_uring_setup", error)
            # Kernels count the rings as locked memory, or as the container's: less
            # may be granted.
            submissions //= 2
            results = max(results // 2, 2 * submissions)
        self.ring = ring
        self.ringsMade += 1
        try:
            self.map(&params)
            self.makeBuffers()
        except BaseException:
            self.unmap()
            raise

    cdef int map(self, Params *params) except -1:
        """
        Share the rings with the kernel.
        """
        self.ringsSize = max(
            params.submission.array + params.submissions * sizeof(uint32_t),
            params.completion.results + params.completions * sizeof(Result),
        )
        self.rings = mapped(self.ringsSize, self.ring, OFFSET_RINGS)
        self.entriesSize = params.submissions * sizeof(Entry)
        self.entries = <Entry *>mapped(self.entriesSize, self.ring, OFFSET_ENTRIES)
        cdef char *at = <char *>self.rings
        self.submissionHead = <uint32_t *>(at + params.submission.head)
        self.submissionTail = <uint32_t *>(at + params.submission.tail)
        self.submissionFlags = <uint32_t *>(at + params.submission.flags)
        self.submissionMask = params.submissions - 1
        self.submissionCount = params.submissions
        self.resultHead = <uint32_t *>(at + params.completion.head)
        self.resultTail = <uint32_t *>(at + params.completion.tail)
        self.resultMask = params.completions - 1
        self.results = <Result *>(at + params.completion.results)
        self.resultsCounted = self.resultHead[0]
        # Entries are submitted in the order of their places.
        cdef uint32_t *order = <uint32_t *>(at + params.submission.array)
        cdef uint32_t number
        for number in range(params.submissions):
            order[number] = number
        return 0

    cdef int makeBuffers(self) except -1:
        """
        Lend the buffers, as a group that receives take from.
        """
        cdef size_t ringSize = (self.bufferCount * sizeof(Buffer) + 4095) & ~4095
        self.buffersSize = ringSize + self.bufferCount * <size_t>(
            self.bufferBytes + BUFFER_GAP
        )
        self.buffers = <Buffer *>mapped(self.buffersSize, -1, 0)
        self.bufferMemory = <char *>self.buffers + ringSize
        cdef BufferRegistration registration
        memset(&registration, 0, sizeof(registration))
        registration.address = <uint64_t>self.buffers
        registration.entries = self.bufferCount
        if syscall(
            IODEMO_REGISTER, self.ring, REGISTER_BUFFER_RING, &registration, 1
        ) < 0:
            raise refused("io_uring_register", errno)
        self.bufferTail = 0
        cdef uint32_t number
        for number in range(self.bufferCount):
            self.lend(number)
        iodemo_release16(&self.buffers[0].tail, self.bufferTail)
        return 0

    cdef void tearDown(self) noexcept:
        """
        End all operations, and give the ring back. The interpreter may be ending: no
        name of a module is safe here, nor is there anyone to tell.
        """
        if self.ring < 0:
            return
        # What is pending was lent by owners who may be gone. Of what is closed, all was
        # submitted.
        self.pendingCount = 0
        cdef uint32_t tail = self.submissionTail[0]
        cdef uint32_t left = tail - iodemo_acquire(self.submissionHead)
        cdef Entry *entry = &self.entries[tail & self.submissionMask]
        if left < self.submissionCount:
            memset(entry, 0, sizeof(Entry))
            entry.opcode = ASYNC_CANCEL
            entry.descriptor = -1
            entry.detail = CANCEL_ALL | CANCEL_ANY
            iodemo_release(self.submissionTail, tail + 1)
            # In another thread the kernel refuses it, and ends the operations when the
            # ring is closed.
            syscall(IODEMO_ENTER, self.ring, left + 1, 0, ENTER_GETEVENTS, NULL, 0)
        self.unmap()

    cdef void unmap(self) noexcept:
        """
        Give back what the kernel shares with us.
        """
        if self.ring >= 0:
            sysClose(self.ring)
        if self.rings is not NULL:
            munmap(self.rings, self.ringsSize)
        if self.entries is not NULL:
            munmap(self.entries, self.entriesSize)
        if self.buffers is not NULL:
            munmap(self.buffers, self.buffersSize)
        self.ring = -1
        self.ringsMade += 1
        self.rings = NULL
        self.entries = NULL
        self.buffers = NULL

    cdef int forked(self) except -1:
        """
        In a child process, which has not the memory of the rings: whatever the
        parent asked for is the parent's.
        """
        cdef bint had = self.ring >= 0
        sysClose(self.bell)
        self.bell = -1
        self.woken = self.listening = False
        if had:
            self.rings = NULL
            self.entries = NULL
            self.buffers = NULL
            self.unmap()
        try:
            # Before owners are dropped, whose finalizers may use them. The parent's
            # epoll would report to both.
            self.bell = os.eventfd(0, os.EFD_CLOEXEC)
            self.epoll = select.epoll()
        finally:
            if had:
                self.empty()
        for descriptor, there in self.aside.items():
            self.epoll.register(descriptor, self.wanted(there))
        return 0

    cdef int empty(self) except -1:
        """
        Forget all operations.
        """
        # What the table held is dropped at the end, when it is whole.
        gone = self.owners, self.lent, self.tried, self.line, self.aside
        self.served = []
        self.bulk = deque()
        self.triedBefore += len(self.tried) // 2
        self.owners = [None] * self.rowCount
        self.lent = [None] * self.rowCount
        self.tried = []
        self.line = deque()
        self.aside = {}
        self.epollWatched = False
        self.pendingCount = 0
        cdef Row *row
        cdef int32_t number
        for number in range(self.rowCount):
            row = &self.rows[number]
            if row.state != FREE:
                row.state = FREE
                row.generation = (row.generation + 1) & GENERATIONS
                row.next = self.freeRow
                self.freeRow = number
        self.rowsInUse = 0
        return 0


classImplements(RingQueue, ICompletionQueue)


def _forked():
    # A finalizer must not find a queue before it knows.
    collects = gc.isenabled()
    gc.disable()
    cdef RingQueue queue
    for queue in list(queues):
        try:
            queue.forked()
        except Exception:
            log.err()
    if collects:
        gc.enable()


os.register_at_fork(after_in_child=_forked)


cdef void *mapped(size_t length, int descriptor, uint64_t offset) except NULL:
    """
    Memory shared with the kernel, which a child process has no part in.
    """
    cdef int flags = MAP_SHARED | MAP_POPULATE
    if descriptor < 0:
        flags = MAP_PRIVATE | MAP_ANONYMOUS
    cdef void *at = mmap(
        NULL, length, PROT_READ | PROT_WRITE, flags, descriptor, offset
    )
    if at == MAP_FAILED:
        raise refused("mmap", errno)
    madvise(at, length, MADV_DONTFORK)
    return at


cdef refused(str call, int number):
    """
    Why there is no ring.
    """
    said = f"io_uring: {call} says {errorcode.get(number, number)}"
    if number == ENOMEM:
        said += (
            ", memory that may be locked, or memory at all, is used up: raise it with "
            "'ulimit -l' or LimitMEMLOCK, or set IODEMO_URING_BUFFERS, "
            "IODEMO_URING_BUFFER_KIB and IODEMO_URING_RESULTS lower"
        )
    else:
        said += f" ({os.strerror(number)}); see iodemo doctor"
    return QueueRefused(number, said)


cdef bytes messageOf(list pieces, Py_ssize_t offset, passed):
    """
    Pieces as the kernel has them: struct msghdr, behind it an array of iovec, and
    behind that a descriptor to be passed.
    """
    cdef Py_ssize_t count = len(pieces), number
    if not count:
        raise ValueError("there is nothing to send")
    cdef size_t size = sizeof(msghdr) + count * sizeof(iovec)
    cdef cmsghdr *header
    cdef bytes described = PyBytes_FromStringAndSize(
        NULL, size + (0 if passed is None else CMSG_SPACE(sizeof(int)))
    )
    cdef msghdr *message = <msghdr *>PyBytes_AS_STRING(described)
    cdef iovec *vector = <iovec *>(message + 1)
    cdef bytes piece
    memset(message, 0, sizeof(msghdr))
    message.msg_iov = vector
    message.msg_iovlen = count
    for number in range(count):
        piece = pieces[number]
        vector[number].iov_base = PyBytes_AS_STRING(piece)
        vector[number].iov_len = PyBytes_GET_SIZE(piece)
    vector[0].iov_base = <char *>vector[0].iov_base + offset
    vector[0].iov_len -= offset
    if passed is not None:
        header = <cmsghdr *>(<char *>message + size)
        header.cmsg_level = SOL_SOCKET
        header.cmsg_type = SCM_RIGHTS
        header.cmsg_len = CMSG_LEN(sizeof(int))
        (<int *>CMSG_DATA(header))[0] = passed
        message.msg_control = header
        message.msg_controllen = header.cmsg_len
    return described


cdef bytes packed(address):
    """
    An address as the kernel has it: struct sockaddr_in, sockaddr_in6 or sockaddr_un.
    """
    if not isinstance(address, tuple):
        path = os.fsencode(address)
        if len(path) >= UNIX_PATH + path.startswith(b"\0"):
            raise OSError("AF_UNIX path too long")  # as the module socket says it
        return struct.pack("=H", socket.AF_UNIX) + path
    host, port = address[:2]
    if not 0 <= port <= 65535:
        # As socket.connect_ex says it.
        raise OverflowError("connect_ex(): port must be 0-65535.")
    if len(address) == 4:
        host = host.partition("%")[0]
        flow, scope = address[2:]
        return struct.pack(
            "=H2s4s16sI",
            socket.AF_INET6,
            port.to_bytes(2, "big"),
            flow.to_bytes(4, "big"),
            socket.inet_pton(socket.AF_INET6, host),
            scope,
        )
    try:
        number = socket.inet_aton(host)
    except OSError:
        number = socket.inet_aton(socket.gethostbyname(host))
    return struct.pack("=H2s4s8x", socket.AF_INET, port.to_bytes(2, "big"), number)


cdef class RingStream:
    """
    What a connection does for every exchange, without an interpreter: the first base
    of a transport whose other bases are in Python. Everything unusual is left to them.

    These are attributes of L{iodemo.completion.tcp.StreamMixin} and of Twisted's
    transports, where they are described.
    """

    cdef public object reactor
    cdef public object protocol
    cdef public object producer
    cdef public object _kept
    cdef public object _receiving
    cdef public object _sending
    cdef public object _pieces
    cdef public bint connected
    cdef public bint disconnected
    cdef public bint disconnecting
    cdef public bint producerPaused
    cdef public bint streamingProducer
    cdef public bint reading
    cdef public bint writing
    cdef public bint TLS
    cdef public bint _aborting
    cdef public bint _writeDisconnected
    cdef public bint _writeDisconnecting
    cdef public int descriptor
    cdef public Py_ssize_t _tempDataLen
    cdef public Py_ssize_t _piecesLength
    cdef public Py_ssize_t offset
    cdef public list _tempDataBuffer

    cdef bint isClosed(self) except -1:
        """
        Whether the socket was closed by somebody who did not say so.
        """
        return self.fileno() != self.descriptor

    cdef int take(self, bytes data) except -1:
        if self.reading and self._kept is None:
            try:
                self.protocol.dataReceived(data)
            except BaseException:
                self.failed(True)
        else:
            self._keep(data)
        return 0

    def received(self, bytes data not None):
        """See L{StreamMixin.received}."""
        self.take(data)

    def write(self, data):
        """See L{ITransport.write}."""
        if type(data) is not bytes or self.TLS:
            super(RingStream, self).write(data)
            return
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        if not length or not self.connected or self._writeDisconnected:
            return
        self._tempDataBuffer.append(data)
        self._tempDataLen += length
        # First this: what the producer does may fail.
        if not self.writing:
            self.writing = True
            self.reactor.unsent.append(self)
        if self.producer is not None:
            self._maybePauseProducer()

    def sendWritten(self):
        """See L{StreamMixin.sendWritten}."""
        cdef RingQueue queue
        if (
            self._tempDataLen == 0
            or len(self._tempDataBuffer) != 1
            or type(self._tempDataBuffer[0]) is not bytes
            or (
                self.producer is not None
                and (self.producerPaused or not self.streamingProducer)
            )
            or self._sending is not None
            or self.disconnected
            or self.disconnecting
            or self._aborting
            or self._writeDisconnecting
        ):
            super(RingStream, self).sendWritten()
            return
        queue = self.reactor.queue
        data = self._tempDataBuffer.pop()
        self._tempDataLen = 0
        self.writing = False
        queue.tryToSend(self, self.descriptor, data)
