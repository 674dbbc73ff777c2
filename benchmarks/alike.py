"""
How often a server is called different from itself: C{scripts/alike}.

One reactor is measured in many rounds, as C{iodemo compare} measures, twice: half of
the rounds are its control's. They are cut into comparisons of a few rounds each, in the
order in which they were had, and each is decided as any comparison is, with the noise
band that the rounds next to it give. All of them should be indistinguishable.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import click
from rich.console import Console

from iodemo.results import comparisons, file
from iodemo.results.metrics import COMPARED
from iodemo.results.schema import Cell, Results, Round, placeOf


def pieces(rounds: list[Round], size: int) -> list[list[Round]]:
    """
    Rounds, so many at a time.
    """
    starts = range(0, len(rounds) - size + 1, size)
    return [rounds[start : start + size] for start in starts]


def verdicts(run: Results, size: int) -> Counter[str]:
    """
    What is said of each comparison, over all points and metrics.
    """
    found = Counter[str]()
    measured = {(placeOf(cell), cell["backend"]): cell for cell in run["cells"]}
    for control in run["controls"]:
        cell = measured[placeOf(control), control["backend"]]
        servers = [
            [_made(one, rounds) for rounds in pieces(one["rounds"], size)]
            for one in (cell, control)
        ]
        pairs = list(zip(*servers, strict=True))
        for (base, again), (_, other) in pairwise(pairs):
            noise = comparisons.bands(comparisons.controlComparisons([base], again))
            metrics = COMPARED
            for comparison in comparisons.against(base, other, metrics, noise):
                found[comparison["verdict"]] += 1
    return found


def _made(cell: Cell, rounds: list[Round]) -> Cell:
    return {**cell, "rounds": rounds}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--rounds", default=5, show_default=True, help="Of each comparison.")
def main(directory: Path, rounds: int) -> None:
    """
    Say how many comparisons of a server with itself, in the results in DIRECTORY, call
    it different.
    """
    found = verdicts(file.read(directory), rounds)
    different = found.total() - found["indistinguishable"]
    Console().print(
        f"{different} of {found.total()} comparisons of {rounds} rounds call a server "
        f"different from itself: {different / max(1, found.total()):.1%}",
        highlight=False,
    )


if __name__ == "__main__":
    main()
