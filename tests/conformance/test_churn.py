"""
Tests for many short connections: all their resources are freed.

A small leak shows only after more connections than by default::

    IODEMO_BACKENDS=uring IODEMO_VISITS=1000000 scripts/test \
        tests.conformance.test_churn
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

from .hosting import (
    Host,
    childrenOf,
    descriptorsOf,
    eventually,
    memoryOf,
    threadsOf,
)
from .peers import Peer, connectTo, converse, reset
from .sizes import (
    MOST_GROWTH,
    MOST_GROWTH_OF_STACKS,
    VISITS,
    VISITS_AFTER,
    VISITS_AT_ONCE,
    VISITS_OF_PROCESSES,
)
from .stamping import BackendTestCase, sharesNothing, stamped


@stamped
class ChurnTests(BackendTestCase):
    """
    Tests for a server with many short visits.
    """

    def test_visits(self) -> None:
        """
        After many connections, ended in each way, some before any data was sent, the
        process has the same descriptors and threads as before, and no children, not
        even zombies. In the meantime the list of connections could always be read.
        """
        visits = VISITS_OF_PROCESSES if sharesNothing(self.model) else VISITS
        with self.host("visits.watched") as host:
            host.await_("listening")
            descriptors, threads = descriptorsOf(host.pid), threadsOf(host.pid)
            for number in range(visits // VISITS_AT_ONCE):
                _visit(host.port, _WAYS[number % len(_WAYS)], VISITS_AT_ONCE)
            for _ in range(VISITS_AT_ONCE):
                reset(host.connect())
            host.await_("gone", visits)
            self.assertLeft(host, descriptors)
            self.assertEqual(len(host.told("gone")), visits)
            eventually(
                lambda: len(threadsOf(host.pid)) == len(threads),
                lambda: (threads, threadsOf(host.pid)),
            )
            # The server still works.
            _visit(host.port, _close, 1)

    def test_memory(self) -> None:
        """
        After many connections, further ones do not increase the server's memory.
        """
        visits = VISITS_OF_PROCESSES if sharesNothing(self.model) else VISITS
        with self.host("visits.echo") as host:
            host.await_("listening")
            descriptors = descriptorsOf(host.pid)
            memory = [memoryOf(host.pid)]
            for count in (visits, VISITS_AFTER or visits):
                for number in range(count // VISITS_AT_ONCE):
                    _visit(host.port, _WAYS[number % len(_WAYS)], VISITS_AT_ONCE)
                self.assertLeft(host, descriptors)
                memory.append(memoryOf(host.pid))
        _, before, after = memory
        most = MOST_GROWTH_OF_STACKS if self.model.blocking else MOST_GROWTH
        self.assertLess(after - before, most, memory)

    def assertLeft(self, host: Host, descriptors: list[str]) -> None:
        """
        Check that a process has as many descriptors as before, and no children.
        """
        eventually(
            lambda: len(descriptorsOf(host.pid)) == len(descriptors),
            lambda: (descriptors, descriptorsOf(host.pid)),
        )
        eventually(lambda: not childrenOf(host.pid), lambda: childrenOf(host.pid))


def _visit(port: int, leave: Callable[[socket.socket], None], count: int) -> None:
    """
    Make many connections at the same time, send something on each, and close.
    """
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connectTo(port)) for _ in range(count)]
        converse([Peer(each, [b"hello"], b"hello") for each in connections])
        for connection in connections:
            leave(connection)


def _close(connection: socket.socket) -> None:
    connection.close()


def _halfClose(connection: socket.socket) -> None:
    """
    Shut down the sending side, and wait until the peer closes.
    """
    connection.shutdown(socket.SHUT_WR)
    select.select([connection], [], [])
    connection.close()


#: The ways in which a visit ends.
_WAYS: list[Callable[[socket.socket], None]] = [_close, reset, _halfClose]
