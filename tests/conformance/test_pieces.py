"""
Tests for writes in small pieces, and for a huge one.

The huge one takes 3 GiB of memory and a privilege, so its test runs only on request::

    IODEMO_HUGE=1 scripts/test tests.conformance.test_pieces
"""

from __future__ import annotations

import os

from .stamping import BackendTestCase, sharedState, stamped

# Of empty pieces, a transport may still hold those of the last turn.
_MOST_KEPT = 10

# The kernel moves no more than 2 GiB in one call, and the ring once sent no more than 1
# GiB in one operation.
_HUGE = (1 << 30) + 100_000_000


@stamped
class EmptyTests(BackendTestCase):
    """
    Tests for empty pieces.
    """

    def check(self, transport: str) -> None:
        """
        Empty pieces are not kept, and data that is written after them is sent.
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


@stamped
class HugeTests(BackendTestCase):
    """
    Tests for a piece that is huge.
    """

    if not os.environ.get("IODEMO_HUGE"):
        skip = "IODEMO_HUGE is not set"

    @sharedState
    def test_gibibyte(self) -> None:
        """
        All of it is sent, on a socket that takes more than 1 GiB at once.
        """
        with self.host("pieces.huge", size=_HUGE) as host:
            self.assertEqual(host.await_("received")["count"], _HUGE)
