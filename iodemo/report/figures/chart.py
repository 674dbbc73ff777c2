# -*- test-case-name: tests.test_report -*-
"""
The common parts of all figures: the chart, the noise, and backends without a number.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib.style
from matplotlib.figure import Figure

from iodemo.report import select, stability, style
from iodemo.report.layout import Span
from iodemo.report.rows import Row
from iodemo.report.select import Place, listed
from iodemo.results.schema import Cell, Results

MEMORY = "server_rss_kib"
NOISE_LABEL = "; striped: noise"

# There is no place for nothing on a logarithmic axis.
LEAST = 1e-3


@dataclass(frozen=True)
class Chart:
    """
    One figure, and the words about it.

    @ivar name: unique among a run's figures, and fit to be a file's name.
    @ivar title: what is drawn, in a few words; also drawn on the figure.
    @ivar caption: what it shows, how to read it, and what is not on it and why.
    @ivar alt: the same numbers in words, for a screen reader.
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


def spanOf(cell: Cell, metric: str, least: float = 0.0) -> Span:
    interval = cell["summary"][metric]
    # A file may hold numbers beyond what can be drawn; no machine reaches them.
    low, median, high = (
        min(max(interval[key], least), 1e15) for key in ("low", "median", "high")
    )
    return low, median, high


def noiseBand(results: Results, cell: Cell, metric: str) -> tuple[float, float] | None:
    """
    The range around the baseline's value of one metric within which nothing is called a
    difference.

    @param cell: of any backend.
    @return: C{None} if that is not the baseline, or its noise was not measured.
    """
    if cell["backend"] != select.baseline(results) or not select.has(cell, [metric]):
        return None
    found = stability.at(stability.noiseTable(results), cell, metric)
    if found is None:
        return None
    factor = stability.factor(found)
    _, median, _ = spanOf(cell, metric)
    return max(median / factor, LEAST), min(median * factor, 1e15)


def noiseCaption(results: Results) -> str:
    name = select.baseline(results)
    return (
        f"Striped grey: what {name}, measured twice, differs from itself; within it "
        f"nothing is called different from {name}."
    )


def chosen(results: Results, place: Place, rows: Sequence[Row]) -> str:
    ok = {cell["backend"] for cell in results["cells"] if cell["status"] == "ok"}
    many = "all" if ok == {row.name for row in rows} else "the most"
    return f"Shown for {place.label()}: the largest point that {many} backends share."


def rowsSaid(rows: Sequence[Row], say: Callable[[float], str]) -> str:
    """
    The values of all rows, in words.
    """
    return " ".join(
        f"{row.name}: "
        + ", ".join(f"{part} {say(span[1])}" for part, span in row.spans.items())
        + "."
        for row in rows
    )


def absence(results: Results, rows: Sequence[Row]) -> str:
    """
    The backends of the run that are not on a chart.
    """
    there = {row.name for row in rows}
    missing = [name for name in select.names(results) if name not in there]
    return f"Without numbers here: {listed(missing)}." if missing else ""


def sourceOf(results: Results) -> str:
    """
    The small print of a figure: the versions, the machine and the date. It is in ASCII,
    since the font may lack other letters.
    """
    machine = results["environment"]
    text = (
        f"iodemo {machine['iodemo']}, Twisted {machine['twisted']}, "
        f"{machine['python']}, {machine['kernel']}, {machine['cores']} cores, "
        f"{machine['cpu']}, {machine['date']}"
    )
    return text[:400].encode("ascii", "replace").decode()


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def small(text: str) -> str:
    return text[:1].lower() + text[1:]


def sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
