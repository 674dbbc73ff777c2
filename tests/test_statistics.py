"""
Tests for L{iodemo.lab.statistics}.
"""

from __future__ import annotations

import numpy
from twisted.trial.unittest import SynchronousTestCase

from iodemo.lab import statistics
from iodemo.load.round import Round
from tests.results_examples import okCell, parameters


class IntervalTests(SynchronousTestCase):
    """
    Tests for L{statistics.interval} and L{statistics.ratio}.
    """

    def test_median(self) -> None:
        """
        The middle is the median, and lies in the interval.
        """
        found = statistics.interval([5.0, 1.0, 3.0, 2.0, 4.0])
        self.assertEqual(found["median"], 3.0)
        self.assertLess(found["low"], 3.0)
        self.assertGreater(found["high"], 3.0)

    def test_one(self) -> None:
        """
        One round has no spread.
        """
        self.assertEqual(
            statistics.interval([7.0]), {"median": 7.0, "low": 7.0, "high": 7.0}
        )

    def test_threeIsTheWholeRange(self) -> None:
        """
        With three rounds the interval is all they span.
        """
        found = statistics.interval([10.0, 30.0, 20.0])
        self.assertEqual((found["low"], found["high"]), (10.0, 30.0))

    def test_narrowerWithMore(self) -> None:
        """
        More rounds of the same spread say more.
        """
        generator = numpy.random.default_rng(1)
        few, many = (
            statistics.interval(list(generator.normal(100, 5, size)))
            for size in (5, 100)
        )
        self.assertLess(many["high"] - many["low"], few["high"] - few["low"])

    def test_repeatable(self) -> None:
        """
        The same rounds give the same interval.
        """
        values = [3.0, 1.0, 4.0, 1.5, 5.0]
        self.assertEqual(statistics.interval(values), statistics.interval(values))

    def test_ratio(self) -> None:
        """
        A ratio of medians lies between the extremes of its parts.
        """
        found = statistics.ratio([20.0, 22.0, 21.0], [10.0, 11.0, 10.5])
        assert found is not None
        self.assertEqual(found[0], 2.0)
        self.assertEqual(found[1:], (20.0 / 11.0, 22.0 / 10.0))

    def test_nothingToCompareWith(self) -> None:
        """
        There is no ratio to nothing.
        """
        self.assertIsNone(statistics.ratio([1.0], [0.0]))


class VerdictTests(SynchronousTestCase):
    """
    Tests for L{statistics.verdict}.
    """

    def test_directions(self) -> None:
        """
        More throughput is faster, more latency is slower.
        """
        twice, half = (2.0, 1.9, 2.1), (0.5, 0.4, 0.6)
        self.assertEqual(statistics.verdict(twice, 3, moreIsBetter=True), "faster")
        self.assertEqual(statistics.verdict(half, 3, moreIsBetter=True), "slower")
        self.assertEqual(statistics.verdict(twice, 3, moreIsBetter=False), "slower")
        self.assertEqual(statistics.verdict(half, 3, moreIsBetter=False), "faster")

    def test_indistinguishable(self) -> None:
        """
        An interval with 1 in it, too few rounds, or next to no difference: no
        difference is called.
        """
        for ratio, rounds in (
            ((1.2, 0.9, 1.5), 9),
            ((2.0, 1.9, 2.1), 2),
            ((1.02, 1.01, 1.03), 9),
        ):
            self.assertEqual(
                statistics.verdict(ratio, rounds, moreIsBetter=True),
                "indistinguishable",
            )

    def test_falseAlarms(self) -> None:
        """
        Rounds of one and the same server, with a noise of 5 %, are rarely called
        different: one time in ten with three rounds, one in twenty with five.
        """
        generator = numpy.random.default_rng(7)
        for rounds, alarmsAllowed in ((3, 0.10), (5, 0.05), (9, 0.05)):
            alarms = 0
            for _ in range(400):
                one, other = (list(generator.normal(100, 5, rounds)) for _ in range(2))
                ratio = statistics.ratio(one, other)
                assert ratio is not None
                alarms += statistics.verdict(ratio, rounds, True) != "indistinguishable"
            self.assertLess(alarms / 400, alarmsAllowed, rounds)


def exampleRound() -> Round:
    """A round as a server would have it."""
    return okCell("idle", "epoll", parameters(10), 50_000)["rounds"][0]


class MetricsTests(SynchronousTestCase):
    """
    Tests for L{statistics.metrics}.
    """

    def test_perRequest(self) -> None:
        """
        Totals of a window become amounts a request.
        """
        one = exampleRound()
        found = statistics.metrics([one, one])
        self.assertEqual(found["throughput"], [one["throughput"]] * 2)
        self.assertEqual(found["latency_us.p99.9"], [one["latency_us"]["p99.9"]] * 2)
        user, system = one["server_user_s"], one["server_system_s"]
        assert user is not None and system is not None
        self.assertAlmostEqual(
            found["server_user_us_per_request"][0], user * 1e6 / one["requests"]
        )
        self.assertAlmostEqual(
            found["server_user_us_per_request"][0]
            + found["server_system_us_per_request"][0],
            (user + system) * 1e6 / one["requests"],
        )

    def test_missing(self) -> None:
        """
        A metric that one round lacks is not summed up from the others.
        """
        one, other = exampleRound(), exampleRound()
        other["server_rss_kib"] = None
        self.assertNotIn("server_rss_kib", statistics.metrics([one, other]))
        self.assertIn("throughput", statistics.metrics([one, other]))
