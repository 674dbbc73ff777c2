# -*- test-case-name: tests.test_flow -*-
"""
Exchanges in which bytes flow one way.
"""

from __future__ import annotations

from collections.abc import Iterator

from iodemo.load.exchanges.exchange import Known, Turn

#: The size of a piece of a flow, in bytes.
PIECE = 64 << 10


class Stream:
    """
    The server sends without a request: a piece is the answer to an empty request.

    The byte at offset k of the stream is k % 256, so every piece is the same.

    @cvar VERIFIED: bytes received before the measurement.
    """

    VERIFIED = 16 << 20
    SECONDS = 0.05
    leftOut: frozenset[str] = frozenset()
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

    def answer(self, turn: Turn) -> Known:
        """See L{Exchange.answer}."""
        return Known(
            self._PIECE,
            "byte {offset:,} of a piece is 0x{got:02x}, and must be 0x{right:02x}",
            "{came:,} bytes came, and a piece has {size:,}",
        )


class Sink(Stream):
    """
    The server reads and discards: a piece is a request with an empty answer.
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

    def answer(self, turn: Turn) -> Known:
        """See L{Exchange.answer}."""
        return Known(b"", "", "a sink sends nothing")
