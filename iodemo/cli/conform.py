# -*- test-case-name: tests.test_cli -*-
"""
The command C{iodemo conform}.
"""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console


@click.command()
@click.option(
    "--reactor",
    "name",
    required=True,
    metavar="NAME",
    help="A short name, as in twistd --reactor, or a class: package.module.Class.",
)
@click.option("--json", "asJson", is_flag=True, help="Print JSON.")
@click.option(
    "--full",
    is_flag=True,
    help="Run all of Twisted's tests under the reactor, not its reactor tests only: "
    "some ten thousand, in three to ten minutes on two cores.",
)
def conform(name: str, asJson: bool, full: bool) -> None:
    """
    Hold a reactor against Twisted's own reactor tests.

    The control is Twisted's epoll reactor, here and now. The exit status is 0 if the
    reactor fails nothing that the control passes, apart from its documented
    exceptions: CONFORMANCE_EXCEPTIONS in its module, reason by test.

    It takes about a minute without --full; ten for fork, under which many tests end
    only when their time is over. A test that hangs for a minute is ended, and named
    like any other that goes wrong. With --full, tests of what is not installed are
    skipped, or fail under both: pip install 'twisted[all-non-platform]' brings most
    of it.

    \b
      iodemo conform --reactor busypoll
      iodemo conform --reactor my.package.MyReactor --json
    """
    from iodemo.conformance import conforming, finding, showing
    from iodemo.process.signals import Interrupted, interruptible

    modules = conforming.allModules() if full else conforming.reactorModules()
    progress = showing.ConformanceProgress(Console(stderr=True), 2 * len(modules))
    try:
        with interruptible(), progress:
            outcome, _ = conforming.conform(name, progress, full, modules)
    except (finding.UnknownReactor, conforming.CannotJudge) as error:
        raise click.ClickException(str(error)) from error
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signal)
    if asJson:
        click.echo(json.dumps(outcome, indent=1))
    else:
        showing.show(outcome, Console())
    if not outcome["conforms"]:
        sys.exit(1)
