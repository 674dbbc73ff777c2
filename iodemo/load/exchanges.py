# -*- test-case-name: tests.test_load -*-
"""
What a load says and what it must hear: one L{Exchange} a protocol.

An exchange gives the driver two things: the bytes of a request, and a rule that
says of the bytes received whether the answer is whole, and whether it is right.
Every answer is checked, in the measured window too: the driver compares it with
the answer it expects, which costs one C{memcmp}, and asks the rule only when
the two differ (an answer in several pieces, a C{Date} that moved on).
"""

from __future__ import annotations

import itertools
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol


class WrongAnswer(Exception):
    """The server answered something else. The message says what and where."""


@dataclass(slots=True)
class Turn:
    """
    One request and the answer expected.

    @ivar expected: the whole answer, if it is known beforehand or from the last
        one, else empty.
    """

    request: bytes
    expected: bytes


class Exchange(Protocol):
    """
    A protocol as a load sees it: one request, one answer, again.

    @cvar SECONDS: how long verification takes, about or at most.
    """

    SECONDS: float

    def turns(self) -> tuple[Turn, Turn]:
        """
        The two turns that one connection alternates between.
        """

    def verification(self) -> Iterator[Turn]:
        """
        The turns made before anything is timed.
        """

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """
        Whether C{received} is the whole right answer, or its right beginning.

        @raise WrongAnswer: if it is neither.
        """


class Echo:
    """
    Bytes come back as they were sent.

    A connection alternates between two random payloads, and, while they fit in
    memory, no two connections share one: an answer that came from the request
    before, or from a neighbour, is a wrong answer.

    @cvar VERIFIED: bytes echoed before anything is timed. A service that spoils
        one byte in a million at random passes with a probability of e^-16.
    """

    VERIFIED = 16 << 20
    SECONDS = 0.05
    _LARGEST = 64 << 10
    _POOL = 64 << 20

    def __init__(self, payload: int) -> None:
        """
        @param payload: bytes of a request.
        """
        if payload < 1:
            raise ValueError("an echo needs a payload of at least one byte")
        self._payload = payload
        self._poolSize = max(2, self._POOL // payload)
        self._pool: list[Turn] = []
        self._drawn = 0

    def _draw(self) -> Turn:
        self._drawn += 1
        if len(self._pool) < self._poolSize:
            self._pool.append(self._turn(self._payload))
            return self._pool[-1]
        return self._pool[self._drawn % self._poolSize]

    def _turn(self, size: int) -> Turn:
        payload = random.randbytes(size)
        return Turn(payload, payload)

    def turns(self) -> tuple[Turn, Turn]:
        """See L{Exchange.turns}."""
        return self._draw(), self._draw()

    def verification(self) -> Iterator[Turn]:
        """
        Every size at which something changes hands inside a server: one byte,
        the payload, its neighbours, page and buffer sizes; then bulk.
        """
        edges = (1, 2, 3, 4095, 4096, 4097, 16384, 65535, 65536, 65537)
        sizes = {*edges, self._payload, self._payload + 1, max(1, self._payload - 1)}
        for size in sorted(sizes):
            yield self._turn(size)
        for _ in range(self.VERIFIED // self._LARGEST):
            yield self._turn(self._LARGEST)

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.isWhole}."""
        if turn.request.startswith(received):
            return len(received) == len(turn.request)
        for offset, (sent, got) in enumerate(zip(turn.request, received, strict=False)):
            if sent != got:
                raise WrongAnswer(
                    f"byte {offset:,} of {len(turn.request):,} came back as "
                    f"0x{got:02x}, was sent as 0x{sent:02x}"
                )
        raise WrongAnswer(
            f"more came back than was sent: {len(received):,} bytes, not "
            f"{len(turn.request):,}"
        )


class Chat(Echo):
    """
    A line is said, and all members of the room hear it, the one who said it too.

    @cvar VERIFIED: bytes heard by each member before anything is timed.
    """

    VERIFIED = 4 << 20
    SECONDS = 0.2
    _SHORTEST = 17
    # The longest lines that iodemo-chat takes as it comes.
    _EDGES = (4095, 4096, 4097)

    def __init__(self, payload: int) -> None:
        """
        @param payload: bytes of a line, with its end.
        """
        if payload < self._SHORTEST:
            raise ValueError(
                f"a line of chat needs a payload of {self._SHORTEST} bytes at least, "
                "so that no two are the same"
            )
        super().__init__(payload)

    def _turn(self, size: int) -> Turn:
        line = random.randbytes(size // 2).hex()[: size - 1].encode() + b"\n"
        return Turn(line, line)

    def verification(self) -> Iterator[Turn]:
        """
        The payload, its neighbours, and the longest lines; then bulk.
        """
        near = max(self._SHORTEST, self._payload - 1), self._payload + 1
        for size in (*near, *self._EDGES):
            yield self._turn(size)
        for _ in range(self.VERIFIED // max(self._EDGES)):
            yield self._turn(max(self._EDGES))


#: Bytes of a piece of what flows one way.
PIECE = 64 << 10


class Stream:
    """
    The server sends without being asked: a piece is the answer to nothing.

    The byte at offset k of what it sends is k % 256, so every piece is the same.

    @cvar VERIFIED: bytes received before anything is timed.
    """

    VERIFIED = 16 << 20
    SECONDS = 0.05
    _PIECE = bytes(range(256)) * (PIECE // 256)

    def turns(self) -> tuple[Turn, Turn]:
        """See L{Exchange.turns}."""
        return Turn(b"", self._PIECE), Turn(b"", self._PIECE)

    def verification(self) -> Iterator[Turn]:
        """
        As many pieces as make C{VERIFIED} bytes.
        """
        for _ in range(self.VERIFIED // PIECE):
            yield Turn(b"", self._PIECE)

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.isWhole}."""
        if self._PIECE.startswith(received):
            return len(received) == PIECE
        for offset, got in enumerate(received[:PIECE]):
            if got != offset % 256:
                raise WrongAnswer(
                    f"byte {offset:,} of a piece is 0x{got:02x}, and 0x"
                    f"{offset % 256:02x} is to be there"
                )
        raise WrongAnswer(f"{len(received) - PIECE:,} bytes more than a piece")


class Sink(Stream):
    """
    The server takes what it is sent: a piece is a request that has no answer.
    """

    def turns(self) -> tuple[Turn, Turn]:
        """See L{Exchange.turns}."""
        return Turn(self._PIECE, b""), Turn(self._PIECE, b"")

    def verification(self) -> Iterator[Turn]:
        """
        As many pieces as make C{VERIFIED} bytes.
        """
        for _ in range(self.VERIFIED // PIECE):
            yield Turn(self._PIECE, b"")

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.isWhole}."""
        raise WrongAnswer("a sink says nothing")


class _Repeated:
    """
    The same request every time. What the right answer is nobody told us: the first one
    shows it.

    @cvar VERIFIED: bytes of answers received before anything is timed, unless
        that takes longer than L{SECONDS}.
    """

    VERIFIED = 16 << 20
    SECONDS = 0.5

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = 0

    def turns(self) -> tuple[Turn, Turn]:
        """See L{Exchange.turns}."""
        return Turn(self._request, b""), Turn(self._request, b"")

    def verification(self) -> Iterator[Turn]:
        """
        The request, again and again.
        """
        end = time.monotonic() + self.SECONDS
        while self._received < self.VERIFIED and time.monotonic() < end:
            yield Turn(self._request, b"")

    def _answered(self, turn: Turn, answer: bytes) -> None:
        self._received += len(answer)
        turn.expected = answer


#: Says how long an answer is, from the bytes received; L{None} while that is not known.
Ending = Callable[[bytes], int | None]


def ofLength(length: int) -> Ending:
    """
    The rule of answers that are all of one length.

    @raise ValueError: if that is nothing.
    """
    if length < 1:
        raise ValueError("an answer has at least one byte")
    return lambda received: length


def endingWith(delimiter: bytes) -> Ending:
    """
    The rule of answers that end with something that is nowhere else in them.

    @raise ValueError: if that is nothing.
    """
    if not delimiter:
        raise ValueError("an answer ends with at least one byte")

    def ending(received: bytes) -> int | None:
        place = received.find(delimiter)
        return None if place < 0 else place + len(delimiter)

    return ending


class Verbatim(_Repeated):
    """
    Any request that is answered with the same bytes every time.

    @cvar LONGEST: bytes after which an answer should have ended.
    """

    LONGEST = 16 << 20

    def __init__(self, request: bytes, ending: Ending) -> None:
        """
        @raise ValueError: if there is nothing to send.
        """
        if not request:
            raise ValueError("a request has at least one byte")
        super().__init__(request)
        self._ending = ending
        self._answer: bytes | None = None

    def isWhole(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.isWhole}."""
        if self._answer is None:
            return self._isFirst(turn, received)
        if not self._answer.startswith(received):
            pairs = itertools.zip_longest(self._answer, received)
            offset = next(n for n, (was, got) in enumerate(pairs) if was != got)
            raise WrongAnswer(
                f"byte {offset:,} is not as in the first answer, of "
                f"{len(self._answer):,} (choose a request that is answered the same "
                "every time)"
            )
        if len(received) < len(self._answer):
            return False
        self._answered(turn, received)
        return True

    def _isFirst(self, turn: Turn, received: bytes) -> bool:
        length = self._ending(received)
        if length is not None and len(received) > length:
            raise WrongAnswer(
                f"more came than the {length:,} bytes that an answer has: "
                f"{len(received):,}"
            )
        if length is None or len(received) < length:
            if len(received) > self.LONGEST:
                raise WrongAnswer(f"it does not end within {self.LONGEST:,} bytes")
            return False
        self._answer = received
        self._answered(turn, received)
        return True


class HttpRequest(_Repeated):
    """
    Any request over a kept-alive HTTP/1.1 connection whose answer has a
    C{Content-Length} or comes in chunks.

    The right page is what the first answer held, and every later one must hold the
    same. So must the fields of its head, except those that were seen to change among
    the first answers, as C{Date} does.

    @cvar LEARNING: answers after which no field may begin to change.
    """

    LEARNING = 16
    _CHANGING = frozenset([b"date", b"age"])
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
            raise WrongAnswer(f"the page is not there: {_show(status)}")
        fields = dict(_field(line) for line in lines)
        if fields.get(b"connection", b"").lower() == b"close":
            raise WrongAnswer(
                "the server closes after one answer; keep-alive is needed"
            )
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
                f"the head changed: {_show(name)} is {_show(fields.get(name, b''))!r}, "
                f"was {_show(value)!r} before"
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


def _show(line: bytes) -> str:
    return line[:60].decode("ascii", "replace")


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
            raise WrongAnswer(f"a chunk's size is {_show(line)!r}") from None
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise WrongAnswer("a chunk is longer than its size")
        if size == 0:
            return b"".join(body)
        body.append(rest[:size])
        rest = rest[size + 2 :]


class UnknownKind(ValueError):
    """No exchange of this kind. The message says which there are."""


#: What there is for L{exchangeOf}.
KINDS = (
    "echo, http:/PATH, http-request:REQUEST, length:BYTES:REQUEST or until:END:REQUEST"
)
#: What flows one way, by the name of its kind.
FLOWS: dict[str, Callable[[], Exchange]] = {"stream": Stream, "sink": Sink}

#: The kinds of what is not asked and answered by turns, on one connection each.
OTHER_KINDS = (*FLOWS, "chat")

_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.|\Z)", re.DOTALL)
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def _unescaped(text: str) -> bytes:
    """
    The bytes that a user has written as in a string of C or Python.
    """

    def byte(escape: re.Match[bytes]) -> bytes:
        if len(escape[1]) == 3:
            return bytes([int(escape[1][1:], 16)])
        if escape[1] not in _ESCAPES:
            raise ValueError(
                f"{_show(escape[0])} is no escape: there are \\r \\n \\t \\0 \\xHH \\\\"
            )
        return _ESCAPES[escape[1]]

    return _ESCAPE.sub(byte, os.fsencode(text))


def exchangeOf(kind: str, payload: int, host: str) -> Exchange:
    """
    The exchange named on the command line: C{echo}; C{stream}, C{sink}, C{chat};
    C{http:PATH}; C{http-request:REQUEST}; C{length:N:REQUEST}, where the answer has
    C{N} bytes; C{until:END:REQUEST}, where C{END} ends it. Bytes of the last three are
    escaped as in Python; a colon in C{END} is C{\\x3a}.

    @param payload: bytes of a request, where the kind leaves that open.
    @raise UnknownKind: if there is no such kind, or what it is given is not right.
    """
    name, _, argument = kind.partition(":")
    try:
        if name == "echo" and not argument:
            return Echo(payload)
        if name == "chat" and not argument:
            return Chat(payload)
        if name in FLOWS and not argument:
            return FLOWS[name]()
        if name == "http":
            return Http(argument or "/", host)
        if name == "http-request":
            return HttpRequest(_unescaped(argument))
        rule, colon, request = argument.partition(":")
        if name == "length" and colon and rule.isdecimal():
            return Verbatim(_unescaped(request), ofLength(int(rule)))
        if name == "until" and colon:
            return Verbatim(_unescaped(request), endingWith(_unescaped(rule)))
    except ValueError as error:
        raise UnknownKind(str(error)) from error
    raise UnknownKind(
        f"no load of kind {kind!r}: choose {', '.join(OTHER_KINDS)}, {KINDS}"
    )
