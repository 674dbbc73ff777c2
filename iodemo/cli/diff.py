# -*- test-case-name: tests.test_cli -*-
"""
The command C{iodemo diff}.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from msgspec import structs
from rich.console import Console

from iodemo.cli.options import Named


@click.command(short_help="Compare two runs, and list the differences.")
@click.argument("old", type=Named())
@click.argument("new", type=Named())
@click.option("--json", "asJson", is_flag=True, help="Print JSON.")
@click.option(
    "--different-machines",
    "insisted",
    is_flag=True,
    help="Compare the runs even if machines, kernels or cores differ.",
)
@click.option(
    "--different-plans",
    "anyPlan",
    is_flag=True,
    help="Compare the runs even if windows, servers or scenarios differ.",
)
def diff(old: Path, new: Path, asJson: bool, insisted: bool, anyPlan: bool) -> None:
    """
    Compare two runs, and list the differences of NEW from OLD, by backend and point.

    OLD and NEW are results.json files, or the directories that contain them.
    """
    from iodemo.report.difftable import DiffTable
    from iodemo.results.diff import MACHINE, difference, differing, plansDiffering
    from iodemo.results.file import ResultsError, read

    try:
        before, after = read(old), read(new)
    except ResultsError as error:
        raise click.ClickException(str(error)) from error
    apart = differing(before["environment"], after["environment"], MACHINE)
    if apart and not insisted:
        raise click.ClickException(
            f"measured on different machines ({'; '.join(apart)}): "
            "--different-machines compares them even so"
        )
    others = plansDiffering(before, after)
    if others and not anyPlan:
        raise click.ClickException(
            f"measured by different plans ({'; '.join(others)}): "
            "--different-plans compares them even so"
        )
    found = difference(before, after)
    if asJson:
        click.echo(json.dumps(found, indent=1, allow_nan=False, default=structs.asdict))
    else:
        Console().print(DiffTable(before, after, found))
