# -*- test-case-name: tests.test_claims -*-
"""
A claim and its decisions, in the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from iodemo.report import select
from iodemo.report.select import MISSING, Place
from iodemo.results.claims import Claim, Decision, overall
from iodemo.results.schema import Results

_STYLES = {"held": "green", "refuted": "red", "undecided": "yellow"}


class ClaimTable:
    """
    A claim, its decision at each point, and the decision of all points together.
    """

    def __init__(
        self, claim: Claim, decisions: Sequence[Decision], results: Results
    ) -> None:
        self._claim = claim
        self._decisions = decisions
        self._results = results

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        yield Text(f"required: {self._claim.text}", "bold")
        places = [Place.of(each.place) for each in self._decisions]
        where = [f"{place.scenario}: {place.short()}" for place in places]
        widest = max(map(len, where))
        for each, place in zip(self._decisions, where, strict=True):
            yield Text.assemble(
                (f"{each.answer:<9}  ", _STYLES[each.answer]),
                f"{place:<{widest}}  {_ratio(each)}",
            )
            if each.reason is not None:
                yield Padding(Text(each.reason, "yellow"), (0, 0, 0, 11))
        answer = overall(self._decisions)
        those = [each for each in self._decisions if each.answer == answer]
        yield Text(
            f"{answer} at {len(those)} of {len(where)} points, decided on the "
            f"{select.intervalName(self._results)} of {self._claim.metric}",
            _STYLES[answer],
        )
        if answer == "undecided" and any(each.reason is None for each in those):
            yield Text("More rounds (--rounds) narrow an interval.")
        yield Text()


def _ratio(decision: Decision) -> str:
    if decision.ratio is None or decision.interval is None:
        return MISSING
    # Closer than elsewhere: what is decided lies near a bound.
    low, high = decision.interval
    upper = "more" if math.isinf(high) else f"{high:.4g}"
    return f"×{decision.ratio:.4g} ({low:.4g} to {upper})"  # noqa: RUF001
