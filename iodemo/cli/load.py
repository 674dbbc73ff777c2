# -*- test-case-name: tests.test_cli -*-
"""
The command C{iodemo load}.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, get_args

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from iodemo.cli.options import INTERRUPTED, SHORTEST, Number, Seconds
from iodemo.load.exchanges import KINDS
from iodemo.load.profile import (
    HIGHEST_RATE,
    LOWEST_RATE,
    MOST_CONNECTIONS,
    MOST_PROCESSES,
)
from iodemo.results.schema import DEFAULTS, Arrivals

if TYPE_CHECKING:
    from iodemo.results.judgement import Judged
    from iodemo.results.schema import Round


@click.command(short_help="Load one server, as fast as it answers or at a rate.")
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
    help="Further connections, which send requests and read no answer.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, MOST_PROCESSES),
    metavar="N",
    help="Split connections and rate among N processes.  [default: as few as possible]",
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
    type=Number(LOWEST_RATE, HIGHEST_RATE),
    metavar="R",
    help="Requests due per second, however fast the server answers.",
)
@click.option(
    "--arrivals",
    type=click.Choice(get_args(Arrivals)),
    help="With --rate: at random, as independent users come, or at equal distances.  "
    f"[default: {DEFAULTS['arrivals']}]",
)
@click.option(
    "--churn",
    is_flag=True,
    help="A new connection for each request, closed after the answer. With more "
    "--connections than the server's backlog (50 in Twisted), some wait a second.",
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
    help="Length of the same load before the window, not counted.",
)
@click.option(
    "--wait",
    type=Seconds(),
    default=0.0,
    metavar="SECONDS",
    help="Retry for so long while no server listens.",
)
@click.option(
    "--timeout",
    type=Seconds(SHORTEST),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Fail if an answer is not whole so long after its request. After the window, "
    "wait so long for answers, and count the requests without one.",
)
@click.option(
    "--compare-field",
    "compared",
    multiple=True,
    metavar="NAME",
    help="Compare this field of the head of HTTP answers, too. May be repeated.",
)
@click.option(
    "--server-name",
    "serverName",
    metavar="NAME",
    help="The server's name in TLS (SNI) and in the Host of http:/PATH.  "
    "[default: the host of ENDPOINT]",
)
@click.option(
    "--watch",
    type=click.IntRange(1),
    metavar="PID",
    help="Report CPU time, memory and context switches of this process (the server).",
)
@click.option(
    "--calls",
    is_flag=True,
    help="With --watch: count its system calls, for 0.1 s after the window.",
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
    Send requests to the server at ENDPOINT, and measure throughput and latency.

    The load is a closed loop: each busy connection sends its next request when its last
    is answered. With --rate it is an open loop: requests are due on a schedule, and
    latency counts from when they were due. Every answer is checked, byte for byte; of
    an HTTP answer the status and the body are checked, and --compare-field adds fields
    of the head.
    ENDPOINT is tcp:HOST:PORT, tls:HOST:PORT (any certificate is accepted) or unix:PATH.
    HOST is a name or an address, an IPv6 address in brackets. If a name has several
    addresses, the load uses the first that accepts a connection.

    A connection that the server closes between two answers is made again, and the
    latency of the next request includes the cost. A request in flight at that moment is
    sent again, and its latency counts from the first time. Both are counted.

    The answer to a REQUEST must be the same every time: with length it has so many
    BYTES, with until it ends with END. From a stream the load receives as fast as it
    can; to a sink it sends as fast as the server reads. In a chat one connection at a
    time sends a line, and all connections must receive it: a line received by one
    connection counts as a request.
    In REQUEST and END, write special bytes as \\r \\n \\t \\0 \\xHH, and a colon in END
    as \\x3a.

    \b
      iodemo load tcp:127.0.0.1:8007 --kind echo --connections 100 --idle 1000
      iodemo load tcp:127.0.0.1:8007 --rate 10000
      iodemo load tcp:127.0.0.1:8080 --kind http:/index.html
      iodemo load tcp:127.0.0.1:6379 --kind 'until:\\r\\n:PING\\r\\n'
    """
    from iodemo.load.address import BadAddress, parseAddress
    from iodemo.load.exchanges import OTHER_KINDS, UnknownKind, exchangeOf
    from iodemo.load.flow import driverOf
    from iodemo.load.profile import LoadFailed, Profile, TooLate, split
    from iodemo.load.watching import NothingToWatch, Watch
    from iodemo.results.judgement import judged

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
        profile = Profile(
            *(address, exchange, connections, idle, seconds, warmup, wait, timeout),
            rate=rate,
            arrivals=arrivals or DEFAULTS["arrivals"],
            churn=churn,
            stalled=stalled,
        )
        watched = None if watch is None else Watch(watch, calls)
        first, *others = split(profile, processes)
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
        # A program that reads JSON may have another name for this option.
        hint = "" if asJson else " (--timeout SECONDS waits longer)"
        raise click.ClickException(f"{error}{hint}") from error
    except (BadAddress, LoadFailed, UnknownKind, NothingToWatch) as error:
        raise click.ClickException(str(error)) from error
    if asJson:
        click.echo(json.dumps({**measured, **judged(measured)}))
    else:
        Console().print(_roundTable(measured, judged(measured)))
    if "interrupted" in measured:
        sys.exit(INTERRUPTED)


def _roundTable(measured: Round, judged: Judged) -> Table:
    """
    A line for each metric of a round, and then for what else there is to know of it.
    """
    from iodemo.report.select import callsSaid
    from iodemo.results.judgement import LOAD_LIMIT
    from iodemo.results.metrics import METRICS

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    if "interrupted" in measured:
        table.add_row("interrupted", f"after {measured['seconds']:.3g} s")
    for metric in METRICS:
        value = metric.value(measured)
        if value is not None:
            table.add_row(metric.name, metric.quantity.say(value))
    isWatched = measured["server_cpu_us_per_request"] is not None
    if isWatched and None in (measured["server_rss_kib"], measured["context_switches"]):
        text = "memory and context switches: the process is another user's"
        table.add_row("unknown", text)
    if "syscalls_by_name" in measured:
        table.add_row("", callsSaid(measured["syscalls_by_name"]))
    elif "syscalls_reason" in measured:
        table.add_row("system calls", Text(f"unknown: {measured['syscalls_reason']}"))
    if "bytes_per_second" in measured:
        text = f"{measured['bytes_per_second'] / 1e6:,.0f} MB a second"
        table.add_row("bytes", f"{text}: a request is a piece of 64 KiB")
    if "backlog" in measured:
        late = "" if judged["kept_up"] else ": the server did not keep up"
        due = f"the {measured['due']:,}" if "due" in measured else "those"
        share = f"{100 * judged['answered_fraction']:.3g} %"
        table.add_row("answered", f"{share} of {due} due in the window{late}")
        text = f"{measured['backlog']:,} were due and not answered at the end"
        if measured.get("backlog_before"):
            text += f", {measured['backlog_before']:,} at the beginning (warm-up)"
        table.add_row("backlog", text)
    if measured.get("unanswered"):
        oldest = measured["unanswered_oldest_us"] / 1e6
        text = (
            f"{measured['unanswered']:,} requests in flight or due at the end, the "
            f"oldest for {oldest:,.3g} s"
        )
        if measured["unsent"]:
            text += f"; {measured['unsent']:,} found no connection free"
        table.add_row("unanswered", f"{text}: they have no latency")
    if measured.get("reconnects"):
        text = "connections that the server had closed"
        table.add_row("made again", f"{measured['reconnects']:,} {text}")
    if measured.get("resent"):
        text = "requests in flight when the server closed their connection"
        table.add_row("sent again", f"{measured['resent']:,} {text}")
    if "retransmitted" in measured:
        text = "connections waited for a retransmission: is the server's backlog full?"
        text = f"{measured['retransmitted']:,} {text}"
        table.add_row("retransmitted", text)
    if "idle_closed" in measured:
        text = "idle connections, so fewer were open"
        table.add_row("server closed", f"{measured['idle_closed']:,} {text}")
    if "fields_left_out" in measured:
        names = ", ".join(measured["fields_left_out"])
        table.add_row("not compared", Text(f"{names}: fields of the head that changed"))
    if "sampled" in measured:
        table.add_row("checked again", f"{measured['sampled']:,} connections")
    if "connections_from_elsewhere" in measured:
        count = measured["connections_from_elsewhere"]
        text = f"{count:,} connections, since the first had no free port"
        table.add_row("other addresses", text)
    delayed = measured.get("load_busy_fraction", 0.0) >= LOAD_LIMIT
    delayed = delayed and measured["load_cpu_fraction"] < LOAD_LIMIT
    if judged["load_limited"]:
        text = "the load, which had no time left: use more processes (--processes)"
        if delayed:
            text = "the load, which had to wait for a core: see iodemo doctor"
        table.add_row("limit", text)
    elif not judged.get("kept_up", True):
        text = "not the load: the server, the machine, or too few connections"
        table.add_row("limit", text)
    return table
