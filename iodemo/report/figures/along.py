# -*- test-case-name: tests.test_report -*-
"""
Response time along a parameter, for every parameter that L{iodemo.results.schema} gives
an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iodemo.report import select
from iodemo.report.figures.chart import (
    NOISE_LABEL,
    Chart,
    capital,
    noiseCaption,
    sentence,
    sourceOf,
)
from iodemo.report.figures.curves import (
    bandsSaid,
    curves,
    linesSaid,
    noiseAlong,
    positions,
    unexplained,
)
from iodemo.report.layout import Heading
from iodemo.report.plots import Panel, panels
from iodemo.report.select import Place
from iodemo.results.metrics import TIME
from iodemo.results.quantities import duration
from iodemo.results.schema import DEFAULTS, PARAMETERS, Cell, Results

_METRICS = ("latency_us.p99", "latency_us.p50")


def charts(results: Results) -> list[Chart]:
    """
    A chart for each scenario whose points differ in such a parameter, and for each
    combination of its other parameters.
    """
    found = []
    for name, parameter in PARAMETERS.items():
        groups: dict[Place, dict[Place, list[Cell]]] = {}
        for place, cells in select.places(results).items():
            if parameter.axis:
                same = place.but(**{name: DEFAULTS[name]})
                groups.setdefault(same, {})[place] = cells
        for same, group in groups.items():
            cells = [cell for there in group.values() for cell in there]
            drawn = any(select.has(cell, _METRICS) for cell in cells)
            if len(group) > 1 and drawn:
                found.append(_along(results, name, same, list(group), cells))
    return found


def _along(
    results: Results,
    name: str,
    same: Place,
    places: Sequence[Place],
    cells: Sequence[Cell],
) -> Chart:
    parameter = PARAMETERS[name]
    values = [getattr(place.point, name) for place in places]
    along = positions(values)
    # A logarithmic axis has no position for a failure.
    tails, halves = (
        [
            replace(one, stopped=None)
            for one in curves(results, cells, name, along, metric)
        ]
        for metric in _METRICS
    )
    noise = [noiseAlong(results, cells, name, along, metric) for metric in _METRICS]
    title = f"Response time against {parameter.axis}"
    conditions = f"{same.load()}, {same.conditions()}"
    figure = panels(
        Heading(
            title,
            conditions + NOISE_LABEL * bool(noise[0]),
            "",
            sourceOf(results),
        ),
        [
            Panel(
                f"99 of 100 answers come within: {TIME.axis} (log scale)",
                tails,
                logarithmic=True,
                tall=310.0,
                noise=noise[0],
            ),
            Panel(
                "half of them within",
                [*map(unexplained, halves)],
                logarithmic=True,
                tall=190.0,
                noise=noise[1],
            ),
        ],
        {at: parameter.say(value) for value, at in along.items()},
        parameter.axis,
    )
    said = [
        f"{capital(parameter.description)}. {capital(conditions)}. Lines go through "
        f"the medians; {bandsSaid(results, tails, along)}"
    ]
    if noise[0]:
        said.append(noiseCaption(results))
    said += map(sentence, select.failures(cells))
    back = {at: parameter.said.format(parameter.say(v)) for v, at in along.items()}
    alt = f"Two line charts above each other: {title.lower()}. " + linesSaid(
        tails,
        lambda at, value: (
            f"99 of 100 within {duration(value * TIME.scale)} at {back[at]}"
        ),
    )
    return Chart(name, title, " ".join(said), alt, figure)
