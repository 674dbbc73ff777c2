# -*- test-case-name: tests.test_report -*-
"""
The look of a backend, which is the same in every figure.

The hue and the line style show the family of models that a backend belongs to; the
lightness and the marker show which member it is. The hues are those of Okabe and Ito,
which are distinct for colour-blind eyes, and the markers are distinct on a grey print.
References are grey and dashed. All of it follows from the table of models, so a new row
has its look without a change here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy
from matplotlib.colors import to_hex, to_rgb

from iodemo.models import MODELS, Model

TEXT = "#1c1c1c"
QUIET = "#5a5a5a"
PALE = "#9a9a9a"
RULE = "#dcdcdc"
NOISE = "#d2d2d2"
#: The look of what is no difference, as arguments of a patch.
NOISY: dict[str, Any] = {
    "facecolor": NOISE,
    "edgecolor": "white",
    "hatch": "////",
    "lw": 0,
    "zorder": 0.5,
}
WIDTH = 6.4  # inches; with the sizes below, legible across 390 pixels
TITLE, BODY, SMALL, PRINT = 15.0, 13.0, 12.0, 7.5  # points

# Starting from matplotlib's defaults and these, a figure does not depend on
# the user's settings.
PARAMETERS: dict[str, object] = {
    # Strings from results files are no formulas, and must not fail as such.
    "text.parse_math": False,
    # matplotlib brings this font along: the same everywhere.
    "font.family": "DejaVu Sans",
    "font.size": BODY,
    "text.color": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "hatch.linewidth": 1.0,
    "svg.fonttype": "path",
    "svg.hashsalt": "iodemo",
    "figure.facecolor": "white",
}

Line = str | tuple[float, tuple[float, ...]]
# A letter of matplotlib's, or corners, kind (0 a polygon, 1 a star) and angle.
Marker = str | tuple[int, int, float]


@dataclass(frozen=True)
class Look:
    """
    @ivar color: of lines, bars and markers.
    @ivar ink: the same hue, dark enough for text on white.
    """

    color: str
    ink: str
    marker: Marker
    line: Line


# One for each row of the table of models, as different as they get.
_MARKERS: tuple[Marker, ...] = (
    *"sh^v<odD>p*HXP8",
    *((4, 1, 0.0), (5, 0, 180.0), (6, 1, 0.0), (4, 1, 45.0), (8, 1, 0.0), (7, 0, 0.0)),
)
# Every other member of a family has gaps in its line.
_GAPS: dict[str, Line] = {"-": (0, (5, 1)), "--": (0, (2.5, 1)), ":": (0, (1, 2))}

# From light to dark, and a line style.
_FAMILIES: dict[str, tuple[tuple[str, str, str], str]] = {
    "blocking": (("#3fbf97", "#009e73", "#00543d"), "--"),
    "busy polling": (("#d98bb7", "#cc79a7", "#8a3f6a"), ":"),
    "Reactor": (("#56b4e9", "#0072b2", "#14184a"), "-"),
    "Proactor": (("#e69f00", "#d55e00", "#a83400"), "-"),
    "reference": (("#8c8c8c", "#6a6a6a", "#3d3d3d"), "--"),
    "unknown": (("#b5a52a", "#8f8000", "#5c5200"), "-."),
}


def looks(names: Iterable[str]) -> dict[str, Look]:
    """
    The look of each of these backends.

    A backend in the table of models looks the same whatever else was measured.
    """
    others = [n for n in names if all(n != model.name for model in MODELS)]
    rows = [(model.name, _family(model)) for model in MODELS]
    rows += [(name, "unknown") for name in others]
    found: dict[str, Look] = {}
    for index, (name, family) in enumerate(rows):
        members = [other for other, kin in rows if kin == family]
        member = members.index(name)
        ramp, line = _FAMILIES.get(family, _FAMILIES["unknown"])
        color = _shade(ramp, member, len(members))
        its = _GAPS.get(line, line) if member % 2 else line
        red, green, blue = to_rgb(color)
        ink = to_hex((red * 0.75, green * 0.75, blue * 0.75))
        found[name] = Look(color, ink, _MARKERS[index % len(_MARKERS)], its)
    return found


def _family(model: Model) -> str:
    if model.kind != "reactor":
        return "reference"
    if model.pattern.endswith("per connection"):
        return "blocking"
    if model.pattern.startswith("Proactor"):
        return "Proactor"
    return model.pattern


def _shade(ramp: tuple[str, str, str], member: int, members: int) -> str:
    """
    The colour of a member of a family. Neighbours in the table are usually compared, so
    they are not neighbours in lightness: first comes every other member, and then the
    rest.
    """
    ranks = [*range(0, members, 2), *range(1, members, 2)]
    at = ranks[member] / (members - 1) if members > 1 else 0.5
    stops = numpy.array([to_rgb(color) for color in ramp]).T
    red, green, blue = (float(numpy.interp(at, (0, 0.5, 1), stop)) for stop in stops)
    return to_hex((red, green, blue))
