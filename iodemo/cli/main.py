# -*- test-case-name: tests.test_cli -*-
"""
The C{iodemo} command, and those of its commands that are short.

Every mistake a person can make ends in one line that says what to do, and an
exit status that is not zero; nothing here prints a traceback for bad input.
"""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

import iodemo
from iodemo import models
from iodemo.cli.compare import compare
from iodemo.cli.options import (
    SHORTEST,
    Named,
    Number,
    Seconds,
    StandardOutput,
    checkClaims,
    oneLine,
    requiring,
    showClaims,
    showReport,
)
from iodemo.load.exchanges import KINDS
from iodemo.load.pacing import ARRIVALS, Arrivals
from iodemo.load.plan import MOST_CONNECTIONS, MOST_PROCESSES

if TYPE_CHECKING:
    from iodemo.load.round import Judged, Round
    from iodemo.results.claims import Claim
    from iodemo.results.file import Results

# The exit status that a shell has for a command that SIGINT ended.
_INTERRUPTED = 130

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


main.add_command(compare)


@main.command(short_help="List every I/O model: available here, or why not.")
@click.option("--json", "asJson", is_flag=True, help="Print JSON.")
def backends(asJson: bool) -> None:
    """
    List every I/O model: available here, or why not.

    References are no reactors: servers that do as little as can be done, which
    iodemo compare measures beside them.
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
    Console().print(table)


@main.command(short_help="Ask one server, as fast as it answers or at a rate.")
@click.argument("endpoint")
@click.option(
    "--kind", default="echo", show_default=True, help=f"{KINDS}; stream, sink or chat."
)
@click.option(
    "--connections",
    type=click.IntRange(1, MOST_CONNECTIONS),
    default=100,
    show_default=True,
    help="Busy connections, at most one request in flight on each.",
)
@click.option(
    "--idle",
    type=click.IntRange(0, MOST_CONNECTIONS),
    default=0,
    show_default=True,
    help="Further connections, open and silent.",
)
@click.option(
    "--stalled",
    type=click.IntRange(0, MOST_CONNECTIONS),
    default=0,
    show_default=True,
    help="Further connections, which ask and read no answer.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, MOST_PROCESSES),
    metavar="N",
    help="Share all this among so many processes.  [default: as few as can]",
)
@click.option(
    "--payload",
    type=click.IntRange(1, 64 << 20),
    default=64,
    show_default=True,
    metavar="BYTES",
    help="Size of an echo, or of a line of chat.",
)
@click.option(
    "--rate",
    type=Number(0.00001, 10_000_000),
    metavar="R",
    help="Requests due a second, however fast they are answered.",
)
@click.option(
    "--arrivals",
    type=click.Choice(ARRIVALS),
    help="With --rate: at equal distances, or at random.  [default: constant]",
)
@click.option(
    "--churn",
    is_flag=True,
    help="A new connection for each request, closed when it is answered. Of more "
    "--connections than the server's listen queue takes (50 in Twisted) some wait a "
    "second.",
)
@click.option(
    "--seconds",
    type=Seconds(SHORTEST),
    default=5.0,
    show_default=True,
    help="Length of the measured window.",
)
@click.option(
    "--warmup",
    type=Seconds(),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="The same load before it, not counted.",
)
@click.option(
    "--wait",
    type=Seconds(),
    default=0.0,
    metavar="SECONDS",
    help="Go on trying so long while nobody listens.",
)
@click.option(
    "--timeout",
    type=Seconds(SHORTEST),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Fail where an answer is not whole so long after its request; after the "
    "window, await those under way for so long, and count what has no answer.",
)
@click.option(
    "--compare-field",
    "compared",
    multiple=True,
    metavar="NAME",
    help="Of answers of HTTP, compare this field of the head too. May be repeated.",
)
@click.option(
    "--server-name",
    "serverName",
    metavar="NAME",
    help="What to call the server in TLS (SNI) and in the Host of http:/PATH.  "
    "[default: the host of ENDPOINT]",
)
@click.option(
    "--watch",
    type=click.IntRange(1),
    metavar="PID",
    help="Report what this process (the server) used meanwhile.",
)
@click.option(
    "--calls",
    is_flag=True,
    help="With --watch: count its system calls, for a moment after the window.",
)
@click.option("--json", "asJson", is_flag=True, help="Print one JSON object.")
def load(
    endpoint: str,
    kind: str,
    connections: int,
    idle: int,
    stalled: int,
    processes: int | None,
    payload: int,
    rate: float | None,
    arrivals: Arrivals | None,
    churn: bool,
    seconds: float,
    warmup: float,
    wait: float,
    timeout: float,
    compared: tuple[str, ...],
    serverName: str | None,
    watch: int | None,
    calls: bool,
    asJson: bool,
) -> None:
    """
    Ask a server at ENDPOINT as fast as it answers, and say how fast that was.

    A closed loop: each busy connection sends its next request when the last is
    answered. With --rate it is an open one: requests are due on a schedule, and
    latency counts from when they were due. Every answer is checked, byte for byte; of
    HTTP that is the status and the body, and --compare-field adds fields of the head.
    ENDPOINT is tcp:HOST:PORT, tls:HOST:PORT (with any certificate) or unix:PATH, where
    HOST may be a name or an address, an IPv6 address in brackets. Of a name with
    several addresses the first that accepts a connection is used.

    A connection that the server closes between two answers is made again, and the cost
    is in the latency of the next request. A request that was under way is sent again,
    and its latency counts from the first time. Both are counted.

    A REQUEST is answered the same every time, with so many BYTES, or all until END.
    A stream is received as fast as it comes, a sink is sent as much as it takes. In
    a chat one of the connections at a time says a line, which all of them must hear: a
    request is a line heard by one.
    Write what cannot be typed as \\r \\n \\t \\0 \\xHH, and a colon in END as \\x3a.

    \b
      iodemo load tcp:127.0.0.1:8007 --kind echo --connections 100 --idle 1000
      iodemo load tcp:127.0.0.1:8007 --rate 10000 --arrivals poisson
      iodemo load tcp:127.0.0.1:8080 --kind http:/index.html
      iodemo load tcp:127.0.0.1:6379 --kind 'until:\\r\\n:PING\\r\\n'
    """
    from iodemo.load.address import BadAddress, parseAddress
    from iodemo.load.exchanges import OTHER_KINDS, UnknownKind, exchangeOf
    from iodemo.load.flow import driverOf
    from iodemo.load.plan import LoadFailed, Plan, TooLate, spread
    from iodemo.load.round import judged
    from iodemo.load.watching import NothingToWatch, Watch

    if arrivals is not None and rate is None:
        raise click.UsageError("--arrivals is for an open loop: give it a --rate")
    if rate is not None and kind in OTHER_KINDS:
        raise click.UsageError(f"--rate is for requests, and a {kind} has none")
    if (stalled or churn) and kind in OTHER_KINDS:
        raise click.UsageError(
            f"--stalled and --churn are for requests, and a {kind} has none"
        )
    if compared and not kind.startswith("http"):
        raise click.UsageError("--compare-field is for HTTP: --kind http:/PATH")
    if calls and watch is None:
        raise click.UsageError("--calls goes with --watch")
    try:
        address = parseAddress(endpoint, serverName)
        if stalled and (churn or address.tls):
            raise click.UsageError("--stalled goes neither with --churn nor with TLS")
        isHttp = kind.partition(":")[0] == "http"
        if serverName is not None and not address.tls and not isHttp:
            raise click.UsageError("--server-name is for TLS, or for http:/PATH")
        exchange = exchangeOf(kind, payload, address.host, compared)
        plan = Plan(
            *(address, exchange, connections, idle, seconds, warmup, wait, timeout),
            rate=rate,
            arrivals=arrivals or "constant",
            churn=churn,
            stalled=stalled,
        )
        watched = None if watch is None else Watch(watch, calls)
        first, *others = spread(plan, processes)
        phases = Console(stderr=True)
        driving = driverOf(exchange, address.tls)(
            first,
            watched,
            (lambda phase: phases.print(f"{phase} ...", highlight=False))
            if phases.is_terminal and not asJson
            else lambda phase: None,
            others,
        )
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, driving.interrupt)
        measured = driving.run()
    except TooLate as error:
        # A program that reads JSON has its own way to say what to do.
        hint = "" if asJson else " (--timeout SECONDS waits longer)"
        raise click.ClickException(f"{error}{hint}") from error
    except (BadAddress, LoadFailed, UnknownKind, NothingToWatch) as error:
        raise click.ClickException(str(error)) from error
    if asJson:
        click.echo(json.dumps({**measured, **judged(measured)}))
    else:
        Console().print(_roundTable(measured, judged(measured)))
    if "interrupted" in measured:
        sys.exit(_INTERRUPTED)


def _roundTable(measured: Round, judged: Judged) -> Table:
    from iodemo.load.round import LOAD_LIMIT
    from iodemo.report.select import callsSaid

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    if "interrupted" in measured:
        table.add_row("interrupted", f"after {measured['seconds']:.3g} s")
    table.add_row("throughput", f"{measured['throughput']:,.0f} requests a second")
    if "bytes_per_second" in measured:
        said = f"{measured['bytes_per_second'] / 1e6:,.0f} MB a second"
        table.add_row("", f"{said}: a request is a piece of 64 KiB")
    if "backlog" in measured:
        said = f"{measured['rate']:,.7g} requests a second"
        if "due" in measured:
            said += f", {measured['due']:,} in the window"
        table.add_row("due", said)
        late = "" if judged["kept_up"] else ": they were not kept up with"
        answered = f"{100 * judged['answered_fraction']:.3g}% of those due"
        table.add_row("answered", f"{answered}{late}")
        said = f"{measured['backlog']:,} were due and not answered at the end"
        if measured.get("backlog_before"):
            said += f", {measured['backlog_before']:,} at the beginning (warm-up)"
        table.add_row("backlog", said)
    if measured.get("unanswered"):
        oldest = measured["unanswered_oldest_us"] / 1e6
        said = (
            f"{measured['unanswered']:,} requests under way or due at the end, the "
            f"oldest for {oldest:,.3g} s"
        )
        if measured["unsent"]:
            said += f"; {measured['unsent']:,} found no connection free"
        table.add_row("unanswered", f"{said}: no latency has them")
    if measured.get("reconnects"):
        said = "connections, which the server had closed"
        table.add_row("made again", f"{measured['reconnects']:,} {said}")
    if measured.get("resent"):
        said = "requests without any answer, when the server closed their connection"
        table.add_row("sent again", f"{measured['resent']:,} {said}")
    if "retransmitted" in measured:
        said = "connections waited until the kernel tried again: is the server's listen"
        said = f"{measured['retransmitted']:,} {said} queue (backlog) full?"
        table.add_row("retransmitted", said)
    if "idle_closed" in measured:
        said = "idle connections, so as many fewer were open"
        table.add_row("server closed", f"{measured['idle_closed']:,} {said}")
    if "fields_left_out" in measured:
        names = ", ".join(measured["fields_left_out"])
        table.add_row("not compared", Text(f"{names}: fields of the head that changed"))
    for percentile, value in measured["latency_us"].items():
        table.add_row(f"latency {percentile}", f"{value:,.0f} µs")
    for percentile, value in measured.get("latency_last_us", {}).items():
        table.add_row(f"last has it {percentile}", f"{value:,.0f} µs")
    if "backlog" in measured:
        for percentile, value in measured["latency_uncorrected_us"].items():
            table.add_row(f"from sending {percentile}", f"{value:,.0f} µs")
    if measured["server_cpu_us_per_request"] is not None:
        table.add_row(
            "server CPU", f"{measured['server_cpu_us_per_request']:,.1f} µs a request"
        )
        unknown = "unknown: the process is another user's"
        kib, switches = measured["server_rss_kib"], measured["context_switches"]
        memory = unknown if kib is None else f"{kib:,} KiB"
        table.add_row("server memory", memory)
        each = unknown
        if switches is not None:
            each = f"{switches / measured['requests']:.3g} a request"
        table.add_row("context switches", each)
    for whose in ("server", "kernel"):
        size = dict[str, object](measured).get(f"{whose}_bytes_per_connection")
        if isinstance(size, float):
            table.add_row(f"memory of the {whose}", f"{size:,.0f} B a connection")
    if "sampled" in measured:
        table.add_row("asked once more", f"{measured['sampled']:,} connections")
    if "syscalls_by_name" in measured:
        table.add_row(
            "system calls",
            f"{callsSaid(measured['syscalls_by_name'])} a request",
        )
    elif "syscalls_reason" in measured:
        table.add_row("system calls", Text(f"unknown: {measured['syscalls_reason']}"))
    if "connections_from_elsewhere" in measured:
        count = measured["connections_from_elsewhere"]
        said = f"{count:,} connections, for want of local ports at the first"
        table.add_row("other addresses", said)
    used = f"{measured['load_cpu_fraction']:.0%} of a core"
    kept = measured.get("load_busy_fraction", 0.0) >= LOAD_LIMIT
    kept = kept and measured["load_cpu_fraction"] < LOAD_LIMIT
    if kept:
        used += ", and it was kept from running"
    table.add_row("load CPU", used)
    if judged["load_limited"]:
        said = "the load, which had no time left: share it (--processes)"
        if kept:
            said = "the load, which was kept from running: see iodemo doctor"
        table.add_row("limit", said)
    elif not judged.get("kept_up", True):
        said = "not the load: the server, the machine, or too few connections"
        table.add_row("limit", said)
    return table


@main.command(short_help="Show results again: table, figures and page.")
@click.argument(
    "results",
    nargs=-1,
    required=True,
    type=Named(),
    metavar="RESULTS...",
)
@click.option(
    "--output",
    type=Named(file_okay=False),
    metavar="DIR",
    help="Where the report goes.  [default: beside the first results]",
)
@click.option(
    "--book",
    is_flag=True,
    help="Instead, make the figures and numbers that the pages of docs/ show, from one "
    "run.  [--output: docs/measured, in a checkout]",
)
@requiring
def report(
    results: tuple[Path, ...],
    output: Path | None,
    book: bool,
    claims: tuple[Claim, ...],
) -> None:
    """
    Show results again: table, figures and page, from their files alone.

    RESULTS are results.json files, or the directories they are in.
    """
    from iodemo.report.select import names
    from iodemo.results.file import ResultsError, read

    if book and (len(results) > 1 or claims):
        raise click.UsageError("--book takes the results of one run, and no claim")

    try:
        runs = [read(path) for path in results]
    except ResultsError as error:
        raise click.ClickException(str(error)) from error
    if book:
        _writeBook(runs[0], output)
        return
    for run in runs:
        checkClaims(claims, run["cells"], names(run))
    first = results[0]
    console = Console()
    showReport(runs, output or (first if first.is_dir() else first.parent), console)
    showClaims(claims, runs, console)


_BOOK = Path("docs")


def _writeBook(run: Results, output: Path | None) -> None:
    """
    Make what the pages of C{docs/} show.
    """
    from iodemo.report.book import write

    if output is None:
        if not (_BOOK / "conf.py").exists():
            raise click.UsageError(
                "there is no docs/ here: run this in a checkout of iodemo, or say "
                "--output DIR"
            )
        output = _BOOK / "measured"
    with oneLine(output):
        pages = write(run, output)
    click.echo(f"{len(pages)} figures in {output}; scripts/docs builds the pages")


@main.command(short_help="Compare two runs: what is different in the new one.")
@click.argument("old", type=Named())
@click.argument("new", type=Named())
@click.option("--json", "asJson", is_flag=True, help="Print JSON.")
@click.option(
    "--different-machines",
    "insisted",
    is_flag=True,
    help="Compare runs of different machines, kernels or cores all the same.",
)
@click.option(
    "--different-plans",
    "anyPlan",
    is_flag=True,
    help="Compare runs with other windows, servers or questions all the same.",
)
def diff(old: Path, new: Path, asJson: bool, insisted: bool, anyPlan: bool) -> None:
    """
    Compare two runs: what is different in NEW, backend by backend and point by point.

    OLD and NEW are results.json files, or the directories they are in.
    """
    from iodemo.report.changes import ChangesTable
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
            "--different-machines compares them all the same"
        )
    others = plansDiffering(before, after)
    if others and not anyPlan:
        raise click.ClickException(
            f"measured by different plans ({'; '.join(others)}): "
            "--different-plans compares them all the same"
        )
    found = difference(before, after)
    if asJson:
        click.echo(json.dumps(found, indent=1, allow_nan=False))
    else:
        Console().print(ChangesTable(before, after, found))


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
    from iodemo.cli.progress import Interrupted, interruptible
    from iodemo.conformance import conforming, finding, showing

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


def run() -> None:
    """
    The C{iodemo} command, where output is what it may be.
    """
    if sys.stdout is None:
        sys.exit("iodemo: standard output is closed")
    # A terminal that knows no Greek must not cost anybody a report.
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
        status = _INTERRUPTED
    except OSError as error:
        # What was not caught nearer to its cause.
        sys.exit(f"iodemo: {error}")
    # All is said. SIGINT while Python ends would only print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)
