# -*- test-case-name: tests.test_report -*-
"""
The comparison as a table in the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from iodemo.report import select, stability
from iodemo.report.select import BOUND_NOTE, LOWER_BOUND, MISSING, Place, listed
from iodemo.results import quantities
from iodemo.results.metrics import columnsOf, isLowerBound
from iodemo.results.schema import Cell, Comparison, Results

INTERRUPTED = (
    "This run is not complete: it was interrupted, or still goes on. The numbers it "
    "had measured follow. At the last point, cells may have fewer rounds than planned."
)
INTERVAL_NOTE = "Medians over the rounds, each with its {}; latency in a closed loop."
RATE_NOTE = (
    "Requests due at a rate: an open loop, where latency counts from when each was "
    "due; p99 sent: from when it was sent."
)
HELD_NOTE = (
    "Server, kernel: the memory that each connection took. The kernel's is of both "
    "ends, which are on this machine."
)
PIPES_NOTE = "Of pipes: a call with its write and read; multiplexer: the call alone."
CALLS_TITLE = "System calls a request"
VERDICTS = {
    "faster": ("▲", "green"),
    "slower": ("▼", "red"),
    "indistinguishable": ("=", ""),
}

_STYLES = {"ok": "", "failed": "yellow", "skipped": "dim"}

_UNBOUNDED = 10_000  # columns of a terminal in which every table has room

Lines = list[str]


def comparisonTable(results: Results) -> ComparisonTable:
    """
    The tables of a whole run, for a C{Console} of any width.
    """
    return ComparisonTable(results)


class ComparisonTable:
    """
    A table for each point of each scenario, with a row for each backend.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._baseline = select.baseline(results)
        self._comparisons = select.comparisons(results)
        self._noise = stability.noiseTable(results)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        if not self._results["complete"]:
            yield Text(INTERRUPTED + "\n", "bold yellow")
        for title, group in select.groups(self._results).items():
            yield Text(title + "\n", "bold")
            # A row takes one line if all of them can; else intervals and
            # verdicts go on a second.
            tables = [self._table(*each, wide=True) for each in group.items()]
            unbounded = options.update_width(_UNBOUNDED)
            widths = [Measurement.get(console, unbounded, each) for each in tables]
            if max(width.maximum for width in widths) > options.max_width:
                tables = [self._table(*each, wide=False) for each in group.items()]
            for (place, cells), table in zip(group.items(), tables, strict=True):
                yield Text(place.label(), "underline")
                yield table
                yield from _reasons(cells)
                yield from self._trust(cells)
                yield Text()
        for place, cells in select.counted(self._results).items():
            yield Text(f"{CALLS_TITLE}: {place.conditions()}\n", "bold")
            yield Text(place.label(), "underline")
            yield self._calls(cells)
            yield Text()
        for name, said in select.contradictions(self._results).items():
            yield Text(f"{name} is {said}.", "yellow")
        for reason in select.uncounted(self._results):
            yield Text(f"System calls could not be counted: {reason}", "yellow")
        cells = self._results["cells"]
        if any(cell["status"] == "ok" for cell in cells):
            yield Text(INTERVAL_NOTE.format(select.intervalName(self._results)), "dim")
        if any(cell["load_limited"] for cell in cells):
            yield Text(BOUND_NOTE.format(LOWER_BOUND.strip()), "dim")
        if any(place.kind == "multiplexer" for place in select.places(self._results)):
            yield Text(PIPES_NOTE, "dim")
        if any(place.kind == "paced" for place in select.places(self._results)):
            yield Text(RATE_NOTE, "dim")
        if any(place.kind == "held" for place in select.places(self._results)):
            yield Text(HELD_NOTE, "dim")
        note = stability.noiseNote(self._results)
        if note is not None:
            yield Text(note, "dim")
        few = stability.fewRounds(self._results)
        if few is not None:
            yield Text(few, "yellow")
        for sentence in stability.instability(self._results):
            yield Text(sentence, "yellow")

    def _trust(self, cells: Sequence[Cell]) -> Iterator[Padding]:
        """
        Remarks on the numbers of one point.
        """
        behind = select.fellBehind(cells)
        if behind:
            yield _below(Text(f"did not keep up: {listed(behind)}", "yellow"))
        saturated = select.loadSaturated(cells)
        if saturated:
            yield _below(Text(f"load near its limit: {listed(saturated)}"))
        noise = stability.at(self._noise, cells[0], Place.of(cells[0]).metric)
        if noise is not None:
            band, said = stability.noiseSaid(noise)
            whose = noise["backend"]
            yield _below(Text(f"noise {band}: {whose} against itself {said}"))
        unstable = stability.unstable(cells)
        if unstable:
            yield _below(Text(f"unstable: {', '.join(unstable)}", "yellow"))

    def _table(self, place: Place, cells: Sequence[Cell], wide: bool) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0) if wide else 0,
        )
        first, *others, last = self._header(place)
        # Folding loses nothing where cutting would.
        table.add_column(first, overflow="fold")
        for title in others:
            table.add_column(title, justify="right", overflow="fold")
        table.add_column(last, overflow="fold")
        reactors = sum(cell["backend"] not in select.REFERENCES for cell in cells)
        for index, cell in enumerate(cells):
            if 0 < index == reactors:
                table.add_row()  # references are a block of their own
            *columns, verdict = self._columns(place, cell)
            style = _STYLES[cell["status"]]
            name = [cell["backend"]]
            if not wide:
                name = wrap(name[0], len(first), break_long_words=False)
            compared = select.against(self._comparisons, cell, place.metric)
            table.add_row(
                Text("\n".join(name), style),
                *(Text(_joined(lines, wide), style) for lines in columns),
                Text(
                    _joined(verdict, wide),
                    VERDICTS[compared["verdict"]][1] if compared else "",
                ),
            )
        return table

    def _calls(self, cells: Sequence[Cell]) -> Table:
        """
        The system calls of each backend.
        """
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for title in ("backend", "in all"):
            table.add_column(title, justify="right" if title == "in all" else "left")
        table.add_column("of these", overflow="fold")
        for cell in cells:
            calls = cell["syscalls_by_name"]
            table.add_row(
                Text(cell["backend"]),
                quantities.few(sum(calls.values())),
                Text(select.callsSaid(calls)),
            )
        return table

    def _header(self, place: Place) -> list[str]:
        against = f"against {self._baseline}" if self._baseline else "comparison"
        if place.kind == "paced":
            against = f"p99 {against}"
        return ["backend", place.unit, *columnsOf(place.kind), against]

    def _columns(self, place: Place, cell: Cell) -> list[Lines]:
        """
        The row of one cell, without its name. Each column has the lines of a narrow
        table.
        """
        metrics = columnsOf(place.kind).values()
        if cell["status"] != "ok":
            return [[cell["status"]], *[[] for _ in metrics], []]
        summary = cell["summary"]
        columns = [throughputSaid(cell)]
        for metric in metrics:
            found = summary.get(metric.key)
            said = metric.quantity.say(found["median"]) if found else MISSING
            columns.append([said])
        if cell["backend"] == self._baseline:
            return [*columns, ["(baseline)"]]
        compared = select.against(self._comparisons, cell, place.metric)
        return [*columns, comparisonSaid(compared)]


def throughputSaid(cell: Cell) -> Lines:
    """
    The throughput of an ok cell, and its interval.
    """
    interval = cell["summary"]["throughput"]
    bound = LOWER_BOUND * isLowerBound(cell, "throughput")
    scale = Place.of(cell).rateScale
    low, high = (quantities.rate(each / scale) for each in select.between(interval))
    median = bound + quantities.rate(interval["median"] / scale)
    return [median, f"({low}–{high})"]  # noqa: RUF001


def comparisonSaid(compared: Comparison | None) -> Lines:
    """
    A ratio with its interval, and the verdict in a word.
    """
    if compared is None:
        return [MISSING]
    low, high = map(quantities.ratio, select.between(compared))
    said = f"×{quantities.ratio(compared['ratio'])} ({low}–{high})"  # noqa: RUF001
    return [said, f"{VERDICTS[compared['verdict']][0]} {compared['verdict']}"]


def _joined(lines: Lines, wide: bool) -> str:
    return (" " if wide else "\n").join(lines)


def _reasons(cells: Sequence[Cell]) -> Iterator[Padding]:
    """
    The reason of each cell without a number, in as many lines as it takes.
    """
    for cell in cells:
        if cell["status"] != "ok":
            text = Text.assemble(
                (f"{cell['backend']} {cell['status']}: ", "yellow"),
                cell["reason"] or "no reason given",
                overflow="fold",
            )
            yield _below(text)


def _below(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))
