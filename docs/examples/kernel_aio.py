# -*- test-case-name: tests.test_kernel_aio -*-
"""
Kernel AIO on a socket: io_submit carries out the operation during the call.

C{python docs/examples/kernel_aio.py}
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EAGAIN

#: io_setup, io_destroy, io_getevents and io_submit, by architecture.
NUMBERS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}

#: struct iocb of <linux/aio_abi.h>, little-endian.
IOCB = struct.Struct("<QIIHhIQQqQII")
#: struct io_event.
EVENT = struct.Struct("<QQqq")
PREAD = 0
BYTES = 64

libc = ctypes.CDLL(None, use_errno=True)


def call(index: int, *arguments: object) -> int:
    """
    Make a system call.

    @param index: its place in C{NUMBERS}.
    @raise OSError: if the call fails.
    """
    libc.syscall.restype = ctypes.c_long
    number = NUMBERS[platform.machine()][index]
    result = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


@contextmanager
def context() -> Iterator[ctypes.c_ulong]:
    """
    Make an AIO context, to which operations are submitted; destroy it at the end.
    """
    made = ctypes.c_ulong(0)
    call(0, ctypes.c_long(1), ctypes.byref(made))
    try:
        yield made
    finally:
        call(1, made)


def receive(connection: socket.socket, submitted: threading.Event) -> int:
    """
    Submit a receive to kernel AIO and wait for its result.

    @param submitted: set when io_submit has returned.
    @return: the result from io_getevents: a number of bytes, or a negative errno.
    """
    buffer = ctypes.create_string_buffer(BYTES)
    where = ctypes.addressof(buffer)
    packed = IOCB.pack(0, 0, 0, PREAD, 0, connection.fileno(), where, BYTES, 0, 0, 0, 0)
    block = ctypes.create_string_buffer(packed, IOCB.size)
    blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    with context() as queue:
        call(3, queue, ctypes.c_long(1), blocks)
        submitted.set()
        event = ctypes.create_string_buffer(EVENT.size)
        call(2, queue, ctypes.c_long(1), ctypes.c_long(1), event, None)
        return int(EVENT.unpack(event.raw)[2])


def ofBlocking() -> bool:
    """
    Receive from a blocking socket without data, and send to it a second later.

    @return: whether io_submit had returned before the send.
    """
    near, far = socket.socketpair()
    with near, far:
        submitted = threading.Event()
        receiving = threading.Thread(target=receive, args=(near, submitted))
        receiving.start()
        hadReturned = submitted.wait(1)
        far.send(b"here I am")
        receiving.join()
    return hadReturned


def ofNonBlocking() -> int:
    """
    Receive from a non-blocking socket without data.

    @return: the result from io_getevents.
    """
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        return receive(near, threading.Event())


if __name__ == "__main__":
    if not ofBlocking():
        print("Blocking socket: io_submit returned when data had arrived.")
    if ofNonBlocking() == -EAGAIN:
        outcome = "io_submit returned at once, and the result is EAGAIN."
        print(f"Non-blocking socket: {outcome}")
