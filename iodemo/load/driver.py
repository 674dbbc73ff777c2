# -*- test-case-name: tests.test_load -*-
"""
Many connections, at most one request in flight on each: as fast as the server answers
(a closed loop), or when the requests are due (an open one).

Facts. On loopback the kernel does the receiver's TCP work inside the sender's
C{send}, so half of what a round trip costs the server is paid here and the
other way round. A closed loop slows down with its server: what it measures is
capacity, and its latencies are those of a saturated server. While the server stalls
it asks nothing: of all that users would have asked meanwhile it counts the few
requests that were in flight ("coordinated omission"). A listening socket
queues as many connections as its backlog (50 for Twisted); one more is dropped
without a word, and tried again after a second. A connection that is closed in the
orderly way keeps its port for a minute, at the end that closed first. To connect, the
kernel tries half of the local ports (14,116 as it comes) before any of the others:
where the first half is taken, that costs milliseconds. C{epoll_wait} counts in
milliseconds, and timers are up to 50 microseconds late unless a process asks for better
ones.

Decisions. One C{epoll}, level-triggered, armed once for reading and touched
again only if a send is cut short. The socket's own methods are bound once per
connection. An answer that arrives whole and is the one expected is dealt with
in the loop itself; everything rarer is a method call. Connections are made a
few at a time, and each makes one exchange before it counts: an idle connection
is one that the server has accepted, served and left alone. They are closed by
reset, so that ten thousand of them leave no port in TIME_WAIT for the next
round. They come from the address that the kernel chooses, since a server may let in
that one alone; when no port is left there, from others of the loopback network, and the
result says so. At the end some of all are asked once more, where some were idle: one
that the server has lost without a word has no answer. At the edges of the window only
clocks are read: what of the server's counters takes longer is read before the first
request and after the last answer, since a pause would leave the load answers that cost
the server nothing.

One process has a core at most, and as many connections as it may open files. Where that
is not enough, others are forked, each with a share of connections and rate. They begin
to ask together, when all are connected, and their counts are added: percentiles are of
all answers.

Where each request has a connection of its own (churn), so many as are to be busy are
made, asked once and closed at a time, and latency counts from before C{connect}, which
does not wait. They are closed by reset as well: no port is used up, however many there
are in a second. That spares a server nothing but the packet that would acknowledge an
orderly end; it learns of the end from the same C{recv}.

In an open loop a request goes out on the connection that has been free the longest, or
as soon as one is. Its latency counts from when it was due: in it is the time that it
waited for a connection, and whatever the load itself was late. It is counted from when
the request was sent too, to show the difference.

A window is a cut through requests that are under way. Throughput is what was answered
between its two ends. Latencies are of those answers and of the requests under way at
the end, which are awaited: slow answers are the likeliest to be among these, and the
slowest of all would never be seen. In an open loop the requests that were due and wait
for a connection are sent, too, for as long again as the window lasted. A request that
has no answer then has no latency; it is counted, and so is how long the oldest waited.

Most servers close a connection after so many answers, some after one, or when it was
silent for long. One that is closed between two answers is made again when its next
request is due. A request that was sent meanwhile is sent again, and its latency still
counts from when it was due, or sent first. On each new connection something has to be
answered, so a server that answers nothing is not asked for ever.

Costs. This loop is Python. L{iodemo.load.fast} has the same one compiled, which is
what is used where it could be; this one is for everywhere else, and what that one is
held against. The CPU time of either is part of the result, and a cell that it limits
says so.
"""

from __future__ import annotations

import errno
import gc
import random
import select
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter_ns

from iodemo.load import tracing
from iodemo.load.address import Address
from iodemo.load.exchanges import Answer, Exchange, WrongAnswer
from iodemo.load.exchanges.exchange import shown
from iodemo.load.pacing import NEVER, Schedule
from iodemo.load.part import Part
from iodemo.load.plan import LoadFailed, Plan, TooLate
from iodemo.load.recording import Recording
from iodemo.load.watching import (
    Counters,
    NothingToWatch,
    Watch,
    addServer,
    kernelMemory,
)
from iodemo.load.workers import Companion
from iodemo.process.cores import quota, runDelay, usable
from iodemo.results.schema import Round

_SECOND = 10**9
# What the end of a connection is to whoever sends, or has sent.
_ENDS = (ConnectionResetError, BrokenPipeError)
# How long to ask while system calls are counted.
_COUNTED = _SECOND // 10
# How often at most to look whether an answer is overdue.
_CHECKED = _SECOND // 10
# To record a single latency would cost as much as a system call. So many take 10 ms.
_MOST_KEPT = 1 << 19
# What a login shell usually allows a process to open.
_USUAL_LIMIT = 1024
# Why a load connects from several addresses.
_PORTS_USED_UP = "the local ports of the first address are used up (see iodemo doctor)"
# linux/in.h: bind chooses an address, and connect a port.
_BIND_ADDRESS_NO_PORT = 24
# Where linux/tcp.h has tcpi_total_retrans in struct tcp_info.
_TOTAL_RETRANS = 100
# The kernel sends nothing again before 200 ms (TCP_RTO_MIN).
_SENT_AGAIN = _SECOND // 10
# proc(5): how late a timer may be, in nanoseconds, where 0 is what it was at first.
_TIMER_SLACK = Path("/proc/self/timerslack_ns")
_DEFAULT_SLACK = 0


class _Connection:
    """
    One connection, and where it is in its exchange.

    @ivar turn: the request in flight and the answer it expects.
    @ivar following: the one after it.
    @ivar expected: the answer expected, as far as it is known.
    @ivar unsent: how many bytes of the request the kernel has not taken yet.
    @ivar answer: the answer that is coming, unless it was whole at once.
    @ivar came: how many bytes of it have come.
    @ivar sent: when the request went out, in nanoseconds; 0 while there is none.
    @ivar due: when it should have, in an open loop.
    @ivar first: when the first request on this socket went out; 0 before.
    @ivar spent: whether the next request needs a new socket.
    @ivar anew: whether the socket was made for a request, in the place of another.
    """

    __slots__ = (
        "anew",
        "answer",
        "came",
        "due",
        "expected",
        "first",
        "following",
        "name",
        "recv",
        "send",
        "sent",
        "socket",
        "spent",
        "turn",
        "unsent",
    )

    def __init__(self, name: str, connected: socket.socket, exchange: Exchange) -> None:
        self.name = name
        self.turn, self.following = exchange.turns()
        self.expected = self.turn.expected
        self.sent = 0
        self.due = 0
        self.renew(connected)

    def renew(self, connected: socket.socket) -> None:
        """
        Be another connection, with the same turns.
        """
        self.socket = connected
        self.recv = connected.recv
        self.send = connected.send
        self.unsent = 0
        self.answer: Answer | None = None
        self.came = 0
        self.first = 0
        self.spent = False
        self.anew = False


class Driver:
    """
    Drives one plan to its end, or to the reason why it cannot be.
    """

    #: What is kept of a connection; the hot loop may want something else.
    _connectionOf: Callable[[str, socket.socket, Exchange], _Connection] = _Connection

    #: Connections being made at any moment: fewer than any sane backlog.
    RAMP = 32

    #: Connections from each address but the first: as many as find a port at once.
    PER_ADDRESS = 10_000

    #: Addresses that connections may come from, besides the first.
    SOURCES = 250

    #: How many connections are asked once more at the end, where some are idle.
    SAMPLE = 1000

    #: From so many connections on, the memory of one stands out from what else goes on.
    MANY = 1000

    #: Bytes, more than the kernel takes for a server that does not read.
    STALLED = 32 << 20

    #: Milliseconds after which a server that has taken nothing takes no more.
    QUIET = 100

    #: Seconds in which a server that speaks first has spoken.
    GREETING = 0.5

    #: Seconds in which something comes, after verification, that should not.
    LATE = 0.02

    #: Connections that verify, so that one's bytes can be told from another's.
    VERIFYING = 4

    def __init__(
        self,
        plan: Plan,
        watch: Watch | None = None,
        phaseBegan: Callable[[str], None] = lambda phase: None,
        others: Sequence[Plan] = (),
    ) -> None:
        """
        @param watch: the server whose counters belong in the result.
        @param phaseBegan: told of each phase, in a few words.
        @param others: the shares of further processes, where C{plan} is one.
        """
        self._plan = plan
        self._watch = watch
        self._phaseBegan = phaseBegan
        self._others = others
        self._companions: list[Companion] = []
        self._connections: dict[int, _Connection] = {}
        # Those that the plan is about, in the order in which they were made.
        self._made: list[_Connection] = []
        # How many the server has closed between answers, and were made again.
        self._reconnects = 0
        # How many requests were under way then, and sent again.
        self._resent = 0
        # On how many connections, made for a request, the kernel sent something again.
        self._retransmitted = 0
        self._epoll = select.epoll()
        self._size = 1 << 18
        self._patience = plan.patience
        # Whether the server has said anything.
        self._hasSpoken = False
        # When to look next whether an answer is overdue.
        self._deadline = 0
        # The memory of server and kernel, before there are connections.
        self._before: tuple[int | None, int | None] = (None, None)
        # In an open loop.
        self._schedule: Schedule | None = None
        self._free: deque[_Connection] = deque()
        # The address that connections come from, unless the kernel chooses; which one
        # that is, and how many have come from such an address.
        self._source: str | None = None
        self._sources = 0
        self._elsewhere = 0
        # Whether the window has begun, and whether it is to end before its time.
        self._measuring = False
        self._interrupted = False
        # Whether the window is over, and whether something is added to its numbers.
        self._measured = False
        self._goingOn = False

    def run(self) -> Round:
        """
        @raise LoadFailed: if the server is not there, goes away, falls silent or
            answers wrongly.
        """
        # The driver makes no reference cycles: nothing to look for, at any time.
        gc.disable()
        try:
            self._phaseBegan("waiting for the server")
            self._awaitServer()
            self._phaseBegan("verifying")
            # A socket that a server inherits listens before the server does.
            self._patience = max(self._plan.patience, self._plan.wait)
            try:
                self._verify()
            except LoadFailed as error:
                greeting = self._greeting()
                if not greeting:
                    raise
                raise LoadFailed(
                    f"the server speaks first: it said '{shown(greeting)}' before it "
                    f"was asked anything. {self._notForGreetings(error)}: is "
                    f"{self._plan.address} the server that is meant?"
                ) from error
            self._patience = self._plan.patience
            self._deadline = 0
            self._before = self._memory()
            total = sum(each.connections for each in (self._plan, *self._others))
            self._phaseBegan(f"connecting {total:,}")
            for share in self._others:
                self._companions.append(
                    Companion(
                        f"process {share.process + 1}",
                        partial(_accompany, type(self), share),
                    )
                )
            busy = self._connect()
            for companion in self._companions:
                companion.hear()
            self._phaseBegan(f"measuring for {self._plan.seconds:g} s")
            measured = self._measure(busy)
            self._measured = True
            try:
                if not self._interrupted:
                    self._goingOn = True
                    self._goOn(busy, measured)
                    self._goingOn = False
            except KeyboardInterrupt:
                self.end()
            if self._interrupted:
                measured["interrupted"] = True
            return measured
        except NothingToWatch as error:
            raise LoadFailed(f"the server went away: {error}") from error
        finally:
            gc.enable()
            for companion in self._companions:
                companion.end()
            self._close()

    def _goOn(self, busy: list[_Connection], measured: Round) -> None:
        """
        Add what is found out after the measurement.
        """
        if self._watch is not None and self._watch.calls:
            self._phaseBegan("counting system calls")
            self._count(busy, self._watch, measured)
        self._sample(measured)

    def interrupt(self, *ignored: object) -> None:
        """
        A handler of SIGINT: end the window, so that L{run} says what was measured in it
        so far. After the window the first SIGINT ends only what would be added to its
        numbers: to close and to show them takes a moment, and they are not to be lost.

        @raise KeyboardInterrupt: if the window has not begun, or at the second SIGINT.
        """
        if not self._measuring:
            raise KeyboardInterrupt("nothing was measured yet.")
        if self._interrupted:
            raise KeyboardInterrupt
        self.end()
        if self._goingOn:
            raise KeyboardInterrupt
        if not self._measured:
            for companion in self._companions:
                companion.interrupt()

    def end(self, *ignored: object) -> None:
        """
        End the window before its time, or as soon as it begins.
        """
        self._interrupted = True

    def accompany(self, pipe: Connection) -> None:
        """
        Drive a share of a plan, in step with the process of the first.

        @param pipe: told when all are connected, and then what was measured; or else
            why not. It says when all others are connected too.
        """
        try:
            busy = self._connect()
            pipe.send(None)
            pipe.recv()
            pipe.send(self._measurePart(busy))
            # What the server uses is read while all connections are there.
            pipe.recv()
            pipe.send(self._askSome())
        except LoadFailed as error:
            pipe.send(error)
        finally:
            self._close()

    # Phases.

    def _awaitServer(self) -> None:
        """
        Wait for a server at one of the addresses; the whole load is for the first that
        accepts a connection.
        """
        deadline = time.monotonic() + self._plan.wait
        addresses = list(self._plan.address.each())
        while True:
            reasons = []
            absent = False
            for address in addresses:
                self._plan = replace(self._plan, address=address)
                try:
                    self._open().close()
                except OSError as error:
                    absent |= isinstance(
                        error, ConnectionRefusedError | FileNotFoundError
                    )
                    reasons.append(_unreached(address, error))
                else:
                    self._others = [
                        replace(share, address=address) for share in self._others
                    ]
                    return
            if not absent or time.monotonic() >= deadline:
                raise LoadFailed("; ".join(reasons))
            # Nothing tells a stranger that a port began to listen.
            time.sleep(0.005)

    def _verify(self) -> None:
        turns = self._plan.exchange.verification()

        def answered(connection: _Connection) -> bool:
            turn = next(turns, None)
            if turn is None:
                self._silence(connection)
                return False
            connection.turn = turn
            return True

        made = []
        pending = 0
        for number in range(1, self.VERIFYING + 1):
            name = f"verifying connection {number}"
            made.append(self._add(name, self._openOrFail(name)))
        for connection in made:
            if answered(connection):
                self._start(connection, perf_counter_ns())
                pending += 1
        self._exchange(answered, pending)
        # A second answer may come a little later than the first.
        for descriptor, _ in self._epoll.poll(self.LATE, 1024):
            self._receive(self._connections[descriptor])
        for connection in made:
            self._drop(connection)

    def _notForGreetings(self, error: LoadFailed) -> str:
        """
        Why a server that speaks first could not be verified.
        """
        return "A load asks first, and has no kind for that"

    def _greeting(self) -> bytes:
        """
        What the server says on a connection on which it was asked nothing, if it has
        said anything, but should not have: else there is no need to wait for it.
        """
        silent, _ = self._plan.exchange.turns()
        if not (self._hasSpoken and silent.request):
            return b""
        listening = select.poll()
        with suppress(OSError), closing(self._open()) as opened:
            connection = self._connectionOf("", opened, self._plan.exchange)
            listening.register(opened, select.POLLIN)
            end = time.monotonic() + self.GREETING
            while (left := end - time.monotonic()) > 0:
                # In TLS some of what comes is nothing to receive yet.
                with suppress(BlockingIOError):
                    return connection.socket.recv(self._size)
                listening.poll(left * 1000)
        return b""

    def _connect(self) -> list[_Connection]:
        plan = self._plan
        total = plan.connections
        where = ""
        if plan.processes > 1:
            where = f" in process {plan.process + 1} of {plan.processes}"
        made = self._made

        def another() -> bool:
            number = len(made) + 1
            if number > total:
                return False
            name = f"connection {number:,} of {total:,}{where}"
            made.append(self._add(name, self._openOrFail(name)))
            _resetWhenClosed(made[-1].socket)
            self._start(made[-1], perf_counter_ns())
            return True

        ramp = max(1, self.RAMP // plan.processes)
        pending = sum(1 for _ in range(ramp) if another())

        def answered(connection: _Connection) -> bool:
            # It has shown that it is served; now it is silent, and another's turn.
            self._silence(connection)
            if another():
                self._pending += 1
            return False

        self._exchange(answered, pending)
        self._stall(made[plan.active + plan.idle :])
        return made[: plan.active]

    def _stall(self, connections: list[_Connection]) -> None:
        """
        Have these ask again and again and read no answer, until the server and the
        kernel take no more of it, or have shown that they take without bound.
        """
        polled = select.poll()
        unsent: dict[int, tuple[_Connection, memoryview]] = {}
        for connection in connections:
            if connection.spent:
                raise LoadFailed(f"the server closed {connection.name}{self._hint()}")
            # From now on what comes on it is not looked at.
            self._epoll.modify(connection.socket, 0)
            request = connection.turn.request
            asked = memoryview(request * (self.STALLED // len(request) + 1))
            unsent[connection.socket.fileno()] = connection, asked
            polled.register(connection.socket, select.POLLOUT)
        while ready := polled.poll(self.QUIET) if unsent else []:
            for descriptor, _ in ready:
                connection, asked = unsent[descriptor]
                try:
                    count = connection.socket.send(asked[: self._size])
                except BlockingIOError:
                    count = 0
                except OSError as error:
                    raise LoadFailed(self._dropped(connection, error)) from error
                unsent[descriptor] = connection, asked[count:]
                if count == len(asked):
                    polled.unregister(descriptor)
                    del unsent[descriptor]

    def _exchange(self, answered: Callable[[_Connection], bool], pending: int) -> None:
        """
        Serve every connection until C{pending} of them have come to their end.

        @param answered: told of each answer; it says whether its connection goes
            on with the turn it now has.
        """
        self._pending = pending
        while self._pending > 0:
            for connection in self._ready():
                if self._receive(connection):
                    if answered(connection):
                        self._start(connection, perf_counter_ns())
                    else:
                        self._pending -= 1

    def _measure(self, busy: list[_Connection]) -> Round:
        plan = self._plan
        before = self._counters()
        for companion in self._companions:
            companion.tell()
        part = self._measurePart(busy)
        for companion in self._companions:
            part.add(companion.hear())
        if not part.requests:
            raise LoadFailed(part.whyNothing())
        busyProcesses = sum(1 for each in (plan, *self._others) if each.active)
        measured = part.round(busyProcesses, _cores(busyProcesses))
        if plan.rate is not None:
            measured["latency_uncorrected_us"] = part.uncorrected.latency()
            measured["due"] = part.due
            measured["backlog"] = part.backlog
            measured["backlog_before"] = part.backlogBefore
            measured["rate"] = sum(each.rate or 0 for each in (plan, *self._others))
        after = self._counters()
        if self._watch is not None and before is not None and after is not None:
            share = part.requests / (part.requests + part.late + part.before)
            addServer(measured, part.serverCpu, before, after, share)
            measured["server_rss_kib"] = self._watch.memory()
            self._addHeld(measured)
        return measured

    def _memory(self) -> tuple[int | None, int | None]:
        """
        Of the server that is watched, and of the kernel.
        """
        if self._watch is None:
            return None, None
        return self._watch.memory(proportional=True), kernelMemory()

    def _addHeld(self, measured: Round) -> None:
        """
        Add what a connection takes of memory, where there are enough to tell.
        """
        held = sum(each.connections for each in (self._plan, *self._others))
        if held < self.MANY or "idle_closed" in measured:
            return
        (server, kernel), (serverBefore, kernelBefore) = self._memory(), self._before
        # What shrinks meanwhile does so for reasons of its own.
        if server is not None and serverBefore is not None:
            grown = max(0, server - serverBefore)
            measured["server_bytes_per_connection"] = grown * 1024 / held
        if kernel is not None and kernelBefore is not None:
            grown = max(0, kernel - kernelBefore)
            measured["kernel_bytes_per_connection"] = grown * 1024 / held

    def _sample(self, measured: Round) -> None:
        """
        Where connections are idle, ask some of all once more: those that a server has
        lost meanwhile without a word have no answer.

        @raise LoadFailed: if one of them is not answered, or wrongly.
        """
        for companion in self._companions:
            companion.tell()
        asked = self._askSome()
        for companion in self._companions:
            asked += companion.hear()
        if asked:
            measured["sampled"] = asked

    def _askSome(self) -> int:
        """
        @return: how many connections of this process were asked, and answered.
        """
        if not self._plan.idle:
            return 0
        # Those that are stalled were made last.
        reading = self._made[: self._plan.active + self._plan.idle]
        # One that has no answer yet is counted already.
        silent = [connection for connection in reading if not connection.sent]
        most = -(-self.SAMPLE // self._plan.processes)
        chosen = random.sample(silent, min(most, len(silent)))
        for connection in chosen:
            self._start(connection, perf_counter_ns())
        self._drain(chosen, Recording(), Recording())
        self._mustBeSilent(chosen)
        return len(chosen)

    def _measurePart(self, busy: list[_Connection]) -> Part:
        self._begin(busy)
        warming = Recording()
        self._drive(int(self._plan.warmup * _SECOND), warming, Recording())
        recording, uncorrected = Recording(), Recording()
        reconnects, resent = self._reconnects, self._resent
        retransmitted = self._retransmitted
        serverCpu = self._serverCpu()
        delay = runDelay()
        cpu = time.process_time()
        began = perf_counter_ns()
        # What is due as the first of all belongs to a window without a warm-up.
        owed = self._owed(began) if self._plan.warmup else 0
        self._measuring = True
        self._drive(int(self._plan.seconds * _SECOND), recording, uncorrected)
        ended = perf_counter_ns()
        cpu = time.process_time() - cpu
        delayed = runDelay()
        serverCpu = self._serverCpu() - serverCpu
        requests = recording.count
        backlog = self._owed(ended)
        # From now on what is not answered in time is counted.
        self._deadline = NEVER
        if self._schedule is not None:
            # What is due already is sent still.
            self._schedule.end(ended)
            most = min(self._plan.seconds, self._plan.patience)
            self._drive(int(most * _SECOND), recording, uncorrected)
        self._drain(busy, recording, uncorrected)
        self._deadline = 0
        # Those that were not dropped.
        self._retransmitted += sum(map(self._isRetransmitted, busy))
        unanswered = [connection for connection in busy if connection.sent]
        unsent = 0 if self._schedule is None else self._schedule.overdue(ended)
        since = [self._since(connection) for connection in unanswered]
        if self._schedule is not None and unsent:
            since.append(self._schedule.due)
        idle = self._made[self._plan.active :][: self._plan.idle]
        return Part(
            recording,
            uncorrected,
            seconds=(ended - began) / _SECOND,
            cpu=cpu,
            wanted=delayed.since(delay) if delay and delayed else None,
            serverCpu=serverCpu,
            before=warming.count,
            requests=requests,
            due=requests + backlog - owed,
            backlog=backlog,
            backlogBefore=owed,
            unanswered=len(unanswered) + unsent,
            unsent=unsent,
            oldest=max((perf_counter_ns() - each for each in since), default=0),
            reconnects=self._reconnects - reconnects,
            resent=self._resent - resent,
            retransmitted=self._retransmitted - retransmitted,
            elsewhere=self._elsewhere,
            idleClosed=sum(connection.spent for connection in idle),
            leftOut=set(self._plan.exchange.leftOut),
        )

    def _owed(self, now: int) -> int:
        """
        How many requests are due by now, in an open loop, and not answered.
        """
        if self._schedule is None:
            return 0
        return self._schedule.overdue(now) + self._plan.active - len(self._free)

    def _since(self, connection: _Connection) -> int:
        """
        When the latency of the request in flight began.
        """
        return connection.sent if self._schedule is None else connection.due

    def _begin(self, busy: list[_Connection]) -> None:
        """
        Ask on each of these connections, which are silent; or, in an open loop, have
        requests be due from now on.
        """
        plan = self._plan
        self._free.clear()
        self._schedule = None
        if plan.rate is None:
            for connection in busy:
                self._ask(connection)
        elif busy:
            # The default would be in every latency.
            _setTimerSlack(1)
            self._free.extend(busy)
            # What is due in one process is due in between what is in the others.
            gap = _SECOND / (plan.rate * plan.processes)
            begin = perf_counter_ns() + int(plan.process * gap)
            self._schedule = Schedule(plan.rate, plan.arrivals, begin)

    def _count(self, busy: list[_Connection], watch: Watch, measured: Round) -> None:
        """
        Ask a little longer, and add the system calls that this takes the server. What
        goes wrong with that does not make wrong what was measured.
        """
        counted = Recording()
        try:
            self._mustBeSilent(busy)
            with tracing.begin(watch.pids()) as trace:
                self._begin(busy)
                self._drive(_COUNTED, counted, Recording())
                self._drain(busy, counted, Recording())
                self._mustBeSilent(busy)
                calls = trace.end()
        except (tracing.CannotTrace, LoadFailed) as error:
            measured["syscalls_reason"] = str(error)
            return
        requests = counted.count
        if not requests:
            measured["syscalls_reason"] = "nothing was due in the time for that"
            return
        measured["syscalls_per_request"] = sum(calls.values()) / requests
        measured["syscalls_by_name"] = {
            name: count / requests for name, count in calls.items()
        }

    def _drain(
        self,
        asked: Sequence[_Connection],
        recording: Recording,
        uncorrected: Recording,
    ) -> None:
        """
        Await the answers under way on some connections, for as long as there is
        patience. Those that have one are silent afterwards.

        @param recording: see L{_drive}.
        @param uncorrected: see L{_drive}.
        """
        latencies: list[int] = []
        fromSent: list[int] = []
        waiting = {connection for connection in asked if connection.sent}
        began = now = perf_counter_ns()
        while waiting and (left := began + self._lateness() - now) > 0:
            timeout = min(left, _SECOND) / _SECOND
            for descriptor, _ in self._epoll.poll(timeout, 1024):
                connection = self._connections[descriptor]
                if self._receive(connection):
                    now = perf_counter_ns()
                    latencies.append(now - self._since(connection))
                    fromSent.append(now - connection.sent)
                    self._silence(connection)
                    waiting.discard(connection)
            now = perf_counter_ns()
        recording.add(latencies)
        uncorrected.add(fromSent)

    def _lateness(self) -> int:
        """
        For how many nanoseconds to await answers at the end. Somebody who interrupts
        wants to see something.
        """
        patience = self._plan.patience
        return int((min(patience, 1.0) if self._interrupted else patience) * _SECOND)

    def _mustBeSilent(self, connections: Sequence[_Connection]) -> None:
        """
        @raise LoadFailed: if one of these was asked, and has no answer.
        """
        for connection in connections:
            if connection.sent:
                raise LoadFailed(
                    f"no answer for {self._plan.patience:g} s on {connection.name}"
                )

    def _drive(self, length: int, recording: Recording, uncorrected: Recording) -> None:
        """
        The hot loop: go on with the requests in flight, or with those that are due, for
        C{length} nanoseconds.

        @param recording: of the latencies of the answers that come.
        @param uncorrected: in an open loop, of the same as if each request had been due
            when it was sent.
        """
        if self._schedule is not None:
            self._driveOpen(self._schedule, length, recording, uncorrected)
            return
        if self._plan.churn:
            self._driveAnew(length, recording)
            return
        latencies: list[int] = []
        record = latencies.append
        connections = self._connections
        poll = self._epoll.poll
        size = self._size
        readable = select.EPOLLIN
        now = perf_counter_ns()
        end = now + length
        while now < end and not self._interrupted:
            ready = poll(min(end - now, _SECOND) / _SECOND, 1024)
            for descriptor, events in ready:
                connection = connections[descriptor]
                if events == readable:
                    try:
                        data = connection.recv(size)
                    except OSError as error:
                        self._lost(connection, error)
                        continue
                    if data and data == connection.expected and not connection.unsent:
                        turn = connection.following
                        connection.following = connection.turn
                        connection.turn = turn
                        connection.expected = turn.expected
                        request = turn.request
                        now = perf_counter_ns()
                        record(now - connection.sent)
                        connection.sent = now
                        try:
                            count = connection.send(request)
                        except OSError as error:
                            count = self._notSent(connection, error)
                        if count != len(request):
                            self._sendLater(connection, len(request) - count)
                        continue
                    whole = self._received(connection, data)
                else:
                    whole = self._serve(connection, events)
                if whole:
                    now = perf_counter_ns()
                    record(now - connection.sent)
                    connection.turn, connection.following = (
                        connection.following,
                        connection.turn,
                    )
                    self._start(connection, now)
            now = perf_counter_ns()
            if now >= self._deadline:
                self._checkWaiting(now)
            if len(latencies) > _MOST_KEPT:
                recording.add(latencies)
                latencies.clear()
        recording.add(latencies)

    def _driveAnew(self, length: int, recording: Recording) -> None:
        """
        See L{_drive}: with a new connection for each request.
        """
        latencies: list[int] = []
        connections = self._connections
        now = perf_counter_ns()
        end = now + length
        while now < end and not self._interrupted:
            ready = self._epoll.poll(min(end - now, _SECOND) / _SECOND, 1024)
            for descriptor, events in ready:
                connection = connections[descriptor]
                if self._serve(connection, events):
                    latencies.append(perf_counter_ns() - connection.sent)
                    connection.turn, connection.following = (
                        connection.following,
                        connection.turn,
                    )
                    self._ask(connection)
            now = perf_counter_ns()
            if now >= self._deadline:
                self._checkWaiting(now)
            if len(latencies) > _MOST_KEPT:
                recording.add(latencies)
                latencies.clear()
        recording.add(latencies)

    def _driveOpen(
        self,
        schedule: Schedule,
        length: int,
        recording: Recording,
        uncorrected: Recording,
    ) -> None:
        """
        See L{_drive}.
        """
        latencies: list[int] = []
        fromSent: list[int] = []
        connections = self._connections
        free = self._free
        now = perf_counter_ns()
        end = now + length
        while now < end and not self._interrupted:
            while free and schedule.due <= now:
                connection = free.popleft()
                connection.due = schedule.due
                self._ask(connection)
                schedule.advance()
            wait = min(end - now, _SECOND)
            if free:
                wait = min(wait, max(schedule.due - now, 0))
            # It counts in microseconds.
            select.select([self._epoll], [], [], wait / _SECOND)
            ready = self._epoll.poll(0, 1024)
            for descriptor, events in ready:
                connection = connections[descriptor]
                if self._serve(connection, events):
                    now = perf_counter_ns()
                    latencies.append(now - connection.due)
                    fromSent.append(now - connection.sent)
                    connection.turn, connection.following = (
                        connection.following,
                        connection.turn,
                    )
                    self._silence(connection)
                    free.append(connection)
            now = perf_counter_ns()
            if now >= self._deadline:
                self._checkWaiting(now)
            if schedule.due == NEVER and len(free) == self._plan.active:
                break
            if len(latencies) > _MOST_KEPT:
                recording.add(latencies)
                uncorrected.add(fromSent)
                latencies.clear()
                fromSent.clear()
        recording.add(latencies)
        uncorrected.add(fromSent)

    # One connection.

    def _open(self) -> socket.socket:
        # A connect that waits: to loopback it is over at once, or the backlog is full
        # and there is nothing better to do.
        opened = self._connecting(self._plan.patience)
        try:
            if opened.getsockname() == opened.getpeername() != "":
                # A port chosen for us that is the one we call: TCP connects a
                # socket to itself when nobody listens.
                raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
            opened.setblocking(False)
        except BaseException:
            opened.close()
            raise
        return opened

    def _openSoon(self) -> socket.socket:
        """
        Begin to connect: until that is done, nothing can be sent.
        """
        if self._plan.address.family == socket.AF_UNIX:
            # It is done at once, or not begun.
            return self._open()
        opened = self._connecting(0)
        _resetWhenClosed(opened)
        return opened

    def _connecting(self, timeout: float) -> socket.socket:
        """
        A socket that was connected within so many seconds, or, for none, begins to.

        Where the kernel has no port left for it, it comes from another address of the
        loopback network, as do all that are made after it.
        """
        address = self._plan.address
        while True:
            made = socket.socket(address.family, socket.SOCK_STREAM)
            try:
                if address.family != socket.AF_UNIX:
                    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._source is not None:
                    made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                    made.bind((self._source, 0))
                if address.family == socket.AF_UNIX:
                    # Else a full queue of the server would refuse it.
                    wait = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
                else:
                    made.settimeout(timeout)
                made.connect(address.target)
            except BlockingIOError:
                if timeout:
                    made.close()
                    raise
            except OSError as error:
                made.close()
                if error.errno != errno.EADDRNOTAVAIL or not self._changeSource():
                    raise
                continue
            except BaseException:
                made.close()
                raise
            if self._source is not None:
                self._elsewhere += 1
                if self._elsewhere % self.PER_ADDRESS == 0:
                    self._changeSource()
            return made

    def _changeSource(self) -> bool:
        """
        Connect from the next address of the loopback network.

        @return: whether there is one.
        """
        if not self._plan.address.isLoopback or self._sources == self.SOURCES:
            return False
        self._sources += 1
        self._source = f"127.0.{self._plan.process}.{1 + self._sources}"
        return True

    def _openOrFail(
        self, name: str, open: Callable[[], socket.socket] | None = None
    ) -> socket.socket:
        try:
            return (open or self._open)()
        except OSError as error:
            raise LoadFailed(f"{name}: {_reason(error)}") from error

    def _add(self, name: str, connected: socket.socket) -> _Connection:
        connection = self._connectionOf(name, connected, self._plan.exchange)
        self._attend(connection)
        return connection

    def _attend(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        self._connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN)

    def _drop(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        if descriptor < 0:
            # The server closed it, and so did we.
            return
        self._retransmitted += self._isRetransmitted(connection)
        self._epoll.unregister(descriptor)
        del self._connections[descriptor]
        connection.socket.close()

    def _isRetransmitted(self, connection: _Connection) -> bool:
        """
        Whether the latency of a request on a new connection has in it the time until
        the kernel sent something again.
        """
        if not connection.anew or self._plan.address.family == socket.AF_UNIX:
            return False
        taken = perf_counter_ns() - connection.first
        return taken >= _SENT_AGAIN and _wasSentAgain(connection.socket)

    def _ready(self) -> Iterator[_Connection]:
        """
        Wait until something has come on some connections: these.

        @raise TooLate: if one waits too long for its answer.
        """
        while True:
            now = perf_counter_ns()
            if now >= self._deadline:
                self._checkWaiting(now)
            left = (self._deadline - now) / _SECOND
            if ready := self._epoll.poll(left, 1024):
                break
        for descriptor, _ in ready:
            yield self._connections[descriptor]

    def _checkWaiting(self, now: int) -> None:
        """
        See that no connection waits longer than C{patience} for its answer, and set
        the time of the next check: no answer can be overdue before.

        @raise TooLate: if one does.
        """
        longest = int(self._patience * _SECOND)
        waiting = [each for each in self._connections.values() if each.sent]
        first = min(waiting, key=lambda each: each.sent, default=None)
        sent = now if first is None else first.sent
        if first is not None and now - sent >= longest:
            raise TooLate(self._overdue(first))
        # Where all answers take nearly as long as they may, one check after the other
        # would be due.
        self._deadline = max(sent + longest, now + _CHECKED)

    def _overdue(self, connection: _Connection) -> str:
        """
        Say which connection has waited too long, and for what.
        """
        came = connection.came
        if not came:
            return f"no answer for {self._patience:g} s on {connection.name}"
        return (
            f"the answer on {connection.name} is not whole after "
            f"{self._patience:g} s: {came:,} bytes of it have come"
        )

    def _start(self, connection: _Connection, now: int) -> None:
        """
        Send the request of the connection's turn, as far as the kernel takes it; on a
        new connection, if the server takes no more on this one.
        """
        if connection.spent:
            self._reconnects += 1
            self._renew(connection)
        request = connection.turn.request
        connection.expected = connection.turn.expected
        connection.sent = now
        connection.first = connection.first or now
        try:
            count = connection.socket.send(request)
        except OSError as error:
            count = self._notSent(connection, error)
        if count != len(request):
            self._sendLater(connection, len(request) - count)

    def _ask(self, connection: _Connection) -> None:
        """
        Begin with a turn, on a new connection if each has its own.
        """
        if not self._plan.churn:
            self._start(connection, perf_counter_ns())
            return
        self._drop(connection)
        now = perf_counter_ns()
        self._renew(connection)
        self._start(connection, now)

    def _renew(self, connection: _Connection) -> None:
        self._drop(connection)
        connection.renew(self._openOrFail(connection.name, self._openSoon))
        connection.anew = True
        self._attend(connection)

    def _silence(self, connection: _Connection) -> None:
        """
        Let nothing be in flight: what is received now is wrong.
        """
        connection.sent = 0
        connection.expected = b""

    def _notSent(self, connection: _Connection, error: OSError) -> int:
        # The end of a connection is received, behind what came before it.
        if not isinstance(error, (BlockingIOError, *_ENDS)):
            self._lost(connection, error)
        return 0

    def _sendLater(self, connection: _Connection, unsent: int) -> None:
        connection.unsent = unsent
        self._epoll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def _receive(self, connection: _Connection) -> bool:
        return self._serve(connection, select.EPOLLIN | select.EPOLLOUT)

    def _serve(self, connection: _Connection, events: int) -> bool:
        """
        The general case of what the hot loop does.

        @return: whether an answer is whole.
        """
        if events & select.EPOLLOUT and connection.unsent:
            unsent = memoryview(connection.turn.request)[-connection.unsent :]
            try:
                connection.unsent -= connection.socket.send(unsent)
            except OSError as error:
                self._notSent(connection, error)
            if not connection.unsent:
                self._epoll.modify(connection.socket, select.EPOLLIN)
        if not events & ~select.EPOLLOUT:
            return False
        try:
            data = connection.socket.recv(self._size)
        except OSError as error:
            self._lost(connection, error)
            return False
        return self._received(connection, data)

    def _received(self, connection: _Connection, data: bytes) -> bool:
        if not data:
            return self._closed(connection)
        self._hasSpoken = True
        if not connection.sent:
            raise LoadFailed(
                f"wrong answer on {connection.name}: it came without a request: "
                f"'{shown(data)}'"
            )
        answer = connection.answer
        if answer is None:
            answer = self._plan.exchange.answer(connection.turn)
        try:
            whole = answer.received(data)
        except WrongAnswer as error:
            raise LoadFailed(f"wrong answer on {connection.name}: {error}") from error
        if whole and connection.unsent:
            raise LoadFailed(
                f"wrong answer on {connection.name}: it came before the request"
            )
        connection.answer = None if whole else answer
        connection.came = 0 if whole else connection.came + len(data)
        if not whole:
            # What comes next is not all of it.
            connection.expected = b""
        connection.spent = whole and connection.turn.last
        return whole

    def _closed(self, connection: _Connection) -> bool:
        """
        The server has closed a connection in the orderly way.

        @return: whether that makes an answer whole.
        """
        answer = connection.answer
        try:
            whole = answer is not None and answer.ended()
        except WrongAnswer as error:
            raise LoadFailed(f"wrong answer on {connection.name}: {error}") from error
        if not whole:
            self._ended(connection, f"the server closed {connection.name}")
            return False
        self._leave(connection)
        return True

    def _lost(self, connection: _Connection, error: OSError) -> None:
        """
        @raise LoadFailed: unless there was just nothing to do, or the connection has
            ended where it may.
        """
        if isinstance(error, _ENDS):
            self._ended(connection, self._dropped(connection, error))
        elif not isinstance(error, BlockingIOError):
            raise LoadFailed(
                f"{self._dropped(connection, error)}{self._hint()}"
            ) from error

    def _dropped(self, connection: _Connection, error: OSError) -> str:
        name = errno.errorcode.get(error.errno or 0, error)
        return f"the server dropped {connection.name} ({name})"

    def _ended(self, connection: _Connection, how: str) -> None:
        """
        The server has closed a connection. Between two answers it may: then what was
        asked meanwhile, if anything, is asked on a new one.

        @param how: in words.
        @raise LoadFailed: if there is part of an answer, or was none before.
        """
        if connection.came:
            raise LoadFailed(
                f"{how} in the middle of an answer, after {connection.came:,} bytes of "
                "it"
            )
        if connection.sent and connection.sent == connection.first:
            raise LoadFailed(f"{how} before it answered anything on it{self._hint()}")
        self._leave(connection)
        if connection.sent:
            self._resent += 1
            self._start(connection, connection.sent)

    def _leave(self, connection: _Connection) -> None:
        self._drop(connection)
        connection.answer = None
        connection.came = 0
        connection.unsent = 0
        connection.spent = True

    def _hint(self) -> str:
        """
        What somebody may look at whose own server takes no more connections. One
        that a comparison started, and watches, has all the files it may have; whether
        it is watched, the first process knows.
        """
        if self._source is not None:
            return f"; connections come from {self._source} too: {_PORTS_USED_UP}"
        if self._watch is not None or self._plan.process > 0:
            return ""
        if len(self._connections) * self._plan.processes < _USUAL_LIMIT // 2:
            return ""
        total = sum(each.connections for each in (self._plan, *self._others))
        return (
            f"; all {total:,} connections are open files of the server too: is its "
            "limit (ulimit -n in the shell that starts it; iodemo doctor says more) "
            "high enough?"
        )

    def _serverCpu(self) -> float:
        return 0.0 if self._watch is None else self._watch.cpu()

    def _counters(self) -> Counters | None:
        return None if self._watch is None else self._watch.read()

    def _close(self) -> None:
        for connection in self._connections.values():
            connection.socket.close()
        self._connections.clear()
        self._epoll.close()
        if self._schedule is not None:
            _setTimerSlack(_DEFAULT_SLACK)


def _resetWhenClosed(connected: socket.socket) -> None:
    """
    Leave no port in TIME_WAIT, by a lingering time of zero, whoever closes it: for a
    process that is killed the kernel does.
    """
    if connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _wasSentAgain(connected: socket.socket) -> bool:
    """
    Whether the kernel had to send something again on this connection, on this side.
    """
    # A kernel that does not say so has no such option, or a shorter answer.
    with suppress(OSError, struct.error):
        info = connected.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANS + 4
        )
        return struct.unpack_from("I", info, _TOTAL_RETRANS)[0] > 0
    return False


def _unreached(address: Address, error: OSError) -> str:
    """
    Why there is no connection to an address, in a few words.
    """
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {address}"
    if isinstance(error, FileNotFoundError):
        return f"there is no {address}"
    return f"cannot connect to {address}: {_reason(error)}"


def _reason(error: OSError) -> str:
    """
    What the system says, and where to look if it has run out of something.
    """
    said = error.strerror or str(error)
    if error.errno == errno.EMFILE:
        return "the load has no descriptors left (see iodemo doctor)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{said}: no local port is left, or no route (see iodemo doctor)"
    return said


def _cores(processes: int) -> float:
    """
    As many cores as so many processes may use.
    """
    allowed = quota().cores
    most = min(processes, usable())
    return most if allowed is None else min(most, allowed)


def _setTimerSlack(nanoseconds: int) -> None:
    # Before Linux 4.6, and where there is no /proc, it stays as it is.
    with suppress(OSError):
        _TIMER_SLACK.write_text(str(nanoseconds))


def _accompany(driverType: type[Driver], share: Plan, pipe: Connection) -> None:
    """
    In a process of its own: drive a share of a plan.
    """
    # The first process says what was measured, and ends this one.
    driving = driverType(share)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, driving.end)
    with suppress(EOFError, BrokenPipeError):
        driving.accompany(pipe)


def fastest(tls: bool = False) -> type[Driver]:
    """
    The driver whose hot loop is compiled, where it could be, and need not speak TLS.
    """
    if tls:
        from iodemo.load.tls import TLSDriver

        return TLSDriver
    try:
        from iodemo.load.fast import FastDriver
    except ImportError:
        return Driver
    return FastDriver
