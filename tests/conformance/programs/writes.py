"""
Turns of the reactor in which one owner of many writes a value of another type than
C{bytes}.

Each kind of value is one line of L{WRITES}, with the behaviour of Twisted's own
reactors.
"""

from __future__ import annotations

import array
import ctypes
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread

from ...certificates import startTLS, tlsEndpoint, writeCertificate
from ...children import TIMEOUT
from ..peers import connectTo
from ..sizes import KIB
from . import enact, tell
from .turns import GUILTY, OWNERS, Patience, Spoken, hear

_LARGE = bytes(200 * KIB)


class Bytes(bytes):
    """
    A type like those of PyNaCl and numpy.
    """


class Shorter(bytes):
    """
    A value whose C{len} is less than its number of bytes.
    """

    def __len__(self) -> int:
        return 1


class Longer(bytes):
    """
    A value whose C{len} is more than its number of bytes.
    """

    def __len__(self) -> int:
        return 1000


class Unmeasured(bytes):
    """
    A value without C{len}.
    """

    def __len__(self) -> int:
        raise ZeroDivisionError("deliberate")


_WRITE = ("write",)
_SEQUENCE = ("writeSequence",)
_BOTH = _WRITE + _SEQUENCE

#: How each value is written: between others, by either method, and alone.
WAYS = (*_BOTH, "alone")


@dataclass(frozen=True)
class Value:
    """
    A value to write.

    @ivar name: its description.
    @ivar make: the function that makes it.
    @ivar sentBy: the methods of a transport that send it. All others raise
        L{TypeError}, and send nothing of it.
    @ivar sentOverTLS: the same over TLS.
    @ivar isCompared: whether the sent data is checked.
    """

    name: str
    make: Callable[[], Any]
    sentBy: tuple[str, ...] = ()
    sentOverTLS: tuple[str, ...] = ()
    isCompared: bool = True


WRITES = (
    Value("bytes", lambda: b"value", _BOTH, _BOTH),
    Value("large", lambda: _LARGE, _BOTH, _BOTH),
    Value("subclass", lambda: Bytes(b"value"), _BOTH, _BOTH),
    Value("largeSubclass", lambda: Bytes(_LARGE), _BOTH, _BOTH),
    Value("emptySubclass", Bytes, _BOTH, _BOTH),
    Value("shorter", lambda: Shorter(b"value"), _BOTH, _BOTH),
    Value("longer", lambda: Longer(b"value"), _BOTH, _BOTH),
    Value("unmeasured", lambda: Unmeasured(b"value"), isCompared=False),
    Value("bytearray", lambda: bytearray(b"value"), (), _BOTH),
    Value("largeBytearray", lambda: bytearray(_LARGE), (), _BOTH),
    Value("emptyBytearray", bytearray, (), _BOTH),
    Value("memoryview", lambda: memoryview(b"value"), (), _SEQUENCE),
    Value("largeMemoryview", lambda: memoryview(_LARGE), (), _SEQUENCE),
    Value("strided", lambda: memoryview(b"value")[::2]),
    Value("array", lambda: array.array("I", [1, 2]), (), _SEQUENCE),
    Value("ctypes", lambda: ctypes.create_string_buffer(b"value"), (), _SEQUENCE),
    Value("str", lambda: "value"),
    Value("emptyStr", str),
    Value("None", lambda: None),
    Value("False", lambda: False),
    Value("zero", lambda: 0),
    Value("int", lambda: 5),
    Value("float", lambda: 5.0),
    Value("list", lambda: [b"value"]),
    Value("emptyList", list),
    Value("tuple", lambda: (b"value",)),
    Value("object", object),
)


class Listening(Factory):
    """
    Makes the owners of one case after the other.

    @ivar owners: the owners of the case, in the order of their connections.
    """

    noisy = False

    def __init__(self) -> None:
        self.owners: list[Spoken] = []

    def buildProtocol(self, addr: Any) -> Spoken:
        """See L{Factory.buildProtocol}."""
        self.owners.append(Spoken())
        return self.owners[-1]


def writes(reactor: Any, transport: str) -> None:
    """
    Let the owner of one connection among many write each value, in each way.

    @param transport: C{"tcp"}, C{"unix"} or C{"tls"}.
    """
    factory = Listening()
    patience = Patience()
    where = "unix:socket" if transport == "unix" else "tcp:0:interface=127.0.0.1"
    if transport == "tls":
        certificate = writeCertificate(Path.cwd())
        where = tlsEndpoint(certificate)

    def connect(port: Any) -> socket.socket:
        if transport == "unix":
            peer = socket.socket(socket.AF_UNIX)
            peer.settimeout(TIMEOUT)
            peer.connect("socket")
            return peer
        return connectTo(port.getHost().port)

    def shakeHands(peers: list[socket.socket]) -> list[socket.socket]:
        return [startTLS(peer, certificate) for peer in peers]

    async def tryOne(port: Any, value: Value, way: str) -> list[str]:
        factory.owners.clear()
        peers = [connect(port) for _ in range(OWNERS)]
        if transport == "tls":
            peers = await deferToThread(shakeHands, peers)
        guilty, others = peers[GUILTY], peers[:GUILTY] + peers[GUILTY + 1 :]
        wrong = []

        async def check(receivers: list[socket.socket], expected: bytes) -> None:
            heard = await deferToThread(hear, receivers, len(expected), patience)
            if heard != [expected] * len(receivers):
                name = "its peer" if guilty in receivers else "the others"
                short = [each and each[:100] for each in heard]
                wrong.append(f"{name} received {short} instead of {expected[:100]!r}")

        for peer in peers:
            peer.sendall(b"hello")
        await check(peers, b"hello")
        raised: list[str] = []

        def write(transport: Any) -> None:
            if way != "alone":
                transport.write(b"<")
            made = value.make()
            try:
                if way == "writeSequence":
                    transport.writeSequence([b"a", made, b"b"])
                else:
                    transport.write(made)
            except Exception as error:
                raised.append(type(error).__name__)
            if way != "alone":
                transport.write(b">")

        for peer, owner in zip(peers, factory.owners, strict=True):
            if peer is guilty:
                reactor.callLater(0, write, owner.transport)
            else:
                reactor.callLater(0, owner.transport.write, b"said")
        await check(others, b"said")
        sentBy = value.sentOverTLS if transport == "tls" else value.sentBy
        isSent = ("write" if way == "alone" else way) in sentBy
        expected = b"".join([value.make()]) if isSent else b""
        if way == "writeSequence" and isSent:
            expected = b"a" + expected + b"b"
        if way != "alone":
            expected = b"<" + expected + b">"
        if value.isCompared:
            if expected:
                await check([guilty], expected)
            if raised != ([] if isSent else ["TypeError"]):
                wrong.append(f"raised {raised}")
        lasting = peers if value.isCompared else others
        for peer in lasting:
            peer.sendall(b"again")
        await check(lasting, b"again")
        for peer in peers:
            peer.close()
        return wrong

    async def inOrder() -> None:
        port = await serverFromString(reactor, where).listen(factory)
        for value in WRITES:
            for way in WAYS:
                wrong = await tryOne(port, value, way)
                tell("case", name=f"{value.name}, {way}", wrong=wrong)

    enact(reactor, inOrder)
