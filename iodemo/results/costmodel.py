# -*- test-case-name: tests.test_costmodel -*-
"""
The cost of a request under a backend, as a model of three terms::

    CPU per request = a + b * watched + c * system calls

fitted to the cells of a run. C{a} is the cost of every request, C{b} of each connection
that is watched, and C{c} of each system call.

Facts. A call that waits (select, poll, epoll_wait) returns everything that is ready. So
a busier server makes fewer such calls for each request, while the number of the other
calls is the same at every point. C{c} is therefore the price of a call whose number
varies, mostly of a wait. With a single busy connection every wait sleeps, and costs far
more than a wait that returns at once: one such cell can change all three coefficients.

Decisions. A connection counts as watched each time that a wait looks at it: C{b} is
multiplied by connections times waits a request. A term that is zero in every cell is
left out: a server with a thread for each connection watches none. Errors of CPU time
are proportional to it, so the fit minimizes the squares of the relative errors. The
range of a coefficient is that of its values when any one cell is left out. If C{a} or
C{c} is negative, or its sign changes without some cell, then the cells cannot separate
the price of a call from the rest: C{c} is left out, with the reason. If it is a single
cell without which the signs change, that cell is left out, too.

Costs. A machine has more than three terms. The cache misses that 10,000 sockets cause
are in none of them: they are part of the remaining error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy

from iodemo.models import CALLS, MODELS
from iodemo.results.schema import Cell, Point

#: Fewer cells than this are fitted by anything.
FEWEST_CELLS = 5

# The backends that look at one connection with each call: C{c} has the price of that.
_ONE_BY_ONE = {model.name for model in MODELS if model.pattern == "busy polling"}

# Columns that correlate more closely than this cannot be separated.
_APART = 1e-3

_LEAST, _MOST = 1e-9, 1e9

_CPU = "server_cpu_us_per_request"


@dataclass(frozen=True)
class Coefficient:
    """
    The price of one term, in microseconds of CPU time.

    @ivar low: the least of its values when each cell in turn is left out.
    @ivar high: the greatest of these.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """
    The cost of a request under one backend.

    @ivar terms: C{a}, C{b} and C{c}, without those that are zero or unknown.
    @ivar error: the median of the relative errors of the cells.
    @ivar worst: the largest of these errors.
    @ivar cells: the cells of the fit.
    @ivar unknown: why there is no C{c}, if it is not known.
    """

    terms: dict[str, Coefficient]
    error: float
    worst: float
    cells: Sequence[Cell]
    unknown: str | None = None


class Underdetermined(Exception):
    """There are too few cells for a fit. The message says how many a fit needs."""


def fit(cells: Iterable[Cell]) -> Fit:
    """
    Fit the model to the cells of one backend, all under the same conditions.

    @raise Underdetermined: if there are too few.
    """
    places: dict[Point, Cell] = {}
    for cell in cells:
        if _isUsable(cell):
            places.setdefault(cell["parameters"], cell)
    there = list(places.values())
    if len(there) < FEWEST_CELLS:
        raise Underdetermined(
            f"CPU time and system calls are known at {len(there)} points, and a fit "
            f"needs {FEWEST_CELLS}"
        )
    whole = _fitted(there, "abc")
    if whole is None:
        unknown = "a request takes the same number of system calls at every point"
        return _withoutCalls(there, unknown)
    signs = _signs(whole)
    turning = [
        cell
        for cell in there
        if _signs(_fitted([each for each in there if each is not cell], "abc")) != signs
    ]
    if len(turning) == 1:
        point = turning[0]["parameters"]
        return _withoutCalls(
            [cell for cell in there if cell is not turning[0]],
            "the cost of system calls depends on a single point, with "
            f"{point.active:,} busy and {point.idle:,} idle connections, which is left "
            "out",
        )
    if turning or not all(signs or ()):
        unknown = "the points cannot tell the cost of system calls from other costs"
        return _withoutCalls(there, unknown)
    return _judged(there, "abc")


def _isUsable(cell: Cell) -> bool:
    """
    Whether a cell has the metrics of the fit, in numbers that a machine can give: a
    file may hold others.
    """
    calls = cell.get("syscalls_by_name")
    if cell["parameters"].stalled:
        # The model has no term for what they cost.
        return False
    if not calls or _CPU not in cell["summary"]:
        return False
    return all(_LEAST < each < _MOST for each in (_cpu(cell), sum(calls.values())))


def _withoutCalls(cells: Sequence[Cell], why: str) -> Fit:
    return replace(_judged(cells, "ab"), unknown=why)


def _judged(cells: Sequence[Cell], terms: str) -> Fit:
    """
    A fit, with its errors and the ranges of its coefficients.
    """
    found = _fitted(cells, terms) or _fitted(cells, "a")
    assert found is not None
    without = [
        _fitted([each for each in cells if each is not cell], "".join(found)) or {}
        for cell in cells
    ]
    spans = {
        name: [value, *(each[name] for each in without if name in each)]
        for name, value in found.items()
    }
    errors = [
        abs(sum(found[name] * _amount(cell, name) for name in found) / _cpu(cell) - 1)
        for cell in cells
    ]
    return Fit(
        {
            name: Coefficient(span[0], min(span), max(span))
            for name, span in spans.items()
        },
        float(numpy.median(errors)),
        max(errors),
        cells,
    )


def _fitted(cells: Sequence[Cell], terms: str) -> dict[str, float] | None:
    """
    The coefficients with the least sum of squares of relative errors, without the terms
    that are zero in every cell; C{None} if other coefficients have the same sum.
    """
    cpu = numpy.array([_cpu(cell) for cell in cells])
    columns = {
        name: numpy.array([_amount(cell, name) for cell in cells]) / cpu
        for name in terms
    }
    columns = {name: column for name, column in columns.items() if column.any()}
    scale = numpy.array([column.max() for column in columns.values()])
    design = numpy.column_stack(list(columns.values())) / scale
    values, _, rank, _ = numpy.linalg.lstsq(design, numpy.ones(len(cpu)), _APART)
    if rank < len(columns):
        return None
    return dict(zip(columns, map(float, values / scale), strict=True))


def _signs(found: dict[str, float] | None) -> tuple[bool, ...] | None:
    """
    Whether C{a} and C{c}, which cannot be negative, are positive.
    """
    return None if found is None else (found["a"] > 0, found["c"] > 0)


def _amount(cell: Cell, term: str) -> float:
    """
    The number that the coefficient of a term is multiplied by, for a request.
    """
    if term == "a":
        return 1.0
    calls = cell["syscalls_by_name"]
    if term == "c":
        return sum(calls.values())
    if cell["backend"] in _ONE_BY_ONE:
        return 0.0
    point = cell["parameters"]
    waits = max(calls.get(name, 0.0) for name in CALLS["wait"])
    return (point.active + point.idle) * waits


def _cpu(cell: Cell) -> float:
    return cell["summary"][_CPU]["median"]
