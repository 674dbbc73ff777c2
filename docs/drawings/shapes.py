"""
The elements of all drawings: boxes, arrows, and sequence diagrams.

A sheet is 64 units wide, of any height, and a unit is a tenth of an inch; y grows
downwards. Text must be legible on a phone, so a line holds about forty letters, and a
drawing has few words. The kernel is grey, the program blue, and waiting is striped: no
meaning depends on a hue alone.
"""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from iodemo.report import style

PROGRAM = "#d4e6f3"
KERNEL = "#e2e2e2"
BLANK = "white"
INK = style.TEXT
ACCENT = "#d55e00"
_WIDTH = 64.0
_UNIT = style.WIDTH / _WIDTH

At = tuple[float, float]


class Sheet:
    """
    A drawing, to which elements are added.

    @ivar figure: the figure of matplotlib.
    """

    def __init__(self, height: float) -> None:
        """
        @param height: in units.
        """
        self.figure = Figure(figsize=(style.WIDTH, height * _UNIT))
        axes = self.figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, _WIDTH)
        axes.set_ylim(height, 0)
        axes.axis("off")
        self._axes = axes

    def box(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        text: str = "",
        fill: str = BLANK,
        small: bool = False,
        bold: bool = False,
        dashed: bool = False,
    ) -> None:
        """
        Draw a box with a text in its middle.
        """
        self._axes.add_patch(
            FancyBboxPatch(
                (left, top),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=0.6",
                facecolor=fill,
                edgecolor=style.QUIET,
                linestyle="--" if dashed else "-",
                linewidth=1.0,
            )
        )
        if text:
            middle = left + width / 2, top + height / 2
            self.text(*middle, text, small=small, bold=bold)

    def region(
        self, left: float, top: float, width: float, height: float, text: str, fill: str
    ) -> None:
        """
        Draw an area, such as the kernel, with its name in the upper left corner.
        """
        self._axes.add_patch(
            Rectangle((left, top), width, height, facecolor=fill, edgecolor="none")
        )
        self.text(left + 0.8, top + 1.6, text, small=True, align="left", bold=True)

    def waiting(self, left: float, top: float, width: float, height: float) -> None:
        """
        Draw a striped area: a time of waiting.
        """
        self._axes.add_patch(
            Rectangle((left, top), width, height, **{**style.NOISY, "zorder": 1})
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        small: bool = False,
        bold: bool = False,
        align: str = "center",
        color: str = INK,
        code: bool = False,
    ) -> None:
        """
        Draw a text at a point.

        @param align: the part of the text at the point: center, left or right.
        """
        self._axes.text(
            x,
            y,
            text,
            ha=align,
            va="center",
            color=color,
            fontsize=style.SMALL if small else style.BODY,
            fontweight="bold" if bold else "normal",
            fontfamily="DejaVu Sans Mono" if code else "DejaVu Sans",
            linespacing=1.15,
            zorder=4,
        )

    def arrow(
        self,
        start: At,
        end: At,
        text: str = "",
        above: float = 1.4,
        dashed: bool = False,
        both: bool = False,
        color: str = INK,
        bend: float = 0.0,
        align: str = "center",
    ) -> None:
        """
        Draw an arrow, with a text above its middle.

        @param above: the distance of the text, in units; below the arrow if negative.
        @param bend: the curvature, as a fraction of the length.
        """
        self._axes.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="<|-|>" if both else "-|>",
                mutation_scale=12,
                shrinkA=0,
                shrinkB=0,
                linewidth=1.3,
                linestyle=(0, (4, 2)) if dashed else "-",
                connectionstyle=f"arc3,rad={bend}",
                color=color,
                zorder=3,
            )
        )
        if text:
            x = (start[0] + end[0]) / 2
            y = (start[1] + end[1]) / 2 - above
            self.text(x, y, text, small=True, align=align, color=color)

    def line(self, start: At, end: At, dashed: bool = False, **look: Any) -> None:
        """
        Draw a thin line.
        """
        self._axes.plot(
            *zip(start, end, strict=True),
            color=look.pop("color", style.PALE),
            linewidth=look.pop("width", 1.0),
            linestyle="--" if dashed else "-",
            zorder=look.pop("zorder", 0.8),
        )


class Sequence:
    """
    A sequence diagram: participants side by side, each with a vertical line (its
    I{life}), and messages between them, from top to bottom.

    @ivar sheet: the sheet of the drawing.
    """

    _HEAD = 4.0

    def __init__(
        self, height: float, lives: dict[str, float], top: float = 0.6
    ) -> None:
        """
        @param lives: the name of each participant, and its x in units.
        """
        self.sheet = Sheet(height)
        self._lives = lives
        self._top = top + self._HEAD
        for name, x in lives.items():
            width = max(9.0, 1.25 * max(map(len, name.split("\n"))))
            self.sheet.box(x - width / 2, top, width, self._HEAD, name, bold=True)
            self.sheet.line((x, self._top), (x, height - 0.5), dashed=True)

    def busy(self, name: str, top: float, bottom: float, waiting: bool = False) -> None:
        """
        Draw a bar on a life: the participant works, or waits for another.
        """
        x = self._lives[name] - 0.8
        if waiting:
            self.sheet.waiting(x, top, 1.6, bottom - top)
        self.sheet.box(x, top, 1.6, bottom - top, fill="none" if waiting else PROGRAM)

    def message(
        self, at: float, sender: str, receiver: str, text: str, returning: bool = False
    ) -> None:
        """
        Draw a message from one participant to another, at a height.
        """
        start, end = self._lives[sender], self._lives[receiver]
        gap = 0.9 if end > start else -0.9
        self.sheet.arrow((start + gap, at), (end - gap, at), text, dashed=returning)

    def note(self, at: float, name: str, text: str, right: bool = True) -> None:
        """
        Write beside a life what its participant does.
        """
        x = self._lives[name] + (1.6 if right else -1.6)
        self.sheet.text(x, at, text, small=True, align="left" if right else "right")
