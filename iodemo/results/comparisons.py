# -*- test-case-name: tests.test_bench -*-
"""
Comparisons of cells: which backends are compared, and in which metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from iodemo.results import statistics
from iodemo.results.metrics import BY_KEY, COMPARED
from iodemo.results.schema import Cell, Comparison


def compareWithBaseline(
    cells: Iterable[Cell], baseline: str, noise: Iterable[Comparison] = ()
) -> list[Comparison]:
    """
    Compare each ok cell of one point with the baseline's, if that is ok.

    @param noise: the noise at this point.
    """
    good = {cell["backend"]: cell for cell in cells if cell["status"] == "ok"}
    base = good.pop(baseline, None)
    if base is None:
        return []
    found = bands(noise)
    return [
        comparison
        for cell in good.values()
        for comparison in compareCells(base, cell, COMPARED, found)
    ]


def compareControl(cells: Iterable[Cell], control: Cell) -> list[Comparison]:
    """
    Compare the control at one point with the baseline's first cell, in every metric, if
    both are ok.
    """
    return [
        comparison
        for cell in cells
        if cell["backend"] == control["backend"]
        and cell["status"] == control["status"] == "ok"
        for comparison in compareCells(cell, control, BY_KEY)
    ]


def bands(noise: Iterable[Comparison]) -> dict[str, float]:
    """
    The noise band of each metric at one point.
    """
    return {
        each["metric"]: statistics.band(each["low"], each["high"]) for each in noise
    }


def compareCells(
    base: Cell,
    cell: Cell,
    metrics: Iterable[str],
    noise: Mapping[str, float] | None = None,
) -> Iterator[Comparison]:
    """
    Compare one ok cell with another, in each metric that both have.

    @param noise: the noise band by metric, where there is one.
    """
    columns = statistics.valuesOf(cell["rounds"])
    baseColumns = statistics.valuesOf(base["rounds"])
    fewest = min(len(cell["rounds"]), len(base["rounds"]))
    for metric in metrics:
        if metric not in columns or metric not in baseColumns:
            continue
        ratio = statistics.ratio(columns[metric], baseColumns[metric])
        if ratio is None:
            continue
        yield {
            "scenario": cell["scenario"],
            "parameters": cell["parameters"],
            "metric": metric,
            "baseline": base["backend"],
            "backend": cell["backend"],
            "ratio": ratio[0],
            "low": ratio[1],
            "high": ratio[2],
            "verdict": statistics.verdict(
                ratio,
                fewest,
                BY_KEY[metric].moreIsBetter,
                (noise or {}).get(metric, 1.0),
            ),
        }
