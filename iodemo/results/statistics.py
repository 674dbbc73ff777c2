# -*- test-case-name: tests.test_statistics -*-
"""
From rounds to medians, ratios and intervals.

The unit of replication is a round: a fresh server process, with its own hash seed and
memory layout (Kalibera and Jones, ISMM 2013). A cell is summed up by the median of its
rounds, two cells are compared by the ratio of their medians, and both come with a 95 %
bootstrap interval.

The intervals of the plain percentile bootstrap are too narrow where rounds are few,
since a small sample has less spread than its population. If one of two equal servers is
ten times as noisy as the other, it calls them different in 6 to 11 of 100 comparisons
of five to fifteen rounds. Hesterberg's expanded percentile interval (The American
Statistician 69(4), 2015, section 5.3) widens the tails to those of Student's t: then it
is 2 to 5 of 100, and 1 or 2 if both are equally noisy. (An exact interval from the rank
sum test is as good as the plain bootstrap if both are equally noisy, and as bad if they
are not.) The price is that a small difference takes more rounds to show.

With three rounds the interval is the whole range of the resamples: two backends then
differ only if every round of one beats every round of the other, which happens by
chance in 2 of 20 arrangements. Below L{ROUNDS_FOR_95} rounds an interval therefore
covers less than 95 %: the range of three holds the true median three times in four.

An interval misses a bias that all rounds of one backend share. So the baseline is
measured a second time among the others. Its difference from itself gives a L{band}: a
ratio within that is not called a difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy
from numpy.typing import NDArray

from iodemo.results.metrics import METRICS
from iodemo.results.schema import Interval, Round, Verdict

#: How many resamples an interval is drawn from.
RESAMPLES = 4000

#: Below this many rounds nothing is called different: of two rounds on each side, both
#: of one side exceed both of the other by chance in one case of three.
FEWEST_ROUNDS = 3

#: From this many rounds on an interval covers 95 %.
ROUNDS_FOR_95 = 5

#: A difference smaller than this is not called one, however narrow the
#: intervals: a server's address and hash seed alone move it by as much.
SMALLEST_DIFFERENCE = 0.03

#: Rounds with a larger coefficient of variation are unstable: pyperf warns from there
#: on (pyperf.readthedocs.io, "Analyze benchmark results").
VARIATION_ALLOWED = 0.10

# No machine gives a number beyond this, but a file from outside may hold one.
_LARGEST = 1e15

# Student's t, 97.5 %, for 1 to 30 degrees of freedom.
_T = [
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
]


def valuesOf(rounds: Sequence[Round]) -> dict[str, list[float]]:
    """
    The values of each metric over rounds, by its key. A metric that one of the rounds
    lacks is left out.
    """
    columns = {}
    for metric in METRICS:
        values = [metric.value(each) for each in rounds]
        known = [value for value in values if value is not None]
        if known and (len(known) == len(rounds) or not metric.always):
            columns[metric.key] = known
    return columns


def interval(values: Sequence[float]) -> Interval:
    """
    The median of C{values}, and its 95 % interval.
    """
    low, high = _tails(_medians(values, _generator()), len(values))
    return {"median": float(numpy.median(values)), "low": low, "high": high}


def ratio(
    values: Sequence[float], baseline: Sequence[float]
) -> tuple[float, float, float] | None:
    """
    The ratio of two medians, and its 95 % interval.

    @return: ratio, low, high; C{None} if a value of the baseline is zero, or almost.
    """
    if min(baseline) < 1 / _LARGEST or max(*values, *baseline) > _LARGEST:
        return None
    generator = _generator()
    ratios = _medians(values, generator) / _medians(baseline, generator)
    low, high = _tails(ratios, min(len(values), len(baseline)))
    return float(numpy.median(values) / numpy.median(baseline)), low, high


def variation(values: Sequence[float]) -> float:
    """
    The coefficient of variation: the standard deviation as a fraction of the mean.
    """
    if len(values) < 2 or max(values) > _LARGEST or not any(values):
        return 0.0
    return float(numpy.std(values, ddof=1) / numpy.mean(values))


def band(low: float, high: float) -> float:
    """
    The noise band, given the interval of the ratio of a backend to itself.

    @return: a factor of at least 1. A ratio that is below it and above its inverse is
        no difference. Which of the two measurements is the first is chance, so the
        factor does not depend on it.
    """
    return max(high, 1 / low if low else math.inf)


def verdict(
    ratioLowHigh: tuple[float, float, float],
    rounds: int,
    moreIsBetter: bool,
    noise: float = 1.0,
) -> Verdict:
    """
    Whether a backend differs from the baseline.

    @param rounds: of the two, the number of the one that has fewer.
    @param noise: the L{band} within which there is no difference.
    """
    middle, low, high = ratioLowHigh
    noise = max(noise, 1 + SMALLEST_DIFFERENCE)
    if rounds < FEWEST_ROUNDS or low <= 1 <= high or 1 / noise <= middle <= noise:
        return "indistinguishable"
    return "faster" if (middle > 1) == moreIsBetter else "slower"


def _generator() -> numpy.random.Generator:
    # The same rounds give the same interval, every time they are looked at.
    return numpy.random.default_rng(1999)


def _medians(
    values: Sequence[float], generator: numpy.random.Generator
) -> NDArray[numpy.float64]:
    sample = numpy.asarray(values, dtype=numpy.float64)
    drawn = generator.integers(len(sample), size=(RESAMPLES, len(sample)))
    return numpy.asarray(numpy.median(sample[drawn], axis=1))


def _tails(resamples: NDArray[numpy.float64], size: int) -> tuple[float, float]:
    if size < 2:
        return float(resamples.min()), float(resamples.max())
    t = _T[size - 2] if size - 2 < len(_T) else 1.96 + 2.4 / (size - 1)
    tail = NormalDist().cdf(-math.sqrt(size / (size - 1)) * t)
    low, high = numpy.quantile(resamples, [tail, 1 - tail])
    return float(low), float(high)
