# -*- test-case-name: tests.test_report -*-
"""
Response time: its percentiles, and how idle or stalled connections change it.
"""

from __future__ import annotations

import math

from iodemo.report import select, style
from iodemo.report.figures.chart import (
    MEMORY,
    NOISE_LABEL,
    Chart,
    absence,
    chosen,
    noiseBand,
    noiseCaption,
    rowsSaid,
    sentence,
    sourceOf,
    spanOf,
)
from iodemo.report.figures.curves import RESPONSE, linesSaid, positions, responsePanels
from iodemo.report.figures.memory import grown
from iodemo.report.layout import Heading
from iodemo.report.plots import Panel, Series, panels
from iodemo.report.rows import Row, dots
from iodemo.report.select import Place, listed
from iodemo.results import quantities
from iodemo.results.metrics import TIME
from iodemo.results.quantities import count
from iodemo.results.schema import Cell, Results

PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")
# Of those, the ones with room for a band of noise.
_NOISY = ("p50", "p99")
_FELT = "latency_us.p50"

# Where a percentile is on an axis that has as much room for the slowest tenth of all
# responses as for the slowest hundredth of them, and so on, as HdrHistogram's plots
# have it: at -log10(1 - p). The slowest of all is one step further.
_ALONG = {
    **{name: -math.log10(1 - p / 100) for name, p in (("p50", 50), ("p90", 90))},
    **{name: -math.log10(1 - p / 100) for name, p in (("p99", 99), ("p99.9", 99.9))},
    "max": 4.0,
}


def percentiles(results: Results) -> list[Chart]:
    place = select.representative(results, ["latency_us.p50", "latency_us.p99"])
    if place is None:
        return []
    cells = select.places(results)[place]
    looks = style.looks(select.names(results))
    rows = []
    for cell in cells:
        spans = {
            dot: spanOf(cell, f"latency_us.{dot}", least=0.1)
            for dot in PERCENTILES
            if select.has(cell, [f"latency_us.{dot}"])
        }
        if spans:
            rows.append(Row(cell["backend"], looks[cell["backend"]], spans))
    title = f"Response time, {place.label()}"
    noise = [
        band
        for cell in cells
        for dot in _NOISY
        if (band := noiseBand(results, cell, f"latency_us.{dot}")) is not None
    ]
    label = f"{NOISE_LABEL} of {listed(_NOISY)}"
    conditions = place.conditions() + label * bool(noise)
    figure = dots(
        Heading(title, conditions, "", sourceOf(results)),
        rows,
        quantities.duration,
        noise,
    )
    caption = (
        f"Half of all responses came faster than p50, 99 in 100 faster than p99. "
        f"{chosen(results, place, rows)} Pale bars: the {select.intervalName(results)} "
        "over rounds. "
        + (noiseCaption(results) + " ") * bool(noise)
        + absence(results, rows)
    )
    alt = f"Dot chart of response time with {place.label()}. "
    alt += rowsSaid(rows, quantities.duration)
    return [Chart("latency", title, caption.strip(), alt, figure)]


def distribution(results: Results) -> list[Chart]:
    """
    Response time by percentile: a line for each backend. Where the slowest requests
    take long, the right end of the line is steep.
    """
    place = select.representative(results, ["latency_us.p50", "latency_us.p99"])
    if place is None:
        return []
    cells = select.places(results)[place]
    looks = style.looks(select.names(results))
    series = []
    noise = {}
    for cell in cells:
        spans = {}
        for name, at in _ALONG.items():
            metric = f"latency_us.{name}"
            if select.has(cell, [metric]):
                low, median, high = spanOf(cell, metric, least=0.1)
                spans[at] = (low / TIME.scale, median / TIME.scale, high / TIME.scale)
                band = noiseBand(results, cell, metric)
                if band is not None:
                    noise[at] = (band[0] / TIME.scale, band[1] / TIME.scale)
        if spans:
            series.append(Series(cell["backend"], looks[cell["backend"]], spans))
    title = "Response time by percentile"
    figure = panels(
        Heading(
            title,
            f"{place.label()}, {place.conditions()}{NOISE_LABEL * bool(noise)}",
            "",
            sourceOf(results),
        ),
        [
            Panel(
                f"{TIME.axis} (log scale)",
                series,
                logarithmic=True,
                tall=330.0,
                noise=noise,
            )
        ],
        {at: name for name, at in _ALONG.items()},
        "of all responses, so many came faster",
    )
    rows = [Row(one.name, one.look, {}) for one in series]
    caption = (
        "Each step to the right is of a tenth as many responses: of 10 one is slower "
        "than p90, of 100 one than p99; max is the slowest. "
        f"{chosen(results, place, rows)} Bands are the "
        f"{select.intervalName(results)} over rounds. "
        + (noiseCaption(results) + " ") * bool(noise)
        + absence(results, rows)
    )
    back = {at: name for name, at in _ALONG.items()}
    alt = f"Line chart of response time by percentile, {place.label()}. " + linesSaid(
        series,
        lambda at, value: f"{back[at]} {quantities.duration(value * TIME.scale)}",
    )
    return [Chart("percentiles", title, caption.strip(), alt, figure)]


def againstIdle(results: Results) -> list[Chart]:
    """
    Response time of the busy connections against the number of idle ones.
    """
    groups: dict[Place, dict[Place, list[Cell]]] = {}
    for place, cells in select.places(results).items():
        if place.scenario == "idle":
            groups.setdefault(place.but(idle=0), {})[place] = cells
    found = []
    for same, group in groups.items():
        cells = [cell for there in group.values() for cell in there]
        if len(group) > 1 and any(select.has(c, RESPONSE) for c in cells):
            found.append(_overIdle(results, same, group, cells))
    return found


def _overIdle(
    results: Results, same: Place, group: dict[Place, list[Cell]], cells: list[Cell]
) -> Chart:
    along = positions([place.point.idle for place in group])
    zero = "; 0 set apart" if 0 in along else ""
    upper, lower = responsePanels(results, cells, "idle", along, lower=250.0)
    title = "Response time against idle connections"
    figure = panels(
        Heading(
            title,
            f"{count(same.point.active)} busy connections, {same.conditions()}"
            f"{NOISE_LABEL * bool(upper.noise)}",
            "",
            sourceOf(results),
        ),
        [upper, lower],
        {at: count(value) for value, at in along.items()},
        f"idle connections (log scale{zero})",
    )
    said = [
        f"The response time of {count(same.point.active)} connections in a closed "
        "loop, while others are open and silent. Lines go through the medians; the "
        f"bands are the {select.intervalName(results)} over rounds."
    ]
    if upper.noise:
        said.append(noiseCaption(results))
    if zero:
        said.append("0 is one step left of the first number, with no scale between.")
    said += map(sentence, select.failures(cells))
    back = {at: value for value, at in along.items()}
    alt = f"Two line charts above each other: {title.lower()}. " + linesSaid(
        upper.series,
        lambda at, value: (
            f"99 of 100 within {quantities.duration(value * TIME.scale)} "
            f"at {count(back[at])}"
        ),
    )
    return Chart("idle-latency", title, " ".join(said), alt, figure)


def besideStalled(results: Results) -> list[Chart]:
    """
    Response time of the connections that read, with and without stalled ones.
    """
    places = select.places(results)
    looks = style.looks(select.names(results))
    found = []
    for place, cells in places.items():
        without = place.but(stalled=0)
        if not place.point.stalled or without not in places:
            continue
        before = {cell["backend"]: cell for cell in places[without]}
        names = "none stalled", f"with {count(place.point.stalled)} stalled"
        rows = []
        grew = []
        noise = []
        for cell in cells:
            name = cell["backend"]
            if name not in before:
                continue
            pair = before[name], cell
            noise += [
                band
                for each in pair
                if (band := noiseBand(results, each, _FELT)) is not None
            ]
            if all(select.has(each, [_FELT]) for each in pair):
                spans = [spanOf(each, _FELT, least=0.1) for each in pair]
                rows.append(
                    Row(name, looks[name], dict(zip(names, spans, strict=True)))
                )
            if all(select.has(each, [MEMORY]) for each in pair):
                _, kib, _ = grown(*pair)
                grew.append(f"{name} {quantities.memory(kib)}")
        if not rows:
            continue
        title = "Response time while others do not read"
        figure = dots(
            Heading(
                title,
                f"{without.label()}, {place.conditions()}, half of all responses"
                f"{NOISE_LABEL * bool(noise)}",
                "",
                sourceOf(results),
            ),
            rows,
            quantities.duration,
            noise,
        )
        caption = (
            f"Half of all responses to {without.label()} came faster than this, alone "
            f"and while {count(place.point.stalled)} more send requests and read no "
            "answer. "
            f"Pale bars: the {select.intervalName(results)} over rounds. "
            + f"The server's memory grew by, for each of these: {listed(grew)}. "
            * bool(grew)
            + (noiseCaption(results) + " ") * bool(noise)
            + absence(results, rows)
        )
        alt = f"Dot chart of response time, {place.label()}. "
        alt += rowsSaid(rows, quantities.duration)
        found.append(Chart("slow", title, caption.strip(), alt, figure))
    return found
