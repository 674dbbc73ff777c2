"""
Many clients at the same time, in one thread of the test.
"""

from __future__ import annotations

import selectors
import socket
import struct

from ..children import TIMEOUT
from .sizes import SLOW_PIECE, SLOW_PIECES

# Seconds without progress after which the slow readers read. It only decides how often
# they read.
_LULL = 0.005


class Peer:
    """
    One connection, which sends messages and checks the data that it receives.

    @ivar connection: its socket.
    @ivar received: how many bytes it has received.
    """

    def __init__(
        self,
        connection: socket.socket,
        messages: list[bytes],
        expected: bytes,
        slowWriter: bool = False,
        slowReader: bool = False,
    ) -> None:
        """
        @param messages: the messages, each sent by a call of its own.
        @param expected: the data that it has to receive.
        @param slowWriter: whether it sends in small pieces.
        @param slowReader: whether it reads nothing as long as any peer makes progress,
            and then reads in small pieces.
        """
        connection.setblocking(False)
        self.connection = connection
        self.received = 0
        self.slowReader = slowReader
        self._pieces = messages
        if slowWriter:
            self._pieces = [
                message[start : start + SLOW_PIECE]
                for message in messages
                for start in range(0, len(message), SLOW_PIECE)
            ]
        self._expected = memoryview(expected)
        self._turn = 0
        self._left = memoryview(b"")

    @property
    def wants(self) -> int:
        """
        The events of L{selectors} that it waits for; 0 if it has finished.
        """
        writing = bool(self._left) or self._turn < len(self._pieces)
        reading = self.received < len(self._expected)
        return selectors.EVENT_WRITE * writing | selectors.EVENT_READ * reading

    def write(self) -> None:
        """
        Send as much of one message as the connection takes.
        """
        if not self._left:
            self._left = memoryview(self._pieces[self._turn])
            self._turn += 1
        self._left = self._left[self.connection.send(self._left) :]

    def read(self) -> None:
        """
        Receive, and check the data.
        """
        data = self.connection.recv(SLOW_PIECE if self.slowReader else 65536)
        self._check(data)
        for _ in range(SLOW_PIECES if self.slowReader else 0):
            try:
                data = self.connection.recv(SLOW_PIECE)
            except BlockingIOError:
                return
            self._check(data)

    def _check(self, data: bytes) -> None:
        start, self.received = self.received, self.received + len(data)
        if not data or data != self._expected[start : self.received]:
            raise AssertionError(
                f"{len(data)} bytes, not those expected from {start} on "
                f"of {len(self._expected)}"
            )


def converse(peers: list[Peer]) -> None:
    """
    Run all of the peers until they have finished.
    """
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            if peer.wants:
                first = selectors.EVENT_WRITE if peer.slowReader else peer.wants
                selector.register(peer.connection, first, peer)
        while selector.get_map():
            ready = selector.select(_LULL)
            if not ready:
                # No peer makes progress: now the slow ones read, or nothing would ever
                # happen again.
                for key in list(selector.get_map().values()):
                    selector.modify(key.fileobj, key.data.wants, key.data)
                ready = selector.select(TIMEOUT)
                if not ready:
                    raise AssertionError(_standstill(peers))
            for key, events in ready:
                peer = key.data
                if events & selectors.EVENT_READ:
                    peer.read()
                if events & selectors.EVENT_WRITE:
                    peer.write()
                wants = peer.wants
                if peer.slowReader and wants & selectors.EVENT_WRITE:
                    wants = selectors.EVENT_WRITE
                if wants:
                    selector.modify(peer.connection, wants, peer)
                else:
                    selector.unregister(peer.connection)
    for peer in peers:
        peer.connection.setblocking(True)
        peer.connection.settimeout(TIMEOUT)


def _standstill(peers: list[Peer]) -> str:
    waiting = [(peer.wants, peer.received) for peer in peers if peer.wants]
    return f"{len(waiting)} of {len(peers)} got no further: {waiting[:10]}"


def connectTo(port: int, receiveBuffer: int | None = None) -> socket.socket:
    """
    Connect to a port of this machine.

    @param receiveBuffer: the approximate size of the kernel's receive buffer in bytes.
        It is set before the connection is made: after a window has shrunk, only timers
        open it again.
    """
    client = socket.socket()
    try:
        if receiveBuffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receiveBuffer)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        client.close()
        raise
    return client


def reset(connection: socket.socket) -> None:
    """
    Close with a reset, as the kernel does for a client that crashes.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def receiveAll(connection: socket.socket) -> bytes:
    """
    Receive until the peer has closed.
    """
    received = bytearray()
    while piece := connection.recv(65536):
        received += piece
    return bytes(received)


def pattern(size: int) -> bytes:
    """
    Test data: the byte at offset k is k % 251. As 251 is a prime, no block is repeated
    at a multiple of its own size.
    """
    return (bytes(range(251)) * (size // 251 + 1))[:size]
