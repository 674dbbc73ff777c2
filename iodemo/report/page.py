# -*- test-case-name: tests.test_report -*-
"""
The report as one HTML page that needs nothing else, and the figures as files.

The page is made with C{twisted.web.template}, which escapes what it is given: a
results file comes from outside, and so does every string in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.template import (
    Element,
    Flattenable,
    Tag,
    XMLString,
    flattenString,
    renderer,
    tags,
)

from iodemo.report import figures, select, stability
from iodemo.report.figures import Chart
from iodemo.report.headline import headline
from iodemo.report.select import BOUND_NOTE, LOWER_BOUND, MISSING, Place, listed
from iodemo.report.table import (
    INTERRUPTED,
    comparisonSaid,
    throughputSaid,
)
from iodemo.results import costmodel, quantities
from iodemo.results.metrics import BY_KEY, COMPARED, METRICS, Metric, isLowerBound
from iodemo.results.schema import Cell, Comparison, Results
from iodemo.writing import makeDirectory, writeFile

FILE_NAME = "report.html"

# Columns with a verdict each, beyond which there is no room for its word on a page.
_MOST_WORDS = 4

_LOAD_NOTE = "The load was near its limit"

_COST_COLUMNS = (
    "a, a request",
    "b, a connection watched",
    "c, a system call",
    "off by",
    "points",
)


def write(resultsList: Sequence[Results], directory: Path) -> Path:
    """
    Write C{report.html}, and each figure as C{figures/NAME.svg} and
    C{figures/NAME.png}, for some runs.

    @return: where the page is.
    @raise OSError: if C{directory} cannot be written, or has a symbolic link in the
        place of a file.
    """
    charts = [figures.drawn(results) for results in resultsList]
    page = _flattened(_Page(list(zip(resultsList, charts, strict=True))))
    drawings = directory / "figures"
    makeDirectory(drawings)
    for number, those in enumerate(charts, 1):
        run = f"run{number}-" if len(charts) > 1 else ""
        for chart in those:
            writeFile(drawings / f"{run}{chart.name}.svg", chart.svg().encode())
            writeFile(drawings / f"{run}{chart.name}.png", chart.png())
    path = directory / FILE_NAME
    writeFile(path, b"<!DOCTYPE html>\n" + page + b"\n")
    return path


def _flattened(page: Element) -> bytes:
    """
    The bytes of the page. Nothing in it is a C{Deferred}, so C{flattenString} has them
    when it returns.
    """
    found: list[bytes | Failure] = []
    flattenString(None, page).addBoth(found.append)
    [value] = found
    if isinstance(value, Failure):
        value.raiseException()
    assert isinstance(value, bytes)
    return value


def _resource(name: str) -> str:
    return files("iodemo.report").joinpath(name).read_text(encoding="utf-8")


class _Page(Element):
    """
    The whole page: a section for each run.
    """

    def __init__(self, runs: Sequence[tuple[Results, Sequence[Chart]]]) -> None:
        super().__init__(XMLString(_resource("page.xhtml")))
        self._runs = runs

    @renderer
    def style(self, request: IRequest | None, tag: Tag) -> Flattenable:
        return _resource("page.css")

    @renderer
    def runs(self, request: IRequest | None, tag: Tag) -> Iterator[Flattenable]:
        for number, (results, charts) in enumerate(self._runs, 1):
            machine = results["environment"]
            run = f"Run {number} of {len(self._runs)}: " if self._runs[1:] else ""
            yield tag.clone().fillSlots(
                kicker=f"{run}iodemo, {machine['date']}, {machine['cpu']}",
                notice=_notice(results),
                headline=headline(results),
                verdicts=list(_verdicts(results)),
                figures=[_figure(chart, f"run{number}") for chart in charts],
                costs=list(_costs(results)),
                cells=list(_cells(results)),
                environment=_environment(results),
                command=machine["command"],
            )


def _notice(results: Results) -> list[Tag]:
    said = [] if results["complete"] else [INTERRUPTED]
    said += [" ".join(stability.instability(results))]
    return [tags.p(each, class_="notice") for each in said if each]


def _verdicts(results: Results) -> Iterator[Flattenable]:
    """
    For each scenario a table of verdicts in its principal metric, and below it, folded,
    those in the other metrics.
    """
    baseline = select.baseline(results)
    if baseline is None:
        yield tags.p("Nothing in this run was compared with a baseline.")
    else:
        yield tags.p(
            "Each backend against ",
            tags.strong(baseline),
            f": the ratio, its {select.intervalName(results)}, and what it says.",
        )
    for title, group in select.groups(results).items():
        yield tags.h3(title)
        scenarios = {place.scenario for place in group}
        compared = {
            each["metric"]
            for each in results["comparisons"]
            if each["scenario"] in scenarios
        }
        principal = next(iter(group)).metric
        for metric in sorted(COMPARED, key=lambda each: each != principal):
            table = _verdictTable(results, group, metric)
            if metric == principal:
                yield table
            elif metric in compared:
                yield tags.details(tags.summary(BY_KEY[metric].compared), table)
        reasons = [
            f"Did not keep up with {place.label()}: {listed(those)}."
            for place, cells in group.items()
            if (those := select.fellBehind(cells))
        ]
        reasons += [
            f"{_LOAD_NOTE} at {place.label()}: {listed(those)} of its core."
            for place, cells in group.items()
            if (those := select.loadSaturated(cells))
        ]
        reasons += select.failures(cell for cells in group.values() for cell in cells)
        if reasons:
            yield tags.ul([tags.li(reason) for reason in reasons], class_="reasons")
    if any(cell["load_limited"] for cell in results["cells"]):
        yield tags.p(BOUND_NOTE.format(LOWER_BOUND.strip()))
    for note in (stability.noiseNote(results), stability.fewRounds(results)):
        if note is not None:
            yield tags.p(note)


def _verdictTable(results: Results, group: dict[Place, list[Cell]], metric: str) -> Tag:
    """
    The verdicts in one metric: a row for each backend, a column for each point. With
    more than a few columns there is space only for the sign of a verdict. The word is
    seen on a phone, which shows each row as a card.
    """
    there = {cell["backend"] for cells in group.values() for cell in cells}
    compared = select.comparisons(results)
    baseline = select.baseline(results)
    labels = [place.label() for place in group]
    body = []
    for backend in select.names(results):
        if backend not in there:
            continue
        row = [_name(backend)]
        for cells in group.values():
            its = [cell for cell in cells if cell["backend"] == backend]
            if not its:
                row.append(tags.td(MISSING))
            elif backend == baseline:
                row.append(_reference(its[0], metric))
            else:
                row.append(_verdict(its[0], select.against(compared, its[0], metric)))
        body.append(_row(backend, _labelled(row, labels)))
    noise = stability.noiseTable(results)
    if noise:
        found = [stability.at(noise, cells[0], metric) for cells in group.values()]
        whose = next((each["backend"] for each in found if each is not None), baseline)
        name = tags.th("noise", tags.small(f"{whose} against itself"), scope="row")
        body.append(tags.tr(_labelled([name, *map(_noise, found)], labels)))
    return _cards(labels, body, "many" * (len(group) > _MOST_WORDS))


def _noise(found: Comparison | None) -> Tag:
    if found is None:
        return tags.td(MISSING)
    band, said = stability.noiseSaid(found)
    ratio, _, more = said.partition(", ")
    which = [tags.small(more, class_="words")] if more else []
    return tags.td(band, tags.small(_ratio(ratio)), which)


def _verdict(cell: Cell, compared: Comparison | None) -> Tag:
    if cell["status"] != "ok":
        return tags.td(cell["status"], class_=cell["status"])
    if compared is None:
        return tags.td(MISSING)
    ratio, verdict = comparisonSaid(compared)
    sign, word = verdict.split(" ")
    return tags.td(
        # Where there is no room the word is not seen, and still read aloud.
        tags.strong(f"{sign} ", tags.span(word, class_="word"), class_=word),
        tags.small(
            _ratio(LOWER_BOUND * isLowerBound(cell, compared["metric"]) + ratio)
        ),
    )


def _ratio(said: str) -> list[Flattenable]:
    """
    A ratio and its interval. A line may end between the two, and not within the
    interval.
    """
    ratio, interval = said.split(" (")
    return [f"{ratio} ", tags.span(f"({interval}", class_="whole")]


def _reference(cell: Cell, metric: str) -> Tag:
    """
    The baseline's own value, to which the ratios of the others refer.
    """
    if metric not in cell["summary"]:
        return _verdict(cell, None)
    if metric == "throughput":
        said = f"{throughputSaid(cell)[0]}/s"
    else:
        say = BY_KEY[metric].quantity.say
        said = say(cell["summary"][metric]["median"])
    return tags.td(said, tags.small("baseline"))


def _figure(chart: Chart, prefix: str) -> Tag:
    """
    A figure as part of the page. It is as wide as its column.
    """
    text = chart.svg()
    # Without its prolog and comments, and with names of its own: every figure
    # has a "figure_1", which a page may have but once.
    text = re.sub(r"<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    names = rf"\g<0>{prefix}-{chart.name}-"
    text = re.sub(r'\bid="|href="#|url\(#', names, text)
    [drawing] = XMLString(text).load()
    assert isinstance(drawing, Tag)
    for size in ("width", "height"):
        del drawing.attributes[size]
    drawing.attributes.update({"role": "img", "aria-label": chart.alt})
    return tags.figure(drawing, tags.figcaption(chart.caption))


def _costs(results: Results) -> Iterator[Tag]:
    """
    The cost of a request under each backend, where system calls were counted.
    """
    groups: dict[str, list[Cell]] = {}
    for place, cells in select.places(results).items():
        if not place.point.isPaced:
            counted = [cell for cell in cells if "syscalls_by_name" in cell]
            groups.setdefault(place.conditions(), []).extend(counted)
    groups = {conditions: cells for conditions, cells in groups.items() if cells}
    if groups:
        yield tags.h2("The cost of a request")
    for conditions, cells in groups.items():
        body = []
        for backend in select.names(results):
            its = [cell for cell in cells if cell["backend"] == backend]
            if its:
                row = _labelled([_name(backend), *_cost(its)], _COST_COLUMNS)
                body.append(_row(backend, row))
        yield tags.h3(conditions)
        yield _cards(_COST_COLUMNS, body)


def _cost(cells: Sequence[Cell]) -> list[Tag]:
    """
    The coefficients of one backend, or the reason why there are none.
    """
    try:
        fit = costmodel.fit(cells)
    except costmodel.Underdetermined as reason:
        said = tags.span(f"not fitted: {reason}")
        return [tags.td(said, class_="reason", colspan=str(len(_COST_COLUMNS)))]
    row = []
    for name in "abc":
        there = fit.terms.get(name)
        if there is not None:
            span = f"{_price(there.low)} to {_price(there.high)}"
            row.append(tags.td(_price(there.value), tags.small(span)))
        elif name == "c":
            row.append(tags.td(MISSING, tags.small(fit.unknown or ""), class_="calls"))
        else:
            row.append(tags.td(MISSING, tags.small("it watches none")))
    off = tags.td(f"{fit.error:.0%}", tags.small(f"at most {fit.worst:.0%}"))
    return [*row, off, tags.td(str(len(fit.cells)))]


def _price(microseconds: float) -> str:
    """
    The CPU time of a term of the cost model, as text. It may be negative.
    """
    size = abs(microseconds)
    said = quantities.duration(size) if size >= 0.9995 else f"{size * 1000:.0f} ns"
    return said if microseconds >= 0 or said == "0 ns" else f"\N{MINUS SIGN}{said}"


def _cells(results: Results) -> Iterator[Tag]:
    """
    Every number that was measured, and the reason where there is none.
    """
    for title, group in select.groups(results).items():
        columns = [
            each
            for each in METRICS
            if each.title
            and any(each.key in c["summary"] for cells in group.values() for c in cells)
        ]
        titles = ["backend", next(iter(group)).unit]
        titles += [each.title for each in columns]
        titles += ["system calls per request", "rounds"]
        body: list[Tag] = []
        for place, cells in group.items():
            body.append(
                tags.tr(
                    tags.th(tags.span(place.label()), colspan=str(len(titles))),
                    class_="place",
                )
            )
            body += [_numbers(cell, columns) for cell in cells]
            body += [
                _numbers(cell, columns, again=True)
                for cell in results.get("controls", [])
                if Place.of(cell) == place
            ]
        head = tags.thead(tags.tr([tags.th(each) for each in titles]))
        yield tags.h3(title)
        yield _scrolling(tags.table(head, tags.tbody(body)))
    remarks = [
        *(
            f"{name} is {said}."
            for name, said in select.contradictions(results).items()
        ),
        *(f"System calls not counted: {why}" for why in select.uncounted(results)),
    ]
    if remarks:
        yield tags.ul([tags.li(remark) for remark in remarks], class_="reasons")


def _numbers(cell: Cell, columns: Collection[Metric], again: bool = False) -> Tag:
    name = _name(cell["backend"] + " again" * again)
    if cell["status"] != "ok":
        said = tags.span(f"{cell['status']}: {cell['reason'] or 'no reason given'}")
        wide = str(len(columns) + 3)
        reason = tags.td(said, class_="reason", colspan=wide)
        return _row(cell["backend"], [name, reason])
    median, interval = throughputSaid(cell)
    row = [name, tags.td(median, tags.small(interval))]
    for metric in columns:
        found = cell["summary"].get(metric.key)
        row.append(tags.td(metric.quantity.say(found["median"]) if found else MISSING))
    row.append(_calls(cell))
    row.append(tags.td(str(len(cell["rounds"]))))
    return _row(cell["backend"], row)


def _calls(cell: Cell) -> Tag:
    """
    The system calls of one request.
    """
    calls = cell.get("syscalls_by_name")
    if calls is None:
        return tags.td(MISSING)
    return tags.td(
        quantities.few(sum(calls.values())),
        tags.small(select.callsSaid(calls)),
        class_="calls",
    )


def _row(backend: str, cells: list[Tag]) -> Tag:
    """
    A row of a table. References are marked, since they are a block of their own.
    """
    return tags.tr(cells, class_="reference" * (backend in select.REFERENCES))


def _name(backend: str) -> Tag:
    # Only a name that would fill a phone's width may be broken.
    return tags.th(backend, scope="row", class_="long" if len(backend) > 16 else "")


def _labelled(row: list[Tag], labels: Sequence[str]) -> list[Tag]:
    """
    The same row, each cell with the title of its column, which a card shows beside the
    value. A cell that spans all columns has none.
    """
    for cell, label in zip(row[1:], labels, strict=False):
        if "colspan" not in cell.attributes:
            cell.attributes["data-label"] = label
    return row


def _cards(labels: Sequence[str], body: list[Tag], class_: str = "") -> Tag:
    """
    A table of backends whose rows are cards on a phone.

    @param body: the rows, which L{_labelled} has been through.
    """
    head = tags.tr([tags.th(title) for title in ("backend", *labels)])
    table = tags.table(tags.thead(head), tags.tbody(body), class_=f"cards {class_}")
    return _scrolling(table)


def _scrolling(table: Tag) -> Tag:
    # Within reach of the keyboard, which otherwise could not scroll it.
    return tags.div(table, class_="scroll", tabindex="0")


def _environment(results: Results) -> Tag:
    machine = results["environment"]
    limits, pinning = machine["limits"], machine["pinning"]
    steal = machine["steal_fraction"]
    said = {
        "date": machine["date"],
        "CPU": f"{machine['cpu']}, {machine['cores']} cores, {machine['architecture']}",
        "memory": quantities.memory(machine["memory_kib"]),
        "virtual machine": "yes" if machine["virtualized"] else "no",
        "stolen CPU time": MISSING if steal is None else f"{steal:.1%}",
        "kernel": machine["kernel"],
        "versions": f"{machine['python']}, Twisted {machine['twisted']}, "
        f"iodemo {machine['iodemo']}",
        "pinned to cores": "no: the scheduler placed both"
        if pinning is None
        else f"server {pinning['server']}, load {pinning['load']}",
    }
    if "resumed" in results:
        said["interrupted, and resumed"] = ", ".join(results["resumed"])
    said.update(
        (name.replace("_", " "), MISSING if value is None else str(value))
        for name, value in limits.items()
    )
    return tags.dl([(tags.dt(name), tags.dd(value)) for name, value in said.items()])
