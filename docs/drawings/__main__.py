"""
C{python -m drawings DIRECTORY} writes C{NAME.svg} for each drawing of the book.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

import drawings
from iodemo.report import style

# Metadata that would differ between two builds.
_OMITTED = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def found() -> dict[str, Callable[[], Figure]]:
    """
    Find the drawings of all chapters.

    @return: the functions that draw them, by name.
    """
    all_: dict[str, Callable[[], Figure]] = {}
    for module in pkgutil.iter_modules(drawings.__path__):
        if module.name != "__main__":
            its = importlib.import_module(f"drawings.{module.name}")
            all_.update(getattr(its, "DRAWINGS", {}))
    return all_


def main(directory: str) -> None:
    """
    Write all drawings into a directory.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    with matplotlib.style.context(["default", style.PARAMETERS]):
        for name, draw in found().items():
            path = Path(directory, f"{name}.svg")
            draw().savefig(path, format="svg", metadata=_OMITTED)


if __name__ == "__main__":
    main(*sys.argv[1:])
