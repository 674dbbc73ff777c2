# -*- test-case-name: tests.test_load -*-
"""
The protocols of a load: for each, an L{Exchange} with its requests and right answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection

from iodemo.load.exchanges.echo import Chat, Echo
from iodemo.load.exchanges.exchange import Answer, Exchange, Turn, WrongAnswer
from iodemo.load.exchanges.flow import PIECE, Sink, Stream
from iodemo.load.exchanges.http import Http, HttpRequest
from iodemo.load.exchanges.repeated import Verbatim, endingWith, ofLength

__all__ = [
    "FLOWS",
    "KINDS",
    "OTHER_KINDS",
    "PIECE",
    "Answer",
    "Chat",
    "Echo",
    "Exchange",
    "Http",
    "HttpRequest",
    "Sink",
    "Stream",
    "Turn",
    "UnknownKind",
    "Verbatim",
    "WrongAnswer",
    "endingWith",
    "exchangeOf",
    "ofLength",
]


class UnknownKind(ValueError):
    """There is no exchange of this kind. The message lists the kinds."""


#: The kinds with requests and answers, as L{exchangeOf} accepts them.
KINDS = (
    "echo, http:/PATH, http-request:REQUEST, length:BYTES:REQUEST or until:END:REQUEST"
)
#: The flows, by the name of their kind.
FLOWS: dict[str, Callable[[], Exchange]] = {"stream": Stream, "sink": Sink}

#: The kinds where a request and its answer do not alternate on each connection.
OTHER_KINDS = (*FLOWS, "chat")

_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.|\Z)", re.DOTALL)
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def _unescaped(text: str) -> bytes:
    """
    The bytes of a text that is escaped as in a string of C or Python.
    """

    def byte(escape: re.Match[bytes]) -> bytes:
        if len(escape[1]) == 3:
            return bytes([int(escape[1][1:], 16)])
        if escape[1] not in _ESCAPES:
            raise ValueError(
                f"{os.fsdecode(escape[0])} is no escape: there are "
                r"\r \n \t \0 \xHH \\"
            )
        return _ESCAPES[escape[1]]

    return _ESCAPE.sub(byte, os.fsencode(text))


def exchangeOf(
    kind: str, payload: int, host: str, compared: Collection[str] = ()
) -> Exchange:
    """
    The exchange named on the command line: C{echo}; C{stream}, C{sink}, C{chat};
    C{http:PATH}; C{http-request:REQUEST}; C{length:N:REQUEST}, where the answer has
    C{N} bytes; C{until:END:REQUEST}, where C{END} ends it. Bytes of the last three are
    escaped as in Python; a colon in C{END} is C{\\x3a}.

    @param payload: bytes of a request, for kinds that do not determine it.
    @param compared: fields of the head of an HTTP answer that must not change.
    @raise UnknownKind: if there is no such kind, or its argument is not valid.
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
            return Http(argument or "/", host, compared)
        if name == "http-request":
            return HttpRequest(_unescaped(argument), compared)
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
