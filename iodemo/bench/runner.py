# -*- test-case-name: tests.test_bench -*-
"""
Runs a comparison: which rounds, and in which order.

At each point of each scenario every backend is measured in several rounds. A round is a
fresh server and a fresh load, pinned to different cores. The first rounds of all
backends are measured, then the second ones, and so on, each time in a random order: a
machine that becomes slower does so for all backends. If a round fails, its cell fails:
a backend that sometimes answers wrongly has no throughput. Every round is on disk when
it ends, and an interrupted comparison goes on from there.
"""

from __future__ import annotations

import importlib
import os
import random
import resource
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec import structs

from iodemo.bench import environment
from iodemo.bench.certificate import certificateInMemory, inherited, tlsEndpoint
from iodemo.bench.plan import SERVER_DESCRIPTORS, STARTING, Entrant, Plan, servers
from iodemo.bench.record import Record
from iodemo.bench.scenarios import Scenario, Workload, placed
from iodemo.models import Model
from iodemo.process.child import Child, awaitFirst
from iodemo.results.cells import cellOf
from iodemo.results.decoding import Malformed, Wrong, decoded
from iodemo.results.schema import Cell, Point, Results, Round, Status

#: Why a backend is not measured at a share of its capacity.
NO_CAPACITY = "it has no number for {:,} connections in a closed loop"

#: The priority of servers and loads under C{SCHED_FIFO}, the same as that of the
#: kernel's interrupt threads.
REALTIME_PRIORITY = 50

# The current directory is where a user's own twisted/plugins may be, and must not
# hide a module of the standard library: last, not first as Python has it for -c.
_RUN = "import sys; sys.path.append(sys.path.pop(0)); sys.argv[0] = {name!r}; "
_TWISTD = _RUN.format(name="twistd") + "from twisted.scripts.twistd import run; run()"
_PIPES = _RUN.format(name="pipes") + "from iodemo.bench.multiplexer import main; main()"
_SHARING = (
    _RUN.format(name="sharing") + "from iodemo.process.reuseport import main; main()"
)
_IODEMO = _RUN.format(name="iodemo") + "from iodemo.cli.main import run; run()"

# The beginnings of reasons that the number of connections may explain.
_LOST = (
    "the server closed connection",
    "the server dropped connection",
    "the server ended",
    "the program ended",
)


class _Reference(Protocol):
    """A module in L{iodemo.references}."""

    def command(self, port: int) -> list[str]:
        """The command that starts its server."""


class _Load(Protocol):
    """A module with another load, such as L{iodemo.load.cload}."""

    def command(
        self,
        kind: str,
        port: int,
        active: int,
        idle: int,
        warmup: float,
        seconds: float,
    ) -> list[str]:
        """The command that makes the load, and prints a L{Round} in JSON."""


class ComparisonObserver:
    """
    Its methods are called as a comparison proceeds. This class's own do nothing.
    """

    def roundBegan(self, scenario: Scenario, point: Point, backend: str) -> None:
        """A round of one backend is about to run."""

    def roundsEnded(self, seconds: float) -> None:
        """Rounds have ended. C{seconds} was the estimate for them."""

    def cellEnded(self, cell: Cell) -> None:
        """A cell has its result, good or bad."""

    def controlEnded(self, cell: Cell) -> None:
        """The cell of the control has its result, good or bad."""


class RoundFailed(Exception):
    """A round has no number. The message has the reason."""


def compare(
    plan: Plan,
    path: Path,
    command: str,
    observer: ComparisonObserver | None = None,
    earlier: Results | None = None,
) -> Results:
    """
    Run a comparison.

    @param path: of the results file, which is readable at every moment.
    @param command: the command line, for the results.
    @param earlier: an interrupted run to go on with, which
        L{iodemo.bench.record.check} has accepted.
    @return: the results; incomplete if no backend could be measured at the first point.
    @raise OSError: if C{path} cannot be written.
    """
    kept = Record(plan, path, command, earlier)
    try:
        _measure(plan, observer or ComparisonObserver(), kept)
    finally:
        kept.close()
    return kept.results


def _measure(plan: Plan, observer: ComparisonObserver, kept: Record) -> None:
    """
    Measure every point that is not measured yet.
    """
    measured = plan.measured()
    for scenario, point in plan.points():
        place = placed(scenario, point)
        before = set(kept.cells(place))
        first = measured[scenario.workload, point]
        try:
            if first is scenario:
                _measurePoint(plan, scenario, point, observer, kept)
            else:
                cells = kept.cells(placed(first, point))
                kept.keepCells(
                    place,
                    {
                        each: {**cells[each], "scenario": scenario.name}
                        for each in cells
                    },
                )
        finally:
            # If the point was interrupted, too: its finished cells are in the results.
            for entrant, cell in kept.cells(place).items():
                if entrant in before:
                    continue
                if entrant.control:
                    observer.controlEnded(cell)
                else:
                    observer.cellEnded(cell)
        if not any(cell["status"] == "ok" for cell in kept.results["cells"]):
            # The load of the first point is the smallest: if no backend could serve it,
            # none can serve the others.
            return
    kept.end()


def _measurePoint(
    plan: Plan,
    scenario: Scenario,
    point: Point,
    observer: ComparisonObserver,
    kept: Record,
) -> None:
    """
    Measure every backend at one point.
    """
    place = placed(scenario, point)
    entrants = plan.entrantsFor(scenario.workload, point)

    def end(
        entrant: Entrant,
        status: Status,
        reason: str | None,
        rounds: list[Round],
    ) -> None:
        cell = cellOf(place, entrant.backend.name, status, reason, rounds)
        if rounds and _cores(entrant.backend, point).areTooFew:
            cell["load_limited"] = True
        kept.keepCells(place, {entrant: cell})

    for entrant in entrants:
        refusal = plan.refusal(entrant.backend, scenario.workload, point)
        if refusal is not None and entrant not in kept.cells(place):
            end(entrant, "skipped", refusal, [])
    due = _due(plan, scenario, point, kept)
    if point.share is not None:
        for entrant in entrants:
            if entrant not in due and entrant not in kept.cells(place):
                end(entrant, "skipped", NO_CAPACITY.format(point.active), [])
                each = plan.cellSeconds(scenario.workload, point, entrant.backend)
                observer.roundsEnded(each)
    for number in range(plan.rounds):
        for entrant in random.sample(entrants, len(entrants)):
            rounds = kept.rounds(place, entrant)
            if entrant in kept.cells(place) or len(rounds) > number:
                continue
            backend = entrant.backend
            left = plan.rounds - number
            observer.roundBegan(scenario, point, backend.name)
            try:
                calls = left == 1 and not entrant.control
                paced = structs.replace(point, rate=due.get(entrant, point.rate))
                measured = _measureRound(plan, scenario.workload, paced, backend, calls)
            except RoundFailed as failed:
                # A cell that is not ok has no number: the rounds it had are no
                # result.
                end(entrant, "failed", _explained(str(failed), backend, point), [])
            else:
                left = 1
                if number + 1 < plan.rounds:
                    kept.keepRound(place, entrant, measured)
                else:
                    end(entrant, "ok", None, [*rounds, measured])
            each = plan.cellSeconds(scenario.workload, point, backend) / plan.rounds
            observer.roundsEnded(left * each)


def _due(
    plan: Plan, scenario: Scenario, point: Point, kept: Record
) -> dict[Entrant, float]:
    """
    At a point with a share of the capacity: the rate of each entrant whose capacity is
    known.
    """
    capacity = plan.capacity(scenario.workload, point)
    if point.share is None or capacity is None:
        return {}
    return {
        entrant: point.share * cell["summary"]["throughput"]["median"]
        for entrant, cell in kept.cells(capacity).items()
        if cell["status"] == "ok"
    }


def _explained(reason: str, backend: Model, point: Point) -> str:
    """
    The reason of a failure, with the limit of the model if that explains it.
    """
    connections = point.connections + SERVER_DESCRIPTORS
    if backend.connectionLimit is None or connections < backend.connectionLimit:
        return reason
    if not reason.startswith(_LOST):
        return reason
    return f"{backend.limitReason}; seen here: {reason}"


class _Cores(NamedTuple):
    """
    The cores of a round's processes; C{None} for any core.

    @ivar areTooFew: whether servers and load have fewer cores than processes, so that
        the load runs on cores that the servers could use.
    """

    servers: list[int] | None
    load: list[int] | None
    areTooFew: bool = False


def _cores(backend: Model, point: Point) -> _Cores:
    """
    Find the cores for the servers and the load of one round. The load has a core of its
    own. A server has another one; several workers have all others. If these are fewer
    than the workers, nothing is pinned, and the scheduler divides all cores.
    """
    pinned = environment.pinning()
    if pinned is None:
        return _Cores(None, None, point.workers > 1)
    if point.workers == 1 and not backend.onAllCores:
        return _Cores([pinned["server"]], [pinned["load"]])
    others = sorted(os.sched_getaffinity(0) - {pinned["load"]})
    if len(others) < point.workers:
        return _Cores(None, None, areTooFew=True)
    return _Cores(others, [pinned["load"]])


def pace() -> float:
    """
    The factor between this machine and the one whose times L{Plan.estimate} has: the
    ratio of their CPU times for starting a server's program, here the least of three.
    It is CPU time because other programs may run now and not during the comparison.
    """
    pinned = environment.pinning()
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with Child(
            [sys.executable, "-c", _TWISTD, "--version"],
            [pinned["server"]] if pinned else None,
        ) as twistd:
            awaitFirst((twistd,), 60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(took) / STARTING


def _measureRound(
    plan: Plan,
    workload: Workload,
    point: Point,
    backend: Model,
    calls: bool,
) -> Round:
    """
    Measure one fresh server, or one fresh program with pipes, once.

    @param calls: whether its system calls are counted afterwards.
    @raise RoundFailed: if it has no number.
    """
    if workload.isPipes:
        return _measurePipes(plan, workload, point, backend)
    port = _freePort()
    cores = _cores(backend, point)
    with ExitStack() as stack:
        certificate = None
        if workload.tls:
            certificate = stack.enter_context(certificateInMemory())
        server = stack.enter_context(
            Child(
                _serverCommand(backend, workload, port, servers(point), certificate),
                cores.servers,
                passing=() if certificate is None else (certificate,),
            )
        )
        _prioritize(plan, server)
        # The load starts up while the server does, and waits for it to listen.
        load = Child(
            _loadCommand(plan, backend, workload, point, port, server.pid, calls),
            cores.load,
        )
        with load:
            _prioritize(plan, load)
            deadline = 60 + 10 * plan.roundSeconds(workload, point, backend)
            inTime = awaitFirst((server, load), deadline)
            if server.ended and not load.ended:
                raise RoundFailed(_ending("the server", server))
            if not inTime:
                raise RoundFailed(f"the load did not end within {deadline:.0f} s")
            if load.failure:
                raise RoundFailed(_loadFailure(load, server))
            measured = _parsed(load.output())
        if reason := _incomplete(measured):
            raise RoundFailed(reason)
        if not server.stop():
            raise RoundFailed(
                f"the server did not end within {server.GRACE:.0f} s of SIGTERM"
            )
        if server.failure:
            raise RoundFailed(_ending("the server", server))
    return measured


def _measurePipes(plan: Plan, pipes: Workload, point: Point, backend: Model) -> Round:
    pinned = environment.pinning()
    _, seconds = plan.window(pipes)
    arguments = (point.connections, point.active, seconds)
    program = Child(
        [sys.executable, "-c", _PIPES, backend.name, *map(str, arguments)],
        [pinned["server"]] if pinned else None,
    )
    with program:
        _prioritize(plan, program)
        deadline = 60 + 10 * plan.roundSeconds(pipes, point, backend)
        if not awaitFirst((program,), deadline):
            raise RoundFailed(f"the program did not end within {deadline:.0f} s")
        if program.failure:
            raise RoundFailed(_ending("the program", program))
        return _parsed(program.output())


def _prioritize(plan: Plan, child: Child) -> None:
    """
    If the plan is in real time, let a process and its children run before all other
    programs.

    @raise PermissionError: if this process may not.
    """
    if plan.realtime:
        parameters = os.sched_param(REALTIME_PRIORITY)
        os.sched_setscheduler(child.pid, os.SCHED_FIFO, parameters)


def _serverCommand(
    backend: Model, workload: Workload, port: int, count: int, certificate: int | None
) -> list[str]:
    """
    @param count: of the processes that share the port.
    @param certificate: the descriptor that the server inherits, if it has TLS.
    """
    if backend.module is not None:
        reference: _Reference = importlib.import_module(backend.module)
        return reference.command(port)
    shared = [sys.executable, "-c", _SHARING, str(port), str(count)]
    if certificate is not None:
        endpoint = tlsEndpoint(inherited(certificate), port)
    elif count > 1:
        endpoint = "{endpoint}"
    else:
        endpoint = f"tcp:{port}:interface=127.0.0.1"
    plugin = [
        word.replace("{endpoint}", endpoint).replace("{port}", str(port))
        for word in workload.command
    ]
    twistd = [sys.executable, "-c", _TWISTD, "-n", "--pidfile="]
    command = [*twistd, f"--reactor={backend.server}", *plugin]
    return command if count == 1 else [*shared, *command]


def _loadCommand(
    plan: Plan,
    backend: Model,
    workload: Workload,
    point: Point,
    port: int,
    watched: int,
    calls: bool,
) -> list[str]:
    if backend.load is not None:
        load: _Load = importlib.import_module(backend.load)
        window = (plan.warmup, plan.seconds)
        return load.command(workload.kind, port, point.active, point.idle, *window)
    return [
        *(sys.executable, "-c", _IODEMO, "load"),
        f"{'tls' if workload.tls else 'tcp'}:127.0.0.1:{port}",
        f"--kind={workload.kind}",
        f"--seconds={plan.seconds}",
        f"--warmup={plan.warmup}",
        f"--watch={watched}",
        *workload.parametersAt(point).options(),
        *["--calls"] * calls,
        "--wait=30",
        "--json",
    ]


def _freePort() -> int:
    """
    A free port below the range from which the kernel takes ports of clients: otherwise
    a connection of the load could take it before the server does.

    A server with a ring that was killed, as at the end of a round that failed, listens
    on for some milliseconds, until the kernel has taken the ring apart. Its port is not
    free before.
    """
    while True:
        port = random.randrange(10_240, 32_768)
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _ending(name: str, child: Child) -> str:
    how = child.failure or "exit status 0"
    words = child.lastWords()
    return f"{name} ended ({how}): {words}" if words else f"{name} ended ({how})"


def _incomplete(measured: Round) -> str | None:
    """
    The reason for which a round fails although its load has a number; C{None} if it is
    good. In a comparison a server must answer every request that was sent, and keep the
    connections whose cost is measured.
    """
    sent = measured.get("unanswered", 0) - measured.get("unsent", 0)
    if sent:
        oldest = measured["unanswered_oldest_us"] / 1e6
        return f"{sent:,} requests had no answer, the oldest for {oldest:.3g} s"
    closed = measured.get("idle_closed", 0)
    return f"the server closed {closed:,} idle connections" if closed else None


def _loadFailure(load: Child, server: Child) -> str:
    if server.ended:
        return _ending("the server", server)
    words = load.lastWords().removeprefix("Error: ")
    return (
        words
        if words and load.failure == "exit status 1"
        else _ending("the load", load)
    )


def _parsed(output: str) -> Round:
    """
    The round that a load has printed, without the keys that are the load's own.
    """
    try:
        return decoded(output, Round)
    except Malformed as error:
        raise RoundFailed("nothing was reported") from error
    except Wrong as wrong:
        raise RoundFailed(f"what was reported is no round: {wrong}") from wrong
