"""
How often a comparison calls a server different from itself: C{scripts/aa-test}.

C{iodemo compare} has measured one reactor in many rounds, and its control in as many.
These rounds are cut into comparisons of a few rounds each, in the order in which they
ran. Each comparison is decided as any other is, with the noise band of the comparison
before it. All verdicts should be "indistinguishable".
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
    Cut rounds into lists of C{size}. A last list that would be shorter is left out.
    """
    starts = range(0, len(rounds) - size + 1, size)
    return [rounds[start : start + size] for start in starts]


def verdicts(run: Results, size: int) -> Counter[str]:
    """
    Count the verdicts of comparisons of C{size} rounds, over all points and metrics.
    """
    found = Counter[str]()
    measured = {(placeOf(cell), cell["backend"]): cell for cell in run["cells"]}
    for control in run.get("controls", []):
        cell = measured.get((placeOf(control), control["backend"]))
        if cell is None:
            # The run was interrupted.
            continue
        servers = [
            [_withRounds(one, rounds) for rounds in pieces(one["rounds"], size)]
            for one in (cell, control)
        ]
        # One of the two has no rounds if it failed.
        pairs = list(zip(*servers, strict=False))
        for (base, again), (_, other) in pairwise(pairs):
            noise = comparisons.bands(comparisons.compareControl([base], again))
            metrics = COMPARED
            for comparison in comparisons.compareCells(base, other, metrics, noise):
                found[comparison["verdict"]] += 1
    return found


def _withRounds(cell: Cell, rounds: list[Round]) -> Cell:
    return {**cell, "rounds": rounds}


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Of each comparison.",
)
def main(directory: Path, rounds: int) -> None:
    """
    Print how many comparisons of a server with itself, in the results in DIRECTORY,
    call it different.
    """
    try:
        run = file.read(directory)
    except file.ResultsError as error:
        raise click.ClickException(str(error)) from error
    found = verdicts(run, rounds)
    if not found:
        raise click.ClickException(
            f"{directory}: too few rounds: two comparisons take {2 * rounds} of a cell"
        )
    different = found.total() - found["indistinguishable"]
    Console().print(
        f"{different} of {found.total()} comparisons of {rounds} rounds call a server "
        f"different from itself: {different / found.total():.1%}",
        highlight=False,
    )


if __name__ == "__main__":
    main()
