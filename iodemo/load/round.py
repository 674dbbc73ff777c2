"""
What a load reports: the shape of one round in C{results.json}, and of
C{iodemo load --json}.
"""

from __future__ import annotations

from typing import TypedDict

#: A load that uses this much of its core, or of the time, is the limit of what was
#: measured.
LOAD_LIMIT = 0.9

#: Of requests that were due, the fraction that may be left at the end of a round whose
#: server keeps up: what comes by chance at one moment, and a moment in which it slept.
LEFT = 0.05

Latency = TypedDict(
    "Latency", {"p50": float, "p90": float, "p99": float, "p99.9": float, "max": float}
)


class OfPipes(TypedDict, total=False):
    """
    What a round has that L{iodemo.bench.multiplexer} measured. A request of it is one
    operation, its window is all of them together, and there is no server.
    """

    us_per_call: float  # the median time in the multiplexer, of one operation


class OpenLoop(TypedDict, total=False):
    """
    What a round has besides, where requests were due on a schedule. C{latency_us} then
    counts from when a request was due.
    """

    latency_uncorrected_us: Latency  # from when it was sent
    rate: float  # requests due a second
    due: int  # in the window, without those that were due in the warm-up
    backlog: int  # not answered at the end of the window, of all due by then
    backlog_before: int  # not answered when it began, of those due in the warm-up


class AtTheEnd(TypedDict, total=False):
    """
    What became of the requests under way when the window ended, and of connections that
    the server closed. C{requests} and C{throughput} are of the answers that came within
    the window. C{latency_us} is of these and of the requests under way at its end,
    which are awaited; in an open loop also of those due by then, which are sent for as
    long again as the window at most. A request under way at the end may have been sent,
    or due, in the warm-up. Older rounds have none of these keys, or only the first.
    """

    late: int  # requests answered after the window: in latency_us, not in requests
    unanswered: int  # requests under way or due at the end, and not answered in time
    unsent: int  # of these, those due and never sent, since no connection was free
    unanswered_oldest_us: float  # how long the oldest of these has waited
    reconnects: int  # connections made again that the server had closed between answers
    resent: int  # requests under way on these, sent again: latency from the first time
    retransmitted: int  # connections made for a request where the kernel tried again
    idle_closed: int  # idle connections that the server had closed
    interrupted: bool  # true where somebody ended it before its time


class Held(TypedDict, total=False):
    """
    What a round has besides, where at least 1,000 connections were held, some of them
    idle or a server watched. The memory is what there was more of with all connections
    open than before the first was made.

    The memory of the kernel is that of the whole machine: its objects (slabs), kernel
    stacks and page tables, of both ends of a connection where both are here, and of
    whatever else came or went meanwhile.
    """

    sampled: int  # connections asked once more at the end, by chance; all answered
    server_bytes_per_connection: float  # proportional set size (PSS)
    kernel_bytes_per_connection: float  # of the whole machine


class OfCores(TypedDict, total=False):
    """
    What a round has besides, where the kernel says for how long the load was kept from
    running: by a CPU quota, or by what else ran on its core.
    """

    load_busy_fraction: float  # of the window: it ran, or was ready and had no core


class OfSources(TypedDict, total=False):
    """
    What a round has besides, where the local ports of one address did not suffice.
    """

    connections_from_elsewhere: int  # made from further addresses of 127.0.0.0/8


class OfFlow(TypedDict, total=False):
    """
    What a round has besides, where bytes flow one way (L{iodemo.load.flow}). A request
    of it is a piece of 64 KiB, and its latency the time from the end of the piece
    before it, on the same connection.
    """

    bytes_per_second: float  # one way, all connections together


class OfHttp(TypedDict, total=False):
    """
    What a round has besides, where answers of HTTP had heads that changed. No field of
    a head is compared unless that was asked for.
    """

    fields_left_out: list[str]  # names of the fields that changed, in lower case


class OfChat(TypedDict, total=False):
    """
    What a round has besides, where a line is said to many (L{iodemo.load.fanout}). A
    request of it is a line heard by one member, its latency from when it was said.
    """

    latency_last_us: Latency  # of a line, until the last member has it


class Counted(TypedDict, total=False):
    """
    The system calls of a server, where they were to be counted: of requests after those
    that were timed. One of these keys is there then.
    """

    syscalls_by_name: dict[str, float]  # how many of each a request took
    syscalls_reason: str  # why they could not be counted


class Round(
    OfPipes,
    OpenLoop,
    AtTheEnd,
    Held,
    OfCores,
    OfSources,
    OfFlow,
    OfHttp,
    OfChat,
    Counted,
):
    """
    One server, measured once. Names of units are in the keys; what is of the
    server is C{None} where no server was watched.

    The memory of a server that is one process is its resident set (RSS). That of
    one with children is the sum of their proportional set sizes (PSS): a page that
    several of them share counts once, as it does in memory, where the RSS of each
    has it again. (One that others share too, such as the interpreter's, counts in
    part.) Beyond a hundred children the sum is that of a hundred, scaled; it is
    C{None} where the kernel does not say.
    """

    requests: int  # answered and verified within the window
    seconds: float  # length of the window
    throughput: float  # requests a second
    latency_us: Latency  # from when a request was sent, or was due; late ones too
    server_cpu_us_per_request: float | None  # user and system time
    server_user_s: float | None  # None too where many processes used too little
    server_system_s: float | None  # the same, in the kernel
    server_rss_kib: int | None  # RSS or, with children, PSS; with all connections open
    context_switches: int | None  # of the server, for the requests of the window
    syscalls_per_request: float | None  # all of them; None where not counted
    load_cpu_fraction: float  # of one core, or of what its processes may use


class Judged(TypedDict, total=False):
    """
    What follows from a round, and no results file has: whether the load was the limit
    and, where requests were due on a schedule, what became of them.
    """

    load_limited: bool  # the load had no time left: the server can do more
    answered_fraction: float  # answered in the window, of those due in it but the last
    kept_up: bool  # but for one, or for what was due just then, all was answered


def loadUse(measured: Round) -> float:
    """
    How much of what it could the load has done: 1 if it never waited for the server.
    """
    return max(measured["load_cpu_fraction"], measured.get("load_busy_fraction", 0.0))


def judged(measured: Round) -> Judged:
    """
    What follows from a round.
    """
    found: Judged = {"load_limited": loadUse(measured) >= LOAD_LIMIT}
    if "backlog" in measured:
        requests, backlog = measured["requests"], measured["backlog"]
        # One may be due at the very end.
        due = measured.get("due", requests + backlog) - min(backlog, 1)
        found["answered_fraction"] = min(1.0, requests / due) if due else 1.0
        found["kept_up"] = backlog <= max(1, LEFT * (requests + backlog))
    return found
