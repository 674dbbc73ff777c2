"""
Tests for how connections end: in one direction, in both, at once, by mistake.
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
    Tests for connections that are over in one direction only.
    """

    def test_byClient(self) -> None:
        """
        A peer that has said everything is heard to the end and has its answer.
        The protocol is told once of each end, in order.
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
        A protocol that has said everything still hears what the peer says, and
        writes nothing any more.
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
        To a protocol that knows of no half, the end of one is the end of both.
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
        What has happened to the connection, in order.
        """
        return [
            " ".join(map(str, event.values()))
            for event in host.events
            if event["event"].startswith(("conn", "read", "write"))
        ]


@stamped
class ResetTests(BackendTestCase):
    """
    Tests for connections that one side ends at once.
    """

    def test_whileIdle(self) -> None:
        """
        A client that resets the connection is gone, once; nobody else is.
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
        So is one that resets it in the middle of what it is sent.
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
        # The error is told to one call only. Where a reset and a write meet, stock
        # Twisted reads an end instead now and then.
        self.assertEqual(len(earlier), 3)
        self.assertLessEqual(set(earlier), {"ConnectionLost", "ConnectionDone"})

    def test_byServer(self) -> None:
        """
        A server that aborts sends no more of what it had to say: its client is
        reset, and its protocol is told once.
        """
        with self.host("closing.lastWords") as host:
            client = host.connect(receiveBuffer=4096)
            client.sendall(b"a")
            host.await_("connectionLost")
            self.assertRaises(ConnectionResetError, receiveAll, client)
        self.assertEqual(_reasons(host), ["ConnectionAborted"])

    def test_afterwards(self) -> None:
        """
        To a protocol that has aborted nothing is told any more but that its connection
        is lost, whatever it asks for and its peer has sent.
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
        Everything written before a connection is closed arrives, with a peer
        that is slow to read it too.
        """
        with self.host("closing.lastWords") as host:
            client = host.connect(receiveBuffer=4096)
            client.sendall(b"l")
            self.assertEqual(receiveAll(client), pattern(LAST_WORDS))
            host.await_("connectionLost")
        self.assertEqual(_reasons(host), ["ConnectionDone"])

    def test_afterwards(self) -> None:
        """
        To write once more after that does no harm: what was written before
        arrives. The rest may.
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
        A protocol that shuts its socket down ends its connection, and is told so.
        """
        with self.host("closing.behindItsBack") as host:
            client = host.connect()
            client.sendall(b"s")
            self.assertEqual(client.recv(1), b"")
            host.await_("connectionLost")
        self.assertEqual(len(_reasons(host)), 1)

    def test_logged(self) -> None:
        """
        What is logged at the end of a connection has its name, whoever ends it.
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
        Told to end, a reactor tells every protocol that its connection is lost.
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
        A protocol that raises an exception loses its connection, and is told
        so; the exception is logged, and nobody else notices. That it recurses
        without end is one more exception.
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
    Why connections were lost, in order.
    """
    return [event["reason"] for event in host.told("connectionLost")]
