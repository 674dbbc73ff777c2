# -*- test-case-name: tests.test_examples -*-
"""
One receive, made in four ways. C{python docs/examples/patterns.py} makes all of them.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

from iodemo.completion.emulated import ReadinessQueue

SIZE = 64 * 1024


def waitInTheCall(ours: socket.socket) -> bytes:
    """
    Blocking, synchronous: the call waits, and brings the result.
    """
    ours.setblocking(True)
    return ours.recv(SIZE)


def askAgain(ours: socket.socket, meanwhile: Callable[[], None]) -> bytes:
    """
    Non-blocking, synchronous: the call never waits, and brings the result once there
    is one. Until then it fails with EAGAIN.
    """
    ours.setblocking(False)
    while True:
        try:
            return ours.recv(SIZE)
        except BlockingIOError:
            meanwhile()


def waitUntilReady(ours: socket.socket) -> bytes:
    """
    Non-blocking, synchronous, multiplexed: one call waits, for any number of sockets,
    and says which are ready; another, which does not wait, brings the result.
    """
    ours.setblocking(False)
    watched = select.poll()
    watched.register(ours, select.POLLIN)
    while True:
        watched.poll()
        # "Ready" is what was so when the kernel looked.
        with contextlib.suppress(BlockingIOError):
            return ours.recv(SIZE)


class Owner:
    """
    Who is told results.
    """

    data: bytes | None = None

    def received(self, data: bytes) -> None:
        """
        Told by the queue: this was received.
        """
        self.data = data

    def receiveEnded(self, result: int) -> None:
        """
        Told by the queue: nothing more will come.
        """
        self.data = b""


def beTold(ours: socket.socket, meanwhile: Callable[[], None]) -> bytes:
    """
    Non-blocking, asynchronous: one call asks, and returns at once; the result is told
    later, to an owner, by whoever received it.
    """
    ours.setblocking(False)
    queue = ReadinessQueue()
    owner = Owner()
    queue.receive(owner, ours.fileno())
    meanwhile()
    while owner.data is None:
        queue.wait(None)
    return owner.data


def main() -> None:
    """
    Make all four, of what is sent when the program has something else to do; to the two
    that have nothing else to do, it is sent before.
    """
    ours, peer = socket.socketpair()

    def send() -> None:
        peer.sendall(b"hello")

    with ours, peer:
        send()
        print("wait in the call:", waitInTheCall(ours))
        print("ask again:       ", askAgain(ours, send))
        send()
        print("wait until ready:", waitUntilReady(ours))
        print("be told:         ", beTold(ours, send))


if __name__ == "__main__":
    main()
