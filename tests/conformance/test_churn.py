"""
Tests for connections that come and go: whatever they took is given back.

A leak too small for a few thousand of them shows after more::

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
        After many connections, ended in each way, some before a word was said,
        the process has the descriptors and the threads that it had before, and
        no children, not even dead ones. It could be asked meanwhile who is there.
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
            # It serves as it did.
            _visit(host.port, _close, 1)

    def test_memory(self) -> None:
        """
        Once it has served so many, it takes no memory for those that come after.
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
        Check that a process gets back to as many descriptors, and has no children.
        """
        eventually(
            lambda: len(descriptorsOf(host.pid)) == len(descriptors),
            lambda: (descriptors, descriptorsOf(host.pid)),
        )
        eventually(lambda: not childrenOf(host.pid), lambda: childrenOf(host.pid))


def _visit(port: int, leave: Callable[[socket.socket], None], count: int) -> None:
    """
    Come with so many connections at once, say something, and leave.
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
    End in the orderly way, and wait for the peer to do so too.
    """
    connection.shutdown(socket.SHUT_WR)
    select.select([connection], [], [])
    connection.close()


#: How a visit ends.
_WAYS: list[Callable[[socket.socket], None]] = [_close, reset, _halfClose]
