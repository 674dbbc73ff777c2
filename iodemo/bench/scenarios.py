# -*- test-case-name: tests.test_bench -*-
"""
The scenarios: one record each.

A scenario is a series of points; at each, every backend hosts the scenario's workload
and the load sends it the same requests. To add one, add a record to L{SCENARIOS}.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from msgspec import structs

from iodemo.load.exchanges import OTHER_KINDS, PIECE, exchangeOf
from iodemo.results.schema import Placed, Point


@dataclass(frozen=True)
class Workload:
    """
    A twistd plugin, and the requests that the load sends it.

    @ivar command: the plugin's name and arguments, with C{{endpoint}} or C{{port}} in
        the place of the address; empty if there is no plugin (L{PIPES}).
    @ivar kind: the load's exchange, as in C{iodemo load --kind}.
    @ivar payload: bytes of a request, where the kind leaves that open.
    @ivar churn: whether each request has a connection of its own.
    @ivar tls: whether connections are over TLS.
    """

    command: tuple[str, ...]
    kind: str
    payload: int
    churn: bool = False
    tls: bool = False

    @property
    def service(self) -> str:
        """The service's name in results."""
        return self.command[0].removeprefix("iodemo-") if self.command else self.kind

    @property
    def isPipes(self) -> bool:
        """Whether there is no plugin, and so neither a server nor a load."""
        return not self.command

    def parametersAt(self, point: Point) -> Point:
        """
        A point with the parameters that the workload decides.
        """
        return structs.replace(
            point, payload=self.payload, tls=self.tls, churn=self.churn
        )


#: In the place of a plugin: pipes within one process, and the multiplexer of a backend
#: that finds those that are ready (L{iodemo.bench.multiplexer}). The payload is the
#: byte in a pipe that is ready.
PIPES = Workload((), "pipes", payload=1)

#: The length of a round with pipes, as a share of that of other rounds. A quarter of a
#: second is some 70,000 operations of the quicker multiplexers.
PIPES_SHARE = 0.25


class BadWorkload(ValueError):
    """A plugin's command line cannot be used. The message has the reason."""


def foreignWorkload(command: str, kind: str) -> Workload:
    """
    The workload of a plugin that is not ours.

    @param command: as after C{twistd -n}, with C{{endpoint}} or C{{port}} in it.
    @raise BadWorkload: if it cannot be one.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise BadWorkload(f"the plugin's command line: {error}") from error
    try:
        exchangeOf(kind, 64, "localhost")
        if kind in OTHER_KINDS:
            raise BadWorkload(
                f"no scenario has the kind {kind} for a plugin: iodemo load has it"
            )
    except ValueError as error:
        raise BadWorkload(str(error)) from error
    if not words:
        raise BadWorkload("the plugin's command line is empty")
    if not all(c.isprintable() or c == "\n" for c in (*"".join(words), *kind)):
        raise BadWorkload(
            "the plugin's command line has a letter that cannot be printed, for which "
            "results have no place"
        )
    if not any("{endpoint}" in word or "{port}" in word for word in words):
        raise BadWorkload(
            "the plugin needs to know where to listen: put {endpoint} (or {port}) "
            'where it belongs, as in "web --listen={endpoint} --path=."'
        )
    return Workload(words, kind, payload=64 if kind == "echo" else 0)


@dataclass(frozen=True)
class Scenario:
    """
    @ivar name: as in C{--scenarios}.
    @ivar question: the question that it answers.
    @ivar workload: the plugin, and the requests that the load sends.
    @ivar points: the points at which it is measured.
    @ivar quick: the points of a quick comparison: fewer, without those that take the
        longest. A quick comparison leaves out a scenario without quick points; if the
        command line names it, it is measured at the first of its C{points}.
    """

    name: str
    question: str
    workload: Workload
    points: tuple[Point, ...]
    quick: tuple[Point, ...]


ECHO = Workload(("iodemo-echo", "--listen={endpoint}"), "echo", payload=64)

HTTP = Workload(("iodemo-http", "--listen={endpoint}"), "http:/", payload=0)

#: The scenario without a service.
MULTIPLEXER = "multiplexer"

#: The scenario with an open loop.
RATE = "rate"

#: The scenario that holds very many connections, and how many of them are busy.
CONNECTIONS = "connections"
BUSY = 10

#: The scenarios in which bytes flow one way: a request is a piece of them.
STREAM = "stream"
SINK = "sink"
FLOWS = (STREAM, SINK)

#: The scenario in which many members receive each line.
CHAT = "chat"

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "active",
        "What does a backend do when every connection is busy?",
        ECHO,
        points=tuple(Point(active) for active in (1, 10, 100, 1000)),
        quick=tuple(Point(active) for active in (1, 10, 200)),
    ),
    Scenario(
        "idle",
        "What do open and silent connections cost?",
        ECHO,
        points=tuple(Point(10, idle) for idle in (0, 100, 1000, 10_000)),
        quick=tuple(Point(10, idle) for idle in (0, 1000, 4000)),
    ),
    Scenario(
        RATE,
        "What do users wait, when so many requests are due a second?",
        ECHO,
        points=(
            *(Point(100, rate=rate) for rate in (2_000, 8_000, 32_000)),
            *(Point(100, share=share) for share in (0.5, 0.8)),
        ),
        quick=(),
    ),
    Scenario(
        "arrivals",
        "What do users wait when requests are due at random, not at equal distances?",
        ECHO,
        # The second is of the scenario rate too, and measured once.
        points=tuple(
            Point(100, rate=8_000, arrivals=arrivals)
            for arrivals in ("constant", "poisson")
        ),
        quick=(),
    ),
    Scenario(
        CONNECTIONS,
        "What does it cost to hold 10,000 connections?",
        # The same as idle has: it is measured once.
        ECHO,
        points=(Point(BUSY, 10_000),),
        quick=(),
    ),
    Scenario(
        MULTIPLEXER,
        "What does the multiplexer alone cost?",
        PIPES,
        points=(
            *(Point(1, watched - 1) for watched in (10, 100, 1000, 10_000)),
            *(Point(100, watched - 100) for watched in (100, 1000, 10_000)),
        ),
        quick=tuple(Point(1, watched - 1) for watched in (10, 1000, 10_000)),
    ),
    Scenario(
        "http",
        "What is left of the difference when a request takes some work?",
        HTTP,
        points=(Point(10), Point(100)),
        quick=(),
    ),
    Scenario(
        "churn",
        "How many connections, each with one request, are made and closed in a second?",
        replace(ECHO, churn=True),
        # A backlog of 50, which is Twisted's, holds all of them.
        points=(Point(10), Point(50)),
        quick=(),
    ),
    Scenario(
        "tls",
        "What is left of the difference when all is encrypted?",
        replace(ECHO, tls=True),
        points=(Point(10), Point(100)),
        quick=(),
    ),
    Scenario(
        "handshakes",
        "How many connections with TLS, each with one request, are made in a second?",
        replace(ECHO, tls=True, churn=True),
        points=(Point(10),),
        quick=(),
    ),
    Scenario(
        STREAM,
        "How many bytes a second does a server send?",
        Workload(("iodemo-stream", "--listen={endpoint}"), "stream", PIECE),
        points=(Point(1), Point(10)),
        quick=(),
    ),
    Scenario(
        SINK,
        "How many bytes a second does a server receive?",
        Workload(("iodemo-stream", "--sink", "--listen={endpoint}"), "sink", PIECE),
        points=(Point(1), Point(10)),
        quick=(),
    ),
    Scenario(
        CHAT,
        "How long until everybody in a room has heard a line?",
        Workload(("iodemo-chat", "--listen={endpoint}"), "chat", 64),
        points=(Point(10), Point(100), Point(1000)),
        quick=(),
    ),
    Scenario(
        "slow",
        "What do others feel of a tenth more connections that ask and do not read?",
        ECHO,
        # The scenario active has the first point, too: it is measured once for both.
        points=(Point(100), Point(100, stalled=10)),
        quick=(),
    ),
    Scenario(
        "workers",
        "What do more cores bring, where a request costs what a page costs?",
        # The scenario http has the first point, too: it is measured once for both.
        HTTP,
        points=(Point(100), Point(100, workers=2), Point(100, workers=4)),
        quick=(),
    ),
)


def hosting(scenario: Scenario, plugin: Workload) -> Scenario | None:
    """
    A scenario with another plugin in the place of the echo, or C{None} if it is not
    about an echo on plain TCP.
    """
    workload = scenario.workload
    if workload.command != ECHO.command or workload.tls:
        return None
    return replace(scenario, workload=replace(plugin, churn=workload.churn))


class UnknownScenario(LookupError):
    """No scenario of this name. The message lists those there are."""


def findScenario(name: str) -> Scenario:
    """
    @raise UnknownScenario: if there is none of this name.
    """
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    raise UnknownScenario(f"no scenario named {name!r}: choose from {names}")


def placed(scenario: Scenario, point: Point) -> Placed:
    """
    A point of a scenario as results record it.
    """
    return {
        "scenario": scenario.name,
        "service": scenario.workload.service,
        "parameters": scenario.workload.parametersAt(point),
    }
