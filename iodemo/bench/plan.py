# -*- test-case-name: tests.test_bench -*-
"""
The plan of a comparison, and how long it takes.

Facts. Most of a short round is not the measured window. Two interpreters start, the
load verifies answers, makes the connections, sends one request on each, and closes them
at the end. With thousands of connections, making and closing them takes the longest:
some servers make a process or a thread for each. Others look at every connection
whenever a few more have come, so the time grows with the square of their number.

Decision. The times below, in seconds, were measured on one idle machine. All of them
are CPU time. On another machine each is multiplied by the same factor, L{pace
<iodemo.bench.runner.pace>}, which is the ratio of its time for L{STARTING}.

Costs. A machine that is busy with other programs takes longer than the estimate. The
estimate for a backend of another project is that of a server on epoll.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from iodemo.bench.multiplexer import MULTIPLEXERS
from iodemo.bench.scenarios import (
    ECHO,
    PIPES_SHARE,
    Scenario,
    Workload,
    placed,
)
from iodemo.load.exchanges import exchangeOf
from iodemo.models import Model
from iodemo.results.claims import Claim
from iodemo.results.schema import Placed, Planned, Point, placeOf

#: Descriptors a server holds besides its connections.
SERVER_DESCRIPTORS = 32

# Servers that share a port have as many connections each, but for chance.
_SHARE = 0.9

#: CPU time of C{twistd --version}, on the machine that the times below are from.
STARTING = 0.152

# Counting system calls, after the last round; and a thread or a process of those that
# there is one of for each connection.
_COUNTING = 0.16
_COUNTED_EACH = 4e-4

# The kinds of requests that the load in C can send.
_C_KINDS = ("echo", "http:/")

# A round without connections, verification and measuring.
_ROUND = 0.4

# A connection, by what the model has for each.
_CONNECTION = {"process per connection": 10.5e-3, "thread per connection": 5e-4}
_OTHER_CONNECTION = 9e-5

# The time that TLS adds to a connection, and to the verification of an echo.
_HANDSHAKE = 4e-3
_ENCRYPTED = 0.5

# Each pair of them, by the call that looks at every one.
_PAIR = {"select": 4.2e-8, "poll": 4.2e-8}
_BUSY_PAIR = 1e-7

# A round of pipes without measuring, and what each pipe adds to that.
_PIPES_ROUND = 0.1
_PIPE = 2e-5


class Entrant(NamedTuple):
    """
    A backend or, for the noise, the baseline a second time.
    """

    backend: Model
    control: bool = False


#: The share of its rounds that each entrant has at each place, from 0 to 1.
Done = Mapping[tuple[tuple[str, Point], Entrant], float]


@dataclass(frozen=True)
class Plan:
    """
    A comparison to be made.

    @ivar scenarios: each with the points to measure it at.
    @ivar baseline: name of the backend that the others are compared with.
    @ivar rounds: per cell.
    @ivar seconds: length of a round's measured window.
    @ivar warmup: seconds of load before it.
    @ivar controlled: whether the baseline is measured a second time, against itself.
    @ivar claims: if there are any, a backend is measured only at the points of the
        claims that name it.
    @ivar realtime: whether servers and loads run under C{SCHED_FIFO}, before all other
        programs of the machine.
    """

    scenarios: tuple[tuple[Scenario, tuple[Point, ...]], ...]
    backends: tuple[Model, ...]
    baseline: str
    rounds: int
    seconds: float
    warmup: float
    controlled: bool = False
    claims: tuple[Claim, ...] = ()
    realtime: bool = False

    def entrants(self) -> list[Entrant]:
        """All backends and, last, the control."""
        backends = [Entrant(backend) for backend in self.backends]
        controls = [
            Entrant(backend, control=True)
            for backend in self.backends
            if self.controlled and backend.name == self.baseline
        ]
        return backends + controls

    def entrantsFor(self, workload: Workload, point: Point) -> list[Entrant]:
        """
        The entrants that are measured with a workload at a point.
        """
        entrants = self.entrants()
        if workload.isPipes:
            entrants = [each for each in entrants if each.backend.name in MULTIPLEXERS]
        if self.claims:
            needed = self._neededFor(workload, point)
            entrants = [each for each in entrants if each.backend.name in needed]
        return entrants

    def _neededFor(self, workload: Workload, point: Point) -> set[str]:
        places = [
            placed(scenario, point)
            for scenario, points in self.scenarios
            if scenario.workload == workload and point in points
        ]
        scenarios = {scenario.name for scenario, _ in self.scenarios}
        return {
            name
            for claim in self.claims
            if any(claim.applies(place, scenarios) for place in places)
            for name in claim.backends
        }

    def points(self) -> Iterator[tuple[Scenario, Point]]:
        """Every point of every scenario, if some backend is measured there."""
        for scenario, points in self.scenarios:
            for point in points:
                if self.entrantsFor(scenario.workload, point):
                    yield scenario, point

    def places(self) -> list[Placed]:
        """Every point of every scenario, as results record it."""
        return [placed(scenario, point) for scenario, point in self.points()]

    def measured(self) -> dict[tuple[Workload, Point], Scenario]:
        """
        Every workload at every point, and the first scenario that has both. Other
        scenarios that have them take its cells.
        """
        found: dict[tuple[Workload, Point], Scenario] = {}
        for scenario, point in self.points():
            found.setdefault((scenario.workload, point), scenario)
        return found

    def planned(self) -> Planned:
        """All of it, as results record it."""
        planned: Planned = {
            "backends": [backend.name for backend in self.backends],
            "baseline": self.baseline,
            "controlled": self.controlled,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "warmup": self.warmup,
            "points": [
                {
                    **placed(scenario, point),
                    "command": list(scenario.workload.command),
                    "kind": scenario.workload.kind,
                }
                for scenario, point in self.points()
            ],
        }
        if self.realtime:
            planned["realtime"] = True
        return planned

    def refusal(self, backend: Model, workload: Workload, point: Point) -> str | None:
        """
        Why a backend is not measured at a point, or C{None} if it is.
        """
        if (
            backend.kind == "reference"
            and not workload.isPipes
            and workload.command != ECHO.command
        ):
            return (
                f"a reference is a server of its own, which does what iodemo-echo does "
                f"and cannot host {workload.command[0]}"
            )
        if workload.kind == "chat" and backend.pattern == "process per connection":
            return "its connections share no state, so no member would receive a line"
        if backend.kind == "reference" and workload.tls:
            return "a reference is a server of its own, and has no TLS"
        if backend.load is not None and not (
            not workload.isPipes
            and workload.kind in _C_KINDS
            and not (workload.tls or workload.churn)
            and point == Point(point.active, point.idle)
        ):
            return (
                f"the load in C measures {' and '.join(_C_KINDS)} in a closed loop, "
                "without TLS, on connections that stay open"
            )
        if point.share is not None and self.capacity(workload, point) is None:
            return (
                f"what each answers on {point.active:,} connections in a closed loop "
                "has to be measured before, as --scenarios active,rate does without "
                "--quick"
            )
        if servers(point) > 1:
            why = _cannotShare(backend, workload)
            if why is not None and point.workers > 1:
                return f"it has no workers: {why}"
            if why is not None:
                return (
                    f"{point.connections:,} connections take more open files than the "
                    f"hard limit, {descriptors():,}, and {why}: iodemo doctor says how "
                    "to raise it"
                )
        return backend.refuses(point.connections)

    def capacity(self, workload: Workload, point: Point) -> Placed | None:
        """
        The place where the capacity for a point is measured: before it, in a closed
        loop of as many connections. C{None} if there is none.
        """
        for scenario, other in self.points():
            if (scenario.workload, other) == (workload, point):
                break
            closed = Point(point.active, point.idle)
            if (scenario.workload, other) == (workload, closed):
                return placed(scenario, other)
        return None

    def estimate(self, pace: float = 1.0, done: Done | None = None) -> float:
        """
        Estimate the seconds that the comparison takes, or the rest of it.

        @param pace: the factor between this machine and the one of the estimate.
        @param done: the part that is measured already.
        """
        return sum(
            self.cellSeconds(workload, point, entrant.backend, pace)
            * (1 - (done or {}).get((placeOf(placed(scenario, point)), entrant), 0))
            for (workload, point), scenario in self.measured().items()
            for entrant in self.entrantsFor(workload, point)
        )

    def cellSeconds(
        self,
        workload: Workload,
        point: Point,
        backend: Model,
        pace: float = 1.0,
    ) -> float:
        """
        Estimate the seconds that one backend takes at one point.
        """
        if self.refusal(backend, workload, point) is not None:
            return 0.0
        limit = backend.connectionLimit
        if limit is not None and limit < point.connections:
            # Its first round fails at the limit, before the window.
            return _unmeasured(workload, Point(limit), backend, pace)
        counting = 0.0
        if not workload.isPipes:
            counting = _COUNTING
            if backend.pattern in _CONNECTION:
                counting += pace * _COUNTED_EACH * point.connections
        rounds = self.rounds * self.roundSeconds(workload, point, backend, pace)
        return rounds + counting

    def roundSeconds(
        self,
        workload: Workload,
        point: Point,
        backend: Model,
        pace: float = 1.0,
    ) -> float:
        """
        Estimate the seconds that one round takes.
        """
        unmeasured = _unmeasured(workload, point, backend, pace)
        return unmeasured + sum(self.window(workload))

    def window(self, workload: Workload) -> tuple[float, float]:
        """
        @return: the warm-up and the measured window of a round, in seconds.
        """
        if workload.isPipes:
            # Verifying them is warming up.
            return 0.0, self.seconds * PIPES_SHARE
        return self.warmup, self.seconds


def descriptors() -> float:
    """
    How many files a process may open.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if hard == resource.RLIM_INFINITY else hard


def servers(point: Point) -> int:
    """
    The number of server processes of a point: its workers or, if it takes more to hold
    so many connections, as many as these need.
    """
    budget = descriptors() - SERVER_DESCRIPTORS
    if point.connections <= budget:
        return point.workers
    return max(point.workers, ceil(point.connections / (budget * _SHARE)))


def _cannotShare(backend: Model, workload: Workload) -> str | None:
    """
    Why there cannot be several servers on one port, or C{None} if there can.
    """
    if workload.isPipes:
        return "pipes are within one process"
    if backend.module is not None:
        return "a reference inherits no socket to share"
    if workload.tls:
        return "servers that share a port have no TLS here"
    if not any("{endpoint}" in word for word in workload.command):
        return "without {endpoint} the plugin cannot be given a socket to share"
    return None


def _unmeasured(workload: Workload, point: Point, backend: Model, pace: float) -> float:
    """
    Estimate the seconds of a round before and after its window.
    """
    connections = point.connections
    if workload.isPipes:
        return pace * (_PIPES_ROUND + _PIPE * connections)
    each = _CONNECTION.get(backend.pattern, _OTHER_CONNECTION)
    pair = _PAIR.get(backend.kernelCalls[0], 0.0) if backend.kernelCalls else 0.0
    if backend.pattern == "busy polling":
        pair = _BUSY_PAIR
    those = servers(point)
    making = _ROUND * those + each * connections + pair * connections**2 / those
    if workload.tls:
        making += _ENCRYPTED + _HANDSHAKE * connections
    exchange = exchangeOf(workload.kind, workload.payload or 1, "localhost")
    return pace * making + exchange.SECONDS
