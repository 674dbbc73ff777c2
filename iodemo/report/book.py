# -*- test-case-name: tests.test_book -*-
"""
The figures and numbers in the pages of C{docs/}, made from the results of one run.

The book has no figure and no number of its own: all are made here from a results file,
the committed one or a reader's. So every number in a chapter was measured, and a new
measurement changes the chapters.
"""

from __future__ import annotations

import math
import re
import textwrap
from pathlib import Path

import msgspec

from iodemo.report import figures
from iodemo.report.figures import Chart
from iodemo.results import claims, quantities, statistics
from iodemo.results.claims import BadClaim, Claim
from iodemo.results.metrics import BY_KEY, isLowerBound
from iodemo.results.schema import Results
from iodemo.writing import makeDirectory, writeFile

RESULTS = "results.json"

_BACKEND = re.compile(r"[A-Za-z0-9][\w.+-]*")


def write(results: Results, directory: Path) -> list[Path]:
    """
    Write each figure of a run in three files: C{NAME.svg} for a browser, C{NAME.png}
    for print, and C{NAME.rst}, which a page includes to show the figure with its
    caption. Write the results beside them, since the text quotes numbers of these.

    @param directory: within the directory of the pages.
    @return: the files that pages can include.
    @raise OSError: if C{directory} cannot be written, is a symbolic link, or has one in
        the place of a file.
    """
    makeDirectory(directory)
    pages = []
    for chart in figures.drawn(results):
        # Not with_suffix: a name may have dots of its own.
        path = str(directory / chart.name)
        writeFile(Path(f"{path}.svg"), chart.svg().encode())
        writeFile(Path(f"{path}.png"), chart.png())
        page = Path(f"{path}.rst")
        writeFile(page, _shown(chart, f"{directory.name}/{chart.name}").encode())
        pages.append(page)
    writeFile(directory / RESULTS, msgspec.json.encode(results))
    return pages


def quoted(results: Results, text: str) -> str:
    """
    A number of a run, in words.

    @param text: C{[WHERE:] A/B} for the ratio of two backends, or C{[WHERE:] A} for the
        median of one. WHERE is as in a claim (L{iodemo.results.claims}), and must apply
        to exactly one point.
    @raise BadClaim: if nothing was measured there, or C{text} has another form.
    """
    where, colon, backends = text.rpartition(":")
    first, slash, _ = (each.strip() for each in backends.partition("/"))
    if not _BACKEND.fullmatch(first):
        raise BadClaim(f"{text!r} is nothing such as 'idle idle=1000: uring/epoll'")
    claim = claims.parse(f"{where}{colon}{backends} > 0")
    return _ratio(results, claim, text) if slash else _value(results, claim, text)


def machine(results: Results) -> str:
    """
    When and where a run was made, in words.
    """
    there = results["environment"]
    return (
        f"Measured on {there['date'][:10]}, by iodemo {there['iodemo']}, on "
        f"{'a virtual machine' if there['virtualized'] else 'a machine'} with "
        f"{there['cores']} cores ({there['cpu']}, {there['kernel']}, "
        f"{there['python']}, Twisted {there['twisted']})"
    )


def _ratio(results: Results, claim: Claim, text: str) -> str:
    decisions = claims.decide(claim, results)
    if len(decisions) != 1:
        raise BadClaim(f"{text!r} was measured at {len(decisions)} points, not at one")
    (decision,) = decisions
    if decision.value is None or decision.interval is None:
        raise BadClaim(f"{text!r}: {decision.reason}")
    low, high = decision.interval
    if low == 0 and math.isinf(high):
        raise BadClaim(f"{text!r}: {decision.reason}")
    if math.isinf(high):
        return f"at least {quantities.ratio(low)} times"
    if low == 0:
        return f"at most {quantities.ratio(high)} times"
    said = f"{quantities.ratio(decision.value)} times"
    return f"{said} ({quantities.ratio(low)} to {quantities.ratio(high)})"


def _value(results: Results, claim: Claim, text: str) -> str:
    scenarios = {cell["scenario"] for cell in results["cells"]}
    found = [
        cell
        for cell in results["cells"]
        if cell["backend"] == claim.backend and claim.applies(cell, scenarios)
    ]
    if len(found) != 1:
        raise BadClaim(f"{text!r} was measured at {len(found)} points, not at one")
    (cell,) = found
    if cell["status"] != "ok":
        raise BadClaim(f"{text!r}: {cell['backend']} {cell['status']}")
    measured = statistics.valuesOf(cell["rounds"]).get(claim.metric)
    if measured is None:
        raise BadClaim(f"{text!r}: {cell['backend']} has no {claim.metric}")
    say = BY_KEY[claim.metric].quantity.say
    said = say(statistics.interval(measured)["median"])
    return f"at least {said}" if isLowerBound(cell, claim.metric) else said


def _shown(chart: Chart, image: str) -> str:
    """
    A figure as reStructuredText. Its caption quotes the results file, so no character
    of it may be markup.
    """
    said = textwrap.indent(_plain(chart.caption), "   ")
    # The value of an option is no markup anyway.
    alt = " ".join(chart.alt.split())
    return f".. figure:: {image}.svg\n   :alt: {alt}\n   :width: 100%\n\n{said}\n"


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_|:<>@])", r"\\\1", text)
