# -*- test-case-name: tests.test_load -*-
"""
A histogram of latencies, from measured nanoseconds to the percentiles of a round.

Single latencies are not kept. Each increments a counter that its highest 11 bits
select, as in an HDR histogram with three significant digits. So a recording takes
264 KiB, however many latencies it counts, and the recordings of several processes are
added counter by counter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from iodemo.results.schema import Latency

#: The highest bits of a latency that select its counter: the rest is less than a
#: thousandth of it.
BITS = 11

#: A longer latency counts as one hour.
HIGHEST_NS = 3600 * 10**9


class Recording:
    """
    Counts of latencies.

    The index of a value's counter: of up to L{BITS} bits, the value itself; of more,
    C{highest + shift * 2**10}, where C{highest} is its L{BITS} highest bits and
    C{shift} the number of bits below them.

    @ivar counters: the counts, 64 bits each.
    """

    def __init__(self) -> None:
        shifts = HIGHEST_NS.bit_length() - BITS
        size = (1 << BITS) + (shifts << (BITS - 1))
        self.counters: NDArray[numpy.int64] = numpy.zeros(size, dtype=numpy.int64)

    def add(self, latencies: Sequence[int]) -> None:
        """
        Record latencies.

        @param latencies: nanoseconds.
        """
        values = numpy.asarray(latencies, dtype=numpy.int64).clip(0, HIGHEST_NS)
        # Exact: a value has fewer bits than the mantissa of a float.
        lengths = numpy.frexp(values.astype(numpy.float64))[1].astype(numpy.int64)
        shifts = (lengths - BITS).clip(0)
        indices = (values >> shifts) + (shifts << (BITS - 1))
        self.counters += numpy.bincount(indices, minlength=self.counters.size)

    @property
    def count(self) -> int:
        """The number of latencies recorded."""
        return int(self.counters.sum())

    def percentile(self, percent: float) -> float:
        """
        @return: the latency that C{percent} of requests did not exceed, in
            microseconds; the largest for 100.
        """
        seen = numpy.cumsum(self.counters)
        index = int(numpy.searchsorted(seen, max(seen[-1] * percent / 100, 1)))
        shift = max(0, (index >> (BITS - 1)) - 1)
        return float((((index - (shift << (BITS - 1))) + 1) << shift) - 1) / 1000

    def latency(self) -> Latency:
        """
        The percentiles of a round.
        """
        return {
            "p50": self.percentile(50),
            "p90": self.percentile(90),
            "p99": self.percentile(99),
            "p99.9": self.percentile(99.9),
            "max": self.percentile(100),
        }
