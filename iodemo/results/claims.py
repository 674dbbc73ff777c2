# -*- test-case-name: tests.test_claims -*-
"""
Claims about a comparison, such as C{echo: uring/epoll >= 2}, and whether they hold.

A claim is C{[WHERE:] A/B OPERATOR NUMBER}. A and B are backends, and what is claimed
is the ratio of their medians. WHERE is words in any order: a scenario or a service,
C{active=100} and the like for a parameter of a point, and the metric, C{throughput}
unless one is named. A claim is made for every point that all words apply to.

It is decided on the interval of the ratio, never on the ratio: it is held if the whole
interval satisfies the inequality, refuted if no part of it does, and otherwise
undecided. Where the load was the limit, a throughput is a lower bound, and the interval
is open on that side.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from iodemo.results import statistics
from iodemo.results.metrics import BY_KEY
from iodemo.results.schema import DEFAULTS, Cell, Placed, Results, Where, placeOf

Answer = Literal["held", "refuted", "undecided"]

_OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NAME = r"([A-Za-z0-9][\w.+-]*)"
_RATIO = re.compile(rf"\s*{_NAME}\s*/\s*{_NAME}\s*([<>]=?)\s*(\S+)\s*")


class BadClaim(ValueError):
    """
    The text is no claim, or nothing is measured that could decide it. The message has
    the reason.
    """


@dataclass(frozen=True)
class Claim:
    """
    @ivar text: as it was written.
    @ivar names: of scenarios and services.
    @ivar parameters: the values that a point must have, by parameter.
    @ivar metric: as in a cell's summary.
    @ivar operator: C{>=}, C{>}, C{<=} or C{<}.
    """

    text: str
    names: tuple[str, ...]
    parameters: dict[str, float | str]
    metric: str
    backend: str
    baseline: str
    operator: str
    bound: float

    def check(self, places: Iterable[Placed], backends: Collection[str]) -> None:
        """
        Check that something is measured which can decide the claim.

        @raise BadClaim: if not.
        """
        for name in (self.backend, self.baseline):
            if name not in backends:
                raise self._bad(f"{name!r}", backends)
        left = list(places)
        for name in self.names:
            known = [each["scenario"] for each in left]
            known += [each["service"] for each in left]
            if name not in known and ("." in name or "_" in name):
                raise self._bad(f"the metric {name!r}", BY_KEY)
            if name not in known:
                raise self._bad(f"{name!r}", known)
            left = [each for each in left if _named(each, name)]
        for name, value in self.parameters.items():
            values = [_asked(each, name) for each in left]
            if value not in values:
                there = [f"{name}={each}" for each in values if each is not None]
                said = value if isinstance(value, str) else f"{value:g}"
                raise self._bad(f"{name}={said}", there)
            left = [each for each in left if _asked(each, name) == value]

    def applies(self, placed: Placed) -> bool:
        """
        Whether the claim is made for a point.
        """
        return all(_named(placed, name) for name in self.names) and all(
            _asked(placed, name) == value for name, value in self.parameters.items()
        )

    def answer(self, low: float, high: float) -> Answer:
        """
        Whether an interval satisfies the inequality.
        """
        there = _OPERATORS[self.operator]
        both = there(low, self.bound), there(high, self.bound)
        if all(both):
            return "held"
        return "undecided" if any(both) else "refuted"

    def _bad(self, what: str, known: Iterable[str]) -> BadClaim:
        there = ", ".join(dict.fromkeys(known))
        said = f", but {there}" if there else ": nothing of the kind is"
        return BadClaim(f"{self.text!r}: {what} is not measured{said}")


@dataclass(frozen=True)
class Decision:
    """
    A claim at one point.

    @ivar interval: low and high of the ratio, as it was decided on: 0 or infinite where
        the load was the limit. L{None} if there is no ratio.
    @ivar reason: why there is none, or a remark on it.
    """

    place: Placed
    answer: Answer
    ratio: float | None
    interval: tuple[float, float] | None
    reason: str | None


def parse(text: str) -> Claim:
    """
    Read a claim.

    @raise BadClaim: if it is none.
    """
    where, _, what = text.rpartition(":")
    match = _RATIO.fullmatch(what)
    if match is None:
        raise BadClaim(f"{text!r} is no claim such as 'echo: uring/epoll >= 2'")
    backend, baseline, operator_, number = match.groups()
    if backend == baseline:
        raise BadClaim(f"{text!r} compares {backend} with itself")
    names: list[str] = []
    parameters: dict[str, float | str] = {}
    metrics: list[str] = []
    for word in where.replace(",", " ").split():
        name, equals, value = word.partition("=")
        if equals:
            isWord = isinstance(DEFAULTS.get(name), str)
            parameters[name] = value if isWord else _number(value, text)
        elif word in BY_KEY:
            metrics.append(word)
        else:
            names.append(word)
    if len(metrics) > 1:
        raise BadClaim(f"{text!r} names {len(metrics)} metrics: make a claim of each")
    return Claim(
        text,
        tuple(names),
        parameters,
        metrics[0] if metrics else "throughput",
        backend,
        baseline,
        operator_,
        _number(number, text),
    )


def decide(claim: Claim, results: Results) -> list[Decision]:
    """
    Decide a claim at each point of a run that it is made for.
    """
    places: dict[Where, dict[str, Cell]] = {}
    for cell in results["cells"]:
        if claim.applies(cell):
            places.setdefault(placeOf(cell), {})[cell["backend"]] = cell
    return [_decided(claim, cells) for cells in places.values()]


def overall(decisions: Iterable[Decision]) -> Answer:
    """
    A claim holds if it does at every point, and does not if it fails at one.
    """
    answers = {decision.answer for decision in decisions}
    for answer in ("refuted", "undecided"):
        if answer in answers:
            return answer
    return "held"


def _decided(claim: Claim, cells: dict[str, Cell]) -> Decision:
    place = next(iter(cells.values()))

    def undecided(reason: str) -> Decision:
        return Decision(place, "undecided", None, None, reason)

    columns = []
    for name in (claim.backend, claim.baseline):
        cell = cells.get(name)
        if cell is None:
            return undecided(f"{name} was not measured")
        if cell["status"] != "ok":
            return undecided(f"{name} {cell['status']}: {cell['reason']}")
        measured = statistics.metrics(cell["rounds"])
        if claim.metric not in measured:
            return undecided(f"{name} has no {claim.metric}")
        columns.append(measured[claim.metric])
    ours, theirs = columns
    found = statistics.ratio(ours, theirs)
    if found is None:
        return undecided(f"there is no ratio to {claim.baseline}'s {claim.metric}")
    ratio, low, high = found
    if min(len(ours), len(theirs)) < statistics.FEWEST_ROUNDS:
        few = f"fewer than {statistics.FEWEST_ROUNDS} rounds decide nothing"
        return Decision(place, "undecided", ratio, (low, high), few)
    limited = [
        name
        for name in (claim.backend, claim.baseline)
        if claim.metric == "throughput" and cells[name]["load_limited"]
    ]
    if claim.backend in limited:
        high = math.inf
    if claim.baseline in limited:
        low = 0.0
    reason = f"the load was the limit of {' and '.join(limited)}" if limited else None
    return Decision(place, claim.answer(low, high), ratio, (low, high), reason)


def _named(placed: Placed, name: str) -> bool:
    return name in (placed["scenario"], placed["service"])


def _asked(placed: Placed, name: str) -> float | str | None:
    value = getattr(placed["parameters"], name, None)
    return value if isinstance(value, int | float | str) else None


def _number(text: str, claim: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadClaim(f"{claim!r}: {text!r} is not a number")
    return number
