# -*- test-case-name: tests.test_report -*-
"""
Charts with a row for each backend: bars and dots.

This knows nothing of results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from iodemo.report import style
from iodemo.report.layout import (
    LINE,
    MARGIN,
    PAGE,
    Heading,
    Span,
    decades,
    sheet,
    width,
    wrapped,
)
from iodemo.report.style import BODY, NOISY, QUIET, RULE, SMALL, Look
from iodemo.results import quantities

Band = tuple[float, float]

_HATCHES = ("", "////", "||||", "xxxx", "----")


@dataclass(frozen=True)
class Row:
    """
    One backend in a chart of bars or dots.

    @ivar spans: the parts of a stacked bar, or the dots of a row.
    @ivar whole: the sum's own interval, if it has one.
    """

    name: str
    look: Look
    spans: dict[str, Span] = field(default_factory=dict)
    whole: Span | None = None


def bars(
    heading: Heading,
    rows: Sequence[Row],
    say: Callable[[float], str],
    noise: Sequence[Band],
) -> Figure:
    """
    A bar for each row, stacked if it has several parts, with its length as text at the
    end.

    @param noise: the noise band around the baseline's value, if noise was measured.
    """
    figure, axes = _rows(heading, rows, legend=any(len(r.spans) > 1 for r in rows))
    high = max(max(*_total(row)[1:], _stacked(row)[1]) for row in rows)
    end = (high or 1) * 1.25
    hatches: dict[str, str] = {}
    axes.set_xlim(0, end)
    for band in noise:
        _noise(axes, band)
    for number, row in enumerate(rows):
        start = 0.0
        for part, (_, length, _) in row.spans.items():
            # Other parts are pale and hatched, so that a grey print shows them apart.
            hatch = hatches.setdefault(part, _HATCHES[len(hatches) % len(_HATCHES)])
            axes.barh(
                number,
                length,
                left=start,
                height=0.62,
                facecolor="white" if hatch else row.look.color,
                edgecolor=row.look.color,
                hatch=hatch,
            )
            start += length
        low, length, top = _total(row)
        if low < top:
            ends = ([low, top], [number, number])
            axes.plot(*ends, color=style.TEXT, lw=1.6)
            axes.plot(*ends, "|", color=style.TEXT, ms=9, mew=1.6)
        _value(axes, say(length), max(start, top), number)
    if len(hatches) > 1:
        patches = [
            Patch(fc="white" if hatch else QUIET, ec=QUIET, hatch=hatch, label=part)
            for part, hatch in hatches.items()
        ]
        _key(figure, axes, patches)
    steps = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, end)
    inside = [float(step) for step in steps if step <= end]
    axes.set_xticks(inside, [quantities.count(step) for step in inside])
    return figure


def dots(
    heading: Heading,
    rows: Sequence[Row],
    say: Callable[[float], str],
    noise: Sequence[Band],
    steps: Callable[[float, float], list[float]] = decades,
) -> Figure:
    """
    A row of dots for each backend along a logarithmic axis. If every row has a single
    dot, the value of each is beside it as text.

    @param noise: the noise band around each of the baseline's values.
    @param steps: makes the labelled steps between two ends of the axis.
    """
    named = dict.fromkeys(dot for row in rows for dot in row.spans)
    alone = len(named) == 1
    figure, axes = _rows(heading, rows, legend=not alone)
    shapes = dict(zip(named, "oD^s|*", strict=False))
    values = [value for row in rows for span in row.spans.values() for value in span]
    low, high = min(values) / 1.3, max(values) * 1.3
    if alone:
        # An interval that reaches far below all values would take their space.
        low = min(span[1] for row in rows for span in row.spans.values()) / 2
        widest = max(width(say(v), SMALL) for r in rows for _, v, _ in r.spans.values())
        high *= (high / low) ** ((widest + 16) / (PAGE / 2))
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    for band in noise:
        _noise(axes, band)
    for number, row in enumerate(rows):
        medians = [span[1] for span in row.spans.values()]
        axes.plot(medians, [number] * len(medians), color=row.look.color, lw=2)
        for rank, (dot, (low, median, high)) in enumerate(row.spans.items()):
            axes.plot(
                [low, high],
                [number, number],
                color=row.look.color,
                alpha=0.3,
                lw=9,
                solid_capstyle="butt",
            )
            stroke = shapes[dot] == "|"
            axes.plot(
                median,
                number,
                shapes[dot],
                color=row.look.color,
                ms=9,
                mew=2 if stroke else 0.8,
                # Edges tell dots apart that lie over each other; the first is on top.
                mec=row.look.color if stroke else "white",
                zorder=3 - rank / 10,
            )
            if alone:
                _value(axes, say(median), max(median, high), number)
    labelled = steps(*axes.get_xlim())
    axes.set_xticks(labelled, [re.sub(r"\.0+ ", " ", say(each)) for each in labelled])
    axes.minorticks_off()
    if alone:
        return figure
    _key(
        figure,
        axes,
        [
            Line2D([], [], ls="", marker=shape, color=QUIET, ms=7, mew=2, label=dot)
            for dot, shape in shapes.items()
        ],
    )
    return figure


def _noise(axes: Axes, band: Band) -> None:
    """
    A hatched band through all rows.
    """
    low, high = axes.get_xlim()
    axes.axvspan(max(band[0], low), min(band[1], high), **NOISY)


def _value(axes: Axes, text: str, end: float, number: int) -> None:
    """
    Write the value of a row, to the right of its drawing.
    """
    axes.annotate(
        text,
        (end, number),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
        # The stripes of noise may be below.
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )


def _rows(heading: Heading, rows: Sequence[Row], legend: bool) -> tuple[Figure, Axes]:
    """
    A sheet with a named row for each backend, the first on top.
    """
    named = ["\n".join(wrapped(row.name, PAGE * 0.3, BODY)) for row in rows]
    most = max(name.count("\n") for name in named)
    left = max(width(line, BODY) for name in named for line in name.split("\n"))
    tall = len(rows) * (32 + most * BODY * LINE) + 26 * legend
    figure, axes = sheet(heading, tall, left + MARGIN + 10, 22, 24)
    axes.set_yticks(range(len(rows)), named, fontsize=BODY)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(row.look.ink)
    each = len(rows) / (tall - 26 * legend)
    axes.set_ylim(len(rows) - 0.5, -0.5 - 26 * legend * each)
    axes.grid(axis="x", color=RULE)
    axes.spines["left"].set_visible(False)
    return figure, axes


def _key(figure: Figure, axes: Axes, handles: Sequence[Line2D | Patch]) -> None:
    """
    The legend of a chart of rows, in the strip above the first.
    """
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(MARGIN / PAGE, axes.get_position().y1),
        bbox_transform=figure.transFigure,
        ncols=len(handles),
        borderaxespad=0,
        borderpad=0,
        handletextpad=0.3,
        columnspacing=1.0,
        frameon=True,
        framealpha=1,
        edgecolor="white",
    )


def _total(row: Row) -> Span:
    return _stacked(row) if row.whole is None else row.whole


def _stacked(row: Row) -> Span:
    low, median, high = (sum(parts) for parts in zip(*row.spans.values(), strict=True))
    return low, median, high
