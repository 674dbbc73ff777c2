# -*- test-case-name: tests.test_load -*-
"""
The address of a server, parsed from a Twisted endpoint string.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

#: The argument of C{socket.connect}: host and port, for IPv6 with flow and scope; the
#: path of a UNIX socket, or NUL and the name of an abstract one.
Target: TypeAlias = "tuple[str, int] | tuple[str, int, int, int] | str"

# An escaped character, an IPv6 address in brackets, or any other character.
_PART = re.compile(r"\\.|\[[^][\\]*\]|.", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NAME = re.compile(r"([A-Za-z_]\w*)=")
_PORT = re.compile(r"[0-9]{1,5}")
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f/]")
_ABSTRACT = ("@", "\0", "\\0")

#: The default ports, which HTTP's Host omits, without TLS and with it.
_DEFAULT_PORTS = (80, 443)


class BadAddress(ValueError):
    """A string that is not an address. The message shows the valid forms."""


@dataclass(frozen=True)
class Address:
    """
    The address of a listening socket.

    @ivar family: C{AF_INET}, C{AF_INET6} or C{AF_UNIX}.
    @ivar target: the argument of C{socket.connect}.
    @ivar tls: whether the server there speaks TLS.
    @ivar name: the host's name in ASCII; empty if only its address is known.
    @ivar alternatives: the other addresses of the same name, in the order in which
        to try them.
    """

    family: socket.AddressFamily
    target: Target
    tls: bool = False
    name: str = ""
    alternatives: tuple[Address, ...] = ()

    @property
    def isLoopback(self) -> bool:
        """Whether any source address of 127.0.0.0/8 can connect to it."""
        return self.family == socket.AF_INET and str(self.target[0]).startswith("127.")

    @property
    def serverName(self) -> str | None:
        """
        The name in the SNI extension of TLS; C{None} if only an address is known, which
        RFC 6066 does not allow there.
        """
        return self.name.rstrip(".") or None

    @property
    def host(self) -> str:
        """
        The value of HTTP's C{Host}: name or address, and the port unless it is the
        default. An IPv6 address is in brackets, without its scope, which has a meaning
        on this machine alone (RFC 6874). The host of a UNIX socket is C{localhost}.
        """
        if isinstance(self.target, str):
            return self.name or "localhost"
        host, port = self.name or _literal(self.target[0]), self.target[1]
        return host if port == _DEFAULT_PORTS[self.tls] else f"{host}:{port}"

    def each(self) -> Iterator[Address]:
        """
        This address, then its alternatives.
        """
        yield replace(self, alternatives=())
        yield from self.alternatives

    def __str__(self) -> str:
        if isinstance(self.target, str):
            path = self.target.replace("\\", r"\\").replace(":", r"\:")
            return f"unix:{path.replace(chr(0), '@')}"
        host = self.target[0]
        if len(self.target) == 4 and self.target[3]:
            host += f"%{self.target[3]}"
        if self.family == socket.AF_INET6:
            host = f"[{host}]"
        return f"{'tls' if self.tls else 'tcp'}:{host}:{self.target[1]}"


def parseAddress(text: str, name: str | None = None) -> Address:
    r"""
    Parse a client endpoint string: C{tcp:HOST:PORT}, C{tls:HOST:PORT} or C{unix:PATH}.

    C{HOST:PORT} alone means TCP. Server endpoint strings work too, so that an argument
    of C{--listen} can be pasted here: C{tcp:PORT:interface=HOST}, C{tcp6:PORT} and
    C{ssl:PORT:interface=HOST}; their other options are ignored. As in Twisted, a colon
    inside a value is written C{\:}; an IPv6 address may be in brackets instead.
    C{unix:@NAME} is an abstract socket.

    @param name: the server's name for SNI and C{Host}, in place of the host in the
        string.
    @raise BadAddress: if the string has no such form, or the host has no address.
    """
    if name is not None:
        name = _asciiName(name)
    kind, separator, rest = text.partition(":")
    if kind == "unix" and rest:
        return Address(socket.AF_UNIX, _path(text, rest), name=name or "")
    if kind not in ("tcp", "tcp6", "tls", "ssl") or not separator:
        kind, rest = "tcp", text
    positional, named = _fields(rest)
    if len(positional) == 1 and "interface" in named:
        positional.insert(0, named["interface"])
    elif len(positional) == 1 and positional[0].isdecimal():
        positional.insert(0, "::1" if kind == "tcp6" else "127.0.0.1")
    host = named.get("host", positional[0] if positional else "")
    port = named.get("port", positional[1] if len(positional) > 1 else "")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    fit = host and not _UNFIT.search(host) and _PORT.fullmatch(port)
    if not fit or not 0 < int(port) < 65536:
        raise BadAddress(
            f"{text!r} is not an address to connect to: write tcp:127.0.0.1:8007, "
            "tcp:[::1]:8007, tls:127.0.0.1:8007 or unix:PATH"
        )
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        if name is None:
            name = "" if _isLiteral(host) else host.encode("idna").decode("ascii")
    except (OSError, UnicodeError) as error:
        raise BadAddress(f"{text!r}: no address for {host!r} ({error})") from error
    tls = kind in ("tls", "ssl")
    first, *others = dict.fromkeys(
        Address(family, _target(sockaddr), tls, name)
        for family, _, _, _, sockaddr in found
    )
    return replace(first, alternatives=tuple(others))


def _asciiName(name: str) -> str:
    """
    The name of a host, as SNI and C{Host} encode it.

    @raise BadAddress: if it is not a valid name, or is an address.
    """
    try:
        ascii = name.encode("idna").decode("ascii")
    except UnicodeError:
        ascii = ""
    unfit = not ascii.strip(".") or _UNFIT.search(ascii) or ":" in ascii
    if unfit or _isLiteral(ascii):
        raise BadAddress(f"{name!r} is not the name of a server, as in example.com")
    return ascii


def _literal(host: str) -> str:
    """
    The address of a host, as it is written in a URL.
    """
    return f"[{host.partition('%')[0]}]" if ":" in host else host


def _isLiteral(host: str) -> bool:
    """
    Whether this is an address and not a name. A short form, such as 127.1, is an
    address.
    """
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    return True


def _target(sockaddr: tuple[object, ...]) -> Target:
    """
    The target for an address of C{getaddrinfo}, with the scope of an IPv6 address if it
    has one.
    """
    host, port, *more = sockaddr
    if len(more) == 2 and more[1]:
        return str(host), int(str(port)), int(str(more[0])), int(str(more[1]))
    return str(host), int(str(port))


def _path(text: str, rest: str) -> str:
    """
    The path of a UNIX socket, without the server's options that may follow it.
    """
    abstract = next((each for each in _ABSTRACT if rest.startswith(each)), "")
    positional, named = _fields(rest[len(abstract) :])
    path = "".join(positional[:1]) or named.get("path") or named.get("address")
    if not path:
        raise BadAddress(f"{text!r} has no path: write unix:PATH, or unix:@NAME")
    return f"\0{path}" if abstract else path


def _fields(text: str) -> tuple[list[str], dict[str, str]]:
    """
    The fields between colons: first the positional ones, in order, then the named ones.
    As in Twisted, an escaped colon does not separate fields.
    """
    fields = [""]
    for part in _PART.findall(text):
        if part == ":":
            fields.append("")
        else:
            fields[-1] += part
    positional: list[str] = []
    named: dict[str, str] = {}
    for field in fields:
        name = _NAME.match(field)
        value = _ESCAPE.sub(r"\1", field[name.end() :] if name else field)
        if name:
            named[name[1]] = value
        else:
            positional.append(value)
    return positional, named
