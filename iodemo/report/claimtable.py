# -*- test-case-name: tests.test_claims -*-
"""
Claims and their decisions, in the terminal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from iodemo.report import select
from iodemo.report.select import MISSING, Place
from iodemo.results.claims import Answer, Claim, Decision, decide, overall
from iodemo.results.schema import Results

_STYLES = {"held": "green", "refuted": "red", "undecided": "yellow"}


class ClaimTable:
    """
    One or several claims, the decision at each point, and that of all points together.
    """

    def __init__(self, text: str, claims: Sequence[Claim], results: Results) -> None:
        """
        @param text: what the claims state together.
        """
        self._text = text
        self._claims = claims
        self._results = results
        self._decided = [
            (claim, each) for claim in claims for each in decide(claim, results)
        ]

    @property
    def answer(self) -> Answer:
        """
        The decision of all points together.
        """
        return overall(each for _, each in self._decided)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        yield Text(self._text, "bold")
        table = Table.grid(padding=(0, 2, 0, 0))
        for claim, each in self._decided:
            where = Text(f"{_where(claim, each)}: {claim.claimed}")
            if each.reason is not None:
                where.append(f"\n{each.reason}", "yellow")
            decided = Text(each.answer, _STYLES[each.answer])
            table.add_row(decided, _value(claim, each), where)
        yield table
        answer = self.answer
        those = [each for _, each in self._decided if each.answer == answer]
        metrics = ", ".join(dict.fromkeys(claim.metric for claim in self._claims))
        yield Text(
            f"{answer} at {len(those)} of {len(self._decided)} points, decided on the "
            f"{select.intervalName(self._results)} of {metrics}",
            _STYLES[answer],
        )
        if answer == "undecided" and any(each.reason is None for each in those):
            yield Text("More rounds (--rounds) narrow an interval.")
        yield Text()


def _where(claim: Claim, decision: Decision) -> str:
    place = Place.of(decision.place)
    where = f"{place.scenario}: {place.shortLabel()}"
    return where if claim.metric == "throughput" else f"{where}, {claim.metric}"


def _value(claim: Claim, decision: Decision) -> str:
    if decision.value is None or decision.interval is None:
        return MISSING
    # Closer than elsewhere: what is decided lies near a bound.
    low, high = decision.interval
    upper = "more" if math.isinf(high) else f"{high:.4g}"
    times = "" if claim.baseline is None else "×"  # noqa: RUF001
    return f"{times}{decision.value:.4g} ({low:.4g} to {upper})"
