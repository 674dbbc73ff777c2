# -*- test-case-name: tests.test_cli -*-
"""
What somebody sees who waits for a comparison, and how they end it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from iodemo.bench.runner import Observer
from iodemo.bench.scenarios import Point, Scenario, placed
from iodemo.report.select import Place, rate
from iodemo.results.file import Cell


class ComparisonProgress(Observer):
    """
    A line for every finished cell and, on a terminal, a bar with the time left.
    """

    def __init__(self, console: Console, seconds: float) -> None:
        """
        @param seconds: what is told of the rounds that end will add up to this.
        """
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            # Narrow: a line that fills the terminal is not erased when ^C is echoed.
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            # Drawing takes CPU from what is being measured.
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
        """See L{Observer.roundBegan}."""
        where = f"{scenario.name}: {Place.of(placed(scenario, point)).load()}"
        self._bar.update(self._task, description=f"{where}: {backend}")

    def roundsEnded(self, seconds: float) -> None:
        """See L{Observer.roundsEnded}."""
        self._bar.advance(self._task, seconds)

    def cellEnded(self, cell: Cell) -> None:
        """See L{Observer.cellEnded}."""
        self._say(cell, cell["backend"])

    def controlEnded(self, cell: Cell) -> None:
        """See L{Observer.controlEnded}."""
        self._say(cell, f"{cell['backend']} again")

    def _say(self, cell: Cell, who: str) -> None:
        place = Place.of(cell)
        line = Text(f"{place.scenario}: {place.load()}: {who} ")
        if cell["status"] == "ok":
            throughput = cell["summary"]["throughput"]["median"] / place.rateScale
            line.append(f"{rate(throughput)} {place.counted} a second")
        else:
            line.append(f"{cell['status']}: {cell['reason']}", style="yellow")
        self._console.print(line, soft_wrap=True)


class Interrupted(BaseException):
    """
    Somebody asked the comparison to end.

    Not an L{Exception}: nothing between the signal and the command line may take
    it for a failed round.

    @ivar signal: the number of the signal they asked with.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class Interruption:
    """
    Whether somebody has asked the comparison to end.
    """

    def __init__(self) -> None:
        self._asked: int | None = None

    def asked(self, number: int, frame: FrameType | None) -> None:
        """
        Note it, and raise L{Interrupted}: once, so that what that unwinds can
        finish.
        """
        if self._asked is None:
            self._asked = number
            raise Interrupted(number)

    def check(self) -> None:
        """
        Raise L{Interrupted} again if what ran meanwhile has swallowed it. Looking
        for plugins does: Twisted takes whatever comes out of one for its fault.
        """
        if self._asked is not None:
            raise Interrupted(self._asked)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """
    Within the block, SIGINT, SIGTERM and SIGHUP raise L{Interrupted}; those that
    were ignored (nohup, a job in the background) still are.
    """
    interruption = Interruption()
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, interruption.asked) for number in numbers}
    try:
        yield interruption
    finally:
        for number, disposition in before.items():
            signal.signal(number, disposition)
