# -*- test-case-name: tests.test_report -*-
"""
Response time along a parameter, for every parameter that L{iodemo.results.schema} gives
an axis.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    RESPONSE,
    bandsSaid,
    linesSaid,
    positions,
    responsePanels,
)
from iodemo.report.layout import Heading
from iodemo.report.plots import panels
from iodemo.report.select import Place
from iodemo.results.metrics import TIME
from iodemo.results.quantities import duration
from iodemo.results.schema import DEFAULTS, PARAMETERS, Cell, Results


def charts(results: Results) -> list[Chart]:
    """
    A chart for each scenario whose points differ in a parameter with an axis, and for
    each combination of its other parameters.
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
            drawn = any(select.has(cell, RESPONSE) for cell in cells)
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
    upper, lower = responsePanels(results, cells, name, along)
    title = f"Response time against {parameter.axis}"
    # Without its scenario, a place has no words for the parameter that this varies.
    label = same._replace(scenario="").label()
    conditions = f"{label}, {same.conditions()}"
    figure = panels(
        Heading(
            title,
            conditions + NOISE_LABEL * bool(upper.noise),
            "",
            sourceOf(results),
        ),
        [upper, lower],
        {at: parameter.say(value) for value, at in along.items()},
        parameter.axis,
    )
    said = [
        f"{capital(parameter.description)}. {capital(conditions)}. Marks are the "
        f"medians; {bandsSaid(results, upper.series, along)}"
    ]
    if upper.noise:
        said.append(noiseCaption(results))
    said += map(sentence, select.failures(cells))
    back = {at: parameter.said.format(parameter.say(v)) for v, at in along.items()}
    alt = f"Two charts above each other: {title.lower()}. " + linesSaid(
        upper.series,
        lambda at, value: (
            f"99 of 100 within {duration(value * TIME.scale)} at {back[at]}"
        ),
    )
    return Chart(name, title, " ".join(said), alt, figure)
