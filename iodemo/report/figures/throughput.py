# -*- test-case-name: tests.test_report -*-
"""
Throughput over the number of connections.
"""

from __future__ import annotations

from iodemo.report import select
from iodemo.report.figures.chart import (
    NOISE_LABEL,
    Chart,
    capital,
    noiseCaption,
    sentence,
    small,
    sourceOf,
)
from iodemo.report.figures.curves import (
    axisOf,
    bandsSaid,
    curves,
    linesSaid,
    noiseAlong,
    positions,
)
from iodemo.report.layout import Heading
from iodemo.report.plots import lines
from iodemo.report.select import BOUND_NOTE, Place
from iodemo.results import quantities
from iodemo.results.quantities import count
from iodemo.results.schema import Cell, Results


def charts(results: Results) -> list[Chart]:
    """
    Throughput against the number of connections that a scenario varies: a chart for
    each scenario, and for each combination of its other parameters.
    """
    found = []
    places = select.places(results)
    for scenario in dict.fromkeys(place.scenario for place in places):
        those = {p: cells for p, cells in places.items() if p.scenario == scenario}
        varied = "idle" if len({p.point.idle for p in those}) > 1 else "active"
        groups: dict[Place, dict[Place, list[Cell]]] = {}
        for place, cells in those.items():
            idle = varied == "idle"
            same = place.but(idle=0) if idle else place.but(active=0)
            groups.setdefault(same, {})[place] = cells
        for same, group in groups.items():
            ok = [c for cells in group.values() for c in cells if c["status"] == "ok"]
            if ok and len(group) > 1:
                found.append(_overConnections(results, varied, same, group))
    return found


def _overConnections(
    results: Results, varied: str, same: Place, group: dict[Place, list[Cell]]
) -> Chart:
    values = [getattr(place.point, varied) for place in group]
    along = positions(values)
    cells = [cell for there in group.values() for cell in there]
    series = curves(results, cells, varied, along, scale=same.rateScale)
    kind, other = ("idle", "busy") if varied == "idle" else ("busy", "idle")
    # One of the two is what is varied, and was set to 0.
    fixed = same.point.active + same.point.idle
    others = f"{count(fixed)} {other} connections, " if fixed else ""
    axis = axisOf(same, kind)
    title = "New connections" if same.point.churn else f"Throughput against {axis}"
    if not same.point.churn and same.scenario != varied:
        # Of many scenarios it is the busy connections that are varied.
        title = f"{same.scenario}: {small(title)}"
    zero = "; 0 set apart" if 0 in along else ""
    noise = noiseAlong(results, cells, varied, along, scale=same.rateScale)
    figure = lines(
        Heading(
            title,
            others + same.conditions() + NOISE_LABEL * bool(noise),
            f"{same.counted} a second",
            sourceOf(results),
        ),
        series,
        {at: count(value) for value, at in along.items()},
        f"{axis} (log scale{zero})",
        noise,
    )
    said = [
        f"{capital(same.counted)} a second, {others}{same.conditions()}. "
        f"A line goes through the medians; {bandsSaid(results, series, along)}",
    ]
    if noise:
        said.append(noiseCaption(results))
    if any(one.bounds for one in series):
        said.append(BOUND_NOTE.format("Hollow"))
    if zero:
        said.append("0 is one step left of the first number, with no scale between.")
    said += [sentence(failure) for failure in select.failures(cells)]
    back = {at: value for value, at in along.items()}
    alt = f"Line chart of {title.lower()}. " + linesSaid(
        series, lambda at, value: f"{quantities.rate(value)} at {count(back[at])}"
    )
    return Chart(same.scenario, title, " ".join(said), alt, figure)
