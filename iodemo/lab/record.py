# -*- test-case-name: tests.test_lab -*-
"""
What a comparison has found so far, in its file at every moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from iodemo.lab import environment, results
from iodemo.lab.comparing import comparisons, noiseOf
from iodemo.lab.plan import Entrant, Plan
from iodemo.lab.results import Cell, Comparison, Placed, Results, placeOf


class Record:
    """
    @ivar results: all of it, as it is in the file.
    """

    def __init__(self, plan: Plan, path: Path, command: str) -> None:
        """
        Begin a record.

        @param path: of the file.
        @param command: the command line, for the record.
        @raise OSError: if C{path} cannot be written, here and later.
        """
        self._path = path
        self._baseline = plan.baseline
        self._entrants = plan.entrants()
        self._points = {placeOf(place): _Point() for place in plan.places()}
        self._steal = environment.Steal()
        self.results: Results = {
            "format": results.FORMAT,
            "version": results.VERSION,
            "complete": False,
            "environment": environment.describe(command),
            "cells": [],
            "controls": [],
            "comparisons": [],
            "noise": [],
        }
        results.write(self.results, path)

    def cells(self, place: Placed) -> dict[Entrant, Cell]:
        """
        The cells of one point that are finished, in the plan's order.
        """
        return self._points[placeOf(place)].cells

    def keep(self, place: Placed, cells: dict[Entrant, Cell]) -> None:
        """
        Write down some more cells of a point.
        """
        point = self._points[placeOf(place)]
        known = {**point.cells, **cells}
        point.cells = {each: known[each] for each in self._entrants if each in known}
        backends = [cell for each, cell in point.cells.items() if not each.control]
        controls = [cell for each, cell in point.cells.items() if each.control]
        point.noise = [found for each in controls for found in noiseOf(backends, each)]
        point.comparisons = comparisons(backends, self._baseline, point.noise)
        self.results["cells"] = self._all(False)
        self.results["controls"] = self._all(True)
        points = self._points.values()
        self.results["comparisons"] = [c for each in points for c in each.comparisons]
        self.results["noise"] = [c for each in points for c in each.noise]
        self._write()

    def end(self) -> None:
        """
        Write down that there is no more to come.
        """
        self.results["complete"] = True
        self._write()

    def _all(self, controls: bool) -> list[Cell]:
        return [
            cell
            for point in self._points.values()
            for entrant, cell in point.cells.items()
            if entrant.control == controls
        ]

    def _write(self) -> None:
        self.results["environment"]["steal_fraction"] = self._steal.fraction()
        results.write(self.results, self._path)


@dataclass
class _Point:
    """
    What is known of one point.
    """

    cells: dict[Entrant, Cell] = field(default_factory=dict)
    noise: list[Comparison] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
