"""
A server of messages: it answers each with a digest of its content, and with as many
bytes as it requests.

A message is its own size and the size of the answer, then a seed and its bytes. The
answer is a digest of those bytes, and bytes made from the seed.
"""

from __future__ import annotations

import hashlib
import random
import struct
from typing import Any

from twisted.internet.protocol import Protocol

from . import listen

_HEAD = struct.Struct("!LLL")


class Answering(Protocol):
    """
    Answers each message, whatever the pieces in which it comes.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Start with nothing received.
        """
        self.heard = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """
        Answer each complete message.
        """
        self.heard += data
        while len(self.heard) >= _HEAD.size:
            size, wanted, seed = _HEAD.unpack_from(self.heard)
            if len(self.heard) < _HEAD.size + size:
                return
            body = bytes(self.heard[_HEAD.size : _HEAD.size + size])
            del self.heard[: _HEAD.size + size]
            digest, reply = answer(body, wanted, seed)
            self.transport.write(digest)
            self.transport.writeSequence([reply[:10], reply[10:]])


def message(body: bytes, wanted: int, seed: int) -> bytes:
    """
    A client's message.
    """
    return _HEAD.pack(len(body), wanted, seed) + body


def answer(body: bytes, wanted: int, seed: int) -> tuple[bytes, bytes]:
    """
    The server's answer.
    """
    reply = random.Random(seed).randbytes(wanted)
    return hashlib.blake2b(body).digest(), reply


def serve(reactor: Any) -> None:
    """
    Serve L{Answering}.
    """
    listen(reactor, Answering)
