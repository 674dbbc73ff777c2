# -*- test-case-name: tests.test_load -*-
"""
Latencies, from nanoseconds as measured to the percentiles of a round.
"""

from __future__ import annotations

import numpy
from hdrh.histogram import HdrHistogram

_DIGITS = 3
_HIGHEST_NS = 3600 * 10**9
# A histogram keeps this many bits of a value, which is what three digits need.
_BITS = 11


class Recording:
    """
    An HDR histogram of latencies: three significant digits, up to an hour.
    """

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _HIGHEST_NS, _DIGITS)

    def add(self, latencies: list[int]) -> None:
        """
        Record latencies.

        Recording one value costs most of a microsecond in Python, as much as a
        system call. So the driver collects, and this groups equal values first:
        those that differ only below the histogram's resolution are equal.

        @param latencies: nanoseconds.
        """
        values = numpy.asarray(latencies, dtype=numpy.int64).clip(1, _HIGHEST_NS)
        exponents = numpy.frexp(values.astype(numpy.float64))[1]
        shifts = numpy.maximum(exponents - _BITS, 0).astype(numpy.int64)
        grouped, counts = numpy.unique((values >> shifts) << shifts, return_counts=True)
        for value, count in zip(grouped.tolist(), counts.tolist(), strict=True):
            self._histogram.record_value(value, count)

    @property
    def count(self) -> int:
        """How many latencies were recorded."""
        return int(self._histogram.get_total_count())

    def percentile(self, percent: float) -> float:
        """
        @return: the latency that C{percent} of requests did not exceed, in
            microseconds; the largest for 100.
        """
        return float(self._histogram.get_value_at_percentile(percent)) / 1000
