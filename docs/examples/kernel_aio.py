# -*- test-case-name: tests.test_kernel_aio -*-
"""
What the kernel's AIO does about sockets: the operation, while it is asked for.

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
    One of the system calls of C{NUMBERS}.
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
    What operations are submitted to.
    """
    made = ctypes.c_ulong(0)
    call(0, ctypes.c_long(1), ctypes.byref(made))
    try:
        yield made
    finally:
        call(1, made)


def receive(connection: socket.socket, submitted: threading.Event) -> int:
    """
    Ask kernel AIO to receive.

    @param submitted: is set when io_submit has returned.
    @return: what io_getevents then has for the result.
    """
    buffer = ctypes.create_string_buffer(BYTES)
    where = ctypes.addressof(buffer)
    asked = IOCB.pack(0, 0, 0, PREAD, 0, connection.fileno(), where, BYTES, 0, 0, 0, 0)
    block = ctypes.create_string_buffer(asked, IOCB.size)
    blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    with context() as queue:
        call(3, queue, ctypes.c_long(1), blocks)
        submitted.set()
        event = ctypes.create_string_buffer(EVENT.size)
        call(2, queue, ctypes.c_long(1), ctypes.c_long(1), event, None)
        return int(EVENT.unpack(event.raw)[2])


def ofBlocking() -> bool:
    """
    Receive from a blocking socket that has nothing, and send to it a second later.

    @return: whether io_submit had returned by then.
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
    Receive from a non-blocking socket that has nothing.

    @return: the result.
    """
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        return receive(near, threading.Event())


if __name__ == "__main__":
    if not ofBlocking():
        said = "io_submit returned when there was something to receive."
        print(f"A blocking socket: {said}")
    if ofNonBlocking() == -EAGAIN:
        said = "it returned at once, and the result is EAGAIN."
        print(f"A non-blocking one: {said}")
