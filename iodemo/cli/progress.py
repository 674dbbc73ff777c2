# -*- test-case-name: tests.test_cli -*-
"""
The progress of a comparison on the terminal.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from iodemo.bench.runner import ComparisonObserver
from iodemo.bench.scenarios import Scenario, placed
from iodemo.report.select import Place
from iodemo.results.quantities import rate
from iodemo.results.schema import Cell, Point


class ComparisonProgress(ComparisonObserver):
    """
    A line for every finished cell and, on a terminal, a bar with the time left.
    """

    def __init__(self, console: Console, seconds: float) -> None:
        """
        @param seconds: the estimated total, to which the seconds passed to
            L{roundsEnded} add up.
        """
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            # Narrow: the echo of ^C would wrap a line that fills the terminal, and rich
            # could not erase it.
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            # Drawing takes CPU time from the measurement.
            refresh_per_second=1,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=seconds)

    def __enter__(self) -> ComparisonProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def roundBegan(self, scenario: Scenario, point: Point, backend: str) -> None:
        """See L{ComparisonObserver.roundBegan}."""
        where = f"{scenario.name}: {Place.of(placed(scenario, point)).label()}"
        self._bar.update(self._task, description=f"{where}: {backend}")

    def roundsEnded(self, seconds: float) -> None:
        """See L{ComparisonObserver.roundsEnded}."""
        self._bar.advance(self._task, seconds)

    def cellEnded(self, cell: Cell) -> None:
        """See L{ComparisonObserver.cellEnded}."""
        self._printCell(cell, cell["backend"])

    def controlEnded(self, cell: Cell) -> None:
        """See L{ComparisonObserver.controlEnded}."""
        self._printCell(cell, f"{cell['backend']} again")

    def _printCell(self, cell: Cell, name: str) -> None:
        place = Place.of(cell)
        line = Text(f"{place.scenario}: {place.label()}: {name} ")
        if cell["status"] == "ok":
            throughput = cell["summary"]["throughput"]["median"] / place.rateScale
            line.append(f"{rate(throughput)} {place.counted} a second")
        else:
            line.append(f"{cell['status']}: {cell['reason']}", style="yellow")
        self._console.print(line, soft_wrap=True)
