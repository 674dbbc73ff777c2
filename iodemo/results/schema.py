# -*- test-case-name: tests.test_results -*-
"""
The shape of everything that iodemo measures and keeps: a point, a round, a file.

Facts. A results file is one JSON object (format C{iodemo-results}, version 1). It comes
from outside: from another machine, another version, a half-written disk or an attacker.
The round that a load prints comes from another process.

Decisions. Each shape stands here once, and these types are its documentation: the page
C{docs/results-format.rst} is made from them. L{iodemo.results.decoding} lets in what
these types allow, so the rest of iodemo may trust it. A point is a struct, which can be
a key; all the rest are dicts with typed keys. Units are in the names of keys. Keys may
be added, and none is renamed or dropped without a new version. A reader ignores keys
that it does not know.

Costs. Types cannot express everything: numbers too close to zero, text that cannot be
printed and cells without rounds are refused after decoding.

To add a parameter of a point, add a field to L{Point} and a row to L{PARAMETERS}; to
add a number to a round, add a key to L{Round} and a row to L{iodemo.results.metrics}.
"""

# No annotation here is a string: a TypedDict does not see NotRequired within one.

import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, structs

# typing's own knows no keys that may be absent before Python 3.11.
from typing_extensions import NotRequired, TypedDict

from iodemo.results.quantities import count, percent

FORMAT = "iodemo-results"
VERSION = 1

#: No machine gives a number beyond these, except zero. Between them the arithmetic of
#: a report neither overflows nor divides by a number that was rounded to zero.
SMALLEST = 1e-30
LARGEST = 2**63 - 1

#: C{iodemo compare} makes no more rounds of a cell. The intervals of millions of rounds
#: would take all memory.
MOST_ROUNDS = 1000

_LONGEST = 10_000  # characters of a text

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Number = Annotated[float, Meta(ge=0, lt=2.0**63)]
Text = Annotated[str, Meta(max_length=_LONGEST)]
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}\Z")]

Status = Literal["ok", "failed", "skipped"]
Verdict = Literal["faster", "slower", "indistinguishable"]

#: How requests are due in an open loop: as in a Poisson process, where the distances
#: are random and independent, or at equal distances.
Arrivals = Literal["poisson", "constant"]


@dataclass(frozen=True)
class Parameter:
    """
    Everything that the rest of iodemo needs to know of a parameter.

    @ivar description: for the page about the format.
    @ivar option: options of C{iodemo load} that set it, with C{{NAME}} for the value of
        any parameter. They are given where the parameter is not at its default.
    @ivar condition: the words for it in a title, with C{{}} for the value, where all
        points of a table share it.
    @ivar said: the words for a single value of it, likewise.
    @ivar axis: the words for an axis along it. Response time is drawn along each
        parameter that has one; the others have charts of their own, or none.
    @ivar say: makes text of a value.
    """

    description: str
    option: str = ""
    condition: str = ""
    said: str = "{}"
    axis: str = ""
    say: typing.Callable[[Any], str] = count


class Point(Struct, frozen=True):
    """
    The parameters of one cell. In the scenario C{multiplexer}, read "a pipe" for "a
    connection": C{active} of them are ready at a time.

    L{PARAMETERS} has a row for each field. The default of a field is the value that
    older files mean by not having it. Points are ordered field by field (L{order}).
    """

    active: Count
    idle: Count = 0
    payload: Count = 0
    tls: bool = False
    churn: bool = False
    share: Number | None = None
    rate: Number | None = None
    arrivals: Arrivals = "poisson"
    stalled: Count = 0
    workers: Count = 1

    @property
    def connections(self) -> int:
        """All of them."""
        return self.active + self.idle + self.stalled

    @property
    def isPaced(self) -> bool:
        """Whether requests are due on a schedule: an open loop."""
        return self.rate is not None or self.share is not None

    def given(self) -> dict[str, Any]:
        """
        The parameters that are not at their defaults.
        """
        values = structs.asdict(self)
        return {
            name: value for name, value in values.items() if value != DEFAULTS[name]
        }

    def order(self) -> tuple[Any, ...]:
        """
        A key to sort points by.
        """
        values = (getattr(self, name) for name in self.__struct_fields__)
        return tuple(0 if value is None else value for value in values)

    def options(self) -> list[str]:
        """
        The options with which C{iodemo load} measures at this point. TLS is part of an
        address.
        """
        values = structs.asdict(self)
        return [
            option.format_map(values)
            for name in self.given()
            for option in PARAMETERS[name].option.split()
        ]

    def conditions(self) -> list[str]:
        """
        The words for the point in a title.
        """
        return [
            parameter.condition.format(parameter.say(value))
            for name, value in self.given().items()
            if (parameter := PARAMETERS[name]).condition
        ]

    def others(self, scenario: str) -> list[str]:
        """
        The words in the label of the point besides those for connections and rate: of
        each parameter that is not at its default, and that is in no title. So two
        points with different parameters never have the same words.

        @param scenario: that the point is of. If it has the name of a parameter, its
            points differ in that one, which then has words even at its default.
        """
        given = self.given()
        return [
            self.said(name)
            for name, parameter in PARAMETERS.items()
            if (name in given or name == scenario)
            and name not in CONNECTIONS_AND_RATE
            and not parameter.condition
        ]

    def said(self, name: str) -> str:
        """
        The value of one parameter in words.
        """
        if name == "connections":
            return f"{count(self.connections)} pipes"
        parameter = PARAMETERS[name]
        return parameter.said.format(parameter.say(getattr(self, name)))


#: The parameters for which the lines above a table have words of their own
#: (L{iodemo.report.select.Place}).
CONNECTIONS_AND_RATE = frozenset({"active", "idle", "stalled", "rate", "share"})

#: The value of each parameter in a file that does not have it.
DEFAULTS = {field.name: field.default for field in structs.fields(Point)}


#: A row for each field of L{Point}.
PARAMETERS = {
    "active": Parameter(
        "connections with one request in flight each",
        "--connections={active}",
        said="{} busy",
    ),
    "idle": Parameter(
        "further connections, open and silent", "--idle={idle}", said="{} idle"
    ),
    "payload": Parameter(
        "bytes of a request's payload",
        "--payload={payload}",
        condition="{} B payload",
    ),
    "tls": Parameter("whether connections are over TLS", condition="TLS"),
    "churn": Parameter(
        'a new connection for each request; "active" of them at a time',
        "--churn",
        condition="a connection for each request",
    ),
    "share": Parameter(
        "a rate, as a share of the backend's own throughput in a closed loop",
        said="{} of its own",
        say=percent,
    ),
    "rate": Parameter(
        "requests due a second, of all connections together; null: a closed loop",
        "--rate={rate} --arrivals={arrivals}",
        said="{} a second",
    ),
    # Users arrive independently of each other: some at the same moment.
    "arrivals": Parameter(
        "how requests are due in an open loop: at random, as in a Poisson process, "
        "or at equal distances",
        said="{} arrivals",
        axis="arrivals of requests",
        say=str,
    ),
    "stalled": Parameter(
        "further connections that send requests and read no answer",
        "--stalled={stalled}",
        said="{} stalled",
    ),
    "workers": Parameter(
        "server processes that share the port, each with an event loop",
        say=lambda workers: "1 worker" if workers == 1 else f"{count(workers)} workers",
    ),
}


#: In microseconds: so many percent of the requests were answered within this time.
Latency = TypedDict(
    "Latency",
    {"p50": Number, "p90": Number, "p99": Number, "p99.9": Number, "max": Number},
)

PERCENTILES = tuple(Latency.__annotations__)


class Round(TypedDict):
    """
    One server, measured once. The numbers of the server are C{None} where no server was
    watched.

    C{requests} and C{throughput} count the answers that came within the window.
    C{latency_us} also has the requests under way at its end, which the load awaits. In
    an open loop it also has the requests that are due by then: the load goes on to send
    them, for at most as long as the window. A request under way at the end may have
    been sent, or due, in the warm-up.

    The memory of a server that is one process is its resident set (RSS). That of a
    server with children is the sum of their proportional set sizes (PSS): a page that
    several of them share counts once, as it does in memory, where the RSS of each has
    it again. A page that other programs share too, such as the interpreter's, counts in
    part. Beyond a hundred children the sum is that of a hundred, scaled; it is C{None}
    where the kernel has no C{smaps_rollup}.

    C{kernel_bytes_per_connection} is of the whole machine: its objects (slabs), kernel
    stacks and page tables, of both ends of a connection where both are here.

    In C{stream} and C{sink} a request is a piece of 64 KiB, and its latency the time
    since the end of the piece before it on the same connection. In C{chat} a request is
    a line heard by one member, and its latency counts from when the line was sent. In
    C{multiplexer} a request is one operation, the window is all of them together, and
    there is no server.
    """

    requests: Count  # answered and verified within the window
    seconds: Number  # length of the window
    throughput: Number  # requests a second
    latency_us: Latency  # from when a request was sent or, in an open loop, was due
    server_cpu_us_per_request: Number | None  # user and system time
    server_user_s: Number | None  # null too where many processes used too little
    server_system_s: Number | None  # the same, in the kernel
    server_rss_kib: (
        Count | None
    )  # RSS or, with children, PSS; with all connections open
    context_switches: Count | None  # of the server, for the requests of the window
    involuntary_switches: NotRequired[Count]  # of these, the ones the scheduler forced
    page_faults: NotRequired[Count]  # of the server, minor and major, in the window
    syscalls_per_request: Number | None  # all of them; null where not counted
    load_cpu_fraction: Number  # of one core, or of what its processes may use
    load_busy_fraction: NotRequired[Number]  # of the window: it ran, or had no core
    late: NotRequired[Count]  # answered after the window: in latency_us, not requests
    unanswered: NotRequired[Count]  # under way or due at the end, no answer in time
    unsent: NotRequired[Count]  # of these, due and never sent: no connection was free
    unanswered_oldest_us: NotRequired[Number]  # how long the oldest of these has waited
    reconnects: NotRequired[Count]  # made again: the server closed it between answers
    resent: NotRequired[Count]  # under way on these, sent again: latency from the first
    retransmitted: NotRequired[Count]  # made for a request; TCP retransmitted on it
    idle_closed: NotRequired[Count]  # idle connections that the server had closed
    interrupted: NotRequired[bool]  # true where SIGINT ended the window early
    latency_uncorrected_us: NotRequired[Latency]  # open loop: from when it was sent
    rate: NotRequired[Number]  # open loop: requests due a second
    due: NotRequired[Count]  # open loop: in the window, without those of the warm-up
    backlog: NotRequired[
        Count
    ]  # open loop: not answered at the end, of all due by then
    backlog_before: NotRequired[Count]  # the same when the window began
    sampled: NotRequired[Count]  # of 1,000 or more, sent one request more; all answered
    server_bytes_per_connection: NotRequired[Number]  # growth of PSS; from 1,000 on
    kernel_bytes_per_connection: NotRequired[Number]  # of the whole machine; likewise
    connections_from_elsewhere: NotRequired[Count]  # from further local addresses
    bytes_per_second: NotRequired[Number]  # stream, sink: all connections together
    latency_last_us: NotRequired[Latency]  # chat: until the last member has the line
    fields_left_out: NotRequired[list[Text]]  # http: fields that changed, lower case
    us_per_call: NotRequired[Number]  # multiplexer: the median time in the call
    syscalls_by_name: NotRequired[dict[Name, Number]]  # of each, for a request
    syscalls_reason: NotRequired[Text]  # why they could not be counted


class Limits(TypedDict):
    """Kernel and process limits in force; C{None} where unknown."""

    nofile_soft: Count | None  # open files a process (RLIMIT_NOFILE); null: no limit
    nofile_hard: Count | None
    somaxconn: Count | None  # the longest queue of connections to accept
    ephemeral_ports: Text | None  # the range of a client's local ports


class Pinning(TypedDict):
    """The core each process was pinned to."""

    server: Count
    load: Count


class Environment(TypedDict):
    """The machine, the versions, and the command that made the file."""

    kernel: Text  # its name and release
    architecture: Text  # as of uname -m
    cpu: Text  # its model
    cores: Count  # of the machine
    memory_kib: Count
    virtualized: bool  # whether the CPU reports a hypervisor
    python: Text  # implementation and version
    twisted: Text
    iodemo: Text
    limits: Limits
    pinning: Pinning | None  # null where nothing could be pinned
    steal_fraction: Number | None  # CPU time the hypervisor took during the run
    date: Text  # UTC, ISO 8601, when the run began
    command: Text  # the command line that made the file


class Located(TypedDict):
    """Anything that belongs to one point of one scenario."""

    scenario: Name
    parameters: Point


class Placed(Located):
    """The same, with the service, of which a run has one in each scenario."""

    service: Name


class Interval(TypedDict):
    """The median over rounds and its 95 % bootstrap interval."""

    median: Number
    low: Number  # where the interval begins
    high: Number  # where it ends


class Cell(Placed):
    """
    One backend at one point of one scenario. If system calls were to be counted, the
    cell has C{syscalls_by_name}, or C{syscalls_reason} if that failed. They are counted
    once, after the last round.
    """

    backend: Name
    status: Status
    reason: Text | None  # why there is no number; null when there is
    load_limited: bool  # the load was the limit: the number is a lower bound
    rounds: Annotated[list[Round], Meta(max_length=MOST_ROUNDS)]
    summary: dict[Name, Interval]  # by metric
    syscalls_by_name: NotRequired[dict[Name, Number]]  # of each, for a request
    syscalls_reason: NotRequired[Text]  # why they could not be counted


class Comparison(Located):
    """One backend against the baseline, in one metric at one point."""

    metric: Name  # as in a summary
    baseline: Name
    backend: Name
    ratio: Number  # backend / baseline
    low: Number  # where its 95 % interval begins
    high: Number  # where it ends
    verdict: Verdict  # "faster" is better: more throughput, or less of another metric


class PlannedPoint(Placed):
    """One point of one scenario, with the plugin and the load's kind of exchange."""

    command: list[Text]  # as after twistd -n, with {endpoint} or {port}; of pipes, []
    kind: Text  # as in iodemo load --kind, or "pipes"


class Planned(TypedDict):
    """The plan of a run."""

    backends: list[Name]
    baseline: Name  # which of them the others are compared with
    controlled: bool  # whether the baseline was to be measured twice
    rounds: Count  # of each cell
    seconds: Number  # length of a round's measured window
    warmup: Number  # seconds of load before it
    points: list[PlannedPoint]
    realtime: NotRequired[bool]  # whether servers and loads ran under SCHED_FIFO


class Entry(Placed):
    """
    The cell of some rounds, while it does not have all of them.
    """

    backend: Name
    control: bool  # whether they are of the second measurement of the baseline


class Unfinished(Entry):
    """
    The rounds of a cell that does not have all of them yet.
    """

    rounds: Annotated[list[Round], Meta(max_length=MOST_ROUNDS)]


class Results(TypedDict):
    """
    A whole run. Files of version 0.1 have neither a plan nor controls, which are the
    baseline, measured a second time at each point as if it were another backend.
    """

    format: Text
    version: Count
    complete: bool  # false while the run goes on, and if it was interrupted
    environment: Environment
    cells: list[Cell]
    comparisons: list[Comparison]
    plan: NotRequired[Planned]
    controls: NotRequired[list[Cell]]
    noise: NotRequired[list[Comparison]]  # controls against the baseline, all metrics
    unfinished: NotRequired[list[Unfinished]]  # to go on from, after an interruption
    resumed: NotRequired[list[Text]]  # UTC, ISO 8601, when it went on, each time


#: A scenario and a point of it.
Where = tuple[str, Point]


def placeOf(located: Located) -> Where:
    """
    The common key of everything that belongs to one point, in any run.
    """
    return located["scenario"], located["parameters"]
