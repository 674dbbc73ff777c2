# -*- test-case-name: tests.test_echo -*-
"""
Tests for L{iodemo.services.echo}.
"""

from __future__ import annotations

import socket

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from iodemo.services.echo import Echo, EchoFactory

from .certificates import startTLS, tlsEndpoint, writeCertificate
from .children import TIMEOUT, Child, exchange, makeDirectory, quoted
from .transports import OverTransport

# Test data that is not periodic in any power of two, so that a shifted copy is
# different.
DATA = bytes(range(251)) * 4178


class EchoTests(SynchronousTestCase):
    """
    Tests for L{Echo}.
    """

    def setUp(self) -> None:
        """
        Connect an echo protocol.
        """
        protocol = EchoFactory().buildProtocol(None)
        assert isinstance(protocol, Echo)
        self.echo = protocol
        self.transport = StringTransport()
        self.echo.makeConnection(self.transport)

    def test_interfaces(self) -> None:
        """
        It provides the interfaces that it declares.
        """
        verifyObject(IHalfCloseableProtocol, self.echo)
        verifyObject(IPushProducer, self.echo)

    def test_back(self) -> None:
        """
        It sends back bytes.
        """
        for data in (b"a", b"", b"\0\xff\r\n"):
            self.echo.dataReceived(data)
        self.assertEqual(self.transport.value(), b"a\0\xff\r\n")

    def test_backpressure(self) -> None:
        """
        It stops reading while its transport's buffer is full.
        """
        self.assertTrue(self.transport.streaming)
        for _ in range(2):
            self.assertIs(self.transport.producer, self.echo)
            self.echo.pauseProducing()
            self.assertEqual(self.transport.producerState, "paused")
            self.echo.resumeProducing()
            self.assertEqual(self.transport.producerState, "producing")

    def test_over(self) -> None:
        """
        If it is resumed by a closed transport, it unregisters.
        """
        transport = OverTransport()
        self.echo.makeConnection(transport)
        self.echo.pauseProducing()
        transport.over = True
        self.echo.resumeProducing()
        self.assertIsNone(transport.producer)

    def test_halfClose(self) -> None:
        """
        When the peer has closed its sending side, it closes after everything is sent.
        It must unregister first: a transport waits for its producer.
        """
        self.echo.dataReceived(b"last")
        self.echo.readConnectionLost()
        self.assertIsNone(self.transport.producer)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.transport.value(), b"last")
        self.echo.connectionLost(Failure(ConnectionDone()))


class EchoChildTests(SynchronousTestCase):
    """
    Tests for C{iodemo-echo} in a process of its own.
    """

    def assertEchoes(self, connection: socket.socket) -> None:
        """
        Check that about a megabyte comes back unchanged.
        """
        with connection:
            self.assertEqual(exchange(connection, DATA), DATA)

    def test_tcp(self) -> None:
        """
        Over TCP, also with a peer that shuts down its sending side: it receives all its
        data, and then the end.
        """
        child = Child(self, "iodemo-echo")
        self.assertEchoes(child.connect())
        with child.connect() as client:
            self.assertEqual(exchange(client, DATA, shutdown=True), DATA)

    def test_tls(self) -> None:
        """
        Over TLS.
        """
        certificate = writeCertificate(makeDirectory(self))
        child = Child(self, "iodemo-echo", listen=tlsEndpoint(certificate))
        with startTLS(child.connect(), certificate) as client:
            for start in range(0, len(DATA), 65536):
                piece = DATA[start : start + 65536]
                client.sendall(piece)
                received = b""
                while len(received) < len(piece):
                    received += client.recv(len(piece) - len(received))
                self.assertEqual(received, piece)

    def test_unix(self) -> None:
        """
        Over a UNIX socket, half-close included.
        """
        path = makeDirectory(self) / "socket"
        child = Child(self, "iodemo-echo", listen=f"unix:{quoted(path)}")
        for shutdown in (False, True):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(TIMEOUT)
                client.connect(str(path))
                self.assertEqual(exchange(client, DATA, shutdown), DATA)
        child.stop()
        self.assertNotIn(b"Traceback", child.log)
        self.assertFalse(path.exists())

    def test_systemd(self) -> None:
        """
        On a listening socket that it inherits.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:
            Child(
                self,
                "iodemo-echo",
                listen="systemd:domain=INET:index=0",
                systemdSocket=listener,
            )
            address = listener.getsockname()
        # Only the child has the listening socket now.
        self.assertEchoes(socket.create_connection(address, TIMEOUT))

    def test_neverReads(self) -> None:
        """
        A peer that sends and does not read is blocked; when it reads, it receives all
        data.
        """
        child = Child(self, "iodemo-echo")
        total = 2**28
        sent = 0
        with child.connect() as client:
            # A blocked write is the only visible effect. On a machine that is too slow
            # this test proves less, but does not fail.
            client.settimeout(2)
            with self.assertRaises(TimeoutError):
                while sent < total:
                    sent += client.send(bytes(65536))
            self.assertGreater(sent, 0)
            client.settimeout(TIMEOUT)
            client.shutdown(socket.SHUT_WR)
            received = 0
            while piece := client.recv(65536):
                received += len(piece)
            self.assertEqual(received, sent)
