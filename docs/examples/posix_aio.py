# -*- test-case-name: tests.test_posix_aio -*-
"""
POSIX AIO on connections, on Linux with glibc: each idle connection occupies a thread,
and there are at most 20; further reads wait.

C{python docs/examples/posix_aio.py 20}: reads from 20 idle connections and one with
data.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from collections.abc import Callable
from errno import EINPROGRESS
from typing import NamedTuple


class ControlBlock(ctypes.Structure):
    """
    C{struct aiocb} of glibc's C{<aio.h>}, where a word has 64 bits.
    """

    _fields_ = (
        ("descriptor", ctypes.c_int),
        ("operation", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("event", ctypes.c_byte * 64),  # struct sigevent: zeros are SIGEV_SIGNAL, 0
        ("internal", ctypes.c_byte * 32),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_byte * 32),
    )


SIGEV_NONE = 1
# The offset of sigev_notify in struct sigevent, in bytes: after a pointer and an int.
_NOTIFY = 12
BYTES = 64

libc = ctypes.CDLL(None, use_errno=True)


class Reading:
    """
    A read from a socket that was submitted with aio_read.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._buffer = ctypes.create_string_buffer(BYTES)
        self._block = ControlBlock(
            descriptor=connection.fileno(),
            buffer=ctypes.addressof(self._buffer),
            length=BYTES,
        )
        self._block.event[_NOTIFY] = SIGEV_NONE
        if libc.aio_read(ctypes.byref(self._block)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def isOver(self) -> bool:
        """
        Whether the read has a result.
        """
        return bool(libc.aio_error(ctypes.byref(self._block)) != EINPROGRESS)


def threads() -> int:
    """
    The number of threads of this process.
    """
    return len(os.listdir("/proc/self/task"))


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    """
    Wait until something has happened.

    @param seconds: how long at most.
    @return: whether it happened in time.
    """
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


class Seen(NamedTuple):
    """
    The outcome of L{tryReading}.

    @ivar threads: the number of threads that the reads started.
    @ivar wasRead: whether the connection with data was read in time.
    @ivar wasReadLater: whether it was read after an idle one had sent data.
    """

    threads: int
    wasRead: bool
    wasReadLater: bool


def tryReading(idle: int, patience: float = 1.0) -> Seen:
    """
    Read from idle connections, then from one with data; then let an idle one send data.

    @param idle: the number of idle connections.
    @param patience: how many seconds to wait for the connection with data.
    """
    before = threads()
    pairs = [socket.socketpair() for _ in range(idle + 1)]
    pairs[-1][1].send(b"here I am")
    readings = [Reading(near) for near, _ in pairs]
    wasRead = within(patience, readings[-1].isOver)
    more = threads() - before
    pairs[0][1].send(b"so am I")
    wasReadLater = within(2, readings[-1].isOver)
    for _, far in pairs:
        far.close()
    within(10, lambda: all(reading.isOver() for reading in readings))
    for near, _ in pairs:
        near.close()
    return Seen(more, wasRead, wasReadLater)


if __name__ == "__main__":
    idle = max(1, int(sys.argv[1]))
    seen = tryReading(idle)
    print(f"{idle} idle connections: {seen.threads} threads more.")
    if seen.wasRead:
        outcome = "was read"
    elif seen.wasReadLater:
        outcome = "was read after an idle one had sent data"
    else:
        outcome = "was not read"
    print(f"The data of the other connection {outcome}.")
