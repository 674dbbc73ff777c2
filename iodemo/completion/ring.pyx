# -*- test-case-name: tests.test_completion -*-
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=False
"""
A completion queue on io_uring, driven by its system calls alone. The words that are
used here are defined in L{iodemo.completion}.

Facts (io_uring_setup(2), io_uring_enter(2), io_uring_register(2); structures and
constants are those of the kernel's include/uapi/linux/io_uring.h).

  - The process shares two rings with the kernel. Each entry of the submission queue
    (SQE) requests an operation; each entry of the completion queue (CQE) carries a
    result. One io_uring_enter submits any number of SQEs and waits for CQEs.
  - The kernel tries an operation while it submits it. If the operation would block, the
    kernel polls the socket internally, and finishes the operation when it is ready.
  - A receive can take its buffer from a buffer ring that all connections share. The
    kernel takes one only when there is data, so an idle connection holds none. When the
    buffer ring is empty, the receive ends with ENOBUFS.
  - A multishot receive posts a CQE for each arrival, until it is cancelled or a CQE
    comes without IORING_CQE_F_MORE. If a socket has more than one buffer holds, the
    kernel posts up to 32 CQEs each time it runs the receive, and may run it again
    before the program sees the first (observed: 64 CQEs, 2 MiB).
    IORING_CQE_F_SOCK_NONEMPTY in a CQE means that the socket has more.
  - With IORING_SETUP_DEFER_TASKRUN and IORING_SETUP_SINGLE_ISSUER (6.1) the kernel
    finishes operations only inside io_uring_enter with IORING_ENTER_GETEVENTS, in the
    one thread that may submit. So nothing interrupts the program, and CQEs come in
    batches. The SQEs of the same call are submitted first. So a receive that is
    cancelled takes no more from its socket, though its cancellation is submitted later.
  - A connection that an accept in the kernel has taken from the listen queue cannot be
    put back. A multishot accept cannot return the peer's address, and getpeername(2)
    fails once the peer has reset the connection.
  - With IOSQE_CQE_SKIP_SUCCESS an operation posts a CQE only if it fails.
  - The kernel's internal poll also ends at EPOLLRDHUP, requested or not: a half-closed
    socket is always ready to it. A send that would block there is retried at once, 128
    times, and then passed to a worker thread. In that thread IORING_OP_SEND blocks, but
    IORING_OP_SENDMSG obeys O_NONBLOCK and fails with EAGAIN (io_uring/poll.c; observed
    on 6.18). epoll does not report EPOLLRDHUP unless it was requested.
  - A multishot poll reports a change (an edge), not what remains (observed: of two
    bytes in a pipe the second was not reported).
  - close(2) does not end operations on the descriptor: they hold the file open.
  - When the completion queue is full, the kernel keeps further CQEs in an overflow
    list. It posts them when there is room and io_uring_enter requests CQEs.

Decisions.

  - Batches. SQEs are collected in memory of this process, and L{RingQueue.wait} submits
    them: one io_uring_enter an iteration, and one more for a C{close}. So the ring can
    be made late: by the thread that waits, after the process has become a daemon and
    has changed its user.
  - Slots. Each operation has a slot in a table, and each use of a slot has a new
    generation. The user_data of its CQEs holds both, so a late CQE, whose generation is
    old, is ignored. Memory that the kernel may read (bytes to send, addresses) is kept
    alive until the operation ends.
  - One delivery. The data of all CQEs of a receive that are in the ring is delivered as
    one C{bytes}. When the protocol pauses because of it, the ring has no more data of
    that connection. The rest stays in the socket, where another process can read it.
  - Three receive modes. A receive starts as single-shot. It becomes multishot when a
    CQE has left nothing in the socket. It becomes bulk when a socket has more than one
    CQE carries, because a protocol that pauses has to keep what one delivery contains.
    In bulk mode each wait calls recv(2) once, for up to 64 KiB, as Twisted's reactors
    do. The memory is what the connection before has just freed, so it is in the
    processor's cache; the memory of many receives submitted together is not.
  - Buffers. Data is copied out of its buffer when it is delivered, and the buffer goes
    back to the buffer ring at once. Starved receives are submitted again in order.
  - Ports. A port polls, and calls accept(2) when it is ready. So a port that stops
    leaves the other connections in the listen queue.
  - Polls. A poll is parked on an epoll descriptor, which the ring polls. In the ring it
    would hold the file open until a call that also lets the kernel finish all other
    operations. Only regular files, which epoll refuses, are polled by the ring: once,
    and again after the owner's callback.
  - Half-closed sockets. A blocked send would spin on EPOLLRDHUP there, so it is parked
    on the same epoll descriptor.
  - Order of sends. A short send is reported before its connection writes more, so no
    byte overtakes another.
  - Closing. A close is an SQE behind those that were submitted before. It is submitted
    at once, but without IORING_ENTER_GETEVENTS: otherwise the kernel would receive
    data of connections that the same callback may be about to pause. So a socket whose
    receive was cancelled since the last wait is closed by the next one. Its peer sees
    the end earlier, because of shutdown(2).
  - Waking. C{wake} writes to an eventfd that the ring reads. So the loop makes no
    system call to be woken.
  - Dispatching. A callback runs as soon as its CQE is taken from the ring, below
    C{wait}; there is no list of results to be dispatched later. For a callback may
    cancel other operations, close their descriptors, fork, or call C{wait} itself
    (C{reactor.iterate}). Such a list would be wrong after each of these. The ring is
    right: an operation is looked up just before its callback, and the head of the
    completion queue is advanced before, so a nested wait goes on with the next CQE.
  - Finalizers. Python code may run whenever an object is created (a garbage collection)
    or dropped (a finalizer), and it may use the queue. So the table is consistent at
    each such place, and pointers into it are read again afterwards.
  - The interpreter lock (GIL). In a free-threaded CPython without it, a finalizer could
    use the queue in another thread at any moment. So this module does not declare that
    it supports that: CPython enables the lock when it imports the module, and warns.
    Where the user has forbidden the lock, the import fails with the reason.

Costs.

  - Memory, whatever the load: 8 MiB of buffers, 332 KiB of rings.
  - A copy of all data that is received through a buffer.
  - A system call for each 64 KiB received in bulk, for each connection closed and for
    each accepted; epoll_ctl and epoll_wait for polls.
  - The ring serves one thread.
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
import sys
import weakref
from collections import deque
from errno import errorcode

from twisted.python import log
from zope.interface import classImplements

from iodemo.completion.interfaces import ICompletionQueue, QueueRefused

# CPython has enabled the lock by now, unless it must not.
if hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled():
    raise ImportError(
        "its extension needs the interpreter lock, and PYTHON_GIL=0 or -X gil=0 forbids "
        "that: leave it out, and Python enables the lock, or choose --reactor=proactor"
    )

cdef extern from "Python.h":
    # This makes no slice object, so no garbage collection runs. The items that it
    # removes are dropped after the list has been changed.
    int PyList_SetSlice(object, Py_ssize_t, Py_ssize_t, void *) except -1

cdef extern from *:
    """
    #include <errno.h>
    #include <poll.h>
    #include <stddef.h>
    #include <stdint.h>
    #include <sys/mman.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <unistd.h>

    /* Every architecture has these numbers but alpha and mips, which the reactor
       refuses. */
    #define NR_IO_URING_SETUP 425
    #define NR_IO_URING_ENTER 426
    #define NR_IO_URING_REGISTER 427

    #define iodemo_acquire(at) __atomic_load_n((at), __ATOMIC_ACQUIRE)
    #define iodemo_release(at, value) \
        __atomic_store_n((at), (value), __ATOMIC_RELEASE)

    /* The structures of include/uapi/linux/io_uring.h, with the kernel's field names.
       That header is not included: it may be missing, or older than the kernel. */

    typedef struct {  /* struct io_uring_sqe */
        uint8_t opcode;
        uint8_t flags;
        uint16_t ioprio;
        int32_t fd;
        uint64_t off;
        uint64_t addr;
        uint32_t len;
        union {
            uint32_t poll32_events;
            uint32_t msg_flags;
            uint32_t cancel_flags;
        };
        uint64_t user_data;
        uint16_t buf_group;
        uint16_t personality;
        int32_t file_index;
        uint64_t addr3;
        uint64_t pad2[1];
    } Sqe;

    typedef struct {  /* struct io_uring_cqe */
        uint64_t user_data;
        int32_t res;
        uint32_t flags;
    } Cqe;

    typedef struct {  /* struct io_sqring_offsets */
        uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
        uint64_t user_addr;
    } SqOffsets;

    typedef struct {  /* struct io_cqring_offsets */
        uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
        uint64_t user_addr;
    } CqOffsets;

    typedef struct {  /* struct io_uring_params */
        uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle;
        uint32_t features, wq_fd, resv[3];
        SqOffsets sq_off;
        CqOffsets cq_off;
    } Params;

    typedef struct {  /* struct io_uring_buf */
        uint64_t addr;
        uint32_t len;
        uint16_t bid;
        uint16_t resv;
    } Buf;

    typedef struct {  /* struct io_uring_buf_ring: the tail lies in the first Buf */
        uint64_t resv1;
        uint32_t resv2;
        uint16_t resv3;
        uint16_t tail;
    } BufRing;

    typedef struct {  /* struct io_uring_buf_reg */
        uint64_t ring_addr;
        uint32_t ring_entries;
        uint16_t bgid;
        uint16_t flags;
        uint64_t resv[3];
    } BufReg;

    typedef struct {  /* struct io_uring_buf_status */
        uint32_t buf_group;
        uint32_t head;
        uint32_t resv[8];
    } BufStatus;

    typedef struct {  /* struct __kernel_timespec */
        int64_t tv_sec;
        int64_t tv_nsec;
    } Timespec;

    typedef struct {  /* struct io_uring_getevents_arg */
        uint64_t sigmask;
        uint32_t sigmask_sz;
        uint32_t min_wait_usec;
        uint64_t ts;
    } GeteventsArg;

    #define IODEMO_SIZE(type, bytes) \
        _Static_assert(sizeof(type) == (bytes), "size of " #type)
    #define IODEMO_OFFSET(type, field, bytes) \
        _Static_assert( \
            offsetof(type, field) == (bytes), "offset of " #field " in " #type)

    IODEMO_SIZE(Sqe, 64);
    IODEMO_OFFSET(Sqe, opcode, 0);
    IODEMO_OFFSET(Sqe, flags, 1);
    IODEMO_OFFSET(Sqe, ioprio, 2);
    IODEMO_OFFSET(Sqe, fd, 4);
    IODEMO_OFFSET(Sqe, off, 8);
    IODEMO_OFFSET(Sqe, addr, 16);
    IODEMO_OFFSET(Sqe, len, 24);
    IODEMO_OFFSET(Sqe, poll32_events, 28);
    IODEMO_OFFSET(Sqe, msg_flags, 28);
    IODEMO_OFFSET(Sqe, cancel_flags, 28);
    IODEMO_OFFSET(Sqe, user_data, 32);
    IODEMO_OFFSET(Sqe, buf_group, 40);
    IODEMO_SIZE(Cqe, 16);
    IODEMO_OFFSET(Cqe, user_data, 0);
    IODEMO_OFFSET(Cqe, res, 8);
    IODEMO_OFFSET(Cqe, flags, 12);
    IODEMO_SIZE(SqOffsets, 40);
    IODEMO_OFFSET(SqOffsets, head, 0);
    IODEMO_OFFSET(SqOffsets, tail, 4);
    IODEMO_OFFSET(SqOffsets, flags, 16);
    IODEMO_OFFSET(SqOffsets, array, 24);
    IODEMO_SIZE(CqOffsets, 40);
    IODEMO_OFFSET(CqOffsets, head, 0);
    IODEMO_OFFSET(CqOffsets, tail, 4);
    IODEMO_OFFSET(CqOffsets, cqes, 20);
    IODEMO_SIZE(Params, 120);
    IODEMO_OFFSET(Params, sq_entries, 0);
    IODEMO_OFFSET(Params, cq_entries, 4);
    IODEMO_OFFSET(Params, flags, 8);
    IODEMO_OFFSET(Params, sq_off, 40);
    IODEMO_OFFSET(Params, cq_off, 80);
    IODEMO_SIZE(Buf, 16);
    IODEMO_OFFSET(Buf, addr, 0);
    IODEMO_OFFSET(Buf, len, 8);
    IODEMO_OFFSET(Buf, bid, 12);
    IODEMO_SIZE(BufRing, 16);
    IODEMO_OFFSET(BufRing, tail, 14);
    IODEMO_SIZE(BufReg, 40);
    IODEMO_OFFSET(BufReg, ring_addr, 0);
    IODEMO_OFFSET(BufReg, ring_entries, 8);
    IODEMO_OFFSET(BufReg, bgid, 12);
    IODEMO_SIZE(BufStatus, 40);
    IODEMO_OFFSET(BufStatus, head, 4);
    IODEMO_SIZE(Timespec, 16);
    IODEMO_OFFSET(Timespec, tv_sec, 0);
    IODEMO_OFFSET(Timespec, tv_nsec, 8);
    IODEMO_SIZE(GeteventsArg, 24);
    IODEMO_OFFSET(GeteventsArg, sigmask_sz, 8);
    IODEMO_OFFSET(GeteventsArg, ts, 16);
    """
    const int NR_IO_URING_SETUP, NR_IO_URING_ENTER, NR_IO_URING_REGISTER
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
    # The fields that are used here.
    ctypedef struct Sqe:
        uint8_t opcode
        uint8_t flags
        uint16_t ioprio
        int32_t fd
        uint64_t off
        uint64_t addr
        uint32_t len
        uint32_t poll32_events
        uint32_t msg_flags
        uint32_t cancel_flags
        uint64_t user_data
    ctypedef struct Cqe:
        uint64_t user_data
        int32_t res
        uint32_t flags
    ctypedef struct SqOffsets:
        uint32_t head, tail, flags, array
    ctypedef struct CqOffsets:
        uint32_t head, tail, cqes
    ctypedef struct Params:
        uint32_t sq_entries, cq_entries, flags
        SqOffsets sq_off
        CqOffsets cq_off
    ctypedef struct Buf:
        uint64_t addr
        uint32_t len
        uint16_t bid
    ctypedef struct BufRing:
        uint16_t tail
    ctypedef struct BufReg:
        uint64_t ring_addr
        uint32_t ring_entries
    ctypedef struct BufStatus:
        uint32_t head
    ctypedef struct Timespec:
        int64_t tv_sec
        int64_t tv_nsec
    ctypedef struct GeteventsArg:
        uint32_t sigmask_sz
        uint64_t ts

cdef enum:
    # Of include/uapi/linux/io_uring.h.
    IORING_OP_NOP = 0
    IORING_OP_POLL_ADD = 6
    IORING_OP_SENDMSG = 9
    IORING_OP_ASYNC_CANCEL = 14
    IORING_OP_CONNECT = 16
    IORING_OP_CLOSE = 19
    IORING_OP_READ = 22
    IORING_OP_SEND = 26
    IORING_OP_RECV = 27

    IORING_SETUP_CQSIZE = 1 << 3
    IORING_SETUP_CLAMP = 1 << 4
    IORING_SETUP_SUBMIT_ALL = 1 << 7
    IORING_SETUP_SINGLE_ISSUER = 1 << 12
    IORING_SETUP_DEFER_TASKRUN = 1 << 13

    IORING_ENTER_GETEVENTS = 1 << 0
    IORING_ENTER_EXT_ARG = 1 << 3

    IORING_REGISTER_PBUF_RING = 22
    IORING_REGISTER_PBUF_STATUS = 26  # since Linux 6.8

    IORING_OFF_SQ_RING = 0
    IORING_OFF_SQES = 0x10000000
    IORING_SQ_CQ_OVERFLOW = 1 << 1  # in the flags of the submission queue

    IOSQE_BUFFER_SELECT = 1 << 5
    IOSQE_CQE_SKIP_SUCCESS = 1 << 6
    IORING_RECV_MULTISHOT = 1 << 1
    IORING_ASYNC_CANCEL_ALL = 1 << 0
    IORING_ASYNC_CANCEL_ANY = 1 << 2

    IORING_CQE_F_BUFFER = 1 << 0
    IORING_CQE_F_MORE = 1 << 1
    IORING_CQE_F_SOCK_NONEMPTY = 1 << 2
    IORING_CQE_BUFFER_SHIFT = 16

    # Our own: the state of a slot.
    FREE = 0  # it has no operation
    ISSUED = 1  # its SQE is pending, or the kernel has the operation
    IDLE = 2  # the kernel has no operation, but will get it again
    STARVED = 3  # its receive ended with ENOBUFS
    PARKED = 4  # epoll watches its descriptor

    # The modes of a receive.
    SINGLE_SHOT = 0  # one CQE, when there is data
    MULTISHOT = 1  # a CQE for each arrival
    BULK = 2  # recv(2) once a wait

    # After so many CQEs in succession that left the socket empty, a receive becomes
    # multishot. A new receive needs only one.
    MULTISHOT_AFTER = 8
    # How much one recv(2) receives in bulk mode: Twisted's bufferSize.
    BULK_BYTES = 64 * 1024

    # The kernel sends at most about 2 GiB in one operation. A longer sendNow is cut to
    # this length and always reported as short.
    MAX_SEND_NOW = 0x40000000
    SQ_ENTRIES = 1024
    MIN_SQ_ENTRIES = 32
    MIN_PENDING = 256
    MIN_SLOTS = 64
    # Buffers that lie a whole number of pages apart would all compete for the same
    # lines of the processor's cache.
    BUFFER_GAP = 64
    SIGSET_SIZE = 8
    SUN_PATH_SIZE = 108  # of struct sockaddr_un

# Values of user_data that name no slot.
cdef uint64_t IGNORED_USER_DATA = <uint64_t>0x7FFFFFFF
cdef uint64_t EPOLL_USER_DATA = <uint64_t>0x7FFFFFFE
cdef uint64_t WAKE_USER_DATA = <uint64_t>0x7FFFFFFD
# With this bit, the rest of user_data is the number of a sendNow.
cdef uint64_t SEND_NOW_BIT = <uint64_t>1 << 63
cdef uint32_t GENERATION_MASK = 0x7FFFFFFF

cdef struct OpSlot:
    uint64_t sqeNumber  # of its last SQE; the first SQE of the queue has number 0
    uint32_t generation
    int32_t nextFree
    int32_t descriptor
    uint32_t events
    uint8_t operation  # IORING_OP_...
    uint8_t state
    uint8_t cancelled  # only data is still delivered
    uint8_t receiveMode
    uint8_t drained  # how many CQEs in succession left the socket empty
    uint32_t unreaped  # how many of its CQEs are in the ring

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

    # The ring, and its memory.
    cdef int ringFd  # -1 while there is no ring
    cdef uint64_t ringChanges  # counted up when a ring is made, and when it is closed
    cdef void *ringMemory
    cdef size_t ringSize
    cdef Sqe *sqes
    cdef size_t sqesSize
    cdef uint32_t *sqHead
    cdef uint32_t *sqTail
    cdef uint32_t *sqFlags
    cdef uint32_t sqMask
    cdef uint32_t sqEntries
    cdef uint32_t *cqHead
    cdef uint32_t *cqTail
    cdef uint32_t cqMask
    cdef Cqe *cqes
    cdef uint32_t cqEntriesWanted
    cdef uint32_t cqesCounted  # the CQEs before this are counted in OpSlot.unreaped
    cdef uint64_t overflows  # how often the overflow list had CQEs after a wait

    # The buffer ring, and the memory of the buffers. Only this process writes the
    # buffer ring; the kernel reads it.
    cdef Buf *bufs
    cdef char *bufferMemory
    cdef size_t bufferMapSize
    cdef uint32_t bufferCount
    cdef uint32_t bufferBytes
    cdef uint16_t bufRingTail
    cdef object starved  # operations, in the order in which they starved
    cdef uint64_t starvations  # how often a receive has starved
    cdef list toRearm  # receives that ended and are to be submitted again
    cdef object bulk  # receives in bulk mode

    # The epoll object, and the operations parked on it.
    cdef dict epollParked  # lists of operations, by descriptor
    cdef object epoll
    cdef bint epollPolled  # the ring polls it
    cdef set halfClosed  # descriptors of half-closed sockets

    # An eventfd, which wake writes and the ring reads.
    cdef int wakeFd
    cdef bint wakeWritten  # wake has written it, and the ring has not read it
    cdef bint wakeArmed  # the ring has the operation that reads it
    cdef uint64_t wakeValue  # what was read; never used

    # SQEs that are not submitted yet.
    cdef Sqe *pending
    cdef size_t pendingCount
    cdef size_t pendingCapacity
    cdef uint64_t submittedCount  # of all SQEs since the queue was made

    # The table of operations. Two lists beside it have an item for each slot.
    cdef OpSlot *slots
    cdef int32_t slotCount
    cdef int32_t freeSlots  # the first of a linked list, or -1
    cdef uint32_t slotsInUse
    cdef list owners
    cdef list keepalive  # objects whose memory the kernel may read

    # Each sendNow of this iteration. They have no slots.
    cdef list sentNow  # owner and data, alternating
    cdef uint64_t sentNowDropped  # how many there were before the first in the list

    def __cinit__(self, uint32_t buffers, uint32_t bufferBytes, uint32_t results):
        self.ringFd = -1
        self.wakeFd = -1
        self.freeSlots = -1
        self.bufferCount = buffers
        self.bufferBytes = bufferBytes
        self.cqEntriesWanted = results
        self.starved = deque()
        self.toRearm = []
        self.bulk = deque()
        self.epollParked = {}
        self.halfClosed = set()
        self.owners = []
        self.keepalive = []
        self.sentNow = []
        self.pendingCapacity = MIN_PENDING
        self.pending = <Sqe *>malloc(MIN_PENDING * sizeof(Sqe))
        if self.pending is NULL:
            raise MemoryError()
        self.wakeFd = os.eventfd(0, os.EFD_CLOEXEC)
        self.epoll = select.epoll()

    def __init__(self, buffers, bufferBytes, results):
        """
        @param buffers: how many buffers the buffer ring has, a power of two.
        @param bufferBytes: the size of each.
        @param results: how many entries the completion queue has, a power of two.
        """
        queues.add(self)

    def __del__(self):
        # The kernel must stop before the garbage collector frees memory that it uses.
        self.tearDown()

    def __dealloc__(self):
        if self.wakeFd >= 0:
            sysClose(self.wakeFd)
        free(self.pending)
        free(self.slots)

    # ICompletionQueue

    def connect(self, owner, int descriptor, address):
        """See L{ICompletionQueue.connect}."""
        return self.begin(
            IORING_OP_CONNECT, owner, descriptor, packAddress(address), 0
        )

    def receive(self, owner, int descriptor):
        """See L{ICompletionQueue.receive}."""
        return self.begin(IORING_OP_RECV, owner, descriptor, None, 0)

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
            IORING_OP_SENDMSG,
            owner,
            descriptor,
            (packMessage(pieces, offset, passed), pieces),
            POLLOUT,
        )

    def sendNow(self, owner, int descriptor, bytes data not None):
        """See L{ICompletionQueue.sendNow}."""
        self.issueSendNow(owner, descriptor, data)

    def poll(self, owner, int descriptor, uint32_t events):
        """See L{ICompletionQueue.poll}."""
        cdef int32_t number = self.takeSlot(
            IORING_OP_POLL_ADD, owner, descriptor, None, events
        )
        cdef uint64_t operation = self.operationOf(number)
        if not self.park(operation) and self.slotOf(operation) is not NULL:
            self.issue(number)
        return operation

    def cancel(self, uint64_t operation):
        """See L{ICompletionQueue.cancel}."""
        cdef OpSlot *slot = self.slotOf(operation)
        if slot is NULL or slot.cancelled:
            return
        cdef int32_t number = <int32_t><uint32_t>operation
        if slot.state == ISSUED and slot.sqeNumber < self.submittedCount:
            slot.cancelled = True
            self.issueCancel(operation)
            return
        # The kernel does not have this operation.
        if slot.state == ISSUED:
            self.dropSqe(slot.sqeNumber - self.submittedCount)
        elif slot.state == STARVED:
            self.starved.remove(operation)
        elif slot.state == PARKED:
            self.unpark(operation)
        self.freeSlot(number)

    def close(self, int descriptor):
        """See L{ICompletionQueue.close}."""
        self.halfClosed.discard(descriptor)
        if self.ringFd < 0 or not self.pendingCount:
            sysClose(descriptor)
            return
        # The pending SQEs come first: some are for this descriptor, or cancel such
        # operations. With IORING_ENTER_GETEVENTS the kernel would receive data of
        # connections that the caller may be about to pause.
        self.nextSqe(IORING_OP_CLOSE, descriptor).flags = IOSQE_CQE_SKIP_SUCCESS
        self.enter(0, 0, self.pendingCount, getEvents=False)

    def wait(self, timeout):
        """See L{ICompletionQueue.wait}."""
        # One iteration of the event loop: submit, wait, dispatch.
        if self.ringFd < 0:
            self.open()
        cdef double seconds = -1 if timeout is None else max(0, timeout)
        if self.starved or self.bulk:
            # A starved receive that was submitted again may find no data, so no CQE
            # would end the wait for the others.
            seconds = 0
        if not self.wakeArmed:
            self.armWake()
        if self.epollParked and not self.epollPolled:
            self.pollEpoll()
        if self.toRearm:
            self.rearmReceives()
        cdef uint64_t changes = self.ringChanges
        cdef uint64_t sendNowCount = self.sentNowDropped + len(self.sentNow) // 2
        # SQEs that callbacks add are left to the next wait: they may never end.
        cdef size_t left = self.enter(1, seconds, self.pendingCount)
        self.reapCqes()
        # A callback may fork. In the child process the ring is gone, and its CQEs.
        while changes == self.ringChanges and (
            left or self.isOverflowing() or self.hasUnreapedSends(sendNowCount)
        ):
            self.overflows += self.isOverflowing()
            left = self.enter(0, 0, left)
            self.reapCqes()
        if changes != self.ringChanges:
            return
        self.dropSentNow(sendNowCount)
        if self.bulk:
            self.receiveBulk()
            if changes != self.ringChanges:
                return
        if self.starved:
            self.rearmStarved()
        if checks:
            self.checkInvariants()

    def wake(self):
        """See L{ICompletionQueue.wake}."""
        if not self.wakeWritten:
            self.wakeWritten = True
            os.eventfd_write(self.wakeFd, 1)

    def statistics(self):
        """
        See L{ICompletionQueue.statistics}. The numbers of the ring are:

          - C{buffers}, C{buffersOut}: how many buffers there are, and how many are not
            in the buffer ring. Between two waits none should be out.
          - C{completionEntries}: the size of the completion queue; 0 without a ring.
          - C{overflows}: how often results did not fit into it after a wait.
          - C{parked}: how many descriptors epoll watches.
          - C{starved}, C{starvations}: how many receives wait for a buffer, and how
            often one has.
        """
        return {
            "buffers": self.bufferCount,
            "buffersOut": self.buffersOut if self.ringFd >= 0 else 0,
            "completionEntries": self.cqMask + 1 if self.ringFd >= 0 else 0,
            "operations": self.slotsInUse,
            "overflows": self.overflows,
            "parked": len(self.epollParked),
            "starvations": self.starvations,
            "starved": len(self.starved),
        }

    # For tests

    @property
    def inFlight(self):
        """
        The number of operations that have not ended.
        """
        return self.slotsInUse

    @property
    def buffersOut(self):
        """
        The number of buffers that are not in the buffer ring: the kernel has taken
        them, and they were not given back. C{None} before Linux 6.8, which cannot
        report it.
        """
        cdef BufStatus status
        memset(&status, 0, sizeof(status))
        if syscall(
            NR_IO_URING_REGISTER, self.ringFd, IORING_REGISTER_PBUF_STATUS, &status, 1
        ) < 0:
            return None
        return self.bufferCount - <uint16_t>(self.bufRingTail - <uint16_t>status.head)

    # Slots

    cdef int32_t takeSlot(
        self, int operation, owner, int descriptor, keepalive, uint32_t events
    ) except -1:
        """
        Take a free slot for an operation.

        @param keepalive: the object whose memory the kernel may read.
        """
        # In this order: adding slots may run a finalizer, which may add an SQE.
        if self.freeSlots < 0:
            self.addSlots()
        self.reservePending()
        cdef int32_t number = self.freeSlots
        cdef OpSlot *slot = &self.slots[number]
        self.freeSlots = slot.nextFree
        self.slotsInUse += 1
        slot.operation = operation
        slot.state = IDLE
        slot.descriptor = descriptor
        slot.events = events
        slot.cancelled = False
        slot.receiveMode = SINGLE_SHOT
        slot.drained = MULTISHOT_AFTER - 1
        slot.unreaped = 0
        # These replace None, so no finalizer runs.
        self.owners[number] = owner
        self.keepalive[number] = keepalive
        return number

    cdef int addSlots(self) except -1:
        """
        Enlarge the table, which has no free slot.
        """
        # Creating a list may run a finalizer, which may enlarge the table itself.
        cdef list none = [None] * max(<int32_t>MIN_SLOTS, self.slotCount)
        if self.freeSlots >= 0:
            return 0
        cdef int32_t count = self.slotCount + <int32_t>len(none)
        cdef OpSlot *slots = <OpSlot *>realloc(self.slots, count * sizeof(OpSlot))
        if slots is NULL:
            raise MemoryError()
        self.slots = slots
        self.owners.extend(none)
        self.keepalive.extend(none)
        cdef int32_t number
        for number in range(count - 1, self.slotCount - 1, -1):
            slots[number].generation = 0
            slots[number].state = FREE
            slots[number].nextFree = self.freeSlots
            self.freeSlots = number
        self.slotCount = count
        return 0

    cdef uint64_t operationOf(self, int32_t number) noexcept:
        """
        The number of the operation in a slot: its user_data.
        """
        return <uint64_t>self.slots[number].generation << 32 | <uint64_t>number

    cdef OpSlot *slotOf(self, uint64_t operation):
        """
        The slot of an operation; NULL if the operation has ended.
        """
        cdef uint32_t number = <uint32_t>operation
        if operation & SEND_NOW_BIT or number >= <uint32_t>self.slotCount:
            return NULL
        cdef OpSlot *slot = &self.slots[number]
        if slot.state == FREE or slot.generation != operation >> 32:
            return NULL
        return slot

    cdef int freeSlot(self, int32_t number) except -1:
        """
        End an operation: its slot gets a new generation and can be taken again.
        """
        cdef OpSlot *slot = &self.slots[number]
        # These are dropped on return, when the table is consistent, because a finalizer
        # may run.
        owner, keepalive = self.owners[number], self.keepalive[number]
        self.owners[number] = None
        self.keepalive[number] = None
        slot.state = FREE
        slot.generation = (slot.generation + 1) & GENERATION_MASK
        slot.nextFree = self.freeSlots
        self.freeSlots = number
        self.slotsInUse -= 1
        return 0

    # Submission

    cdef uint64_t begin(
        self, int operation, owner, int descriptor, keepalive, uint32_t events
    ) except? 0:
        """
        Take a slot for an operation, and add its SQE.

        @return: the operation's number, made of the slot's number and generation.
        """
        cdef int32_t number = self.takeSlot(
            operation, owner, descriptor, keepalive, events
        )
        self.issue(number)
        return self.operationOf(number)

    cdef int issue(self, int32_t number) except -1:
        """
        Add the SQE of the operation in a slot, the first time or again.
        """
        cdef Sqe *sqe = self.nextSqe(
            self.slots[number].operation, self.slots[number].descriptor
        )
        cdef OpSlot *slot = &self.slots[number]
        slot.sqeNumber = self.submittedCount + self.pendingCount - 1
        slot.state = ISSUED
        sqe.user_data = self.operationOf(number)
        cdef bytes memory
        if slot.operation == IORING_OP_RECV:
            sqe.flags = IOSQE_BUFFER_SELECT
            if slot.receiveMode == MULTISHOT:
                sqe.ioprio = IORING_RECV_MULTISHOT
        elif slot.operation == IORING_OP_SENDMSG:
            memory = self.keepalive[number][0]
            sqe.addr = <uint64_t>PyBytes_AS_STRING(memory)
            sqe.len = 1
            sqe.msg_flags = MSG_NOSIGNAL | MSG_WAITALL
            if slot.descriptor in self.halfClosed:
                sqe.msg_flags |= MSG_DONTWAIT
        elif slot.operation == IORING_OP_POLL_ADD:
            sqe.poll32_events = slot.events
        elif slot.operation == IORING_OP_CONNECT:
            memory = self.keepalive[number]
            sqe.addr = <uint64_t>PyBytes_AS_STRING(memory)
            sqe.off = PyBytes_GET_SIZE(memory)
        return 0

    cdef int issueCancel(self, uint64_t operation) except -1:
        """
        Add an SQE that cancels an operation which the kernel has.
        """
        cdef Sqe *sqe = self.nextSqe(IORING_OP_ASYNC_CANCEL, -1)
        sqe.addr = operation
        sqe.flags = IOSQE_CQE_SKIP_SUCCESS
        return 0

    cdef int issueSendNow(self, owner, int descriptor, bytes data) except -1:
        """
        Add an SQE that sends data, and posts a CQE only if it does not send all.
        """
        self.sentNow.append(owner)
        self.sentNow.append(data)
        cdef Sqe *sqe = self.nextSqe(IORING_OP_SEND, descriptor)
        sqe.addr = <uint64_t>PyBytes_AS_STRING(data)
        sqe.len = min(PyBytes_GET_SIZE(data), MAX_SEND_NOW)
        if PyBytes_GET_SIZE(data) <= MAX_SEND_NOW:
            sqe.flags = IOSQE_CQE_SKIP_SUCCESS
        # With MSG_WAITALL a short send is a failure, so it posts a CQE. With
        # MSG_DONTWAIT the send does not wait for space.
        sqe.msg_flags = MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT
        sqe.user_data = SEND_NOW_BIT | (
            self.sentNowDropped + len(self.sentNow) // 2 - 1
        )
        return 0

    cdef int armWake(self) except -1:
        """
        Add an SQE that reads the eventfd which C{wake} writes. It has no slot, for it
        has no owner.
        """
        cdef Sqe *sqe = self.nextSqe(IORING_OP_READ, self.wakeFd)
        sqe.addr = <uint64_t>&self.wakeValue
        sqe.len = sizeof(self.wakeValue)
        sqe.user_data = WAKE_USER_DATA
        self.wakeArmed = True
        return 0

    cdef Sqe *nextSqe(self, int operation, int descriptor) except NULL:
        """
        Add an SQE, to be submitted by the next io_uring_enter.
        """
        self.reservePending()
        cdef Sqe *sqe = &self.pending[self.pendingCount]
        self.pendingCount += 1
        memset(sqe, 0, sizeof(Sqe))
        sqe.opcode = operation
        sqe.fd = descriptor
        sqe.user_data = IGNORED_USER_DATA
        return sqe

    cdef int reservePending(self) except -1:
        """
        Make sure that one more SQE can be added.
        """
        cdef Sqe *moved
        if self.pendingCount == self.pendingCapacity:
            moved = <Sqe *>realloc(
                self.pending, 2 * self.pendingCapacity * sizeof(Sqe)
            )
            if moved is NULL:
                raise MemoryError()
            self.pending = moved
            self.pendingCapacity *= 2
        return 0

    cdef void dropSqe(self, size_t at) noexcept:
        """
        Remove a pending SQE, or turn it into one that does nothing.
        """
        cdef Sqe *sqe
        if at == self.pendingCount - 1:
            self.pendingCount -= 1
            return
        sqe = &self.pending[at]
        memset(sqe, 0, sizeof(Sqe))
        sqe.opcode = IORING_OP_NOP
        sqe.flags = IOSQE_CQE_SKIP_SUCCESS
        sqe.fd = -1
        sqe.user_data = IGNORED_USER_DATA

    cdef Py_ssize_t enter(
        self, uint32_t least, double seconds, size_t most, bint getEvents=True
    ) except -1:
        """
        Call io_uring_enter: submit pending SQEs, and wait.

        @param least: how many CQEs to wait for, unless there are some.
        @param seconds: how long to wait at most; less than 0 is for ever.
        @param most: how many of the pending SQEs to submit, the oldest first.
        @param getEvents: whether the kernel may finish operations and post CQEs.
        @return: how many of these SQEs were not submitted.
        """
        if self.ringFd < 0:
            return 0
        cdef uint32_t tail, head, count
        cdef long done
        cdef int error
        cdef Timespec timeout
        cdef GeteventsArg arg
        memset(&arg, 0, sizeof(arg))
        arg.sigmask_sz = SIGSET_SIZE
        if seconds >= 0:
            timeout.tv_sec = <int64_t>seconds
            timeout.tv_nsec = <int64_t>((seconds - timeout.tv_sec) * 1e9)
            arg.ts = <uint64_t>&timeout
        while True:
            # Another thread may have run a finalizer meanwhile that cancelled some.
            most = min(most, self.pendingCount)
            tail = self.sqTail[0]
            head = iodemo_acquire(self.sqHead)
            count = <uint32_t>min(self.sqEntries - (tail - head), most)
            self.copyToSq(tail, count)
            tail += count
            most -= count
            if (
                most
                or seconds == 0
                or self.cqHead[0] != iodemo_acquire(self.cqTail)
            ):
                least = 0
            with nogil:
                done = syscall(
                    NR_IO_URING_ENTER,
                    self.ringFd,
                    tail - head,
                    least,
                    # The kernel finishes operations only in the last call, when all
                    # cancellations are submitted.
                    IORING_ENTER_EXT_ARG
                    | (IORING_ENTER_GETEVENTS if getEvents and not most else 0),
                    &arg,
                    sizeof(arg),
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
                    raise refusal("io_uring_enter", error)
                # EINTR is a signal, ETIME the timeout; with the others the kernel
                # requires that CQEs are taken first.
                break
            if not most:
                break
        return most + (tail - iodemo_acquire(self.sqHead))

    cdef void copyToSq(self, uint32_t tail, uint32_t count) noexcept:
        """
        Copy the oldest pending SQEs into the submission queue.
        """
        cdef uint32_t at = tail & self.sqMask
        cdef uint32_t first = min(count, self.sqEntries - at)
        memcpy(&self.sqes[at], self.pending, first * sizeof(Sqe))
        memcpy(self.sqes, &self.pending[first], (count - first) * sizeof(Sqe))
        iodemo_release(self.sqTail, tail + count)
        self.submittedCount += count
        self.pendingCount -= count
        if self.pendingCount:
            memmove(
                self.pending,
                &self.pending[count],
                self.pendingCount * sizeof(Sqe),
            )

    # Completion

    cdef int reapCqes(self) except -1:
        """
        Dispatch the CQEs that are in the ring now.

        A callback may call L{wait}, which dispatches the rest of them; or fork, and
        then there are none in the child.
        """
        cdef uint64_t changes = self.ringChanges
        cdef uint32_t tail = iodemo_acquire(self.cqTail)
        cdef uint32_t head
        cdef Cqe result
        before = self.current
        try:
            while changes == self.ringChanges:
                self.countCqes()
                head = self.cqHead[0]
                if <int32_t>(tail - head) <= 0:
                    break
                result = self.cqes[head & self.cqMask]
                iodemo_release(self.cqHead, head + 1)
                try:
                    self.dispatchCqe(result.user_data, result.res, result.flags)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.err()
                # If this were the last reference to the owner, its finalizer would run
                # while the next CQE is being looked up.
                self.current = before
        finally:
            self.current = before
        return 0

    cdef void countCqes(self) noexcept:
        """
        Count the CQEs that each operation has in the ring.
        """
        cdef uint32_t tail = iodemo_acquire(self.cqTail)
        cdef OpSlot *slot
        while self.cqesCounted != tail:
            slot = self.slotOf(self.cqes[self.cqesCounted & self.cqMask].user_data)
            if slot is not NULL:
                slot.unreaped += 1
            self.cqesCounted += 1

    cdef int dispatchCqe(
        self, uint64_t operation, int32_t result, uint32_t flags
    ) except -1:
        """
        Call the owner of the operation that a CQE belongs to.
        """
        if operation & SEND_NOW_BIT:
            return self.dispatchSendNow(operation & ~SEND_NOW_BIT, result)
        if operation == EPOLL_USER_DATA:
            return self.resumeReady()
        if operation == WAKE_USER_DATA:
            self.wakeWritten = self.wakeArmed = False
            return 0
        cdef OpSlot *slot = self.slotOf(operation)
        if slot is NULL:
            if checks and operation != IGNORED_USER_DATA:
                raise AssertionError(f"the operation {operation:#x} had ended")
            return 0
        cdef int32_t number = <int32_t><uint32_t>operation
        cdef int kind = slot.operation
        cdef bint cancelled = slot.cancelled
        cdef uint32_t ready
        cdef bytes data
        slot.unreaped -= 1
        owner = self.owners[number]
        # Below, the slot is read before an object is created or dropped, or a callback
        # is called.
        if kind == IORING_OP_RECV:
            if result > 0:
                data = self.copyReceived(operation, result, &flags)
                slot = self.slotOf(operation)
                if slot is NULL:
                    pass  # a finalizer has cancelled it
                elif flags & IORING_CQE_F_MORE:
                    if PyBytes_GET_SIZE(data) > self.bufferBytes and not cancelled:
                        # A protocol that pauses now has to keep more than one buffer.
                        # Its next deliveries are limited, by recv(2).
                        slot.receiveMode = BULK
                        slot.drained = 0
                        self.issueCancel(operation)
                elif cancelled:
                    self.freeSlot(number)
                else:
                    if flags & IORING_CQE_F_SOCK_NONEMPTY:
                        slot.receiveMode = BULK
                        slot.drained = 0
                    else:
                        slot.drained += slot.drained < MULTISHOT_AFTER
                        slot.receiveMode = (
                            MULTISHOT
                            if slot.drained == MULTISHOT_AFTER
                            else SINGLE_SHOT
                        )
                    self.scheduleReceive(slot, operation)
                return self.deliver(owner, data)
            if result == -ECANCELED and not cancelled:
                # By issueCancel, to change from multishot to bulk.
                return self.scheduleReceive(slot, operation)
            if result == -ENOBUFS and not cancelled:
                slot.state = STARVED
                self.starvations += 1
                self.starved.append(operation)
                return 0
            if result == 0 and not cancelled:
                self.halfClosed.add(slot.descriptor)
            self.freeSlot(number)
            if not cancelled or result not in (-ECANCELED, -ENOBUFS):
                self.current = owner
                owner.receiveEnded(result)
        elif kind == IORING_OP_SENDMSG:
            if result == -EAGAIN and not cancelled:
                # The send is blocked on a half-closed socket. This may be the first sign
                # of the half-close: an owner that polls for input has no receive.
                self.halfClosed.add(slot.descriptor)
                # The kernel no longer has the operation.
                slot.state = IDLE
                if self.park(operation) or self.slotOf(operation) is NULL:
                    return 0
                result = -EBADF  # closed, but not by this queue's close
            self.freeSlot(number)
            if not cancelled:
                self.current = owner
                owner.sent(result)
        elif kind == IORING_OP_CONNECT:
            self.freeSlot(number)
            if not cancelled:
                self.current = owner
                owner.connectEnded(result)
        elif kind == IORING_OP_POLL_ADD:
            ready = slot.events | POLLERR | POLLHUP | POLLNVAL
            if cancelled:
                self.freeSlot(number)
            elif result < 0:
                self.freeSlot(number)
                self.current = owner
                owner.polled(result)
            else:
                ready &= <uint32_t>result
                slot.state = IDLE
                self.current = owner
                try:
                    owner.polled(ready)
                finally:
                    # The callback may have cancelled the poll, or forked.
                    slot = self.slotOf(operation)
                    if slot is not NULL and slot.state == IDLE:
                        self.issue(number)
        return 0

    cdef int dispatchSendNow(self, uint64_t number, int32_t result) except -1:
        """
        Call an owner whose sendNow was short.
        """
        cdef Py_ssize_t at = 2 * <Py_ssize_t>(number - self.sentNowDropped)
        owner, data = self.sentNow[at], self.sentNow[at + 1]
        self.current = owner
        owner.sentPart(data, result)
        return 0

    cdef bint hasUnreapedSends(self, uint64_t sendNowCount):
        """
        Whether the ring has the CQE of a sendNow before this number. A callback that
        waited may have moved it there from the overflow list.
        """
        cdef uint32_t at = self.cqHead[0]
        cdef uint64_t operation
        while at != iodemo_acquire(self.cqTail):
            operation = self.cqes[at & self.cqMask].user_data
            if operation & SEND_NOW_BIT and operation & ~SEND_NOW_BIT < sendNowCount:
                return True
            at += 1
        return False

    cdef int dropSentNow(self, uint64_t sendNowCount) except -1:
        """
        Drop owners and data of each sendNow before this number: they have ended.
        """
        cdef Py_ssize_t items
        if sendNowCount > self.sentNowDropped:
            items = 2 * <Py_ssize_t>(sendNowCount - self.sentNowDropped)
            self.sentNowDropped = sendNowCount
            PyList_SetSlice(self.sentNow, 0, items, NULL)
        return 0

    cdef bint isOverflowing(self):
        """
        Whether the kernel has CQEs in its overflow list.
        """
        return iodemo_acquire(self.sqFlags) & IORING_SQ_CQ_OVERFLOW

    # Receive

    cdef int deliver(self, owner, bytes data) except -1:
        """
        Call an owner with received data.
        """
        self.current = owner
        if isinstance(owner, RingStream):
            (<RingStream>owner).deliver(data)
        else:
            owner.received(data)
        return 0

    cdef int scheduleReceive(self, OpSlot *slot, uint64_t operation) except -1:
        """
        Schedule a receive that has ended to go on: the next wait submits it again, or
        receives in bulk.
        """
        slot.state = IDLE
        (self.bulk if slot.receiveMode == BULK else self.toRearm).append(operation)
        return 0

    cdef int rearmReceives(self) except -1:
        """
        Add the SQEs of receives that ended and are to be continued.
        """
        cdef uint64_t operation
        cdef OpSlot *slot
        none = []
        served, self.toRearm = self.toRearm, none
        for operation in served:
            slot = self.slotOf(operation)
            if slot is not NULL and slot.state == IDLE and self.isOpen(operation):
                self.issue(<int32_t><uint32_t>operation)
        return 0

    cdef int rearmStarved(self) except -1:
        """
        Add the SQEs of starved receives, as many as there are buffers, in order.
        """
        cdef uint64_t operation
        cdef size_t left = min(<size_t>len(self.starved), self.bufferCount)
        while left and self.starved:
            left -= 1
            operation = self.starved.popleft()
            self.issue(<int32_t><uint32_t>operation)
        return 0

    cdef int receiveBulk(self) except -1:
        """
        Call recv(2) once for each receive in bulk mode.
        """
        cdef uint64_t changes = self.ringChanges
        cdef size_t left = len(self.bulk)
        cdef uint64_t operation
        cdef OpSlot *slot
        before = self.current
        try:
            # A callback may call wait, which receives for the others.
            while left and self.bulk and changes == self.ringChanges:
                left -= 1
                operation = self.bulk.popleft()
                slot = self.slotOf(operation)
                if slot is NULL or slot.state != IDLE:
                    continue
                try:
                    self.receiveByRecv(operation)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.err()
                self.current = before
        finally:
            self.current = before
        return 0

    cdef int receiveByRecv(self, uint64_t operation) except -1:
        """
        Call recv(2) for a receive in bulk mode, and its owner.
        """
        if not self.isOpen(operation):
            return 0
        cdef int32_t number = <int32_t><uint32_t>operation
        cdef bytes data = PyBytes_FromStringAndSize(NULL, BULK_BYTES)
        cdef OpSlot *slot = self.slotOf(operation)
        if slot is NULL:
            return 0
        cdef int descriptor = slot.descriptor
        cdef char *to = PyBytes_AS_STRING(data)
        cdef Py_ssize_t length
        cdef int error
        owner = self.owners[number]
        with nogil:
            length = recv(descriptor, to, BULK_BYTES, MSG_DONTWAIT)
            error = errno
        if 0 < length < BULK_BYTES:
            data = data[:length]
        slot = self.slotOf(operation)
        if length > 0 or error == EAGAIN and length < 0:
            if slot is not NULL:
                if length < BULK_BYTES:
                    slot.receiveMode = SINGLE_SHOT
                self.scheduleReceive(slot, operation)
            return self.deliver(owner, data) if length > 0 else 0
        if slot is not NULL:
            if length == 0:
                self.halfClosed.add(descriptor)
            self.freeSlot(number)
            self.current = owner
            owner.receiveEnded(-error if length < 0 else 0)
        return 0

    cdef bint isOpen(self, uint64_t operation) except -1:
        """
        Whether the socket of a receive is still open. If it is not, its descriptor may
        now be another file's, and this ends the receive.
        """
        cdef int32_t number = <int32_t><uint32_t>operation
        owner = self.owners[number]
        if isinstance(owner, RingStream) and (<RingStream>owner).isClosed():
            self.freeSlot(number)
            owner.receiveEnded(-EBADF)
        return self.slotOf(operation) is not NULL

    # Buffers

    cdef bytes copyReceived(self, uint64_t operation, int32_t length, uint32_t *flags):
        """
        Copy the data of all CQEs that a receive has in the ring, and give the buffers
        back. So the ring has no data of a connection whose protocol pauses because of
        this delivery.

        @param length: the number of bytes in the first buffer.
        @param flags: of the first CQE; replaced with those of the last.
        """
        cdef uint32_t first = flags[0] >> IORING_CQE_BUFFER_SHIFT
        cdef uint32_t head = self.cqHead[0]
        cdef uint32_t left = self.slots[<uint32_t>operation].unreaped
        cdef size_t size = length
        cdef Cqe *result
        cdef uint32_t at = head
        while left:
            result = &self.cqes[at & self.cqMask]
            at += 1
            if result.user_data == operation:
                left -= 1
                if result.res > 0:
                    size += result.res
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        cdef char *to = PyBytes_AS_STRING(data)
        self.copyBuffer(first, to, length)
        to += length
        while head != at:
            result = &self.cqes[head & self.cqMask]
            head += 1
            if result.user_data == operation and result.res > 0:
                self.copyBuffer(
                    result.flags >> IORING_CQE_BUFFER_SHIFT, to, result.res
                )
                to += result.res
                flags[0] = result.flags
                self.slots[<uint32_t>operation].unreaped -= 1
                result.user_data = IGNORED_USER_DATA
                result.flags = 0
        iodemo_release16(&(<BufRing *>self.bufs).tail, self.bufRingTail)
        return data

    cdef void copyBuffer(self, uint32_t number, char *to, size_t length) noexcept:
        """
        Copy the data in a buffer, and give the buffer back.
        """
        memcpy(
            to,
            self.bufferMemory + <size_t>number * (self.bufferBytes + BUFFER_GAP),
            length,
        )
        self.provideBuffer(number)

    cdef void provideBuffer(self, uint32_t number) noexcept:
        """
        Add a buffer to the buffer ring. The kernel sees it when the tail is released.
        """
        cdef Buf *buffer = &self.bufs[self.bufRingTail & (self.bufferCount - 1)]
        buffer.addr = <uint64_t>(
            self.bufferMemory + <size_t>number * (self.bufferBytes + BUFFER_GAP)
        )
        buffer.len = self.bufferBytes
        buffer.bid = number
        self.bufRingTail += 1

    cdef int registerBuffers(self) except -1:
        """
        Map the buffer ring and its buffers, and register them.
        """
        cdef size_t ringSize = (self.bufferCount * sizeof(Buf) + 4095) & ~4095
        self.bufferMapSize = ringSize + self.bufferCount * <size_t>(
            self.bufferBytes + BUFFER_GAP
        )
        self.bufs = <Buf *>mapMemory(self.bufferMapSize, -1, 0)
        self.bufferMemory = <char *>self.bufs + ringSize
        cdef BufReg registration
        memset(&registration, 0, sizeof(registration))
        registration.ring_addr = <uint64_t>self.bufs
        registration.ring_entries = self.bufferCount
        if syscall(
            NR_IO_URING_REGISTER,
            self.ringFd,
            IORING_REGISTER_PBUF_RING,
            &registration,
            1,
        ) < 0:
            raise refusal("io_uring_register", errno)
        self.bufRingTail = 0
        cdef uint32_t number
        for number in range(self.bufferCount):
            self.provideBuffer(number)
        iodemo_release16(&(<BufRing *>self.bufs).tail, self.bufRingTail)
        return 0

    # Epoll

    cdef bint park(self, uint64_t operation) except -1:
        """
        Park an operation: epoll watches its descriptor.

        @return: whether epoll takes the descriptor; it refuses regular files.
        """
        there = []
        cdef OpSlot *slot = self.slotOf(operation)
        if slot is NULL:
            return True  # a finalizer has cancelled it
        cdef int descriptor = slot.descriptor
        cdef uint32_t events = slot.events
        try:
            if descriptor in self.epollParked:
                there = self.epollParked[descriptor]
                self.epoll.modify(descriptor, events | self.eventsOf(there))
            else:
                self.epoll.register(descriptor, events)
        except OSError:
            return False
        if self.slotOf(operation) is NULL:
            return True  # likewise, in another thread; resumeReady unregisters it
        self.epollParked[descriptor] = there
        there.append(operation)
        self.slots[<uint32_t>operation].state = PARKED
        return True

    cdef int unpark(self, uint64_t operation) except -1:
        """
        End the parking of an operation.
        """
        cdef int descriptor = self.slots[<uint32_t>operation].descriptor
        there = self.epollParked[descriptor]
        there.remove(operation)
        if not there:
            del self.epollParked[descriptor]
        try:
            if there:
                self.epoll.modify(descriptor, self.eventsOf(there))
            else:
                self.epoll.unregister(descriptor)
        except OSError:
            pass  # the descriptor is closed, and epoll has dropped it
        return 0

    cdef uint32_t eventsOf(self, list operations):
        """
        The events that any of these operations waits for.
        """
        cdef uint64_t operation
        cdef uint32_t events = 0
        for operation in operations:
            events |= self.slots[<uint32_t>operation].events
        return events

    cdef int pollEpoll(self) except -1:
        """
        Add an SQE that polls the epoll descriptor.
        """
        cdef Sqe *sqe = self.nextSqe(IORING_OP_POLL_ADD, self.epoll.fileno())
        sqe.poll32_events = POLLIN
        sqe.user_data = EPOLL_USER_DATA
        self.epollPolled = True
        return 0

    cdef int resumeReady(self) except -1:
        """
        Resume the parked operations whose descriptors epoll reports.
        """
        self.epollPolled = False
        for descriptor, ready in self.epoll.poll(0):
            if descriptor not in self.epollParked:
                try:
                    self.epoll.unregister(descriptor)
                except OSError:
                    pass  # the descriptor is closed
            for operation in list(self.epollParked.get(descriptor, ())):
                try:
                    self.resumeParked(operation, ready)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.err()
        return 0

    cdef int resumeParked(self, uint64_t operation, uint32_t ready) except -1:
        """
        Call the owner of a poll, or submit a send again, unless an earlier callback has
        cancelled it.
        """
        cdef int32_t number = <int32_t><uint32_t>operation
        cdef OpSlot *slot = self.slotOf(operation)
        if slot is NULL or slot.state != PARKED:
            return 0
        ready &= slot.events | POLLERR | POLLHUP
        if not ready:
            return 0
        if slot.operation == IORING_OP_SENDMSG:
            self.unpark(operation)
            self.issue(number)
        else:
            owner = self.owners[number]
            self.current = owner
            owner.polled(ready)
        return 0

    # Invariants

    cdef int checkInvariants(self) except -1:
        """
        Check invariants.
        """
        # Read before the counting starts, because creating an object may run a
        # finalizer.
        out = self.buffersOut
        cdef int32_t number
        cdef list there
        cdef size_t watched = 0
        cdef uint32_t used = 0
        cdef uint32_t parked = 0
        cdef uint32_t starved = 0
        cdef uint32_t filled = 0
        cdef uint32_t head
        for number in range(self.slotCount):
            if self.slots[number].state != FREE:
                used += 1
                parked += self.slots[number].state == PARKED
                starved += self.slots[number].state == STARVED
                if self.owners[number] is None:
                    raise AssertionError("an operation has no owner")
        for there in self.epollParked.values():
            watched += len(there)
        if used != self.slotsInUse:
            raise AssertionError(f"{used} operations, counted {self.slotsInUse}")
        if parked != watched:
            raise AssertionError(f"{parked} operations parked, of {self.epollParked}")
        if starved != <uint32_t>len(self.starved):
            raise AssertionError(f"{starved} operations starved, of {self.starved}")
        head = self.cqHead[0]
        while head != iodemo_acquire(self.cqTail):
            filled += self.cqes[head & self.cqMask].flags & IORING_CQE_F_BUFFER
            head += 1
        if out is not None and out != filled and not self.isOverflowing():
            raise AssertionError(f"{out} buffers out, but {filled} CQEs have one")
        return 0

    # Set-up

    def open(self):
        """
        Make the ring, unless there is one. It belongs to the calling thread.

        @raise QueueRefused: if a system call fails, with the reason.
        """
        if self.ringFd >= 0:
            return
        cdef Params params
        cdef int error
        cdef uint32_t results = self.cqEntriesWanted
        # The kernel requires a completion queue that is no smaller.
        cdef uint32_t submissions = min(SQ_ENTRIES, results)
        cdef long ring
        while True:
            memset(&params, 0, sizeof(params))
            params.flags = (
                IORING_SETUP_CQSIZE
                | IORING_SETUP_CLAMP
                | IORING_SETUP_SUBMIT_ALL
                | IORING_SETUP_SINGLE_ISSUER
                | IORING_SETUP_DEFER_TASKRUN
            )
            params.cq_entries = results
            ring = syscall(NR_IO_URING_SETUP, submissions, &params)
            if ring >= 0:
                break
            error = errno
            if error != ENOMEM or submissions <= <uint32_t>MIN_SQ_ENTRIES:
                raise refusal("io_uring_setup", error)
            # The kernel counts the rings as locked memory, or as memory of the
            # container. Smaller rings may be within the limit.
            submissions //= 2
            results = max(results // 2, 2 * submissions)
        self.ringFd = ring
        self.ringChanges += 1
        try:
            self.mapRings(&params)
            self.registerBuffers()
            # A seccomp filter may refuse this call alone. It must not fail later.
            self.enter(0, 0, 0)
        except BaseException:
            self.closeRing()
            raise

    cdef int mapRings(self, Params *params) except -1:
        """
        Map the rings, which are shared with the kernel.
        """
        self.ringSize = max(
            params.sq_off.array + params.sq_entries * sizeof(uint32_t),
            params.cq_off.cqes + params.cq_entries * sizeof(Cqe),
        )
        self.ringMemory = mapMemory(self.ringSize, self.ringFd, IORING_OFF_SQ_RING)
        self.sqesSize = params.sq_entries * sizeof(Sqe)
        self.sqes = <Sqe *>mapMemory(self.sqesSize, self.ringFd, IORING_OFF_SQES)
        cdef char *at = <char *>self.ringMemory
        self.sqHead = <uint32_t *>(at + params.sq_off.head)
        self.sqTail = <uint32_t *>(at + params.sq_off.tail)
        self.sqFlags = <uint32_t *>(at + params.sq_off.flags)
        self.sqMask = params.sq_entries - 1
        self.sqEntries = params.sq_entries
        self.cqHead = <uint32_t *>(at + params.cq_off.head)
        self.cqTail = <uint32_t *>(at + params.cq_off.tail)
        self.cqMask = params.cq_entries - 1
        self.cqes = <Cqe *>(at + params.cq_off.cqes)
        self.cqesCounted = self.cqHead[0]
        # The index array: SQEs are submitted in the order of their places.
        cdef uint32_t *order = <uint32_t *>(at + params.sq_off.array)
        cdef uint32_t number
        for number in range(params.sq_entries):
            order[number] = number
        return 0

    cdef void tearDown(self) noexcept:
        """
        End all operations, and close the ring. The interpreter may be shutting down, so
        no global name is used here, and no exception is raised.
        """
        if self.ringFd < 0:
            return
        # Pending SQEs refer to memory that may be gone. None of them closes a
        # descriptor: a close is submitted at once.
        self.pendingCount = 0
        cdef uint32_t tail = self.sqTail[0]
        cdef uint32_t left = tail - iodemo_acquire(self.sqHead)
        cdef Sqe *sqe = &self.sqes[tail & self.sqMask]
        if left < self.sqEntries:
            memset(sqe, 0, sizeof(Sqe))
            sqe.opcode = IORING_OP_ASYNC_CANCEL
            sqe.fd = -1
            sqe.cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY
            iodemo_release(self.sqTail, tail + 1)
            # In another thread this fails, and the operations end when the ring is
            # closed.
            syscall(
                NR_IO_URING_ENTER,
                self.ringFd,
                left + 1,
                0,
                IORING_ENTER_GETEVENTS,
                NULL,
                0,
            )
        self.closeRing()

    cdef void closeRing(self) noexcept:
        """
        Close the ring, and unmap its memory.
        """
        if self.ringFd >= 0:
            sysClose(self.ringFd)
        if self.ringMemory is not NULL:
            munmap(self.ringMemory, self.ringSize)
        if self.sqes is not NULL:
            munmap(self.sqes, self.sqesSize)
        if self.bufs is not NULL:
            munmap(self.bufs, self.bufferMapSize)
        self.ringFd = -1
        self.ringChanges += 1
        self.ringMemory = NULL
        self.sqes = NULL
        self.bufs = NULL

    # Fork

    cdef int forked(self) except -1:
        """
        Start anew in a child process. The memory of the ring is not mapped here
        (MADV_DONTFORK), and all operations are the parent's.
        """
        cdef bint had = self.ringFd >= 0
        sysClose(self.wakeFd)
        self.wakeFd = -1
        self.wakeWritten = self.wakeArmed = False
        if had:
            self.ringMemory = NULL
            self.sqes = NULL
            self.bufs = NULL
            self.closeRing()
        try:
            # Before owners are dropped: their finalizers may use the queue. An epoll
            # that is shared with the parent would report to both processes.
            self.wakeFd = os.eventfd(0, os.EFD_CLOEXEC)
            self.epoll = select.epoll()
        finally:
            if had:
                self.dropOperations()
        for descriptor, there in self.epollParked.items():
            self.epoll.register(descriptor, self.eventsOf(there))
        return 0

    cdef int dropOperations(self) except -1:
        """
        Free all slots, and call no owner.
        """
        # These are dropped on return, when the table is consistent.
        gone = self.owners, self.keepalive, self.sentNow, self.starved, self.epollParked
        self.toRearm = []
        self.bulk = deque()
        self.sentNowDropped += len(self.sentNow) // 2
        self.owners = [None] * self.slotCount
        self.keepalive = [None] * self.slotCount
        self.sentNow = []
        self.starved = deque()
        self.epollParked = {}
        self.epollPolled = False
        self.pendingCount = 0
        cdef OpSlot *slot
        cdef int32_t number
        for number in range(self.slotCount):
            slot = &self.slots[number]
            if slot.state != FREE:
                slot.state = FREE
                slot.generation = (slot.generation + 1) & GENERATION_MASK
                slot.nextFree = self.freeSlots
                self.freeSlots = number
        self.slotsInUse = 0
        return 0


classImplements(RingQueue, ICompletionQueue)


def _forked():
    # No finalizer may use a queue before its method forked has run.
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


cdef void *mapMemory(size_t length, int descriptor, uint64_t offset) except NULL:
    """
    Map memory that a child process does not inherit.

    @param descriptor: of the ring, or -1 for private memory.
    """
    cdef int flags = MAP_SHARED | MAP_POPULATE
    if descriptor < 0:
        flags = MAP_PRIVATE | MAP_ANONYMOUS
    cdef void *at = mmap(
        NULL, length, PROT_READ | PROT_WRITE, flags, descriptor, offset
    )
    if at == MAP_FAILED:
        raise refusal("mmap", errno)
    madvise(at, length, MADV_DONTFORK)
    return at


cdef refusal(str call, int number):
    """
    The error for a system call that failed.
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


cdef bytes packMessage(list pieces, Py_ssize_t offset, passed):
    """
    The argument of sendmsg(2): a struct msghdr, behind it its array of struct iovec,
    and behind that the control message that passes a descriptor.
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


cdef bytes packAddress(address):
    """
    An address as struct sockaddr_in, sockaddr_in6 or sockaddr_un.
    """
    if not isinstance(address, tuple):
        path = os.fsencode(address)
        if len(path) >= SUN_PATH_SIZE + path.startswith(b"\0"):
            raise OSError("AF_UNIX path too long")  # the message of the module socket
        return struct.pack("=H", socket.AF_UNIX) + path
    host, port = address[:2]
    if not 0 <= port <= 65535:
        # The message of socket.connect_ex.
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
    The part of a transport that runs for every exchange, compiled. It is the first base
    class of a transport; the other bases are written in Python, and this class calls
    them in every case but the most frequent one, and in every case on another queue.

    The attributes are described in L{iodemo.completion.tcp.StreamMixin} and in
    Twisted's transports.
    """

    cdef public object reactor
    cdef public object protocol
    cdef public object producer
    cdef public object pausedInput
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
        Whether the socket was closed behind the transport's back.
        """
        return self.fileno() != self.descriptor

    cdef int deliver(self, bytes data) except -1:
        """
        Call the protocol with received data, unless it has paused.
        """
        if self.reading and self.pausedInput is None:
            try:
                self.protocol.dataReceived(data)
            except BaseException:
                self.failed(True)
        else:
            self._keepInput(data)
        return 0

    def received(self, bytes data not None):
        """See L{StreamMixin.received}."""
        self.deliver(data)

    def write(self, data):
        """See C{ITransport.write}."""
        if type(data) is not bytes or self.TLS:
            super(RingStream, self).write(data)
            return
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        if not length or not self.connected or self._writeDisconnected:
            return
        self._tempDataBuffer.append(data)
        self._tempDataLen += length
        # Before the producer is called, whose code may fail.
        if not self.writing:
            self.writing = True
            self.reactor.unsent.append(self)
        if self.producer is not None:
            self._maybePauseProducer()

    def sendWritten(self):
        """See L{StreamMixin.sendWritten}."""
        queue = self.reactor.queue
        if (
            not isinstance(queue, RingQueue)
            or self._tempDataLen == 0
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
        data = self._tempDataBuffer.pop()
        self._tempDataLen = 0
        self.writing = False
        (<RingQueue>queue).issueSendNow(self, self.descriptor, data)
