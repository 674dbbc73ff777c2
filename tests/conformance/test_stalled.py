"""
Tests for peers that send without end and read nothing.
"""

from __future__ import annotations

import contextlib
import select
import socket

from ..children import Child, exchange
from .hosting import descriptorsOf, eventually, memoryOf
from .peers import connectTo
from .sizes import KIB, MOST_LEFT_OF_STALLED, MOST_OF_STALLED, STALLED
from .stamping import BackendTestCase, sharedState, stamped

# Seconds without progress after which all peers count as stalled. It only decides how
# full the buffers are.
_LULL = 0.1


@stamped
class StalledTests(BackendTestCase):
    """
    Tests for the memory that a server holds for such peers.
    """

    def stall(self, child: Child) -> list[socket.socket]:
        """
        Send on many connections until none of them accepts more.
        """
        peers = [connectTo(child.ports[0]) for _ in range(STALLED)]
        for peer in peers:
            self.addCleanup(peer.close)
            peer.setblocking(False)
        piece = bytes(256 * KIB)
        while writable := select.select([], peers, [], _LULL)[1]:
            for peer in writable:
                with contextlib.suppress(BlockingIOError):
                    peer.send(piece)
        return peers

    @sharedState
    def test_memory(self) -> None:
        """
        The memory is bounded for each, and is freed with the descriptors when they have
        closed; also the second time. Other connections are served.
        """
        child = self.twistd("iodemo-echo")
        with child.connect() as other:
            self.assertEqual(exchange(other, b"hello"), b"hello")
            descriptors = len(descriptorsOf(child.pid))
            before = memoryOf(child.pid)
            for _ in range(2):
                peers = self.stall(child)
                held = memoryOf(child.pid) - before
                self.assertLess(held, STALLED * MOST_OF_STALLED)
                self.assertEqual(exchange(other, b"still"), b"still")
                for peer in peers:
                    peer.close()
                eventually(
                    lambda: len(descriptorsOf(child.pid)) == descriptors,
                    lambda: (descriptors, descriptorsOf(child.pid)),
                )
                eventually(
                    lambda: memoryOf(child.pid) - before < MOST_LEFT_OF_STALLED,
                    lambda: memoryOf(child.pid) - before,
                )
                self.assertEqual(exchange(other, b"again"), b"again")
        child.stop()
