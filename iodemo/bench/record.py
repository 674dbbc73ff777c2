# -*- test-case-name: tests.test_bench -*-
"""
The rounds and cells of a comparison so far: in memory, in its journal and in its file;
and how an interrupted comparison goes on.

A round is in the journal (L{iodemo.results.journal}) when it ends, so that after an
interruption the rounds of the unfinished point are not measured twice. A comparison
that goes on has the rounds from before the interruption first, then the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from iodemo.bench import environment
from iodemo.bench.plan import Done, Entrant, Plan
from iodemo.results import file
from iodemo.results.cells import compared
from iodemo.results.diff import MACHINE, SOFTWARE, differing
from iodemo.results.journal import Journal
from iodemo.results.schema import (
    FORMAT,
    VERSION,
    Cell,
    Comparison,
    Entry,
    Placed,
    Results,
    Round,
    Unfinished,
    Where,
    placeOf,
)


class CannotGoOn(Exception):
    """
    An interrupted run cannot go on. The message has the reason.
    """


class Record:
    """
    The record of one comparison.

    @ivar results: all of it, as in the file.
    """

    def __init__(
        self, plan: Plan, path: Path, command: str, earlier: Results | None = None
    ) -> None:
        """
        Begin a record, or go on with one.

        @param path: of the file.
        @param command: the command line, for the results.
        @param earlier: an interrupted run that L{check} has accepted.
        @raise OSError: if C{path} cannot be written, here and later.
        """
        self._path = path
        self._baseline = plan.baseline
        self._entrants = plan.entrants()
        self._points = {placeOf(place): _Point(place) for place in plan.places()}
        self._steal = environment.Steal()
        self._stolen: float | None = None
        self.results: Results = {
            "format": FORMAT,
            "version": VERSION,
            "complete": False,
            "environment": environment.describe(command),
            "plan": plan.planned(),
            "cells": [],
            "controls": [],
            "comparisons": [],
            "noise": [],
            "unfinished": [],
        }
        if earlier is not None:
            self._goOn(plan, earlier)
        self._write()
        self._journal = Journal(path.parent, self.results)

    def cells(self, place: Placed) -> dict[Entrant, Cell]:
        """
        The cells of one point that are finished, in the plan's order.
        """
        return self._points[placeOf(place)].cells

    def rounds(self, place: Placed, entrant: Entrant) -> list[Round]:
        """
        The rounds of a cell that is not finished.
        """
        return self._points[placeOf(place)].rounds.get(entrant, [])

    def keepRound(self, place: Placed, entrant: Entrant, measured: Round) -> None:
        """
        Write down one more round of a cell that is not finished.
        """
        rounds = self._points[placeOf(place)].rounds.setdefault(entrant, [])
        self._journal.add(_entry(place, entrant), len(rounds), measured)
        rounds.append(measured)

    def keepCells(self, place: Placed, cells: dict[Entrant, Cell]) -> None:
        """
        Write down some more cells of a point.
        """
        self._finish(self._points[placeOf(place)], cells)
        self._write()

    def end(self) -> None:
        """
        Note that the run is complete.
        """
        self.results["complete"] = True

    def close(self) -> None:
        """
        Write down everything, at the end or at an interruption. After that
        the results have every round of the journal, so the journal is removed.
        """
        self._write()
        self._journal.remove()

    def _goOn(self, plan: Plan, earlier: Results) -> None:
        now = self.results["environment"]["date"]
        self.results["environment"] = earlier["environment"]
        self._stolen = earlier["environment"]["steal_fraction"]
        self.results["resumed"] = [*earlier.get("resumed", []), now]
        finished: dict[Where, dict[Entrant, Cell]] = {}
        for place, entrant, cell, rounds in _known(plan, earlier):
            if cell is None:
                self._points[place].rounds[entrant] = rounds
            else:
                finished.setdefault(place, {})[entrant] = cell
        for place, cells in finished.items():
            self._finish(self._points[place], cells)

    def _finish(self, point: _Point, cells: dict[Entrant, Cell]) -> None:
        known = {**point.cells, **cells}
        point.cells = {each: known[each] for each in self._entrants if each in known}
        for entrant in cells:
            point.rounds.pop(entrant, None)
        backends = [cell for each, cell in point.cells.items() if not each.control]
        controls = [cell for each, cell in point.cells.items() if each.control]
        point.comparisons, point.noise = compared(backends, controls, self._baseline)

    def _write(self) -> None:
        points = self._points.values()
        self.results["cells"] = self._cells(controls=False)
        self.results["controls"] = self._cells(controls=True)
        self.results["comparisons"] = [c for each in points for c in each.comparisons]
        self.results["noise"] = [c for each in points for c in each.noise]
        self.results["unfinished"] = [u for each in points for u in each.unfinished()]
        stolen = [self._stolen, self._steal.fraction()]
        self.results["environment"]["steal_fraction"] = max(
            (each for each in stolen if each is not None), default=None
        )
        file.write(self.results, self._path)

    def _cells(self, controls: bool) -> list[Cell]:
        return [
            cell
            for point in self._points.values()
            for entrant, cell in point.cells.items()
            if entrant.control == controls
        ]


@dataclass
class _Point:
    """
    The cells and rounds of one point.

    @ivar rounds: of the entrants that have some rounds, and no cell.
    """

    place: Placed
    cells: dict[Entrant, Cell] = field(default_factory=dict)
    rounds: dict[Entrant, list[Round]] = field(default_factory=dict)
    noise: list[Comparison] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def unfinished(self) -> Iterator[Unfinished]:
        """The rounds as results record them."""
        for entrant, rounds in self.rounds.items():
            yield {**_entry(self.place, entrant), "rounds": rounds}


def _entry(place: Placed, entrant: Entrant) -> Entry:
    return {
        "scenario": place["scenario"],
        "service": place["service"],
        "parameters": place["parameters"],
        "backend": entrant.backend.name,
        "control": entrant.control,
    }


def check(plan: Plan, earlier: Results) -> None:
    """
    Check that an interrupted run can go on: that it has the same plan, was in the same
    environment, and has measured something.

    @raise CannotGoOn: if it cannot.
    """
    if earlier.get("plan") != plan.planned():
        raise CannotGoOn("it was to measure something else")
    before, now = earlier["environment"], environment.describe("")
    differs = differing(before, now, (*MACHINE, *SOFTWARE))
    if differs:
        raise CannotGoOn(f"it ran elsewhere: {'; '.join(differs)}")
    limits = (each["limits"].get("nofile_hard") for each in (before, now))
    if len({*limits}) > 1:
        raise CannotGoOn("it ran with another limit on open files")
    if not earlier.get("unfinished") and not any(
        cell["status"] == "ok" for cell in earlier["cells"]
    ):
        raise CannotGoOn("it had measured nothing")


def done(plan: Plan, earlier: Results) -> Done:
    """
    The part of a plan that an interrupted run has done.
    """
    return {
        (place, entrant): len(rounds) / plan.rounds if cell is None else 1.0
        for place, entrant, cell, rounds in _known(plan, earlier)
    }


def _known(
    plan: Plan, earlier: Results
) -> Iterator[tuple[Where, Entrant, Cell | None, list[Round]]]:
    """
    For each place and entrant that an interrupted run has measured: the cell or, if it
    is not finished, its rounds.
    """
    places = {placeOf(place) for place in plan.places()}
    entrants = {(each.backend.name, each.control): each for each in plan.entrants()}
    found: list[tuple[Cell | Unfinished, bool, Cell | None]] = [
        *((cell, False, cell) for cell in earlier["cells"]),
        *((cell, True, cell) for cell in earlier.get("controls", [])),
        *((each, each["control"], None) for each in earlier.get("unfinished", [])),
    ]
    for each, control, cell in found:
        entrant = entrants.get((each["backend"], control))
        rounds = each["rounds"][: plan.rounds - 1] if cell is None else []
        if entrant is not None and placeOf(each) in places:
            yield placeOf(each), entrant, cell, rounds
