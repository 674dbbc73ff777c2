# -*- test-case-name: tests.test_cli -*-
"""
Parts that several commands use: the types of options, claims, the report, standard
output, and the errors of writing these.
"""

from __future__ import annotations

import functools
import io
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from iodemo.bench.statements import Statements
    from iodemo.results.claims import Claim
    from iodemo.results.schema import Placed, Results


#: The exit status by which a shell reports that SIGINT ended a command.
INTERRUPTED = 130


class Number(click.FloatRange):
    """
    A finite number in a range. (click accepts NaN in every range.)
    """

    noun = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a {self.noun}", param, ctx)
        return number


#: The shortest window and the shortest timeout, in seconds: less is too short for a
#: request.
SHORTEST = 0.001


class Seconds(Number):
    """
    A length of time in seconds, of a day at most.
    """

    noun = "number of seconds"

    def __init__(self, least: float = 0) -> None:
        super().__init__(least, 86400)


class Named(click.Path):
    """
    The path of a file or directory. An empty path is an error: C{pathlib} takes it for
    the current directory, but mostly it is a variable that a script did not set.
    """

    def __init__(self, file_okay: bool = True) -> None:
        super().__init__(path_type=Path, file_okay=file_okay)

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        if not os.fspath(value):
            self.fail("an empty path: write . for the current directory", param, ctx)
        return super().convert(value, param, ctx)


class Required(click.ParamType[Any]):
    """
    A claim, as L{iodemo.results.claims.parse} reads it.
    """

    name = "claim"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        from iodemo.results.claims import BadClaim, parse

        try:
            return parse(value)
        except BadClaim as error:
            self.fail(str(error), param, ctx)


_requireOption = click.option(
    "--require",
    "claims",
    type=Required(),
    multiple=True,
    metavar="CLAIM",
    help="Decide a claim, and report it as exit status: '[WHERE:] A/B >= N', the ratio "
    "of two backends (or >, <=, <, or = LOW..HIGH), or the same of A alone. WHERE "
    "selects points by scenario, service, active=N or idle=N, and a metric such as "
    "latency_us.p99 (default: throughput). The claim holds if at every selected point "
    "the whole interval of the ratio does. Status 0: held; 1: refuted; 2: nothing was "
    "measured that can decide it; 3: undecided. May be repeated.",
)
_claimsOption = click.option(
    "--claims",
    "path",
    type=Named(),
    metavar="FILE",
    help="Require every claim in a TOML file of statements, such as "
    "benchmarks/aims.toml. iodemo compare then measures only the points that these "
    "claims need.",
)
_aboutOption = click.option(
    "--about",
    metavar="TEXT",
    help="With --claims: only the statements whose text contains TEXT.",
)


class _Undecidable(click.ClickException):
    exit_code = 2


@dataclass(frozen=True)
class Requirements:
    """
    The claims that a command must decide.

    @ivar claims: the claims of C{--require}.
    @ivar statements: the statements of C{--claims}; C{None} without this option.
    """

    claims: tuple[Claim, ...]
    statements: Statements | None

    def every(self) -> tuple[Claim, ...]:
        """
        All claims.
        """
        return (*self.claims, *(self.statements.claims if self.statements else ()))


def requiring(command: Callable[..., None]) -> Callable[..., None]:
    """
    A decorator that gives a command the options C{--require}, C{--claims} and
    C{--about}, as parameter C{required}.

    With one of them, an error of the command has exit status 2: the usual status, 1,
    means that a claim is refuted.
    """

    @functools.wraps(command)
    def withRequirements(
        *arguments: Any,
        claims: tuple[Claim, ...],
        path: Path | None,
        about: str | None,
        **options: Any,
    ) -> None:
        if about is not None and path is None:
            raise click.UsageError("--about goes with --claims")
        try:
            statements = None if path is None else _statements(path, about or "")
            command(*arguments, required=Requirements(claims, statements), **options)
        except click.ClickException as error:
            if claims or path is not None:
                raise _Undecidable(error.message) from error
            raise

    return _requireOption(_claimsOption(_aboutOption(withRequirements)))


def _statements(path: Path, about: str) -> Statements:
    from iodemo.bench.statements import StatementsError, read

    try:
        return read(path, about)
    except StatementsError as error:
        raise click.ClickException(str(error)) from error


def showClaims(
    required: Requirements, runs: Sequence[Results], console: Console
) -> None:
    """
    Print the decisions on claims, for each run, and exit with their status unless all
    claims hold.
    """
    from iodemo.report.claimtable import ClaimTable

    stated: list[tuple[str, tuple[Claim, ...]]] = [
        (f"required: {each.text}", (each,)) for each in required.claims
    ]
    if required.statements is not None:
        stated += [(each.text, each.claims) for each in required.statements.statements]
    answers = set()
    for run in runs:
        for text, claims in stated:
            table = ClaimTable(text, claims, run)
            console.print(table)
            answers.add(table.answer)
    if "refuted" in answers:
        sys.exit(1)
    if "undecided" in answers:
        sys.exit(3)


def checkClaims(
    claims: Sequence[Claim], places: Sequence[Placed], backends: Sequence[str]
) -> None:
    """
    Refuse a claim if none of these places and backends gives a number for it.

    @raise click.ClickException: if one is refused.
    """
    from iodemo.results.claims import BadClaim

    try:
        for claim in claims:
            claim.check(places, backends)
    except BadClaim as error:
        raise click.ClickException(f"cannot decide {error}") from error


def showReport(runs: list[Results], directory: Path, console: Console) -> None:
    """
    Print results as tables, and write their figures and their page.

    @param directory: for the figures and the page. It is made if necessary.
    """
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
    console.print(f"Report: {page}", highlight=False, markup=False, soft_wrap=True)


class _OutputFailed(click.ClickException):
    """
    Standard output cannot be written: its pipe has no reader, or the disk is full. This
    is not an L{OSError}, since click and rich exit silently at EPIPE.
    """


class StandardOutput(io.FileIO):
    """
    The file of standard output. An error in writing ends the command with a message of
    one line.
    """

    def write(self, data: Any) -> int:
        """See L{io.RawIOBase.write}."""
        try:
            return super().write(data)
        except OSError as error:
            # The unwritten bytes are lost. Python flushes standard output when it
            # exits, which must not fail again.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            raise _OutputFailed(
                f"cannot write to standard output: {error.strerror}"
            ) from error


@contextmanager
def oneLine(path: Path) -> Iterator[None]:
    """
    Turn an error of the file system into a message of one line.

    @param path: the path for the message, if the error has none.
    """
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"cannot write to {error.filename or path}: {error.strerror or error}"
        ) from error
