"""
Tests for timers, with nothing else to do and with a lot.
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
        A reactor with nothing else to do wakes up for its timers, not before
        they are due.
        """
        with self.host("time.idle") as host:
            host.await_("soon")
            self.assertFalse(host.await_("late")["early"])

    def test_many(self) -> None:
        """
        Of many timers, while connections are busy, each fires once, none early
        and all in the order in which they are due; also those that were put off
        or brought forward. Those that were cancelled do not.
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
        Calls that are always due keep no connection from being made and served,
        nor do busy connections keep calls from being made.
        """
        with self.host("time.chain") as host:
            keepBusy(host, "turned", 3)
            # And somebody new.
            converse([Peer(host.connect(), [b"hello"], b"hello")])
