"""
Tests for L{iodemo.load.exchanges.http}: right answers, as servers send them, which it
must accept, and wrong ones, which it must refuse.
"""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from iodemo.load.exchanges import Http, HttpRequest, Turn, WrongAnswer, http
from tests.test_load import cut

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"

_OK = b"HTTP/1.1 200 OK\r\n"
COUNTED = _OK + b"Content-Length: 5\r\n\r\nhello"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n"
CHUNKED = _CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n"


def withField(field: bytes, answer: bytes = COUNTED) -> bytes:
    """An answer with one more line in its head."""
    return answer.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n", 1)


def withLength(length: bytes) -> bytes:
    """An answer of five bytes with this Content-Length."""
    return COUNTED.replace(b"Length: 5", b"Length: " + length)


def withChunk(size: bytes) -> bytes:
    """An answer in one chunk of five bytes, with these bytes before it."""
    return CHUNKED.replace(b"\n5\r", b"\n" + size + b"\r")


def withCoding(coding: bytes) -> bytes:
    """An answer in chunks with this Transfer-Encoding."""
    return CHUNKED.replace(b"chunked", coding, 1)


#: Whole answers to a C{GET}, after which the connection is kept.
RIGHT = {
    "counted": COUNTED,
    "chunked": CHUNKED,
    "lines that end with LF": COUNTED.replace(b"\r\n", b"\n"),
    "lines that end with LF before chunks": CHUNKED.replace(b"\r\n", b"\n", 2).replace(
        b"\n\r\n", b"\n\n", 1
    ),
    "names in any case": COUNTED.replace(b"Content-Length", b"cOnTeNt-LENGTH"),
    "a folded field": withField(b"X-Long: a\r\n b\r\n\tc"),
    "bytes beyond ASCII": withField(b"X-Name: caf\xe9"),
    "an empty field": withField(b"X-Empty:"),
    "a field twice": withField(b"Set-Cookie: a=1\r\nSet-Cookie: b=2"),
    "the same length twice": withField(b"Content-Length: 5"),
    "no reason": COUNTED.replace(b"200 OK", b"200"),
    "an empty reason": COUNTED.replace(b"200 OK", b"200 "),
    "no body": withLength(b"0")[:-5],
    "201": COUNTED.replace(b"200 OK", b"201 Created"),
    "204": b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 99\r\n\r\n',
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED,
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + CHUNKED,
    "102 three times": b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + COUNTED,
    "extensions": withChunk(b'5;a=b;c="d e"').replace(b"0\r\n\r\n", b"0;x\r\n\r\n"),
    "trailers": CHUNKED[:-2] + b"X-Sum: 1\r\nX-Other: 2\r\n\r\n",
    "a size with zeros": withChunk(b"0005"),
    "a size with letters": _CHUNKED + b"\r\na\r\n0123456789\r\nB\r\n0123456789a\r\n"
    b"000\r\n\r\n",
    "several chunks": _CHUNKED + b"\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "gzip in chunks": withCoding(b"gzip, chunked"),
    "codings in any case": withCoding(b"GZip ,\tChunked"),
    "1.0, kept": withField(b"Connection: Keep-Alive").replace(b"1.1", b"1.0"),
    # Heads of real servers.
    "nginx": _OK + b"Server: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 15:00:00 GMT\r\n"
    b"Content-Type: text/html\r\nContent-Length: 5\r\n"
    b"Last-Modified: Fri, 27 Nov 2026 14:00:00 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "6748d0c0-5"\r\nAccept-Ranges: bytes\r\n\r\nhello',
    "nginx, zipped": _OK + b"Server: nginx/1.22.1\r\n"
    b"Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: keep-alive\r\nContent-Encoding: gzip\r\n\r\n"
    b"19\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0"
    b"\r\n0\r\n\r\n",
    "Apache": _OK + b"Date: Fri, 27 Nov 2026 15:00:00 GMT\r\n"
    b"Server: Apache/2.4.62 (Debian)\r\n"
    b"Last-Modified: Fri, 27 Nov 2026 14:00:00 GMT\r\n"
    b'ETag: "5-627e7a1e5c0c0"\r\nAccept-Ranges: bytes\r\nContent-Length: 5\r\n'
    b"Keep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive\r\n\r\nhello",
    "HAProxy": b"HTTP/1.1 200 \r\nContent-length: 5\r\ncontent-type: text/plain\r\n"
    b"\r\nhello",
    "Twisted": _OK + b"Transfer-Encoding: chunked\r\nServer: TwistedWeb/24.11.0\r\n"
    b"Date: Fri, 27 Nov 2026 15:00:00 GMT\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}

#: Answers to a C{HEAD}.
RIGHT_OF_HEAD = {
    "counted": COUNTED[:-5],
    "chunked": _CHUNKED + b"\r\n",
    "neither": _OK + b"Server: x\r\n\r\n",
}

#: Whole answers after which the server closes the connection.
LAST = {
    "close": withField(b"Connection: close"),
    "one of several options": withField(b"Connection: x, Close", CHUNKED),
    "1.0": COUNTED.replace(b"1.1", b"1.0"),
}

#: Answers that end with the connection.
UNTIL_CLOSED = {
    "1.1": _OK + b"Connection: close\r\n\r\nhello",
    "1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "Python": b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6 Python/3.11.2\r\n"
    b"Date: Fri, 27 Nov 2026 15:00:00 GMT\r\nContent-type: text/html\r\n\r\nhello",
}

#: Wrong answers to a C{GET}, and the message about each.
WRONG = {
    "bytes behind a body": (COUNTED + b"x", "1 bytes came after its end: 'x'"),
    "bytes behind the last chunk": (CHUNKED + b"\r\n", "came after its end: '\\r\\n'"),
    "a second answer": (COUNTED * 2, "came after its end: 'HTTP/1.1 200 OK"),
    "a second answer in chunks": (CHUNKED * 2, "came after its end"),
    "a body with 204": (RIGHT["204"] + b"hello", "came after its end: 'hello'"),
    "a body with 304": (RIGHT["304"] + b"hello", "came after its end: 'hello'"),
    **{
        f"the size {size!r}": (withChunk(size), f"illegal chunk header: {size!r}"[:-1])
        for size in (
            *(b"0x5", b"-1", b"+5", b" 5", b"5 x", b"5,", b"1_0", b"", b"g", b"5.0"),
            *(b"5\0", b"5\r", b"5\n", b"\xb5", b"5 ;x", b"5;a\n", b"0" * 30 + b"5"),
        )
    },
    "CR in an extension": (withChunk(b"5;a\rb"), "control character"),
    "NUL in an extension": (withChunk(b"5;a\0"), "control character"),
    "a chunk that is longer": (withChunk(b"4"), "malformed chunk footer"),
    "a chunk that LF ends": (CHUNKED.replace(b"lo\r\n", b"lo\n"), "chunk footer"),
    "a bad trailer": (CHUNKED[:-2] + b"X : y\r\n\r\n", "illegal header line: b'X : y'"),
    **{
        f"the length {length!r}": (withLength(length), "Content-Length")
        for length in (
            *(
                b"+5",
                b"-1",
                b"0x5",
                b"5_0",
                b"5.0",
                b"five",
                b"",
                b"5 5",
                b"5;",
                b"\xb2",
            ),
            *(b"5, 6", b"5,", b"5\r\nContent-Length: 6", b"5\r\n 5", b"9" * 30, b"5\0"),
            b"5\r\ncontent-length: 05",
        )
    },
    "a length and chunks": (
        withField(b"Content-Length: 5", CHUNKED),
        "a Content-Length and a Transfer-Encoding",
    ),
    **{
        f"the coding {coding!r}": (withCoding(coding), "Transfer-Encoding")
        for coding in (
            *(b"chunked, gzip", b"gzip", b"identity", b"chunked, chunked", b"xchunked"),
            *(b"gzip chunked", b"", b",chunked", b"chunked,", b"\x0bchunked"),
            *(b'"chunked"', b"chunked;q=1", b"gzip, chunked, chunked"),
            b"chunked\r\nTransfer-Encoding: chunked",
        )
    },
    "chunks in 1.0": (CHUNKED.replace(b"1.1", b"1.0"), "HTTP/1.0 has no Transfer-Enc"),
    "a space before a colon": (
        COUNTED.replace(b"Length:", b"Length :"),
        "illegal header line: b'Content-Length : 5'",
    ),
    "a space before a name": (COUNTED.replace(b"Con", b" Con", 1), "continuation line"),
    "no colon": (withField(b"nonsense"), "illegal header line: b'nonsense'"),
    "no name": (withField(b": x"), "illegal header line: b': x'"),
    "CR in a value": (withField(b"X: a\rb"), r"illegal header line: b'X: a\rb'"),
    "CR in the status": (COUNTED.replace(b"OK", b"O\rK"), "illegal status line"),
    "two CR": (withField(b"X: a\r"), r"illegal header line: b'X: a\r'"),
    "NUL in a value": (withField(b"X: a\0"), r"illegal header line: b'X: a\x00'"),
    "NUL in a name": (withField(b"X\0: a"), "illegal header line"),
    "NUL in the status": (COUNTED.replace(b"OK", b"\0"), "illegal status line"),
    "an empty line first": (b"\r\n" + COUNTED, "not an answer of HTTP/1.1 or 1.0"),
    "another protocol": (
        b"SSH-2.0-OpenSSH_9.2\r\n",
        r"begins 'SSH-2.0-OpenSSH_9.2\r\n'",
    ),
    **{
        f"the version {version!r}": (
            COUNTED.replace(b"HTTP/1.1", version),
            "not an answer of HTTP/1.1 or 1.0",
        )
        for version in (b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"http/1.1", b"HTTP/1")
    },
    **{
        f"the status {status!r}": (COUNTED.replace(b"200", status), said)
        for status, said in (
            *((b"20", "illegal status line"), (b"2000", "illegal status line")),
            *((b"+20", "illegal status line"), (b"099", "99")),
            *((b"404", "404 OK"), (b"500", "500 OK"), (b"101", "101 OK")),
        )
    },
    "a redirection": (
        withField(b"Location: /there", COUNTED.replace(b"200 OK", b"301 Moved")),
        "the page is not there: 301 Moved (at '/there')",
    ),
    "another protocol from now on": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
        + COUNTED,
        "101 Switching",
    ),
    "a long head": (
        withField(b"X: " + b"y" * 70_000),
        "its head has more than 65,536 bytes: it begins 'HTTP/1.1 200 OK",
    ),
    "many fields": (
        withField(b"X: y\r\n" * 20_000 + b"X: y"),
        "more than 65,536 bytes",
    ),
    "a long line of a chunk": (withChunk(b"1" * 140_000), "more than 65,536 bytes"),
    "a long extension": (withChunk(b"5;" + b"x" * 140_000), "more than 65,536 bytes"),
    "long trailers": (CHUNKED[:-2] + b"X: y\r\n" * 40_000, "more than 65,536 bytes"),
    "100 too often": (
        RIGHT["100"][: -len(COUNTED)] * 101 + COUNTED,
        "more than 100 heads",
    ),
    "escapes of a terminal": (
        COUNTED.replace(b"200 OK", b"403 \x1b]0;x\x07"),
        r"the page is not there: 403 \x1b]0;x\x07",
    ),
}


def take(
    exchange: HttpRequest, pieces: Iterable[bytes], turn: Turn | None = None
) -> bool:
    """
    Whether the answer is whole with the last of these pieces; it must not be before.
    """
    answer = exchange.answer(turn or Turn(b"", b""))
    whole = False
    for piece in pieces:
        assert not whole, f"it was whole before {piece!r}"
        whole = answer.received(piece)
    return whole


class RightAnswerTests(SynchronousTestCase):
    """
    Tests for answers that must be accepted.
    """

    def check(self, answer: bytes, name: str, request: bytes = GET) -> None:
        """
        An answer is whole when all its bytes are received, in any pieces, and after any
        earlier answers.
        """
        for size in (len(answer), 1, 7):
            exchange = HttpRequest(request)
            turn, _ = exchange.turns()
            for _ in range(3):
                self.assertTrue(take(exchange, cut(answer, size), turn), name)
                self.assertFalse(turn.last, name)
            # The same head came twice, so the whole answer is expected.
            self.assertEqual(turn.expected, answer, name)

    def test_right(self) -> None:
        """
        An answer is accepted with any valid framing.
        """
        for name, answer in RIGHT.items():
            self.check(answer, name)

    def test_ofHead(self) -> None:
        """
        An answer to C{HEAD} ends with its head, and is wrong if it has a body.
        """
        for name, answer in RIGHT_OF_HEAD.items():
            self.check(answer, name, HEAD)
        error = self.assertRaises(WrongAnswer, take, HttpRequest(HEAD), [COUNTED])
        self.assertIn("5 bytes came after its end: 'hello'", str(error))

    def test_last(self) -> None:
        """
        An answer determines whether the connection takes another request. One that ends
        the connection is not expected again in the same form.
        """
        for name, answer in LAST.items():
            for size in (len(answer), 1):
                exchange = HttpRequest(GET)
                turn, _ = exchange.turns()
                for _ in range(3):
                    self.assertTrue(take(exchange, cut(answer, size), turn), name)
                    self.assertTrue(turn.last, name)
                    self.assertEqual(turn.expected, b"", name)
                # A copy may be kept after the next one.
                self.assertTrue(take(exchange, [COUNTED], turn), name)
                self.assertFalse(turn.last, name)

    def test_untilClosed(self) -> None:
        """
        An answer that ends with the connection is then whole, and is compared with the
        first.
        """
        for name, right in UNTIL_CLOSED.items():
            exchange = HttpRequest(GET)
            turn, _ = exchange.turns()
            for _ in range(2):
                answer = exchange.answer(turn)
                self.assertFalse(any(map(answer.received, cut(right, 3))), name)
                self.assertTrue(answer.ended(), name)
                self.assertTrue(turn.last, name)
            answer = exchange.answer(turn)
            answer.received(right + b"x")
            error = self.assertRaises(WrongAnswer, answer.ended)
            self.assertIn("the page changed: 6 bytes, and 5 at first", str(error))

    def test_cutOff(self) -> None:
        """
        An answer with another end is not whole when the connection ends.
        """
        for right in (COUNTED, CHUNKED):
            for learned in (False, True):
                for length in range(1, len(right)):
                    exchange = HttpRequest(GET)
                    if learned:
                        take(exchange, [right])
                    answer = exchange.answer(exchange.turns()[0])
                    self.assertFalse(answer.received(right[:length]))
                    self.assertFalse(answer.ended(), right[:length])

    def test_framingChanges(self) -> None:
        """
        The framing of the same page may change from one answer to the next.
        """
        exchange = HttpRequest(GET)
        for answer in (
            *(COUNTED, CHUNKED) * 2,
            *LAST.values(),
            RIGHT["several chunks"],
        ):
            self.assertTrue(take(exchange, cut(answer, 11)))

    @settings(deadline=None)
    @given(st.data())
    def test_anyCut(self, data: st.DataObject) -> None:
        """
        The same answers, in any pieces and any order, are accepted.
        """
        kinds = [RIGHT[name] for name in ("counted", "nginx", "103", "trailers")]
        exchange = HttpRequest(GET)
        for answer in data.draw(st.lists(st.sampled_from(kinds), max_size=6)):
            places = st.sets(st.integers(1, len(answer) - 1))
            edges = [0, *sorted(data.draw(places)), len(answer)]
            pieces = [answer[a:b] for a, b in itertools.pairwise(edges)]
            self.assertTrue(take(exchange, pieces))


class WrongAnswerTests(SynchronousTestCase):
    """
    Tests for answers that must be refused.
    """

    def test_wrong(self) -> None:
        """
        A wrong answer is refused, as the first one or after a right one. The message
        has the reason, in printable characters.
        """
        for name, (answer, reason) in WRONG.items():
            for learned in (None, COUNTED, CHUNKED):
                exchange = HttpRequest(GET)
                if learned:
                    take(exchange, [learned])
                error = self.assertRaises(WrongAnswer, take, exchange, [answer])
                said = str(error)
                if not (learned and said.startswith("the status changed")):
                    self.assertIn(reason, said, name)
                self.assertTrue(said.isprintable() and said.isascii(), name)
                self.assertLess(len(said), 700, name)

    def test_wrongByBytes(self) -> None:
        """
        A wrong answer that comes byte by byte is refused.
        """
        for answer, _ in WRONG.values():
            if len(answer) < 1000:
                pieces = cut(answer, 1)
                # An answer that ended too early goes on after its end.
                wrong = WrongAnswer, AssertionError
                self.assertRaises(wrong, take, HttpRequest(GET), pieces)

    def test_changed(self) -> None:
        """
        Another page, or another status, makes an answer wrong.
        """
        for right, wrong, reason in (
            (COUNTED, COUNTED.replace(b"hello", b"hallo"), "5 bytes as at first, but"),
            (CHUNKED, CHUNKED.replace(b"hello", b"hallo"), "5 bytes as at first, but"),
            (COUNTED, withLength(b"4")[:-1], "4 bytes, and 5 at first"),
            (COUNTED, COUNTED.replace(b"200 OK", b"206 Part"), "206 Part, was 200"),
            (
                COUNTED,
                COUNTED.replace(b"200 OK", b"503 No"),
                "503 No, was 200 at first",
            ),
            (RIGHT["204"], COUNTED, "the status changed: 200 OK, was 204"),
        ):
            exchange = HttpRequest(GET)
            take(exchange, [right])
            error = self.assertRaises(WrongAnswer, take, exchange, [wrong])
            self.assertIn(reason, str(error))

    def test_firstOfSeveral(self) -> None:
        """
        Answers that began before the first one was whole are compared with it, too.
        """
        exchange = HttpRequest(GET)
        one, two = (exchange.answer(turn) for turn in exchange.turns())
        one.received(COUNTED[:-1])
        two.received(COUNTED[:-1].replace(b"200", b"201"))
        self.assertTrue(one.received(COUNTED[-1:]))
        error = self.assertRaises(WrongAnswer, two.received, COUNTED[-1:])
        self.assertIn("the status changed", str(error))


class HeadTests(SynchronousTestCase):
    """
    Tests for heads that change.
    """

    def answer(self, number: int) -> bytes:
        """An answer with one of two dates in turn, and an identifier of its own."""
        return withField(b"Date: %d\r\nX-Request-Id: %d" % (number // 2, number))

    def test_changing(self) -> None:
        """
        Fields that change are not compared, and are listed by name.
        """
        exchange = HttpRequest(GET)
        for number in range(9):
            self.assertTrue(take(exchange, [self.answer(number)]))
        self.assertTrue(take(exchange, [withField(b"Server: x", self.answer(10))]))
        self.assertTrue(take(exchange, [COUNTED]))
        self.assertEqual(exchange.leftOut, {"date", "x-request-id", "server"})
        for number in range(2 * http.MOST_CHANGING):
            take(exchange, [withField(b"X-%d: y" % number)])
        self.assertEqual(len(exchange.leftOut), http.MOST_CHANGING)

    def test_compared(self) -> None:
        """
        A field is compared if it is named, in upper or lower case.
        """
        for other in (b"server: b", b"X: y", b"Server: a\r\nServer: a"):
            exchange = HttpRequest(GET, ["SERVER"])
            for number in range(3):
                answer = withField(b"Server: a", self.answer(number))
                self.assertTrue(take(exchange, [answer]))
            wrong = withField(other, self.answer(4))
            error = self.assertRaises(WrongAnswer, take, exchange, [wrong])
            self.assertIn("the head changed: server is ", str(error))
        exchange = HttpRequest(GET, ["Sever"])
        error = self.assertRaises(WrongAnswer, take, exchange, [COUNTED])
        self.assertIn("its head has no field 'sever'", str(error))

    def test_once(self) -> None:
        """
        h11 does not parse an answer if only fields differ that have changed before.
        """
        exchange = HttpRequest(GET)
        for number in range(3):
            take(exchange, [self.answer(number)])
        self.patch(http, "_Reading", None)
        for number in range(3, 9):
            self.assertTrue(take(exchange, [self.answer(number)]))

    def test_framingIsRead(self) -> None:
        """
        h11 parses every answer whose framing has changed, and every answer with an
        invalid value of a field.
        """
        exchange = HttpRequest(GET)
        for connection in (b"keep-alive", b"Keep-Alive", b"keep-alive"):
            answer = withField(b"X: %s\r\nConnection: %s" % (connection, connection))
            take(exchange, [answer])
        self.assertEqual(exchange.leftOut, {"x", "connection"})
        turn, _ = exchange.turns()
        last = withField(b"X: y\r\nConnection: close")
        self.assertTrue(take(exchange, [last], turn))
        self.assertTrue(turn.last)
        take(exchange, [answer])
        wrong = withField(b"X: \0\r\nConnection: keep-alive")
        self.assertRaises(WrongAnswer, take, exchange, [wrong])

    def test_keptOnce(self) -> None:
        """
        A whole answer is kept, for comparison, once its head has come twice; all turns
        share one copy.
        """
        exchange = HttpRequest(GET)
        take(exchange, [self.answer(0)])
        take(exchange, [self.answer(2)])
        turns = [exchange.turns()[0] for _ in range(4)]
        for number, turn in zip((4, 4, 4, 6), turns, strict=True):
            take(exchange, [self.answer(number)], turn)
        once, first, second, other = (turn.expected for turn in turns)
        self.assertEqual((once, other), (b"", b""))
        self.assertEqual(first, self.answer(4))
        self.assertIs(first, second)


class LargeAnswerTests(SynchronousTestCase):
    """
    Tests for large answers.
    """

    def test_verificationEnds(self) -> None:
        """
        Verification ends after a number of bytes, or after some seconds.
        """
        exchange = Http("/", "localhost")
        answer = _OK + b"Content-Length: 1048576\r\n\r\n" + bytes(1 << 20)
        turns = sum(take(exchange, [answer], turn) for turn in exchange.verification())
        self.assertEqual(turns, 16)
        slow = Http("/", "localhost")
        self.patch(slow, "SECONDS", 0.0)
        self.assertEqual(list(slow.verification()), [])

    def test_memory(self) -> None:
        """
        The memory for answers is bounded, for answers of any length, whole or not.
        """
        piece = bytes(1 << 16)
        size = 64 << 20
        for head, line in (
            (_OK + b"Content-Length: %d\r\n\r\n" % size, b""),
            (_CHUNKED + b"\r\n", b"%x\r\n" % len(piece)),
        ):
            end = b"\r\n" if line else b""
            exchange = HttpRequest(GET)
            tracemalloc.start()
            try:
                for _ in range(2):
                    answer = exchange.answer(exchange.turns()[0])
                    answer.received(head)
                    for _ in range(size // len(piece)):
                        whole = answer.received(line + piece + end)
                    whole = whole or answer.received(b"0\r\n\r\n")
                    self.assertTrue(whole)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(most, 4 * http.KEPT)

    def test_largeChanged(self) -> None:
        """
        A missing byte is found in an answer of any length.
        """
        self.patch(http, "KEPT", 1000)
        head = _OK + b"Content-Length: 5000\r\n\r\n"
        for place in (0, 999, 4999):
            exchange = HttpRequest(GET)
            body = bytearray(5000)
            for _ in range(2):
                self.assertTrue(take(exchange, cut(head + body, 700)))
            body[place] = 1
            self.assertRaises(WrongAnswer, take, exchange, cut(head + body, 700))


class RequestTests(SynchronousTestCase):
    """
    Tests for requests.
    """

    def test_bad(self) -> None:
        """
        A text without a method, or without the end of its head, is not a request.
        """
        for request, reason in (
            (b"GET / HTTP/1.1\r\n", "an empty line ends"),
            (b"\x1b[2J / HTTP/1.1\r\n\r\n", r"'\x1b[2J' is none"),
            (b" / HTTP/1.1\r\n\r\n", "'' is none"),
        ):
            error = self.assertRaises(ValueError, HttpRequest, request)
            self.assertIn(reason, str(error))
