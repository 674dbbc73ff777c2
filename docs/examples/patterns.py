# -*- test-case-name: tests.test_examples -*-
"""
One receive in four ways. C{python docs/examples/patterns.py} runs all of them.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

from iodemo.completion.emulated import ReadinessQueue

SIZE = 64 * 1024


def blockInCall(ours: socket.socket) -> bytes:
    """
    Blocking, synchronous: the call waits, and returns the result.
    """
    ours.setblocking(True)
    return ours.recv(SIZE)


def repeatCall(ours: socket.socket, meanwhile: Callable[[], None]) -> bytes:
    """
    Non-blocking, synchronous: the call never waits. It fails with EAGAIN until data has
    arrived, then returns the data.
    """
    ours.setblocking(False)
    while True:
        try:
            return ours.recv(SIZE)
        except BlockingIOError:
            meanwhile()


def waitUntilReady(ours: socket.socket) -> bytes:
    """
    Non-blocking, synchronous, multiplexed: one call waits for any number of sockets and
    returns those that are ready; another call, which does not wait, returns the data.
    """
    ours.setblocking(False)
    watched = select.poll()
    watched.register(ours, select.POLLIN)
    while True:
        watched.poll()
        # The socket was ready when the kernel looked, and may not be any more.
        with contextlib.suppress(BlockingIOError):
            return ours.recv(SIZE)


class Owner:
    """
    Takes the results of an operation.

    @ivar data: the received bytes, or C{None} while there is no result.
    """

    data: bytes | None = None

    def received(self, data: bytes) -> None:
        """
        Called by the queue: these bytes were received.
        """
        self.data = data

    def receiveEnded(self, result: int) -> None:
        """
        Called by the queue: the peer has ended the connection, or it failed.
        """
        self.data = b""


def submitAndWait(ours: socket.socket, meanwhile: Callable[[], None]) -> bytes:
    """
    Non-blocking, asynchronous: one call submits the receive and returns at once; the
    queue calls the owner with the result later.
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
    Receive in all four ways. Where the receive runs C{meanwhile}, the peer sends then;
    otherwise it sends before.
    """
    ours, peer = socket.socketpair()

    def send() -> None:
        peer.sendall(b"hello")

    with ours, peer:
        send()
        print("block in the call:", blockInCall(ours))
        print("repeat the call:  ", repeatCall(ours, send))
        send()
        print("wait until ready: ", waitUntilReady(ours))
        print("submit and wait:  ", submitAndWait(ours, send))


if __name__ == "__main__":
    main()
