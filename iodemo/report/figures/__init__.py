# -*- test-case-name: tests.test_report -*-
"""
The figures of a run: which numbers go into which, and the words around them.
"""

from __future__ import annotations

from dataclasses import replace

import matplotlib.style

from iodemo.report import select, style
from iodemo.report.figures import (
    along,
    cost,
    latency,
    memory,
    multiplexer,
    rates,
    threads,
    throughput,
)
from iodemo.report.figures.chart import Chart
from iodemo.results.schema import Results

__all__ = ["Chart", "drawn"]


def drawn(results: Results) -> list[Chart]:
    """
    The figures that these results have the data for.
    """
    asked = select.only(
        results, lambda place: place.isOfRequests and not place.point.stalled
    )
    with matplotlib.style.context(["default", style.PARAMETERS]):
        charts = [
            *throughput.charts(
                select.only(results, lambda place: place.kind != "multiplexer")
            ),
            *threads.charts(asked),
            *rates.charts(asked),
            *along.charts(asked),
            *latency.againstIdle(asked),
            *latency.percentiles(asked),
            *latency.distribution(asked),
            *latency.besideStalled(results),
            *cost.cpu(asked),
            *cost.calls(asked),
            *memory.growth(asked),
            *memory.held(asked),
            *multiplexer.charts(
                select.only(results, lambda place: place.kind == "multiplexer")
            ),
        ]
    for index, chart in enumerate(charts):
        before = [other.name for other in charts[:index]]
        if chart.name in before:
            charts[index] = replace(chart, name=f"{chart.name}-{index + 1}")
    return charts
