"""
Tests for connections that come and go: whatever they took is given back.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from .hosting import Host, childrenOf, descriptorsOf, eventually, threadsOf
from .peers import Peer, converse, reset
from .sizes import VISITS, VISITS_AT_ONCE, VISITS_OF_PROCESSES
from .stamping import BackendTestCase, sharesNothing, stamped


@stamped
class ChurnTests(BackendTestCase):
    """
    Tests for a server with many short visits.
    """

    def test_visits(self) -> None:
        """
        After many connections, ended in each way, some before a word was said,
        the process has the descriptors and the threads that it had before, and
        no children, not even dead ones. It could be asked meanwhile who is there.
        """
        ways: list[Callable[[socket.socket], None]] = [_close, reset, _halfClose]
        visits = VISITS_OF_PROCESSES if sharesNothing(self.model) else VISITS
        with self.host("visits.watched") as host:
            host.await_("listening")
            descriptors, threads = descriptorsOf(host.pid), threadsOf(host.pid)
            for number in range(visits // VISITS_AT_ONCE):
                _visit(host, ways[number % len(ways)], VISITS_AT_ONCE)
            for _ in range(VISITS_AT_ONCE):
                reset(host.connect())
            self.assertReturned(host, visits)
            eventually(
                lambda: len(descriptorsOf(host.pid)) == len(descriptors),
                lambda: (descriptors, descriptorsOf(host.pid)),
            )
            eventually(
                lambda: len(threadsOf(host.pid)) == len(threads),
                lambda: (threads, threadsOf(host.pid)),
            )
            # It serves as it did.
            _visit(host, _close, 1)

    def assertReturned(self, host: Host, visits: int) -> None:
        """
        Check that every visit that was answered has ended, once.
        """
        host.await_("gone", visits)
        eventually(lambda: not childrenOf(host.pid), lambda: childrenOf(host.pid))
        self.assertEqual(len(host.told("gone")), visits)


def _visit(host: Host, leave: Callable[[socket.socket], None], count: int) -> None:
    """
    Come with so many connections at once, say something, and leave.
    """
    connections = [host.connect() for _ in range(count)]
    converse([Peer(connection, [b"hello"], b"hello") for connection in connections])
    for connection in connections:
        leave(connection)


def _close(connection: socket.socket) -> None:
    connection.close()


def _halfClose(connection: socket.socket) -> None:
    """
    End in the orderly way, and wait for the peer to do so too.
    """
    connection.shutdown(socket.SHUT_WR)
    select.select([connection], [], [])
    connection.close()
