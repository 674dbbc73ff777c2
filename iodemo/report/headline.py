# -*- test-case-name: tests.test_report -*-
"""
The answer in one sentence, made from the numbers.
"""

from __future__ import annotations

from iodemo.lab.results import Cell, Results
from iodemo.report import reading
from iodemo.report.reading import Place, listed

_MANY = 4  # backends in one sentence, beyond which it only names the ends


def headline(results: Results) -> str:
    """
    What the run says where it says most: at the most idle connections if it
    had any, and otherwise at the most busy ones.
    """
    places = {
        place: cells
        for place, cells in reading.places(results).items()
        if any(cell["status"] == "ok" for cell in cells)
    }
    if not places:
        return "No backend gave a number in this run; the reasons are below."
    place = max(places, key=lambda place: (place.idle, place.active))
    cells = places[place]
    ok = [cell for cell in cells if cell["status"] == "ok"]
    ok.sort(key=lambda cell: -cell["summary"]["throughput"]["median"])
    named = _named(ok, reading.baseline(results))
    words = []
    for index, cell in enumerate(named):
        served = " served" if index == 0 else ""
        unit = " requests a second" if index == 0 else ""
        words.append(f"{cell['backend']}{served} {_said(cell)}{unit}")
    between = len(ok) - len(named)
    more = f", and {between} more lay between" if between else ""
    failed = [cell["backend"] for cell in cells if cell["status"] == "failed"]
    end = f"; {listed(failed)} failed" if failed else ""
    skipped = [cell["backend"] for cell in cells if cell["status"] == "skipped"]
    were = "was" if len(skipped) == 1 else "were"
    end += f"; {listed(skipped)} {were} skipped" if skipped else ""
    return f"With {_connections(place)} {listed(words)}{more}{end}."


def _named(ok: list[Cell], baseline: str | None) -> list[Cell]:
    """
    Of many, the fastest, the baseline and the slowest.
    """
    if len(ok) <= _MANY:
        return ok
    return [
        cell
        for index, cell in enumerate(ok)
        if index in (0, len(ok) - 1) or cell["backend"] == baseline
    ]


def _said(cell: Cell) -> str:
    least = "at least " if cell["load_limited"] else ""
    return least + reading.rate(cell["summary"]["throughput"]["median"])


def _connections(place: Place) -> str:
    if place.idle:
        return f"{reading.count(place.idle)} idle connections"
    return place.load()
