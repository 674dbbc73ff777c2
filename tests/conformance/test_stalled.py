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

# Nobody has got on for so long: all are stalled. It decides only how full they are.
_LULL = 0.1


@stamped
class StalledTests(BackendTestCase):
    """
    Tests for what a server holds for them.
    """

    def stall(self, child: Child) -> list[socket.socket]:
        """
        Send on many connections, until nobody takes anything.
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
        It is bounded for each, and given back when they have closed, with their
        descriptors; also the second time. Others are served.
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
