# -*- test-case-name: tests.test_load -*-
"""
Answers of HTTP.
"""

from __future__ import annotations

from iodemo.load.exchanges.exchange import Turn, WrongAnswer, show
from iodemo.load.exchanges.repeated import Repeated


class HttpRequest(Repeated):
    """
    Any request over HTTP/1.1 whose answer has a
    C{Content-Length} or comes in chunks.

    The right page is what the first answer held, and every later one must hold the
    same. So must the fields of its head, except those that were seen to change among
    the first answers, as C{Date} does.

    @cvar LEARNING: answers after which no field may begin to change.
    """

    LEARNING = 16
    _CHANGING = frozenset([b"date", b"age", b"connection", b"keep-alive"])
    _LONGEST_HEAD = 65536
    _MOST_DIGITS = 18

    def __init__(self, request: bytes) -> None:
        """
        @param request: all of it, with its head and, if it has one, its body.
        @raise ValueError: if its head does not end.
        """
        if b"\r\n\r\n" not in request:
            raise ValueError(
                "a request has a head, which an empty line ends: "
                r"http-request:GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
        super().__init__(request)
        self._body: bytes | None = None
        self._fixed: dict[bytes, bytes] = {}
        self._answers = 0

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.isWhole}."""
        head, blank, rest = received.partition(b"\r\n\r\n")
        if not b"HTTP/1.1 ".startswith(head[:9]):
            raise WrongAnswer(f"not an HTTP/1.1 answer: it begins {head[:20]!r}")
        if not blank:
            if len(head) > self._LONGEST_HEAD:
                raise WrongAnswer("the head of the answer does not end")
            return False
        status, *lines = head.split(b"\r\n")
        if not status[9:10] == b"2":
            raise WrongAnswer(f"the page is not there: {show(status)}")
        fields = dict(_field(line) for line in lines)
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            body = _unchunked(rest)
        else:
            length = fields.get(b"content-length", b"")
            if not length.isdigit() or len(length) > self._MOST_DIGITS:
                raise WrongAnswer("the answer has neither a Content-Length nor chunks")
            body = _counted(rest, int(length))
        if body is None:
            return False
        self._checkFields({b"": status, **fields})
        if self._body is None:
            self._body = body
        elif body != self._body:
            raise WrongAnswer(
                f"the page changed: {len(body):,} bytes that are not the "
                f"{len(self._body):,} of the first answer (choose a page that stays "
                "the same)"
            )
        self._answers += 1
        self._answered(turn, received)
        options = fields.get(b"connection", b"").lower().split(b",")
        turn.last = b"close" in map(bytes.strip, options)
        if turn.last:
            turn.expected = b""
        return True

    def _checkFields(self, fields: dict[bytes, bytes]) -> None:
        """
        @param fields: those of a head, the first line being the field without a
            name.
        """
        for name in self._CHANGING:
            fields.pop(name, None)
        if not self._answers:
            self._fixed = fields
        elif self._answers < self.LEARNING:
            self._fixed = dict(self._fixed.items() & fields.items())
        elif not self._fixed.items() <= fields.items():
            name, value = min(self._fixed.items() - fields.items())
            raise WrongAnswer(
                f"the head changed: {show(name)} is {show(fields.get(name, b''))!r}, "
                f"was {show(value)!r} before"
            )


class Http(HttpRequest):
    """
    C{GET} of one path.
    """

    def __init__(self, path: str, host: str) -> None:
        """
        @param path: absolute path of the page, with its query.
        @param host: for the C{Host} header.
        """
        if not path.startswith("/") or not path.isascii() or len(path.split()) != 1:
            raise ValueError(
                f"{path!r} is not the path of a page: begin with a slash, as in http:/"
            )
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: iodemo\r\n\r\n"
        super().__init__(head.encode("ascii"))


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()


def _counted(rest: bytes, length: int) -> bytes | None:
    if len(rest) > length:
        raise WrongAnswer("the answer is longer than its Content-Length")
    return rest if len(rest) == length else None


def _unchunked(rest: bytes) -> bytes | None:
    body: list[bytes] = []
    while True:
        line, ending, rest = rest.partition(b"\r\n")
        if not ending:
            return None
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise WrongAnswer(f"a chunk's size is {show(line)!r}") from None
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise WrongAnswer("a chunk is longer than its size")
        if size == 0:
            return b"".join(body)
        body.append(rest[:size])
        rest = rest[size + 2 :]
