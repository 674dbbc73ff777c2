# -*- test-case-name: tests.test_diff -*-
"""
The differences of two runs, as tables in the terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from iodemo.report import select, stability
from iodemo.report.select import MISSING, Place, listed
from iodemo.report.table import VERDICTS
from iodemo.results import quantities
from iodemo.results.diff import Change, Difference, Unpaired
from iodemo.results.metrics import BY_KEY, COMPARED, Metric
from iodemo.results.schema import Environment, Results

APART_NOTE = (
    "Rounds of two runs are not interleaved: a machine that was slower during one of "
    "them looks like a change of everything."
)


class DiffTable:
    """
    A table for each point that both runs have, and sentences about the cells that only
    one of them has. It can be printed on a C{Console} of any width.
    """

    def __init__(self, old: Results, new: Results, found: Difference) -> None:
        self._old = old
        self._new = new
        self._different = found["different"]
        self._unpaired = found["unpaired"]
        self._changes: dict[Place, dict[str, dict[str, Change]]] = {}
        for change in found["changes"]:
            there = self._changes.setdefault(Place.of(change), {})
            there.setdefault(change["backend"], {})[change["metric"]] = change

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        for name, run in (("old", self._old), ("new", self._new)):
            yield Text(f"{name}: {_said(run['environment'])}")
            if not run["complete"]:
                yield Text("     This run is not complete.", "bold yellow")
        for what in self._different:
            yield Text(f"different: {what}", "yellow")
        yield Text()
        names = select.names(self._new)
        for title, group in select.groups(self._new).items():
            if self._changes.keys() & group.keys():
                yield Text(f"{title}\n", "bold")
            for place in group:
                if place in self._changes:
                    yield Text(place.label(), "underline")
                    yield self._table(place, names)
                    yield Text()
        for sentence in _sentences(self._unpaired):
            yield Text(f"{sentence}\n", "yellow")
        yield from self._summary()

    def _table(self, place: Place, names: Sequence[str]) -> Table:
        rows = self._changes[place]
        # A metric that only one of the runs has is shown with dashes.
        measured = {
            metric
            for run in (self._old, self._new)
            for cell in run["cells"]
            if Place.of(cell) == place
            for metric in cell["summary"]
        }
        metrics = [key for key in COMPARED if key in measured]
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
        )
        table.add_column("backend", overflow="fold")
        for key in metrics:
            table.add_column(_title(place, BY_KEY[key]), overflow="fold")
        for name in names:
            if name in rows:
                cells = [_change(rows[name].get(key)) for key in metrics]
                table.add_row(Text(name), *cells)
        return table

    def _summary(self) -> Iterator[Text]:
        """
        How many throughputs are different, and the median of their ratios.
        """
        changes = [
            backends[name]["throughput"]
            for backends in self._changes.values()
            for name in backends
            if "throughput" in backends[name]
        ]
        if not changes:
            yield Text("Nothing was measured in both.", "bold")
            return
        verdicts = Counter[str](change["verdict"] for change in changes)
        said = ", ".join(
            f"{verdicts[verdict]} {sign} {verdict}"
            for verdict, (sign, _) in VERDICTS.items()
        )
        middle = quantities.ratio(median(change["ratio"] for change in changes))
        middle = f"the middle ratio is ×{middle}"  # noqa: RUF001
        yield Text(f"Throughput, new to old: {said}; {middle}.", "bold")
        few = stability.fewRounds(self._old, self._new)
        if few is not None:
            yield Text(few, "yellow")
        rounds = select.intervalName(self._old), select.intervalName(self._new)
        yield Text(f"Each ratio with its {max(rounds, key=len)}. {APART_NOTE}", "dim")


def _title(place: Place, metric: Metric) -> str:
    """
    The title of a metric's column: the one that the table of a comparison has for it in
    this kind of scenario, or else in another kind. Throughput has its unit.
    """
    others = next(iter(metric.columns.values()), place.unit)
    return metric.columns.get(place.kind, others)


def _said(machine: Environment) -> str:
    return (
        f"{machine['date']}, iodemo {machine['iodemo']}, Twisted {machine['twisted']}, "
        f"{machine['python']}: {machine['command']}"
    )


def _change(change: Change | None) -> Text:
    if change is None:
        return Text(MISSING)
    sign, style = VERDICTS[change["verdict"]]
    low, high = quantities.ratio(change["low"]), quantities.ratio(change["high"])
    said = f"{sign} ×{quantities.ratio(change['ratio'])} ({low}–{high})"  # noqa: RUF001
    return Text(said, style)


def _sentences(unpaired: Sequence[Unpaired]) -> Iterator[str]:
    """
    Write a sentence for each group of cells that lack a number in one or both runs, for
    the same reason at the same points.
    """
    found: dict[tuple[str, str], dict[Place, list[str]]] = {}
    for each in unpaired:
        head = _head(each)
        reason = f": {each['reason']}" if each["reason"] else ""
        places = found.setdefault((head, reason), {})
        places.setdefault(Place.of(each), []).append(each["backend"])
    for (head, reason), places in found.items():
        alike: dict[tuple[str, ...], dict[str, list[str]]] = {}
        for place, backends in places.items():
            scenarios = alike.setdefault(tuple(backends), {})
            scenarios.setdefault(place.scenario, []).append(place.shortLabel())
        for those, scenarios in alike.items():
            where = "; ".join(
                f"{name}: {', '.join(at)}" for name, at in scenarios.items()
            )
            yield f"{head}: {listed(those)} ({where}){reason}"


def _head(each: Unpaired) -> str:
    if each["new"] is None:
        return "Only in old"
    if each["old"] is None:
        return "Only in new"
    if each["old"] == each["new"]:
        return f"{each['new']} in both".capitalize()
    return f"{each['old']} in old, {each['new']} in new".capitalize()
