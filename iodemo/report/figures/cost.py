# -*- test-case-name: tests.test_report -*-
"""
The cost of a request: CPU time and system calls.
"""

from __future__ import annotations

from iodemo.models import CALLS
from iodemo.report import select, style
from iodemo.report.figures.chart import (
    NOISE_LABEL,
    Chart,
    absence,
    chosen,
    noiseBand,
    noiseCaption,
    small,
    sourceOf,
    spanOf,
)
from iodemo.report.layout import Heading, Span
from iodemo.report.rows import Row, bars
from iodemo.results import quantities
from iodemo.results.metrics import BY_KEY
from iodemo.results.schema import Cell, Results

CPU = "server_cpu_us_per_request"
CPU_PARTS = {
    "user": "server_user_us_per_request",
    "system": "server_system_us_per_request",
}
UNDIVIDED_NOTE = (
    "Upright stripes: both, where many processes used too little CPU time for the "
    "kernel to divide. "
)


def cpu(results: Results) -> list[Chart]:
    place = select.representative(results, [CPU])
    if place is None:
        return []
    looks = style.looks(select.names(results))
    cells = [c for c in select.places(results)[place] if select.has(c, [CPU])]
    rows = [
        Row(
            cell["backend"],
            looks[cell["backend"]],
            _shares(cell),
            spanOf(cell, CPU),
        )
        for cell in cells
    ]
    noise = [
        band for cell in cells if (band := noiseBand(results, cell, CPU)) is not None
    ]
    divided = all(len(row.spans) == len(CPU_PARTS) for row in rows)
    title = "CPU time of the server per request"
    figure = bars(
        Heading(
            title,
            f"{place.label()}, {place.conditions()}{NOISE_LABEL * bool(noise)}",
            BY_KEY[CPU].quantity.axis,
            sourceOf(results),
        ),
        rows,
        quantities.duration,
        noise,
    )
    caption = (
        "Filled: in the program (Python, Twisted). Hatched: in the kernel, for the "
        f"program. {'' if divided else UNDIVIDED_NOTE}{chosen(results, place, rows)} "
        f"The whisker is the {select.intervalName(results)} of the sum. "
        + (noiseCaption(results) + " ") * bool(noise)
        + absence(results, rows)
    )
    alt = f"Stacked bars of CPU time per request with {place.label()}. " + " ".join(
        f"{row.name}: "
        + ", ".join(
            f"{part} {quantities.duration(span[1])}"
            for part, span in row.spans.items()
            if span[1]
        )
        + "."
        for row in rows
    )
    return [Chart("cpu", title, caption.strip(), alt, figure)]


def _shares(cell: Cell) -> dict[str, Span]:
    """
    CPU time in user mode and in the kernel, scaled so that their sum is the median of
    the whole: the medians of two parts need not add up to it. If the parts are not
    known, the whole is one part.
    """
    whole = spanOf(cell, CPU)
    if select.has(cell, CPU_PARTS.values()):
        parts = {part: spanOf(cell, metric) for part, metric in CPU_PARTS.items()}
        total = sum(median for _, median, _ in parts.values())
        if total:
            scale = whole[1] / total
            return {
                part: (low * scale, median * scale, high * scale)
                for part, (low, median, high) in parts.items()
            }
    return {**dict.fromkeys(CPU_PARTS, (0.0, 0.0, 0.0)), "undivided": whole}


def calls(results: Results) -> list[Chart]:
    """
    The system calls of a request: a chart for each place that L{select.counted} has.
    """
    looks = style.looks(select.names(results))
    found: list[Chart] = []
    for place, cells in select.counted(results).items():
        rows = []
        for cell in cells:
            calls = {k: min(n, 1e15) for k, n in cell["syscalls_by_name"].items()}
            parts = {
                part: sum(calls.pop(name, 0.0) for name in names)
                for part, names in CALLS.items()
            }
            parts["other"] = sum(calls.values())
            spans = {part: (each, each, each) for part, each in parts.items()}
            rows.append(Row(cell["backend"], looks[cell["backend"]], spans))
        title = "System calls per request"
        if found:
            title = f"{place.scenario}: {small(title)}"
        figure = bars(
            Heading(
                title, f"{place.label()}, {place.conditions()}", "", sourceOf(results)
            ),
            rows,
            quantities.few,
            noise=(),
        )
        caption = (
            f"System calls of one request, with {place.label()}: counted once, after "
            "the last round. io_uring_enter, which is all of these in one, is a wait "
            f"here. {absence(results, rows)}"
        )
        alt = f"Stacked bars of system calls per request with {place.label()}. "
        alt += " ".join(
            f"{cell['backend']}: {select.callsSaid(cell['syscalls_by_name'])}."
            for cell in cells
        )
        name = f"calls-{place.scenario}" if found else "calls"
        found.append(Chart(name, title, caption.strip(), alt, figure))
    return found
