# -*- test-case-name: tests.test_report -*-
"""
Memory of a connection: of the server, and of the kernel.
"""

from __future__ import annotations

from iodemo.report import select, style
from iodemo.report.figures.chart import (
    MEMORY,
    NOISE_LABEL,
    Chart,
    absence,
    noiseBand,
    noiseCaption,
    rowsSaid,
    sentence,
    small,
    sourceOf,
    spanOf,
)
from iodemo.report.layout import Heading, Span, doublings
from iodemo.report.rows import Row, bars, dots
from iodemo.report.select import Place, listed
from iodemo.results import quantities
from iodemo.results.quantities import count
from iodemo.results.schema import Cell, Results

HELD_PARTS = {
    "server": "server_bytes_per_connection",
    "kernel, both ends": "kernel_bytes_per_connection",
}


def growth(results: Results) -> list[Chart]:
    """
    The growth of resident memory from the fewest to the most connections.
    """
    looks = style.looks(select.names(results))
    rows: list[Row] = []
    grew: list[str] = []
    ranges: dict[str, list[str]] = {}
    noise: list[tuple[float, float]] = []
    for backend in select.names(results):
        ends = _furthest(results, backend)
        if ends is None:
            continue
        few, many = ends
        span = grown(few, many)
        # There is no place for nothing on a logarithmic axis, which they need that are
        # a thousand times apart: a byte is nothing.
        low, median, high = (max(each, 1 / 1024) for each in span)
        rows.append(Row(backend, looks[backend], {"memory": (low, median, high)}))
        grew.append(f"{backend}: {_said(span[1])}.")
        if backend == select.baseline(results):
            noise = _growthNoise(results, few, many)
        reach = (
            f"from {count(Place.of(few).connections)} "
            f"to {count(Place.of(many).connections)} connections"
        )
        ranges.setdefault(reach, []).append(backend)
    if not rows:
        return []
    title = "Memory of the server per connection"
    figure = dots(
        Heading(
            title,
            "growth of resident memory, log scale" + NOISE_LABEL * bool(noise),
            "",
            sourceOf(results),
        ),
        rows,
        _said,
        noise,
        doublings,
    )
    caption = (
        "How much resident memory grew "
        + "; ".join(f"{reach} ({listed(those)})" for reach, those in ranges.items())
        + ", divided by the number of connections between. A page that processes share "
        "counts once. Pale bars: the growth that the "
        f"{select.intervalName(results)} at both ends allows. "
        + (noiseCaption(results) + " ") * bool(noise)
        + absence(results, rows)
    )
    alt = "Dot chart of memory per connection. " + " ".join(grew)
    return [Chart("memory", title, caption.strip(), alt, figure)]


def _said(kib: float) -> str:
    return quantities.size(kib * 1024)


def _furthest(results: Results, backend: str) -> tuple[Cell, Cell] | None:
    """
    The cells of a backend with the fewest and the most connections under the same
    conditions. There are at least a hundred connections between the two, since the
    difference in memory is divided by their number.
    """
    best = None
    for group in select.groups(results).values():
        its = [
            cell
            for cells in group.values()
            for cell in cells
            if cell["backend"] == backend and select.has(cell, [MEMORY])
        ]
        its.sort(key=lambda cell: Place.of(cell).connections)
        if its:
            between = Place.of(its[-1]).connections - Place.of(its[0]).connections
            if between >= 100 and (best is None or between > best[0]):
                best = (between, its[0], its[-1])
    return best and best[1:]


def grown(few: Cell, many: Cell) -> Span:
    """
    The memory that one more connection took, in KiB.
    """
    between = Place.of(many).connections - Place.of(few).connections
    low, median, high = spanOf(few, MEMORY)
    least, middle, most = spanOf(many, MEMORY)
    # A server's memory can shrink for reasons of its own: that is noise below zero,
    # and no connection is paid for by it.
    growth = [(least - high), (middle - median), (most - low)]
    span = [max(0.0, kib / between) for kib in growth]
    return span[0], span[1], span[2]


def _growthNoise(results: Results, few: Cell, many: Cell) -> list[tuple[float, float]]:
    """
    The range of the growth of the baseline's memory, over both of its measurements;
    empty if there is only one.
    """
    fewAgain, manyAgain = (
        next(
            (
                control
                for control in results.get("controls", [])
                if control["backend"] == cell["backend"]
                and Place.of(control) == Place.of(cell)
                and select.has(control, [MEMORY])
            ),
            None,
        )
        for cell in (few, many)
    )
    if fewAgain is None or manyAgain is None:
        return []
    low, _, high = grown(few, many)
    least, _, most = grown(fewAgain, manyAgain)
    return [(min(low, least), max(high, most))]


def held(results: Results) -> list[Chart]:
    """
    Memory of server and kernel for each connection, in the scenarios with very many of
    them.
    """
    looks = style.looks(select.names(results))
    found = []
    for place, cells in select.places(results).items():
        rows = [
            Row(
                cell["backend"],
                looks[cell["backend"]],
                {
                    part: _scaled(spanOf(cell, metric))
                    for part, metric in HELD_PARTS.items()
                },
            )
            for cell in cells
            if select.has(cell, HELD_PARTS.values())
        ]
        if place.kind != "held" or not rows:
            continue
        title = f"Memory of each of {count(place.connections)} connections"
        noise = [
            (low / 1024, high / 1024)
            for cell in cells
            if (band := _noiseOfSum(results, cell)) is not None
            for low, high in [band]
        ]
        figure = bars(
            Heading(
                title,
                f"{place.conditions()}{NOISE_LABEL * bool(noise)}",
                "KiB",
                sourceOf(results),
            ),
            rows,
            quantities.memory,
            noise,
        )
        caption = (
            "How much more memory there was in use with all connections open than "
            "before the first, divided by their number. Filled: of the server; "
            "a page that its processes share counts once. Hatched: of the kernel "
            "(objects, stacks, "
            "page tables), which is of the whole machine: both ends of every "
            "connection are on it. The whisker is the "
            f"{select.intervalName(results)} of the sum. "
            + (noiseCaption(results) + " ") * bool(noise)
            + " ".join(map(sentence, select.failures(cells)))
        )
        alt = f"Stacked bars of {small(title)}. "
        alt += rowsSaid(rows, quantities.memory)
        found.append(Chart("connections", title, caption.strip(), alt, figure))
    return found


def _scaled(span: Span) -> Span:
    """
    Bytes as KiB.
    """
    low, median, high = (each / 1024 for each in span)
    return low, median, high


def _noiseOfSum(results: Results, cell: Cell) -> tuple[float, float] | None:
    """
    The noise band around the baseline's sum of both parts.
    """
    bands = [noiseBand(results, cell, metric) for metric in HELD_PARTS.values()]
    known = [band for band in bands if band is not None]
    if len(known) < len(bands):
        return None
    return sum(low for low, _ in known), sum(high for _, high in known)
