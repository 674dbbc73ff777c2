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
    bars,
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
    requests = select.only(
        results, lambda place: place.isOfRequests and not place.point.stalled
    )
    with matplotlib.style.context(["default", style.PARAMETERS]):
        charts = [
            *throughput.charts(
                select.only(results, lambda place: place.kind != "multiplexer")
            ),
            *threads.charts(requests),
            *rates.charts(requests),
            *along.charts(requests),
            *latency.againstIdle(requests),
            *latency.percentiles(requests),
            *latency.distribution(requests),
            *latency.besideStalled(results),
            *cost.cpu(requests),
            *cost.calls(requests),
            *bars.charts(results),
            *memory.growth(requests),
            *memory.held(requests),
            *multiplexer.charts(
                select.only(results, lambda place: place.kind == "multiplexer")
            ),
        ]
    for index, chart in enumerate(charts):
        before = [other.name for other in charts[:index]]
        if chart.name in before:
            charts[index] = replace(chart, name=f"{chart.name}-{index + 1}")
    return charts
