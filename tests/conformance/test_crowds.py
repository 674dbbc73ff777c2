"""
Tests for many connections at the same time, and for one beyond the bound.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from unittest import mock

from ..children import Child, exchange
from .hosting import childrenOf, eventually, threadsOf
from .peers import Peer, connectTo, converse
from .sizes import HELD, HELD_OF_PROCESSES, VISITS_AT_ONCE
from .stamping import BackendTestCase, stamped, stampedFor

#: By backend: the variable that bounds the number of connections, the unit of the
#: bound, and a function that counts the units of a process.
_BOUNDED: dict[str, tuple[str, str, Callable[[int], int]]] = {
    "fork": ("IODEMO_FORK_MAX", "processes", lambda pid: len(childrenOf(pid))),
    # The main thread does not count.
    "threads": ("IODEMO_THREADS_MAX", "threads", lambda pid: len(threadsOf(pid)) - 1),
}


@stamped
class CrowdTests(BackendTestCase):
    """
    Tests for many connections.
    """

    def test_held(self) -> None:
        """
        While many connections are open, each is answered, all together and one by one;
        up to the bound, where there is one. When the service ends, which it does
        without SIGKILL, each peer sees the end.
        """
        count = self.capacity(HELD, HELD_OF_PROCESSES)
        bounds = {variable: str(count) for variable, _, _ in _BOUNDED.values()}
        with mock.patch.dict(os.environ, bounds):
            child = self.twistd(
                "iodemo-echo", listen="tcp:0:interface=127.0.0.1:backlog=200"
            )
        connections: list[socket.socket] = []
        while len(connections) < count:
            for _ in range(VISITS_AT_ONCE):
                connections.append(connectTo(child.ports[0]))
                self.addCleanup(connections[-1].close)
            some = connections[-VISITS_AT_ONCE:]
            converse([Peer(each, [b"hello"], b"hello") for each in some])
        converse([Peer(each, [b"all"], b"all") for each in connections])
        for each in connections:
            each.sendall(b"one")
            self.assertEqual(each.recv(3), b"one")
        child.stop()
        for each in connections:
            self.assertEqual(each.recv(1), b"")
        for word in (b"Traceback", b"SIGKILL", b"are the most"):
            self.assertNotIn(word, child.log)


@stampedFor(*_BOUNDED)
class BoundTests(BackendTestCase):
    """
    Tests for backends that need a process or thread for each connection, with a bound
    on their number.
    """

    def test_each(self) -> None:
        """
        There is one for each connection, and it ends with the connection.
        """
        _, _, number = _BOUNDED[self.model.name]
        child = self.twistd("iodemo-echo")
        connections = [self.visit(child) for _ in range(6)]
        self.assertEqual(number(child.pid), 6)
        for connection in connections[:4]:
            connection.close()
        eventually(lambda: number(child.pid) == 2, lambda: number(child.pid))
        for connection in connections[4:]:
            self.assertEqual(exchange(connection, b"still"), b"still")
        child.stop()

    def test_late(self) -> None:
        """
        A connection beyond the bound waits, with one line in the log, until another
        ends; the served connections are not affected.
        """
        variable, unit, number = _BOUNDED[self.model.name]
        with mock.patch.dict(os.environ, {variable: "5"}):
            child = self.twistd("iodemo-echo")
        connections = [self.visit(child) for _ in range(5)]
        for _ in range(2):
            late = child.connect()
            self.addCleanup(late.close)
            late.sendall(b"hello")
            child.await_(f"5 {unit} are the most ({variable})".encode())
            for connection in connections:
                self.assertEqual(exchange(connection, b"still"), b"still")
            # A process or thread whose connection has ended may still be ending itself.
            eventually(lambda: number(child.pid) == 5, lambda: number(child.pid))
            self.assertEqual(select.select([late], [], [], 0)[0], [])
            connections.pop(0).close()
            self.assertEqual(late.recv(5), b"hello")
            connections.append(late)
        connections.pop(0).close()
        child.await_(b"connections are accepted again")
        self.visit(child)
        child.stop()
        self.assertEqual(child.log.count(b"are the most"), 1)
        self.assertEqual(child.log.count(b"accepted again"), 1)

    def visit(self, child: Child) -> socket.socket:
        """
        Connect to a service, and wait for an answer.
        """
        connection = child.connect()
        self.addCleanup(connection.close)
        self.assertEqual(exchange(connection, b"hello"), b"hello")
        return connection
