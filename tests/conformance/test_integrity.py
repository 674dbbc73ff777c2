"""
Tests that all bytes arrive, once, unchanged and in order.
"""

from __future__ import annotations

import random
import socket

from .peers import Peer, connectTo, converse
from .programs.frames import answer, message
from .sizes import CONNECTIONS, LARGEST_MESSAGE, MESSAGES, SLOW_BUFFER
from .stamping import BackendTestCase, stamped


@stamped
class IntegrityTests(BackendTestCase):
    """
    Tests for messages of random sizes, on many connections at once.
    """

    def test_frames(self) -> None:
        """
        A server that writes each answer with one call delivers all of it to any reader,
        and parses messages from any writer.
        """
        with self.randomness() as source, self.host("frames.serve") as host:
            peers = []
            for number in range(CONNECTIONS):
                messages: list[bytes] = []
                answers: list[bytes] = []
                for _ in range(MESSAGES):
                    seed = source.getrandbits(32)
                    body, wanted = source.randbytes(_size(source)), _size(source)
                    messages.append(message(body, wanted, seed))
                    answers += answer(body, wanted, seed)
                peers.append(self.peer(number, host.port, messages, answers))
            converse(peers)

    def test_echo(self) -> None:
        """
        So does a server that stops reading while its peer does not read.
        """
        with self.randomness() as source:
            child = self.twistd("iodemo-echo")
            peers = []
            for number in range(CONNECTIONS):
                messages = [source.randbytes(_size(source)) for _ in range(MESSAGES)]
                peers.append(self.peer(number, child.ports[0], messages, messages))
            converse(peers)
            for peer in peers:
                peer.connection.shutdown(socket.SHUT_WR)
                self.assertEqual(peer.connection.recv(1), b"")
            child.stop()
            self.assertNotIn(b"Traceback", child.log)

    def peer(
        self, number: int, port: int, messages: list[bytes], answers: list[bytes]
    ) -> Peer:
        """
        Make a peer of each kind: quick and slow, in both directions.
        """
        slowWriter, slowReader = number % 4 in (1, 3), number % 4 in (2, 3)
        connection = connectTo(port, SLOW_BUFFER if slowReader else None)
        self.addCleanup(connection.close)
        return Peer(connection, messages, b"".join(answers), slowWriter, slowReader)


def _size(source: random.Random) -> int:
    """
    A random size of a message, uniform on a logarithmic scale.
    """
    return int(LARGEST_MESSAGE ** source.random())
