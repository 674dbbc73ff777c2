# -*- test-case-name: tests.test_report -*-
"""
The cost of a thread or a process for each connection.
"""

from __future__ import annotations

from collections.abc import Sequence

from iodemo.models import BASELINE, MODELS
from iodemo.report import select
from iodemo.report.figures.chart import (
    MEMORY,
    NOISE_LABEL,
    Chart,
    noiseCaption,
    sentence,
    sourceOf,
)
from iodemo.report.figures.curves import (
    axisOf,
    curves,
    noiseAlong,
    positions,
    unexplained,
)
from iodemo.report.layout import Heading
from iodemo.report.plots import Band, Panel, Series, panels
from iodemo.report.select import BOUND_NOTE, Place
from iodemo.results import quantities
from iodemo.results.metrics import BY_KEY
from iodemo.results.quantities import count
from iodemo.results.schema import Cell, Results

SWITCHES = "context_switches_per_request"

#: The models with a thread or a process for each connection.
BLOCKING = [model.name for model in MODELS if model.blocking]

_BUSY_METRICS = ("throughput", MEMORY, SWITCHES)


def charts(results: Results) -> list[Chart]:
    """
    The cost of a thread or a process for each connection, against the number of busy
    connections. Points without idle connections of all scenarios are drawn.
    """
    groups: dict[Place, dict[int, list[Cell]]] = {}
    for place, cells in select.places(results).items():
        if not place.point.idle:
            same = place.but(active=0)._replace(scenario="")
            groups.setdefault(same, {}).setdefault(place.point.active, cells)
    found = []
    for same, points in groups.items():
        cells = [cell for active in sorted(points) for cell in points[active]]
        drawn = {c["backend"] for c in cells if select.has(c, _BUSY_METRICS)}
        if len(points) > 2 and not drawn.isdisjoint(BLOCKING):
            found.append(_overBusy(results, same, list(points), cells))
    return found


def _overBusy(
    results: Results, same: Place, points: Sequence[int], cells: Sequence[Cell]
) -> Chart:
    along = positions(points)
    # An ok cell without all that is drawn would be missing from one panel.
    whole = [c for c in cells if c["status"] != "ok" or select.has(c, _BUSY_METRICS)]

    def series(metric: str) -> list[Series]:
        shown = [c for c in whole if c["backend"] in (*BLOCKING, BASELINE)]
        found = curves(results, shown, "active", along, metric)
        return found if metric == "throughput" else [*map(unexplained, found)]

    throughput = series("throughput")

    def noise(metric: str) -> Band:
        return noiseAlong(results, whole, "active", along, metric)

    title = "A thread or a process for each connection"
    conditions = f"{'' if same.point.churn else 'all busy, '}{same.conditions()}"
    figure = panels(
        Heading(
            title,
            conditions + NOISE_LABEL * bool(noise("throughput")),
            "",
            sourceOf(results),
        ),
        [
            Panel(
                f"{same.counted} a second",
                throughput,
                tall=190.0,
                noise=noise("throughput"),
            ),
            Panel(
                f"memory of the server, {BY_KEY[MEMORY].quantity.axis} (log scale)",
                series(MEMORY),
                logarithmic=True,
                noise=noise(MEMORY),
            ),
            Panel(
                "context switches per request", series(SWITCHES), noise=noise(SWITCHES)
            ),
        ],
        {at: count(value) for value, at in along.items()},
        f"{axisOf(same, 'busy')} (log scale)",
    )
    said = [
        f"{same.counted.capitalize()} a second, memory of the server (what processes "
        f"share counts once) and context switches per request, "
        f"{conditions if same.point.churn else 'with every connection busy'}. "
        f"The bands are the {select.intervalName(results)} over rounds."
    ]
    if noise("throughput"):
        said.append(noiseCaption(results))
    if any(one.bounds for one in throughput):
        said.append(BOUND_NOTE.format("Hollow"))
    said += map(sentence, select.failures(cells))
    alt = f"Three line charts above each other: {title.lower()}. " + " ".join(
        f"{name}: "
        + "; ".join(
            f"at {count(cell['parameters'].active)}, "
            f"{quantities.rate(cell['summary']['throughput']['median'])} a second, "
            f"{quantities.memory(cell['summary'][MEMORY]['median'])}, "
            f"{cell['summary'][SWITCHES]['median']:.2g} context switches a request"
            for cell in whole
            if cell["backend"] == name and cell["status"] == "ok"
        )
        + "."
        for name in (one.name for one in throughput)
    )
    return Chart("threads", title, " ".join(said), alt, figure)
