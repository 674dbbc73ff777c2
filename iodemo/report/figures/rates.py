# -*- test-case-name: tests.test_report -*-
"""
Response time against the rate at which requests are due.
"""

from __future__ import annotations

from collections.abc import Sequence

from iodemo.bench.scenarios import RATE
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
    positions,
    responsePanels,
)
from iodemo.report.layout import Heading
from iodemo.report.plots import panels
from iodemo.report.select import Place, listed
from iodemo.results import quantities
from iodemo.results.quantities import count
from iodemo.results.schema import Cell, Results


def charts(results: Results) -> list[Chart]:
    """
    Response time against the requests due a second, or against their share of each
    backend's capacity.
    """
    groups: dict[tuple[str, Place], list[Cell]] = {}
    for place, cells in select.places(results).items():
        if place.scenario == RATE and place.point.isPaced:
            varied = "rate" if place.point.rate else "share"
            same = place.but(rate=None, share=None)
            groups.setdefault((varied, same), []).extend(cells)
    return [
        _overRates(results, varied, same, cells)
        for (varied, same), cells in groups.items()
        if any(select.has(cell, RESPONSE) for cell in cells)
    ]


def _overRates(
    results: Results, varied: str, same: Place, cells: Sequence[Cell]
) -> Chart:
    of = "what is due" if varied == "rate" else "the share due"
    say = count if varied == "rate" else quantities.percent

    def due(cell: Cell) -> float:
        return float(getattr(cell["parameters"], varied))

    along = positions([due(cell) for cell in cells])
    whole = [c for c in cells if c["status"] != "ok" or select.has(c, RESPONSE)]

    late: dict[str, list[float]] = {}
    for cell in whole:
        if cell["status"] == "ok" and not select.keptUp(cell):
            late.setdefault(cell["backend"], []).append(along[due(cell)])

    upper, lower = responsePanels(results, whole, varied, along, late)
    ones = upper.series
    label = NOISE_LABEL * bool(upper.noise)
    title = f"Response time against {of}"
    figure = panels(
        Heading(
            title,
            f"{count(same.point.active)} connections, {same.conditions()}{label}",
            "",
            sourceOf(results),
        ),
        [upper, lower],
        {at: say(value) for value, at in along.items()},
        "requests due a second (log scale)"
        if varied == "rate"
        else "requests due, of what each answers at most (log scale)",
    )
    said = [
        "From when a request was due until it was answered, whether or not it could be "
        "sent at once. Requests are due at random (a Poisson process), as users come "
        f"without regard to each other. {capital(bandsSaid(results, ones, along))}"
    ]
    if varied == "share":
        said.append(
            "The most that a backend answers is its median in a closed loop of as many "
            "connections, in the same run."
        )
    if any(one.bounds for one in ones):
        said.append(
            "Hollow: it did not keep up, more was due every moment, and the response "
            "time is the longer the longer one measures."
        )
    if label:
        said.append(noiseCaption(results))
    limited = {c["backend"]: None for c in whole if c["load_limited"]}
    if limited:
        said.append(f"The load was the limit somewhere of: {listed(list(limited))}.")
    said += map(sentence, select.failures(cells))
    alt = f"Two line charts above each other: {title.lower()}. " + " ".join(
        f"{one.name}: "
        + "; ".join(
            f"at {cell['parameters'].said(varied)} half within "
            f"{quantities.duration(cell['summary']['latency_us.p50']['median'])}, "
            "99 of 100 within "
            f"{quantities.duration(cell['summary']['latency_us.p99']['median'])}"
            + " and did not keep up"
            * (not select.keptUp(cell))
            for cell in whole
            if cell["backend"] == one.name and cell["status"] == "ok"
        )
        + "."
        for one in ones
    )
    return Chart(varied, title, " ".join(said), alt, figure)
