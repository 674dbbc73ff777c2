# -*- test-case-name: tests.test_load -*-
"""
When requests are due, in an open loop: whatever becomes of those before them.
"""

from __future__ import annotations

import random
from typing import Literal, get_args

_SECOND = 10**9

#: When nothing is due any more: later than any clock will be.
NEVER = 1 << 62

#: How requests are spread: at equal distances, or as a Poisson process has them, where
#: each comes without regard to the others.
Arrivals = Literal["constant", "poisson"]
ARRIVALS: tuple[Arrivals, ...] = get_args(Arrivals)


class Schedule:
    """
    Requests due one after the other, until it is ended.

    @ivar due: when the first is due that was not sent yet, in nanoseconds; L{NEVER} if
        there is none.
    """

    def __init__(self, rate: float, arrivals: Arrivals, begin: int) -> None:
        """
        @param rate: how many are due a second.
        @param begin: when the first is due.
        """
        self.due = begin
        self._exact = float(begin)
        self._last = NEVER
        self._gap = _SECOND / rate
        self._constant = arrivals == "constant"

    def advance(self) -> int:
        """
        The first was sent.

        @return: when the next is due.
        """
        gap = self._gap
        self._exact += gap if self._constant else random.expovariate(1 / gap)
        self.due = int(self._exact) if self._exact <= self._last else NEVER
        return self.due

    def end(self, last: int) -> None:
        """
        Have nothing be due later than that.
        """
        self._last = last
        if self.due > last:
            self.due = NEVER

    def overdue(self, now: int) -> int:
        """
        How many are due by now and were not sent; where chance decides, as many as
        are to be expected.
        """
        now = min(now, self._last)
        return 0 if now < self.due else 1 + int((now - self._exact) / self._gap)
