# -*- test-case-name: tests.test_report -*-
"""
The lines of a figure: one for each backend, over what a scenario varies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from iodemo.report import select, style
from iodemo.report.figures.chart import LEAST, noiseBand, spanOf
from iodemo.report.layout import Span
from iodemo.report.plots import Band, Panel, Series, positionWidth
from iodemo.report.select import Place
from iodemo.results.metrics import TIME, isLowerBound, scaleOf
from iodemo.results.schema import Cell, Results

#: The metrics of the charts of response time.
RESPONSE = ("latency_us.p99", "latency_us.p50")

#: Where each value of a parameter goes on an axis.
Along = dict[Any, float]


def positions(values: Sequence[Any]) -> Along:
    """
    The position of each value on an axis. Numbers are on a logarithmic axis, where zero
    is one decade before the first of the others. Words are in a row, at equal
    distances.
    """
    if any(isinstance(value, str) for value in values):
        return {value: float(at) for at, value in enumerate(dict.fromkeys(values))}
    first = min((value for value in values if value), default=1)
    return {
        value: math.log10(value) if value else math.log10(first) - 1
        for value in sorted(set(values))
    }


def curves(
    results: Results,
    cells: Sequence[Cell],
    varied: str,
    along: Along,
    metric: str = "throughput",
    scale: float | None = None,
) -> list[Series]:
    """
    A line of C{metric} for each backend that has values of it.

    @param scale: how many of the metric's units are one of the axis, if not L{scaleOf}.
    """
    looks = style.looks(select.names(results))
    scale = scaleOf(metric) if scale is None else scale
    found = []
    for name in select.names(results):
        its = [cell for cell in cells if cell["backend"] == name]
        one = _curve(name, looks[name], its, varied, along, metric, scale)
        if one.spans:
            found.append(one)
    return found


def unexplained(one: Series) -> Series:
    """
    The same series without the reason why its line ends early: another panel has it,
    and here the name of the backend is enough.
    """
    return replace(one, ending=one.name if one.ending else None, stopped=None)


def _curve(
    backend: str,
    look: style.Look,
    cells: Sequence[Cell],
    varied: str,
    along: Along,
    metric: str,
    scale: float,
) -> Series:
    spans: dict[float, Span] = {}
    bounds = set()
    ending: str | None = None
    stopped: float | None = None
    for cell in cells:
        at = along[getattr(cell["parameters"], varied)]
        if select.has(cell, [metric]):
            low, median, high = (
                max(each / scale, LEAST) for each in spanOf(cell, metric)
            )
            spans[at] = (low, median, high)
            if isLowerBound(cell, metric):
                bounds.add(at)
            ending = stopped = None
        elif ending is None:
            said = cell["parameters"].said(varied)
            ending = f"{backend}: {cell['status']} at {said}"
            stopped = at if cell["status"] == "failed" else None
    if spans and max(spans) < max(along.values()) and ending is None:
        ending = backend
    joined = not any(isinstance(value, str) for value in along)
    return Series(
        backend, look, spans, frozenset(bounds), ending, stopped, joined=joined
    )


def noiseAlong(
    results: Results,
    cells: Sequence[Cell],
    varied: str,
    along: Along,
    metric: str = "throughput",
    scale: float | None = None,
) -> Band:
    """
    The noise band along the baseline's line.
    """
    scale = scaleOf(metric) if scale is None else scale
    found = {}
    for cell in cells:
        noise = noiseBand(results, cell, metric)
        if noise is not None:
            at = along[getattr(cell["parameters"], varied)]
            found[at] = (noise[0] / scale, noise[1] / scale)
    return found


def responsePanels(
    results: Results,
    cells: Sequence[Cell],
    varied: str,
    along: Along,
    bounds: Mapping[str, Iterable[float]] | None = None,
    lower: float = 190.0,
) -> tuple[Panel, Panel]:
    """
    Response time of each backend: the 99th percentile, and below it the median.

    @param bounds: positions where a value is only a bound, by backend.
    @param lower: the height of the second panel, in points.
    """
    tails, halves = (
        [
            # A logarithmic axis has no position for a failure.
            replace(
                one,
                bounds=frozenset((bounds or {}).get(one.name, ())),
                stopped=None,
            )
            for one in curves(results, cells, varied, along, metric)
        ]
        for metric in RESPONSE
    )
    ofTails, ofHalves = (
        noiseAlong(results, cells, varied, along, metric) for metric in RESPONSE
    )
    title = f"99 of 100 answers come within: {TIME.axis} (log scale)"
    explained = [*map(unexplained, halves)]
    return (
        Panel(title, tails, logarithmic=True, tall=310.0, noise=ofTails),
        Panel(
            *("half of them within", explained),
            logarithmic=True,
            tall=lower,
            noise=ofHalves,
        ),
    )


def bandsSaid(results: Results, series: Sequence[Series], along: Along) -> str:
    """
    The meaning of the bands around the lines, in words.
    """
    marks = "bands are"
    if positionWidth(series, along.values()):
        marks = "backends stand side by side, and the whiskers are"
    return f"the {marks} the {select.intervalName(results)} over rounds."


def linesSaid(series: Sequence[Series], say: Callable[[float, float], str]) -> str:
    """
    The values of all lines, in words.

    @param say: makes text of a position and the value there.
    """
    return " ".join(
        f"{one.name}: "
        + ", ".join(say(at, median) for at, (_, median, _) in one.spans.items())
        + "."
        for one in series
    )


def axisOf(place: Place, kind: str) -> str:
    """
    The words for the numbers on the axis.
    """
    if place.kind == "chat":
        return "members"
    return "connections at a time" if place.point.churn else f"{kind} connections"
