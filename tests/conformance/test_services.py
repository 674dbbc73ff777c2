"""
Tests for the services, end to end: under C{twistd}, plain and over TLS, over each kind
of socket.
"""

from __future__ import annotations

import contextlib
import socket
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from iodemo.services.http import PAGE

from ..certificates import startTLS, tlsEndpoint, writeCertificate
from ..children import TIMEOUT, Child, exchange, makeDirectory, quoted, receive
from .peers import pattern, receiveAll
from .sizes import KIB, LAST_WORDS, MIB
from .stamping import BackendTestCase, sharedState, stamped

_LISTEN = "tcp:0:interface=127.0.0.1"


class _ServiceTestCase(BackendTestCase):
    """
    Base of tests with a service on two endpoints; they check its log at the end.
    """

    def serve(self, *arguments: str) -> tuple[Child, list[socket.socket]]:
        """
        Start a service, and connect to it, plain and by TLS.
        """
        certificate = writeCertificate(makeDirectory(self))
        command, *options = arguments
        child = self.twistd(
            command, "--listen", tlsEndpoint(certificate), *options, listen=_LISTEN
        )
        return child, [self.connect(child), self.connectTLS(child, certificate)]

    def connect(self, child: Child) -> socket.socket:
        """
        Connect to the first of its ports.
        """
        connection = child.connect()
        self.addCleanup(connection.close)
        return connection

    def connectTLS(self, child: Child, certificate: Path) -> socket.socket:
        """
        Connect to the second of its ports.
        """
        address = ("127.0.0.1", child.ports[1])
        connection = startTLS(socket.create_connection(address, TIMEOUT), certificate)
        self.addCleanup(connection.close)
        return connection

    def assertStops(self, child: Child) -> None:
        """
        Check that the service ends after SIGTERM, with no error in its log.
        """
        child.stop()
        self.assertNotIn(b"Traceback", child.log)


@stamped
class EchoTests(_ServiceTestCase):
    """
    Tests for C{iodemo-echo}.
    """

    def test_echo(self) -> None:
        """
        Bytes come back, one by one and many at once; over TCP also after the peer has
        shut down its sending side.
        """
        child, connections = self.serve("iodemo-echo")
        for connection in connections:
            self.assertEqual(exchange(connection, b"x"), b"x")
            self.assertEqual(
                exchange(connection, pattern(LAST_WORDS)), pattern(LAST_WORDS)
            )
        plain = connections[0]
        self.assertEqual(exchange(plain, pattern(MIB), shutdown=True), pattern(MIB))
        self.assertStops(child)

    def test_unix(self) -> None:
        """
        The same over a UNIX socket.
        """
        path = makeDirectory(self) / "socket"
        child = self.twistd("iodemo-echo", listen=f"unix:{quoted(path)}")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(path))
            self.assertEqual(exchange(connection, b"x"), b"x")
            whole = exchange(connection, pattern(MIB), shutdown=True)
            self.assertEqual(whole, pattern(MIB))
        self.assertStops(child)
        self.assertFalse(path.exists())

    def test_systemd(self) -> None:
        """
        The same over an inherited socket.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:
            child = self.twistd(
                "iodemo-echo",
                listen="systemd:domain=INET:index=0",
                systemdSocket=listener,
            )
            address = listener.getsockname()
        with socket.create_connection(address, TIMEOUT) as connection:
            self.assertEqual(exchange(connection, pattern(MIB)), pattern(MIB))
        self.assertStops(child)

    def test_udp(self) -> None:
        """
        The same by datagrams of each possible size, one by one, to a program instead of
        a service.
        """
        with (
            self.host("datagrams.echo") as host,
            socket.socket(type=socket.SOCK_DGRAM) as client,
        ):
            client.settimeout(TIMEOUT)
            client.connect(("127.0.0.1", host.port))
            for size in (1, 0, KIB, 65507):
                client.send(pattern(size))
                self.assertEqual(client.recv(65536), pattern(size))

    def test_killed(self) -> None:
        """
        On an inherited socket, a client that connects after the server was killed is
        answered by the next server.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> Child:
                return self.twistd(
                    "iodemo-echo",
                    listen="systemd:domain=INET:index=0",
                    systemdSocket=listener,
                )

            killed = serve()
            address = listener.getsockname()
            with socket.create_connection(address, TIMEOUT) as before:
                self.assertEqual(exchange(before, b"x"), b"x")
                killed.kill()
                with socket.create_connection(address, TIMEOUT) as between:
                    between.sendall(b"y")
                    child = serve()
                    self.assertEqual(between.recv(1), b"y")
            self.assertStops(child)


@stamped
class HTTPTests(_ServiceTestCase):
    """
    Tests for C{iodemo-http}.
    """

    def test_pages(self) -> None:
        """
        The page, bytes and files, all over one connection that is kept open.
        """
        directory = makeDirectory(self)
        (directory / "file").write_bytes(pattern(MIB))
        child, connections = self.serve("iodemo-http", "--path", str(directory))
        for connection in connections:
            with connection.makefile("rb") as stream:
                for path, body in (
                    ("/", PAGE),
                    ("/bytes/0", b""),
                    (f"/bytes/{MIB}", bytes(range(256)) * (MIB // 256)),
                    ("/file", pattern(MIB)),
                    ("/", PAGE),
                ):
                    connection.sendall(_request(path))
                    self.assertEqual(_response(stream), (b"HTTP/1.1 200 OK", body))
                connection.sendall(_request("/missing"))
                self.assertEqual(_response(stream)[0], b"HTTP/1.1 404 Not Found")
        self.assertStops(child)

    def test_pipelining(self) -> None:
        """
        Requests that are sent before the first answer are all answered, in order. The
        connection is closed after the last, if the request has that header.
        """
        child, connections = self.serve("iodemo-http")
        # Not more than a transport buffers: under any reactor twisted.web hangs where a
        # second pull producer starts while the data of the first is not sent.
        sizes = [1, 10000, 0, 5, 1000, 17] * 3
        requests = [_request(f"/bytes/{size}") for size in sizes]
        for connection in connections:
            connection.sendall(b"".join(requests))
            connection.sendall(_request("/", "Connection: close\r\n"))
            with connection.makefile("rb") as stream:
                for size in sizes:
                    self.assertEqual(len(_response(stream)[1]), size)
                self.assertEqual(_response(stream)[1], PAGE)
                self.assertEqual(stream.read(), b"")
        self.assertStops(child)


@stamped
class StreamTests(_ServiceTestCase):
    """
    Tests for C{iodemo-stream}.
    """

    def test_source(self) -> None:
        """
        Bytes come as long as they are read, in order, on both connections at the same
        time, and end with the service.
        """
        child, connections = self.serve("iodemo-stream", "--size=10000")
        expected = bytes(range(256)) * (LAST_WORDS // 256)
        for connection in connections:
            self.assertEqual(receive(connection, len(expected)), expected)
        self.assertStops(child)
        rest = receiveAll(connections[0])
        self.assertEqual(rest, (expected + rest)[: len(rest)])

    def test_sink(self) -> None:
        """
        A sink receives everything, and closes when its peer has shut down its sending
        side.
        """
        child, (plain, tls) = self.serve("iodemo-stream", "--sink")
        for connection in (plain, tls):
            connection.sendall(bytes(LAST_WORDS))
        plain.shutdown(socket.SHUT_WR)
        self.assertEqual(plain.recv(1), b"")
        self.assertStops(child)


@stamped
class ChatTests(_ServiceTestCase):
    """
    Tests for C{iodemo-chat}.
    """

    @sharedState
    def test_everyone(self) -> None:
        """
        A line is sent to all clients, by TCP and TLS.
        """
        child, connections = self.serve("iodemo-chat")
        connections += [self.connect(child) for _ in range(5)]
        streams = []
        for number, connection in enumerate(connections):
            streams.append(_enter(connection, b"%d enters\n" % number))
        # Some have received the lines of others that entered. All receive the following
        # lines.
        connections[0].sendall(b"now\n")
        for stream in streams:
            _awaitLine(stream, b"now\n")
        for number, connection in enumerate(connections):
            line = b"%d speaks\n" % number
            connection.sendall(line)
            for stream in streams:
                self.assertEqual(stream.readline(), line)
        self.assertStops(child)

    @sharedState
    def test_lineTooLong(self) -> None:
        """
        A client that sends a line without an end is disconnected; the others stay
        connected.
        """
        child, (plain, tls) = self.serve("iodemo-chat", "--line-limit", "100")
        self.assertEqual(exchange(tls, b"hi\n"), b"hi\n")
        with contextlib.suppress(ConnectionError):
            plain.sendall(b"x" * 101)
            while plain.recv(100):
                pass
        child.await_(b"a line over 100 bytes")
        self.assertEqual(exchange(tls, b"still\n"), b"still\n")
        self.assertStops(child)

    @sharedState
    def test_slowReader(self) -> None:
        """
        A client that does not read does not stop others from sending and receiving, and
        is dropped in the end.
        """
        child, (slow, other) = self.serve("iodemo-chat", "--backlog", "65536")
        stream = _enter(other, b"other\n")
        _enter(slow, b"slow\n")
        _awaitLine(stream, b"slow\n")
        lines = (b"x" * 4000 + b"\n") * 8
        for _ in range(64 * MIB // len(lines)):
            if b"reads too slowly" in child.log:
                break
            self.assertEqual(exchange(other, lines), lines)
            child.readLog()
        child.await_(b"reads too slowly, over 65536 bytes behind")
        self.assertEqual(exchange(other, b"still\n"), b"still\n")
        self.assertStops(child)


def _enter(connection: socket.socket, line: bytes) -> RawIOBase:
    """
    Enter the room by a line of its own on each connection: a client that has received
    its own line is in the room.
    """
    stream = connection.makefile("rb", buffering=0)
    connection.sendall(line)
    _awaitLine(stream, line)
    return stream


def _awaitLine(stream: RawIOBase, line: bytes) -> None:
    """
    Read lines up to this one.
    """
    while (read := stream.readline()) != line:
        if not read:
            raise AssertionError(f"the end, and no {line!r}")


def _request(path: str, header: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: iodemo\r\n{header}\r\n".encode()


def _response(stream: BinaryIO) -> tuple[bytes, bytes]:
    """
    Read one response: its first line and its body.
    """
    head = iter(stream.readline, b"\r\n")
    status = next(head).rstrip()
    headers = dict(line.rstrip().lower().split(b": ", 1) for line in head)
    return status, stream.read(int(headers[b"content-length"]))
