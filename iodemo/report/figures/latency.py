# -*- test-case-name: tests.test_report -*-
"""
Response time: its percentiles, and what others that do not read make of it.
"""

from __future__ import annotations

from iodemo.lab.results import Results
from iodemo.report import reading, style
from iodemo.report.figures.chart import (
    MEMORY,
    NOISE_LABEL,
    Chart,
    absence,
    chosen,
    noiseCaption,
    noiseOf,
    rowsSaid,
    sourceOf,
    spanOf,
)
from iodemo.report.figures.memory import grown
from iodemo.report.layout import Heading
from iodemo.report.reading import count, listed
from iodemo.report.rows import Row, dots

PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")
# Of those, the ones with room for a band of noise.
_NOISY = ("p50", "p99")
_FELT = "latency_us.p50"


def percentiles(results: Results) -> list[Chart]:
    place = reading.representative(results, ["latency_us.p50", "latency_us.p99"])
    if place is None:
        return []
    cells = reading.places(results)[place]
    looks = style.looks(reading.names(results))
    rows = []
    for cell in cells:
        spans = {
            dot: spanOf(cell, f"latency_us.{dot}", least=0.1)
            for dot in PERCENTILES
            if reading.has(cell, [f"latency_us.{dot}"])
        }
        if spans:
            rows.append(Row(cell["backend"], looks[cell["backend"]], spans))
    title = f"Response time, {place.load()}"
    noise = [
        band
        for cell in cells
        for dot in _NOISY
        if (band := noiseOf(results, cell, f"latency_us.{dot}")) is not None
    ]
    label = f"{NOISE_LABEL} of {listed(_NOISY)}"
    conditions = place.conditions() + label * bool(noise)
    figure = dots(
        Heading(title, conditions, "", sourceOf(results)), rows, reading.duration, noise
    )
    caption = (
        f"Half of all responses came faster than p50, 99 in 100 faster than p99. "
        f"{chosen(results, place, rows)} Pale bars: the {reading.spread(results)} "
        "over rounds. "
        + (noiseCaption(results) + " ") * bool(noise)
        + absence(results, rows)
    )
    alt = f"Dot chart of response time with {place.load()}. "
    alt += rowsSaid(rows, reading.duration)
    return [Chart("latency", title, caption.strip(), alt, figure)]


def besideStalled(results: Results) -> list[Chart]:
    """
    What those who read feel of others who do not.
    """
    places = reading.places(results)
    looks = style.looks(reading.names(results))
    found = []
    for place, cells in places.items():
        without = place._replace(stalled=0)
        if not place.stalled or without not in places:
            continue
        before = {cell["backend"]: cell for cell in places[without]}
        names = "none stalled", f"with {count(place.stalled)} stalled"
        rows = []
        grew = []
        for cell in cells:
            name = cell["backend"]
            pair = before.get(name, cell), cell
            if all(reading.has(each, [_FELT]) for each in pair):
                spans = [spanOf(each, _FELT, least=0.1) for each in pair]
                rows.append(
                    Row(name, looks[name], dict(zip(names, spans, strict=True)))
                )
            if all(reading.has(each, [MEMORY]) for each in pair):
                _, kib, _ = grown(*pair)
                grew.append(f"{name} {reading.memory(kib)}")
        if not rows:
            continue
        title = "Response time while others do not read"
        figure = dots(
            Heading(
                title,
                f"{without.load()}, {place.conditions()}, half of all responses",
                "",
                sourceOf(results),
            ),
            rows,
            reading.duration,
            noise=(),
        )
        caption = (
            f"Half of all responses to {without.load()} came faster than this, alone "
            f"and while {count(place.stalled)} more ask for all they can and read no "
            "answer. "
            f"Pale bars: the {reading.spread(results)} over rounds. "
            + f"The server's memory grew by, for each of these: {listed(grew)}. "
            * bool(grew)
            + absence(results, rows)
        )
        alt = f"Dot chart of response time, {place.load()}. "
        alt += rowsSaid(rows, reading.duration)
        found.append(Chart("slow", title, caption.strip(), alt, figure))
    return found
