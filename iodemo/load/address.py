# -*- test-case-name: tests.test_load -*-
"""
Where the server is, from a Twisted endpoint string.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

_FIELD = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)")


class BadAddress(ValueError):
    """An address that cannot be read. The message says what would be."""


@dataclass(frozen=True)
class Address:
    """
    A socket address that can be connected to.

    @ivar family: C{AF_INET}, C{AF_INET6} or C{AF_UNIX}.
    @ivar target: what C{socket.connect} takes.
    @ivar tls: whether to speak TLS there.
    """

    family: socket.AddressFamily
    target: tuple[str, int] | str
    tls: bool = False

    @property
    def isLoopback(self) -> bool:
        """Whether it can be called from any of 127.0.0.0/8."""
        return self.family == socket.AF_INET and self.target[0].startswith("127.")

    def __str__(self) -> str:
        if isinstance(self.target, str):
            return f"unix:{self.target}"
        host, port = self.target
        return (
            f"{'tls' if self.tls else 'tcp'}:{host.replace(':', chr(92) + ':')}:{port}"
        )


def parseAddress(text: str) -> Address:
    r"""
    Read a client endpoint string: C{tcp:HOST:PORT}, C{tls:HOST:PORT} or C{unix:PATH}.

    C{HOST:PORT} alone is taken for TCP, and so is a server's own
    C{tcp:PORT:interface=HOST}, so that what was pasted after C{--listen} works
    here; likewise C{ssl:PORT:interface=HOST}, whatever follows. As in Twisted, a colon
    inside a value is written C{\:}.

    @raise BadAddress: if it is none of these, or the host has no address.
    """
    kind, separator, rest = text.partition(":")
    if kind == "unix" and rest:
        return Address(socket.AF_UNIX, rest.partition(":")[0])
    if kind not in ("tcp", "tls", "ssl") or not separator:
        rest = text
    positional: list[str] = []
    named: dict[str, str] = {}
    for field in _split(rest):
        key, equals, value = field.partition("=")
        if equals:
            named[key] = value
        else:
            positional.append(field)
    if len(positional) == 1 and "interface" in named:
        positional.insert(0, named["interface"])
    elif len(positional) == 1 and positional[0].isdecimal():
        positional.insert(0, "127.0.0.1")
    host = named.get("host", positional[0] if positional else "")
    port = named.get("port", positional[1] if len(positional) > 1 else "")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise BadAddress(
            f"{text!r} is not an address to connect to: write tcp:127.0.0.1:8007, "
            "tls:127.0.0.1:8007 or unix:PATH"
        )
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadAddress(f"{text!r}: no address for {host!r} ({error})") from error
    family, _, _, _, target = found[0]
    tls = kind in ("tls", "ssl")
    return Address(family, (str(target[0]), int(target[1])), tls)


def _split(text: str) -> list[str]:
    fields = [match[1] for match in _FIELD.finditer(text)]
    # The pattern matches once more, emptily, at the very end.
    return [re.sub(r"\\(.)", r"\1", field) for field in fields[:-1]]
