# -*- test-case-name: tests.test_report -*-
"""
Charts of lines, with their names at their ends.

This knows nothing of results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from iodemo.report import reading
from iodemo.report.layout import (
    LINE,
    MARGIN,
    PAGE,
    At,
    Heading,
    Points,
    Span,
    apart,
    decades,
    roomiest,
    sheet,
    spread,
    stacked,
    width,
    wrapped,
)
from iodemo.report.style import NOISE, NOISY, QUIET, RULE, SMALL, Look

Band = dict[float, tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """
    One line.

    @ivar spans: its value and interval at each position.
    @ivar bounds: the positions whose value is a lower bound.
    @ivar ending: what happened, if it does not reach the last position.
    @ivar stopped: the first position at which it failed.
    @ivar aside: whether it is there for comparison only.
    """

    name: str
    look: Look
    spans: dict[float, Span]
    bounds: frozenset[float] = frozenset()
    ending: str | None = None
    stopped: float | None = None
    aside: bool = False


@dataclass(frozen=True)
class Panel:
    """
    One of several charts above each other.

    @ivar unit: what the upright axis counts.
    @ivar logarithmic: whether it does so in powers of ten; otherwise from zero.
    @ivar tall: its height, in points.
    @ivar naming: whether the lines that are there for comparison have names too.
    @ivar noise: what at each position is no difference from the baseline.
    """

    unit: str
    series: Sequence[Series]
    logarithmic: bool = False
    tall: float = 150.0
    naming: bool = False
    noise: Band = field(default_factory=dict)


def lines(
    heading: Heading,
    series: Sequence[Series],
    ticks: dict[float, str],
    along: str,
    noise: Band,
) -> Figure:
    """
    Lines over positions along an axis, each with its name at its end.

    @param noise: what at each position is no difference from the baseline.
    """
    last = max(ticks)
    high = max(span[2] for one in series for span in one.spans.values())
    steps = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, high or 1)
    upright = {step: reading.count(step) for step in steps if step >= 0}
    left = max(width(text, SMALL) for text in upright.values()) + MARGIN + 8
    ends = [one for one in series if last in one.spans]
    gap = SMALL * LINE
    widest = max((width(one.name, SMALL) for one in ends), default=0.0)
    # Names that are too long or too many go below, where there is always room.
    direct = widest <= PAGE * 0.3
    tall = max(250.0, 1.6 * gap * len(ends) * direct)
    right = widest + 34 if direct and ends else 24.0
    named = {one.name: "\n".join(wrapped(one.name, PAGE * 0.7, SMALL)) for one in ends}
    each = max((name.count("\n") + 1.3 for name in named.values()), default=0)
    columns = max(1, int((PAGE - left) // (max(widest, 60) + 50)))
    legend = 0 if direct else gap * each * -(-len(ends) // columns) + 8
    figure, axes = sheet(heading, tall, left, right, 46 + legend)
    wide = PAGE - left - right

    axes.set_ylim(0, max(upright))
    span = (last - min(ticks)) or 1.0
    axes.set_xlim(min(ticks) - 0.04 * span, last + 0.03 * span)
    axes.set_yticks(list(upright), list(upright.values()))
    shown = apart(ticks, wide / (1.07 * span))
    axes.set_xticks(list(shown), list(shown.values()))
    axes.tick_params(axis="x", pad=9)
    axes.set_xlabel(along, fontsize=SMALL, color=QUIET)
    axes.grid(axis="y", color=RULE)

    size = (wide, tall)
    _noise(axes, noise)
    for one in series:
        _line(axes, one, None if direct else named.get(one.name))
    if direct:
        _names(axes, ends, last, size)
    else:
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -46 / tall), ncols=columns, borderpad=0
        )
    _endings(axes, series, size)
    return figure


def panels(
    heading: Heading, stack: Sequence[Panel], ticks: dict[float, str], along: str
) -> Figure:
    """
    Lines over positions along one axis, in charts above each other.
    """
    first, last = min(ticks), max(ticks)
    uprights = [_upright(panel) for panel in stack]
    left = MARGIN + 8
    left += max(
        width(text, SMALL) for labels, *_ in uprights for text in labels.values()
    )
    ends = [[one for one in panel.series if last in one.spans] for panel in stack]
    named = [
        [one for one in those if panel.naming or not one.aside]
        for panel, those in zip(stack, ends, strict=True)
    ]
    widest = max(
        (width(one.name, SMALL) for those in named for one in those), default=0
    )
    right = min(widest, PAGE * 0.3) + 34
    talls = [
        max(panel.tall, 1.25 * SMALL * LINE * len(those))
        for panel, those in zip(stack, named, strict=True)
    ]
    figure, charts = stacked(
        heading, [panel.unit for panel in stack], talls, left, right, 46
    )
    wide = PAGE - left - right
    span = (last - first) or 1.0
    shown = apart(ticks, wide / (1.07 * span))
    for axes, panel, (labels, low, high), tall, those in zip(
        charts, stack, uprights, talls, named, strict=True
    ):
        axes.set_xlim(first - 0.04 * span, last + 0.03 * span)
        if panel.logarithmic:
            axes.set_yscale("log")
            axes.minorticks_off()
        axes.set_ylim(low, high)
        axes.set_yticks(list(labels), list(labels.values()))
        axes.set_xticks(list(shown), [])
        axes.grid(axis="y", color=RULE)
        _noise(axes, panel.noise)
        for one in sorted(panel.series, key=lambda one: not one.aside):
            _line(axes, one, None)
        _names(axes, those, last, (wide, tall))
        _endings(axes, panel.series, (wide, tall))
    charts[-1].set_xticklabels(list(shown.values()))
    charts[-1].tick_params(axis="x", pad=9)
    charts[-1].set_xlabel(along, fontsize=SMALL, color=QUIET)
    return figure


def _upright(panel: Panel) -> tuple[dict[float, str], float, float]:
    """
    The labels of a panel's upright axis, and where it begins and ends.
    """
    values = [
        value for one in panel.series for span in one.spans.values() for value in span
    ]
    low, high = min(values), max(values)
    if panel.logarithmic:
        # More than 2.5 apart, so that there is a step between.
        low, high = low / 1.6, high * 1.6
        steps = decades(low, high)
    else:
        low = 0.0
        ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, high or 1)
        steps = [float(step) for step in ticks if step >= 0]
        high = max(steps)
    return {step: reading.count(step) for step in steps}, low, high


def _toPoints(axes: Axes, size: At) -> Callable[[float, float], At]:
    """
    Where a value is, in points from the lower left corner of axes of this size.
    """
    fraction = axes.transScale + axes.transLimits

    def toPoints(x: float, y: float) -> At:
        across, up = fraction.transform((x, y))
        return float(across) * size[0], float(up) * size[1]

    return toPoints


def _names(axes: Axes, ends: Sequence[Series], last: float, size: At) -> None:
    """
    The name of each line at its end, as far as there is room.
    """
    toPoints = _toPoints(axes, size)
    wide, tall = size
    wanted = [toPoints(last, one.spans[last][1])[1] for one in ends]
    places = spread(wanted, SMALL * LINE, 8, tall - 4)
    start = toPoints(last, max(axes.get_ylim()))[0]
    for one, was, at in zip(ends, wanted, places, strict=True):
        _leader(axes, (start + 6, was), (wide + 12, at), size, one.look)
        first, *more = wrapped(one.name, PAGE * 0.3, SMALL)
        axes.annotate(
            f"{first}…" if more else first,
            ((wide + 15) / wide, at / tall),
            xycoords="axes fraction",
            va="center",
            color=one.look.ink,
            fontsize=SMALL,
            annotation_clip=False,
        )


def _noise(axes: Axes, band: Band) -> None:
    """
    A hatched band below all lines; of a lone point, a bar. Grey alone is what
    references have.
    """
    xs = list(band)
    lows, highs = [low for low, _ in band.values()], [high for _, high in band.values()]
    if len(xs) == 1:
        axes.vlines(xs, lows, highs, color=NOISE, lw=16, zorder=0.5)
    elif xs:
        axes.fill_between(xs, lows, highs, **NOISY)


def _line(axes: Axes, one: Series, label: str | None) -> None:
    """
    One line with its band; a lone point gets a whisker instead. What is there for
    comparison is thin.
    """
    xs = list(one.spans)
    low, median, high = zip(*one.spans.values(), strict=True)
    color = one.look.color
    if len(xs) == 1:
        axes.vlines(xs, low, high, color=color)
    elif not one.aside:
        axes.fill_between(xs, low, high, color=color, alpha=0.18, lw=0)
    axes.plot(
        xs,
        median,
        color=color,
        ls=one.look.line,
        lw=1.2 if one.aside else 2.4,
        marker=one.look.marker,
        ms=_size(one),
        mec="white",
        mew=0.8,
        label=label,
        clip_on=False,
    )
    for x in one.bounds:
        axes.plot(
            x,
            one.spans[x][1],
            one.look.marker,
            ms=_size(one) - 1,
            mfc="white",
            mec=color,
            mew=1.8,
            clip_on=False,
        )


def _size(one: Series) -> float:
    # A star of the same width has far less of an area.
    size = 13.0 if one.look.marker == "*" else 9.0
    return 0.6 * size if one.aside else size


def _endings(axes: Axes, series: Sequence[Series], size: At) -> None:
    """
    Mark each line that stops early, and say why where there is most room.
    """
    toPoints = _toPoints(axes, size)
    taken = _samples(series, toPoints)
    for one in series:
        if one.ending is None:
            continue
        x = max(one.spans)
        mark = toPoints(x, one.spans[x][1])
        if one.stopped is not None:
            # On the axis: it has no value there, and served nobody.
            mark = toPoints(one.stopped, 0)
            axes.plot(
                one.stopped,
                0,
                "x",
                color=one.look.ink,
                ms=11,
                mew=2.4,
                # Below the values of others that come down to the axis too.
                zorder=1.9,
                clip_on=False,
                path_effects=[withStroke(linewidth=5.5, foreground="white")],
            )
        words = wrapped(one.ending, size[0] * 0.7, SMALL)
        box = (
            max(width(line, SMALL) for line in words),
            SMALL * LINE * len(words),
        )
        at = roomiest(box, mark, taken, size)
        near = (
            min(max(mark[0], at[0]), at[0] + box[0]),
            min(max(mark[1], at[1]), at[1] + box[1]),
        )
        _leader(axes, mark, near, size, one.look)
        axes.text(
            at[0] / size[0],
            at[1] / size[1],
            "\n".join(words),
            transform=axes.transAxes,
            color=one.look.ink,
            fontsize=SMALL,
            va="bottom",
            zorder=5,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
        inside = numpy.mgrid[at[0] : at[0] + box[0] : 4, at[1] : at[1] + box[1] : 4]
        taken = numpy.vstack([taken, *[inside.reshape(2, -1).T] * 3])


def _samples(
    series: Sequence[Series], toPoints: Callable[[float, float], At]
) -> Points:
    """
    Points a few points apart along every line.
    """
    found = []
    for one in series:
        corners = numpy.array([toPoints(x, s[1]) for x, s in one.spans.items()])
        steps = numpy.linspace(0, len(corners) - 1, 60 * len(corners))
        at = numpy.arange(len(corners))
        found.append(
            numpy.column_stack([numpy.interp(steps, at, c) for c in corners.T])
        )
    return numpy.vstack(found)


def _leader(axes: Axes, start: At, end: At, size: At, look: Look) -> None:
    """
    A thin line between two places given in points.
    """
    axes.plot(
        [start[0] / size[0], end[0] / size[0]],
        [start[1] / size[1], end[1] / size[1]],
        transform=axes.transAxes,
        color=look.color,
        lw=1,
        clip_on=False,
        scalex=False,
        scaley=False,
    )
