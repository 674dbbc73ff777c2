# -*- test-case-name: tests.test_lab -*-
"""
Cells against cells: what is compared, and in which metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from iodemo.lab import statistics
from iodemo.lab.results import Cell, Comparison, Placed


def placeOf(placed: Placed) -> str:
    """
    What is the same of all cells of one point, in any run. A parameter that an older
    version did not have yet is the same as one that is nothing.
    """
    asked = {name: value for name, value in placed["parameters"].items() if value}
    return json.dumps([placed["scenario"], placed["service"], asked], sort_keys=True)


def comparisons(cells: Iterable[Cell], baseline: str) -> list[Comparison]:
    """
    Each good cell of one point against the baseline's, if that is good.
    """
    good = {cell["backend"]: cell for cell in cells if cell["status"] == "ok"}
    base = good.pop(baseline, None)
    if base is None:
        return []
    return [found for cell in good.values() for found in against(base, cell)]


def against(base: Cell, cell: Cell) -> Iterator[Comparison]:
    """
    One good cell against another, in each metric that both have.
    """
    columns = statistics.metrics(cell["rounds"])
    baseColumns = statistics.metrics(base["rounds"])
    fewest = min(len(cell["rounds"]), len(base["rounds"]))
    for metric, moreIsBetter in statistics.COMPARED.items():
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
            "verdict": statistics.verdict(ratio, fewest, moreIsBetter),
        }
