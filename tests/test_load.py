"""
Tests for L{iodemo.load}: addresses, exchanges, recording, and the driver
against real servers.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import multiprocessing
import os
import random
import re
import resource
import select
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy
import psutil
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.load import driver, pacing, tracing, watching
from iodemo.load.address import Address, BadAddress, parseAddress
from iodemo.load.exchanges import (
    Answer,
    Echo,
    Exchange,
    Http,
    Turn,
    UnknownKind,
    Verbatim,
    WrongAnswer,
    endingWith,
    exchangeOf,
    ofLength,
)
from iodemo.load.exchanges.exchange import Known
from iodemo.load.pacing import Schedule
from iodemo.load.part import Part
from iodemo.load.profile import LoadFailed, Profile, split
from iodemo.load.recording import HIGHEST_NS, Recording
from iodemo.load.tls import TlsSocket
from iodemo.process.cores import Quota, runDelay
from iodemo.results.judgement import Judged, judged
from iodemo.results.schema import Arrivals, Round
from tests.certificates import writeCertificate


class AddressTests(SynchronousTestCase):
    """
    Tests for L{parseAddress}.
    """

    def test_forms(self) -> None:
        """
        Every way to write an address gives the same address.
        """
        expected = Address(socket.AF_INET, ("127.0.0.1", 8007))
        for text in (
            "tcp:127.0.0.1:8007",
            "tcp:host=127.0.0.1:port=8007",
            "tcp:8007:interface=127.0.0.1",
            "tcp:8007",
            "127.0.0.1:8007",
            "tcp:127.0.0.1:8007:timeout=5",
        ):
            self.assertEqual(parseAddress(text), expected, text)

    def test_ipv6(self) -> None:
        r"""
        An IPv6 address is in brackets, or its colons are written C{\:}. Its string can
        be parsed again, and keeps its scope.
        """
        expected = Address(socket.AF_INET6, ("::1", 8007))
        for text in (
            r"tcp:\:\:1:8007",
            "tcp:[::1]:8007",
            "[::1]:8007",
            "tcp:host=[::1]:port=8007",
            "tcp:8007:interface=[::1]",
            "tcp6:8007",
        ):
            self.assertEqual(parseAddress(text), expected, text)
        self.assertEqual(parseAddress(str(expected)), expected)
        scoped = parseAddress("tcp:[fe80::1%lo]:8007")
        self.assertEqual(
            scoped.target, ("fe80::1", 8007, 0, socket.if_nametoindex("lo"))
        )
        self.assertEqual(parseAddress(str(scoped)), scoped)

    def test_host(self) -> None:
        """
        HTTP's C{Host} is the host as it was given, without a default port and without
        the scope, which has a meaning on this machine alone.
        """
        for text, host in (
            ("tcp:127.0.0.1:8080", "127.0.0.1:8080"),
            ("tcp:localhost:8080", "localhost:8080"),
            ("tcp:localhost:80", "localhost"),
            ("tls:localhost:80", "localhost:80"),
            ("tls:localhost:443", "localhost"),
            ("tcp:[::1]:8080", "[::1]:8080"),
            (r"tcp:\:\:1:80", "[::1]"),
            ("tcp:[fe80::1%lo]:8080", "[fe80::1]:8080"),
            ("unix:/run/http", "localhost"),
            ("unix:@http", "localhost"),
        ):
            self.assertEqual(parseAddress(text).host, host, text)
        for text, host in (
            ("tcp:127.0.0.1:8080", "example.com:8080"),
            ("tls:[::1]:443", "example.com"),
            ("unix:/run/http", "example.com"),
        ):
            self.assertEqual(parseAddress(text, "example.com").host, host, text)

    def test_serverName(self) -> None:
        """
        The SNI of TLS is the host if that is a name, not an address; or the name given.
        """
        for text, name in (
            ("tls:localhost:443", "localhost"),
            ("tls:127.0.0.1:443", None),
            ("tls:127.1:443", None),
            ("tls:[::1]:443", None),
            ("tls:[fe80::1%lo]:443", None),
        ):
            self.assertEqual(parseAddress(text).serverName, name, text)
            address = parseAddress(text, "b\u00fccher.example.")
            self.assertEqual(address.serverName, "xn--bcher-kva.example")
        for name in ("", ".", "a b", "a\r\nb", "::1", "127.0.0.1", "x" * 64):
            error = self.assertRaises(BadAddress, parseAddress, "tls:127.0.0.1:1", name)
            self.assertIn(repr(name), str(error))

    def test_alternatives(self) -> None:
        """
        Every address of a name is found, once.
        """

        def resolve(host: str, port: int | None, **options: Any) -> list[Any]:
            if "flags" in options:
                raise OSError("not a number")
            found = []
            for family, address in (
                (socket.AF_INET6, ("::1", port, 0, 0)),
                (socket.AF_INET, ("127.0.0.1", port)),
                (socket.AF_INET, ("127.0.0.1", port)),
            ):
                found.append((family, socket.SOCK_STREAM, 6, "", address))
            return found

        self.patch(socket, "getaddrinfo", resolve)
        address = parseAddress("tcp:two.example:8007")
        self.assertEqual(
            [each.target for each in address.each()],
            [("::1", 8007), ("127.0.0.1", 8007)],
        )
        self.assertEqual({each.host for each in address.each()}, {"two.example:8007"})

    def test_tls(self) -> None:
        """
        TLS addresses can be written as for a client and as for a server.
        """
        expected = Address(socket.AF_INET, ("127.0.0.1", 8007), tls=True)
        self.assertEqual(str(expected), "tls:127.0.0.1:8007")
        for text in (
            "tls:127.0.0.1:8007",
            "ssl:host=127.0.0.1:port=8007",
            r"ssl:8007:interface=127.0.0.1:privateKey=a\:b.pem:certKey=c.pem",
        ):
            self.assertEqual(parseAddress(text), expected, text)

    def test_unix(self) -> None:
        r"""
        A path names a UNIX socket. A colon in it is written C{\:}; after a colon that
        is not, options of a server may follow. The name of an abstract socket begins
        with C{@}.
        """
        for text, path in (
            ("unix:/run/echo", "/run/echo"),
            ("unix:/run/echo:mode=660:lockfile=1", "/run/echo"),
            ("unix:path=/run/echo", "/run/echo"),
            ("unix:address=/run/echo", "/run/echo"),
            (r"unix:/run/a\:b", "/run/a:b"),
            (r"unix:/run/a\\b", r"/run/a\b"),
            (r"unix:a\=b", "a=b"),
            ("unix:./a=b", "./a=b"),
            ("unix:@echo", "\0echo"),
            (r"unix:\0echo", "\0echo"),
            (r"unix:@a\:b", "\0a:b"),
        ):
            expected = Address(socket.AF_UNIX, path)
            self.assertEqual(parseAddress(text), expected, text)
            if not path.startswith("a="):
                self.assertEqual(parseAddress(str(expected)), expected, text)

    def test_loopback(self) -> None:
        """
        C{isLoopback} is true for addresses that every loopback address can connect to.
        """
        for text, loopback in (
            ("tcp:127.1.2.3:8007", True),
            ("tcp:192.0.2.127:8007", False),
            (r"tcp:\:\:1:8007", False),
            ("unix:127.", False),
        ):
            self.assertEqual(parseAddress(text).isLoopback, loopback, text)

    def test_bad(self) -> None:
        """
        A text that is not an address is refused, with the text in the message.
        """
        for text in (
            *("", "nonsense", "tcp:", "tcp:host:port", "tcp:h:0", "tcp:h:65536"),
            *("tcp:::1:80", "tcp:[::1:80", "tcp:[]:80", "tcp:127.0.0.1 :80", "tcp:a\\"),
            *("unix:", "unix:@", "unix::mode=660", f"tcp:h:{'9' * 5000}"),
            *("http://127.0.0.1:80/", "tcp:a\r\nb:80"),
        ):
            error = self.assertRaises(BadAddress, parseAddress, text)
            self.assertIn(repr(text), str(error))


class EchoExchangeTests(SynchronousTestCase):
    """
    Tests for L{Echo}.
    """

    def test_piecewise(self) -> None:
        """
        An answer is whole when all its bytes are received, in any pieces.
        """
        exchange = Echo(8)
        turn, _ = exchange.turns()
        for size in (1, 3, 8):
            answer = exchange.answer(turn)
            whole = [answer.received(piece) for piece in cut(turn.request, size)]
            self.assertEqual(whole, [False] * (len(whole) - 1) + [True])

    def test_wrongByte(self) -> None:
        """
        A wrong byte is reported with its offset.
        """
        exchange = Echo(4)
        turn = Turn(b"abcd", b"abcd")
        answer = exchange.answer(turn)
        self.assertFalse(answer.received(b"a"))
        error = self.assertRaises(WrongAnswer, answer.received, b"bX")
        self.assertEqual(str(error), "byte 2 of 4 came back as 0x58, was sent as 0x63")

    def test_tooMuch(self) -> None:
        """
        Bytes beyond the end make an answer wrong.
        """
        turn = Turn(b"ab", b"ab")
        answer = Echo(2).answer(turn)
        error = self.assertRaises(WrongAnswer, answer.received, b"abab")
        self.assertEqual(str(error), "more came back than was sent: 4 bytes, not 2")

    def test_payloadsDiffer(self) -> None:
        """
        No two turns of any two connections share a payload.
        """
        exchange = Echo(64)
        payloads = [turn.request for _ in range(100) for turn in exchange.turns()]
        self.assertEqual(len(set(payloads)), 200)
        self.assertEqual({len(payload) for payload in payloads}, {64})

    def test_payloadsAreBounded(self) -> None:
        """
        Large payloads are shared by connections, but one connection still has two.
        """
        exchange = Echo(Echo._POOL)
        turns = [turn for _ in range(3) for turn in exchange.turns()]
        self.assertEqual(len({turn.request for turn in turns}), 2)
        self.assertIsNot(turns[0], turns[1])

    def test_verificationIsEnough(self) -> None:
        """
        Verification is so long that one bad byte in a million is found almost
        certainly.
        """
        sent = sum(len(turn.request) for turn in Echo(64).verification())
        self.assertGreater(sent, 16_000_000)


class VerbatimExchangeTests(SynchronousTestCase):
    """
    Tests for L{Verbatim}, and for the rules about the end of an answer.
    """

    def test_piecewise(self) -> None:
        """
        An answer is whole when all its bytes are received, the first as well as later
        ones.
        """
        for answer, ending in (
            (b"+PONG\r\n", endingWith(b"\r\n")),
            (b"a\r\nb\r\n.\r\n", endingWith(b"\r\n.\r\n")),
            (b"\0\r\n\0", ofLength(4)),
        ):
            exchange = Verbatim(b"PING", ending)
            for turn in exchange.turns():
                self.assertEqual(turn.request, b"PING")
                for size in (1, 3, len(answer)):
                    coming = exchange.answer(turn)
                    whole = [coming.received(piece) for piece in cut(answer, size)]
                    self.assertEqual(whole, [False] * (len(whole) - 1) + [True])
                    self.assertEqual(turn.expected, answer)

    def test_long(self) -> None:
        """
        A long answer is compared, too, although it is not kept.
        """
        self.patch(Verbatim, "LONGEST", 100)
        right = random.randbytes(1000)
        for place in (0, 99, 100, 999):
            exchange = Verbatim(b"x", ofLength(1000))
            turn, _ = exchange.turns()
            for _ in range(2):
                answer = exchange.answer(turn)
                whole = [answer.received(piece) for piece in cut(right, 70)]
                self.assertEqual(whole, [False] * (len(whole) - 1) + [True])
                self.assertEqual(turn.expected, b"")
            wrong = bytearray(right)
            wrong[place] ^= 1
            answer = exchange.answer(turn)
            for piece in cut(bytes(wrong[:-1]), 70):
                self.assertFalse(answer.received(piece))
            error = self.assertRaises(WrongAnswer, answer.received, bytes(wrong[-1:]))
            self.assertIn("are not those of the first answer", str(error))
            self.assertRaises(WrongAnswer, exchange.answer(turn).received, right + b"x")

    def test_firstOfSeveral(self) -> None:
        """
        Answers that began before the first one was whole are compared with it, too.
        """
        exchange = Verbatim(b"x", ofLength(3))
        one, two = (exchange.answer(turn) for turn in exchange.turns())
        self.assertFalse(one.received(b"ab") or two.received(b"ac"))
        self.assertTrue(one.received(b"c"))
        self.assertRaises(WrongAnswer, two.received, b"c")

    def test_wrong(self) -> None:
        """
        An answer that goes on after its end, has no end, or differs from the first is
        wrong.
        """
        self.patch(Verbatim, "LONGEST", 9)
        for answers, ending, reason in (
            ([b"ab\nc"], endingWith(b"\n"), "more came than the 3 bytes"),
            ([b"abcd"], ofLength(3), "more came than the 3 bytes"),
            ([bytes(10)], endingWith(b"\n"), "does not end within 9 bytes"),
            ([b"ab\n", b"ac"], endingWith(b"\n"), "byte 1 is not as in the first"),
            (
                [b"ab\n", b"ab\nc"],
                endingWith(b"\n"),
                "4 bytes came, and the first answer",
            ),
        ):
            exchange = Verbatim(b"x", ending)
            turn, _ = exchange.turns()
            *right, wrong = answers
            for answer in right:
                self.assertTrue(exchange.answer(turn).received(answer))
            coming = exchange.answer(turn)
            error = self.assertRaises(WrongAnswer, coming.received, wrong)
            self.assertIn(reason, str(error))


class ExchangeOfTests(SynchronousTestCase):
    """
    Tests for L{exchangeOf}.
    """

    def test_kinds(self) -> None:
        """
        There is an exchange for every kind.
        """
        self.assertIsInstance(exchangeOf("echo", 1, "h"), Echo)
        http = exchangeOf("http:/a?b=c", 1, "h:80")
        self.assertTrue(
            http.turns()[0].request.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: h:80\r\n")
        )
        for kind, request, answer in (
            (r"until:\r\n:PING\r\n", b"PING\r\n", b"+PONG\r\n"),
            (r"until:\x3a\\:a:b", b"a:b", b"c:\\"),
            ("until:\u00e9:\\0", b"\0", b"caf\xc3\xa9"),
            (r"length:3:\xff\t", b"\xff\t", b"\r\n."),
            (
                r"http-request:POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
                b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
                b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nba",
            ),
        ):
            exchange = exchangeOf(kind, 1, "h")
            turn, _ = exchange.turns()
            self.assertEqual(turn.request, request)
            coming = exchange.answer(turn)
            self.assertFalse(coming.received(answer[:-1]))
            self.assertTrue(coming.received(answer[-1:]), kind)

    def test_unknown(self) -> None:
        """
        An unknown kind is refused.
        """
        for kind in (
            *("", "ftp", "echo:x", "http:a", "http:/a b", "http:/\r\nX: y"),
            *("until", r"until:\n", r"until:\n:", "until::x", "until:x:\\"),
            *(r"until:x:\q", r"until:\x4:x", "length", "length:1", "length:1:"),
            *("length:0:x", "length:-1:x", "length:a:x"),
            *("http-request:", r"http-request:GET / HTTP/1.1\r\n"),
        ):
            self.assertRaises(UnknownKind, exchangeOf, kind, 1, "h")


class RecordingTests(SynchronousTestCase):
    """
    Tests for L{Recording}.
    """

    def test_percentiles(self) -> None:
        """
        Percentiles are those of the values recorded, to three digits, for values over
        nine orders of magnitude and several additions.
        """
        drawn = random.Random(1)
        values = [int(10 ** drawn.uniform(2, 11)) for _ in range(20_000)]
        recording = Recording()
        recording.add(values[:7])
        recording.add(values[7:])
        self.assertEqual(recording.count, len(values))
        for percent in (1, 50, 90, 99, 99.9, 100):
            expected = float(
                numpy.percentile(values, percent, method="inverted_cdf") / 1000
            )
            found = recording.percentile(percent)
            self.assertLess(abs(found / expected - 1), 0.001, percent)

    def test_bounds(self) -> None:
        """
        No value is lost at the ends of the range, nor where the resolution changes.
        """
        edges = {0: 0, 1: 1, 2047: 2047, 2048: 2049, 4095: 4095, 4096: 4099}
        for value, highest in edges.items():
            recording = Recording()
            recording.add([value])
            self.assertEqual(recording.percentile(100), highest / 1000)
        recording = Recording()
        recording.add([HIGHEST_NS, 2 * HIGHEST_NS])
        self.assertEqual(recording.count, 2)
        self.assertLess(abs(recording.percentile(50) / 3600e6 - 1), 0.001)


class ScheduleTests(SynchronousTestCase):
    """
    Tests for L{Schedule}.
    """

    def test_constant(self) -> None:
        """
        Requests are due at equal distances, to the nanosecond, for a long time.
        """
        schedule = Schedule(3000, "constant", 7)
        self.assertEqual(schedule.due, 7)
        dues = [schedule.advance() for _ in range(30_000)]
        self.assertEqual(dues[:3], [333_340, 666_673, 1_000_007])
        self.assertLess(abs(dues[-1] - 10_000_000_007), 100)

    def test_poisson(self) -> None:
        """
        Random requests have the same rate, and their distances the distribution of a
        Poisson process.
        """
        self.patch(pacing, "random", random.Random(1))
        schedule = Schedule(1000, "poisson", 0)
        gaps = numpy.diff([schedule.due, *(schedule.advance() for _ in range(50_000))])
        self.assertLess(abs(gaps.mean() / 1e6 - 1), 0.02)
        for gap in (0.1, 1, 3):
            share = float((gaps > gap * 1e6).mean())
            self.assertLess(abs(share - numpy.exp(-gap)), 0.01)

    def test_overdue(self) -> None:
        """
        The requests due by some time can be counted without sending them.
        """
        schedule = Schedule(10, "constant", 1000)
        self.assertEqual(schedule.overdue(999), 0)
        self.assertEqual(schedule.overdue(1000), 1)
        self.assertEqual(schedule.overdue(1000 + 10**9 - 1), 10)
        schedule.advance()
        self.assertEqual(schedule.overdue(1000 + 10**9), 10)

    def test_end(self) -> None:
        """
        After its end a schedule has no later requests, but keeps those due before.
        """
        schedule = Schedule(10, "constant", 1000)
        schedule.end(1000 + 3 * 10**8)
        self.assertEqual(schedule.overdue(1000 + 10**9), 4)
        dues = [schedule.advance() for _ in range(5)]
        self.assertEqual(dues[:3], [1000 + n * 10**8 for n in (1, 2, 3)])
        self.assertEqual(dues[3:], [pacing.NEVER] * 2)
        self.assertEqual(schedule.overdue(1000 + 10**9), 0)
        schedule = Schedule(10, "poisson", 1000)
        schedule.end(999)
        self.assertEqual((schedule.due, schedule.overdue(2000)), (pacing.NEVER, 0))


def _kept(opened: socket.socket, keep: list[socket.socket]) -> socket.socket:
    keep.append(opened)
    return opened


Serve = Callable[[socket.socket], None]


def cut(data: bytes, size: int) -> list[bytes]:
    """Pieces of so many bytes."""
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


class Fixed:
    """
    An exchange of one request and one answer.
    """

    SECONDS = 0.0
    leftOut: frozenset[str] = frozenset()

    def __init__(self, request: bytes, answer: bytes) -> None:
        self._request = request
        self._answer = answer

    def turns(self) -> tuple[Turn, Turn]:
        """See L{Exchange.turns}."""
        return Turn(self._request, b""), Turn(self._request, self._answer)

    def verification(self) -> Iterator[Turn]:
        """There is none."""
        return iter(())

    def answer(self, turn: Turn) -> Answer:
        """See L{Exchange.answer}."""
        return Known(self._answer, "it is another", "it is more")


def echo(connection: socket.socket) -> None:
    """Echo until the peer closes the connection."""
    while data := connection.recv(65536):
        connection.sendall(data)


def spoiling(connection: socket.socket) -> None:
    """
    Echo until the peer closes the connection, with one wrong bit in the fifth answer.
    """
    requests = 0
    while data := connection.recv(65536):
        requests += len(data) == 64
        # A verifying connection sends 64 bytes at most once.
        if requests == 5:
            data = data[:-1] + bytes([data[-1] ^ 1])
        connection.sendall(data)


class UntilClosed(Fixed):
    """
    An exchange whose answer ends with the connection.
    """

    def answer(self, turn: Turn) -> Answer:
        """See L{Exchange.answer}."""
        return UntilClosedAnswer(self._answer, "it is another", "it is more")


class UntilClosedAnswer(Known):
    """
    An answer that ends with the connection.
    """

    def received(self, data: bytes) -> bool:
        """See L{Answer.received}."""
        self._isWhole = super().received(data)
        return False

    def ended(self) -> bool:
        """See L{Answer.ended}."""
        return self._isWhole


def close(connection: socket.socket) -> None:
    """Close a connection by FIN."""
    connection.close()


def linger(connection: socket.socket) -> None:
    """Shut a connection down, and receive until the other side has closed it too."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


def reset(connection: socket.socket) -> None:
    """Close a connection by reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closing(answers: int, end: Callable[[socket.socket], object]) -> Serve:
    """
    Echo until some number of requests of 64 bytes are answered, then end the
    connection.
    """

    def serve(connection: socket.socket) -> None:
        left = answers
        while left and (data := connection.recv(65536)):
            connection.sendall(data)
            left -= len(data) == 64
        end(connection)

    return serve


class Driving:
    """
    Tests that drive a server in threads of this process.
    """

    addCleanup: Any
    mktemp: Any
    assertEqual: Any
    assertAlmostEqual: Any
    assertGreater: Any
    assertGreaterEqual: Any
    assertIn: Any
    assertIsNone: Any
    assertLess: Any
    assertLessEqual: Any
    assertNotIn: Any
    assertRaises: Any
    assertRegex: Any
    assertTrue: Any
    patch: Any

    def driverType(self) -> type[driver.Driver]:
        """
        The driver under test.
        """
        raise NotImplementedError

    def listen(
        self,
        serve: Serve,
        backlog: int = 64,
        mayAccept: threading.Event | None = None,
    ) -> Address:
        """
        Run C{serve} in a thread for each connection, to the end of the test.

        @param backlog: the number of connections that may wait to be accepted.
        @param mayAccept: an event to wait for before each C{accept}.
        """
        listening = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        served: list[tuple[socket.socket, threading.Thread]] = []

        def run(connection: socket.socket) -> None:
            try:
                serve(connection)
            except OSError:
                pass  # the driver closes by reset
            finally:
                connection.close()

        def accept() -> None:
            while True:
                try:
                    if mayAccept is not None:
                        # Connections stay in the queue meanwhile.
                        select.select([listening], [], [])
                        mayAccept.wait(30)
                    connection, _ = listening.accept()
                except OSError:
                    return
                thread = threading.Thread(target=run, args=(connection,))
                served.append((connection, thread))
                thread.start()

        accepting = threading.Thread(target=accept)
        accepting.start()

        def stop() -> None:
            # close() alone would not wake accept().
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            listening.close()
            for connection, thread in served:
                with contextlib.suppress(OSError):  # closed already
                    connection.shutdown(socket.SHUT_RDWR)
                thread.join()

        self.addCleanup(stop)
        return Address(socket.AF_INET, listening.getsockname())

    def listenElsewhere(self, kind: str) -> tuple[subprocess.Popen[bytes], Address]:
        """
        Run an echo server in another process, to the end of the test.

        @param kind: a class of C{socketserver}.
        """
        code = (
            "import socketserver\n"
            "class Echo(socketserver.BaseRequestHandler):\n"
            "    def handle(self):\n"
            "        while data := self.request.recv(65536):\n"
            "            self.request.sendall(data)\n"
            "class Server(socketserver.%s):\n"
            "    def handle_error(self, *who):\n"
            "        pass  # the driver closes by reset\n"
            "server = Server(('127.0.0.1', 0), Echo)\n"
            "print(server.server_address[1], flush=True)\n"
            "server.serve_forever(60)"
        )
        server = subprocess.Popen(
            [sys.executable, "-c", code % kind], stdout=subprocess.PIPE
        )
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        assert server.stdout is not None
        port = int(server.stdout.readline())
        return server, Address(socket.AF_INET, ("127.0.0.1", port))

    def drive(
        self,
        address: Address,
        exchange: Exchange | None = None,
        active: int = 3,
        idle: int = 0,
        watch: watching.Watch | None = None,
        seconds: float = 0.05,
        processes: int = 1,
        warmup: float = 0.01,
        **options: Any,
    ) -> Round:
        """
        Make a short load, and check that all descriptors are closed afterwards.
        """
        exchange = exchange or Echo(64)
        # The number of requests due is exact only at equal distances.
        options.setdefault("arrivals", "constant")
        profile = Profile(address, exchange, active, idle, seconds, warmup, **options)
        profile, *others = split(profile, processes)
        driving = self.driverType()(profile, watch, others=others)
        opened: list[socket.socket] = []
        self.patch(driving, "_open", lambda open=driving._open: _kept(open(), opened))
        try:
            return driving.run()
        finally:
            self.assertEqual([each.fileno() for each in opened], [-1] * len(opened))
            self.assertEqual(multiprocessing.active_children(), [])
            self.assertTrue(driving._epoll.closed)

    def recordings(self) -> list[tuple[Recording, Recording]]:
        """
        The recordings from now on: of the warm-up, and of the window.
        """
        recordings: list[tuple[Recording, Recording]] = []
        drive = self.driverType()._drive

        def record(
            driving: driver.Driver,
            length: int,
            recording: Recording,
            uncorrected: Recording,
        ) -> None:
            recordings.append((recording, uncorrected))
            drive(driving, length, recording, uncorrected)

        self.patch(self.driverType(), "_drive", record)
        return recordings

    def when(self, name: str, of: type = driver.Driver) -> threading.Event:
        """
        An event that is set when a method is called, and at the end of the test.
        """
        happened = threading.Event()
        method = getattr(of, name)

        def called(*arguments: Any) -> Any:
            happened.set()
            return method(*arguments)

        self.patch(of, name, called)
        return happened

    def fails(self, serve: Serve, reason: str, **arguments: Any) -> None:
        """
        Check that the load fails with this reason on a server that serves so.
        """
        address = self.listen(serve)
        error = self.assertRaises(LoadFailed, self.drive, address, **arguments)
        self.assertIn(reason, str(error))


class EndingTestsMixin(Driving):
    """
    Tests of all drivers for the ends of windows and connections.
    """

    def holding(
        self,
        held: Callable[[tuple[int, int]], bool],
        over: threading.Event,
        then: Callable[[socket.socket], object] | None = None,
    ) -> Serve:
        """
        A server that echoes, but delays some answers, and may call a function then.

        @param held: returns whether to delay an answer, by the number of the
            connection, of those that have sent a request, and the number of the request
            on it.
        @param over: the event that ends the delay.
        @param then: called with the connection before the delay.
        """
        self.patch(Echo, "verification", lambda self: iter(()))
        # This is set before the load waits for the server.
        asked = itertools.count(1)

        def serve(connection: socket.socket) -> None:
            number = 0
            for request in itertools.count(1):
                if not (data := connection.recv(65536)):
                    return
                number = number or next(asked)
                if held((number, request)):
                    over.wait(30)
                    if then is not None:
                        then(connection)
                        return
                connection.sendall(data)

        return serve

    def assertAllAnswered(self, measured: Round) -> None:
        """
        Every request sent is answered; in an open loop, every request due is accounted
        for.
        """
        unsent = measured.get("unsent", 0)
        self.assertEqual(measured["unanswered"], unsent)
        if "backlog" in measured:
            self.assertEqual(measured["late"] + unsent, measured["backlog"])

    def test_slow(self) -> None:
        """
        An answer that takes longer than the window is part of the latencies, and not of
        the throughput.
        """
        over = self.when("_drain")
        cases: list[tuple[tuple[int, int], dict[str, Any]]] = [
            ((2, 2), {}),
            ((2, 2), {"processes": 2}),
            # Three connections make their first exchange, then these requests follow.
            ((5, 1), {"churn": True}),
        ]
        for held, options in cases:
            over.clear()
            serve = self.holding(held.__eq__, over)
            measured = self.drive(self.listen(serve), seconds=0.3, **options)
            self.assertEqual((measured["late"], measured["unanswered"]), (3, 0))
            self.assertGreater(measured["latency_us"]["max"], 0.3e6)
            self.assertLess(measured["latency_us"]["p50"], 0.3e6)

    def test_frozen(self) -> None:
        """
        If no request is answered within the window, the load fails, and the reason has
        the time of the answers.
        """
        over = self.when("_drain")
        serve = self.holding(lambda place: place[1] == 2, over)
        error = self.assertRaises(LoadFailed, self.drive, self.listen(serve))
        self.assertIn("no request was answered within 0.", str(error))
        self.assertIn(" s: 3 were answered later, the slowest after 0.", str(error))

    def test_frozenAtARate(self) -> None:
        """
        Requests that were due in the window, and could not be sent in it, are part of
        the latencies.
        """
        over = self.when("end", Schedule)
        self.patch(Echo, "verification", lambda self: iter(()))
        answered = itertools.count()

        def serve(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                if next(answered) > 50:
                    over.wait(30)
                connection.sendall(data)

        measured = self.drive(self.listen(serve), rate=300, seconds=0.5)
        self.assertAllAnswered(measured)
        self.assertLess(abs(measured["due"] - 150), 10)
        self.assertGreater(measured["backlog"], 50)
        latency = measured["latency_us"]
        self.assertGreater(latency["p50"], measured["latency_uncorrected_us"]["p50"])

    def test_closes(self) -> None:
        """
        A server may close a connection after some answers, or after one, by FIN or
        reset.
        """
        for answers, end in itertools.product((1, 3), (close, linger, reset)):
            recordings = self.recordings()
            address = self.listen(closing(answers, end))
            measured = self.drive(address, idle=3, seconds=0.2)
            self.assertGreater(measured["requests"], 5)
            self.assertEqual((measured["late"], measured["unanswered"]), (3, 0))
            window, _ = recordings[1]
            self.assertEqual(window.count, measured["requests"] + 3)
            # Each of the three active connections may be anywhere between two ends.
            expected = window.count / answers
            self.assertLessEqual(abs(measured["reconnects"] - expected), 4)
            self.assertEqual(measured["sampled"], 6)
            self.assertEqual(measured.get("idle_closed", 0), 3 * (answers == 1))

    def test_closesElsewhere(self) -> None:
        """
        The same holds with churn, at a rate with long pauses, in several processes, and
        while system calls are counted.
        """

        class Trace:
            def __enter__(self) -> Trace:
                return self

            def __exit__(self, *details: object) -> None:
                pass

            def end(self) -> dict[str, int]:
                return {"read": 1}

        self.patch(tracing, "begin", lambda pids: Trace())
        elsewhere: list[dict[str, Any]] = [
            {"churn": True},
            {"rate": 200},
            {"rate": 200, "churn": True},
            {"processes": 2},
            {"watch": watching.Watch(os.getpid(), calls=True)},
        ]
        for end, options in itertools.product((close, linger, reset), elsewhere):
            address = self.listen(closing(1, end))
            measured = self.drive(address, seconds=0.3, **options)
            self.assertGreater(measured["requests"], 0)
            self.assertAllAnswered(measured)
            self.assertEqual(measured["reconnects"] == 0, "churn" in options)
            self.assertEqual({"syscalls_reason"} & {*measured}, set())

    def test_closesUnder(self) -> None:
        """
        A request without an answer, on a connection that the server closes, is sent
        again; its latency counts from when it was first sent.
        """
        over = self.when("_drain")
        for end in (close, linger, reset):
            over.clear()
            serve = self.holding((2, 2).__eq__, over, end)
            measured = self.drive(self.listen(serve), seconds=0.3)
            self.assertEqual((measured["late"], measured["unanswered"]), (3, 0))
            self.assertEqual((measured["reconnects"], measured["resent"]), (1, 1))
            self.assertGreater(measured["latency_us"]["max"], 0.3e6)

    def test_drops(self) -> None:
        """
        Requests that a server reads, but drops by closing the connection, are counted,
        in all processes.
        """
        dropped = itertools.count()

        def drop(connection: socket.socket) -> None:
            if connection.recv(65536):
                next(dropped)
            connection.close()

        self.patch(Echo, "verification", lambda self: iter(()))
        ways: list[dict[str, Any]] = [{}, {"rate": 300}, {"processes": 2}]
        for options in ways:
            dropped = itertools.count()
            address = self.listen(closing(2, drop))
            measured = self.drive(address, seconds=0.3, warmup=0, **options)
            self.assertGreater(measured["requests"], 0)
            self.assertAllAnswered(measured)
            # The load may end before the last dropped requests are sent again.
            self.assertEqual(measured["resent"], next(dropped))
            self.assertGreaterEqual(measured["reconnects"], measured["resent"])

    def test_listenQueue(self) -> None:
        """
        If the server's backlog is full, new connections wait until the kernel
        retransmits. Their number is part of the result, unless it is 0.
        """
        mayAccept = threading.Event()
        self.addCleanup(mayAccept.set)
        begin = self.driverType()._begin

        def beginWhileNoneIsAccepted(driving: driver.Driver, busy: list[Any]) -> None:
            mayAccept.clear()
            begin(driving, busy)
            mayAccept.set()

        self.patch(self.driverType(), "_begin", beginWhileNoneIsAccepted)
        self.patch(driver.Driver, "RAMP", 1)
        self.patch(Echo, "verification", lambda self: iter(()))
        # With a backlog of N the queue takes N + 1 connections.
        for backlog, waiting in ((8, 0), (1, 6)):
            mayAccept.set()
            address = self.listen(echo, backlog, mayAccept)
            measured = self.drive(address, active=8, churn=True, seconds=0.3)
            self.assertGreaterEqual(measured.get("retransmitted", 0), waiting)
            self.assertEqual("retransmitted" in measured, waiting > 0)
            if waiting:
                self.assertGreater(measured["latency_us"]["max"], 0.1e6)

    def test_closesNew(self) -> None:
        """
        A load fails if the server closes new connections without any answer, although
        it has answered on earlier ones.
        """
        self.patch(Echo, "verification", lambda self: iter(()))
        said = re.compile(
            r"the server (closed|dropped) connection \d of 3( \(ECONNRESET\))? before "
            "it answered anything on it"
        )
        answering = closing(1, close)
        ways: list[dict[str, Any]] = [{}, {"churn": True}, {"rate": 10_000}]
        for options in ways:
            accepted = itertools.count()

            def serve(
                connection: socket.socket, accepted: Iterator[int] = accepted
            ) -> None:
                if next(accepted) < 200:
                    answering(connection)
                else:
                    connection.recv(65536)

            address = self.listen(serve)
            error = self.assertRaises(
                LoadFailed, self.drive, address, seconds=60, **options
            )
            self.assertTrue(said.fullmatch(str(error)), str(error))

    def test_closesIdle(self) -> None:
        """
        Idle connections that the server has closed are counted. If they are in the
        sample at the end, they are made again.
        """
        self.patch(Echo, "verification", lambda self: iter(()))
        self.patch(driver.Driver, "RAMP", 1)
        begun = self.when("_begin")
        asked = itertools.count(1)

        def serve(connection: socket.socket) -> None:
            data = connection.recv(65536)
            number = next(asked) if data else 0
            connection.sendall(data)
            # Three connections are active, and two stay open.
            if 3 < number <= 3 + 4:
                begun.wait(30)
            else:
                echo(connection)

        measured = self.drive(self.listen(serve), idle=6, seconds=0.2)
        self.assertEqual((measured["idle_closed"], measured["reconnects"]), (4, 0))
        self.assertEqual(measured["sampled"], 9)

    def test_untilClosed(self) -> None:
        """
        An answer may end with the connection, but not earlier.
        """

        def serve(connection: socket.socket) -> None:
            if connection.recv(65536):
                connection.sendall(b"hel")
                connection.sendall(answer)

        answer = b"lo"
        exchange = UntilClosed(b"x", b"hello")
        ways: list[dict[str, Any]] = [{}, {"churn": True}, {"rate": 200}]
        for options in ways:
            measured = self.drive(
                self.listen(serve), exchange, idle=1, seconds=0.3, **options
            )
            self.assertGreater(measured["requests"], 0)
            self.assertAllAnswered(measured)
        answer = b"l"
        self.fails(
            serve,
            "of 3 in the middle of an answer, after 4 bytes of it",
            exchange=exchange,
        )

    def test_announced(self) -> None:
        """
        An answer may be marked as the last on its connection: the load sends nothing
        more on it, whether the server closes it or waits for the load to do so.
        """
        head = b"HTTP/1.1 200 OK\r\nConnection: %s\r\nContent-Length: 2\r\n\r\nhi"
        more: list[bytes] = []

        def serve(connection: socket.socket) -> None:
            for option in (b"keep-alive", b"keep-alive", b"Close"):
                if not connection.recv(65536):
                    return
                connection.sendall(head % option)
            more.append(connection.recv(65536))

        exchange = Http("/", "localhost")
        self.patch(exchange, "SECONDS", 0.01)
        ways: list[dict[str, Any]] = [{}, {"rate": 300}, {"churn": True}]
        for options in ways:
            measured = self.drive(
                self.listen(serve), exchange, idle=2, seconds=0.3, **options
            )
            self.assertGreater(measured["requests"], 0)
            self.assertEqual(measured["reconnects"] == 0, "churn" in options)
        # A reset connection has raised an exception instead.
        self.assertEqual(set(more) - {b""}, set())


class DriverTestsMixin(EndingTestsMixin):
    """
    Tests of all drivers without TLS.
    """

    def test_stalledClosed(self) -> None:
        """
        A stalled connection that the server has closed cannot be made again.
        """
        self.fails(closing(1, close), "connection 4 of 4", stalled=1)

    def test_stalled(self) -> None:
        """
        Stalled connections send all that the server takes, and read nothing; the others
        are not affected.
        """
        self.patch(self.driverType(), "STALLED", 64 << 20)
        taken: Counter[socket.socket] = Counter()

        def serve(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                taken[connection] += len(data)
                connection.sendall(data)

        measured = self.drive(self.listen(serve), idle=1, stalled=2)
        self.assertGreater(measured["requests"], 0)
        # The buffers were full before all was sent.
        much = [each for each in taken.values() if each > 100_000]
        self.assertGreaterEqual(len(much), 2)
        self.assertLess(max(taken.values()), 64 << 20)

    def test_stalledDropped(self) -> None:
        """
        The load fails if the server drops stalled connections.
        """

        def serve(connection: socket.socket) -> None:
            left = 1_000_000
            while (data := connection.recv(65536)) and left > 0:
                connection.sendall(data)
                left -= len(data) * (len(data) > 64)

        self.patch(Echo, "verification", lambda self: iter(()))
        error = self.assertRaises(
            LoadFailed, self.drive, self.listen(serve), stalled=1, seconds=60
        )
        self.assertIn("connection 4 of 4", str(error))

    def test_echo(self) -> None:
        """
        A right server gives a result, whose numbers agree with each other.
        """
        measured = self.drive(self.listen(echo), idle=40)
        self.assertGreater(measured["requests"], 0)
        self.assertAlmostEqual(
            measured["throughput"], measured["requests"] / measured["seconds"]
        )
        latency = measured["latency_us"]
        ordered = [latency["p50"], latency["p90"], latency["p99"], latency["p99.9"]]
        self.assertEqual(sorted([*ordered, latency["max"]]), [*ordered, latency["max"]])
        # Little's law: the number in flight is rate times time.
        self.assertLess(measured["throughput"] * latency["p50"] / 1e6, 2 * 3)
        self.assertIsNone(measured["server_cpu_us_per_request"])

    def test_largePayload(self) -> None:
        """
        A request larger than any socket buffer is sent in pieces, as the kernel takes
        it.
        """
        measured = self.drive(self.listen(echo), Echo(3_000_000), active=2, seconds=1)
        self.assertGreater(measured["requests"], 0)

    def test_watch(self) -> None:
        """
        The result has the counters of a watched process.
        """
        # Long enough for some ticks, even if other processes use the cores.
        watch = watching.Watch(os.getpid())
        measured = self.drive(self.listen(echo), watch=watch, seconds=0.5)
        user = measured["server_user_s"]
        system = measured["server_system_s"]
        each = measured["server_cpu_us_per_request"]
        assert user is not None and system is not None and each is not None
        self.assertAlmostEqual(
            each * measured["requests"] / 1e6, user + system, places=6
        )
        self.assertGreater(each, 0)
        self.assertGreater(measured["server_rss_kib"] or 0, 1000)
        self.assertGreater(measured["context_switches"] or 0, 0)

    def test_watchChildren(self) -> None:
        """
        The counters include those of child processes, if these serve.
        """
        server, address = self.listenElsewhere("ForkingTCPServer")
        measured = self.drive(address, watch=watching.Watch(server.pid, calls=True))
        self.assertGreater(measured["server_cpu_us_per_request"] or 0, 1)
        self.assertGreater(measured["context_switches"] or 0, 0)
        resident = psutil.Process(server.pid).memory_info().rss >> 10
        self.assertLess(measured["server_rss_kib"] or 0, 2 * resident)
        if "syscalls_reason" in measured:
            raise SkipTest(measured["syscalls_reason"])
        calls = measured["syscalls_by_name"]
        self.assertAlmostEqual(calls["recvfrom"], 1, places=1)
        self.assertAlmostEqual(calls["sendto"], 1, places=1)
        self.assertAlmostEqual(
            measured["syscalls_per_request"] or 0, sum(calls.values())
        )

    def test_notCounted(self) -> None:
        """
        If system calls cannot be counted, the round is kept, with the reason: counting
        may fail at its beginning, at its end, or by its effect on the server.
        """

        class Broken:
            def __enter__(self) -> Broken:
                return self

            def __exit__(self, *details: object) -> None:
                pass

            def end(self) -> dict[str, int]:
                raise tracing.CannotTrace("it is broken")

        def begin(pids: list[int]) -> Broken:
            self.assertEqual(pids, [os.getpid()])
            if reason == "it is not here":
                raise tracing.CannotTrace(reason)
            if reason == "the server closed connection":
                closing.set()
            return Broken()

        def serve(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                if closing.is_set():
                    return
                connection.sendall(data)

        self.patch(tracing, "begin", begin)
        reasons = ("it is not here", "it is broken", "the server closed connection")
        for reason in reasons:
            closing = threading.Event()
            watch = watching.Watch(os.getpid(), calls=True)
            measured = self.drive(self.listen(serve), watch=watch)
            self.assertIn(reason, measured["syscalls_reason"])
            self.assertEqual({"syscalls_by_name"} & set(measured), set())
            self.assertIsNone(measured["syscalls_per_request"])
            self.assertGreater(measured["server_cpu_us_per_request"] or 0, 0)

    def test_nobodyListens(self) -> None:
        """
        Without a server the load fails at once, with a reason.
        """
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = Address(socket.AF_INET, listening.getsockname())
        error = self.assertRaises(LoadFailed, self.drive, address)
        self.assertIn("nothing listens at tcp:127.0.0.1:", str(error))

    def test_wrongByteLate(self) -> None:
        """
        One wrong byte in the measured window fails the load.
        """
        self.fails(spoiling, "byte 63 of 64 came back as", seconds=10)

    def test_staleAnswer(self) -> None:
        """
        The answer to the previous request is a wrong answer.
        """

        def stale(connection: socket.socket) -> None:
            last = b""
            while data := connection.recv(65536):
                connection.sendall(last if len(last) == len(data) == 64 else data)
                last = data

        self.fails(stale, "wrong answer on connection")

    def test_answerTwice(self) -> None:
        """
        A repeated answer is a wrong answer.
        """

        def twice(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                connection.sendall(data + data)

        self.fails(twice, "wrong answer on verifying connection")

    def test_answerTwiceTheSame(self) -> None:
        """
        A repeated answer is wrong even if all answers are the same, however late it
        comes: at the end there is one answer too many.
        """

        def twice(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                for _ in range(2):
                    connection.sendall(data)

        exchange = Verbatim(b"PING\r\n", ofLength(6))
        self.patch(Verbatim, "SECONDS", 0.05)
        self.fails(twice, "wrong answer on verifying connection", exchange=exchange)

    def test_greeting(self) -> None:
        """
        The reason distinguishes a server that speaks first from one that answers
        wrongly, for every kind of request. Its bytes are escaped.
        """
        said = b"220 \x1b[2Jmail ESMTP\r\n"

        def greet(connection: socket.socket) -> None:
            connection.sendall(said)
            while connection.recv(65536):
                connection.sendall(b"502 what?\r\n")

        for exchange in (
            Echo(64),
            Http("/", "localhost"),
            Verbatim(b"QUIT\r\n", endingWith(b"\r\n")),
            Verbatim(b"QUIT\r\n", endingWith(b"\0")),
            Verbatim(b"QUIT\r\n", ofLength(3)),
        ):
            reason = (
                r"the server speaks first: it sent '220 \x1b[2Jmail ESMTP\r\n' before"
            )
            self.fails(greet, reason, exchange=exchange, patience=0.5)

    def test_unasked(self) -> None:
        """
        Bytes from the server on an idle connection are a wrong answer.
        """
        accepted = itertools.count(1)
        asked = threading.Event()

        def speak(connection: socket.socket) -> None:
            number = next(accepted)
            connection.sendall(data := connection.recv(65536))
            # One connection waits for the server, some verify, three are active.
            first = 1 + driver.Driver.VERIFYING
            if number > first + 3:
                asked.wait(10)
                connection.sendall(data)
            elif number > first:
                connection.sendall(connection.recv(65536))
                asked.set()
            echo(connection)

        self.fails(speak, "it came without a request", idle=3)

    def test_silence(self) -> None:
        """
        A server that does not answer fails the load.
        """

        def swallow(connection: socket.socket) -> None:
            while connection.recv(65536):
                pass

        self.fails(swallow, "no answer for 0.1 s", patience=0.1)

    def test_drips(self) -> None:
        """
        A server that sends an answer byte by byte, and too slowly, fails the load: also
        in the window, and if all other requests are answered.
        """
        accepted = itertools.count(1)

        def drip(connection: socket.socket) -> None:
            if next(accepted) == 1 + driver.Driver.VERIFYING + 2:
                connection.sendall(connection.recv(65536))
                ended = select.poll()
                ended.register(connection, select.POLLRDHUP)
                for byte in connection.recv(65536):
                    connection.sendall(bytes([byte]))
                    if ended.poll(50):
                        return
            echo(connection)

        for rate in (None, 1000.0):
            accepted = itertools.count(1)
            reason = "the answer on connection 2 of 3 is not whole after 0.4 s: "
            self.fails(drip, reason, patience=0.4, seconds=10, rate=rate)

    def test_oneFallsSilent(self) -> None:
        """
        A request that gets no answer, while others do, is counted, with the time it has
        waited.
        """
        accepted = itertools.count(1)

        def fallSilent(connection: socket.socket) -> None:
            if next(accepted) == 1 + driver.Driver.VERIFYING + 2:
                connection.sendall(connection.recv(65536))
                while connection.recv(65536):
                    pass
            echo(connection)

        measured = self.drive(self.listen(fallSilent), patience=0.2)
        self.assertUnanswered(measured, 1, 0.2)

    def test_hangUp(self) -> None:
        """
        If the server closes a connection, the reason names the connection.
        """
        self.fails(lambda connection: None, "verifying connection")

    def test_refusesMore(self) -> None:
        """
        If a connection cannot be made, the reason names it.
        """

        def few(more: int) -> Serve:
            room = threading.Semaphore(1 + driver.Driver.VERIFYING + more)

            def serve(connection: socket.socket) -> None:
                if room.acquire(blocking=False):
                    echo(connection)

            return serve

        self.fails(few(5), "of 13", active=3, idle=10)
        # With many connections, over all processes, the reason hints at the file
        # limit.
        self.patch(driver, "_USUAL_LIMIT", 2)
        address = self.listen(few(0))
        error = self.assertRaises(
            LoadFailed, self.drive, address, active=3, idle=10, processes=2
        )
        self.assertRegex(
            str(error),
            r"connection \d of 7 in process 1 of 2 .*; all 13 connections are open "
            r"files of the server too: is its limit \(ulimit -n .* iodemo doctor",
        )

    def test_everyAnswerCounts(self) -> None:
        """
        The recording of the window counts the answers that the server sent in it, in
        any pieces, and the recording of the warm-up all others.
        """
        sent: list[int] = []

        def cut(connection: socket.socket) -> None:
            drawn = random.Random(len(sent))
            while data := connection.recv(65536):
                sent.append(len(data))
                end = drawn.randrange(len(data) + 1)
                connection.sendall(data[:end])
                connection.sendall(data[end:])

        recordings = self.recordings()
        measured = self.drive(self.listen(cut), active=3, idle=4)
        warming, window = (recording.count for recording, _ in recordings)
        self.assertEqual(measured["late"], 3)
        self.assertEqual(window, measured["requests"] + 3)
        verified = sum(len(turn.request) for turn in Echo(64).verification())
        # Each connection gets one answer after connecting, and one at the end.
        self.assertEqual(sum(sent), verified + 64 * (7 + warming + window + 7))

    def test_http(self) -> None:
        """
        Right answers are accepted even if no two are the same.
        """
        number = itertools.count()

        def page(connection: socket.socket) -> None:
            while connection.recv(65536):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nX-Request: %d\r\nContent-Length: 5\r\n\r\n"
                    b"hello" % next(number)
                )

        exchange = Http("/", "localhost")
        self.patch(exchange, "VERIFIED", 10_000)
        measured = self.drive(self.listen(page), exchange)
        self.assertGreater(measured["requests"], 0)

    def failsHalfway(
        self,
        then: Callable[[socket.socket, bytes], object],
        reason: str,
    ) -> None:
        """
        The load fails, for this reason, if a server sends half of an answer, and calls
        a function when the load has read it.

        @param then: called with the connection and the other half.
        """
        self.fails(self.halfway(then), reason, seconds=10)

    def halfway(self, then: Callable[[socket.socket, bytes], object]) -> Serve:
        """
        Send half an answer, wait until it is read, and call C{then}.
        """
        accepted = itertools.count(1)
        others = threading.Condition()
        requests = 0

        def serve(connection: socket.socket) -> None:
            nonlocal requests
            busy = next(accepted) - 1 - driver.Driver.VERIFYING
            for turn in itertools.count():
                data = connection.recv(65536)
                if busy == 1 and turn == 1:
                    connection.sendall(data[:40])
                    # The driver handles all ready connections before it polls again.
                    with others:
                        enough = requests + 3
                        while requests < enough and others.wait(10):
                            pass
                    then(connection, data[40:])
                    return
                with others:
                    requests += busy > 1
                    others.notify()
                connection.sendall(data)

        return serve

    def test_verbatim(self) -> None:
        """
        Any request may be used whose answer is the same every time.
        """
        turns: Counter[bytes] = Counter()

        def pong(connection: socket.socket) -> None:
            reading = connection.makefile("rb")
            while line := reading.readline():
                turns[line] += 1
                connection.sendall(b"+PONG\r\n")

        address = self.listen(pong)
        for ending in (endingWith(b"\r\n"), ofLength(7)):
            exchange = Verbatim(b"PING\r\n", ending)
            self.patch(exchange, "VERIFIED", 1000)
            measured = self.drive(address, exchange)
            self.assertGreater(measured["requests"], 0)
        self.assertEqual(set(turns), {b"PING\r\n"})

    def test_wrongHalf(self) -> None:
        """
        A wrong byte in an answer that comes in pieces is reported, with its offset.
        """
        self.failsHalfway(
            lambda connection, half: connection.sendall(bytes([half[0] ^ 1])),
            "wrong answer on connection 1 of 3: byte 40 of 64 came back as",
        )

    def test_halfAndMore(self) -> None:
        """
        Surplus bytes after an answer in pieces are reported.
        """
        self.failsHalfway(
            lambda connection, half: connection.sendall(half + b"x"),
            "wrong answer on connection 1 of 3: more came back",
        )

    def test_halfThenSilence(self) -> None:
        """
        A request with half an answer counts as unanswered.
        """
        serve = self.halfway(lambda connection, half: echo(connection))
        measured = self.drive(self.listen(serve), seconds=0.1, patience=0.5)
        self.assertUnanswered(measured, 1, 0.5)

    def assertUnanswered(self, measured: Round, sent: int, seconds: float) -> None:
        """
        Check that so many requests are unanswered, the oldest for so long at least.
        """
        self.assertEqual(measured["unanswered"] - measured["unsent"], sent)
        self.assertGreaterEqual(measured["unanswered_oldest_us"], seconds * 1e6)
        self.assertGreater(measured["requests"], 0)

    def test_halfThenEnd(self) -> None:
        """
        A connection that the server closes after half an answer is named.
        """
        self.failsHalfway(
            lambda connection, half: connection.close(),
            "the server closed connection 1 of 3 in the middle of an answer, after 40 "
            "bytes of it",
        )

    def test_halfThenReset(self) -> None:
        """
        A connection that the server resets after half an answer is named.
        """

        self.failsHalfway(
            lambda connection, half: reset(connection),
            "the server dropped connection 1 of 3 (ECONNRESET)",
        )

    def test_early(self) -> None:
        """
        An answer that arrives before its request was sent is a wrong answer.
        """
        request = bytes(16 << 20)

        def early(connection: socket.socket) -> None:
            # Nothing reads, so the kernel must not take the whole request.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            for turn in itertools.count():
                left = 20 if turn == 2 else len(request)
                while left and (data := connection.recv(min(left, 65536))):
                    left -= len(data)
                connection.sendall(b"hello")
                if turn == 2:
                    # Do not read until the driver has closed the connection.
                    gone = select.poll()
                    gone.register(connection, 0)
                    gone.poll(30_000)
                    return

        exchange = Fixed(request, b"hello")
        self.fails(early, "it came before the request", exchange=exchange, seconds=10)

    def test_rate(self) -> None:
        """
        In an open loop as many requests are sent as are due, on the connections in
        turn.
        """
        asked: Counter[socket.socket] = Counter()

        def counted(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                asked[connection] += len(data) == 64
                connection.sendall(data)

        recordings = self.recordings()
        before = time.perf_counter()
        measured = self.drive(self.listen(counted), active=4, rate=2000, seconds=0.2)
        most = 2000 * (time.perf_counter() - before) + 1
        (warming, _), (window, uncorrected), _ = recordings
        self.assertEqual(window.count, measured["requests"] + measured["late"])
        self.assertEqual(uncorrected.count, window.count)
        self.assertEqual(measured["late"], measured["backlog"])
        due = warming.count + window.count
        self.assertGreaterEqual(due, int(2000 * (0.01 + measured["seconds"])))
        self.assertLessEqual(due, most)
        busiest = asked.most_common(4)
        self.assertLessEqual(sum(times for _, times in busiest) - 4, due)
        self.assertGreater(busiest[3][1], 1)

    def test_addresses(self) -> None:
        """
        All connections come from one address while it has free ports, since some
        servers accept that one alone; then from other addresses, and the result has
        their number.
        """
        addresses: Counter[str] = Counter()

        def note(connection: socket.socket) -> None:
            addresses[connection.getpeername()[0]] += 1
            echo(connection)

        address = self.listen(note)
        measured = self.drive(address, idle=20, processes=2)
        self.assertEqual(addresses, {"127.0.0.1": 1 + driver.Driver.VERIFYING + 23})
        self.assertNotIn("connections_from_elsewhere", measured)
        addresses.clear()
        self.limitPorts(10)
        self.patch(driver.Driver, "PER_ADDRESS", 6)
        measured = self.drive(address, idle=20)
        first, *others = (addresses.pop(f"127.0.0.{n + 1}") for n in range(4))
        self.assertEqual(addresses, {})
        self.assertLessEqual(first, 10)
        self.assertLessEqual(max(others), 6)
        self.assertEqual(first + sum(others), 1 + driver.Driver.VERIFYING + 23)
        self.assertEqual(measured["connections_from_elsewhere"], sum(others))

    def test_refusesOtherAddresses(self) -> None:
        """
        If a server does not accept other addresses, the reason explains why they were
        used. If there are none, the reason names the ports.
        """

        def choose(connection: socket.socket) -> None:
            if connection.getpeername()[0] == "127.0.0.1":
                echo(connection)

        address = self.listen(choose)
        self.limitPorts(10)
        error = self.assertRaises(LoadFailed, self.drive, address, idle=20)
        self.assertIn(" too: the local ports of the first address", str(error))
        self.patch(driver.Driver, "SOURCES", 0)
        error = self.assertRaises(LoadFailed, self.drive, address, idle=20)
        self.assertIn("no local port is left", str(error))
        self.assertIn("iodemo doctor", str(error))

    def limitPorts(self, count: int) -> None:
        """
        Limit the sockets of a load to so many local ports for each address.
        """
        ports = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        high = int(ports.split()[1])
        bounds = struct.pack("=I", high << 16 | high - count + 1)
        # IP_LOCAL_PORT_RANGE of linux/in.h, since Linux 6.3.
        option = 51

        class Limited(socket.socket):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                if self.family == socket.AF_INET:
                    self.setsockopt(socket.IPPROTO_IP, option, bounds)

        try:
            Limited().close()
        except OSError as error:
            raise SkipTest("this kernel has no IP_LOCAL_PORT_RANGE") from error
        self.patch(
            driver, "socket", SimpleNamespace(**{**vars(socket), "socket": Limited})
        )

    def tellProcessesApart(self) -> None:
        """
        Give the second process of a load addresses of 127.0.1.0/24, and so on.
        """
        connect = driver.Driver._connect

        def connectFrom(driving: driver.Driver) -> list[driver._Connection]:
            if process := driving._profile.process:
                driving._source = f"127.0.{process}.1"
            return connect(driving)

        self.patch(driver.Driver, "_connect", connectFrom)

    def test_quota(self) -> None:
        """
        The load may use at most the cores of its CPU quota, and at most as many as
        there are processes with an active connection.
        """
        self.patch(driver, "usable", lambda: 8)
        address = self.listen(echo)
        fractions = []
        for cores in (None, 0.001):
            self.patch(driver, "quota", lambda cores=cores: Quota(cores, hidden=True))
            measured = self.drive(address, processes=2)
            fractions.append(measured["load_cpu_fraction"])
            if runDelay() is not None:
                self.assertLessEqual(measured["load_busy_fraction"], 1)
                self.assertGreater(measured["load_busy_fraction"], 0)
        self.assertLess(fractions[0], 1.1)
        self.assertGreater(fractions[1], 2)
        self.assertTrue(judged(measured)["load_limited"])

    def test_alternatives(self) -> None:
        """
        If a name has several addresses, all processes use the first that accepts a
        connection. If none does, the reason names all of them.
        """
        address = self.listen(echo)
        with socket.create_server(("127.0.0.1", 0)) as free:
            other = Address(socket.AF_INET, free.getsockname())
        absent = Address(socket.AF_UNIX, "absent")
        for first, *others in (
            (other, absent, address),
            (address, other),
            (absent, address),
        ):
            both = replace(first, alternatives=tuple(others))
            measured = self.drive(both, processes=2)
            self.assertGreater(measured["requests"], 0)
        neither = replace(other, alternatives=(absent,))
        error = self.assertRaises(LoadFailed, self.drive, neither)
        self.assertEqual(
            str(error), f"nothing listens at {other}; there is no unix:absent"
        )

    def churn(self, **options: Any) -> Counter[str]:
        """
        Check that each request has a connection of its own, closed by reset after the
        answer.

        @return: the addresses of the load's sockets.
        """
        accepted = itertools.count()
        addresses: Counter[str] = Counter()
        asked: Counter[int] = Counter()
        reset: list[int] = []
        # An event that follows the end of every serving thread.
        self.addCleanup(lambda: self.assertEqual(len(reset), len(asked) - 4))

        def note(connection: socket.socket) -> None:
            number = next(accepted)
            addresses[connection.getpeername()[0]] += 1
            try:
                while data := connection.recv(65536):
                    asked[number] += 1
                    connection.sendall(data)
            except ConnectionResetError:
                reset.append(number)

        recordings = self.recordings()
        measured = self.drive(
            self.listen(note), active=3, idle=2, churn=True, **options
        )
        (warming, _), (window, _), *_ = recordings
        self.assertEqual(window.count, measured["requests"] + measured["late"])
        self.assertGreater(window.count, 5)
        # One connection waits for the server and sends nothing; some verify.
        served = [times for number, times in asked.items() if number > 4]
        # The connections that are open at the end send one more request.
        self.assertEqual(sorted(served), [1] * (len(served) - 5) + [2] * 5)
        self.assertEqual(5 + warming.count + window.count, len(served))
        return addresses

    def test_churn(self) -> None:
        """
        With churn each request has a new connection, which replaces the last one: as
        many are open as are active, and they leave no port in TIME_WAIT.
        """
        self.assertEqual(set(self.churn()), {"127.0.0.1"})

    def test_churnAtARate(self) -> None:
        """
        Churn works in an open loop.
        """
        self.churn(rate=200, seconds=0.2)

    def test_unix(self) -> None:
        """
        A UNIX socket has its name in the file system or is abstract. Connections wait
        if its queue is full, with churn too.
        """

        class Echo(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the load may have left
                    echo(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            request_queue_size = 1
            daemon_threads = True

        for name in (self.mktemp(), f"\0{uuid.uuid4()}"):
            with Server(name, Echo) as server:
                serving = threading.Thread(target=server.serve_forever, args=(0.01,))
                serving.start()
                try:
                    address = Address(socket.AF_UNIX, name)
                    measured = self.drive(address, active=20, churn=True)
                finally:
                    server.shutdown()
                    serving.join()
            self.assertGreater(measured["requests"], 0)

    def test_churnFails(self) -> None:
        """
        A new connection with a wrong answer, or none, is named.
        """

        def serve(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                if next(requests) > 100_000:
                    if wrong is None:
                        return
                    data = wrong
                connection.sendall(data)

        wrong: bytes | None = b"x" * 64
        requests = itertools.count(99_000)
        self.fails(serve, "wrong answer on connection", churn=True, seconds=10)
        wrong = None
        requests = itertools.count(99_000)
        self.fails(serve, "the server closed connection", churn=True, seconds=10)

    def test_churnRefused(self) -> None:
        """
        A new connection that is refused is named.
        """
        address = self.listen(echo)
        driving = self.driverType()(Profile(address, Echo(64), 1, 0, 10, 0, churn=True))
        begin = driving._begin

        def beginElsewhere(busy: list[Any]) -> None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            other = Address(socket.AF_INET, ("127.0.0.1", port))
            self.patch(driving, "_profile", replace(driving._profile, address=other))
            begin(busy)

        self.patch(driving, "_begin", beginElsewhere)
        error = self.assertRaises(LoadFailed, driving.run)
        self.assertIn("the server dropped connection 1 of 1 (ECONNREF", str(error))

    def test_poisson(self) -> None:
        """
        Requests may be due at random times.
        """
        measured = self.drive(
            self.listen(echo), rate=2000, arrivals="poisson", seconds=0.2
        )
        self.assertGreater(measured["requests"], 0)

    def test_overload(self) -> None:
        """
        Requests that are due and not answered are counted, and delay later ones.
        """
        measured = self.drive(self.listen(echo), rate=5e6)
        due = 5e6 * (0.01 + measured["seconds"])
        self.assertGreater(measured["backlog"], due - 2 * measured["requests"])
        fromSending = measured["latency_uncorrected_us"]
        self.assertGreater(measured["latency_us"]["p50"], fromSending["p50"])
        # Some requests were sent after the window, and most never.
        self.assertGreater(measured["late"], 3)
        self.assertEqual(measured["unanswered"], measured["unsent"])
        self.assertEqual(measured["late"] + measured["unsent"], measured["backlog"])
        self.assertGreater(measured["unanswered_oldest_us"], 50_000)
        # Requests due in the warm-up count in the backlog at the end, but not in
        # "due".
        self.assertGreater(measured["backlog_before"], 0.01 * 5e6 / 2)
        self.assertEqual(
            measured["due"] + measured["backlog_before"],
            measured["requests"] + measured["backlog"],
        )

    def test_stalls(self) -> None:
        """
        If a server pauses for 200 ms a second, all requests due meanwhile have a higher
        latency, and not only the one that was sent.
        """
        server, address = self.listenElsewhere("ThreadingTCPServer")
        over = threading.Event()

        def stall() -> None:
            while not over.is_set():
                server.send_signal(signal.SIGSTOP)
                over.wait(0.2)
                server.send_signal(signal.SIGCONT)
                over.wait(0.8)

        stalling = threading.Thread(target=stall)
        stalling.start()
        self.addCleanup(stalling.join)
        self.addCleanup(over.set)
        measured = self.drive(address, active=1, rate=1000, seconds=2)
        corrected = measured["latency_us"]["p99"]
        self.assertGreater(corrected, 100_000)
        self.assertLess(2 * measured["latency_uncorrected_us"]["p99"], corrected)

    def test_openSilence(self) -> None:
        """
        A server that stops answering in an open loop fails the load.
        """
        accepted = itertools.count(1)

        def fallSilent(connection: socket.socket) -> None:
            if next(accepted) > 1 + driver.Driver.VERIFYING:
                connection.sendall(connection.recv(65536))
                while connection.recv(65536):
                    pass
            echo(connection)

        self.fails(
            fallSilent, "no answer for 0.2 s", patience=0.2, rate=1000, seconds=10
        )

    def test_nothingDue(self) -> None:
        """
        A server that gets no request for a long time does not count as silent.
        """
        measured = self.drive(self.listen(echo), rate=1, seconds=2.5, patience=0.5)
        self.assertGreater(measured["requests"], 0)

    def test_openUnasked(self) -> None:
        """
        Bytes that come after an answer, while no request is in flight, are a wrong
        answer.
        """
        accepted = itertools.count(1)

        def more(connection: socket.socket) -> None:
            if next(accepted) > 1 + driver.Driver.VERIFYING:
                connection.sendall(connection.recv(65536))
                connection.sendall(connection.recv(65536))
                connection.sendall(b"x")
            echo(connection)

        self.fails(
            more, "wrong answer on connection 1 of 1", active=1, rate=10, seconds=10
        )

    def test_processes(self) -> None:
        """
        Each of several processes has a share of the connections, which are all served,
        and has payloads of its own; the parts make one result. All connections stay
        open until the server's memory has been read, and are then closed by reset.
        """
        self.tellProcessesApart()
        addresses: Counter[str] = Counter()
        answered: list[bytes] = []
        others: set[socket.socket] = set()
        there: list[int] = []
        reset: list[socket.socket] = []
        # An event that follows the end of every serving thread.
        self.addCleanup(lambda: self.assertEqual(len(reset), 12))

        def note(connection: socket.socket) -> None:
            host = connection.getpeername()[0]
            addresses[host] += 1
            if host != "127.0.0.1":
                others.add(connection)
            try:
                while data := connection.recv(65536):
                    answered.append(data)
                    connection.sendall(data)
            except OSError:
                reset.append(connection)
            finally:
                others.discard(connection)

        class Counting(watching.Watch):
            def memory(self, proportional: bool = False) -> int | None:
                there.append(len(others))
                return super().memory(proportional)

        counts: list[int] = []
        add = Part.add

        def counted(part: Part, other: Part) -> None:
            counts.append(part.recording.count)
            add(part, other)
            counts.append(part.recording.count)

        self.patch(Part, "add", counted)
        measured = self.drive(
            self.listen(note),
            *(None, 5, 7, Counting(os.getpid())),
            processes=3,
            seconds=0.3,
        )
        # The first reading before any process connects, the second when all are
        # connected.
        self.assertEqual(there, [0, 8])
        # One connection waits for the server, some verify.
        first = 1 + driver.Driver.VERIFYING + 4
        self.assertEqual(
            addresses, {"127.0.0.1": first, "127.0.1.1": 4, "127.0.2.1": 4}
        )
        own, two, again, three = counts
        self.assertTrue(0 < own < two == again < three, counts)
        self.assertEqual(three, measured["requests"] + measured["late"])
        self.assertEqual(measured["late"], 5)
        self.assertLess(measured["requests"], len(answered) - 12)
        payloads = {data for data in answered if len(data) == 64}
        self.assertGreaterEqual(len(payloads), 2 * 5 + 7)

    def test_sample(self) -> None:
        """
        If there are idle connections, each process sends one more request on a sample
        of all at the end. The result has the memory per connection if there are many.
        """
        self.tellProcessesApart()
        asked: Counter[int] = Counter()

        def note(connection: socket.socket) -> None:
            # Of a process that does not verify.
            other = connection.getpeername()[0] == "127.0.1.1"
            while data := connection.recv(65536):
                if other:
                    asked[connection.getpeername()[1]] += 1
                connection.sendall(data)

        watch = watching.Watch(os.getpid())
        self.patch(driver.Driver, "MANY", 13)
        for many, sample in ((13, 100), (12, 100), (13, 4)):
            asked.clear()
            self.patch(driver.Driver, "SAMPLE", sample)
            measured = self.drive(
                *(self.listen(note), None, 2, many - 2, watch), processes=2, seconds=0.1
            )
            self.assertEqual(measured["sampled"], min(many, sample))
            held = {"server_bytes_per_connection", "kernel_bytes_per_connection"}
            self.assertEqual(held & {*measured}, held if many == 13 else set())
            # One active connection is in the sample, and one half of the others.
            again = [count for count in asked.values() if count == 2]
            self.assertTrue(len(again) <= min(many, sample) // 2)
            self.assertTrue(again)
        measured = self.drive(self.listen(echo), active=3)
        self.assertEqual({"sampled"} & {*measured}, set())

    def test_sampleLost(self) -> None:
        """
        An idle connection that gets no answer any more is found.
        """
        accepted = itertools.count(1)

        def forget(connection: socket.socket) -> None:
            if next(accepted) == 3 + 1 + driver.Driver.VERIFYING:
                connection.sendall(connection.recv(65536))
                while connection.recv(65536):
                    pass
            echo(connection)

        reason = "no answer for 0.3 s on connection"
        self.fails(forget, reason, active=1, idle=4, patience=0.3, seconds=0.1)

    def test_rateOfProcesses(self) -> None:
        """
        In an open loop the processes split the rate in proportion to their connections.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)

        def scheduled(rate: float, arrivals: Arrivals, begin: int) -> Schedule:
            os.write(writing, b"%d " % rate)
            return Schedule(rate, arrivals, begin)

        self.patch(driver, "Schedule", scheduled)
        with os.fdopen(writing, "wb"):
            measured = self.drive(
                *(self.listen(echo), None, 3, 4), processes=2, rate=600, seconds=0.2
            )
        self.assertGreater(measured["requests"], 0)
        self.assertEqual(sorted(os.read(reading, 1024).split()), [b"200", b"400"])

    def test_companionFails(self) -> None:
        """
        A failure in another process is reported, with the process.
        """
        self.tellProcessesApart()

        def spoil(connection: socket.socket) -> None:
            spoilt = connection.getpeername()[0] == "127.0.1.1"
            for turn in itertools.count():
                data = connection.recv(65536)
                if spoilt and turn > 0:
                    data = bytes([data[0] ^ 1]) + data[1:]
                connection.sendall(data)

        self.fails(
            spoil,
            "wrong answer on connection 1 of 1 in process 2 of 2: byte 0",
            processes=2,
        )

    def test_companionEnds(self) -> None:
        """
        A process that ends by itself is reported.
        """

        class Fatal(Echo):
            first = os.getpid()

            def turns(self) -> tuple[Turn, Turn]:
                if os.getpid() != self.first:
                    os._exit(1)
                return super().turns()

        reason = "process 2 of the load ended"
        self.fails(echo, reason, exchange=Fatal(64), processes=2)


class PythonDriverTests(DriverTestsMixin, SynchronousTestCase):
    """
    Tests for L{driver.Driver}.
    """

    def driverType(self) -> type[driver.Driver]:
        """
        The driver in Python is always available.
        """
        return driver.Driver


class FastDriverTests(DriverTestsMixin, SynchronousTestCase):
    """
    Tests for L{iodemo.load.fast}.
    """

    def driverType(self) -> type[driver.Driver]:
        """
        The compiled driver, which must have been built.
        """
        if driver.fastest() is driver.Driver:
            raise SkipTest("it is not compiled")
        return driver.fastest()


class TLSDriverTests(EndingTestsMixin, SynchronousTestCase):
    """
    Tests for L{iodemo.load.tls}.
    """

    def setUp(self) -> None:
        """
        Make a certificate.
        """
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        directory = Path(self.mktemp())
        directory.mkdir()
        self.context.load_cert_chain(writeCertificate(directory))

    def driverType(self) -> type[driver.Driver]:
        """
        The driver with TLS.
        """
        return driver.fastest(tls=True)

    def listen(self, serve: Serve, *options: Any, **named: Any) -> Address:
        """
        As without TLS, but connections without a handshake are not served.
        """

        def encrypted(connection: socket.socket) -> None:
            # Without this the last bytes would wait for an acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.context.wrap_socket(connection, server_side=True) as secured:
                serve(secured)

        return super().listen(encrypted, *options, **named)

    def test_echo(self) -> None:
        """
        A right server gives a result.
        """
        measured = self.drive(self.listen(echo), idle=10)
        self.assertGreater(measured["requests"], 0)

    def test_largePayload(self) -> None:
        """
        A request may need many records, and more space than the buffers of the kernel.
        """
        measured = self.drive(self.listen(echo), Echo(1_000_000), active=2, seconds=1)
        self.assertGreater(measured["requests"], 0)

    def test_rate(self) -> None:
        """
        TLS works in an open loop.
        """
        measured = self.drive(self.listen(echo), rate=1000, seconds=0.1)
        self.assertGreater(measured["requests"], 0)

    def test_churn(self) -> None:
        """
        With churn each request has a connection of its own, and so a whole handshake.
        """
        resumed: list[bool | None] = []

        def count(connection: socket.socket) -> None:
            assert isinstance(connection, ssl.SSLSocket)
            resumed.append(connection.session_reused)
            echo(connection)

        for rate in (None, 100.0):
            resumed.clear()
            measured = self.drive(
                self.listen(count), active=3, churn=True, seconds=0.2, rate=rate
            )
            self.assertGreater(measured["requests"], 0)
            self.assertGreaterEqual(
                len(resumed), measured["requests"] + 3 + driver.Driver.VERIFYING
            )
            self.assertEqual(set(resumed), {False})

    def test_serverName(self) -> None:
        """
        The handshake names the host if it is not an address, on every connection.
        """
        named: set[str | None] = set()
        self.context.sni_callback = lambda secured, name, context: named.add(name)
        address = self.listen(echo)
        for name in ("", "example.com"):
            named.clear()
            self.drive(replace(address, name=name), churn=True)
            self.assertEqual(named, {name or None})

    def test_wrongByte(self) -> None:
        """
        A wrong byte is reported.
        """
        self.fails(spoiling, "byte 63 of 64 came back as", seconds=10)

    def test_hangUp(self) -> None:
        """
        If a server closes a connection before it answers, the connection is named.
        """
        self.fails(lambda connection: None, "verifying connection")

    def test_silence(self) -> None:
        """
        The load waits for a handshake that does not go on, and then fails.
        """

        def swallow(connection: socket.socket) -> None:
            while connection.recv(65536):
                pass

        address = super().listen(swallow)
        # If the loop did spin, the number of polls would not end.
        error = self.assertRaises(LoadFailed, self.drive, address, patience=0.2)
        self.assertIn(
            "the TLS handshake on verifying connection 1 is not finished after 0.2 s: "
            f"does the server speak TLS? (without TLS it would be {address})",
            str(error),
        )

    def test_noTLS(self) -> None:
        """
        If a server does not speak TLS, the reason suggests this, however the server
        reacts to the handshake.
        """

        def answering(answer: bytes) -> Serve:
            def serve(connection: socket.socket) -> None:
                connection.recv(65536)
                connection.sendall(answer)
                connection.recv(65536)

            return serve

        def greeting(connection: socket.socket) -> None:
            connection.sendall(b"220 mail.example.com ESMTP\r\n")
            connection.recv(65536)

        for serve in (
            echo,
            greeting,
            answering(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
            answering(b"-ERR unknown command\r\n"),
            answering(b"\x15\x03\x03\xff\xff\x00\x00"),
        ):
            address = super().listen(serve)
            error = self.assertRaises(
                LoadFailed, self.drive, replace(address, tls=True)
            )
            self.assertIn("the server does not speak TLS: ", str(error))
            self.assertIn(f"(without TLS it would be {address})", str(error))
        for end in (close, reset):

            def serve(
                connection: socket.socket, end: Callable[[Any], object] = end
            ) -> None:
                connection.recv(65536)
                end(connection)

            address = super().listen(serve)
            error = self.assertRaises(LoadFailed, self.drive, address)
            self.assertIn("before the TLS handshake was finished", str(error))
            self.assertIn("does the server speak TLS?", str(error))

    def test_otherHandshake(self) -> None:
        """
        If a server speaks TLS and refuses the handshake, the reason does not suggest
        that it does not speak TLS.
        """
        self.context.maximum_version = ssl.TLSVersion.TLSv1
        address = self.listen(echo)
        error = self.assertRaises(LoadFailed, self.drive, address)
        self.assertIn("(TLS: ", str(error))
        self.assertNotIn("does not speak TLS", str(error))

    def test_notConnected(self) -> None:
        """
        A socket that is not connected yet takes no bytes, and a refused one raises the
        error.
        """
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = free.getsockname()
        with socket.socket() as plain:
            plain.setblocking(False)
            tlsSocket = TlsSocket(plain)
            for fails in (lambda: tlsSocket.send(b"x"), lambda: tlsSocket.recv(1)):
                self.assertRaises(BlockingIOError, fails)
            self.assertEqual(tlsSocket.awaited, select.EPOLLIN | select.EPOLLOUT)
            with contextlib.suppress(BlockingIOError):
                plain.connect(address)
            self.assertRaises(ConnectionRefusedError, tlsSocket.send, b"x")


class SplitTests(SynchronousTestCase):
    """
    Tests for L{split}.
    """

    def profile(self, active: int, idle: int, rate: float | None = None) -> Profile:
        """
        A profile with so many connections.
        """
        address = Address(socket.AF_INET, ("127.0.0.1", 1))
        return Profile(address, Echo(1), active, idle, 1, 0, rate=rate)

    def test_shares(self) -> None:
        """
        The shares add up to the profile, differ by one at most, and the first has an
        active connection.
        """
        for active, idle, processes in itertools.product(
            (1, 2, 5), (0, 1, 7), (1, 3, 5)
        ):
            shares = split(self.profile(active, idle, 100.0), processes)
            # A process without a connection would be useless.
            self.assertEqual(len(shares), min(processes, active + idle))
            self.assertEqual(sum(share.active for share in shares), active)
            self.assertEqual(sum(share.idle for share in shares), idle)
            self.assertAlmostEqual(sum(share.rate or 0 for share in shares), 100)
            self.assertGreater(shares[0].active, 0)
            connections = [share.connections for share in shares]
            self.assertLessEqual(max(connections) - min(connections), 1)
            self.assertGreaterEqual(min(share.idle for share in shares), 0)

    def test_descriptorLimit(self) -> None:
        """
        There are as many processes as the hard limit on open files requires; if the
        limit is too low, the reason has it.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        profile = self.profile(1, hard)
        self.assertEqual(len(split(self.profile(1, hard // 2))), 1)
        self.assertEqual(len(split(profile)), 2)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (hard, hard))
        for large, processes in ((profile, 1), (self.profile(1, 255 * hard), None)):
            error = self.assertRaises(LoadFailed, split, large, processes)
            self.assertIn(f"the hard limit is {hard:,}", str(error))


class Offspring:
    """
    A forked child of this process, which calls one function and then stays until the
    test ends it.
    """

    def __init__(self, do: Callable[[], object] = lambda: None) -> None:
        """
        Return when the child has called the function.
        """
        ending, self._end = os.pipe()
        did, done = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._end)
                do()
                os.write(done, b"x")
                os.read(ending, 1)
            finally:
                os._exit(0)
        os.close(ending)
        os.close(done)
        with open(did, "rb") as pipe:
            if pipe.read(1) != b"x":
                raise AssertionError("the child could not do it")

    def end(self) -> None:
        """
        Have the child end, and wait for it.
        """
        os.close(self._end)
        os.waitpid(self.pid, 0)


def burn(seconds: float) -> None:
    """
    Use so many seconds of CPU time.
    """
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def switch(times: int = 500) -> None:
    """
    Give up the core, so many times.
    """
    for _ in range(times):
        time.sleep(1e-6)


def touch(pages: int) -> None:
    """
    Write to so many pages of memory that nothing has used yet.
    """
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1


class WatchTests(SynchronousTestCase):
    """
    Tests for L{watching.Watch}.
    """

    def setUp(self) -> None:
        self.watch = watching.Watch(os.getpid())

    def offspring(self, do: Callable[[], object] = lambda: None) -> Offspring:
        """
        A child that the end of the test ends.
        """
        child = Offspring(do)
        self.addCleanup(child.end)
        return child

    def test_cpu(self) -> None:
        """
        CPU time is that of the process, with a resolution much finer than a tick of 10
        ms.
        """
        self.watch.read()
        reaped = sum(os.times()[2:4])
        before = time.process_time() + reaped
        cpu = self.watch.cpu()
        after = time.process_time() + reaped
        self.assertLessEqual(before, cpu + 1e-6)
        self.assertLessEqual(cpu, after + 1e-6)

    def test_cpuOfChildren(self) -> None:
        """
        The CPU time of a child counts while it runs.
        """
        before = self.watch.cpu()
        self.offspring(lambda: burn(0.2))
        self.watch.read()
        self.assertGreaterEqual(self.watch.cpu() - before, 0.2)

    def test_cpuOfTheDead(self) -> None:
        """
        The CPU time of an ended child is neither lost nor counted twice, whether it
        used it before C{read} found it or afterwards.
        """
        own = time.process_time()
        first = self.watch.cpu()
        found = Offspring(lambda: burn(0.2))
        self.watch.read()
        second = self.watch.cpu()
        found.end()
        third = self.watch.cpu()
        Offspring(lambda: burn(0.2)).end()
        last = self.watch.cpu()
        own = time.process_time() - own
        # The kernel counts the CPU time of ended children in ticks of 10 ms.
        self.assertGreater(third - second, -0.03)
        self.assertGreater(last - third, 0.17)
        self.assertLess(last - first - own, 0.55)

    def test_parts(self) -> None:
        """
        The time in user mode and in the kernel includes ended processes.
        """
        before = self.watch.read()
        self.offspring(lambda: burn(0.2))
        Offspring(lambda: burn(0.2)).end()
        after = self.watch.read()
        used = after.user + after.system - before.user - before.system
        self.assertGreater(used, 0.34)

    def test_userShare(self) -> None:
        """
        The two parts of CPU time are counted in full ticks, and unknown where
        incomplete ticks may be most of it.
        """

        def counters(cpu: float, user: float, processes: int) -> watching.Counters:
            return watching.Counters(cpu, user, cpu - user, processes, {})

        before = counters(1.0, 0.5, 1)
        self.assertEqual(counters(2.0, 1.25, 1).userShareSince(before), 0.75)
        self.assertEqual(counters(2.0, 1.25, 50).userShareSince(before), 0.75)
        self.assertIsNone(counters(2.0, 1.25, 51).userShareSince(before))
        self.assertIsNone(before.userShareSince(before))

    def test_threads(self) -> None:
        """
        The context switches of every thread count.
        """
        begin, end = threading.Event(), threading.Event()

        def run() -> None:
            switch()
            begin.set()
            end.wait()

        before = self.watch.read()
        thread = threading.Thread(target=run)
        thread.start()
        begin.wait()
        after = self.watch.read()
        end.set()
        thread.join()
        self.assertGreaterEqual(after.switchesSince(before), 500)

    def test_involuntary(self) -> None:
        """
        Involuntary context switches are counted separately, as the kernel counts them
        for getrusage(2).
        """

        def forced() -> int:
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw

        before = self.watch.read()
        switch()
        low, after, high = forced(), self.watch.read(), forced()
        self.assertIn(
            after.involuntary[threading.get_native_id()], range(low, high + 1)
        )
        voluntary = after.switchesSince(before) - after.involuntarySince(before)
        self.assertGreaterEqual(voluntary, 500)

    def test_pageFaults(self) -> None:
        """
        Page faults are counted as the kernel counts them for getrusage(2), those of
        ended children included.
        """

        def faults() -> int:
            whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
            used = map(resource.getrusage, whose)
            return sum(each.ru_minflt + each.ru_majflt for each in used)

        before = self.watch.read()
        touch(300)
        Offspring(lambda: touch(300)).end()
        low, after, high = faults(), self.watch.read(), faults()
        self.assertIn(after.faults, range(low, high + 1))
        since = after.faultsSince(before)
        assert since is not None
        self.assertGreaterEqual(since, 600)

    def test_pageFaultsOfChildren(self) -> None:
        """
        The page faults of a child count while it runs.
        """
        before = self.watch.read()
        self.offspring(lambda: touch(300))
        since = self.watch.read().faultsSince(before)
        assert since is not None
        self.assertGreaterEqual(since, 300)

    def test_switchesOfChildren(self) -> None:
        """
        The context switches of children count while they run, and one that ends does
        not change those of the others.
        """
        first = Offspring(lambda: switch(1000))
        before = self.watch.read()
        first.end()
        self.offspring(switch)
        switches = self.watch.read().switchesSince(before)
        self.assertGreaterEqual(switches, 500)

    def test_memoryAlone(self) -> None:
        """
        The memory of a single process is its resident set.
        """
        used = self.watch.memory()
        assert used is not None
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertGreater(used, 10_000)
        # The kernel counts pages on each core, and adds the counts up only now and
        # then: either number may be off by some hundred KiB.
        self.assertLess(used, resident + 1024)

    def test_sharedMemory(self) -> None:
        """
        Memory that children share with their parent counts once, for any number of
        children, and a sample stands for all.
        """
        shared = bytearray(os.urandom(64 << 20))
        children = [self.offspring() for _ in range(8)]
        everything = self.watch.memory()
        assert everything is not None
        self.assertGreater(everything, len(shared) >> 10)
        resident = sum(
            psutil.Process(pid).memory_info().rss >> 10
            for pid in (os.getpid(), *(child.pid for child in children))
        )
        self.assertLess(everything, resident / 3)
        self.patch(watching.Watch, "SAMPLE", 2)
        some = self.watch.memory()
        assert some is not None
        self.assertLess(abs(some / everything - 1), 0.2)

    def test_privateMemory(self) -> None:
        """
        Memory that children do not share counts for each child.
        """
        self.offspring()
        before = self.watch.memory()
        kept: list[bytes] = []
        for _ in range(4):
            self.offspring(lambda: kept.append(os.urandom(16 << 20)))
        after = self.watch.memory()
        assert before is not None and after is not None
        self.assertGreater(after - before, 4 * 16 << 10)

    def test_secretMemory(self) -> None:
        """
        If the kernel does not report shared memory, there is no number.
        """
        self.offspring()
        self.patch(watching, "_PSS", re.compile("nothing"))
        self.assertIsNone(self.watch.memory())

    def test_gone(self) -> None:
        """
        A process that does not exist or has ended cannot be watched.
        """
        child = Offspring()
        watch = watching.Watch(child.pid)
        watch.read()
        child.end()
        for read in (watch.cpu, watch.read, watch.memory):
            self.assertRaises(watching.NothingToWatch, read)
        self.assertRaises(watching.NothingToWatch, watching.Watch, child.pid)


class JudgedTests(SynchronousTestCase):
    """
    Tests for L{judged}.
    """

    def judged(self, cpu: float, **others: float) -> Judged:
        parts: dict[str, Any] = {
            "requests": 950,
            "throughput": 950.0,
            "load_cpu_fraction": cpu,
            **others,
        }
        return judged(cast(Round, parts))

    def test_limited(self) -> None:
        """
        A load without time left is the limit, in a closed loop too.
        """
        self.assertTrue(self.judged(0.9)["load_limited"])
        self.assertFalse(self.judged(0.89)["load_limited"])
        self.assertNotIn("kept_up", self.judged(0.9))

    def test_keptFromRunning(self) -> None:
        """
        A load that used little CPU time, since it had to wait for a core, is the limit
        too.
        """
        self.assertTrue(self.judged(0.2, load_busy_fraction=0.9)["load_limited"])
        self.assertFalse(self.judged(0.2, load_busy_fraction=0.89)["load_limited"])

    def test_keptUp(self) -> None:
        """
        A small backlog is taken for chance; and by chance more requests may be due than
        expected.
        """
        for requests, left, due, keptUp, answered in (
            (950, 0, 900, True, 1.0),
            (950, 50, 1001, True, 0.95),
            (950, 51, 1001, False, 0.95),
            (950, 9050, 10001, False, 0.095),
        ):
            said = self.judged(0.5, requests=requests, backlog=left, due=due)
            self.assertEqual(said["kept_up"], keptUp)
            self.assertAlmostEqual(said["answered_fraction"], answered)

    def test_few(self) -> None:
        """
        If few requests are due, their own number counts, and not that of a longer time;
        the last of them may be due at the very end.
        """
        for requests, left, due, keptUp, answered in (
            (1, 0, 1, True, 1.0),
            (1, 1, 2, True, 1.0),
            (1, 2, 3, False, 0.5),
            (1, 1, 1, True, 1.0),
        ):
            said = self.judged(0.5, requests=requests, backlog=left, due=due, rate=7.0)
            self.assertEqual(said["kept_up"], keptUp)
            self.assertAlmostEqual(said["answered_fraction"], answered)
