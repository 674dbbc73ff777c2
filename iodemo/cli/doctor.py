# -*- test-case-name: tests.test_cli -*-
"""
The command C{iodemo doctor}.
"""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text


@click.command(short_help="Check whether this machine is fit for measuring.")
def doctor() -> None:
    """
    Check whether this machine is fit for measuring, and advise what to change.
    """
    from iodemo.doctor import examine

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("what", no_wrap=True)
    table.add_column("found")
    table.add_column("advice")
    for finding in examine():
        advice = (
            Text("fine", style="green")
            if finding.advice is None
            else Text(finding.advice, style="yellow")
        )
        table.add_row(finding.name, Text(finding.value), advice)
    Console().print(table)
