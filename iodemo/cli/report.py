# -*- test-case-name: tests.test_cli -*-
"""
The command C{iodemo report}.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from iodemo.cli.options import (
    Named,
    Requirements,
    checkClaims,
    oneLine,
    requiring,
    showClaims,
    showReport,
)

if TYPE_CHECKING:
    from iodemo.results.schema import Results


@click.command(short_help="Show results again: table, figures and page.")
@click.argument(
    "results",
    nargs=-1,
    required=True,
    type=Named(),
    metavar="RESULTS...",
)
@click.option(
    "--output",
    type=Named(file_okay=False),
    metavar="DIR",
    help="Where the report goes.  [default: beside the first results]",
)
@click.option(
    "--book",
    is_flag=True,
    help="Instead, make the figures and numbers that the pages of docs/ show, from one "
    "run.  [--output: docs/measured, in a checkout]",
)
@requiring
def report(
    results: tuple[Path, ...],
    output: Path | None,
    book: bool,
    required: Requirements,
) -> None:
    """
    Show results again: table, figures and page, from their files alone.

    RESULTS are results.json files, or the directories they are in. Of a run that is not
    complete, cells that do not have all rounds yet are shown with those they have.
    """
    from iodemo.report.select import names
    from iodemo.results.cells import withUnfinished
    from iodemo.results.file import ResultsError
    from iodemo.results.journal import read

    if book and (len(results) > 1 or required.every()):
        raise click.UsageError("--book takes the results of one run, and no claim")

    try:
        found = [read(path) for path in results]
    except ResultsError as error:
        raise click.ClickException(str(error)) from error
    for _, lost in found:
        if lost is not None:
            click.echo(f"The rest of a journal is lost: {lost}.", err=True)
    runs = [withUnfinished(run) for run, _ in found]
    if book:
        _writeBook(runs[0], output)
        return
    for run in runs:
        checkClaims(required.every(), run["cells"], names(run))
    first = results[0]
    console = Console()
    showReport(runs, output or (first if first.is_dir() else first.parent), console)
    showClaims(required, runs, console)


_BOOK = Path("docs")


def _writeBook(run: Results, output: Path | None) -> None:
    """
    Make what the pages of C{docs/} show.
    """
    from iodemo.report.book import write

    if output is None:
        if not (_BOOK / "conf.py").exists():
            raise click.UsageError(
                "there is no docs/ here: run this in a checkout of iodemo, or say "
                "--output DIR"
            )
        output = _BOOK / "measured"
    with oneLine(output):
        pages = write(run, output)
    click.echo(f"{len(pages)} figures in {output}; scripts/docs builds the pages")
