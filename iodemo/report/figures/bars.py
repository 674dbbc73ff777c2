# -*- test-case-name: tests.test_report -*-
"""
A bar for each backend: the figure of each metric with C{drawn} in its row of
L{iodemo.results.metrics}.
"""

from __future__ import annotations

from iodemo.report import select, style
from iodemo.report.figures.chart import (
    NOISE_LABEL,
    Chart,
    absence,
    capital,
    chosen,
    noiseBand,
    noiseCaption,
    rowsSaid,
    sentence,
    sourceOf,
    spanOf,
)
from iodemo.report.layout import Heading
from iodemo.report.rows import Row, bars
from iodemo.results.metrics import METRICS, Metric
from iodemo.results.schema import Results


def charts(results: Results) -> list[Chart]:
    """
    A chart for each metric that is C{drawn} and that some cell has.
    """
    found = (_chart(results, metric) for metric in METRICS if metric.drawn)
    return [chart for chart in found if chart is not None]


def _chart(results: Results, metric: Metric) -> Chart | None:
    place = select.representative(results, [metric.key])
    if place is None:
        return None
    cells = [
        cell for cell in select.places(results)[place] if select.has(cell, [metric.key])
    ]
    looks = style.looks(select.names(results))
    scale = metric.quantity.scale

    def say(value: float) -> str:
        return metric.quantity.say(value * scale)

    rows = []
    noise = []
    for cell in cells:
        low, median, high = spanOf(cell, metric.key)
        span = (low / scale, median / scale, high / scale)
        rows.append(Row(cell["backend"], looks[cell["backend"]], {metric.title: span}))
        band = noiseBand(results, cell, metric.key)
        if band is not None:
            noise.append((band[0] / scale, band[1] / scale))
    title = capital(metric.title)
    figure = bars(
        Heading(
            title,
            f"{place.label()}, {place.conditions()}{NOISE_LABEL * bool(noise)}",
            metric.quantity.axis,
            sourceOf(results),
        ),
        rows,
        say,
        noise,
    )
    said = [
        sentence(capital(metric.description)),
        chosen(results, place, rows),
        f"The whisker is the {select.intervalName(results)} over rounds.",
        noiseCaption(results) if noise else "",
        absence(results, rows),
    ]
    alt = f"Bars of {metric.title}, {place.label()}. {rowsSaid(rows, say)}"
    return Chart(metric.key, title, " ".join(filter(None, said)), alt, figure)
