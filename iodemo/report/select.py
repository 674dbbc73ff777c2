# -*- test-case-name: tests.test_report -*-
"""
What the table, the figures and the page have in common: which cells of a run
belong side by side, in which order, and how a number is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from iodemo.bench.scenarios import CHAT, CONNECTIONS, FLOWS, PIPES, RATE, SINK
from iodemo.load.round import judged
from iodemo.models import MODELS
from iodemo.results.file import (
    Cell,
    Comparison,
    Interval,
    Parameters,
    Placed,
    Results,
)
from iodemo.results.statistics import ROUNDS_FOR_95

#: The backends that are no reactors, and stand apart.
REFERENCES = frozenset(model.name for model in MODELS if model.kind == "reference")

MISSING = "–"  # noqa: RUF001
LOWER_BOUND = "≥ "

#: Of its core, the part from which on a load is too busy not to matter.
STRAINED = 0.8


class Place(NamedTuple):
    """
    One point of one scenario: the cells of a place differ in backend only.
    """

    scenario: str
    service: str
    active: int
    idle: int
    payload: int
    rate: float | None
    tls: bool
    churn: bool = False
    share: float | None = None
    stalled: int = 0

    @classmethod
    def of(cls, placed: Placed) -> Place:
        asked = placed["parameters"]
        return cls(
            placed["scenario"],
            placed["service"],
            asked["active"],
            asked["idle"],
            asked["payload"],
            asked["rate"],
            asked["tls"],
            asked.get("churn", False),
            asked.get("share"),
            asked.get("stalled", 0),
        )

    @property
    def connections(self) -> int:
        return self.active + self.idle + self.stalled

    @property
    def isOfPipes(self) -> bool:
        """
        Whether these are pipes, and no connections.
        """
        return self.scenario == PIPES

    @property
    def isPaced(self) -> bool:
        """
        Whether the points of the scenario differ in what is due, not in connections.
        """
        return self.scenario == RATE

    @property
    def isHeld(self) -> bool:
        """
        Whether it is about how many connections there are, and what one takes.
        """
        return self.scenario == CONNECTIONS

    @property
    def metric(self) -> str:
        """
        What the scenario is about.
        """
        return "latency_us.p99" if self.isPaced else "throughput"

    @property
    def isOfFlow(self) -> bool:
        """
        Whether bytes flow one way, and a request is a piece of them.
        """
        return self.scenario in FLOWS

    @property
    def isOfRequests(self) -> bool:
        """
        Whether every connection that is busy asks and is answered by turns.
        """
        return not (self.isOfPipes or self.isOfFlow or self.isOfChat)

    @property
    def isOfChat(self) -> bool:
        """
        Whether a line is said to all, and a request is one heard by one of them.
        """
        return self.scenario == CHAT

    @property
    def things(self) -> str:
        return "pipes" if self.isOfPipes else "connections"

    @property
    def counted(self) -> str:
        """
        Of what the throughput is so many a second.
        """
        if self.isOfPipes:
            return "calls"
        if self.isOfFlow:
            return "MB"
        if self.isOfChat:
            return "lines"
        if self.churn:
            return "handshakes" if self.tls else "connections"
        return "requests"

    @property
    def unit(self) -> str:
        return f"{self.counted}/s"

    @property
    def rateScale(self) -> float:
        """
        How many requests a second are one of this unit.
        """
        return 1e6 / max(self.payload, 1) if self.isOfFlow else 1.0

    def conditions(self) -> str:
        """
        What a whole chart or table has in common: service, payload, pacing.
        """
        if self.isOfPipes:
            return "in one process, without a network"
        if self.isOfFlow:
            toServer = self.scenario == SINK
            return (
                f"{'to' if toServer else 'from'} the server, a request is a piece of "
                f"{count(self.payload / 1024)} KiB"
            )
        if self.isOfChat:
            return (
                f"a request is a line of {count(self.payload)} B, heard by one member"
            )
        said = [self.service]
        # A kind of request that has no payload to choose has none to show.
        if self.payload:
            said.append(f"{count(self.payload)} B payload")
        if self.rate is not None and not self.isPaced:
            said.append(f"{count(self.rate)} requests a second due")
        if self.tls:
            said.append("TLS")
        if self.churn:
            said.append("a connection for each request")
        return ", ".join(said)

    def load(self) -> str:
        """
        The connections, or what is due on them: where the points of a scenario differ.
        """
        if self.isOfPipes:
            return f"{count(self.active)} ready of {count(self.connections)} pipes"
        if self.isPaced and self.rate is not None:
            due = f"{count(self.rate)} requests a second due"
            return f"{due} on {count(self.active)} connections"
        if self.isPaced and self.share is not None:
            due = f"{percent(self.share)} of what each answers at most due"
            return f"{due} on {count(self.active)} connections"
        if self.isHeld:
            held = f"{count(self.connections)} connections"
            return f"{held}, {count(self.active)} of them busy"
        if self.isOfChat:
            return f"{count(self.connections)} members"
        if self.stalled:
            return f"{self.short()} connections"
        if not self.idle:
            connections = f"connection{'s' * (self.active != 1)}"
            if self.churn:
                return f"{count(self.active)} {connections} at a time"
            return f"{count(self.active)} busy {connections}"
        return f"{count(self.active)} busy, {count(self.idle)} idle connections"

    def short(self) -> str:
        """
        The same where there is little room.
        """
        if self.isOfPipes:
            return f"{count(self.active)} of {count(self.connections)} ready"
        busy = f"{count(self.active)} {'at a time' if self.churn else 'busy'}"
        if self.stalled:
            busy += f" + {count(self.stalled)} stalled"
        return f"{busy} + {count(self.idle)} idle" if self.idle else busy

    def _order(self) -> tuple[str, int, float, bool, float, int, int, int]:
        paced = self.rate is not None
        rate = self.rate or 0.0
        share = self.share or 0.0
        where = (self.active, self.idle, self.stalled)
        return (self.service, self.payload, share, paced, rate, *where)


def spread(results: Results) -> str:
    """
    What the low and high of a run are: an interval of 95 % where it has rounds
    enough for one, and otherwise no more than the range they span.
    """
    rounds = [len(cell["rounds"]) for cell in results["cells"] if cell["rounds"]]
    enough = min(rounds, default=0) >= ROUNDS_FOR_95
    return "95 % interval" if enough else "range"


def names(results: Results) -> list[str]:
    """
    The backends of a run: in the table of models' order, then those in no row
    of it, in the order they come in, and references last.
    """
    present = dict.fromkeys(cell["backend"] for cell in results["cells"])
    known = [model.name for model in MODELS if model.name in present]
    found = known + [name for name in present if name not in known]
    return sorted(found, key=REFERENCES.__contains__)


def places(results: Results) -> dict[Place, list[Cell]]:
    """
    The cells of each place, both in an order that does not depend on the one
    in which the rounds happened to end.
    """
    scenarios = list(dict.fromkeys(cell["scenario"] for cell in results["cells"]))
    rank = {name: number for number, name in enumerate(names(results))}
    found: dict[Place, list[Cell]] = {}
    for cell in sorted(results["cells"], key=lambda cell: rank[cell["backend"]]):
        found.setdefault(Place.of(cell), []).append(cell)
    return {
        place: found[place]
        for place in sorted(
            found, key=lambda p: (scenarios.index(p.scenario), p._order(), p.tls)
        )
    }


def groups(results: Results) -> dict[str, dict[Place, list[Cell]]]:
    """
    The places, in one group for each scenario under the same conditions, by
    the group's title.
    """
    grouped: dict[str, dict[Place, list[Cell]]] = {}
    for place, cells in places(results).items():
        title = f"{place.scenario}: {place.conditions()}"
        grouped.setdefault(title, {})[place] = cells
    return grouped


def representative(results: Results, metrics: Sequence[str]) -> Place | None:
    """
    The place that shows the most backends with all of C{metrics}, and of those
    the one with the most connections.
    """
    best: tuple[int, int, int] = (0, 0, 0)
    chosen = None
    for place, cells in places(results).items():
        backends = {cell["backend"] for cell in cells if has(cell, metrics)}
        merit = (len(backends), place.connections, place.active)
        if backends and merit > best:
            best, chosen = merit, place
    return chosen


def counted(results: Results) -> dict[Place, list[Cell]]:
    """
    Where to look at system calls: of the places under the same conditions the one at
    which most backends were counted, with several connections busy, and else few.
    """
    best: dict[str, tuple[tuple[int, bool, int], Place]] = {}
    found = {
        place: [cell for cell in cells if "syscalls_by_name" in cell]
        for place, cells in places(results).items()
    }
    for place, cells in found.items():
        merit = (len(cells), place.active > 1, -place.connections)
        conditions = place.conditions()
        if cells and (conditions not in best or merit > best[conditions][0]):
            best[conditions] = (merit, place)
    return {place: found[place] for _, place in best.values()}


def uncounted(results: Results) -> list[str]:
    """
    Why system calls were not counted, of those cells where they were to be.
    """
    reasons = [
        cell["syscalls_reason"]
        for cell in results["cells"]
        if "syscalls_reason" in cell
    ]
    return list(dict.fromkeys(reasons))


def contradictions(results: Results) -> dict[str, str]:
    """
    What each backend was seen to ask of the kernel that is not what the table of models
    says, if so: for each service, as one may have timers, which another has not, or TLS
    in between. It says nothing of what is asked for a connection.
    """
    seen: dict[str, dict[str, dict[str, float]]] = {}
    # The table of models says what a request and its answer are.
    for cell in only(results, lambda place: place.isOfRequests)["cells"]:
        if Place.of(cell).churn:
            continue
        services = seen.setdefault(cell["backend"], {})
        over = " over TLS" * cell["parameters"]["tls"]
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
            found[model.name] = f"said to ask {labels}; seen {listed(sorted(said))}"
    return found


def keptUp(cell: Cell) -> bool:
    """
    Whether a good cell answered what was due, but for what was due just then.
    """
    kept = [judged(each).get("kept_up", True) for each in cell["rounds"]]
    return 2 * sum(kept) >= len(kept)


def overtaken(cells: Iterable[Cell]) -> list[str]:
    """
    The backends that did not keep up with what was due, and how much they answered.
    """
    return [
        f"{cell['backend']} ({rate(cell['summary']['throughput']['median'])} a second"
        f"{', the load was the limit' * cell['load_limited']})"
        for cell in cells
        if cell["status"] == "ok" and not keptUp(cell)
    ]


def strained(cells: Iterable[Cell]) -> list[str]:
    """
    The backends that had the load busy for so much of its core that it may have been a
    part of what was measured, and for how much; not those whose limit it was.
    """
    return [
        f"{cell['backend']} ({percent(used)})"
        for cell in cells
        if has(cell, ["load_cpu_fraction"])
        and not cell["load_limited"]
        and (used := cell["summary"]["load_cpu_fraction"]["median"]) >= STRAINED
    ]


def has(cell: Cell, metrics: Iterable[str]) -> bool:
    return cell["status"] == "ok" and all(m in cell["summary"] for m in metrics)


_Against = dict[tuple[str, tuple[object, ...], str, str], Comparison]


def comparisons(results: Results) -> _Against:
    """
    The comparisons, for L{against}.
    """
    return {
        (c["scenario"], _key(c["parameters"]), c["metric"], c["backend"]): c
        for c in results["comparisons"]
    }


def against(table: _Against, cell: Cell, metric: str) -> Comparison | None:
    """
    The comparison of one cell with the baseline, if there is one.
    """
    key = (cell["scenario"], _key(cell["parameters"]), metric, cell["backend"])
    return table.get(key)


def _key(asked: Parameters) -> tuple[object, ...]:
    return (
        asked["active"],
        asked["idle"],
        asked["payload"],
        asked["rate"],
        asked["tls"],
        asked.get("churn", False),
        asked.get("share"),
        asked.get("stalled", 0),
    )


def only(results: Results, wanted: Callable[[Place], bool]) -> Results:
    """
    A run with the cells of some places alone.
    """
    cells = [cell for cell in results["cells"] if wanted(Place.of(cell))]
    return {**results, "cells": cells}


def baseline(results: Results) -> str | None:
    """
    What the run was compared with, if it was compared.
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


def count(value: float) -> str:
    """
    A number of things, to three significant digits or, when whole, in full.
    """
    if value >= 1e12:
        return f"{value:.2e}"
    if value != int(value):
        value = float(f"{value:.3g}")
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def rate(value: float) -> str:
    """
    A measured rate, to the three significant digits that a run can know.
    """
    return count(float(f"{value:.3g}"))


def duration(microseconds: float) -> str:
    """
    A time, in the unit that keeps it short.
    """
    return _scaled(microseconds, ((1.0, "µs"), (1e3, "ms"), (1e6, "s")))


def memory(kib: float) -> str:
    """
    A size in KiB, in the unit that keeps it short.
    """
    return _scaled(kib, ((1.0, "KiB"), (2.0**10, "MiB"), (2.0**20, "GiB")))


def size(bytes: float) -> str:
    """
    A size in bytes, likewise.
    """
    return _scaled(bytes, ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB")))


def callsSaid(calls: Mapping[str, float]) -> str:
    """
    System calls a request, by name, the most frequent first.
    """
    ordered = sorted(calls.items(), key=lambda call: -call[1])
    return ", ".join(f"{few(each)} {name}" for name, each in ordered) or "none"


def few(value: float) -> str:
    """
    A small number of things, which is seldom whole, to two significant digits.
    """
    return count(float(f"{value:.2g}"))


def percent(fraction: float) -> str:
    """
    A fraction, in full percents.
    """
    return f"{count(round(100 * min(fraction, 1e12)))} %"


def ratio(value: float) -> str:
    """
    A ratio: two decimals near one, two significant digits far below.
    """
    return f"{value:.2f}" if 0.1 <= value < 99.5 else few(value)


def between(interval: Interval | Comparison) -> tuple[float, float]:
    return interval["low"], interval["high"]


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    # 999.6 would be said with four digits: it is one of the next unit.
    fitting = [unit for unit in units if value / unit[0] < 999.5]
    scale, unit = fitting[0] if fitting else units[-1]
    scaled = value / scale
    if scaled >= 999.5:
        return f"{count(scaled)} {unit}"
    digits = f"{scaled:#.3g}".rstrip(".") if scaled >= 0.01 else f"{scaled:.1g}"
    return f"{digits} {unit}"
