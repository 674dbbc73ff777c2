# -*- test-case-name: tests.test_report -*-
"""
The common part of the table, the figures and the page: which cells of a run belong side
by side, and in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from iodemo.bench.scenarios import CHAT, CONNECTIONS, FLOWS, MULTIPLEXER, SINK
from iodemo.models import MODELS
from iodemo.results.judgement import judged
from iodemo.results.metrics import Kind
from iodemo.results.quantities import count, few, percent, rate
from iodemo.results.schema import (
    Cell,
    Comparison,
    Interval,
    Placed,
    Point,
    Results,
    Where,
    placeOf,
)
from iodemo.results.statistics import ROUNDS_FOR_95

#: The backends that are no reactors, and stand apart.
REFERENCES = frozenset(model.name for model in MODELS if model.kind == "reference")

MISSING = "–"  # noqa: RUF001
LOWER_BOUND = "≥ "
#: With the mark that such a value has in a table or in a figure.
BOUND_NOTE = "{}: the load was the limit, so the value is a lower bound."

#: The share of its core from which on a load is too busy not to matter.
SATURATED = 0.8


class Place(NamedTuple):
    """
    One point of one scenario: the cells of a place differ in backend only.
    """

    scenario: str
    service: str
    point: Point

    @classmethod
    def of(cls, placed: Placed) -> Place:
        return cls(placed["scenario"], placed["service"], placed["parameters"])

    def but(self, **changes: Any) -> Place:
        """
        The same place with other parameters.
        """
        return self._replace(point=structs.replace(self.point, **changes))

    @property
    def connections(self) -> int:
        return self.point.connections

    @property
    def kind(self) -> Kind:
        """
        The subject of the scenario.
        """
        if self.scenario == MULTIPLEXER:
            return "multiplexer"
        if self.scenario in FLOWS:
            return "flow"
        if self.scenario == CHAT:
            return "chat"
        if self.scenario == CONNECTIONS:
            return "held"
        return "paced" if self.point.isPaced else "requests"

    @property
    def metric(self) -> str:
        """
        The metric whose verdict the terminal shows, and the page shows first.
        """
        return "latency_us.p99" if self.kind == "paced" else "throughput"

    @property
    def isOfRequests(self) -> bool:
        """
        Whether every busy connection sends a request and receives its answer by turns.
        """
        return self.kind in ("requests", "paced", "held")

    @property
    def things(self) -> str:
        return "pipes" if self.kind == "multiplexer" else "connections"

    @property
    def counted(self) -> str:
        """
        The things that the throughput counts.
        """
        if self.kind == "multiplexer":
            return "calls"
        if self.kind == "flow":
            return "MB"
        if self.kind == "chat":
            return "lines"
        if self.point.churn:
            return "handshakes" if self.point.tls else "connections"
        return "requests"

    @property
    def unit(self) -> str:
        return f"{self.counted}/s"

    @property
    def rateScale(self) -> float:
        """
        How many requests a second are one of this unit.
        """
        return 1e6 / max(self.point.payload, 1) if self.kind == "flow" else 1.0

    def conditions(self) -> str:
        """
        The common parameters of all points of a chart or a table, such as the payload.
        """
        if self.kind == "multiplexer":
            return "in one process, without a network"
        if self.kind == "flow":
            direction = "to" if self.scenario == SINK else "from"
            return (
                f"{direction} the server, a request is a piece of "
                f"{count(self.point.payload / 1024)} KiB"
            )
        if self.kind == "chat":
            size = count(self.point.payload)
            return f"a request is a line of {size} B, heard by one member"
        return ", ".join([self.service, *self.point.conditions()])

    def label(self) -> str:
        """
        The parameters that differ between the points of a scenario: connections, rate.
        """
        return ", ".join([self._label(), *self.point.others(self.scenario)])

    def _label(self) -> str:
        point = self.point
        active = count(point.active)
        if self.kind == "multiplexer":
            return f"{active} ready of {count(point.connections)} pipes"
        if point.isPaced:
            rate = f"{percent(point.share or 0)} of what each answers at most"
            if point.rate is not None:
                rate = f"{count(point.rate)} requests a second"
            others = point.idle + point.stalled
            on = (
                f"{self._shortLabel()} connections"
                if others
                else f"{active} connections"
            )
            return f"{rate} due on {on}"
        if self.kind == "held":
            return f"{count(point.connections)} connections, {active} of them busy"
        if self.kind == "chat":
            return f"{count(point.connections)} members"
        if point.stalled:
            return f"{self._shortLabel()} connections"
        if point.idle:
            return f"{active} busy, {count(point.idle)} idle connections"
        connections = f"connection{'s' * (point.active != 1)}"
        if point.churn:
            return f"{active} {connections} at a time"
        return f"{active} busy {connections}"

    def shortLabel(self) -> str:
        """
        The same in fewer words.
        """
        point = self.point
        rates = [
            point.said(name)
            for name in ("rate", "share")
            if getattr(point, name) is not None
        ]
        return ", ".join([self._shortLabel(), *rates, *point.others(self.scenario)])

    def _shortLabel(self) -> str:
        point = self.point
        if self.kind == "multiplexer":
            return f"{count(point.active)} of {count(point.connections)} ready"
        busy = f"{count(point.active)} {'at a time' if point.churn else 'busy'}"
        if point.stalled:
            busy += f" + {count(point.stalled)} stalled"
        return f"{busy} + {count(point.idle)} idle" if point.idle else busy


def intervalName(results: Results) -> str:
    """
    The name of the range from low to high in a run: an interval of 95 % if it has
    enough rounds for one, and otherwise only the range of the rounds.
    """
    rounds = [len(cell["rounds"]) for cell in results["cells"] if cell["rounds"]]
    enough = min(rounds, default=0) >= ROUNDS_FOR_95
    return "95 % interval" if enough else "range"


def names(results: Results) -> list[str]:
    """
    The backends of a run: first those in the table of models, in its order, then
    unknown ones, in the order of the cells, and last the references.
    """
    present = dict.fromkeys(cell["backend"] for cell in results["cells"])
    known = [model.name for model in MODELS if model.name in present]
    found = known + [name for name in present if name not in known]
    return sorted(found, key=REFERENCES.__contains__)


def places(results: Results) -> dict[Place, list[Cell]]:
    """
    The cells of each place. Neither the order of places nor that of cells depends on
    the order in which rounds ended.
    """
    scenarios = list(dict.fromkeys(cell["scenario"] for cell in results["cells"]))
    rank = {name: number for number, name in enumerate(names(results))}
    found: dict[Place, list[Cell]] = {}
    for cell in sorted(results["cells"], key=lambda cell: rank[cell["backend"]]):
        found.setdefault(Place.of(cell), []).append(cell)
    return {
        place: found[place]
        for place in sorted(
            found,
            key=lambda p: (scenarios.index(p.scenario), p.service, p.point.order()),
        )
    }


def groups(results: Results) -> dict[str, dict[Place, list[Cell]]]:
    """
    The places of a run, in groups with a title. The places of one scenario under the
    same conditions are a group.
    """
    grouped: dict[str, dict[Place, list[Cell]]] = {}
    for place, cells in places(results).items():
        title = f"{place.scenario}: {place.conditions()}"
        grouped.setdefault(title, {})[place] = cells
    return grouped


def representative(results: Results, metrics: Sequence[str]) -> Place | None:
    """
    The place at which the most backends have all of C{metrics}. If there are several
    such places, it is the one with the most connections.
    """
    best: tuple[int, int, int] = (0, 0, 0)
    chosen = None
    for place, cells in places(results).items():
        backends = {cell["backend"] for cell in cells if has(cell, metrics)}
        merit = (len(backends), place.connections, place.point.active)
        if backends and merit > best:
            best, chosen = merit, place
    return chosen


def counted(results: Results) -> dict[Place, list[Cell]]:
    """
    The places whose system calls are shown: one for each set of conditions. It is the
    place at which the calls of the most backends were counted; of several, one with
    more than one busy connection, and the fewest in all.
    """
    best: dict[str, tuple[tuple[int, bool, int], Place]] = {}
    found = {
        place: [cell for cell in cells if "syscalls_by_name" in cell]
        for place, cells in places(results).items()
    }
    for place, cells in found.items():
        merit = (len(cells), place.point.active > 1, -place.connections)
        conditions = place.conditions()
        if cells and (conditions not in best or merit > best[conditions][0]):
            best[conditions] = (merit, place)
    return {place: found[place] for _, place in best.values()}


def uncounted(results: Results) -> list[str]:
    """
    Why system calls were not counted, for the cells in which they should have been.
    """
    reasons = [
        cell["syscalls_reason"]
        for cell in results["cells"]
        if "syscalls_reason" in cell
    ]
    return list(dict.fromkeys(reasons))


def contradictions(results: Results) -> dict[str, str]:
    """
    The backends whose system calls contradict the table of models, with the
    contradiction. It is by service, since one service may have timers or TLS and
    another may not. The table has the system calls of a request, so points with a
    connection for each request are left out.
    """
    seen: dict[str, dict[str, dict[str, float]]] = {}
    # The table of models has the system calls of a request and its answer.
    for cell in only(results, lambda place: place.isOfRequests)["cells"]:
        if cell["parameters"].churn:
            continue
        services = seen.setdefault(cell["backend"], {})
        over = " over TLS" * cell["parameters"].tls
        most = services.setdefault(cell["service"] + over, {})
        for name, each in cell.get("syscalls_by_name", {}).items():
            most[name] = max(each, most.get(name, 0.0))
    architecture = results["environment"]["architecture"]
    found = {}
    for model in MODELS:
        services = seen.get(model.name, {})
        said = {
            f"{what} ({service})" if len(services) > 1 else what
            for service, calls in services.items()
            if (what := model.contradiction(calls, architecture)) is not None
        }
        if said:
            labels = ", ".join(model.kernelCalls)
            found[model.name] = f"listed with {labels}; seen {listed(sorted(said))}"
    return found


def keptUp(cell: Cell) -> bool:
    """
    Whether, in at least half of its rounds, a cell that is ok answered the requests
    that were due, except those due at the very end.
    """
    kept = [judged(each).get("kept_up", True) for each in cell["rounds"]]
    return 2 * sum(kept) >= len(kept)


def fellBehind(cells: Iterable[Cell]) -> list[str]:
    """
    The backends that did not keep up with the rate, and how much they answered.
    """
    return [
        f"{cell['backend']} ({rate(cell['summary']['throughput']['median'])} a second"
        f"{', the load was the limit' * cell['load_limited']})"
        for cell in cells
        if cell["status"] == "ok" and not keptUp(cell)
    ]


def loadSaturated(cells: Iterable[Cell]) -> list[str]:
    """
    The backends under which the load was so busy that it may have slowed the
    measurement, and how busy it was. Backends under which the load was the limit are
    not among them.
    """
    return [
        f"{cell['backend']} ({percent(used)})"
        for cell in cells
        if has(cell, ["load_cpu_fraction"])
        and not cell["load_limited"]
        and (used := cell["summary"]["load_cpu_fraction"]["median"]) >= SATURATED
    ]


def has(cell: Cell, metrics: Iterable[str]) -> bool:
    return cell["status"] == "ok" and all(m in cell["summary"] for m in metrics)


_Against = dict[tuple[Where, str, str], Comparison]


def comparisons(results: Results) -> _Against:
    """
    The comparisons, for L{against}.
    """
    return {(placeOf(c), c["metric"], c["backend"]): c for c in results["comparisons"]}


def against(table: _Against, cell: Cell, metric: str) -> Comparison | None:
    """
    The comparison of one cell with the baseline, if there is one.
    """
    return table.get((placeOf(cell), metric, cell["backend"]))


def only(results: Results, wanted: Callable[[Place], bool]) -> Results:
    """
    A run with the cells of some places alone.
    """
    cells = [cell for cell in results["cells"] if wanted(Place.of(cell))]
    return {**results, "cells": cells}


def baseline(results: Results) -> str | None:
    """
    The baseline of the comparisons, if there are any.
    """
    for comparison in results["comparisons"]:
        return comparison["baseline"]
    return None


def failures(cells: Iterable[Cell]) -> list[str]:
    """
    A sentence for each backend and reason, naming the places it holds for.
    """
    found: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for cell in cells:
        if cell["status"] != "ok":
            reason = cell["reason"] or "no reason given"
            place = Place.of(cell)
            key = (cell["backend"], cell["status"], place.things, reason)
            found.setdefault(key, {})[count(place.connections)] = None
    return [
        f"{backend} {was} at {listed(list(where))} {things}: {reason}"
        for (backend, was, things, reason), where in found.items()
    ]


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def callsSaid(calls: Mapping[str, float]) -> str:
    """
    System calls a request, by name, the most frequent first.
    """
    ordered = sorted(calls.items(), key=lambda call: -call[1])
    return ", ".join(f"{few(each)} {name}" for name, each in ordered) or "none"


def between(interval: Interval | Comparison) -> tuple[float, float]:
    return interval["low"], interval["high"]
