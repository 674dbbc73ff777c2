# -*- test-case-name: tests.test_report -*-
"""
The answer in one sentence, made from the numbers.
"""

from __future__ import annotations

from iodemo.report import select
from iodemo.report.select import Place, listed
from iodemo.results import quantities
from iodemo.results.metrics import isLowerBound
from iodemo.results.schema import Cell, Results

_MANY = 4  # backends in one sentence, beyond which it only names the ends


def headline(results: Results) -> str:
    """
    One sentence about one point of a run: the point with the most idle connections or,
    if no point has any, with the most busy ones. Requests due at a rate, and pipes, are
    its subject only if the run has nothing else.

    The sentence names reactors, and references only if there are no reactors. If no
    backend is distinguishable from the baseline, it names none but the baseline.
    """
    backends = select.names(results)
    reactors = [name for name in backends if name not in select.REFERENCES]
    places = {}
    for place, cells in select.places(results).items():
        those = [cell for cell in cells if cell["backend"] in (reactors or backends)]
        if any(select.has(cell, [_metric(place)]) for cell in those):
            places[place] = those
    if not places:
        return "No backend gave a number in this run; the reasons are below."
    place = max(
        places,
        key=lambda p: (
            p.isOfRequests,
            p.kind != "multiplexer",
            p.kind != "paced",
            p.point.idle,
            p.point.active,
            p.point.rate or 0,
        ),
    )
    cells = places[place]
    metric = _metric(place)
    ok = [cell for cell in cells if select.has(cell, [metric])]
    ok.sort(
        key=lambda cell: cell["summary"][metric]["median"],
        reverse=metric == "throughput",
    )
    did, unit = (
        (" took", " a call")
        if place.kind == "multiplexer"
        else (" answered 99 of 100 within", "")
        if place.kind == "paced"
        else (" served", f" {place.counted} a second")
    )
    baseline = select.baseline(results)
    compared = select.comparisons(results)
    verdicts = {
        found["verdict"]
        for cell in ok
        if (found := select.against(compared, cell, metric)) is not None
    }
    if verdicts == {"indistinguishable"}:
        rounds = min(len(cell["rounds"]) for cell in ok)
        first, last = (_said(cell, metric) for cell in (ok[-1], ok[0]))
        if metric != "throughput":
            first, last = last, first
        answer = (
            f"no backend is distinguishable from {baseline} by {rounds} "
            f"round{'s' * (rounds != 1)}: each{did} {first} to {last}{unit}"
        )
    else:
        named = _named(ok, baseline)
        words = []
        for cell in named:
            words.append(f"{cell['backend']}{did} {_said(cell, metric)}{unit}")
            did = unit = ""
        between = len(ok) - len(named)
        more = f", and {between} more lay between" if between else ""
        answer = f"{listed(words)}{more}"
    failed = [cell["backend"] for cell in cells if cell["status"] == "failed"]
    end = f"; {listed(failed)} failed" if failed else ""
    skipped = [cell["backend"] for cell in cells if cell["status"] == "skipped"]
    were = "was" if len(skipped) == 1 else "were"
    end += f"; {listed(skipped)} {were} skipped" if skipped else ""
    return f"With {_connections(place)}, {answer}{end}."


def _named(ok: list[Cell], baseline: str | None) -> list[Cell]:
    """
    The backends that the sentence names: if there are many, the fastest, the baseline
    and the slowest.
    """
    if len(ok) <= _MANY:
        return ok
    return [
        cell
        for index, cell in enumerate(ok)
        if index in (0, len(ok) - 1) or cell["backend"] == baseline
    ]


def _said(cell: Cell, metric: str) -> str:
    if metric != "throughput":
        return quantities.duration(cell["summary"][metric]["median"])
    least = "at least " * isLowerBound(cell, "throughput")
    median = cell["summary"]["throughput"]["median"]
    return least + quantities.rate(median / Place.of(cell).rateScale)


def _metric(place: Place) -> str:
    return "us_per_call" if place.kind == "multiplexer" else place.metric


def _connections(place: Place) -> str:
    if place.point.idle and place.kind != "multiplexer":
        return f"{quantities.count(place.point.idle)} idle connections"
    return place.label()
