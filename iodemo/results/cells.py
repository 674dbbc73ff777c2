# -*- test-case-name: tests.test_journal -*-
"""
Cells from their rounds.
"""

from __future__ import annotations

import numpy

from iodemo.results import statistics
from iodemo.results.comparisons import compareControl, compareWithBaseline
from iodemo.results.judgement import LOAD_LIMIT, loadUse
from iodemo.results.schema import (
    Cell,
    Comparison,
    Placed,
    Results,
    Round,
    Status,
    placeOf,
)


def cellOf(
    place: Placed,
    backend: str,
    status: Status,
    reason: str | None,
    rounds: list[Round],
) -> Cell:
    """
    A cell with the summary of its rounds.

    @param rounds: the last one loses the counts of its system calls, which are of the
        cell.
    """
    columns = statistics.valuesOf(rounds)
    limited = numpy.median([loadUse(each) for each in rounds] or [0.0]) >= LOAD_LIMIT
    cell: Cell = {
        "scenario": place["scenario"],
        "service": place["service"],
        "parameters": place["parameters"],
        "backend": backend,
        "status": status,
        "reason": reason,
        "load_limited": bool(limited),
        "rounds": rounds,
        "summary": {
            metric: statistics.interval(values) for metric, values in columns.items()
        },
    }
    for each in rounds:
        if "syscalls_by_name" in each:
            cell["syscalls_by_name"] = each.pop("syscalls_by_name")
        if "syscalls_reason" in each:
            cell["syscalls_reason"] = each.pop("syscalls_reason")
    return cell


def compared(
    backends: list[Cell], controls: list[Cell], baseline: str
) -> tuple[list[Comparison], list[Comparison]]:
    """
    The comparisons of the cells of one point, and their noise.
    """
    noise = [found for each in controls for found in compareControl(backends, each)]
    return compareWithBaseline(backends, baseline, noise), noise


def withUnfinished(results: Results) -> Results:
    """
    Results for a report: where a run has some rounds of a cell, and not all, the cell
    of these rounds, and the comparisons with it.
    """
    plan = results.get("plan")
    unfinished = [each for each in results.get("unfinished", []) if each["rounds"]]
    if plan is None or not unfinished:
        return results
    cells, controls = list(results["cells"]), list(results.get("controls", []))
    for each in unfinished:
        cell = cellOf(each, each["backend"], "ok", None, each["rounds"])
        (controls if each["control"] else cells).append(cell)
    found, noise = list(results["comparisons"]), list(results.get("noise", []))
    for where in {placeOf(each): None for each in unfinished}:
        here, again = (
            [cell for cell in several if placeOf(cell) == where]
            for several in (cells, controls)
        )
        newFound, newNoise = compared(here, again, plan["baseline"])
        found = [each for each in found if placeOf(each) != where] + newFound
        noise = [each for each in noise if placeOf(each) != where] + newNoise
    return {
        **results,
        "cells": cells,
        "controls": controls,
        "comparisons": found,
        "noise": noise,
        "unfinished": [],
    }
