"""
Tests for connections on UNIX sockets, and for descriptors that go along with bytes.
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
    Tests of servers, of which the test is a client.
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
        It ends at once if it is stopped when a connection has ended, though nothing
        else happens.
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
        A descriptor that is like no other.
        """
        reading, writing = os.pipe()
        os.close(reading)
        self.addCleanup(os.close, writing)
        return writing

    def pass_(self, client: socket.socket, descriptors: list[int]) -> None:
        """
        Pass these, each with a byte.
        """
        for descriptor in descriptors:
            socket.send_fds(client, [b"x"], [descriptor])

    def assertReturned(self, client: socket.socket, passed: list[int]) -> None:
        """
        Check that these, which were passed, come back in their order, and every byte,
        also of many that come behind.
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
        What is passed to one who does not receive is received later; at the end
        nothing is left open.
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
        To send a descriptor and no byte is an error, of that connection alone.
        """
        with self.host("unix.serve", protocol="careless") as host:
            self.assertEqual(self.connect(host).recv(1), b"")
            lost = host.await_("connectionLost")
        self.assertEqual(lost["reason"], "FileDescriptorOverrun")


class _ListeningTestCase(BackendTestCase):
    """
    Tests of clients, for which the test is the server.
    """

    def listening(self, host: Host, backlog: int) -> socket.socket:
        """
        A socket for the client to connect to.
        """
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(TIMEOUT)
        server.bind(str(host.directory / "socket"))
        server.listen(backlog)
        return server

    def assertGreeted(self, server: socket.socket) -> None:
        """
        Check that the client is the next to be accepted, and says something.
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
        A client connects, says something and is told of the end.
        """
        with self.host("unix.connect", timeout=TIMEOUT) as host:
            with self.listening(host, 5) as server:
                host.permit("connect")
                self.assertGreeted(server)
            host.await_("connectionLost")

    def test_nobody(self) -> None:
        """
        Where nobody listens, that is what is said.
        """
        with self.host("unix.connect", timeout=TIMEOUT) as host:
            self.listening(host, 5).close()
            host.permit("connect")
            failed = host.await_("failed")
        self.assertEqual(failed["why"], "ConnectionRefusedError")


@stampedFor("proactor", "uring")
class FullTests(_ListeningTestCase):
    """
    Tests for a client of a server that has no room for it, which under Twisted's own
    reactors either fails or asks without pause.
    """

    def test_later(self) -> None:
        """
        It is connected when there is room.
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
        It gives up when it wanted to.
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
