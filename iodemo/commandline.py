# -*- test-case-name: tests.test_cli -*-
"""
What the commands have in common: the type of an option, the report, and what is said
where it cannot be written.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from iodemo.lab.results import Results


class Seconds(click.FloatRange):
    """
    A length of time, of a day at most. (NaN is in every range, to click.)
    """

    def __init__(self, min_open: bool = False) -> None:
        super().__init__(0, 86400, min_open=min_open)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds


def showReport(runs: list[Results], directory: Path, console: Console) -> None:
    """
    Show results as tables, and write their figures and their page.

    @param directory: where to.
    """
    # That a home directory cannot be written to is said by matplotlib, at length,
    # and does not matter to a report.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from iodemo import report as reports
    from iodemo.report.table import comparisonTable

    with oneLine(directory):
        directory.mkdir(parents=True, exist_ok=True)
        page = reports.write(runs, directory)
    for run in runs:
        if len(runs) > 1:
            began = run["environment"]["date"]
            console.print(Text(f"\n{began}, {run['environment']['cpu']}"))
        console.print(comparisonTable(run))
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)


@contextmanager
def oneLine(path: Path) -> Iterator[None]:
    """
    Make one line of what the file system says.
    """
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"cannot write to {error.filename or path}: {error.strerror or error}"
        ) from error
