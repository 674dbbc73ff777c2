"""
Tests for timers, in an idle reactor and in a busy one.
"""

from __future__ import annotations

from .hosting import keepBusy
from .peers import Peer, converse
from .sizes import TIMERS
from .stamping import BackendTestCase, stamped


@stamped
class TimerTests(BackendTestCase):
    """
    Tests for C{callLater}.
    """

    def test_idle(self) -> None:
        """
        An idle reactor wakes up for its timers, not before they are due.
        """
        with self.host("time.idle") as host:
            host.await_("soon")
            self.assertFalse(host.await_("late")["early"])

    def test_many(self) -> None:
        """
        While connections are busy, each of many timers fires once, none early, all in
        the order in which they are due; also those that were postponed or moved
        forward. Cancelled ones do not fire.
        """
        with self.randomness() as source:
            seed = source.getrandbits(32)
            with self.host("time.many", seed=seed) as host:
                keepBusy(host, "finished", 1)
            (end,) = host.told("finished")
            self.assertGreater(end["cancelled"], 0)
            self.assertEqual(
                end,
                {
                    "event": "finished",
                    "fired": TIMERS - end["cancelled"],
                    "twice": 0,
                    "cancelled": end["cancelled"],
                    "firedAndCancelled": 0,
                    "early": [],
                    "inOrder": True,
                },
            )

    def test_chain(self) -> None:
        """
        Calls that are always due do not delay connections, and busy connections do not
        delay calls.
        """
        with self.host("time.chain") as host:
            keepBusy(host, "turned", 3)
            # A new client, too.
            converse([Peer(host.connect(), [b"hello"], b"hello")])
