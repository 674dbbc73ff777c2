"""
What drawings are made of: boxes, arrows, and lives side by side.

A sheet is 64 units wide, as high as it must be, and a unit is a tenth of an inch; y
grows downwards, as one reads. Text is no smaller than what is legible across a phone,
so there is room for some forty letters in a line, and a drawing says little. What
belongs to the kernel is grey, what to the program is blue, and what waits is striped:
no meaning is in a hue alone.
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
    A drawing in the making.

    @ivar figure: it.
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
        A box with a text in its middle.
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
        An area with its name in its upper left corner: the kernel, a process.
        """
        self._axes.add_patch(
            Rectangle((left, top), width, height, facecolor=fill, edgecolor="none")
        )
        self.text(left + 0.8, top + 1.6, text, small=True, align="left", bold=True)

    def waiting(self, left: float, top: float, width: float, height: float) -> None:
        """
        A stretch of time in which somebody waits.
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
        A text around a point: its middle, or the middle of its left or right end.
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
        An arrow, with a text over its middle.

        @param above: how far over; less than 0 is under.
        @param bend: how far it swerves, as a part of its length.
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
        A thin line.
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
    Who does what, one after the other: lives side by side, and messages between them.

    @ivar sheet: what it is drawn on.
    """

    _HEAD = 4.0

    def __init__(
        self, height: float, lives: dict[str, float], top: float = 0.6
    ) -> None:
        """
        @param lives: who takes part, and where, from the left.
        """
        self.sheet = Sheet(height)
        self._lives = lives
        self._top = top + self._HEAD
        for name, x in lives.items():
            width = max(9.0, 1.25 * max(map(len, name.split("\n"))))
            self.sheet.box(x - width / 2, top, width, self._HEAD, name, bold=True)
            self.sheet.line((x, self._top), (x, height - 0.5), dashed=True)

    def busy(self, who: str, top: float, bottom: float, waiting: bool = False) -> None:
        """
        A stretch of a life in which somebody works, or waits for another.
        """
        x = self._lives[who] - 0.8
        if waiting:
            self.sheet.waiting(x, top, 1.6, bottom - top)
        self.sheet.box(x, top, 1.6, bottom - top, fill="none" if waiting else PROGRAM)

    def message(
        self, at: float, sender: str, receiver: str, text: str, returning: bool = False
    ) -> None:
        """
        From one to another, at a height.
        """
        start, end = self._lives[sender], self._lives[receiver]
        gap = 0.9 if end > start else -0.9
        self.sheet.arrow((start + gap, at), (end - gap, at), text, dashed=returning)

    def note(self, at: float, who: str, text: str, right: bool = True) -> None:
        """
        What one does by itself.
        """
        x = self._lives[who] + (1.6 if right else -1.6)
        self.sheet.text(x, at, text, small=True, align="left" if right else "right")
