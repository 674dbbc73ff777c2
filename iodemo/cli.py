# -*- test-case-name: tests.test_cli -*-
"""
The C{iodemo} command.

Every mistake a person can make ends in one line that says what to do, and an
exit status that is not zero; nothing here prints a traceback for bad input.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import math
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

import iodemo
from iodemo import models
from iodemo.lab.scenarios import SCENARIOS

if TYPE_CHECKING:
    from iodemo.lab.plan import Plan
    from iodemo.lab.results import Results
    from iodemo.load.round import Round

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 88}


class _Seconds(click.FloatRange):
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


@click.group(context_settings=_CONTEXT)
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


@main.command(short_help="List every I/O model: available here, or why not.")
@click.option("--json", "asJson", is_flag=True, help="Print JSON.")
def backends(asJson: bool) -> None:
    """
    List every I/O model: available here, or why not.
    """
    if asJson:
        click.echo(
            json.dumps([_backendRecord(model) for model in models.MODELS], indent=1)
        )
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("backend", "model", "the call", "the result", "here"):
        table.add_column(heading, no_wrap=heading == "backend")
    for model in models.MODELS:
        reason = model.unavailable()
        table.add_row(
            model.name,
            model.pattern,
            "blocks" if model.blocking else "does not block",
            "by the call" if model.synchronous else "later",
            Text("yes", style="green") if reason is None else Text(reason),
        )
    _console().print(table)


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


@main.command(short_help="Is this machine fit for measuring?")
def doctor() -> None:
    """
    Check whether this machine is fit for measuring, and say what to change.
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
    _console().print(table)


@main.command(short_help="Ask one server as fast as it answers.")
@click.argument("endpoint")
@click.option("--kind", default="echo", show_default=True, help="echo, or http:/PATH.")
@click.option(
    "--connections",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Busy connections, one request in flight on each.",
)
@click.option(
    "--idle",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Further connections, open and silent.",
)
@click.option(
    "--payload",
    type=click.IntRange(1, 1 << 30),
    default=64,
    show_default=True,
    metavar="BYTES",
    help="Size of an echo.",
)
@click.option(
    "--seconds",
    type=_Seconds(min_open=True),
    default=5.0,
    show_default=True,
    help="Length of the measured window.",
)
@click.option(
    "--warmup",
    type=_Seconds(),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="The same load before it, not counted.",
)
@click.option(
    "--wait",
    type=_Seconds(),
    default=0.0,
    metavar="SECONDS",
    help="Go on trying so long while nobody listens.",
)
@click.option(
    "--watch",
    type=click.IntRange(1),
    metavar="PID",
    help="Report what this process (the server) used meanwhile.",
)
@click.option("--json", "asJson", is_flag=True, help="Print one JSON object.")
def load(
    endpoint: str,
    kind: str,
    connections: int,
    idle: int,
    payload: int,
    seconds: float,
    warmup: float,
    wait: float,
    watch: int | None,
    asJson: bool,
) -> None:
    """
    Ask a server at ENDPOINT as fast as it answers, and say how fast that was.

    A closed loop: each busy connection sends its next request when the last is
    answered. Every answer is checked, byte for byte. ENDPOINT is tcp:HOST:PORT
    or unix:PATH.

    \b
      iodemo load tcp:127.0.0.1:8007 --kind echo --connections 100 --idle 1000
      iodemo load tcp:127.0.0.1:8080 --kind http:/index.html
    """
    from iodemo.load.address import BadAddress, parseAddress
    from iodemo.load.driver import Driver, LoadFailed, Plan, raiseDescriptorLimit
    from iodemo.load.exchanges import UnknownKind, exchangeOf
    from iodemo.load.watching import NothingToWatch, Watch

    try:
        address = parseAddress(endpoint)
        host = str(address).partition(":")[2]
        exchange = exchangeOf(kind, payload, host)
        plan = Plan(address, exchange, connections, idle, seconds, warmup, wait)
        watched = None if watch is None else Watch(watch)
        raiseDescriptorLimit(plan)
        phases = _console(stderr=True)
        measured = Driver(
            plan,
            watched,
            (lambda phase: phases.print(f"{phase} ...", highlight=False))
            if phases.is_terminal and not asJson
            else lambda phase: None,
        ).run()
    except (BadAddress, LoadFailed, UnknownKind, NothingToWatch) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)
    if asJson:
        click.echo(json.dumps(measured))
    else:
        _console().print(_roundTable(measured))


def _roundTable(measured: Round) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("throughput", f"{measured['throughput']:,.0f} requests a second")
    for percentile, value in measured["latency_us"].items():
        table.add_row(f"latency {percentile}", f"{value:,.0f} µs")
    if measured["server_cpu_us_per_request"] is not None:
        table.add_row(
            "server CPU", f"{measured['server_cpu_us_per_request']:,.1f} µs a request"
        )
        table.add_row("server memory", f"{measured['server_rss_kib']:,} KiB")
        table.add_row(
            "context switches",
            f"{(measured['context_switches'] or 0) / measured['requests']:.3g} "
            "a request",
        )
    table.add_row("load CPU", f"{measured['load_cpu_fraction']:.0%} of a core")
    return table


@main.command(short_help="Measure one service under every backend, and report.")
@click.option(
    "--backends",
    "names",
    metavar="A,B,...",
    help="Default: all that can run here (see iodemo backends).",
)
@click.option(
    "--scenarios",
    metavar="X,Y,...",
    help="Default: all. "
    + " ".join(f"{each.name}: {each.question}" for each in SCENARIOS),
)
@click.option(
    "--baseline",
    metavar="NAME",
    help=f"The backend the others are compared with.  [default: {models.BASELINE}]",
)
@click.option("--rounds", type=click.IntRange(1, 1000), help="Per cell.  [default: 5]")
@click.option(
    "--seconds",
    type=_Seconds(min_open=True),
    help="Measured in each round.  [default: 1]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where results and report go.  [default: iodemo-results/DATE]",
)
@click.option(
    "--plugin",
    metavar="COMMAND",
    help="Measure this twistd plugin instead; {endpoint} is where to listen.",
)
@click.option(
    "--load", "kind", metavar="KIND", help="With --plugin: echo, or http:/PATH."
)
@click.option("--quick", is_flag=True, help="Fewer points, 3 rounds of 0.3 s.")
@click.option("--full", is_flag=True, help="9 rounds of 2 seconds.")
def compare(
    names: str | None,
    scenarios: str | None,
    baseline: str | None,
    rounds: int | None,
    seconds: float | None,
    output: Path | None,
    plugin: str | None,
    kind: str | None,
    quick: bool,
    full: bool,
) -> None:
    """
    Measure one service under every backend, and report.

    \b
      iodemo compare --quick
      iodemo compare --backends select,poll,epoll --scenarios idle --output out
      iodemo compare --plugin "web --listen={endpoint} --path=." --load http:/

    Ctrl-C ends it early; what was finished by then is in the results.
    """
    from iodemo.progress import Interrupted, interruptible

    if quick and full:
        raise click.UsageError("--quick and --full exclude each other")
    pace = _QUICK if quick else _FULL if full else _USUAL
    try:
        with interruptible() as interruption:
            plan = _plan(
                names, scenarios, baseline, plugin, kind, pace, rounds, seconds, quick
            )
            interruption.check()
            _measure(plan, output)
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signal)


def _measure(plan: Plan, output: Path | None) -> None:
    """
    Make a comparison, and report it.
    """
    from iodemo.lab import results, runner
    from iodemo.lab.environment import pinning
    from iodemo.lab.statistics import FEWEST_ROUNDS
    from iodemo.progress import ComparisonProgress, Interrupted

    command = shlex.join(["iodemo", *sys.argv[1:]])
    console = _console()
    directory = output or _newDirectory()
    path = directory / results.FILE_NAME
    with _oneLine(directory):
        directory.mkdir(parents=True, exist_ok=True)
        if path.exists():
            # Results are never lost to later ones.
            written = time.gmtime(path.stat().st_mtime)
            path.replace(path.with_suffix(f".{time.strftime(_TIME, written)}.json"))
    console.print(
        f"{_counted(len(plan.backends), 'backend')}, "
        f"{_counted(len(plan.measured()), 'point')}, "
        f"{_counted(plan.rounds, 'round')} of {plan.seconds:g} s each: "
        f"about {_duration(plan.estimate(runner.pace()))}.",
        highlight=False,
    )
    if plan.rounds < FEWEST_ROUNDS:
        console.print(f"Fewer than {FEWEST_ROUNDS} rounds show no difference for sure.")
    if pinning() is None:
        console.print("There is one core: server and load share it.")
    try:
        with (
            _alone(console),
            _oneLine(directory),
            ComparisonProgress(console, plan) as progress,
        ):
            outcome = runner.compare(plan, path, command, progress)
    except Interrupted:
        cells = results.read(path)["cells"] if path.exists() else []
        console.print(
            f"Interrupted. {_counted(len(cells), 'cell')} finished, in {path}",
            highlight=False,
            soft_wrap=True,
        )
        if cells:
            console.print(
                f"To see: iodemo report {shlex.quote(str(directory))}",
                highlight=False,
                soft_wrap=True,
            )
        raise
    if not any(cell["status"] == "ok" for cell in outcome["cells"]):
        raise click.ClickException(
            f"nothing could be measured: {outcome['cells'][0]['reason']}"
        )
    _report([outcome], directory, console)


_TIME = "%Y-%m-%dT%H%M%S"


def _newDirectory() -> Path:
    """
    A directory for a comparison that was given none: named by the time, in UTC.
    """
    began = Path("iodemo-results") / time.strftime(_TIME, time.gmtime())
    directory, number = began, 1
    with _oneLine(began):
        while True:
            try:
                directory.mkdir(parents=True)
                return directory
            except FileExistsError:
                number += 1
                directory = began.with_name(f"{began.name}-{number}")


@contextmanager
def _alone(console: Console) -> Iterator[None]:
    """
    Wait until no other comparison runs: two at once would measure each other.

    The lock is on a file that every run of this installation has, and goes with
    its process.
    """
    with open(models.__file__, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("Another comparison is running; waiting for it to end.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


#: rounds, seconds, warm-up
_QUICK = (3, 0.3, 0.1)
_USUAL = (5, 1.0, 0.5)
_FULL = (9, 2.0, 0.5)


def _plan(
    names: str | None,
    scenarioNames: str | None,
    baseline: str | None,
    plugin: str | None,
    kind: str | None,
    pace: tuple[int, float, float],
    rounds: int | None,
    seconds: float | None,
    quick: bool,
) -> Plan:
    from iodemo.lab.plan import Plan
    from iodemo.lab.scenarios import (
        SCENARIOS,
        BadWorkload,
        UnknownScenario,
        findScenario,
        foreignWorkload,
    )

    if (plugin is None) != (kind is None):
        raise click.UsageError("--plugin and --load go together")
    try:
        chosen = (
            tuple(models.available())
            if names is None
            else tuple(models.find(name) for name in _listed(names, "--backends"))
        )
        wanted = (
            SCENARIOS
            if scenarioNames is None
            else tuple(
                findScenario(name) for name in _listed(scenarioNames, "--scenarios")
            )
        )
        if plugin is not None and kind is not None:
            workload = foreignWorkload(plugin, kind)
            wanted = tuple(replace(each, workload=workload) for each in wanted)
    except (models.UnknownBackend, UnknownScenario, BadWorkload) as error:
        raise click.ClickException(str(error)) from error
    for model in chosen:
        reason = model.unavailable()
        if reason is not None:
            raise click.ClickException(f"{model.name} cannot run here: {reason}")
    present = [model.name for model in chosen]
    if baseline is None:
        baseline = models.BASELINE if models.BASELINE in present else present[0]
    elif baseline not in present:
        raise click.ClickException(
            f"the baseline {baseline!r} is not among the backends: {', '.join(present)}"
        )
    return Plan(
        scenarios=tuple(
            (each, each.quick if quick else each.points) for each in wanted
        ),
        backends=chosen,
        baseline=baseline,
        rounds=rounds or pace[0],
        seconds=seconds or pace[1],
        warmup=pace[2],
    )


def _listed(text: str, option: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise click.UsageError(f"{option} has an empty name in it")
    return names


@main.command(short_help="Show results again: table, figures and page.")
@click.argument(
    "results",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="RESULTS...",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the report goes.  [default: beside the first results]",
)
def report(results: tuple[Path, ...], output: Path | None) -> None:
    """
    Show results again: table, figures and page, from their files alone.

    RESULTS are results.json files, or the directories they are in.
    """
    from iodemo.lab.results import ResultsError, read

    try:
        runs = [read(path) for path in results]
    except ResultsError as error:
        raise click.ClickException(str(error)) from error
    first = results[0]
    _report(runs, output or (first if first.is_dir() else first.parent), _console())


def _report(runs: list[Results], directory: Path, console: Console) -> None:
    # That a home directory cannot be written to is said by matplotlib, at length,
    # and does not matter to a report.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from iodemo import report as reports
    from iodemo.report.table import comparisonTable

    with _oneLine(directory):
        directory.mkdir(parents=True, exist_ok=True)
        page = reports.write(runs, directory)
    for run in runs:
        if len(runs) > 1:
            began = run["environment"]["date"]
            console.print(Text(f"\n{began}, {run['environment']['cpu']}"))
        console.print(comparisonTable(run))
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)


@main.command()
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
    help="Run all of Twisted's tests under the reactor, not its reactor tests only.",
)
def conform(name: str, asJson: bool, full: bool) -> None:
    """
    Hold a reactor against Twisted's own reactor tests.

    The control is Twisted's epoll reactor, here and now. The exit status is 0 if the
    reactor fails nothing that the control passes, apart from its documented
    exceptions: CONFORMANCE_EXCEPTIONS in its module, reason by test.

    \b
      iodemo conform --reactor busypoll
      iodemo conform --reactor my.package.MyReactor --json
    """
    from iodemo.conformance import conforming, finding, showing
    from iodemo.progress import Interrupted, interruptible

    modules = conforming.allModules() if full else conforming.reactorModules()
    progress = showing.ConformanceProgress(_console(stderr=True), 2 * len(modules))
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
        showing.show(outcome, _console())
    if not outcome["conforms"]:
        sys.exit(1)


@contextmanager
def _oneLine(path: Path) -> Iterator[None]:
    """
    Make one line of what the file system says.
    """
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"cannot write to {error.filename or path}: {error.strerror or error}"
        ) from error


def _console(stderr: bool = False) -> Console:
    return Console(stderr=stderr)


def run() -> None:
    """
    The C{iodemo} command, where output is what it may be.
    """
    # A terminal that knows no Greek must not cost anybody a report.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        main()
    except OSError as error:
        # What was not caught nearer to its cause: output itself failed.
        sys.exit(f"iodemo: {error}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return "{} min {} s".format(*divmod(10 * round(seconds / 10), 60))
    return f"{seconds / 60:.0f} min"
