"""
Tests for the end of connections: in one direction, in both, by a reset, by an error.
"""

from __future__ import annotations

import contextlib
import socket

from ..children import exchange, receive
from .hosting import Host
from .peers import pattern, receiveAll, reset
from .sizes import LAST_WORDS, MIB
from .stamping import BackendTestCase, stamped


@stamped
class HalfCloseTests(BackendTestCase):
    """
    Tests for connections that have ended in one direction only.
    """

    def test_byClient(self) -> None:
        """
        If a peer shuts down its sending side, all its data is delivered, and it gets
        its answer. The protocol is called once for each end, in order.
        """
        with self.host("closing.answer") as host:
            client = host.connect()
            client.sendall(bytes(LAST_WORDS))
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(receiveAll(client), pattern(LAST_WORDS))
            host.await_("connectionLost")
        self.assertEqual(
            self.told(host),
            [
                "connectionMade",
                f"readConnectionLost {LAST_WORDS}",
                "writeConnectionLost",
                "connectionLost ConnectionDone",
            ],
        )

    def test_byServer(self) -> None:
        """
        If a protocol shuts down its sending side, it still receives the peer's data,
        and further writes are discarded.
        """
        with self.host("closing.greet") as host:
            client = host.connect()
            self.assertEqual(receiveAll(client), pattern(LAST_WORDS))
            host.await_("writeConnectionLost")
            client.sendall(bytes(LAST_WORDS))
            client.shutdown(socket.SHUT_WR)
            host.await_("connectionLost")
            self.assertEqual(client.recv(1), b"")
        self.assertEqual(
            self.told(host),
            [
                "connectionMade",
                "writeConnectionLost",
                f"readConnectionLost {LAST_WORDS}",
                "connectionLost ConnectionDone",
            ],
        )

    def test_notHalfCloseable(self) -> None:
        """
        For a protocol without half-close, the end of one direction is the end of both.
        """
        with self.host("closing.echo") as host:
            client = host.connect()
            self.assertEqual(exchange(client, b"hello"), b"hello")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")
            host.await_("connectionLost")
        self.assertEqual(
            self.told(host), ["connectionMade", "connectionLost ConnectionDone"]
        )

    def told(self, host: Host) -> list[str]:
        """
        The events of the connection, in order.
        """
        return [
            " ".join(map(str, event.values()))
            for event in host.events
            if event["event"].startswith(("conn", "read", "write"))
        ]


@stamped
class ResetTests(BackendTestCase):
    """
    Tests for connections that one side resets.
    """

    def test_whileIdle(self) -> None:
        """
        If a client resets the connection, it is lost once; other connections are not
        affected.
        """
        with self.host("closing.echo") as host:
            other, client = host.connect(), host.connect()
            for each in (other, client):
                self.assertEqual(exchange(each, b"hello"), b"hello")
            reset(client)
            host.await_("connectionLost")
            self.assertEqual(exchange(other, b"still"), b"still")
            other.close()
            host.await_("connectionLost", 2)
        self.assertEqual(_reasons(host), ["ConnectionLost", "ConnectionDone"])

    def test_whileWriting(self) -> None:
        """
        So it is if the client resets while it receives data.
        """
        with self.host("closing.lastWords") as host:
            for _ in range(3):
                client = host.connect(receiveBuffer=4096)
                client.sendall(b"s")
                receive(client, 1000)
                reset(client)
            host.await_("connectionLost", 3)
            client = host.connect()
            client.sendall(b"l")
            self.assertEqual(len(receiveAll(client)), LAST_WORDS)
            host.await_("connectionLost", 4)
        *earlier, last = _reasons(host)
        self.assertEqual(last, "ConnectionDone")
        # The kernel reports the error to one call only. If a write gets it, stock
        # Twisted then sometimes reads an end of file instead.
        self.assertEqual(len(earlier), 3)
        self.assertLessEqual(set(earlier), {"ConnectionLost", "ConnectionDone"})

    def test_byServer(self) -> None:
        """
        If a server aborts, it sends no more data: its client is reset, and its protocol
        loses the connection once.
        """
        with self.host("closing.lastWords") as host:
            client = host.connect(receiveBuffer=4096)
            client.sendall(b"a")
            host.await_("connectionLost")
            self.assertRaises(ConnectionResetError, receiveAll, client)
        self.assertEqual(_reasons(host), ["ConnectionAborted"])

    def test_afterwards(self) -> None:
        """
        After a protocol has aborted, only its C{connectionLost} is called, whatever it
        requests and its peer has sent.
        """
        count = 20
        with self.host("closing.abort") as host:
            for number in range(count):
                client = host.connect()
                with contextlib.suppress(ConnectionError):
                    client.sendall(bytes(MIB))
                host.await_("connectionLost", number + 1)
        self.assertEqual(_reasons(host), ["ConnectionAborted"] * count)
        self.assertEqual(host.told("dataReceived"), [])


@stamped
class CloseTests(BackendTestCase):
    """
    Tests for connections that the server closes.
    """

    def test_lastWords(self) -> None:
        """
        All data that is written before a connection is closed arrives, also at a slow
        reader.
        """
        with self.host("closing.lastWords") as host:
            client = host.connect(receiveBuffer=4096)
            client.sendall(b"l")
            self.assertEqual(receiveAll(client), pattern(LAST_WORDS))
            host.await_("connectionLost")
        self.assertEqual(_reasons(host), ["ConnectionDone"])

    def test_afterwards(self) -> None:
        """
        A write after C{loseConnection} does no harm: the data that was written before
        arrives. The later data may arrive or not.
        """
        with self.host("closing.lastWords") as host:
            client = host.connect()
            client.sendall(b"w")
            received = receiveAll(client)
            self.assertEqual(received[:LAST_WORDS], pattern(LAST_WORDS))
            self.assertIn(received[LAST_WORDS:], (b"", b"afterwards"))
            host.await_("connectionLost")
        self.assertEqual(_reasons(host), ["ConnectionDone"])

    def test_shutDownBehindItsBack(self) -> None:
        """
        If a protocol shuts down its socket, its connection is lost.
        """
        with self.host("closing.behindItsBack") as host:
            client = host.connect()
            client.sendall(b"s")
            self.assertEqual(client.recv(1), b"")
            host.await_("connectionLost")
        self.assertEqual(len(_reasons(host)), 1)

    def test_logged(self) -> None:
        """
        A log event about the end of a connection has the name of the connection,
        whichever side ends it.
        """
        with self.host("closing.lastWords") as host:
            host.connect().close()
            host.await_("connectionLost")
            for order in (b"l", b"c"):
                client = host.connect()
                client.sendall(order)
                receiveAll(client)
            host.await_("connectionLost", 3)
        prefixes = [event["prefix"] for event in host.told("logged")]
        self.assertEqual([each.split(",")[0] for each in prefixes], ["LastWords"] * 3)

    def test_atShutdown(self) -> None:
        """
        When the reactor is stopped, every protocol loses its connection.
        """
        with self.host("closing.echo") as host:
            clients = [host.connect() for _ in range(3)]
            for client in clients:
                self.assertEqual(exchange(client, b"hello"), b"hello")
            host.finish()
            for client in clients:
                self.assertEqual(client.recv(1), b"")
        self.assertEqual(len(_reasons(host)), 3)

    def test_exception(self) -> None:
        """
        A protocol that raises an exception loses its connection. The exception is
        logged, and other connections are not affected. Endless recursion is one such
        exception.
        """
        errors = ("RecursionError", "ZeroDivisionError")
        with self.host("closing.fragile", expecting=errors) as host:
            other, *clients = [host.connect() for _ in range(3)]
            for each in (other, *clients):
                self.assertEqual(exchange(each, b"hello"), b"hello")
            for count, order in enumerate((b"recurse", b"break")):
                clients[count].sendall(order)
                self.assertEqual(clients[count].recv(1), b"")
                host.await_("connectionLost", count + 1)
                self.assertEqual(exchange(other, b"still"), b"still")
        self.assertEqual(tuple(_reasons(host)[:2]), errors)


def _reasons(host: Host) -> list[str]:
    """
    The reasons of lost connections, in order.
    """
    return [event["reason"] for event in host.told("connectionLost")]
