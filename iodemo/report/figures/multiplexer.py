# -*- test-case-name: tests.test_report -*-
"""
The time to find the ready pipes, among more and more pipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iodemo.report import select, style
from iodemo.report.figures.chart import (
    NOISE_LABEL,
    Chart,
    noiseCaption,
    sentence,
    sourceOf,
)
from iodemo.report.figures.curves import (
    bandsSaid,
    curves,
    noiseAlong,
    positions,
    unexplained,
)
from iodemo.report.layout import Heading
from iodemo.report.plots import Band, Panel, Series, panels
from iodemo.report.published import CURVES, SOURCES, WHO
from iodemo.report.select import Place
from iodemo.results import quantities
from iodemo.results.metrics import MICROSECONDS
from iodemo.results.quantities import count
from iodemo.results.schema import Cell, Results

OPERATION = "latency_us.p50"
CALL = "us_per_call"

_PIPES_METRICS = (OPERATION, CALL)


def charts(results: Results) -> list[Chart]:
    """
    The time to find the ready pipes, against the number that are watched.
    """
    groups: dict[Place, list[Cell]] = {}
    for place, cells in select.places(results).items():
        groups.setdefault(place.but(idle=0), []).extend(cells)
    return [
        _overPipes(results, same.point.active, cells)
        for same, cells in groups.items()
        if any(select.has(cell, _PIPES_METRICS) for cell in cells)
    ]


def _overPipes(results: Results, active: int, cells: Sequence[Cell]) -> Chart:
    published = CURVES if active == 1 else ()
    counts = [Place.of(cell).connections for cell in cells]
    along = positions([*counts, *(n for one in published for n in one.microseconds)])
    looks = style.looks(select.names(results))
    whole = [c for c in cells if c["status"] != "ok" or select.has(c, _PIPES_METRICS)]

    def series(metric: str) -> list[Series]:
        found = curves(results, whole, "connections", along, metric, 1.0)
        if metric == CALL:
            return [*map(unexplained, found)]
        # There is no place for a failure on a logarithmic axis.
        return [replace(one, stopped=None) for one in found]

    def noise(metric: str) -> Band:
        return noiseAlong(results, whole, "connections", along, metric, 1.0)

    ones = series(OPERATION)
    label = NOISE_LABEL * bool(noise(OPERATION))
    these = "one" if active == 1 else count(active)
    are = "is" if active == 1 else "are"
    title = f"Finding the {these} of many pipes that {are} ready"
    subtitle = f"no network; grey, published: {WHO}" if published else "no network"
    subtitle += label
    others = [
        Series(
            f"{one.call} {one.year}",
            replace(looks[one.call], color=style.PALE, ink=style.QUIET, line="--"),
            {along[n]: (us, us, us) for n, us in one.microseconds.items()},
            published=True,
        )
        for one in published
    ]
    figure = panels(
        Heading(title, subtitle, "", sourceOf(results)),
        [
            Panel(
                f"{MICROSECONDS.axis} to write, find and read (log scale)",
                [*ones, *others],
                logarithmic=True,
                tall=310.0,
                noise=noise(OPERATION),
            ),
            Panel(
                f"{MICROSECONDS.axis} in the multiplexer alone (log scale)",
                series(CALL),
                logarithmic=True,
                tall=190.0,
                noise=noise(CALL),
            ),
        ],
        {at: count(value) for value, at in along.items()},
        "pipes (log scale)",
    )
    said = [
        f"Microseconds, of one operation: a byte is written into {these} of the pipes, "
        "found and read; below, those of them in the multiplexer. Medians of "
        f"operations; {bandsSaid(results, [*ones, *others], along)}"
    ]
    if published:
        said.append(
            "Grey, as published: "
            + "; ".join(f"{year}: {source}" for year, source in SOURCES.items())
            + ". On other machines, in C: compare how they rise, not where they are."
        )
    if label:
        said.append(noiseCaption(results))
    said += map(sentence, select.failures(cells))
    alt = f"Two line charts above each other: {title.lower()}. " + " ".join(
        f"{one.name}: "
        + "; ".join(
            f"of {count(Place.of(cell).connections)}, "
            f"{quantities.duration(cell['summary'][OPERATION]['median'])}, "
            f"{quantities.duration(cell['summary'][CALL]['median'])} in the multiplexer"
            for cell in whole
            if cell["backend"] == one.name and cell["status"] == "ok"
        )
        + "."
        for one in ones
    )
    name = f"multiplexer-{active}" if active > 1 else "multiplexer"
    return Chart(name, title, " ".join(said), alt, figure)
