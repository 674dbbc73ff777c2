# -*- test-case-name: tests.test_load -*-
"""
The schedule of an open loop: when each request is due. It does not depend on whether
earlier requests were answered.
"""

from __future__ import annotations

import random

from iodemo.results.schema import Arrivals

_SECOND = 10**9

#: The due time after the last request: later than any clock reading.
NEVER = 1 << 62


class Schedule:
    """
    The due times of requests, one after the other, until L{end}.

    @ivar due: when the first unsent request is due, in nanoseconds; L{NEVER} after the
        last.
    """

    def __init__(self, rate: float, arrivals: Arrivals, begin: int) -> None:
        """
        @param rate: requests due per second.
        @param begin: when the first is due, in nanoseconds.
        """
        self.due = begin
        self._exact = float(begin)
        self._last = NEVER
        self._gap = _SECOND / rate
        self._constant = arrivals == "constant"

    def advance(self) -> int:
        """
        Go on to the next request, since the first unsent one is now sent.

        @return: when the next is due.
        """
        gap = self._gap
        self._exact += gap if self._constant else random.expovariate(1 / gap)
        self.due = int(self._exact) if self._exact <= self._last else NEVER
        return self.due

    def end(self, last: int) -> None:
        """
        Make no request due after this time, in nanoseconds.
        """
        self._last = last
        if self.due > last:
            self.due = NEVER

    def overdue(self, now: int) -> int:
        """
        The number of requests due by now and not sent; with random distances, its
        expected value.
        """
        now = min(now, self._last)
        return 0 if now < self.due else 1 + int((now - self._exact) / self._gap)
