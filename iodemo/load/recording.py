# -*- test-case-name: tests.test_load -*-
"""
Latencies, from nanoseconds as measured to the percentiles of a round.

A latency is counted, not kept: by its highest 11 bits, as an HDR histogram with three
significant digits does. So a recording takes 264 KiB, however long it goes on, and
those of several processes are added up number by number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from iodemo.results.schema import Latency

#: This many bits of a value count: the rest is less than a thousandth of it.
BITS = 11

#: What takes an hour or longer took an hour.
HIGHEST_NS = 3600 * 10**9


class Recording:
    """
    How often which latency was seen.

    The counter of a value of up to L{BITS} bits is the one of that number. That of a
    longer one, which is C{kept * 2**shift} and something, is C{kept + shift * 2**10}.

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
        # Exact: they have fewer bits than a float has for them.
        lengths = numpy.frexp(values.astype(numpy.float64))[1].astype(numpy.int64)
        shifts = (lengths - BITS).clip(0)
        indices = (values >> shifts) + (shifts << (BITS - 1))
        self.counters += numpy.bincount(indices, minlength=self.counters.size)

    @property
    def count(self) -> int:
        """How many latencies were recorded."""
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
