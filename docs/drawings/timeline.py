"""
The timeline: the rows of C{docs/timeline.csv}, from top to bottom. The years on the
left are to scale; each row has a line of text beside them.
"""

from __future__ import annotations

import csv
import textwrap
from pathlib import Path

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, INK, Sheet
from iodemo.report import style

FILE = Path(__file__).parent.parent / "timeline.csv"

#: The mark and the colour of each kind of row.
KINDS = {
    "readiness": ("●", "#0072b2"),
    "signal": ("▲", INK),
    "completion": ("■", ACCENT),
    "writing": ("○", INK),
}

_LETTERS = 38
_LINE = 2.15
_GAP = 1.5
_HEAD = 7.0


def rows() -> list[dict[str, str]]:
    """
    Read the rows, each a dict with the columns of the CSV file.
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def when(date: str) -> float:
    """
    A date as a year with a fraction. A month stands for its first day.
    """
    year, month, day = (int(part) for part in f"{date}-01-01".split("-")[:3])
    return year + (month - 1) / 12 + (day - 1) / 365


def draw() -> Figure:
    """
    Draw the whole timeline.
    """
    wrapped = [(row, textwrap.wrap(row["What"], _LETTERS)) for row in rows()]
    height = _HEAD + sum(_LINE * len(lines) + _GAP for _, lines in wrapped) + 1
    sheet = Sheet(height)
    for place, (kind, (mark, color)) in enumerate(KINDS.items()):
        left = 1 + place % 4 * 16.2
        sheet.text(left, 1.8, f"{mark} {kind}", small=True, align="left", color=color)
    first, last = 1982, 2025
    top, bottom = _HEAD, height - 1.5

    def across(year: float) -> float:
        return top + (year - first) / (last - first) * (bottom - top)

    sheet.line((7, top), (7, bottom), color=style.QUIET, width=1.6)
    for year in range(1985, last + 1, 5):
        sheet.line((6.2, across(year)), (7.8, across(year)), color=style.QUIET)
        sheet.text(5.6, across(year), str(year), small=True, align="right")
    y = _HEAD - 1
    for row, lines in wrapped:
        mark, color = KINDS[row["Kind"]]
        tall = _LINE * len(lines)
        middle = y + tall / 2
        at = across(when(row["Date"]))
        sheet.line((7, at), (13.4, middle), color=style.PALE, zorder=0.7)
        sheet.text(14.4, middle, mark, color=color)
        sheet.text(16.2, middle, row["Date"], small=True, align="left")
        sheet.text(28.4, middle, "\n".join(lines), small=True, align="left")
        y += tall + _GAP
    return sheet.figure


DRAWINGS = {"timeline": draw}
