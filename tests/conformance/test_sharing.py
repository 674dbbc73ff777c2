"""
Tests for descriptors that a connection shares: another process or thread gets the
descriptor, another object uses it too, a forked process has a copy, or the next file
gets its number.
"""

from __future__ import annotations

import socket

from ..children import TIMEOUT, exchange
from .hosting import descriptorsOf, eventually
from .peers import receiveAll, reset
from .sizes import CONNECTIONS
from .stamping import BackendTestCase, sharedState, stamped, stampedFor

# How many times a connection is made again.
_TIMES = 20


@stamped
class HandingTests(BackendTestCase):
    """
    Tests for connections that stop reading, and are then read by another process or
    thread.
    """

    def assertHanded(self, when: str, taker: str) -> None:
        """
        Check that another process or thread receives all data of a connection that was
        passed to it.
        """
        with self.host("sharing.hand", when=when, taker=taker) as host:
            client = host.connect()
            if when == "received":
                client.sendall(b"go")
            elif when == "permitted":
                host.await_("connectionMade")
                host.permit("hand")
            host.await_("handed")
            for number in range(5):
                line = b"line %d\n" % number
                self.assertEqual(exchange(client, line), line)
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receiveAll(client), b"")
        self.assertEqual(host.told("received"), [])

    def test_processWhenMade(self) -> None:
        """
        A process that gets a connection as soon as it is made.
        """
        self.assertHanded("made", "process")

    def test_processWhenReceived(self) -> None:
        """
        A process that gets a connection when data has been received.
        """
        self.assertHanded("received", "process")

    def test_processLater(self) -> None:
        """
        A process that gets an idle connection.
        """
        self.assertHanded("permitted", "process")

    def test_threadWhenMade(self) -> None:
        """
        A thread that reads a connection as soon as that is made.
        """
        self.assertHanded("made", "thread")

    def test_threadWhenReceived(self) -> None:
        """
        A thread that reads a connection when data has been received.
        """
        self.assertHanded("received", "thread")

    def test_threadLater(self) -> None:
        """
        A thread that reads an idle connection.
        """
        self.assertHanded("permitted", "thread")

    @sharedState
    def test_restart(self) -> None:
        """
        A service stops its port, closes another connection and then passes this one on:
        data that had come in the meantime goes to the new reader.
        """
        with self.host("sharing.restart") as host:
            first = host.connect()
            host.await_("connectionMade", 1)
            client = host.connect()
            host.await_("connectionMade", 2)
            # Often enough for any optimisation that a reactor makes for a busy
            # connection.
            for number in range(20):
                said = b"%d" % number
                self.assertEqual(exchange(client, said), said)
            host.permit("restart")
            host.await_("waiting")
            self.assertEqual(exchange(client, b"early"), b"early")
            host.await_("handed")
            self.assertEqual(exchange(client, b"late"), b"late")
            self.assertEqual(first.recv(1), b"")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receiveAll(client), b"")
        self.assertEqual(host.told("received"), [])

    def test_lent(self) -> None:
        """
        A connection that reads again receives the data after the part that the other
        reader took.
        """
        with self.host("sharing.lend") as host:
            client = host.connect()
            client.sendall(b"first")
            self.assertEqual(host.await_("lent")["data"], "first")
            for said in (b"second", b"third"):
                self.assertEqual(exchange(client, said), said)

    def test_inetd(self) -> None:
        """
        Twisted's inetd serves several clients at once, each from its first byte.
        """
        with self.host("sharing.inetd") as host:
            clients = [host.connect() for _ in range(3)]
            for number in range(3):
                for client in clients:
                    line = b"line %d\n" % number
                    self.assertEqual(exchange(client, line), line)

    @sharedState
    def test_forgotten(self) -> None:
        """
        A connection that stopped reading and has no reference left is not kept: its
        descriptor is closed by the collector, as for any object.
        """
        with self.host("sharing.inetd") as host:
            host.await_("listening")
            before = descriptorsOf(host.pid)
            for _ in range(CONNECTIONS):
                with host.connect() as client:
                    self.assertEqual(exchange(client, b"hello"), b"hello")
            host.permit("collect")
            host.await_("collected")
            eventually(
                lambda: len(descriptorsOf(host.pid)) == len(before),
                lambda: (before, descriptorsOf(host.pid)),
            )


@stamped
class ClosedTests(BackendTestCase):
    """
    Tests for lost connections: when C{connectionLost} is called, the socket is closed,
    and its port and descriptor are free.
    """

    def assertReconnects(self, program: str, how: str) -> None:
        """
        Check that a program connects again, and again, when its connection is lost.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(TIMEOUT)
            port = server.getsockname()[1]
            with self.host(program, port=port, how=how, times=_TIMES) as host:
                for count in range(1, _TIMES + 1):
                    host.await_("connectionMade", count)
                    connection = server.accept()[0]
                    if how == "peer":
                        reset(connection)
                    else:
                        connection.settimeout(TIMEOUT)
                        with self.assertRaises(ConnectionResetError):
                            connection.recv(1)
                        connection.close()
                host.await_("ended")
        self.assertEqual(host.told("failed"), [])

    def test_port(self) -> None:
        """
        The port is free for another connection from there.
        """
        for how in ("peer", "abort", "paused"):
            self.assertReconnects("sharing.rebind", how)

    def test_descriptor(self) -> None:
        """
        The descriptor is free for another connection, when no others are left.
        """
        for how in ("peer", "abort", "paused"):
            self.assertReconnects("sharing.exhausted", how)

    def test_fork(self) -> None:
        """
        A process that is forked in C{connectionLost} does not have the socket: the peer
        sees the end while that process lives.
        """
        for later in (False, True):
            for how in ("abortConnection", "loseConnection"):
                with self.host("sharing.forkWhenLost", how=how, later=later) as host:
                    client = host.connect()
                    client.sendall(b"end")
                    host.await_("forked")
                    if how == "abortConnection":
                        with self.assertRaises(ConnectionResetError):
                            client.recv(1)
                    else:
                        self.assertEqual(receiveAll(client), b"")


@stamped
class ForkTests(BackendTestCase):
    """
    Tests for a process that is forked in a callback, and continues to run the reactor.
    """

    def test_goesOn(self) -> None:
        """
        The reactor runs in the child too; the parent and its connections are not
        affected.
        """
        for how in ("received", "timer"):
            with self.host("sharing.multiply", how=how) as host:
                client, other = host.connect(), host.connect()
                for each in (client, other):
                    self.assertEqual(exchange(each, b"still"), b"still")
                client.sendall(b"fork")
                self.assertEqual(host.await_("childEnded")["status"], 7)
                for each in (client, other):
                    self.assertEqual(exchange(each, b"still"), b"still")


@stampedFor(
    *("fork", "threads", "busypoll", "uvloop", "asyncio", "proactor", "uring"),
    *("proactor-asyncio", "uring-asyncio"),
)
class SameDescriptorTests(BackendTestCase):
    """
    Tests for several objects with one descriptor, as bindings of libraries have that
    open it themselves. In Twisted's own select, poll and epoll reactors, the second
    replaces the first.
    """

    def test_both(self) -> None:
        """
        A reader and a writer are both served, in whatever order they are added, also
        when one of them stops.
        """
        for order in ("reader first", "writer first"):
            with self.host("sharing.sameDescriptor", order=order) as host:
                host.await_("began")
                host.await_("wrote")
                host.permit("read")
                host.await_("read")
                host.permit("write")
                host.await_("wrote", 2)
                host.permit("read again")
                host.await_("read", 2)
                host.permit("write alone")
                host.await_("wrote", 3)
                host.permit("end")
                host.await_("ended")
            self.assertEqual(
                [each["data"] for each in host.told("read")], ["one", "two"]
            )
            self.assertEqual({each["name"] for each in host.told("read")}, {"reader"})
            self.assertEqual({each["name"] for each in host.told("wrote")}, {"writer"})
