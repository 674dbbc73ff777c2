# -*- test-case-name: tests.test_report -*-
"""
The figures of a run: which numbers go into which, and the words around them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import matplotlib.style
from matplotlib.figure import Figure

from iodemo.lab.results import Cell, Results
from iodemo.models import BASELINE, MODELS
from iodemo.report import reading, stability, style
from iodemo.report.layout import Heading, Span
from iodemo.report.plots import Band, Panel, Series, lines, panels
from iodemo.report.published import CURVES, SOURCES, WHO
from iodemo.report.reading import Place, count, listed
from iodemo.report.rows import Row, bars, dots

PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")
# Of those, the ones with room for a band of noise.
_NOISY = ("p50", "p99")
CPU = "server_cpu_us_per_request"
CPU_PARTS = {
    "user": "server_user_us_per_request",
    "system": "server_system_us_per_request",
}
UNDIVIDED_NOTE = (
    "Dotted: both, where many processes used too little for the kernel to say. "
)
MEMORY = "server_rss_kib"
OPERATION = "latency_us.p50"
CALL = "us_per_call"
_FELT = "latency_us.p50"
SWITCHES = "context_switches_per_request"

#: What a system call is for; another is for something else.
CALLS = {
    "wait": (
        *("select", "pselect6", "poll", "ppoll", "epoll_wait", "epoll_pwait"),
        *("epoll_pwait2", "io_uring_enter"),
    ),
    "register": ("epoll_ctl",),
    "receive": ("recvfrom", "recvmsg", "read", "readv"),
    "send": ("sendto", "sendmsg", "write", "writev"),
}

NOISE_LABEL = "; striped: noise"
BOUNDS_NOTE = "Hollow: the load was the limit, so the value is a lower bound."

# There is no place for nothing on a logarithmic axis.
_LEAST = 1e-3

_BUSY_METRICS = ("throughput", MEMORY, SWITCHES)
_PIPES_METRICS = (OPERATION, CALL)
HELD_PARTS = {
    "server": "server_bytes_per_connection",
    "kernel, both ends": "kernel_bytes_per_connection",
}
_RATE_METRICS = ("latency_us.p99", "latency_us.p50")

#: The models with a thread or a process for each connection.
BLOCKING = [model.name for model in MODELS if model.blocking]

_Varied = Literal["idle", "active", "connections", "rate", "share"]
_NOUNS: dict[_Varied, str] = {
    "idle": "idle",
    "active": "busy",
    "connections": "pipes",
    "rate": "a second",
    "share": "of its own",
}


@dataclass(frozen=True)
class Chart:
    """
    One figure and what is said of it.

    @ivar name: unique among a run's figures, and fit to be a file's name.
    @ivar title: what is drawn, in a few words; also drawn on the figure.
    @ivar caption: what it shows, how to read it, and what is not on it and why.
    @ivar alt: the same numbers in words, for those who do not see it.
    """

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure

    def svg(self) -> str:
        """
        The figure as an SVG file, to the byte the same for the same results.
        """
        stream = io.StringIO()
        unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        with matplotlib.style.context(["default", style.PARAMETERS]):
            self.figure.savefig(stream, format="svg", metadata=unsaid)
        return stream.getvalue()

    def png(self) -> bytes:
        """
        The figure as a PNG file, wide enough for a slide.
        """
        stream = io.BytesIO()
        with matplotlib.style.context(["default", style.PARAMETERS]):
            self.figure.savefig(
                stream, format="png", dpi=250, metadata={"Software": None}
            )
        return stream.getvalue()


def drawn(results: Results) -> list[Chart]:
    """
    The figures that these results have the data for.
    """
    asked = reading.only(
        results, lambda place: place.isOfRequests and not place.stalled
    )
    with matplotlib.style.context(["default", style.PARAMETERS]):
        charts = [
            *_throughput(reading.only(results, lambda place: not place.isOfPipes)),
            *_threads(asked),
            *_rates(asked),
            *_latency(asked),
            *_slow(results),
            *_cpu(asked),
            *_calls(asked),
            *_memory(asked),
            *_held(asked),
            *_pipes(reading.only(results, lambda place: place.isOfPipes)),
        ]
    for index, chart in enumerate(charts):
        before = [other.name for other in charts[:index]]
        if chart.name in before:
            charts[index] = replace(chart, name=f"{chart.name}-{index + 1}")
    return charts


def _throughput(results: Results) -> list[Chart]:
    """
    Throughput against the number of connections that a scenario varies: a chart
    for each scenario, and for each combination of everything else in it.
    """
    found = []
    places = reading.places(results)
    for scenario in dict.fromkeys(place.scenario for place in places):
        those = {p: cells for p, cells in places.items() if p.scenario == scenario}
        varied: _Varied = "idle" if len({p.idle for p in those}) > 1 else "active"
        charts: dict[Place, dict[Place, list[Cell]]] = {}
        for place, cells in those.items():
            idle = varied == "idle"
            same = place._replace(idle=0) if idle else place._replace(active=0)
            charts.setdefault(same, {})[place] = cells
        for same, group in charts.items():
            ok = [c for cells in group.values() for c in cells if c["status"] == "ok"]
            if ok and len(group) > 1:
                found.append(_overConnections(results, varied, same, group))
    return found


def _overConnections(
    results: Results, varied: _Varied, same: Place, group: dict[Place, list[Cell]]
) -> Chart:
    values = [getattr(place, varied) for place in group]
    along = _positions(values)
    looks = style.looks(reading.names(results))
    cells = [cell for there in group.values() for cell in there]
    series = []
    for backend in reading.names(results):
        its = [cell for cell in cells if cell["backend"] == backend]
        one = _series(backend, looks[backend], its, varied, along, scale=same.rateScale)
        if one.spans:
            series.append(one)
    kind, other = ("idle", "busy") if varied == "idle" else ("busy", "idle")
    # One of the two is what is varied, and was set to 0.
    fixed = same.active + same.idle
    others = f"{count(fixed)} {other} connections, " if fixed else ""
    axis = _axis(same, kind)
    title = "New connections" if same.churn else f"Throughput against {axis}"
    zero = "; 0 set apart" if 0 in along else ""
    noise = _noiseBand(results, cells, varied, along, scale=same.rateScale)
    figure = lines(
        Heading(
            title,
            others + same.conditions() + NOISE_LABEL * bool(noise),
            f"{same.counted} a second",
            _source(results),
        ),
        series,
        {at: count(value) for value, at in along.items()},
        f"{axis} (log scale{zero})",
        noise,
    )
    said = [
        f"{_capital(same.counted)} a second, {others}{same.conditions()}. "
        "A line goes through the "
        f"medians of the rounds; its band is their {reading.spread(results)}.",
    ]
    if noise:
        said.append(_noiseCaption(results))
    if any(one.bounds for one in series):
        said.append(BOUNDS_NOTE)
    if zero:
        said.append("0 is one step left of the first number, with no scale between.")
    said += [_sentence(failure) for failure in reading.failures(cells)]
    back = {at: value for value, at in along.items()}
    alt = f"Line chart of {title.lower()}. " + " ".join(
        f"{one.name}: "
        + ", ".join(
            f"{reading.rate(span[1])} at {count(back[at])}"
            for at, span in one.spans.items()
        )
        + "."
        for one in series
    )
    return Chart(same.scenario, title, " ".join(said), alt, figure)


def _axis(place: Place, kind: str) -> str:
    """
    What there are more and more of.
    """
    if place.isOfChat:
        return "members"
    return "connections at a time" if place.churn else f"{kind} connections"


def _series(
    backend: str,
    look: style.Look,
    cells: Sequence[Cell],
    varied: _Varied,
    along: dict[float, float],
    metric: str = "throughput",
    scale: float = 1.0,
) -> Series:
    """
    One line of C{metric} in units of C{scale}.
    """
    spans: dict[float, Span] = {}
    bounds = set()
    ending: str | None = None
    stopped: float | None = None
    for cell in cells:
        place = Place.of(cell)
        at = along[getattr(place, varied)]
        if reading.has(cell, [metric]):
            low, median, high = (
                max(each / scale, _LEAST) for each in _span(cell, metric)
            )
            spans[at] = (low, median, high)
            if cell["load_limited"] and metric == "throughput":
                bounds.add(at)
            ending = stopped = None
        elif ending is None:
            value = getattr(place, varied)
            there = reading.percent(value) if varied == "share" else count(value)
            ending = f"{backend}: {cell['status']} at {there} {_NOUNS[varied]}"
            stopped = at if cell["status"] == "failed" else None
    if spans and max(spans) < max(along.values()) and ending is None:
        ending = backend
    return Series(backend, look, spans, frozenset(bounds), ending, stopped)


def _noiseBand(
    results: Results,
    cells: Sequence[Cell],
    varied: _Varied,
    along: dict[float, float],
    metric: str = "throughput",
    scale: float = 1.0,
) -> Band:
    """
    What is no difference from the baseline's line.
    """
    found = {}
    for cell in cells:
        noise = _noise(results, cell, metric)
        if noise is not None:
            at = along[getattr(Place.of(cell), varied)]
            found[at] = (noise[0] / scale, noise[1] / scale)
    return found


def _noise(results: Results, cell: Cell, metric: str) -> tuple[float, float] | None:
    """
    What is no difference from the baseline in one metric, given its cell.
    """
    if cell["backend"] != reading.baseline(results) or not reading.has(cell, [metric]):
        return None
    found = stability.at(stability.noiseOf(results), cell, metric)
    if found is None:
        return None
    factor = stability.factor(found)
    _, median, _ = _span(cell, metric)
    return max(median / factor, _LEAST), min(median * factor, 1e15)


def _noiseCaption(results: Results) -> str:
    name = reading.baseline(results)
    return (
        f"Striped grey: what {name}, measured twice, differs from itself; within it "
        f"nothing is called different from {name}."
    )


def _threads(results: Results) -> list[Chart]:
    """
    What a thread or a process for each connection costs, the more of them are busy.

    A point without idle connections belongs here whatever scenario it is of.
    """
    groups: dict[Place, dict[int, list[Cell]]] = {}
    for place, cells in reading.places(results).items():
        if not place.idle:
            same = place._replace(scenario="", active=0)
            groups.setdefault(same, {}).setdefault(place.active, cells)
    found = []
    for same, points in groups.items():
        cells = [cell for active in sorted(points) for cell in points[active]]
        drawn = {c["backend"] for c in cells if reading.has(c, _BUSY_METRICS)}
        if len(points) > 2 and not drawn.isdisjoint(BLOCKING):
            found.append(_overBusy(results, same, list(points), cells))
    return found


def _overBusy(
    results: Results, same: Place, points: Sequence[int], cells: Sequence[Cell]
) -> Chart:
    along = _positions(points)
    looks = style.looks(reading.names(results))
    told = [*BLOCKING, BASELINE]
    # An ok cell without all that is drawn would be missing from one panel.
    whole = [c for c in cells if c["status"] != "ok" or reading.has(c, _BUSY_METRICS)]

    def series(metric: str, scale: float = 1.0) -> list[Series]:
        found = []
        for name in reading.names(results):
            its = [cell for cell in whole if cell["backend"] == name]
            one = _series(name, looks[name], its, "active", along, metric, scale)
            one = replace(one, aside=name not in told)
            if metric != "throughput":
                ending = name if one.ending and not one.aside else None
                one = replace(one, ending=ending, stopped=None)
            if one.spans:
                found.append(one)
        return found

    throughput = series("throughput")

    def noise(metric: str, scale: float = 1.0) -> Band:
        return _noiseBand(results, whole, "active", along, metric, scale)

    there = [one.name for one in throughput if not one.aside]
    title = "A thread or a process for each connection"
    conditions = f"{'' if same.churn else 'all busy, '}{same.conditions()}"
    figure = panels(
        Heading(
            title,
            conditions + NOISE_LABEL * bool(noise("throughput")),
            "",
            _source(results),
        ),
        [
            Panel(
                f"{same.counted} a second",
                throughput,
                tall=230.0,
                naming=True,
                noise=noise("throughput"),
            ),
            Panel(
                "memory of the server, MiB (log scale)",
                series(MEMORY, 1024.0),
                logarithmic=True,
                noise=noise(MEMORY, 1024.0),
            ),
            Panel(
                "context switches per request", series(SWITCHES), noise=noise(SWITCHES)
            ),
        ],
        {at: count(value) for value, at in along.items()},
        f"{_axis(same, 'busy')} (log scale)",
    )
    said = [
        f"{same.counted.capitalize()} a second, memory of the server (what processes "
        f"share counts once) and context switches per request, "
        f"{conditions if same.churn else 'with every connection busy'}. The bands are "
        f"the {reading.spread(results)} over rounds."
    ]
    if noise("throughput"):
        said.append(_noiseCaption(results))
    if len(there) < len(throughput):
        said.append("Thin, for comparison: the others, named in the first panel.")
    if any(one.bounds for one in throughput):
        said.append(BOUNDS_NOTE)
    said += map(_sentence, reading.failures(cells))
    alt = f"Three line charts above each other: {title.lower()}. " + " ".join(
        f"{name}: "
        + "; ".join(
            f"at {count(cell['parameters']['active'])}, "
            f"{reading.rate(cell['summary']['throughput']['median'])} a second, "
            f"{reading.memory(cell['summary'][MEMORY]['median'])}, "
            f"{cell['summary'][SWITCHES]['median']:.2g} context switches a request"
            for cell in whole
            if cell["backend"] == name and cell["status"] == "ok"
        )
        + "."
        for name in there
    )
    return Chart("threads", title, " ".join(said), alt, figure)


def _rates(results: Results) -> list[Chart]:
    """
    What a request waits for its answer, against how many are due, or how much of what
    each backend answers at most.
    """
    groups: dict[tuple[_Varied, Place], list[Cell]] = {}
    for place, cells in reading.places(results).items():
        if place.isPaced and (place.rate or place.share):
            varied: _Varied = "rate" if place.rate else "share"
            same = place._replace(rate=None, share=None)
            groups.setdefault((varied, same), []).extend(cells)
    return [
        _overRates(results, varied, same, cells)
        for (varied, same), cells in groups.items()
        if any(reading.has(cell, _RATE_METRICS) for cell in cells)
    ]


def _overRates(
    results: Results, varied: _Varied, same: Place, cells: Sequence[Cell]
) -> Chart:
    of = "what is due" if varied == "rate" else "the share due"
    say = count if varied == "rate" else reading.percent
    each = "a second" if varied == "rate" else _NOUNS[varied]

    def due(cell: Cell) -> float:
        return float(getattr(Place.of(cell), varied))

    along = _positions([due(cell) for cell in cells])
    looks = style.looks(reading.names(results))
    whole = [c for c in cells if c["status"] != "ok" or reading.has(c, _RATE_METRICS)]

    def series(metric: str) -> list[Series]:
        found = []
        for name in reading.names(results):
            its = [cell for cell in whole if cell["backend"] == name]
            one = _series(name, looks[name], its, varied, along, metric, 1e3)
            late = {
                along[due(cell)]
                for cell in its
                if cell["status"] == "ok" and not reading.keptUp(cell)
            }
            if metric != _RATE_METRICS[0] and one.ending:
                one = replace(one, ending=name)
            if one.spans:
                # There is no place for a failure on a logarithmic axis.
                found.append(replace(one, bounds=frozenset(late), stopped=None))
        return found

    def noise(metric: str) -> Band:
        return _noiseBand(results, whole, varied, along, metric, 1e3)

    ones = series("latency_us.p99")
    label = NOISE_LABEL * bool(noise("latency_us.p99"))
    title = f"Response time against {of}"
    figure = panels(
        Heading(
            title,
            f"{count(same.active)} connections, {same.conditions()}{label}",
            "",
            _source(results),
        ),
        [
            Panel(
                "99 of 100 answers come within: milliseconds (log scale)",
                ones,
                logarithmic=True,
                tall=310.0,
                naming=True,
                noise=noise("latency_us.p99"),
            ),
            Panel(
                "half of them within",
                series("latency_us.p50"),
                logarithmic=True,
                tall=190.0,
                noise=noise("latency_us.p50"),
            ),
        ],
        {at: say(value) for value, at in along.items()},
        "requests due a second (log scale)"
        if varied == "rate"
        else "requests due, of what each answers at most (log scale)",
    )
    said = [
        "From when a request was due until it was answered, whether or not it could be "
        "sent at once. Requests are due at random (a Poisson process), as users come "
        f"without regard to each other. The bands are the {reading.spread(results)} "
        "over rounds."
    ]
    if varied == "share":
        said.append(
            "What each answers at most is its median in a closed loop of as many "
            "connections, in the same run."
        )
    if any(one.bounds for one in ones):
        said.append(
            "Hollow: it did not keep up, more was due every moment, and the response "
            "time is the longer the longer one measures."
        )
    if label:
        said.append(_noiseCaption(results))
    limited = {c["backend"]: None for c in whole if c["load_limited"]}
    if limited:
        said.append(f"The load was the limit somewhere of: {listed(list(limited))}.")
    said += map(_sentence, reading.failures(cells))
    alt = f"Two line charts above each other: {title.lower()}. " + " ".join(
        f"{one.name}: "
        + "; ".join(
            f"at {say(due(cell))} {each} half within "
            f"{reading.duration(cell['summary']['latency_us.p50']['median'])}, "
            "99 of 100 within "
            f"{reading.duration(cell['summary']['latency_us.p99']['median'])}"
            + " and did not keep up"
            * (not reading.keptUp(cell))
            for cell in whole
            if cell["backend"] == one.name and cell["status"] == "ok"
        )
        + "."
        for one in ones
    )
    return Chart(varied, title, " ".join(said), alt, figure)


def _latency(results: Results) -> list[Chart]:
    place = reading.representative(results, ["latency_us.p50", "latency_us.p99"])
    if place is None:
        return []
    cells = reading.places(results)[place]
    looks = style.looks(reading.names(results))
    rows = []
    for cell in cells:
        spans = {
            dot: _span(cell, f"latency_us.{dot}", least=0.1)
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
        if (band := _noise(results, cell, f"latency_us.{dot}")) is not None
    ]
    label = f"{NOISE_LABEL} of {listed(_NOISY)}"
    conditions = place.conditions() + label * bool(noise)
    figure = dots(
        Heading(title, conditions, "", _source(results)), rows, reading.duration, noise
    )
    caption = (
        f"Half of all responses came faster than p50, 99 in 100 faster than p99. "
        f"{_chosen(results, place, rows)} Pale bars: the {reading.spread(results)} "
        "over rounds. "
        + (_noiseCaption(results) + " ") * bool(noise)
        + _absence(results, rows)
    )
    alt = f"Dot chart of response time with {place.load()}. " + " ".join(
        f"{row.name}: "
        + ", ".join(f"{d} {reading.duration(s[1])}" for d, s in row.spans.items())
        + "."
        for row in rows
    )
    return [Chart("latency", title, caption.strip(), alt, figure)]


def _slow(results: Results) -> list[Chart]:
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
                spans = [_span(each, _FELT, least=0.1) for each in pair]
                rows.append(
                    Row(name, looks[name], dict(zip(names, spans, strict=True)))
                )
            if all(reading.has(each, [MEMORY]) for each in pair):
                _, kib, _ = _growth(*pair)
                grew.append(f"{name} {reading.memory(kib)}")
        if not rows:
            continue
        title = "Response time while others do not read"
        figure = dots(
            Heading(
                title,
                f"{without.load()}, {place.conditions()}, half of all responses",
                "",
                _source(results),
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
            + _absence(results, rows)
        )
        alt = f"Dot chart of response time, {place.load()}. " + " ".join(
            f"{row.name}: "
            + ", ".join(f"{d} {reading.duration(s[1])}" for d, s in row.spans.items())
            + "."
            for row in rows
        )
        found.append(Chart("slow", title, caption.strip(), alt, figure))
    return found


def _cpu(results: Results) -> list[Chart]:
    place = reading.representative(results, [CPU])
    if place is None:
        return []
    looks = style.looks(reading.names(results))
    cells = [c for c in reading.places(results)[place] if reading.has(c, [CPU])]
    rows = [
        Row(
            cell["backend"],
            looks[cell["backend"]],
            _shares(cell),
            _span(cell, CPU),
        )
        for cell in cells
    ]
    noise = [band for cell in cells if (band := _noise(results, cell, CPU)) is not None]
    divided = all(len(row.spans) == len(CPU_PARTS) for row in rows)
    title = "CPU time of the server per request"
    figure = bars(
        Heading(
            title,
            f"{place.load()}, {place.conditions()}{NOISE_LABEL * bool(noise)}",
            "microseconds",
            _source(results),
        ),
        rows,
        reading.duration,
        noise,
    )
    caption = (
        "Filled: in the program (Python, Twisted). Hatched: in the kernel, for the "
        f"program. {'' if divided else UNDIVIDED_NOTE}{_chosen(results, place, rows)} "
        f"The whisker is the {reading.spread(results)} of the sum. "
        + (_noiseCaption(results) + " ") * bool(noise)
        + _absence(results, rows)
    )
    alt = f"Stacked bars of CPU time per request with {place.load()}. " + " ".join(
        f"{row.name}: "
        + ", ".join(
            f"{part} {reading.duration(span[1])}"
            for part, span in row.spans.items()
            if span[1]
        )
        + "."
        for row in rows
    )
    return [Chart("cpu", title, caption.strip(), alt, figure)]


def _shares(cell: Cell) -> dict[str, Span]:
    """
    The two parts of CPU time, scaled to the median of their sum: the medians of two
    parts need not add up to it. Where they are not known, the sum in their place.
    """
    whole = _span(cell, CPU)
    if reading.has(cell, CPU_PARTS.values()):
        parts = {part: _span(cell, metric) for part, metric in CPU_PARTS.items()}
        total = sum(median for _, median, _ in parts.values())
        if total:
            scale = whole[1] / total
            return {
                part: (low * scale, median * scale, high * scale)
                for part, (low, median, high) in parts.items()
            }
    return {**dict.fromkeys(CPU_PARTS, (0.0, 0.0, 0.0)), "undivided": whole}


def _calls(results: Results) -> list[Chart]:
    """
    What the kernel was asked for a request, under each conditions.
    """
    looks = style.looks(reading.names(results))
    found: list[Chart] = []
    for place, cells in reading.counted(results).items():
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
        figure = bars(
            Heading(
                title, f"{place.load()}, {place.conditions()}", "", _source(results)
            ),
            rows,
            reading.few,
            noise=(),
        )
        caption = (
            f"What the kernel was asked for one request, with {place.load()}: counted "
            "once, after the last round. io_uring_enter, which is all of these in one, "
            f"is a wait here. {_absence(results, rows)}"
        )
        alt = f"Stacked bars of system calls per request with {place.load()}. "
        alt += " ".join(
            f"{cell['backend']}: {reading.callsSaid(cell['syscalls_by_name'])}."
            for cell in cells
        )
        name = f"calls-{place.scenario}" if found else "calls"
        found.append(Chart(name, title, caption.strip(), alt, figure))
    return found


def _memory(results: Results) -> list[Chart]:
    """
    The growth of resident memory from the fewest to the most connections.
    """
    looks = style.looks(reading.names(results))
    rows: list[Row] = []
    ranges: dict[str, list[str]] = {}
    noise: list[tuple[float, float]] = []
    for backend in reading.names(results):
        ends = _furthest(results, backend)
        if ends is None:
            continue
        few, many = ends
        span = _growth(few, many)
        rows.append(Row(backend, looks[backend], {"memory": span}))
        if backend == reading.baseline(results):
            noise = _growthNoise(results, few, many)
        reach = (
            f"from {count(Place.of(few).connections)} "
            f"to {count(Place.of(many).connections)} connections"
        )
        ranges.setdefault(reach, []).append(backend)
    if not rows:
        return []
    title = "Memory of the server per connection"
    figure = bars(
        Heading(
            title,
            "growth of resident memory" + NOISE_LABEL * bool(noise),
            "KiB",
            _source(results),
        ),
        rows,
        reading.memory,
        noise,
    )
    caption = (
        "How much resident memory grew "
        + "; ".join(f"{reach} ({listed(those)})" for reach, those in ranges.items())
        + ", divided by the number of connections between. What processes share "
        "counts once. The whisker is what the "
        f"{reading.spread(results)} at both ends allows. "
        + (_noiseCaption(results) + " ") * bool(noise)
        + _absence(results, rows)
    )
    alt = "Bars of memory per connection. " + " ".join(
        f"{row.name}: {reading.memory(row.spans['memory'][1])}." for row in rows
    )
    return [Chart("memory", title, caption.strip(), alt, figure)]


def _growth(few: Cell, many: Cell) -> Span:
    """
    The memory that one more connection took, in KiB.
    """
    between = Place.of(many).connections - Place.of(few).connections
    low, median, high = _span(few, MEMORY)
    least, middle, most = _span(many, MEMORY)
    # A server's memory can shrink for reasons of its own: that is noise below zero,
    # and no connection is paid for by it.
    growth = [(least - high), (middle - median), (most - low)]
    span = [max(0.0, kib / between) for kib in growth]
    return span[0], span[1], span[2]


def _growthNoise(results: Results, few: Cell, many: Cell) -> list[tuple[float, float]]:
    """
    What both measurements of the baseline allow, if there are two.
    """
    again = [
        control
        for cell in (few, many)
        for control in results.get("controls", [])
        if Place.of(control) == Place.of(cell) and reading.has(control, [MEMORY])
    ]
    if len(again) != 2:
        return []
    low, _, high = _growth(few, many)
    least, _, most = _growth(*again)
    return [(min(low, least), max(high, most))]


def _held(results: Results) -> list[Chart]:
    """
    What each of very many connections takes of the memory of server and kernel, where
    that is what a scenario is about.
    """
    looks = style.looks(reading.names(results))
    found = []
    for place, cells in reading.places(results).items():
        rows = [
            Row(
                cell["backend"],
                looks[cell["backend"]],
                {
                    part: _scaled(_span(cell, metric))
                    for part, metric in HELD_PARTS.items()
                },
            )
            for cell in cells
            if reading.has(cell, HELD_PARTS.values())
        ]
        if not place.isHeld or not rows:
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
                _source(results),
            ),
            rows,
            reading.memory,
            noise,
        )
        caption = (
            "How much more memory there was in use with all connections open than "
            "before the first, divided by their number. Filled: of the server; what "
            "its processes share counts once. Hatched: of the kernel (objects, stacks, "
            "page tables), which is of the whole machine: both ends of every "
            "connection are on it. The whisker is the "
            f"{reading.spread(results)} of the sum. "
            + (_noiseCaption(results) + " ") * bool(noise)
            + " ".join(map(_sentence, reading.failures(cells)))
        )
        alt = f"Stacked bars of {title[0].lower()}{title[1:]}. " + " ".join(
            f"{row.name}: "
            + ", ".join(
                f"{part} {reading.memory(span[1])}" for part, span in row.spans.items()
            )
            + "."
            for row in rows
        )
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
    What is no difference from the baseline in both parts together.
    """
    bands = [_noise(results, cell, metric) for metric in HELD_PARTS.values()]
    known = [band for band in bands if band is not None]
    if len(known) < len(bands):
        return None
    return sum(low for low, _ in known), sum(high for _, high in known)


def _pipes(results: Results) -> list[Chart]:
    """
    What it takes to find those that are ready, against how many pipes are watched.
    """
    groups: dict[Place, list[Cell]] = {}
    for place, cells in reading.places(results).items():
        groups.setdefault(place._replace(idle=0), []).extend(cells)
    return [
        _overPipes(results, same.active, cells)
        for same, cells in groups.items()
        if any(reading.has(cell, _PIPES_METRICS) for cell in cells)
    ]


def _overPipes(results: Results, active: int, cells: Sequence[Cell]) -> Chart:
    published = CURVES if active == 1 else ()
    counts = [Place.of(cell).connections for cell in cells]
    along = _positions([*counts, *(n for one in published for n in one.microseconds)])
    looks = style.looks(reading.names(results))
    whole = [c for c in cells if c["status"] != "ok" or reading.has(c, _PIPES_METRICS)]

    def series(metric: str) -> list[Series]:
        found = []
        for name in reading.names(results):
            its = [cell for cell in whole if cell["backend"] == name]
            one = _series(name, looks[name], its, "connections", along, metric)
            if metric == CALL and one.ending:
                one = replace(one, ending=name)
            if one.spans:
                # There is no place for a failure on a logarithmic axis.
                found.append(replace(one, stopped=None))
        return found

    def noise(metric: str) -> Band:
        return _noiseBand(results, whole, "connections", along, metric)

    ones = series(OPERATION)
    label = "; striped: noise" * bool(noise(OPERATION))
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
            aside=True,
        )
        for one in published
    ]
    figure = panels(
        Heading(title, subtitle, "", _source(results)),
        [
            Panel(
                "microseconds to write, find and read (log scale)",
                [*ones, *others],
                logarithmic=True,
                tall=310.0,
                naming=True,
                noise=noise(OPERATION),
            ),
            Panel(
                "microseconds in the multiplexer alone (log scale)",
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
        f"operations; the bands are the {reading.spread(results)} over rounds."
    ]
    if published:
        said.append(
            "Grey, as published: "
            + "; ".join(f"{year}: {source}" for year, source in SOURCES.items())
            + ". On other machines, in C: compare how they rise, not where they are."
        )
    if label:
        said.append(_noiseCaption(results))
    said += map(_sentence, reading.failures(cells))
    alt = f"Two line charts above each other: {title.lower()}. " + " ".join(
        f"{one.name}: "
        + "; ".join(
            f"of {count(Place.of(cell).connections)}, "
            f"{reading.duration(cell['summary'][OPERATION]['median'])}, "
            f"{reading.duration(cell['summary'][CALL]['median'])} in the multiplexer"
            for cell in whole
            if cell["backend"] == one.name and cell["status"] == "ok"
        )
        + "."
        for one in ones
    )
    name = f"pipes-{active}" if active > 1 else "pipes"
    return Chart(name, title, " ".join(said), alt, figure)


def _furthest(results: Results, backend: str) -> tuple[Cell, Cell] | None:
    """
    The cells with the fewest and the most connections under the same
    conditions, if they are far enough apart to say what one connection takes.
    """
    best = None
    for group in reading.groups(results).values():
        its = [
            cell
            for cells in group.values()
            for cell in cells
            if cell["backend"] == backend and reading.has(cell, [MEMORY])
        ]
        its.sort(key=lambda cell: Place.of(cell).connections)
        if its:
            between = Place.of(its[-1]).connections - Place.of(its[0]).connections
            if between >= 100 and (best is None or between > best[0]):
                best = (between, its[0], its[-1])
    return best and best[1:]


def _positions(values: Sequence[float]) -> dict[float, float]:
    """
    Where each value goes on a logarithmic axis that has a place for zero.
    """
    first = min((value for value in values if value), default=1)
    return {
        value: math.log10(value) if value else math.log10(first) - 1
        for value in sorted(set(values))
    }


def _span(cell: Cell, metric: str, least: float = 0.0) -> Span:
    interval = cell["summary"][metric]
    # A file may hold numbers beyond what can be drawn; no machine reaches them.
    low, median, high = (
        min(max(interval[key], least), 1e15) for key in ("low", "median", "high")
    )
    return low, median, high


def _chosen(results: Results, place: Place, rows: Sequence[Row]) -> str:
    ok = {cell["backend"] for cell in results["cells"] if cell["status"] == "ok"}
    who = "all" if ok == {row.name for row in rows} else "the most"
    return f"Shown for {place.load()}: the largest point that {who} backends share."


def _absence(results: Results, rows: Sequence[Row]) -> str:
    """
    Who was measured, or was to be, and is not on a chart.
    """
    there = {row.name for row in rows}
    missing = [name for name in reading.names(results) if name not in there]
    return f"Without numbers here: {listed(missing)}." if missing else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _source(results: Results) -> str:
    """
    The small print, in the letters that the font surely has.
    """
    machine = results["environment"]
    text = (
        f"iodemo {machine['iodemo']}, Twisted {machine['twisted']}, "
        f"{machine['python']}, {machine['kernel']}, {machine['cores']} cores, "
        f"{machine['cpu']}, {machine['date']}"
    )
    return text[:400].encode("ascii", "replace").decode()
