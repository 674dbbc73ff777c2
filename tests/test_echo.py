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

# Not periodic in any power of two, so that no shift of it looks the same.
DATA = bytes(range(251)) * 4178


class EchoTests(SynchronousTestCase):
    """
    Tests for L{Echo}.
    """

    def setUp(self) -> None:
        """
        Connect one.
        """
        protocol = EchoFactory().buildProtocol(None)
        assert isinstance(protocol, Echo)
        self.echo = protocol
        self.transport = StringTransport()
        self.echo.makeConnection(self.transport)

    def test_interfaces(self) -> None:
        """
        It is what it says it is.
        """
        verifyObject(IHalfCloseableProtocol, self.echo)
        verifyObject(IPushProducer, self.echo)

    def test_back(self) -> None:
        """
        Bytes come back.
        """
        for data in (b"a", b"", b"\0\xff\r\n"):
            self.echo.dataReceived(data)
        self.assertEqual(self.transport.value(), b"a\0\xff\r\n")

    def test_backpressure(self) -> None:
        """
        It stops reading while its transport has enough to send.
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
        Resumed by a transport that is over, it lets go of it.
        """
        transport = OverTransport()
        self.echo.makeConnection(transport)
        self.echo.pauseProducing()
        transport.over = True
        self.echo.resumeProducing()
        self.assertIsNone(transport.producer)

    def test_halfClose(self) -> None:
        """
        When the peer has sent everything, it closes once it has too: a transport
        waits for a producer, so there must be none.
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
        Check that about a megabyte comes back as it was.
        """
        with connection:
            self.assertEqual(exchange(connection, DATA), DATA)

    def test_tcp(self) -> None:
        """
        Over TCP; and a peer who sends all of it, and says so, gets all of it,
        and the end.
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
        On a socket it is given already listening.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:
            Child(
                self,
                "iodemo-echo",
                listen="systemd:domain=INET:index=0",
                systemdSocket=listener,
            )
            address = listener.getsockname()
        # Only the child can accept it now.
        self.assertEchoes(socket.create_connection(address, TIMEOUT))

    def test_neverReads(self) -> None:
        """
        A peer who sends and does not read is made to wait; once it reads, it
        has everything there was.
        """
        child = Child(self, "iodemo-echo")
        total = 2**28
        sent = 0
        with child.connect() as client:
            # That a write waits is all there is to be seen. On a machine that
            # is too slow this proves less, and does not fail.
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
