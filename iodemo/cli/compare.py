# -*- test-case-name: tests.test_cli -*-
"""
The command C{iodemo compare}: its options, the plan they make, and its output before,
during and after the comparison. L{iodemo.bench} makes the comparison.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from rich.console import Console

from iodemo import models
from iodemo.bench.scenarios import SCENARIOS
from iodemo.cli.options import (
    SHORTEST,
    Named,
    Requirements,
    Seconds,
    checkClaims,
    oneLine,
    requiring,
    showClaims,
    showReport,
)
from iodemo.load.exchanges import KINDS
from iodemo.load.profile import MOST_CONNECTIONS

if TYPE_CHECKING:
    from iodemo.bench.plan import Plan
    from iodemo.bench.scenarios import Scenario
    from iodemo.bench.statements import Statements
    from iodemo.results.schema import Point, Results


@click.command(short_help="Measure one service under every backend, and report.")
@click.option(
    "--backends",
    "names",
    metavar="A,B,...",
    help="Default: all that can run here (see iodemo backends); --quick leaves out "
    f"{', '.join(each.name for each in models.MODELS if not each.quick)}.",
)
@click.option(
    "--scenarios",
    metavar="X,Y,...",
    help="Default: all; of those, --quick takes "
    f"{', '.join(each.name for each in SCENARIOS if each.quick)}. "
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
    type=Seconds(SHORTEST),
    help="Measured in each round.  [default: 1]",
)
@click.option(
    "--output",
    type=Named(file_okay=False),
    metavar="DIR",
    help="Where results and report go.  [default: iodemo-results/DATE]",
)
@click.option(
    "--plugin",
    metavar="COMMAND",
    help="Measure this twistd plugin instead; {endpoint} is where to listen.",
)
@click.option("--load", "kind", metavar="KIND", help=f"With --plugin: {KINDS}.")
@click.option(
    "--connections",
    type=click.IntRange(1000, MOST_CONNECTIONS),
    metavar="N",
    help="Hold so many in the scenario connections, by as many servers on one port, "
    "and as many loads, as the limit on open files takes.  [default: 10,000]",
)
@click.option("--quick", is_flag=True, help="Fewer points, 3 rounds of 0.25 s.")
@click.option("--full", is_flag=True, help="Every scenario, 5 rounds of 0.4 s.")
@click.option(
    "--realtime",
    is_flag=True,
    help="Run servers and loads before all else on the machine (SCHED_FIFO; as root).",
)
@requiring
def compare(
    names: str | None,
    scenarios: str | None,
    baseline: str | None,
    rounds: int | None,
    seconds: float | None,
    output: Path | None,
    plugin: str | None,
    kind: str | None,
    connections: int | None,
    quick: bool,
    full: bool,
    realtime: bool,
    required: Requirements,
) -> None:
    """
    Measure one service under every backend, and report.

    \b
      iodemo compare --quick
      iodemo compare --backends select,poll,epoll --scenarios idle --output out
      iodemo compare --plugin "web --listen={endpoint} --path=." --load http:/
      iodemo compare --scenarios connections --connections 100000
      iodemo compare --require "echo: uring/epoll >= 2"
      iodemo compare --require "idle idle=1000 latency_us.p99: epoll/poll < 1"
      iodemo compare --claims benchmarks/aims.toml --rounds 3
      iodemo compare --scenarios active --backends epoll,epoll+c-load

    NAME+c-load is the backend NAME, measured by a load in C instead of iodemo load: so
    the two loads can be compared. It asks for echoes and for pages.

    Ctrl-C ends it early; the rounds finished by then are in the results. However it
    ended, the same command with the same --output goes on from there.
    """
    from iodemo.process.signals import Interrupted, interruptible

    if quick and full:
        raise click.UsageError("--quick and --full exclude each other")
    chosen = (names, scenarios, baseline, plugin, kind, connections)
    if required.statements is not None and any(each is not None for each in chosen):
        raise click.UsageError(
            "--claims chooses what is measured: it goes without --backends, "
            "--scenarios, --baseline, --plugin, --load and --connections"
        )
    if realtime:
        _checkRealtime()
    effort = _QUICK if quick else _FULL if full else _USUAL
    try:
        with interruptible() as interruption:
            if required.statements is not None:
                plan = _planOf(required.statements, effort, rounds, seconds)
            else:
                plan = _plan(
                    *(names, scenarios, baseline, plugin, kind),
                    *(effort, rounds, seconds, connections),
                )
            plan = replace(plan, realtime=realtime)
            interruption.check()
            present = [backend.name for backend in plan.backends]
            checkClaims(required.every(), plan.places(), present)
            _measure(plan, output, required)
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signal)


def _checkRealtime() -> None:
    """
    Refuse C{--realtime} where this process may not do it.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError as error:
        raise click.ClickException(
            "--realtime takes the right to run under SCHED_FIFO: run it as root"
        ) from error
    os.sched_setscheduler(0, policy, parameters)


def _measure(plan: Plan, output: Path | None, required: Requirements) -> None:
    """
    Make a comparison or go on with one, report it, and say whether claims hold.
    """
    from iodemo.bench import record, runner
    from iodemo.bench.environment import pinning
    from iodemo.cli.progress import ComparisonProgress
    from iodemo.process.signals import Interrupted
    from iodemo.results import file, journal
    from iodemo.results.statistics import FEWEST_ROUNDS

    console = Console()
    directory = output or _newDirectory()
    path = directory / file.FILE_NAME
    with oneLine(directory):
        directory.mkdir(parents=True, exist_ok=True)
    again = [*_program(), *sys.argv[1:]]
    if output is None:
        again += ["--output", str(directory)]
    earlier: Results | None = None
    begun = False

    def left() -> str:
        # Results of another plan are not this run's.
        isOurs = begun or earlier is not None
        return _left(path if isOurs else None, directory, again)

    try:
        earlier, _ = _earlier(plan, directory)
        done = record.done(plan, earlier) if earlier else {}
        console.print(
            f"{_number(len(plan.backends), 'backend')}"
            f"{f' and {plan.baseline} once more' if plan.controlled else ''}, "
            f"{_number(len(plan.measured()), 'point')}, "
            f"{_number(plan.rounds, 'round')} of {plan.seconds:g} s each: "
            f"about {_duration(plan.estimate(runner.pace(), done))}"
            f"{' to go' if done else ''}.",
            highlight=False,
        )
        if plan.rounds < FEWEST_ROUNDS:
            console.print(
                f"Fewer than {FEWEST_ROUNDS} rounds show no difference for sure."
            )
        if pinning() is None:
            console.print("There is one core: server and load share it.")
        with _alone(console):
            # Again: it may have been the one that was waited for.
            earlier, why = _earlier(plan, directory)
            said = None
            lines = directory / journal.FILE_NAME
            if earlier is not None:
                rounds = sum(len(u["rounds"]) for u in earlier.get("unfinished", []))
                console.print(
                    f"Going on after {_number(_cells(earlier), 'cell')} "
                    f"and {_number(rounds, 'round')} of the next.",
                    highlight=False,
                )
                if why is not None:
                    said = f"A part of the journal is kept as {_renamed(lines).name}"
            elif path.exists():
                if lines.exists():
                    _renamed(lines)
                said = f"The run that was here is kept as {_renamed(path).name}"
            if said is not None and why is not None:
                console.print(
                    f"{said}: {why}.", highlight=False, markup=False, soft_wrap=True
                )
            done = record.done(plan, earlier) if earlier else {}
            with ComparisonProgress(console, plan.estimate(done=done)) as progress:
                begun = True
                command = shlex.join(["iodemo", *sys.argv[1:]])
                outcome = runner.compare(plan, path, command, progress, earlier)
        isMeasured = any(cell["status"] == "ok" for cell in outcome["cells"])
        if isMeasured:
            showReport([outcome], directory, console)
    except Interrupted:
        console.print(
            f"Interrupted. {left()}", highlight=False, markup=False, soft_wrap=True
        )
        raise
    except Exception as error:
        # After any error the user learns that the finished rounds are on disk.
        raise click.ClickException(f"{_failure(error)}\n{left()}") from error
    if not isMeasured:
        raise click.ClickException(
            f"nothing could be measured: {outcome['cells'][0]['reason']}"
        )
    showClaims(required, [outcome], console)


def _program() -> list[str]:
    """
    The words by which a shell starts this program again.
    """
    name = "iodemo"
    started = sys.argv[0]
    if not os.path.exists(started) or os.path.basename(started) == "__main__.py":
        return [_inShell(sys.executable), "-m", name]
    return [_inShell(started)]


def _inShell(path: str) -> str:
    """
    The word by which a shell finds a program: its name, if it is in a directory of
    PATH, otherwise its path.
    """
    whole = os.path.abspath(path)
    if not os.path.samefile(whole, path):
        # There is a link before a "..".
        return path
    name = os.path.basename(whole)
    if shutil.which(name) == whole:
        return name
    below = os.path.relpath(whole)
    if below.startswith(".."):
        return whole
    return below if "/" in below else f"./{below}"


def _failure(error: Exception) -> str:
    """
    The reason for which a comparison ended early, in a line. The traceback of an
    unforeseen error is printed on standard error, so that a user can report it.
    """
    if isinstance(error, click.ClickException):
        return error.message
    if isinstance(error, OSError):
        said = error.strerror or str(error)
        if error.filename is not None:
            said += f": {error.filename}"
        return f"cannot go on: {said}"
    traceback.print_exception(error)
    return f"cannot go on: {type(error).__name__}"


def _earlier(plan: Plan, directory: Path) -> tuple[Results | None, str | None]:
    """
    @return: the run in a directory, if it was interrupted and can go on; and why it
        cannot, or cannot go on from its last round.
    """
    from iodemo.bench import record
    from iodemo.results import file, journal

    lost = None
    try:
        earlier, lost = journal.read(directory)
        if earlier["complete"]:
            return None, None
        record.check(plan, earlier)
    except (file.ResultsError, record.CannotGoOn) as reason:
        return None, "; ".join(filter(None, (str(reason), lost)))
    return earlier, lost


def _renamed(path: Path) -> Path:
    """
    Give a file the time when it was written as a part of its name, so that a new one
    does not replace it.

    @return: its new path.
    """
    written = time.strftime(_TIME, time.gmtime(path.stat().st_mtime))
    return path.replace(path.with_suffix(f".{written}{path.suffix}"))


def _left(path: Path | None, directory: Path, again: list[str]) -> str:
    """
    The message after an interruption or an error: the number of finished cells, and
    the command that goes on.

    @param path: of its results, if it has any.
    @param again: the command that goes on with it.
    """
    from iodemo.results import file, journal

    run: Results | None = None
    if path is not None:
        # On a full disk, only the journal may have the last rounds.
        with suppress(file.ResultsError):
            run, _ = journal.read(directory)
    cells = _cells(run) if run else 0
    said = [f"{_number(cells, 'cell')} finished"]
    if run and (cells or run.get("unfinished")):
        said[0] += f", in {path}"
        if not run["complete"]:
            said.append(f"To go on: {shlex.join(again)}")
    if run and run["cells"]:
        see = shlex.join([*_program(), "report", str(directory)])
        said.append(f"To see: {see}")
    return "\n".join(said)


def _cells(run: Results) -> int:
    """
    The number of finished cells of a run, controls included.
    """
    return len(run["cells"]) + len(run.get("controls", []))


_TIME = "%Y-%m-%dT%H%M%S"


def _newDirectory() -> Path:
    """
    Make a directory for a comparison without C{--output}. Its name is the time in UTC.
    """
    began = Path("iodemo-results") / time.strftime(_TIME, time.gmtime())
    directory, number = began, 1
    with oneLine(began):
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
    Wait until no other comparison runs: two at once would disturb each other.

    The lock is on a file that every comparison of this installation opens. The end of
    the process releases it.
    """
    with open(models.__file__, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("Another comparison is running; waiting for it to end.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Effort(NamedTuple):
    """
    The defaults of C{--quick}, of C{--full}, or of neither.

    @ivar seconds: length of the measured window of a round.
    @ivar warmup: seconds of load before it.
    @ivar quick: whether scenarios are measured at their quick points only.
    @ivar full: whether scenarios without quick points are measured, too.
    """

    rounds: int
    seconds: float
    warmup: float
    quick: bool = False
    full: bool = False

    def points(self, scenario: Scenario, named: bool) -> tuple[Point, ...]:
        """
        The points at which a scenario is measured.

        @param named: whether the command line names it.
        """
        if self.quick:
            return scenario.quick or scenario.points[: int(named)]
        return scenario.points if named or self.full or scenario.quick else ()


_QUICK = _Effort(3, 0.25, 0.1, quick=True)
_USUAL = _Effort(5, 1.0, 0.5)
_FULL = _Effort(5, 0.4, 0.2, full=True)


def _plan(
    names: str | None,
    scenarioNames: str | None,
    baseline: str | None,
    plugin: str | None,
    kind: str | None,
    effort: _Effort,
    rounds: int | None,
    seconds: float | None,
    connections: int | None = None,
) -> Plan:
    from iodemo.bench.multiplexer import MULTIPLEXERS
    from iodemo.bench.plan import Plan
    from iodemo.bench.scenarios import (
        BUSY,
        CONNECTIONS,
        MULTIPLEXER,
        SCENARIOS,
        BadWorkload,
        UnknownScenario,
        findScenario,
        foreignWorkload,
        hosting,
    )
    from iodemo.results.schema import Point

    if (plugin is None) != (kind is None):
        raise click.UsageError("--plugin and --load go together")
    try:
        chosen = (
            _usual(effort.quick, plugin)
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
        if connections is not None:
            named = scenarioNames is not None or effort.full
            if not named or CONNECTIONS not in [each.name for each in wanted]:
                raise click.UsageError(
                    f"--connections goes with --scenarios {CONNECTIONS}"
                )
            held = Point(BUSY, connections - BUSY)
            wanted = tuple(
                replace(each, points=(held,)) if each.name == CONNECTIONS else each
                for each in wanted
            )
        if plugin is not None and kind is not None:
            workload = foreignWorkload(plugin, kind)
            hosts = {each.name: hosting(each, workload) for each in wanted}
            for name, hosted in hosts.items():
                if hosted is None and scenarioNames is not None:
                    raise click.ClickException(f"the scenario {name} hosts no plugin")
            wanted = tuple(filter(None, hosts.values()))
    except (models.UnknownBackend, UnknownScenario, BadWorkload) as error:
        raise click.ClickException(str(error)) from error
    _checkAvailable(chosen)
    present = [model.name for model in chosen]
    if baseline is None:
        baseline = models.BASELINE if models.BASELINE in present else present[0]
    elif baseline not in present:
        raise click.ClickException(
            f"the baseline {baseline!r} is not among the backends: {', '.join(present)}"
        )
    plan = Plan(
        scenarios=tuple(
            (each, points)
            for each in wanted
            if (points := effort.points(each, scenarioNames is not None))
        ),
        backends=chosen,
        baseline=baseline,
        rounds=rounds or effort.rounds,
        seconds=seconds or effort.seconds,
        warmup=effort.warmup,
        controlled=True,
    )
    if not plan.measured():
        raise click.ClickException(
            f"the scenario {MULTIPLEXER} is about {', '.join(MULTIPLEXERS)}, and none "
            f"of them is among the backends: {', '.join(present)}"
        )
    return plan


def _planOf(
    statements: Statements,
    effort: _Effort,
    rounds: int | None,
    seconds: float | None,
) -> Plan:
    """
    The plan that measures the points and backends of statements.
    """
    from iodemo.bench.plan import Plan

    # Against all points that there are, as the plan has only those of claims.
    checkClaims(statements.claims, statements.places(), statements.backends())
    try:
        backends = tuple(models.find(name) for name in statements.backends())
    except models.UnknownBackend as error:
        raise click.ClickException(str(error)) from error
    _checkAvailable(backends)
    present = [model.name for model in backends]
    return Plan(
        scenarios=statements.scenarios(),
        backends=backends,
        baseline=models.BASELINE if models.BASELINE in present else present[0],
        rounds=rounds or effort.rounds,
        seconds=seconds or effort.seconds,
        warmup=effort.warmup,
        claims=statements.claims,
    )


def _checkAvailable(chosen: Iterable[models.Model]) -> None:
    for model in chosen:
        reason = model.unavailable()
        if reason is not None:
            raise click.ClickException(f"{model.name} cannot run here: {reason}")


def _usual(quick: bool, plugin: str | None) -> tuple[models.Model, ...]:
    """
    The backends of a comparison without C{--backends}: all that can host its service;
    with C{--quick}, only those that are quick.
    """
    return tuple(
        model
        for model in models.available()
        if (model.quick or not quick) and (model.kind == "reactor" or plugin is None)
    )


def _listed(text: str, option: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise click.UsageError(f"{option} has an empty name in it")
    return names


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 600:
        minutes, left = divmod(10 * round(seconds / 10), 60)
        return f"{minutes} min {left} s" if left else f"{minutes} min"
    return f"{seconds / 60:.0f} min"
