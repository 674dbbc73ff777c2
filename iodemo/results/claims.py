# -*- test-case-name: tests.test_claims -*-
"""
Claims about a comparison, such as C{echo: uring/epoll >= 2}, and whether they hold.

A claim is C{[WHERE:] A/B OPERATOR NUMBER}, C{[WHERE:] A/B = LOW..HIGH}, or the same of
C{A} alone. A and B are backends. The claim is about the ratio of their medians, or
about the median of A. WHERE is words in any order: a scenario, or a service if no
scenario has that name, C{active=100} and the like for a parameter of a point, and the
metric, C{throughput} unless one is named. A claim is made for every point that all
words apply to.

It is decided on the interval of the ratio or of the median: the claim is held if the
whole interval satisfies it, refuted if no part of the interval does, and otherwise
undecided. Where the load was the limit, a throughput is a lower bound, and the interval
is open on that side.

System calls are counted in one round of each cell, so their count has no interval, and
decides by itself.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from iodemo.results import statistics
from iodemo.results.metrics import BY_KEY, isLowerBound
from iodemo.results.schema import DEFAULTS, Cell, Placed, Results, Where, placeOf

Answer = Literal["held", "refuted", "undecided"]

_OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NAME = r"([A-Za-z0-9][\w.+-]*)"
_CLAIM = re.compile(rf"\s*{_NAME}\s*(?:/\s*{_NAME}\s*)?([<>]=?|=)\s*(\S+)\s*")


class BadClaim(ValueError):
    """
    The text is no claim, or a claim about numbers that are not measured. The message
    has the reason.
    """


@dataclass(frozen=True)
class Claim:
    """
    @ivar text: as it was written.
    @ivar names: of scenarios and services.
    @ivar parameters: the values that a point must have, by parameter.
    @ivar metric: as in a cell's summary.
    @ivar baseline: C{None} if the claim is about the median of C{backend}.
    @ivar bounds: each an operator, C{>=}, C{>}, C{<=} or C{<}, and a number. All of
        them are claimed.
    """

    text: str
    names: tuple[str, ...]
    parameters: dict[str, float | str]
    metric: str
    backend: str
    baseline: str | None
    bounds: tuple[tuple[str, float], ...]

    @property
    def claimed(self) -> str:
        """
        The text of the claim after the colon, such as C{uring/epoll >= 2}.
        """
        return self.text.rpartition(":")[2].strip()

    @property
    def backends(self) -> tuple[str, ...]:
        """
        The names of the backends that the claim is about.
        """
        if self.baseline is None:
            return (self.backend,)
        return self.backend, self.baseline

    def check(self, places: Iterable[Placed], backends: Collection[str]) -> None:
        """
        Check that something is measured which can decide the claim.

        @raise BadClaim: if not.
        """
        for name in self.backends:
            if name not in backends:
                raise self._bad(f"{name!r}", backends)
        left = list(places)
        scenarios = {each["scenario"] for each in left}
        for name in self.names:
            known = [each["scenario"] for each in left]
            known += [each["service"] for each in left]
            if name not in known and ("." in name or "_" in name):
                raise self._bad(f"the metric {name!r}", BY_KEY)
            if name not in known:
                raise self._bad(f"{name!r}", known)
            left = [each for each in left if _named(each, name, scenarios)]
        for name, value in self.parameters.items():
            values = [_valueOf(each, name) for each in left]
            if value not in values:
                # A bool as a claim has it: 0 or 1.
                there = [
                    f"{name}={int(each) if isinstance(each, bool) else each}"
                    for each in values
                    if each is not None
                ]
                said = value if isinstance(value, str) else f"{value:g}"
                raise self._bad(f"{name}={said}", there)
            left = [each for each in left if _valueOf(each, name) == value]

    def applies(self, placed: Placed, scenarios: Collection[str]) -> bool:
        """
        Whether the claim is made for a point.

        @param scenarios: the names of all scenarios there are.
        """
        return all(_named(placed, name, scenarios) for name in self.names) and all(
            _valueOf(placed, name) == value for name, value in self.parameters.items()
        )

    def answer(self, low: float, high: float) -> Answer:
        """
        Decide the claim on an interval.
        """
        answers: set[Answer] = set()
        for name, bound in self.bounds:
            satisfies = _OPERATORS[name]
            ends = satisfies(low, bound), satisfies(high, bound)
            if all(ends):
                answers.add("held")
            else:
                answers.add("undecided" if any(ends) else "refuted")
        return _together(answers)

    def _bad(self, what: str, known: Iterable[str]) -> BadClaim:
        there = ", ".join(dict.fromkeys(known))
        said = f", but {there}" if there else ": nothing of the kind is"
        return BadClaim(f"{self.text!r}: {what} is not measured{said}")


@dataclass(frozen=True)
class Decision:
    """
    A claim at one point.

    @ivar value: the ratio of the medians or, without a baseline, the median. C{None} if
        there is none.
    @ivar interval: the low and the high end of the value. One of them is 0 or infinite
        if the load was the limit. C{None} if there is no value.
    @ivar reason: why there is no value, or what limits it.
    """

    place: Placed
    answer: Answer
    value: float | None
    interval: tuple[float, float] | None
    reason: str | None


def parse(text: str) -> Claim:
    """
    Read a claim.

    @raise BadClaim: if the text is none.
    """
    where, _, what = text.rpartition(":")
    match = _CLAIM.fullmatch(what)
    if match is None:
        raise BadClaim(f"{text!r} is no claim such as 'echo: uring/epoll >= 2'")
    backend, baseline, operator_, numbers = match.groups()
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
        elif word in BY_KEY and word not in DEFAULTS:
            # A metric that only repeats a parameter is not claimed: rate is a scenario.
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
        _bounds(operator_, numbers, text),
    )


def decide(claim: Claim, results: Results) -> list[Decision]:
    """
    Decide a claim at each point of a run that it is made for.
    """
    places: dict[Where, dict[str, Cell]] = {}
    scenarios = {cell["scenario"] for cell in results["cells"]}
    for cell in results["cells"]:
        if claim.applies(cell, scenarios):
            places.setdefault(placeOf(cell), {})[cell["backend"]] = cell
    return [_decided(claim, cells) for cells in places.values()]


def overall(decisions: Iterable[Decision]) -> Answer:
    """
    The decision of all points together: refuted if the claim is refuted at one of them,
    otherwise undecided if it is undecided at one, and otherwise held.
    """
    return _together({decision.answer for decision in decisions})


def _together(answers: Collection[Answer]) -> Answer:
    for answer in ("refuted", "undecided"):
        if answer in answers:
            return answer
    return "held"


def _decided(claim: Claim, cells: dict[str, Cell]) -> Decision:
    place = next(iter(cells.values()))

    def undecided(reason: str) -> Decision:
        return Decision(place, "undecided", None, None, reason)

    columns = []
    for name in claim.backends:
        cell = cells.get(name)
        if cell is None:
            return undecided(f"{name} was not measured")
        if cell["status"] != "ok":
            return undecided(f"{name} {cell['status']}: {cell['reason']}")
        measured = statistics.valuesOf(cell["rounds"])
        if claim.metric not in measured:
            return undecided(f"{name} has no {claim.metric}")
        columns.append(measured[claim.metric])
    found = _found(*columns)
    if found is None:
        return undecided(f"there is no ratio to {claim.baseline}'s {claim.metric}")
    value, low, high = found
    fewest = min(len(cells[name]["rounds"]) for name in claim.backends)
    if fewest < statistics.FEWEST_ROUNDS:
        few = f"fewer than {statistics.FEWEST_ROUNDS} rounds decide nothing"
        return Decision(place, "undecided", value, (low, high), few)
    limited = [
        name for name in claim.backends if isLowerBound(cells[name], claim.metric)
    ]
    if claim.backend in limited:
        high = math.inf
    if claim.baseline in limited:
        low = 0.0
    reason = f"the load was the limit of {' and '.join(limited)}" if limited else None
    return Decision(place, claim.answer(low, high), value, (low, high), reason)


def _found(
    values: list[float], baseline: list[float] | None = None
) -> tuple[float, float, float] | None:
    if baseline is not None:
        return statistics.ratio(values, baseline)
    found = statistics.interval(values)
    return found["median"], found["low"], found["high"]


def _named(placed: Placed, name: str, scenarios: Collection[str]) -> bool:
    # The service of the scenario sink is called stream, as another scenario is.
    return name == placed["scenario" if name in scenarios else "service"]


def _valueOf(placed: Placed, name: str) -> float | str | None:
    value = getattr(placed["parameters"], name, None)
    return value if isinstance(value, int | float | str) else None


def _bounds(name: str, numbers: str, claim: str) -> tuple[tuple[str, float], ...]:
    if name != "=":
        return ((name, _number(numbers, claim)),)
    least, dots, most = numbers.partition("..")
    if not dots:
        raise BadClaim(f"{claim!r}: after = there is a range, such as 0.9..1.1")
    low, high = _number(least, claim), _number(most, claim)
    if low > high:
        raise BadClaim(f"{claim!r}: no number is in the range {numbers}")
    return (">=", low), ("<=", high)


def _number(text: str, claim: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadClaim(f"{claim!r}: {text!r} is not a number")
    return number
