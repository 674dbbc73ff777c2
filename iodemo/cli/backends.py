# -*- test-case-name: tests.test_cli -*-
"""
The command C{iodemo backends}.
"""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from iodemo import models
from iodemo.reactors import auto, autoasyncio


@click.command(short_help="List every I/O model: available here, or why not.")
@click.option("--json", "asJson", is_flag=True, help="Print JSON.")
def backends(asJson: bool) -> None:
    """
    List every I/O model: available here, or why not.

    A reference is not a reactor: it is a server that does as little as possible, and
    iodemo compare measures it together with the reactors.
    """
    if asJson:
        click.echo(
            json.dumps([_backendRecord(model) for model in models.MODELS], indent=1)
        )
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("backend", "model", "the call", "the result", "here"):
        table.add_column(heading, no_wrap=heading == "backend")
    for index, model in enumerate(models.MODELS):
        if index and model.kind != models.MODELS[index - 1].kind:
            table.add_row()
        reason = model.unavailable()
        table.add_row(
            model.name,
            model.pattern if model.kind == "reactor" else model.kind,
            "blocks" if model.blocking else "does not block",
            "by the call" if model.synchronous else "later",
            Text("yes", style="green") if reason is None else Text(reason),
        )
    Console().print(table)
    for choice, module in (("auto", auto), ("auto-asyncio", autoasyncio)):
        *names, last = module.REACTORS
        runs = (name for name in names if models.find(name).unavailable() is None)
        click.echo(f"--reactor={choice} takes {next(runs, last)} here")


def _backendRecord(model: models.Model) -> dict[str, Any]:
    reason = model.unavailable()
    return {
        "name": model.name,
        "kind": model.kind,
        "model": {
            "pattern": model.pattern,
            "blocking": model.blocking,
            "synchronous": model.synchronous,
            "kernel_calls": list(model.kernelCalls),
        },
        "available": reason is None,
        "reason": reason,
        "description": model.description,
    }
