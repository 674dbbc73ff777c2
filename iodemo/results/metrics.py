# -*- test-case-name: tests.test_statistics -*-
"""
The metrics: every number of a round that is summarized, compared or shown.

One row of L{METRICS} is all that iodemo knows of a metric. Summaries, comparisons, the
tables in the terminal, the page, the figures of single metrics, C{iodemo diff}, claims,
the book and the list of metrics in C{docs/results-format.rst} are made from these rows,
in their order.

To add a metric, measure it, add its key to L{iodemo.results.schema.Round}, and add a
row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from iodemo.results import quantities
from iodemo.results.schema import PERCENTILES, Cell, Latency, Round

#: The subject of a scenario, on which the columns of its table depend: requests in a
#: closed loop, requests due at a rate, connections that are held, bytes that flow one
#: way, lines of a chat, or the multiplexer alone.
Kind = Literal["requests", "paced", "held", "flow", "chat", "multiplexer"]

#: The kinds whose server has clients that wait for answers, without a column of their
#: own in the place of CPU time and memory.
_SERVED: tuple[Kind, ...] = ("requests", "flow", "chat")


@dataclass(frozen=True)
class Quantity:
    """
    A unit, and how texts and figures show a value in it.

    @ivar say: makes text of a value, with its unit.
    @ivar scale: how many of the metric's units are one of an axis.
    @ivar axis: the unit of an axis.
    """

    say: Callable[[float], str]
    scale: float
    axis: str


TIME = Quantity(quantities.duration, 1e3, "milliseconds")
MICROSECONDS = Quantity(quantities.duration, 1, "microseconds")
RATE = Quantity(lambda value: f"{quantities.rate(value)} a second", 1, "a second")
MEMORY = Quantity(quantities.memory, 1024, "MiB")
BYTES = Quantity(quantities.size, 1024, "KiB")
SHARE = Quantity(quantities.percent, 0.01, "%")
NUMBER = Quantity(quantities.few, 1, "")


@dataclass(frozen=True)
class Metric:
    """
    @ivar key: its name in a summary.
    @ivar description: what it is, for the page about the format.
    @ivar value: its value in a round; C{None} where the round has none.
    @ivar title: of its column in the page; without one it has none.
    @ivar columns: the title of its column in the terminal, by kind of scenario.
    @ivar compared: the title of its table of verdicts in the page, if each backend is
        compared with the baseline in it.
    @ivar moreIsBetter: whether C{faster} means more of it.
    @ivar drawn: whether it has a figure with a bar for each backend; its C{title} and
        C{description} are the words of that.
    @ivar always: whether every round of a cell must have it; system calls are counted
        in the last one only.
    @ivar label: its name in the table that C{iodemo load} prints; by default its title
        or, without one, its key.
    """

    key: str
    description: str
    quantity: Quantity
    value: Callable[[Round], float | None]
    title: str = ""
    columns: Mapping[Kind, str] = field(default_factory=dict)
    compared: str = ""
    moreIsBetter: bool = False
    drawn: bool = False
    always: bool = True
    label: str = ""

    @property
    def name(self) -> str:
        """Its name in a list."""
        return self.label or self.title or self.key


def _own(key: str) -> Callable[[Round], float | None]:
    """
    A function from a round to the number that it has under this key.
    """

    def value(measured: Round) -> float | None:
        found = measured.get(key)
        return float(found) if isinstance(found, int | float) else None

    return value


def _each(key: str, scale: float = 1.0) -> Callable[[Round], float | None]:
    """
    A function from a round to its total under this key, divided by its requests.
    """
    total = _own(key)

    def value(measured: Round) -> float | None:
        found = total(measured)
        requests = measured["requests"]
        return None if found is None or not requests else found * scale / requests

    return value


def _waiting(measured: Round) -> float | None:
    cpu = measured["server_cpu_us_per_request"]
    if cpu is None:
        return None
    # On several cores at once it may run for longer than the window.
    return max(0.0, 1 - cpu * measured["throughput"] / 1e6)


def _unanswered(measured: Round) -> float | None:
    backlog, requests = measured.get("backlog"), measured["requests"]
    if backlog is None or not requests:
        return None
    return backlog / (requests + backlog)


def _percentiles(
    key: str,
    label: str,
    description: str,
    titles: Mapping[str, str],
    columns: Mapping[str, Mapping[Kind, str]],
    compared: Mapping[str, str] | None = None,
) -> list[Metric]:
    """
    A metric for each percentile of a latency.
    """

    def valueOf(percentile: str) -> Callable[[Round], float | None]:
        def value(measured: Round) -> float | None:
            latency: Latency | None = measured.get(key)  # type: ignore[assignment]
            return None if latency is None else latency[percentile]  # type: ignore[literal-required]

        return value

    return [
        Metric(
            f"{key}.{percentile}",
            description,
            TIME,
            valueOf(percentile),
            titles.get(percentile, ""),
            columns.get(percentile, {}),
            (compared or {}).get(percentile, ""),
            label=f"{label} {percentile}",
        )
        for percentile in PERCENTILES
    ]


METRICS: tuple[Metric, ...] = (
    Metric(
        "throughput",
        "requests answered a second",
        RATE,
        _own("throughput"),
        compared="Throughput",
        moreIsBetter=True,
    ),
    *_percentiles(
        "latency_us",
        "latency",
        "response time, from when a request was sent or, in an open loop, was due",
        {each: each for each in PERCENTILES},
        {
            "p50": {
                **dict.fromkeys(("requests", "paced", "held", "flow"), "p50"),
                "multiplexer": "p50",
                "chat": "half",
            },
            "p99": dict.fromkeys(
                ("requests", "paced", "held", "flow", "multiplexer"), "p99"
            ),
        },
        {"p99": "Response time, p99"},
    ),
    *_percentiles(
        "latency_last_us",
        "last has it",
        "in a chat, the time until the last member has a line",
        {"p50": "all have heard it, p50", "p99": "all have heard it, p99"},
        {"p50": {"chat": "all"}},
    ),
    *_percentiles(
        "latency_uncorrected_us",
        "from sending",
        "in an open loop, response time from when a request was sent",
        {"p50": "p50 from sending", "p99": "p99 from sending"},
        {"p99": {"paced": "p99 sent"}},
    ),
    Metric(
        "server_cpu_us_per_request",
        "CPU time of the server, user and system, divided by the requests",
        MICROSECONDS,
        _own("server_cpu_us_per_request"),
        "CPU per request",
        dict.fromkeys((*_SERVED, "paced"), "CPU/req"),
        "CPU time of the server per request",
        label="server CPU per request",
    ),
    Metric(
        "server_user_us_per_request",
        "the user time in it",
        MICROSECONDS,
        _each("server_user_s", 1e6),
        "user",
        label="  in user mode",
    ),
    Metric(
        "server_system_us_per_request",
        "the system time in it",
        MICROSECONDS,
        _each("server_system_s", 1e6),
        "system",
        label="  in the kernel",
    ),
    Metric(
        "server_waiting_fraction",
        "the share of the window in which the server did not run: it waited for "
        "requests, or for a core",
        SHARE,
        _waiting,
        "waiting",
        label="server waiting",
    ),
    Metric(
        "server_rss_kib",
        "memory of the server, with all connections open",
        MEMORY,
        _own("server_rss_kib"),
        "memory",
        dict.fromkeys(_SERVED, "memory"),
        label="server memory",
    ),
    Metric(
        "server_bytes_per_connection",
        "growth of the server's memory, divided by the connections",
        BYTES,
        _own("server_bytes_per_connection"),
        "server per connection",
        {"held": "server"},
        label="server memory per connection",
    ),
    Metric(
        "kernel_bytes_per_connection",
        "growth of the kernel's memory, of both ends, divided by the connections",
        BYTES,
        _own("kernel_bytes_per_connection"),
        "kernel per connection",
        {"held": "kernel"},
        label="kernel memory per connection",
    ),
    Metric(
        "context_switches_per_request",
        "context switches of the server, divided by the requests",
        NUMBER,
        _each("context_switches"),
        "context switches per request",
    ),
    Metric(
        "involuntary_switches_per_request",
        "context switches of the server that the scheduler forced, divided by the "
        "requests: the time slice of a thread was over, or another thread had "
        "precedence",
        NUMBER,
        _each("involuntary_switches"),
        "involuntary switches per request",
        drawn=True,
    ),
    Metric(
        "page_faults_per_request",
        "page faults of the server, divided by the requests: it accessed memory that "
        "the kernel had to map, copy or read first",
        NUMBER,
        _each("page_faults"),
        "page faults per request",
        drawn=True,
    ),
    Metric(
        "syscalls_per_request",
        "system calls of the server, counted once, after the last round",
        NUMBER,
        _own("syscalls_per_request"),
        always=False,
        label="system calls per request",
    ),
    Metric(
        "load_cpu_fraction",
        "CPU time of the load, as a share of the cores that it may use",
        SHARE,
        _own("load_cpu_fraction"),
        "load CPU",
    ),
    Metric(
        "us_per_call",
        "time in the multiplexer, for one operation",
        MICROSECONDS,
        _own("us_per_call"),
        "in the multiplexer",
        {"multiplexer": "multiplexer"},
        "Time in the multiplexer per call",
    ),
    Metric(
        "rate",
        "in an open loop, requests due a second",
        RATE,
        _own("rate"),
        "due",
    ),
    Metric(
        "unanswered_fraction",
        "in an open loop, the share of the requests due that were not answered by the "
        "end of the window",
        SHARE,
        _unanswered,
        "due and not answered",
    ),
)

#: The same, by their keys.
BY_KEY: dict[str, Metric] = {metric.key: metric for metric in METRICS}

#: The keys of those that are compared with the baseline.
COMPARED = tuple(metric.key for metric in METRICS if metric.compared)


def columnsOf(kind: Kind) -> dict[str, Metric]:
    """
    The columns of a table in the terminal, by their titles.
    """
    return {each.columns[kind]: each for each in METRICS if kind in each.columns}


def isLowerBound(cell: Cell, key: str) -> bool:
    """
    Whether the value of a metric in a cell is a lower bound: a throughput, if the load
    was the limit and not the server.
    """
    return key == "throughput" and cell["load_limited"]


def scaleOf(key: str) -> float:
    """
    How many of a metric's units are one of an axis.
    """
    return BY_KEY[key].quantity.scale
