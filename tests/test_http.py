# -*- test-case-name: tests.test_http -*-
"""
Tests for L{iodemo.services.http}, by raw sockets where the exact bytes of a request
matter.
"""

from __future__ import annotations

import http.client
import os
import socket

from twisted.internet.interfaces import IPullProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from iodemo.services.http import (
    MOST_BYTES,
    PAGE,
    PATIENCE,
    Channel,
    Pattern,
    Site,
    makeSite,
)

from .certificates import startTLS, tlsEndpoint, writeCertificate
from .children import TIMEOUT, Child, makeDirectory, quoted

SECRET = b"no client may read this"


def get(
    connection: socket.socket,
    target: bytes,
    method: bytes = b"GET",
    headers: bytes = b"",
) -> tuple[int, dict[str, str], bytes]:
    """
    Send a request, exactly as given, and leave the connection open.

    @param headers: further header lines, each with its line ending.
    @return: the status, the headers by lower-case name, the body.
    """
    head = b" HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n"
    connection.sendall(method + b" " + target + head)
    return answer(connection, method)


def answer(
    connection: socket.socket, method: bytes = b"GET"
) -> tuple[int, dict[str, str], bytes]:
    """
    Receive one answer, and no byte of the next one.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise AssertionError(f"the connection ended after {head!r}")
        head += byte
    first, *lines = head.decode("ascii").strip().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in pairs}
    status = int(first.split()[1])
    if status == 400 and not headers:
        # The answer to a request that is not HTTP, after which the connection ends.
        assert not connection.recv(1)
        return status, headers, b""
    length = 0 if method == b"HEAD" else int(headers["content-length"])
    body = bytearray()
    while len(body) < length:
        piece = connection.recv(length - len(body))
        if not piece:
            raise AssertionError(f"the body ended after {len(body)} of {length} bytes")
        body += piece
    return status, headers, bytes(body)


def laterLog(child: Child) -> bytes:
    """
    Stop a service.

    @return: its log since it started to listen.
    """
    child.stop()
    return child.log.split(b" listens on ", 1)[1]


def pattern(size: int) -> bytes:
    """
    The body of C{/bytes/N}.
    """
    return (bytes(range(256)) * (size // 256 + 1))[:size]


class PatternTests(SynchronousTestCase):
    """
    Tests for L{Pattern}.
    """

    def test_asked(self) -> None:
        """
        It writes one chunk for each call of C{resumeProducing}.
        """
        written: list[bytes] = []

        class Request:
            finished = False

            def write(self, data: bytes) -> None:
                written.append(data)

            def unregisterProducer(self) -> None:
                pass

            def finish(self) -> None:
                self.finished = True

        request = Request()
        producer = Pattern(request, 150000)  # type: ignore[arg-type]
        verifyObject(IPullProducer, producer)
        self.assertEqual(written, [])
        for sizes in ([65536], [65536, 65536], [65536, 65536, 18928]):
            self.assertFalse(request.finished)
            producer.resumeProducing()
            self.assertEqual([len(chunk) for chunk in written], sizes)
        self.assertTrue(request.finished)
        self.assertEqual(b"".join(written), pattern(150000))


class HTTPChildTests(SynchronousTestCase):
    """
    Tests for C{iodemo-http} in a process of its own.
    """

    def start(self, *options: str, listen: str | None = None) -> socket.socket:
        """
        Start the server, and connect to it.
        """
        self.child = Child(self, "iodemo-http", *options, listen=listen)
        connection = self.child.connect()
        self.addCleanup(connection.close)
        return connection

    def assertQuiet(self) -> None:
        """
        Check that the log has no line since the start: no request, no error.
        """
        later = laterLog(self.child)
        for word in (b"Traceback", b"rror", b"HTTP/1.1", b"GET"):
            self.assertNotIn(word, later)

    def test_page(self) -> None:
        """
        There is one page, the same every time, and no other. One connection serves all
        requests.
        """
        client = self.start()
        for _ in range(2):
            status, headers, body = get(client, b"/")
            self.assertEqual((status, body), (200, PAGE))
            self.assertEqual(headers["content-length"], str(len(PAGE)))
            self.assertEqual(headers["content-type"], "text/html; charset=utf-8")
        status, headers, body = get(client, b"/", b"HEAD")
        self.assertEqual((status, headers["content-length"]), (200, str(len(PAGE))))
        for target in (b"/x", b"//", b"/etc/passwd", b"/index.html"):
            self.assertEqual(get(client, target)[0], 404)
        for target in (b"/", b"/bytes/5"):
            self.assertEqual(get(client, target, b"POST")[0], 405)
        self.assertEqual(get(client, b"/?query")[2], PAGE)
        self.assertQuiet()

    def test_bytes(self) -> None:
        """
        C{/bytes/N} gives N bytes.
        """
        client = self.start()
        for size in (0, 1, 255, 65535, 65536, 65537, 3000000):
            target = b"/bytes/%d" % (size,)
            status, headers, body = get(client, target)
            self.assertEqual((status, len(body)), (200, size))
            self.assertEqual(body, pattern(size))
            self.assertEqual(headers["content-type"], "application/octet-stream")
            status, headers, _ = get(client, target, b"HEAD")
            self.assertEqual((status, headers["content-length"]), (200, str(size)))
        most = b"/bytes/%d" % (MOST_BYTES,)
        headers = get(client, most, b"HEAD")[1]
        self.assertEqual(headers["content-length"], str(MOST_BYTES))
        self.assertEqual(get(client, b"/")[2], PAGE)
        self.assertQuiet()

    def test_badBytes(self) -> None:
        """
        For any other N, the answer gives the valid numbers.
        """
        client = self.start()
        for text in (
            b"",
            b"-1",
            b"x",
            b"1.5",
            b"1/2",
            b"1_0",
            b"%d" % (MOST_BYTES + 1,),
            b"9" * 5000,
            b"%D9%A3",
            b"%b2",
        ):
            status, _, body = get(client, b"/bytes/" + text)
            self.assertEqual(status, 400, text)
            self.assertIn(b"from 0 to %d" % (MOST_BYTES,), body)
            self.assertEqual(get(client, b"/bytes/" + text, b"HEAD")[0], 400)
        self.assertEqual(get(client, b"/bytes")[0], 400)
        self.assertQuiet()

    def test_pipelined(self) -> None:
        """
        Pipelined requests are answered in order.
        """
        client = self.start()
        targets = (b"/bytes/200000", b"/", b"/x", b"/bytes/7", b"/")
        client.sendall(
            b"".join(
                b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
                for target in targets
            )
        )
        answers = [answer(client) for _ in targets]
        self.assertEqual(
            [status for status, _, _ in answers], [200, 200, 404, 200, 200]
        )
        bodies = [body for _, _, body in answers]
        self.assertEqual(bodies[0], pattern(200000))
        self.assertEqual([*bodies[1:2], *bodies[3:]], [PAGE, pattern(7), PAGE])

    def test_gone(self) -> None:
        """
        A client that disconnects in the middle of an answer affects no other client.
        """
        client = self.start()
        with self.child.connect() as other:
            target = b"/bytes/%d" % (MOST_BYTES,)
            other.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(other.recv(1000))
        self.assertEqual(get(client, b"/")[2], PAGE)
        self.assertQuiet()

    def test_tls(self) -> None:
        """
        All pages are served over TLS.
        """
        certificate = writeCertificate(makeDirectory(self))
        plain = self.start(listen=tlsEndpoint(certificate))
        with startTLS(plain, certificate) as client:
            self.assertEqual(get(client, b"/")[2], PAGE)
            self.assertEqual(get(client, b"/bytes/1000000")[2], pattern(1000000))

    def test_unix(self) -> None:
        """
        All pages are served over a UNIX socket.
        """
        path = makeDirectory(self) / "socket"
        self.child = Child(self, "iodemo-http", listen=f"unix:{quoted(path)}")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(str(path))
            self.assertEqual(get(client, b"/")[2], PAGE)
        self.assertQuiet()

    def test_ordinaryClient(self) -> None:
        """
        The standard library's client can read the answers.
        """
        port = self.start().getpeername()[1]
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self.addCleanup(client.close)
        for _ in range(2):
            client.request("GET", "/bytes/1000")
            self.assertEqual(client.getresponse().read(), pattern(1000))


class FilesTests(SynchronousTestCase):
    """
    Tests for C{iodemo-http --path}.
    """

    def setUp(self) -> None:
        """
        Serve a directory. Beside it are a secret and another directory, whose name
        begins with the name of the first.
        """
        outside = makeDirectory(self)
        public = outside / "public"
        for directory in (public / "sub", outside / "public-not"):
            directory.mkdir(parents=True)
        self.secret = outside / "secret.txt"
        for path in (self.secret, outside / "public-not" / "secret.txt"):
            path.write_bytes(SECRET)
        (public / "plain.txt").write_bytes(b"plain")
        (public / "sub" / "deep file.txt").write_bytes(b"deep")
        self.public = public
        self.child = Child(self, "iodemo-http", "--path", str(public))

    def get(
        self, target: bytes, headers: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """
        Send a request on a new connection, since a bad request ends it.
        """
        with self.child.connect() as client:
            return get(client, target, headers=headers)

    def test_files(self) -> None:
        """
        Files are served, with their type, and the built-in pages still are.
        """
        status, headers, body = self.get(b"/plain.txt")
        self.assertEqual((status, body), (200, b"plain"))
        self.assertEqual(headers["content-type"], "text/plain")
        self.assertEqual(self.get(b"/%70lain.txt")[2], b"plain")
        self.assertEqual(self.get(b"/sub/deep%20file.txt")[2], b"deep")
        self.assertIn(b"deep", self.get(b"/sub/")[2])
        self.assertEqual(self.get(b"/")[2], PAGE)
        self.assertEqual(self.get(b"/bytes/3")[2], pattern(3))
        self.assertEqual(self.get(b"/missing.txt")[0], 404)

    def test_changed(self) -> None:
        """
        A file that is created later is served.
        """
        self.assertEqual(self.get(b"/later.txt")[0], 404)
        (self.public / "later.txt").write_bytes(b"later")
        self.assertEqual(self.get(b"/later.txt")[2], b"later")

    def test_noFiles(self) -> None:
        """
        A path that is neither a file nor a directory is refused at once: the server
        does not open a FIFO, which would block until a writer comes, nor a device.
        """
        strange = self.public / "strange"
        (strange / "indexed").mkdir(parents=True)
        for path in (strange / "fifo", strange / "indexed" / "index.html"):
            os.mkfifo(path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(strange / "socket"))
        (strange / "zero").symlink_to("/dev/zero")
        (strange / "loop").symlink_to("loop")
        (strange / "dangling").symlink_to("nothing")
        (strange / "linked.txt").symlink_to(self.public / "plain.txt")
        with open(os.fsencode(strange) + b"/\xff.txt", "wb"):
            pass
        for name in (b"fifo", b"indexed/", b"socket", b"zero", b"loop", b"dangling"):
            status, _, _ = self.get(b"/strange/" + name)
            self.assertIn(status, (403, 404), name)
        self.assertEqual(self.get(b"/strange/linked.txt")[2], b"plain")
        status, _, listing = self.get(b"/strange/")
        self.assertEqual(status, 200)
        for name in (b"indexed", b"linked.txt"):
            self.assertIn(b">" + name, listing)
        for name in (b"fifo", b"socket", b"zero", b"loop", b"dangling", b"\xff"):
            self.assertNotIn(name, listing)
        self.assertNotIn(b"Traceback", laterLog(self.child))

    def test_part(self) -> None:
        """
        One part of a file is served, as far as it is within the file.
        """
        (self.public / "empty").write_bytes(b"")
        most = b"9" * 5000
        for asked, part in (
            (b"0-1", b"pl"),
            (b"1-", b"lain"),
            (b"-2", b"in"),
            (b"4-4", b"n"),
            (b"00-0001", b"pl"),
            (b"3-" + most, b"in"),
            (b"-" + most, b"plain"),
            (b"-6", b"plain"),
        ):
            status, headers, body = self.get(
                b"/plain.txt", b"Range: bytes=%b\r\n" % (asked,)
            )
            self.assertEqual((status, body), (206, part), asked)
            first = b"plain".index(part)
            self.assertEqual(
                headers["content-range"], f"bytes {first}-{first + len(part) - 1}/5"
            )
        for target, asked in (
            (b"/plain.txt", b"5-"),
            (b"/plain.txt", b"5-9"),
            (b"/plain.txt", b"-0"),
            (b"/plain.txt", most + b"-"),
            (b"/plain.txt", most + b"-" + most),
            (b"/empty", b"0-"),
            (b"/empty", b"-1"),
        ):
            status, _, body = self.get(target, b"Range: bytes=%b\r\n" % (asked,))
            self.assertEqual((status, body), (416, b""), asked)
        self.assertNotIn(b"Traceback", laterLog(self.child))

    def test_noPart(self) -> None:
        """
        A request for several parts, or with an invalid one, is answered with the whole
        file, for any number of parts.
        """
        content = pattern(200_000)
        (self.public / "long").write_bytes(content)
        for asked in (
            b"bytes=0-1,3-4",
            # Where the first part ends, a buffer has no space for the head of the
            # second.
            b"bytes=0-65500,65510-70000",
            b"bytes=300000-,400000-",
            b"bytes=-400000,0-1",
            b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(1500)),
            *(b"bytes=", b"bytes=,", b"bytes=-", b"bytes=2-1", b"bytes=+1-2"),
            *(b"bytes=1_0-20", b"bytes=a-b", b"bytes=--1", b"lines=1-2", b"", b"="),
            *(b"\xff\xfe", b"bytes=0-1\r\nRange: bytes=0-2"),
        ):
            status, _, body = self.get(b"/long", b"Range: %b\r\n" % (asked,))
            self.assertEqual(status, 200, asked)
            self.assertEqual(body, content)
        self.assertNotIn(b"Traceback", laterLog(self.child))

    def test_traversal(self) -> None:
        """
        No path leads out of the directory, and none causes a traceback.
        """
        absolute = str(self.secret).encode()
        targets = [
            up + name
            for name in (b"secret.txt", b"public-not/secret.txt")
            for up in (
                b"/../",
                b"/sub/../../",
                b"/%2e%2e/",
                b"/%2E./",
                b"/..%2f",
                b"/%2e%2e%2f",
                b"/sub/..%2f..%2f",
                b"/sub%2f..%2f..%2f",
                b"/%252e%252e/",
                b"/..%5c",
                b"/..%00/",
                b"/..\\",
                b"/%c0%ae%c0%ae/",
                b"/.%00./",
                b"/..;/",
                b"//../",
                b"/./../",
                b"http://localhost/../",
                b"../",
            )
        ]
        targets += [
            b"/" + absolute,
            absolute,
            b"/" + absolute.replace(b"/", b"%2f"),
            b"file://" + absolute,
            b"/..%2fpublic-not%2fsecret.txt",
            b"/-not/secret.txt",
            b"/plain.txt%00",
            b"/plain.txt%00.html",
            b"/%00",
            b"/%ff",
            b"/\xff",
            b"/plain.txt/",
            b"/plain.txt/../../secret.txt",
            b"/" + b"a" * 5000,
        ]
        for target in targets:
            status, _, body = self.get(target)
            self.assertIn(status, (400, 404), target)
            self.assertNotIn(SECRET, body, target)
        self.assertEqual(self.get(b"/plain.txt")[2], b"plain")
        later = laterLog(self.child)
        for word in (b"Traceback", b"rror"):
            self.assertNotIn(word, later)


class SiteTests(SynchronousTestCase):
    """
    Tests for L{Site}.
    """

    def test_quiet(self) -> None:
        """
        It does not log requests.
        """
        site = makeSite(None)
        self.assertIsInstance(site, Site)
        self.assertFalse(site.noisy)


class PatienceTests(SynchronousTestCase):
    """
    Tests for the time-out of L{Channel}.
    """

    def setUp(self) -> None:
        """
        Connect to the site, with the clock of this test.
        """
        self.clock = Clock()
        site = makeSite(None)
        site.reactor = self.clock
        channel = site.buildProtocol(None)
        assert isinstance(channel, Channel)
        self.channel = channel
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    def drip(self, data: bytes) -> None:
        """
        Send one byte at a time, so slowly that all of them take twice the time-out, and
        check that the connection is closed at the time-out.
        """
        began = self.clock.seconds()
        for index in range(len(data)):
            self.channel.dataReceived(data[index : index + 1])
            self.clock.advance(2 * PATIENCE / len(data))
            if self.transport.disconnecting:
                break
        self.assertTrue(self.transport.disconnecting)
        self.assertLess(self.clock.seconds() - began, PATIENCE + 1)

    def test_head(self) -> None:
        """
        A head that arrives byte by byte does not prolong the time-out.
        """
        self.drip(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Endless: " + b"x" * 1000)

    def test_firstLine(self) -> None:
        """
        A request line that arrives byte by byte does not either, nor do empty lines
        before it.
        """
        self.drip(b"\r\nGET /" + b"x" * 1000)

    def test_body(self) -> None:
        """
        A body does not: it must arrive within the time that its head has left.
        """
        self.channel.dataReceived(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"
        )
        self.drip(b"x" * 1000)

    def test_chunks(self) -> None:
        """
        A body in chunks does not.
        """
        self.channel.dataReceived(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.drip(b"1\r\nx\r\n" * 200)

    def test_silence(self) -> None:
        """
        A client that sends nothing is disconnected.
        """
        self.clock.advance(PATIENCE - 1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)

    def test_each(self) -> None:
        """
        Every request has the whole time-out, for any age of the connection, and at any
        moment of the silence before it.
        """
        for _ in range(5):
            self.clock.advance(PATIENCE - 1)
            self.channel.dataReceived(b"GET / HTTP/1.1\r\n")
            self.clock.advance(PATIENCE - 1)
            self.channel.dataReceived(b"Host: localhost\r\n\r\n")
            self.assertIn(PAGE, self.transport.value())
            self.transport.clear()
        self.assertFalse(self.transport.disconnecting)
        self.drip(b"GET / HTTP/1.1\r\nX: " + b"x" * 1000)
