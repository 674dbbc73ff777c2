"""
Tests for L{iodemo.results.statistics}.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
from twisted.trial.unittest import SynchronousTestCase

from iodemo.results import statistics
from iodemo.results.metrics import BY_KEY
from iodemo.results.schema import Round
from tests.results_examples import okCell, parameters


class IntervalTests(SynchronousTestCase):
    """
    Tests for L{statistics.interval} and L{statistics.ratio}.
    """

    def test_median(self) -> None:
        """
        The middle of the interval is the median.
        """
        found = statistics.interval([5.0, 1.0, 3.0, 2.0, 4.0])
        self.assertEqual(found["median"], 3.0)
        self.assertLess(found["low"], 3.0)
        self.assertGreater(found["high"], 3.0)

    def test_one(self) -> None:
        """
        The interval of one round has no width.
        """
        self.assertEqual(
            statistics.interval([7.0]), {"median": 7.0, "low": 7.0, "high": 7.0}
        )

    def test_threeIsTheWholeRange(self) -> None:
        """
        The interval of three rounds is their range.
        """
        found = statistics.interval([10.0, 30.0, 20.0])
        self.assertEqual((found["low"], found["high"]), (10.0, 30.0))

    def test_narrowerWithMore(self) -> None:
        """
        More rounds with the same spread give a narrower interval.
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
        If the other value is 0, there is no ratio.
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
        There is no difference if the interval contains 1, if there are too few rounds,
        or if the ratio is almost 1.
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

    def test_noise(self) -> None:
        """
        A ratio within the noise is no difference, on either side of 1.
        """
        for ratio, noise, expected in (
            ((1.2, 1.1, 1.3), 1.25, "indistinguishable"),
            ((1.2, 1.1, 1.3), 1.15, "faster"),
            ((0.85, 0.8, 0.9), 1.25, "indistinguishable"),
            ((0.85, 0.8, 0.9), 1.15, "slower"),
            ((1.02, 1.01, 1.03), 1.0, "indistinguishable"),
            ((9.0, 8.0, 10.0), math.inf, "indistinguishable"),
        ):
            self.assertEqual(statistics.verdict(ratio, 9, True, noise), expected)

    def test_band(self) -> None:
        """
        The band is as wide as the interval on its wider side.
        """
        self.assertEqual(statistics.band(0.8, 1.1), 1.25)
        self.assertEqual(statistics.band(0.95, 1.1), 1.1)
        self.assertEqual(statistics.band(0.0, 1.1), math.inf)


#: A function that returns the rounds of a server, as factors of a common value, given
#: their number.
Drawn = Callable[[numpy.random.Generator, int], list[float]]


def steady(generator: numpy.random.Generator, size: int) -> list[float]:
    """Noise of 5 %."""
    return list(100 * numpy.exp(0.05 * generator.normal(size=size)))


def skewed(generator: numpy.random.Generator, size: int) -> list[float]:
    """Noise that only makes a server slower."""
    return list(100 * numpy.exp(-0.1 * generator.exponential(size=size)))


def twofold(generator: numpy.random.Generator, size: int) -> list[float]:
    """The noise of a machine that is slower by a quarter in one of three rounds."""
    slow = numpy.where(generator.random(size) < 1 / 3, 0.75, 1.0)
    return list(100 * slow * numpy.exp(0.02 * generator.normal(size=size)))


class FalseAlarmTests(SynchronousTestCase):
    """
    Tests for the frequency of wrong verdicts, on rounds with artificial noise.
    """

    TRIALS = 200

    def called(
        self, drawn: Drawn, rounds: int, ratio: float = 1.0, controlled: bool = True
    ) -> float:
        """
        The fraction of comparisons that find a difference, between a server and another
        that is C{ratio} times slower.
        """
        generator = numpy.random.default_rng(7)
        called = 0
        for _ in range(self.TRIALS):
            base, control, other = (drawn(generator, rounds) for _ in range(3))
            found = statistics.ratio([ratio * each for each in other], base)
            itself = statistics.ratio(control, base)
            assert found is not None and itself is not None
            noise = statistics.band(*itself[1:]) if controlled else 1.0
            said = statistics.verdict(found, rounds, True, noise)
            called += said != "indistinguishable"
        return called / self.TRIALS

    def test_interval(self) -> None:
        """
        By the interval alone, equal servers are found to differ one time in eight with
        three rounds, and one in twenty with five or more.
        """
        for drawn in (steady, skewed, twofold):
            for rounds, allowed in ((3, 0.125), (5, 0.05), (10, 0.05)):
                called = self.called(drawn, rounds, controlled=False)
                self.assertLess(called, allowed, (drawn, rounds))

    def test_controlled(self) -> None:
        """
        With a control, that is less than one in twenty already with three rounds.
        """
        for drawn in (steady, skewed, twofold):
            for rounds in (3, 5, 10):
                self.assertLess(self.called(drawn, rounds), 0.05, (drawn, rounds))

    def test_differences(self) -> None:
        """
        A server that is faster by half is found to be faster nearly every time.
        """
        for rounds in (3, 5, 10):
            self.assertGreater(self.called(steady, rounds, 1.5), 0.95, rounds)


class SpreadTests(SynchronousTestCase):
    """
    Tests for L{statistics.variation}.
    """

    def test_fraction(self) -> None:
        """
        The spread is the standard deviation divided by the mean, whatever the unit.
        """
        self.assertAlmostEqual(statistics.variation([90.0, 100.0, 110.0]), 0.1)
        self.assertAlmostEqual(statistics.variation([9.0, 10.0, 11.0]), 0.1)

    def test_none(self) -> None:
        """
        One round has no spread, and neither have the rounds of a server that did
        nothing.
        """
        for values in ([5.0], [0.0, 0.0], [1e308, 1e308]):
            self.assertEqual(statistics.variation(values), 0.0)


def exampleRound() -> Round:
    """A round with the values of a real server."""
    return okCell("idle", "epoll", parameters(10), 50_000)["rounds"][0]


class MetricsTests(SynchronousTestCase):
    """
    Tests for L{statistics.valuesOf}.
    """

    def test_perRequest(self) -> None:
        """
        Totals of a window become amounts per request.
        """
        one = exampleRound()
        found = statistics.valuesOf([one, one])
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

    def test_all(self) -> None:
        """
        A round with all keys, including those of a multiplexer and of chat, has all
        metrics, and no other.
        """
        one = exampleRound()
        one["latency_last_us"] = one["latency_us"]
        one["us_per_call"] = 1.0
        one["latency_uncorrected_us"] = one["latency_us"]
        one["backlog"] = 3
        one["rate"] = 500.0
        one["server_bytes_per_connection"] = 5000.0
        one["kernel_bytes_per_connection"] = 4000.0
        one["syscalls_per_request"] = 3.5
        one["involuntary_switches"] = 7
        one["page_faults"] = 9
        self.assertEqual(list(statistics.valuesOf([one])), list(BY_KEY))

    def test_nothingServed(self) -> None:
        """
        Without a request, there is no amount per request.
        """
        one = exampleRound()
        one["requests"] = 0
        self.assertNotIn("context_switches_per_request", statistics.valuesOf([one]))

    def test_waiting(self) -> None:
        """
        The time of a window that is not CPU time is waiting. On two cores, CPU time may
        exceed the window, and waiting is then less than 0.
        """
        one, other, unknown = exampleRound(), exampleRound(), exampleRound()
        one["throughput"], one["server_cpu_us_per_request"] = 10_000, 60.0
        other["throughput"], other["server_cpu_us_per_request"] = 10_000, 160.0
        found = statistics.valuesOf([one, other])
        self.assertEqual(found["server_waiting_fraction"], [0.4, 0.0])
        unknown["server_cpu_us_per_request"] = None
        self.assertNotIn("server_waiting_fraction", statistics.valuesOf([unknown]))

    def test_countedOnce(self) -> None:
        """
        System calls are counted in a single round; the metric exists with that.
        """
        one, other = exampleRound(), exampleRound()
        self.assertNotIn("syscalls_per_request", statistics.valuesOf([one, other]))
        other["syscalls_per_request"] = 3.5
        found = statistics.valuesOf([one, other])
        self.assertEqual(found["syscalls_per_request"], [3.5])

    def test_missing(self) -> None:
        """
        A metric that one round lacks is not calculated from the others.
        """
        one, other = exampleRound(), exampleRound()
        other["server_rss_kib"] = None
        self.assertNotIn("server_rss_kib", statistics.valuesOf([one, other]))
        self.assertIn("throughput", statistics.valuesOf([one, other]))
