# -*- test-case-name: tests.test_report -*-
"""
Charts of lines, each line with its name at its end.

This knows nothing of results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

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
    nearest,
    roomiest,
    separated,
    sheet,
    stacked,
    width,
    wrapped,
)
from iodemo.report.style import NOISE, NOISY, QUIET, RULE, SMALL, Look
from iodemo.results import quantities

Band = dict[float, tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """
    The values of one backend, or of one publication, along an axis.

    @ivar spans: its value and interval at each position.
    @ivar bounds: the positions whose value is a lower bound.
    @ivar ending: the text at its end, if it does not reach the last position.
    @ivar stopped: the first position at which it failed.
    @ivar published: whether it is from a publication, for comparison only.
    @ivar whiskered: whether its intervals are drawn as whiskers, and otherwise as a
        band.
    @ivar joined: whether a line joins its values. None does where positions are words,
        since there is nothing between two words.
    """

    name: str
    look: Look
    spans: dict[float, Span]
    bounds: frozenset[float] = frozenset()
    ending: str | None = None
    stopped: float | None = None
    published: bool = False
    whiskered: bool = False
    joined: bool = True


@dataclass(frozen=True)
class Panel:
    """
    One of several charts above each other.

    @ivar unit: of its vertical axis.
    @ivar logarithmic: whether that axis is logarithmic. Otherwise it begins at zero.
    @ivar tall: its height, in points.
    @ivar noise: the noise band around the baseline's value at each position.
    """

    unit: str
    series: Sequence[Series]
    logarithmic: bool = False
    tall: float = 150.0
    noise: Band = field(default_factory=dict)


@dataclass(frozen=True)
class _Tip:
    """
    A name at the end of a line.

    @ivar value: the place of that end on the vertical axis.
    """

    text: str
    look: Look
    value: float


# The width that a name needs in addition to its text, for the line that leads to it and
# for the marker.
_NAMED = 44


def lines(
    heading: Heading,
    series: Sequence[Series],
    ticks: dict[float, str],
    along: str,
    noise: Band,
) -> Figure:
    """
    Lines over positions along an axis, each with its name at its end.

    @param noise: the noise band around the baseline's value at each position.
    """
    last = max(ticks)
    wider = positionWidth(series, ticks)
    high = _high([span[2] for one in series for span in one.spans.values()], noise)
    steps = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, high or 1)
    upright = {step: quantities.count(step) for step in steps if step >= 0}
    left = max(width(text, SMALL) for text in upright.values()) + MARGIN + 8
    tips = _tips(series, last)
    gap = SMALL * LINE
    widest = max((width(tip.text, SMALL) for tip in tips), default=0.0)
    # Names that are too long or too many go below, where there is always room.
    direct = widest <= PAGE * 0.3
    tall = max(250.0, 1.6 * gap * len(tips) * direct)
    right = widest + _NAMED if direct and tips else 24.0
    ends = [one for one in series if last in one.spans]
    named = {one.name: "\n".join(wrapped(one.name, PAGE * 0.7, SMALL)) for one in ends}
    each = max((name.count("\n") + 1.3 for name in named.values()), default=0)
    columns = max(1, int((PAGE - left) // (max(widest, 60) + 50)))
    legend = 0 if direct else gap * each * -(-len(ends) // columns) + 8
    figure, axes = sheet(heading, tall, left, right, 46 + legend)
    wide = PAGE - left - right

    axes.set_ylim(0, max(upright))
    span = (last - min(ticks)) or 1.0
    axes.set_xlim(*_ends(ticks, wider))
    axes.set_yticks(list(upright), list(upright.values()))
    shown = apart(ticks, wide / (1.07 * span + wider))
    axes.set_xticks(list(shown), list(shown.values()))
    axes.tick_params(axis="x", pad=9)
    axes.set_xlabel(along, fontsize=SMALL, color=QUIET)
    axes.grid(axis="y", color=RULE)

    size = (wide, tall)
    _noise(axes, noise, wider)
    series = _beside(series, wider)
    for one in series:
        _line(axes, one, None if direct else named.get(one.name))
    if direct:
        _names(axes, tips, last + wider / 2, size)
    else:
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -46 / tall), ncols=columns, borderpad=0
        )
    _endings(axes, series, size, tips if direct else ())
    return figure


def panels(
    heading: Heading, stack: Sequence[Panel], ticks: dict[float, str], along: str
) -> Figure:
    """
    Lines over positions along one axis, in charts above each other.
    """
    last = max(ticks)
    wider = min(positionWidth(panel.series, ticks) for panel in stack)
    uprights = [_upright(panel) for panel in stack]
    left = MARGIN + 8
    left += max(
        width(text, SMALL) for labels, *_ in uprights for text in labels.values()
    )
    named = [_tips(panel.series, last) for panel in stack]
    widest = max((width(tip.text, SMALL) for tips in named for tip in tips), default=0)
    right = min(widest, PAGE * 0.3) + _NAMED
    talls = [
        max(panel.tall, 1.25 * SMALL * LINE * len(tips))
        for panel, tips in zip(stack, named, strict=True)
    ]
    figure, charts = stacked(
        heading, [panel.unit for panel in stack], talls, left, right, 46
    )
    wide = PAGE - left - right
    span = (last - min(ticks)) or 1.0
    shown = apart(ticks, wide / (1.07 * span + wider))
    for axes, panel, (labels, low, high), tall, tips in zip(
        charts, stack, uprights, talls, named, strict=True
    ):
        axes.set_xlim(*_ends(ticks, wider))
        if panel.logarithmic:
            axes.set_yscale("log")
            axes.minorticks_off()
        axes.set_ylim(low, high)
        axes.set_yticks(list(labels), list(labels.values()))
        axes.set_xticks(list(shown), [])
        axes.grid(axis="y", color=RULE)
        _noise(axes, panel.noise, wider)
        series = _beside(panel.series, wider)
        for one in sorted(series, key=lambda one: not one.published):
            _line(axes, one, None)
        _names(axes, tips, last + wider / 2, (wide, tall))
        _endings(axes, series, (wide, tall), tips)
    charts[-1].set_xticklabels(list(shown.values()))
    charts[-1].tick_params(axis="x", pad=9)
    charts[-1].set_xlabel(along, fontsize=SMALL, color=QUIET)
    return figure


def positionWidth(series: Sequence[Series], positions: Iterable[float]) -> float:
    """
    The width of a position whose values stand side by side, with whiskers; zero if they
    stand above each other. They stand side by side if no line joins them, or if there
    are so many lines and so few positions that the bands would hide each other.
    """
    places = sorted(positions)
    fewLines = len(series) <= 6 or any(one.published for one in series)
    if all(one.joined for one in series) and (fewLines or len(places) > 3):
        return 0.0
    return 0.6 * min((b - a for a, b in pairwise(places)), default=1.0)


def _ends(ticks: dict[float, str], wider: float) -> tuple[float, float]:
    """
    Where an axis with these positions begins and ends.

    @param wider: the width of a position.
    """
    first, last = min(ticks), max(ticks)
    span = (last - first) or 1.0
    return first - 0.04 * span - wider / 2, last + 0.03 * span + wider / 2


def _beside(series: Sequence[Series], wider: float) -> Sequence[Series]:
    """
    The same series, each shifted to its own place within the width of a position.
    """
    if not wider:
        return series
    step = wider / max(1, len(series) - 1)
    found = []
    for index, one in enumerate(series):
        shift = index * step - wider / 2
        found.append(
            replace(
                one,
                spans={at + shift: span for at, span in one.spans.items()},
                bounds=frozenset(at + shift for at in one.bounds),
                stopped=None if one.stopped is None else one.stopped + shift,
                whiskered=True,
            )
        )
    return found


def _high(values: Sequence[float], noise: Band) -> float:
    """
    Where an axis from zero should end: above all values and above the noise band, but
    at no more than twice the highest value.
    """
    most = max(values)
    return max(
        most, min(2 * most, max((high for _, high in noise.values()), default=0))
    )


def _upright(panel: Panel) -> tuple[dict[float, str], float, float]:
    """
    The labels of a panel's vertical axis, and where the axis begins and ends.
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
        low, high = 0.0, _high(values, panel.noise)
        ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, high or 1)
        steps = [float(step) for step in ticks if step >= 0]
        high = max(steps)
    return {step: quantities.count(step) for step in steps}, low, high


def _toPoints(axes: Axes, size: At) -> Callable[[float, float], At]:
    """
    A function from a place on axes of this size to points from their lower left corner.
    """
    fraction = axes.transScale + axes.transLimits

    def toPoints(x: float, y: float) -> At:
        across, up = fraction.transform((x, y))
        return float(across) * size[0], float(up) * size[1]

    return toPoints


def _tips(series: Sequence[Series], last: float) -> list[_Tip]:
    """
    The names beside the last position: those of the lines that end there, and of the
    backends that failed there, which have no value.
    """
    found = []
    for one in series:
        if last in one.spans:
            found.append(_Tip(one.name, one.look, one.spans[last][1]))
        elif one.stopped == last:
            found.append(_Tip(f"{one.name}: failed", one.look, 0.0))
    return found


def _names(axes: Axes, tips: Sequence[_Tip], start: float, size: At) -> None:
    """
    Write the name of each line at its end, or as near as there is space, with the
    marker of the line. Where many lines end close to each other, the leader alone does
    not show which of them is meant.

    @param start: where on the axis the last values end.
    """
    toPoints = _toPoints(axes, size)
    wide, tall = size
    wanted = [toPoints(start, tip.value)[1] for tip in tips]
    places = separated(wanted, SMALL * LINE, 8, tall - 4)
    begin = toPoints(start, max(axes.get_ylim()))[0] + 6
    for tip, was, at in zip(tips, wanted, places, strict=True):
        _leader(axes, (begin, was), (wide + 12, at), size, tip.look)
        axes.plot(
            (wide + 18) / wide,
            at / tall,
            marker=tip.look.marker,
            ls="",
            transform=axes.transAxes,
            color=tip.look.color,
            ms=9 if tip.look.marker == "*" else 6.5,
            mew=0,
            clip_on=False,
            scalex=False,
            scaley=False,
        )
        first, *more = wrapped(tip.text, PAGE * 0.3, SMALL)
        axes.annotate(
            f"{first}…" if more else first,
            ((wide + 25) / wide, at / tall),
            xycoords="axes fraction",
            va="center",
            color=tip.look.ink,
            fontsize=SMALL,
            annotation_clip=False,
        )


def _noise(axes: Axes, band: Band, wider: float) -> None:
    """
    Draw the noise below all lines: as bars, if positions have a width (C{wider}) or
    there is only one; otherwise as a band. It is grey and hatched; references are grey
    and not hatched.
    """
    xs = list(band)
    lows, highs = [low for low, _ in band.values()], [high for _, high in band.values()]
    if wider:
        for x, low, high in zip(xs, lows, highs, strict=True):
            # A little more, for the markers at the edges.
            edges = [x - 0.55 * wider, x + 0.55 * wider]
            axes.fill_between(edges, low, high, **NOISY)
    elif len(xs) == 1:
        axes.vlines(xs, lows, highs, color=NOISE, lw=16, zorder=0.5)
    elif xs:
        axes.fill_between(xs, lows, highs, **NOISY)


def _line(axes: Axes, one: Series, label: str | None) -> None:
    """
    Draw one series: its values, the line that joins them, and its intervals. Values
    from a publication have a thinner line.
    """
    xs = list(one.spans)
    low, median, high = zip(*one.spans.values(), strict=True)
    color = one.look.color
    if len(xs) == 1 or one.whiskered:
        axes.vlines(xs, low, high, color=color, lw=1.6)
    elif not one.published:
        axes.fill_between(xs, low, high, color=color, alpha=0.15, lw=0)
    axes.plot(
        xs,
        median,
        color=color,
        ls=one.look.line if one.joined else "",
        lw=1.2 if one.published or one.whiskered else 2.4,
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
            marker=one.look.marker,
            ls="",
            ms=_size(one) - 1,
            mfc="white",
            mec=color,
            mew=1.8,
            clip_on=False,
        )


def _size(one: Series) -> float:
    # A star of the same width has far less of an area.
    size = 13.0 if one.look.marker == "*" else 9.0
    return 0.6 * size if one.published else size


def _endings(
    axes: Axes, series: Sequence[Series], size: At, tips: Sequence[_Tip]
) -> None:
    """
    Mark each line that stops early, and write the reason where there is most space,
    unless it is written where the other lines end.
    """
    named = [tip.look for tip in tips]
    toPoints = _toPoints(axes, size)
    taken = _samples(series, toPoints)
    for one in series:
        if one.ending is None:
            continue
        x = max(one.spans)
        mark = toPoints(x, one.spans[x][1])
        if one.stopped is not None:
            # On the axis: it has no value there, since it served no request.
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
        if one.look in named:
            continue
        # In one line or, where that hides less, in two or three.
        tries = []
        for part in (0.7, 0.35):
            words = wrapped(one.ending, size[0] * part, SMALL)
            wide = max(width(line, SMALL) for line in words)
            box = (wide, SMALL * LINE * len(words))
            tries.append((*roomiest(box, mark, taken, size), box, words))
        _, at, box, words = min(tries)
        near = nearest(box, at, mark)
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
    Places along every line, a few points (1/72 inch) from each to the next.
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
