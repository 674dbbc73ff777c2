# -*- test-case-name: tests.test_http_answers -*-
"""
HTTP/1.1 and 1.0, and the check of their answers.

Facts. The framing of an answer determines its end: the end of the head (for C{HEAD},
204 and 304), C{Content-Length} bytes, the last chunk, or the end of the connection. A
server may send heads with a status of 1xx before the answer. When two recipients
disagree about the end of an answer, one answer can pass for two (response splitting,
request smuggling): a recipient that checks servers must not be lenient here.

Decisions. h11 parses the first answer, and every answer whose framing is not proved
equal to that of an answer that h11 has parsed. The proof is that the head has the same
lines, except for the values of fields that do not belong to the framing. Then the bytes
behind the head must be the same, which takes one comparison. h11 knows no other
transfer coding than C{chunked}; codings before it are ignored here, since bodies are
compared in their coded form.

The status and the body of every answer must equal those of the first. Fields of the
head change for good reasons (C{Date}, C{Expires}, C{Set-Cookie}, request identifiers):
they are compared only if the user names them, and the result lists those that have
changed.

Costs. h11 is Python: some 100 microseconds for an answer. If h11 must parse every
answer, because the framing changes or the body is larger than L{KEPT}, only a digest of
the body is kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection

import h11

from iodemo.load.exchanges.exchange import Answer, Turn, WrongAnswer, shown
from iodemo.load.exchanges.repeated import Repeated

#: The most bytes of a head, of a line before a chunk, or of the trailers.
LONGEST_HEAD = 65536

#: The most bytes of an answer that are kept, to be compared with others.
KEPT = 4 << 20

#: The most heads of 1xx before an answer.
MOST_INFORMATIONAL = 100

#: The most names of changing fields that are kept.
MOST_CHANGING = 100

# The blank line behind a head. Lines end with CR LF, or with LF alone.
_BLANK = re.compile(rb"\n\r?\n")
_BEGINNINGS = b"HTTP/1.1 ", b"HTTP/1.0 "
# The offset of the status in a head.
_STATUS = 9
# The codings before "chunked" in Transfer-Encoding.
_CODINGS = re.compile(
    rb"^(transfer-encoding:[ \t]*)(?:(?!chunked\b)[-!#$%&'*+.^_`|~0-9a-z]+[ \t]*,"
    rb"[ \t]*)+(chunked[ \t]*\r?)$",
    re.IGNORECASE | re.MULTILINE,
)
# The name of a field, at the beginning of its line.
_FIELD = re.compile(rb"([^:\s]+):")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Fields that determine the end of an answer, or of a connection.
_FRAMING = frozenset([b"content-length", b"transfer-encoding", b"connection"])
_BODILESS = 204, 304


class HttpRequest(Repeated):
    """
    Any request. The right answer is the first one.
    """

    def __init__(self, request: bytes, compared: Collection[str] = ()) -> None:
        """
        @param request: the whole request, with its head and, if it has one, its body.
        @param compared: names of fields of an answer's head that must not change.
        @raise ValueError: if the head of the request does not begin with a method, or
            does not end.
        """
        if b"\r\n\r\n" not in request:
            raise ValueError(
                "a request has a head, which an empty line ends: "
                r"http-request:GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
        super().__init__(request)
        self._method = request.partition(b" ")[0]
        try:
            _parser(self._method)
        except h11.LocalProtocolError as error:
            raise ValueError(
                f"a request begins with its method, and '{shown(self._method)}' is none"
            ) from error
        self._compared = frozenset(name.lower().encode() for name in compared)
        self._first: _Reading | None = None
        self._changing: set[bytes] = set()
        # The form of the last answer that h11 has parsed.
        self._form: _Form | None = None

    @property
    def leftOut(self) -> frozenset[str]:
        """See L{Exchange.leftOut}: fields of the head."""
        return frozenset(name.decode("ascii") for name in self._changing)

    def answer(self, turn: Turn) -> Answer:
        """See L{Exchange.answer}."""
        if self._form is None:
            return self._reading(turn)
        return _SimilarAnswer(self, turn, self._form)

    def _reading(self, turn: Turn) -> _Reading:
        return _Reading(
            self._method, self._checkHead, lambda reading: self._read(turn, reading)
        )

    def similar(self, turn: Turn, form: _Form, head: bytes) -> None:
        """
        An answer is whole, and has the form of one that h11 has parsed.
        """
        self._answered(len(head) + len(form.rest))
        turn.last = False
        turn.expected = form.answerWith(head)

    def dissimilar(self, turn: Turn, beginning: bytes) -> tuple[Answer, bool]:
        """
        Begin to parse an answer with h11: its form differs from that of the last answer
        which h11 parsed.

        @return: the L{Answer} that receives its remaining bytes, and whether it is
            whole already.
        """
        reading = self._reading(turn)
        return reading, reading.received(beginning)

    def _checkHead(self, reading: _Reading) -> None:
        """
        Check the status and the fields of an answer.

        @raise WrongAnswer: if its status is wrong, or a field that must not change has
            changed.
        """
        first = self._first
        said = f"{reading.status} {shown(reading.reason)}"
        if first is None:
            if not 200 <= reading.status < 300 and reading.status != 304:
                place = reading.fields.get(b"location", [b""])[0]
                where = f" (at '{shown(place)}')" if place else ""
                raise WrongAnswer(f"the page is not there: {said}{where}")
            missing = self._compared - reading.fields.keys()
            if missing:
                raise WrongAnswer(f"its head has no field '{shown(min(missing))}'")
            return
        if reading.status != first.status:
            raise WrongAnswer(
                f"the status changed: {said}, was {first.status} at first"
            )
        names = reading.fields.keys() | first.fields.keys()
        for name in names - self._changing:
            value, before = reading.fields.get(name), first.fields.get(name)
            if value == before:
                continue
            if name in self._compared:
                raise WrongAnswer(
                    f"the head changed: {shown(name)} is {_values(value)}, was "
                    f"{_values(before)} at first"
                )
            if len(self._changing) < MOST_CHANGING:
                self._changing.add(name)

    def _read(self, turn: Turn, reading: _Reading) -> None:
        """
        h11 has parsed a whole answer.

        @raise WrongAnswer: if its body is not the right one.
        """
        first = self._first = self._first or reading
        # There may have been no first answer yet when this one began.
        self._checkHead(reading)
        if reading.length != first.length or reading.digest != first.digest:
            size = f"{reading.length:,} bytes, and {first.length:,} at first"
            if reading.length == first.length:
                size = f"{reading.length:,} bytes as at first, but other ones"
            raise WrongAnswer(
                f"the page changed: {size} (choose a page that stays the same)"
            )
        self._answered(reading.size)
        turn.last = reading.last
        turn.expected = b""
        self._form = None
        if reading.rest is not None and not reading.last:
            self._form = _Form(reading.head, reading.rest, self._changing)


class Http(HttpRequest):
    """
    C{GET} of one path.
    """

    def __init__(self, path: str, host: str, compared: Collection[str] = ()) -> None:
        """
        @param path: absolute path of the page, with its query.
        @param host: for the C{Host} header.
        @param compared: see L{HttpRequest}.
        """
        if not path.startswith("/") or not path.isascii() or len(path.split()) != 1:
            raise ValueError(
                f"{path!r} is not the path of a page: begin with a slash, as in http:/"
            )
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: iodemo\r\n\r\n"
        super().__init__(head.encode("ascii"), compared)


class _Form:
    """
    The form of an answer that h11 has parsed: its lines and its body. Answers of the
    same form end at the same place.

    @ivar head: a pattern of the heads with the same lines, except for the values of
        fields that change and do not belong to the framing.
    @ivar rest: the bytes behind the head.
    """

    def __init__(self, head: bytes, rest: bytes, changing: Collection[bytes]) -> None:
        """
        @param changing: names of fields, in lower case.
        """
        self.head = _patternOf(head, changing)
        self.rest = rest
        self._last = head
        self._answer = b""

    def answerWith(self, head: bytes) -> bytes:
        """
        The whole answer, if the last one had the same head; otherwise empty. (If every
        head is different, as with a request identifier, a copy for every connection
        would be of no use.)
        """
        if head != self._last:
            self._last, self._answer = head, b""
        elif not self._answer:
            self._answer = head + self.rest
        return self._answer


class _SimilarAnswer:
    """
    An answer that is compared with the form of one that h11 has parsed. At the first
    difference h11 takes over.
    """

    def __init__(self, exchange: HttpRequest, turn: Turn, form: _Form) -> None:
        self._exchange = exchange
        self._turn = turn
        self._form = form
        self._head = b""
        # How many bytes of the head were searched for its end, and the beginning of the
        # last head, if heads of 1xx come before it.
        self._searched = 0
        self._begin = 0
        # The number of bytes received behind the head; None until the head is whole.
        self._came: int | None = None
        self._other: Answer | None = None

    def received(self, data: bytes) -> bool:
        """See L{Answer.received}."""
        if self._other is not None:
            return self._other.received(data)
        if self._came is None:
            self._head += data
            if not self._hasHead():
                if (
                    _mayBegin(self._head[self._begin :])
                    and len(self._head) <= LONGEST_HEAD
                ):
                    return False
                return self._isOther(self._head)
            data = self._head[self._searched :]
            self._head = self._head[: self._searched]
            if self._form.head.fullmatch(self._head) is None:
                return self._isOther(self._head + data)
            self._came = 0
        rest, came = self._form.rest, self._came
        if not rest.startswith(data, came):
            return self._isOther(self._head + rest[:came] + data)
        self._came += len(data)
        if self._came < len(rest):
            return False
        self._exchange.similar(self._turn, self._form, self._head)
        return True

    def _hasHead(self) -> bool:
        while blank := _BLANK.search(self._head, self._searched):
            isInformational = self._head.startswith(b"1", self._begin + _STATUS)
            self._searched = self._begin = blank.end()
            if not isInformational:
                return True
        # The last bytes may be the beginning of the blank line.
        self._searched = max(self._searched, len(self._head) - 2)
        return False

    def _isOther(self, beginning: bytes) -> bool:
        self._other, whole = self._exchange.dissimilar(self._turn, beginning)
        return whole

    def ended(self) -> bool:
        """See L{Answer.ended}."""
        return self._other is not None and self._other.ended()


class _Reading:
    """
    An answer that h11 parses.

    @ivar head: the head, with the heads of 1xx before it.
    @ivar rest: the bytes behind the head; C{None} if they are too many to be kept.
    @ivar fields: values of the fields of the head, by their names in lower case.
    @ivar last: whether the server closes the connection after the answer.
    @ivar size: bytes of the whole answer.
    @ivar length: bytes of the body, without the lines of its chunks.
    @ivar digest: the digest of the body.
    """

    def __init__(
        self,
        method: bytes,
        begun: Callable[[_Reading], None],
        read: Callable[[_Reading], None],
    ) -> None:
        """
        @param begun: called when the head is whole. It may raise L{WrongAnswer}.
        @param read: called when the answer is whole. It may raise L{WrongAnswer}.
        """
        self.head = b""
        self.rest: bytes | None = None
        self.status = 0
        self.reason = b""
        self.fields: dict[bytes, list[bytes]] = {}
        self.last = False
        self.size = 0
        self.length = 0
        self.digest = b""
        self._method = method
        self._begun = begun
        self._read = read
        self._parser = _parser(method)
        self._informational = 0
        # The beginning of a head.
        self._pending = b""
        self._untilClosed = False
        self._body = hashlib.blake2b(digest_size=16)
        self._kept: bytearray | None = bytearray()

    def received(self, data: bytes) -> bool:
        """See L{Answer.received}."""
        self.size += len(data)
        while not self.status:
            data = self._pending + data
            blank = _BLANK.search(data, max(0, len(self._pending) - 2))
            if not _mayBegin(data):
                raise WrongAnswer(
                    f"not an answer of HTTP/1.1 or 1.0: it begins '{shown(data)}'"
                )
            if (len(data) if blank is None else blank.end()) > LONGEST_HEAD:
                raise WrongAnswer(
                    f"its head has more than {LONGEST_HEAD:,} bytes: it begins "
                    f"'{shown(data)}'"
                )
            if blank is None:
                self._pending = data
                return False
            self._pending = b""
            self._readHead(data[: blank.end()])
            data = data[blank.end() :]
            if not data and not self.status:
                return False
        return self._readBody(data)

    def _readHead(self, head: bytes) -> None:
        self.head += head
        self._parser.receive_data(_CODINGS.sub(rb"\1\2", head))
        try:
            event = self._next()
        except WrongAnswer as error:
            raise WrongAnswer(f"{error}, in '{shown(head, 300)}'") from error
        if isinstance(event, h11.InformationalResponse):
            self._informational += 1
            if self._informational > MOST_INFORMATIONAL:
                raise WrongAnswer(
                    f"more than {MOST_INFORMATIONAL} heads of 1xx, and no answer"
                )
            return
        if not isinstance(event, h11.Response):
            raise WrongAnswer("the server goes on with another protocol than HTTP")
        fields = self.fields
        for name, value in event.headers:
            fields.setdefault(name, []).append(value)
        chunked = b"transfer-encoding" in fields
        counted = b"content-length" in fields
        isOld = event.http_version == b"1.0"
        if chunked and counted:
            raise WrongAnswer("its head has a Content-Length and a Transfer-Encoding")
        if chunked and isOld:
            raise WrongAnswer("HTTP/1.0 has no Transfer-Encoding, and its head has one")
        options = b",".join(fields.get(b"connection", [])).lower().split(b",")
        options = [option.strip() for option in options]
        bodiless = self._method == b"HEAD" or event.status_code in _BODILESS
        self._untilClosed = not (chunked or counted or bodiless)
        self.last = (
            self._untilClosed
            or b"close" in options
            or (isOld and b"keep-alive" not in options)
        )
        self.status, self.reason = event.status_code, event.reason
        self._begun(self)

    def _readBody(self, data: bytes) -> bool:
        if self._kept is not None:
            self._kept += data
            if len(self._kept) > KEPT:
                self._kept = None
        # h11 checks the length of a chunk's line only between calls, so it gets this
        # many bytes at most in one.
        for begin in range(0, len(data) or 1, LONGEST_HEAD):
            piece = data[begin : begin + LONGEST_HEAD]
            if piece:
                self._parser.receive_data(piece)
            if self._readEvents():
                more = self._parser.trailing_data[0] + data[begin + len(piece) :]
                if more:
                    raise WrongAnswer(
                        f"{len(more):,} bytes came after its end: '{shown(more)}'"
                    )
                self._end()
                return True
        return False

    def _readEvents(self) -> bool:
        """
        Process the events that h11 has parsed.

        @return: whether the end of the answer is among them.
        """
        while isinstance(event := self._next(), h11.Data):
            self.length += len(event.data)
            self._body.update(event.data)
        return isinstance(event, h11.EndOfMessage)

    def _next(self) -> object:
        try:
            return self._parser.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise WrongAnswer(
                    f"a line of its chunks, or its trailers, have more than "
                    f"{LONGEST_HEAD:,} bytes"
                ) from error
            # h11 shows bytes of the server as the repr of a bytearray.
            said = re.sub(r"bytearray\((b.*?)\)", r"\1", str(error))
            raise WrongAnswer(f"HTTP is broken: {said[:200]}") from error

    def _end(self) -> None:
        self.digest = self._body.digest()
        if self._kept is not None:
            self.rest, self._kept = bytes(self._kept), None
            if b"transfer-encoding" in self.fields and self.rest:
                _checkChunks(self.rest)
        self._read(self)

    def ended(self) -> bool:
        """See L{Answer.ended}."""
        if not self._untilClosed:
            return False
        self._end()
        return True


def _mayBegin(answer: bytes) -> bool:
    return any(each.startswith(answer[:9]) for each in _BEGINNINGS)


def _parser(method: bytes) -> h11.Connection:
    """
    A parser for one answer.

    @raise h11.LocalProtocolError: if this is not a valid method.
    """
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
    # The framing of an answer depends on the method of its request, and nothing else.
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    parser.send(h11.EndOfMessage())
    return parser


def _checkChunks(body: bytes) -> None:
    """
    See that the lines before the chunks of a body contain no control character. h11
    accepts any in a chunk extension, but another recipient may take it for an end of
    line.

    @raise WrongAnswer: if one does.
    """
    begin, size = 0, 1
    while size:
        end = body.index(b"\r\n", begin)
        line = body[begin:end]
        if _CONTROL.search(line):
            raise WrongAnswer(f"a control character is before a chunk: '{shown(line)}'")
        size = int(line.partition(b";")[0], 16)
        begin = end + size + 4


def _patternOf(head: bytes, changing: Collection[bytes]) -> re.Pattern[bytes]:
    """
    A pattern of the heads with the same lines, except for the values of changing fields
    that do not belong to the framing.
    """
    lines = []
    for line in head.split(b"\n"):
        field = _FIELD.match(line)
        name = field[1].lower() if field else b""
        if field and name in changing and name not in _FRAMING:
            ending = rb"\r" if line.endswith(b"\r") else b""
            lines.append(re.escape(field[0]) + rb"[\t\x20-\xff]*" + ending)
        else:
            lines.append(re.escape(line))
    return re.compile(b"\n".join(lines))


def _values(values: list[bytes] | None) -> str:
    return "missing" if values is None else f"'{shown(b', '.join(values))}'"
