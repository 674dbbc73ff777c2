# -*- test-case-name: tests.test_cli -*-
"""
The C{iodemo} command: the group of all commands, each of which has a file of its own.

Every mistake in the arguments ends in a message of one line, which advises the user,
and in an exit status that is not zero; no wrong input makes a traceback.
"""

from __future__ import annotations

import io
import signal
import sys
from typing import Any

import click

import iodemo
from iodemo.cli.backends import backends
from iodemo.cli.compare import compare
from iodemo.cli.conform import conform
from iodemo.cli.diff import diff
from iodemo.cli.doctor import doctor
from iodemo.cli.load import load
from iodemo.cli.options import INTERRUPTED, StandardOutput
from iodemo.cli.report import report

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 88}


class _Commands(click.Group):
    """
    Commands that SIGINT ends without the empty line that click prints.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """See L{click.Command.invoke}."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise click.Abort(*interrupt.args) from interrupt


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(iodemo.__version__, prog_name="iodemo")
def main() -> None:
    """
    One Twisted service under every I/O model, measured side by side.

    \b
    Start here:
      iodemo backends          what this machine can run, and why not the rest
      iodemo doctor            whether it is fit for measuring
      iodemo compare --quick   measure, draw, report
    """


for command in (backends, doctor, compare, load, report, diff, conform):
    main.add_command(command)


def run() -> None:
    """
    Run the C{iodemo} command, and exit. A failure to write standard output is an error
    of one line.
    """
    if sys.stdout is None:
        sys.exit("iodemo: standard output is closed")
    # A character that the terminal's encoding does not have must not end the command.
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(StandardOutput(sys.stdout.fileno(), "w", closefd=False)),
        encoding=sys.stdout.encoding,
        errors="replace",
        line_buffering=sys.stdout.isatty(),
    )
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")
    try:
        status = main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except click.Abort as abort:
        click.echo(": ".join(["Interrupted", *map(str, abort.args)]), err=True)
        status = INTERRUPTED
    except OSError as error:
        # An error that no command has caught.
        sys.exit(f"iodemo: {error}")
    # All output is written. SIGINT while Python exits would only print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)
