# -*- test-case-name: tests.test_flow -*-
"""
Exchanges in which bytes flow one way.
"""

from __future__ import annotations

from collections.abc import Iterator

from iodemo.load.exchanges.exchange import Turn, WrongAnswer

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

    def ended(self, turn: Turn, received: bytes) -> bool:
        """See L{Exchange.ended}."""
        return False

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
