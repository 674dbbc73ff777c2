# -*- test-case-name: tests.test_report -*-
"""
The lines of a figure: one for each backend, over what a scenario varies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from iodemo.report import select, style
from iodemo.report.figures.chart import LEAST, noiseBand, spanOf
from iodemo.report.layout import Span
from iodemo.report.plots import Band, Series, positionWidth
from iodemo.report.select import Place
from iodemo.results import quantities
from iodemo.results.quantities import count
from iodemo.results.schema import Cell, Results

Varied = Literal["idle", "active", "connections", "rate", "share"]
NOUNS: dict[Varied, str] = {
    "idle": "idle",
    "active": "busy",
    "connections": "pipes",
    "rate": "a second",
    "share": "of its own",
}


def positions(values: Sequence[float]) -> dict[float, float]:
    """
    Where each value goes on a logarithmic axis that has a place for zero.
    """
    first = min((value for value in values if value), default=1)
    return {
        value: math.log10(value) if value else math.log10(first) - 1
        for value in sorted(set(values))
    }


def curves(
    results: Results,
    cells: Sequence[Cell],
    varied: Varied,
    along: dict[float, float],
    metric: str = "throughput",
    scale: float = 1.0,
) -> list[Series]:
    """
    A line of C{metric}, in units of C{scale}, for each backend that has values of it.
    """
    looks = style.looks(select.names(results))
    found = []
    for name in select.names(results):
        its = [cell for cell in cells if cell["backend"] == name]
        one = _curve(name, looks[name], its, varied, along, metric, scale)
        if one.spans:
            found.append(one)
    return found


def unexplained(one: Series) -> Series:
    """
    The same where its name is enough at its end: another panel has the reason.
    """
    return replace(one, ending=one.name if one.ending else None, stopped=None)


def _curve(
    backend: str,
    look: style.Look,
    cells: Sequence[Cell],
    varied: Varied,
    along: dict[float, float],
    metric: str,
    scale: float,
) -> Series:
    spans: dict[float, Span] = {}
    bounds = set()
    ending: str | None = None
    stopped: float | None = None
    for cell in cells:
        place = Place.of(cell)
        at = along[getattr(place.point, varied)]
        if select.has(cell, [metric]):
            low, median, high = (
                max(each / scale, LEAST) for each in spanOf(cell, metric)
            )
            spans[at] = (low, median, high)
            if cell["load_limited"] and metric == "throughput":
                bounds.add(at)
            ending = stopped = None
        elif ending is None:
            value = getattr(place.point, varied)
            there = quantities.percent(value) if varied == "share" else count(value)
            ending = f"{backend}: {cell['status']} at {there} {NOUNS[varied]}"
            stopped = at if cell["status"] == "failed" else None
    if spans and max(spans) < max(along.values()) and ending is None:
        ending = backend
    return Series(backend, look, spans, frozenset(bounds), ending, stopped)


def noiseAlong(
    results: Results,
    cells: Sequence[Cell],
    varied: Varied,
    along: dict[float, float],
    metric: str = "throughput",
    scale: float = 1.0,
) -> Band:
    """
    What is no difference from the baseline's line.
    """
    found = {}
    for cell in cells:
        noise = noiseBand(results, cell, metric)
        if noise is not None:
            at = along[getattr(cell["parameters"], varied)]
            found[at] = (noise[0] / scale, noise[1] / scale)
    return found


def bandsSaid(
    results: Results, series: Sequence[Series], along: dict[float, float]
) -> str:
    """
    What is around the values, in words.
    """
    marks = "bands are"
    if positionWidth(series, along.values()):
        marks = "backends stand side by side, and the whiskers are"
    return f"the {marks} the {select.intervalName(results)} over rounds."


def linesSaid(series: Sequence[Series], say: Callable[[float, float], str]) -> str:
    """
    What lines show, in words.

    @param say: says the value at a position, given both.
    """
    return " ".join(
        f"{one.name}: "
        + ", ".join(say(at, median) for at, (_, median, _) in one.spans.items())
        + "."
        for one in series
    )


def axisOf(place: Place, kind: str) -> str:
    """
    What there are more and more of.
    """
    if place.kind == "chat":
        return "members"
    return "connections at a time" if place.point.churn else f"{kind} connections"
