# -*- test-case-name: tests.test_report -*-
"""
The sheet of a figure, and the places of its texts. They are computed in points (1/72
inch) from the widths of letters in the font, so every renderer gives the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from iodemo.report import style
from iodemo.report.style import PRINT, QUIET, SMALL, TITLE

PAGE = style.WIDTH * 72
MARGIN = 10.0
LINE = 1.25  # of the font size

Span = tuple[float, float, float]  # low, median, high
At = tuple[float, float]
Points = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float64]]


@dataclass(frozen=True)
class Heading:
    """
    @ivar unit: of the axis with the values, which is horizontal in charts of bars and
        dots, and otherwise vertical.
    @ivar source: the small print: where the numbers come from.
    """

    title: str
    subtitle: str
    unit: str
    source: str


def width(text: str, size: float) -> float:
    """
    The largest width of C{text}, in points. Kerning is left out: it can only make the
    text narrower.
    """
    return size * sum(map(_advance, text))


@cache
def _advance(letter: str) -> float:
    """
    The width of one letter, as a fraction of the font's size.
    """
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(100, 72)
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100


def wrapped(text: str, available: float, size: float) -> list[str]:
    """
    C{text} in lines at most C{available} points wide; a longer word is broken.
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width(longer, size) <= available:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if width(lines[-1] + letter, size) > available:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line] or [""]


def separated(
    wanted: Sequence[float], gap: float, low: float, high: float
) -> list[float]:
    """
    Places within bounds, at least C{gap} apart and in the order of the wanted places,
    as near to these as possible: isotonic regression, by pooling adjacent violators.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    pools: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        total, size = wanted[index] - rank * gap, 1
        while pools and pools[-1][0] / pools[-1][1] > total / size:
            above = pools.pop()
            total, size = total + above[0], size + above[1]
        pools.append((total, size))
    level = [total / size for total, size in pools for _ in range(size)]
    top = max(low, high - gap * (len(wanted) - 1))
    placed = [0.0] * len(wanted)
    for rank, index in enumerate(order):
        placed[index] = min(max(level[rank], low), top) + rank * gap
    return placed


def roomiest(
    box: At,
    mark: At,
    taken: Points,
    size: At,
) -> tuple[float, At]:
    """
    The best place for a text that a line joins to its mark: the box of the text hides
    few lines and is near the mark, and the line crosses few others.

    @param box: the width and height of the text, in points, as are all lengths here.
    @param taken: samples of all lines of the chart.
    @param size: of the axes.
    @return: the cost of the place, which is less where the place is better, and its
        lower left corner.
    """
    best = (float("inf"), (0.0, 0.0))
    # Points close to the mark itself do not count.
    others = taken[numpy.hypot(*(taken - mark).T) > 8]
    for x in numpy.arange(4, max(5, size[0] - box[0]), 8):
        for y in numpy.arange(6, max(7, size[1] - box[1] - 2), 6):
            hidden = (
                (taken[:, 0] > x - 6)
                & (taken[:, 0] < x + box[0] + 6)
                & (taken[:, 1] > y - 5)
                & (taken[:, 1] < y + box[1] + 5)
            ).sum()
            distance = numpy.hypot(
                x + box[0] / 2 - mark[0], 1.5 * (y + box[1] / 2 - mark[1])
            )
            cost = 30 * float(hidden) + float(distance)
            if cost < best[0]:
                cost += 8 * _crossed(mark, nearest(box, (x, y), mark), others)
            best = min(best, (cost, (float(x), float(y))))
    return best


def nearest(box: At, corner: At, mark: At) -> At:
    """
    The point of a box that is nearest to a mark, where the line from the mark ends.

    @param corner: the lower left corner of the box.
    """
    across = min(max(mark[0], corner[0]), corner[0] + box[0])
    return across, min(max(mark[1], corner[1]), corner[1] + box[1])


def _crossed(start: At, end: At, points: Points) -> int:
    """
    How many of C{points}, places sampled along the drawn lines, are closer than 3/72
    inch to the segment from C{start} to C{end}.
    """
    way = numpy.subtract(end, start)
    length = max(float(numpy.hypot(*way)), 1e-9)
    apart = points - start
    along = apart @ way / length
    off = abs(apart[:, 0] * way[1] - apart[:, 1] * way[0]) / length
    return int(((along > 0) & (along < length) & (off < 3)).sum())


def apart(ticks: dict[float, str], scale: float) -> dict[float, str]:
    """
    The labels of an axis that have space: the last one, and before it each that does
    not touch the next.

    @param scale: how many points one unit of the axis is long.
    """
    kept: dict[float, str] = {}
    edge = float("inf")
    for at in sorted(ticks, reverse=True):
        half = width(ticks[at], SMALL) / 2 + 4
        if at * scale + half < edge:
            kept[at] = ticks[at]
            edge = at * scale - half
    return kept


def decades(low: float, high: float) -> list[float]:
    """
    At most five round steps on a logarithmic axis.
    """
    exponents = range(-4, 16)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        steps = [digit * 10.0**power for power in exponents for digit in digits]
        steps = [step for step in steps if low <= step <= high]
        if len(steps) <= 5:
            return steps
    return steps[:: -(-len(steps) // 5)]


def doublings(low: float, high: float) -> list[float]:
    """
    At most five powers of two, as steps on a logarithmic axis.
    """
    for twos in (1, 2, 5, 10):
        steps = [2.0**power for power in range(-40, 61, twos)]
        steps = [step for step in steps if low <= step <= high]
        if len(steps) <= 5:
            return steps
    return steps[:: -(-len(steps) // 5)]


def sheet(
    heading: Heading, tall: float, left: float, right: float, below: float
) -> tuple[Figure, Axes]:
    """
    A figure with its words, and axes C{tall} points high within margins.
    """
    available = PAGE - 2 * MARGIN
    blocks = [
        (wrapped(heading.title, available, TITLE * 1.15), TITLE, "bold", style.TEXT),
        (wrapped(heading.subtitle, available, SMALL), SMALL, "normal", QUIET),
        (wrapped(heading.unit, available, SMALL), SMALL, "normal", style.TEXT),
    ]
    blocks = [block for block in blocks if any(block[0])]
    source = wrapped(heading.source, available, PRINT)
    if len(source) > 2:
        source = [source[0], source[1][:-1] + "…"]
    above = MARGIN + sum(len(block[0]) * block[1] * LINE + 3 for block in blocks) + 6
    foot = MARGIN + len(source) * PRINT * LINE
    height = above + tall + below + foot
    figure = Figure(figsize=(style.WIDTH, height / 72))
    axes = figure.add_axes(
        (left / PAGE, (foot + below) / height, 1 - (left + right) / PAGE, tall / height)
    )
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    top = height - MARGIN
    for words, size, weight, color in blocks:
        for line in words:
            figure.text(
                MARGIN / PAGE,
                top / height,
                line,
                va="top",
                size=size,
                weight=weight,
                color=color,
            )
            top -= size * LINE
        top -= 3
    for number, line in enumerate(reversed(source)):
        at = (MARGIN + number * PRINT * LINE - 3) / height
        figure.text(MARGIN / PAGE, at, line, size=PRINT, color=QUIET)
    return figure, axes


def stacked(
    heading: Heading,
    units: Sequence[str],
    talls: Sequence[float],
    left: float,
    right: float,
    below: float,
) -> tuple[Figure, list[Axes]]:
    """
    A figure with its words, and axes above each other within margins, each with its
    unit over it.
    """
    title = SMALL * LINE + 5
    gap = 14.0
    tall = sum(talls) + len(talls) * (title + gap) - gap
    figure, whole = sheet(heading, tall, left, right, below)
    box = whole.get_position()
    whole.remove()
    point = box.height / tall
    top = box.y1
    found = []
    for unit, each in zip(units, talls, strict=True):
        figure.text(MARGIN / PAGE, top, unit, va="top", size=SMALL, color=style.TEXT)
        top -= (title + each) * point
        axes = figure.add_axes((box.x0, top, box.width, each * point))
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        found.append(axes)
        top -= gap * point
    return figure, found
