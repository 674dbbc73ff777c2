# -*- test-case-name: tests.test_diff -*-
"""
Two runs against each other: what is different in the new one.

Facts. The rounds of one run are interleaved, those of two runs are not. If the machine
was slower during one of them, this changes every ratio, and no interval shows it.

Decision. Two runs are compared if they are of the same machine, kernel and cores, and
of the same plan: windows of the same length, the same server, the same requests. The
versions of Python, Twisted and iodemo may differ, since that is why runs are compared;
the report shows them. The number of rounds may differ, too: it changes only how certain
a difference is. So may the limit on open files, which decides how many servers very
many connections take. The report shows both.

A difference within the noise band of either run is no difference.

Costs. A machine that was slower for an hour looks like a change of everything. A factor
that all ratios share is therefore not to be believed without one more run.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Literal, TypedDict

from iodemo.results.comparisons import bands, compareCells
from iodemo.results.metrics import COMPARED
from iodemo.results.schema import (
    Cell,
    Comparison,
    Environment,
    Placed,
    PlannedPoint,
    Results,
    Status,
    Verdict,
    Where,
    placeOf,
)

_Described = Literal[
    "cpu",
    "cores",
    "architecture",
    "virtualized",
    "kernel",
    "pinning",
    "python",
    "twisted",
    "iodemo",
]

#: Two environments are one machine if these are equal.
MACHINE: tuple[_Described, ...] = (
    "cpu",
    "cores",
    "architecture",
    "virtualized",
    "kernel",
    "pinning",
)

#: These may be different, and are shown.
SOFTWARE: tuple[_Described, ...] = ("python", "twisted", "iodemo")


class Change(Placed):
    """One backend in one metric at one point, in both runs."""

    backend: str
    metric: str
    ratio: float  # new / old
    low: float
    high: float
    verdict: Verdict


class Unpaired(Placed):
    """One backend at one point that has no number in one of the runs, or in both."""

    backend: str
    old: Status | None  # None if it is not in that run
    new: Status | None
    reason: str | None  # why there is no number, in the newer run if it has a reason


class Difference(TypedDict):
    """The output of C{iodemo diff --json}; keys may be added."""

    old: Environment
    new: Environment
    different: list[str]  # what else differs between the runs, each in a few words
    changes: list[Change]
    unpaired: list[Unpaired]


def differing(
    old: Environment, new: Environment, names: Iterable[_Described]
) -> list[str]:
    """
    The differences of two environments, old value and new: each in a few words on one
    line.
    """
    return [
        f"{name} {_short(old[name])}, now {_short(new[name])}"
        for name in names
        if old[name] != new[name]
    ]


def plansDiffering(old: Results, new: Results) -> list[str]:
    """
    The differences of two plans at the points that both have, in the form of
    L{differing}. Files of version 0.1 have no plan.
    """
    before, after = old.get("plan"), new.get("plan")
    if before is None or after is None:
        return []
    found = [
        f"{name} {_short(was)}, now {_short(now)}"
        for name, was, now in (
            ("seconds", before["seconds"], after["seconds"]),
            ("warmup", before["warmup"], after["warmup"]),
        )
        if was != now
    ]
    planned = {_pointKey(point): point for point in before["points"]}
    for point in after["points"]:
        same = planned.get(_pointKey(point))
        if same is None:
            continue
        for name, was, now in (
            ("command", shlex.join(same["command"]), shlex.join(point["command"])),
            ("kind", same["kind"], point["kind"]),
        ):
            if was != now:
                scenario = point["scenario"]
                found.append(f"{scenario}: {name} {_short(was)}, now {_short(now)}")
    return list(dict.fromkeys(found))


def difference(old: Results, new: Results) -> Difference:
    """
    Compare each cell of one run with the same in another.
    """
    ours, theirs = _cells(new), _cells(old)
    noise: dict[Where, list[Comparison]] = {}
    for each in (*old.get("noise", []), *new.get("noise", [])):
        noise.setdefault(placeOf(each), []).append(each)
    found: Difference = {
        "old": old["environment"],
        "new": new["environment"],
        "different": _different(old, new),
        "changes": [],
        "unpaired": [],
    }
    for key in {**theirs, **ours}:
        before, after = theirs.get(key), ours.get(key)
        if before and after and before["status"] == after["status"] == "ok":
            there = bands(noise.get(placeOf(after), []))
            found["changes"] += _changes(before, after, there)
        else:
            found["unpaired"].append(_unpaired(before, after))
    return found


def _different(old: Results, new: Results) -> list[str]:
    """
    All differences of two runs, whether or not they may be compared.
    """
    said = differing(old["environment"], new["environment"], (*MACHINE, *SOFTWARE))
    limits = [run["environment"]["limits"].get("nofile_hard") for run in (old, new)]
    if limits[0] != limits[1]:
        said.append(f"limit on open files {limits[0]}, now {limits[1]}")
    said += plansDiffering(old, new)
    before, after = old.get("plan"), new.get("plan")
    if before is not None and after is not None:
        if before["rounds"] != after["rounds"]:
            said.append(f"rounds {before['rounds']}, now {after['rounds']}")
        if before["baseline"] != after["baseline"]:
            said.append(f"baseline {before['baseline']}, now {after['baseline']}")
    elif before is not after:
        without = "old" if before is None else "new"
        said.append(f"plan, which is not in {without}: windows may not be the same")
    return said


def _pointKey(point: PlannedPoint) -> tuple[Where, str]:
    return placeOf(point), point["service"]


def _cells(results: Results) -> dict[tuple[Where, str, str], Cell]:
    return {
        (placeOf(cell), cell["service"], cell["backend"]): cell
        for cell in results["cells"]
    }


def _changes(old: Cell, new: Cell, noise: dict[str, float]) -> Iterable[Change]:
    for compared in compareCells(old, new, COMPARED, noise):
        yield {
            "scenario": new["scenario"],
            "service": new["service"],
            "parameters": new["parameters"],
            "backend": new["backend"],
            "metric": compared["metric"],
            "ratio": compared["ratio"],
            "low": compared["low"],
            "high": compared["high"],
            "verdict": compared["verdict"],
        }


def _unpaired(old: Cell | None, new: Cell | None) -> Unpaired:
    known = new or old
    assert known is not None
    reasons = [cell["reason"] for cell in (new, old) if cell and cell["reason"]]
    return {
        "scenario": known["scenario"],
        "service": known["service"],
        "parameters": known["parameters"],
        "backend": known["backend"],
        "old": old and old["status"],
        "new": new and new["status"],
        "reason": reasons[0] if reasons else None,
    }


def _short(value: object) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{name} {each}" for name, each in value.items())
    text = "none" if value is None else " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
