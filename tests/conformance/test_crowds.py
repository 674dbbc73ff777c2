"""
Tests for many connections at once, and for one too many.
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

#: What bounds the number of connections, by backend; what there is for each of them;
#: and how to count that, by process id.
_BOUNDED: dict[str, tuple[str, str, Callable[[int], int]]] = {
    "fork": ("IODEMO_FORK_MAX", "processes", lambda pid: len(childrenOf(pid))),
    # One thread more is the main one.
    "threads": ("IODEMO_THREADS_MAX", "threads", lambda pid: len(threadsOf(pid)) - 1),
}


@stamped
class CrowdTests(BackendTestCase):
    """
    Tests for many connections.
    """

    def test_held(self) -> None:
        """
        Each of many connections is answered while all are open, together and one by
        one; as many as there may be, where a number is set. When the service ends,
        which needs no force, each peer sees that.
        """
        count = self.room(HELD, HELD_OF_PROCESSES)
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
    Tests for backends that need something for each connection, and have so many of
    that and no more.
    """

    def test_each(self) -> None:
        """
        There is one for each connection, and it ends with that.
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
        One connection too many waits, with one line in the log, until another
        ends; those that are served notice nothing of it.
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
            # One that has served its connection may be about to end.
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
        Connect to a service, and be answered.
        """
        connection = child.connect()
        self.addCleanup(connection.close)
        self.assertEqual(exchange(connection, b"hello"), b"hello")
        return connection
