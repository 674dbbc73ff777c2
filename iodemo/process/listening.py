# -*- test-case-name: tests.test_workers -*-
"""
Listening sockets that one process opens and others serve.

Facts. A listening socket belongs to all processes that have a descriptor of it. The
kernel completes the handshakes of new connections and queues them at the socket, also
while no process accepts; it refuses connections only when the last descriptor is closed
or one process calls C{shutdown}. A socket from which no process accepts keeps its
queue.

Where several processes accept from one socket, the kernel does not share connections
evenly: the process that calls C{accept} first gets one. Sockets bound to one port with
SO_REUSEPORT (Linux 3.9) form a group. The kernel assigns each connection to one socket
of the group by a hash of its addresses and ports, so that all processes get about as
many (of 100,000 connections, each of six processes got 16,700, give or take 400). UNIX
sockets have no such groups.

A process inherits sockets in the way of systemd (sd_listen_fds(3)): descriptors from 3
on, and three variables of the environment. LISTEN_PID has to be the process's own id.
Twisted's endpoint C{systemd:} adopts such a socket on every reactor.

Decision. The process that opens the sockets keeps them open for as long as there are to
be servers. A process that dies then leaves its queue to its successor.

Costs. While the process of one socket in a group is dead, the connections that the hash
assigns to that socket wait, although other processes are idle. C{bind} with
SO_REUSEPORT succeeds beside another group of the same user, so a port is first bound
without it; in the short time in between another program may bind the port as well.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.python.lockfile import FilesystemLock

#: sd_listen_fds(3): SD_LISTEN_FDS_START.
FIRST_DESCRIPTOR = 3

#: The length of a queue. The kernel lowers it to net.core.somaxconn.
BACKLOG = 65_535

# A part of an endpoint ends at a colon, a key at an equals sign, unless a backslash
# precedes it.
_PART = re.compile(r"((?:[^\\:]|\\.)*)(?::|$)", re.DOTALL)
_KEY = re.compile(r"([a-zA-Z0-9]+)=(.*)", re.DOTALL)

_OPTIONS = {
    "tcp": ("interface", "backlog"),
    "tcp6": ("interface", "backlog"),
    "unix": ("mode", "lockfile"),
}


class BadEndpoint(ValueError):
    """An endpoint cannot be used. The message has the reason."""


@dataclass(frozen=True)
class Address:
    """
    Where to listen, as an endpoint of Twisted describes it.

    @ivar text: the endpoint.
    @ivar family: C{AF_INET}, C{AF_INET6} or C{AF_UNIX}.
    @ivar host: the interface, or the path of a UNIX socket.
    @ivar port: of TCP; 0 for any free one.
    @ivar backlog: the length of the queue of each socket.
    @ivar mode: the permissions of a UNIX socket.
    @ivar lockfile: whether a lock, C{PATH.lock}, guards a UNIX socket.
    """

    text: str
    family: socket.AddressFamily
    host: str
    port: int = 0
    backlog: int = BACKLOG
    mode: int = 0o666
    lockfile: bool = True

    @property
    def domain(self) -> str:
        """The family's name in an endpoint C{systemd:}."""
        return self.family.name.removeprefix("AF_")


def parsed(text: str) -> Address:
    """
    Parse an endpoint: C{tcp:PORT} or C{tcp6:PORT}, with C{interface=} and C{backlog=},
    or C{unix:PATH}, with C{mode=} and C{lockfile=}.

    @raise BadEndpoint: if it is anything else.
    """
    kind, *rest = _PART.findall(text)[:-1] if text else [""]
    if kind not in _OPTIONS:
        raise BadEndpoint(f"{kind!r} is none of {', '.join(_OPTIONS)}")
    values: dict[str, str] = {}
    for part in rest:
        key = _KEY.fullmatch(part)
        first = "address" if kind == "unix" else "port"
        name = key[1] if key else first
        if name in values or name not in (first, *_OPTIONS[kind]):
            raise BadEndpoint(f"{kind}: has no place for {part!r}")
        values[name] = re.sub(r"\\(.)", r"\1", key[2] if key else part)
    backlog = _number("backlog", values.get("backlog", str(BACKLOG)), most=2**31 - 1)
    if kind == "unix":
        path = values.get("address", "")
        if not path:
            raise BadEndpoint("the path is left out")
        mode = values.get("mode", "666")
        if not re.fullmatch("[0-7]{1,4}", mode):
            raise BadEndpoint(f"a mode is an octal number such as 660, not {mode!r}")
        locked = values.get("lockfile", "1") not in ("0", "")
        return Address(*(text, socket.AF_UNIX, path), 0, backlog, int(mode, 8), locked)
    if "port" not in values:
        raise BadEndpoint("the port is left out")
    port = _number("port", values["port"], most=65_535)
    host = values.get("interface", "::" if kind == "tcp6" else "")
    v6 = kind == "tcp6" or ":" in host
    return Address(text, socket.AF_INET6 if v6 else socket.AF_INET, host, port, backlog)


def _number(name: str, value: str, most: int) -> int:
    if value.isascii() and value.isdigit() and int(value) <= most:
        return int(value)
    raise BadEndpoint(f"a {name} is a number up to {most}, not {value!r}")


@dataclass
class Listening:
    """
    The open sockets of one address.

    @ivar address: where they listen.
    @ivar sockets: all sockets of a group, or the only one.
    """

    address: Address
    sockets: list[socket.socket] = field(default_factory=list)
    _lock: FilesystemLock | None = None

    @property
    def text(self) -> str:
        """The endpoint, with the number of the port."""
        if self.address.family == socket.AF_UNIX or self.address.port:
            return self.address.text
        port = self.sockets[0].getsockname()[1]
        return self.address.text.replace(":0", f":{port}", 1)

    def of(self, number: int) -> socket.socket:
        """
        The socket of one process.

        @param number: of the process, from 0.
        """
        return self.sockets[number % len(self.sockets)]

    def refuse(self) -> None:
        """
        Stop listening, in all processes. The kernel resets the connections that no
        process has accepted yet.
        """
        for each in self.sockets:
            # On a listening socket, Linux ends with this what listen(2) began.
            if each.fileno() >= 0:
                each.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """
        Close the sockets, and remove the path of a UNIX socket.
        """
        if self.sockets and self.address.family == socket.AF_UNIX:
            path = self.address.host
            if os.path.lexists(path):
                os.unlink(path)
        for each in self.sockets:
            each.close()
        if self._lock is not None:
            self._lock.unlock()
            self._lock = None


def opened(address: Address, count: int) -> Listening:
    """
    Open the sockets of an address.

    @param count: how many sockets a group has; one socket is no group.
    @raise OSError: if it cannot be listened on.
    """
    listening = Listening(address)
    try:
        if address.family == socket.AF_UNIX:
            listening.sockets.append(_openUNIX(listening))
            return listening
        first = _bound(address, address.port, group=False)
        port = first.getsockname()[1]
        if count == 1:
            listening.sockets.append(first)
        else:
            # It was bound only to see whether the port is free.
            first.close()
            for _ in range(count):
                listening.sockets.append(_bound(address, port, group=True))
        for each in listening.sockets:
            each.listen(address.backlog)
            each.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _bound(address: Address, port: int, group: bool) -> socket.socket:
    opened = socket.socket(address.family)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if group:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind((address.host, port))
    except BaseException:
        opened.close()
        raise
    return opened


def _openUNIX(listening: Listening) -> socket.socket:
    address = listening.address
    path = address.host
    if address.lockfile:
        from twisted.python.lockfile import FilesystemLock

        lock = FilesystemLock(f"{path}.lock")
        if not lock.lock():
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listening._lock = lock
        # The lock's owner is gone, or there was none: so is the owner of the socket.
        if not lock.clean and os.path.lexists(path):
            left = os.lstat(path)
            if stat.S_ISSOCK(left.st_mode):
                os.unlink(path)
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.bind(path)
        os.chmod(path, address.mode)
        opened.listen(address.backlog)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def endpoint(address: Address, index: int) -> str:
    """
    The endpoint by which a server adopts a socket that it inherits.

    @param index: of the socket, among those that the server inherits.
    """
    return f"systemd:domain={address.domain}:index={index}"


def environment(count: int) -> Mapping[str, str]:
    """
    The variables for a process that inherits sockets, apart from LISTEN_PID, which the
    process sets itself.
    """
    names = ":".join(f"socket{index}" for index in range(count))
    return {"LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}
