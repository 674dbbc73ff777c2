# -*- test-case-name: tests.test_posix_aio -*-
"""
What POSIX AIO does about connections on Linux with glibc: a thread for each that is
silent, up to 20, and then nothing.

C{python docs/examples/posix_aio.py 20}: so many silent connections, and one more.
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
# Where sigev_notify is in struct sigevent: behind a pointer and an int.
_NOTIFY = 12
BYTES = 64

libc = ctypes.CDLL(None, use_errno=True)


class Reading:
    """
    A read from a socket that was asked for.
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
        Whether it has a result.
        """
        return bool(libc.aio_error(ctypes.byref(self._block)) != EINPROGRESS)


def threads() -> int:
    """
    How many threads this process has.
    """
    return len(os.listdir("/proc/self/task"))


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    """
    Whether something happens in time.
    """
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


class Seen(NamedTuple):
    """
    What came of it.
    """

    threads: int
    wasRead: bool
    wasReadLater: bool


def tryReading(silent: int, patience: float = 1.0) -> Seen:
    """
    Read from so many connections that say nothing, then from one that has said
    something; then have one of the silent ones say something.
    """
    before = threads()
    pairs = [socket.socketpair() for _ in range(silent + 1)]
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
    silent = max(1, int(sys.argv[1]))
    seen = tryReading(silent)
    print(f"{silent} silent connections: {seen.threads} threads more.")
    if seen.wasRead:
        print("What the other one had said was read.")
    elif seen.wasReadLater:
        print("What the other one had said was read when a silent one spoke.")
    else:
        print("What the other one had said was not read.")
