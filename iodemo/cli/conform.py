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
    help="A short name, as for twistd --reactor, or a class: package.module.Class.",
)
@click.option("--json", "asJson", is_flag=True, help="Print JSON.")
@click.option(
    "--full",
    is_flag=True,
    help="Run all tests of Twisted under the reactor, not only its reactor tests: "
    "some ten thousand, in three to ten minutes on two cores.",
)
def conform(name: str, asJson: bool, full: bool) -> None:
    """
    Run Twisted's own reactor tests under a reactor.

    The control is Twisted's epoll reactor, which runs the same tests on this machine.
    The exit status is 0 if the reactor passes every test that the control passes,
    except for documented exceptions: CONFORMANCE_EXCEPTIONS in its module, a dictionary
    from test to reason.

    Without --full this takes about a minute; for fork ten minutes, since many tests
    run into their timeout there. A test that hangs for a minute is killed and listed as
    failed. With --full, tests of optional packages are skipped, or fail under both
    reactors, if these are not installed: pip install 'twisted[all-non-platform]'
    installs most of them.

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
