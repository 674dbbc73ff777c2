"""
Tests for what is written in pieces.
"""

from __future__ import annotations

from .stamping import BackendTestCase, sharedState, stamped

# Of empty pieces, a transport may still hold those of the last turn.
_MOST_KEPT = 10


@stamped
class EmptyTests(BackendTestCase):
    """
    Tests for empty pieces.
    """

    def check(self, transport: str) -> None:
        """
        They are not kept, and what is written after them is sent.
        """
        with self.host("pieces.empty", transport=transport) as host:
            self.assertLess(host.await_("kept")["count"], _MOST_KEPT)
            heard = host.await_("heard")
        self.assertEqual((heard["said"], heard["ended"]), ("hello", True))

    @sharedState
    def test_tcp(self) -> None:
        """
        Over TCP.
        """
        self.check("tcp")

    @sharedState
    def test_unix(self) -> None:
        """
        Over a UNIX socket.
        """
        self.check("unix")
