"""
Tests for connections on UNIX sockets, and for descriptors that are sent with bytes.
"""

from __future__ import annotations

import contextlib
import os
import socket

from ..children import TIMEOUT, receive
from .hosting import Host, descriptorsOf, eventually
from .peers import pattern
from .sizes import MIB
from .stamping import BackendTestCase, sharedState, stamped, stampedFor

_PASSED = 20


class _ServerTestCase(BackendTestCase):
    """
    Base of tests of servers; the test is a client.
    """

    def connect(self, host: Host) -> socket.socket:
        """
        Connect to it.
        """
        host.await_("listening")
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(TIMEOUT)
        client.connect(str(host.directory / "socket"))
        return client


@stamped
class StopTests(_ServerTestCase):
    """
    Tests for a server that ends.
    """

    @sharedState
    def test_stop(self) -> None:
        """
        It ends at once if it is stopped when a connection has ended, although no other
        event comes.
        """
        with self.host("unix.serve", protocol="last") as host:
            self.assertEqual(self.connect(host).recv(1), b"")
            host.await_("ended")


@stamped
class DescriptorTests(_ServerTestCase):
    """
    Tests for C{sendFileDescriptor} and C{fileDescriptorReceived}.
    """

    def pipe(self) -> int:
        """
        A descriptor of a new pipe.
        """
        reading, writing = os.pipe()
        os.close(reading)
        self.addCleanup(os.close, writing)
        return writing

    def pass_(self, client: socket.socket, descriptors: list[int]) -> None:
        """
        Send descriptors, each with a byte.
        """
        for descriptor in descriptors:
            socket.send_fds(client, [b"x"], [descriptor])

    def assertReturned(self, client: socket.socket, passed: list[int]) -> None:
        """
        Check that the sent descriptors come back in order, with every byte and many
        more.
        """
        said = pattern(MIB)
        expected = b"x" * len(passed) + said
        client.setblocking(False)
        received = b""
        returned: list[int] = []
        unsent = memoryview(said)

        def whole() -> bool:
            nonlocal received, unsent
            with contextlib.suppress(BlockingIOError):
                unsent = unsent[client.send(unsent) :]
            try:
                data, descriptors, _, _ = socket.recv_fds(client, 65536, 253)
            except BlockingIOError:
                return False
            returned.extend(descriptors)
            received += data
            return len(received) >= len(expected)

        try:
            eventually(whole, lambda: (len(received), len(unsent), len(returned)))
            self.assertTrue(received == expected)
            self.assertEqual(
                [os.fstat(each).st_ino for each in returned],
                [os.fstat(each).st_ino for each in passed],
            )
        finally:
            for descriptor in returned:
                os.close(descriptor)

    def test_returned(self) -> None:
        """
        Descriptors are received and sent, in order with the bytes.
        """
        with self.host("unix.serve", protocol="returning") as host:
            client = self.connect(host)
            passed = [self.pipe() for _ in range(_PASSED)]
            self.pass_(client, passed)
            self.assertReturned(client, passed)
            client.close()
            host.await_("connectionLost")

    def test_paused(self) -> None:
        """
        A descriptor that is sent to a paused connection is received later; at the end
        no descriptor is left open.
        """
        with self.host("unix.serve", protocol="paused") as host:
            host.await_("listening")
            before = descriptorsOf(host.pid)
            client = self.connect(host)
            host.await_("paused")
            passed = [self.pipe()]
            self.pass_(client, passed)
            host.permit("read")
            self.assertReturned(client, passed)
            client.close()
            host.await_("connectionLost")
            eventually(
                lambda: len(descriptorsOf(host.pid)) <= len(before),
                lambda: (before, descriptorsOf(host.pid)),
            )

    def test_overrun(self) -> None:
        """
        A descriptor that is sent without a byte is an error of that connection only.
        """
        with self.host("unix.serve", protocol="careless") as host:
            self.assertEqual(self.connect(host).recv(1), b"")
            lost = host.await_("connectionLost")
        self.assertEqual(lost["reason"], "FileDescriptorOverrun")


class _ListeningTestCase(BackendTestCase):
    """
    Base of tests of clients; the test is the server.
    """

    def listening(self, host: Host, backlog: int) -> socket.socket:
        """
        A listening socket for the client.
        """
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(TIMEOUT)
        server.bind(str(host.directory / "socket"))
        server.listen(backlog)
        return server

    def assertGreeted(self, server: socket.socket) -> None:
        """
        Check that the next accepted connection is the client's, and that it sends
        something.
        """
        with server.accept()[0] as connection:
            connection.settimeout(TIMEOUT)
            self.assertEqual(receive(connection, 5), b"hello")


@stamped
class ClientTests(_ListeningTestCase):
    """
    Tests for clients.
    """

    def test_connect(self) -> None:
        """
        A client connects, sends something and sees the end.
        """
        with self.host("unix.connect", timeout=TIMEOUT) as host:
            with self.listening(host, 5) as server:
                host.permit("connect")
                self.assertGreeted(server)
            host.await_("connectionLost")

    def test_nobody(self) -> None:
        """
        If no process listens, the connection fails with that reason.
        """
        with self.host("unix.connect", timeout=TIMEOUT) as host:
            self.listening(host, 5).close()
            host.permit("connect")
            failed = host.await_("failed")
        self.assertEqual(failed["why"], "ConnectionRefusedError")


@stampedFor("proactor", "uring", "proactor-asyncio", "uring-asyncio")
class FullTests(_ListeningTestCase):
    """
    Tests for a client of a server whose backlog is full. Twisted's own reactors either
    fail then, or spin.
    """

    def test_later(self) -> None:
        """
        It is connected when the backlog has space.
        """
        with self.host("unix.connect", timeout=TIMEOUT) as host:
            with self.listening(host, 0) as server:
                with socket.socket(socket.AF_UNIX) as first:
                    first.connect(server.getsockname())
                    host.permit("connect")
                    host.await_("connecting")
                    server.accept()[0].close()
                self.assertGreeted(server)
            host.await_("connectionLost")

    def test_never(self) -> None:
        """
        It gives up after its time-out.
        """
        with (
            self.host("unix.connect", timeout=0.1) as host,
            self.listening(host, 0) as server,
            socket.socket(socket.AF_UNIX) as first,
        ):
            first.connect(server.getsockname())
            host.permit("connect")
            failed = host.await_("failed")
        self.assertEqual(failed["why"], "TimeoutError")
