# -*- test-case-name: tests.test_load -*-
"""
The driver: many connections with at most one request in flight on each, in a closed
loop or an open one.

Facts. On loopback the kernel does the receiver's TCP work inside the sender's C{send},
so the load pays half of the server's cost of a round trip, and the server half of the
load's. A closed loop slows down with its server: it measures capacity, and its
latencies are those of a saturated server. While the server pauses, a closed loop sends
nothing: of all requests that users would have sent meanwhile, it counts only the few
that were in flight ("coordinated omission"). A listening socket queues as many
connections as its backlog (50 for Twisted); the kernel drops the next one without an
error, and tries again after a second. A connection that is closed by FIN keeps its port
in TIME_WAIT for a minute, at the end that closed first. C{connect} tries half of the
local ports (14,116 by default) before the others: if that half is used up, this takes
milliseconds. The timeout of C{epoll_wait} is in milliseconds, and timers are up to 50
microseconds late unless a process sets a smaller timer slack.

Decisions. There is one epoll descriptor, level-triggered. A connection is registered
once for EPOLLIN, and modified only if a C{send} was short. The methods of a socket are
bound once per connection. The loop itself handles an answer that arrives whole and as
expected; for anything rarer it calls a method. Connections are made a few at a time,
and each makes one exchange before it counts: an idle connection is one that the server
has accepted and answered. Connections are closed by reset, so that ten thousand of them
leave no port in TIME_WAIT for the next round. Their source address is the kernel's
choice, since a server may accept that one alone; when it has no free port, other
addresses of the loopback network are used, and the result reports their number. If
there are idle connections, a sample of all connections sends one more request at the
end: a connection that the server has lost without an error gets no answer. At the edges
of the window only clocks are read. The slower counters of the server are read before
the first request and after the last answer: in a pause of the load at the edge, the
server would answer the requests in flight, with CPU time that the window does not have.

One process can use one core at most, and as many connections as it may open files.
Where that is not enough, it forks workers, each with a share of connections and rate.
All processes start to send when all are connected, and their recordings are added:
percentiles are over all answers.

With churn, as many connections as are active exist at a time; each is made, used for
one request and closed. Latency counts from before C{connect}, which does not block.
They are closed by reset as well, so any number of them per second uses up no port. This
saves the server nothing but the acknowledgement of a FIN; it learns of the end from the
same C{recv}.

In an open loop a request goes out on the connection that has been free the longest, or
on the first that becomes free. Its latency counts from when it was due: it includes the
time of waiting for a connection, and any delay of the load itself. A second recording
counts from when the request was sent, to show the difference.

Requests are in flight when the window ends. Throughput is the number of answers between
its two ends. Latencies are of these answers and of the requests in flight at the end,
for which the load waits: they are the likeliest to be slow, and without them the
slowest would never be counted. In an open loop, requests that were due and wait for a
connection are also sent, for as long again as the window lasted. A request without an
answer after that has no latency; the result has the number of these requests and the
age of the oldest.

Many servers close a connection after a number of answers, some after one, or when it
was idle for long. A connection that is closed between two answers is made again when
its next request is due. A request that was sent meanwhile is sent again, and its
latency still counts from when it was due, or first sent. Each new connection must get
an answer, so a server that answers nothing does not get requests for ever.

Costs. This loop is Python. C{iodemo.load.fast} has the same loop compiled, which is
used where it is built; this one is for all other machines, and the reference for tests
of the compiled one. The CPU time of the load is part of the result, which also reports
whether the load was the limit.
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
from iodemo.load.profile import LoadFailed, Profile, TooLate
from iodemo.load.recording import Recording
from iodemo.load.watching import (
    Counters,
    NothingToWatch,
    Watch,
    addServer,
    kernelMemory,
)
from iodemo.load.workers import Worker
from iodemo.process.cores import quota, runDelay, usable
from iodemo.results.schema import Round

_SECOND = 10**9
# The errors of send and recv on a connection that the server has closed.
_ENDS = (ConnectionResetError, BrokenPipeError)
# How long system calls are counted, in nanoseconds.
_COUNTED = _SECOND // 10
# The shortest time between two checks for overdue answers, in nanoseconds.
_CHECKED = _SECOND // 10
# Latencies are recorded in batches: to record a single one would cost as much as a
# system call. A batch of this size takes 10 ms.
_MOST_KEPT = 1 << 19
# The usual limit of open files in a login shell.
_USUAL_LIMIT = 1024
# The reason for connecting from several addresses.
_PORTS_USED_UP = "the local ports of the first address are used up (see iodemo doctor)"
# linux/in.h: with it bind chooses an address only, and connect the port.
_BIND_ADDRESS_NO_PORT = 24
# The offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h).
_TOTAL_RETRANS = 100
# The kernel retransmits nothing before 200 ms (TCP_RTO_MIN); half of it, to be safe.
_SENT_AGAIN = _SECOND // 10
# proc(5): the timer slack in nanoseconds, where 0 means the default.
_TIMER_SLACK = Path("/proc/self/timerslack_ns")
_DEFAULT_SLACK = 0


class _Connection:
    """
    One connection, and its state in the exchange.

    @ivar turn: the present turn: the request in flight and the answer expected.
    @ivar following: the next turn.
    @ivar expected: the whole answer expected, if it is known; otherwise empty.
    @ivar unsent: bytes of the request that the kernel has not taken yet.
    @ivar answer: the answer being received, unless its first C{recv} was all of it.
    @ivar came: bytes of the answer received so far.
    @ivar sent: when the request was sent, in nanoseconds; 0 if none is in flight.
    @ivar due: when it was due, in an open loop, in nanoseconds.
    @ivar first: when the first request on this socket was sent; 0 before.
    @ivar spent: whether the next request needs a new socket.
    @ivar anew: whether the socket was made for a request, to replace an earlier one.
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
        Replace the socket, and keep the turns.
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
    Makes the load of one profile, or raises the reason why it cannot.
    """

    #: The class of connections; a subclass may need another one.
    _connectionOf: Callable[[str, socket.socket, Exchange], _Connection] = _Connection

    #: The number of connections made at a time: fewer than any reasonable backlog.
    RAMP = 32

    #: Connections from each source address but the first: for so many, connect finds a
    #: port quickly.
    PER_ADDRESS = 10_000

    #: The number of source addresses besides the first.
    SOURCES = 250

    #: How many connections send one more request at the end, if some are idle.
    SAMPLE = 1000

    #: The fewest connections from whose memory that of a single one can be computed;
    #: with fewer, other changes of memory are too large beside it.
    MANY = 1000

    #: Bytes sent on a stalled connection, at most: more than the buffers of the kernel
    #: hold, so a server that takes them all reads without bound.
    STALLED = 32 << 20

    #: Milliseconds without any writable socket after which stalling is complete.
    QUIET = 100

    #: Seconds to wait for the greeting of a server that sends one.
    GREETING = 0.5

    #: Seconds to wait, after verification, for surplus bytes.
    LATE = 0.02

    #: The number of connections in verification: several, to notice bytes that belong
    #: to another connection.
    VERIFYING = 4

    def __init__(
        self,
        profile: Profile,
        watch: Watch | None = None,
        phaseBegan: Callable[[str], None] = lambda phase: None,
        others: Sequence[Profile] = (),
    ) -> None:
        """
        @param watch: the counters of the server, if the result is to have them.
        @param phaseBegan: called at the beginning of each phase, with its name.
        @param others: the shares of the workers, if C{profile} is a share.
        """
        self._profile = profile
        self._watch = watch
        self._phaseBegan = phaseBegan
        self._others = others
        self._workers: list[Worker] = []
        self._connections: dict[int, _Connection] = {}
        # The connections of the profile, in the order in which they were made: without
        # those of verification.
        self._made: list[_Connection] = []
        # Connections made again after the server had closed them between answers.
        self._reconnects = 0
        # Requests in flight on such a connection, and sent again.
        self._resent = 0
        # Connections, made for a request, on which the kernel retransmitted.
        self._retransmitted = 0
        self._epoll = select.epoll()
        self._size = 1 << 18
        self._patience = profile.patience
        # Whether the load has received any bytes.
        self._hasReceived = False
        # When to check next for overdue answers.
        self._deadline = 0
        # The memory of server and kernel, before there are connections.
        self._before: tuple[int | None, int | None] = (None, None)
        # In an open loop: the schedule, and connections without a request, in the order
        # in which they became free.
        self._schedule: Schedule | None = None
        self._free: deque[_Connection] = deque()
        # The source address of new connections, unless the kernel chooses it; the
        # number of such addresses so far, and the number of connections from them.
        self._source: str | None = None
        self._sources = 0
        self._elsewhere = 0
        # Whether the window has begun, and whether SIGINT ends it early.
        self._measuring = False
        self._interrupted = False
        # Whether the window is over, and whether further numbers are being added.
        self._measured = False
        self._isAdding = False

    def run(self) -> Round:
        """
        Make the load, and measure.

        @raise LoadFailed: if the server does not listen, closes connections where it
            may not, stops answering or answers wrongly.
        """
        # The driver makes no reference cycles, so collections would find nothing.
        gc.disable()
        try:
            self._phaseBegan("waiting for the server")
            self._awaitServer()
            self._phaseBegan("verifying")
            # A socket that a server inherits listens before the server does.
            self._patience = max(self._profile.patience, self._profile.wait)
            try:
                self._verify()
            except LoadFailed as error:
                greeting = self._greeting()
                if not greeting:
                    raise
                raise LoadFailed(
                    f"the server speaks first: it sent '{shown(greeting)}' before any "
                    f"request. {self._notForGreetings(error)}: is "
                    f"{self._profile.address} the right server?"
                ) from error
            self._patience = self._profile.patience
            self._deadline = 0
            self._before = self._memory()
            total = sum(each.connections for each in (self._profile, *self._others))
            self._phaseBegan(f"connecting {total:,}")
            for share in self._others:
                self._workers.append(
                    Worker(
                        f"process {share.process + 1}",
                        partial(_work, type(self), share),
                    )
                )
            busy = self._connect()
            for worker in self._workers:
                worker.receive()
            self._phaseBegan(f"measuring for {self._profile.seconds:g} s")
            measured = self._measure(busy)
            self._measured = True
            try:
                if not self._interrupted:
                    self._isAdding = True
                    self._addAfterwards(busy, measured)
                    self._isAdding = False
            except KeyboardInterrupt:
                self.end()
            if self._interrupted:
                measured["interrupted"] = True
            return measured
        except NothingToWatch as error:
            raise LoadFailed(f"the server ended: {error}") from error
        finally:
            gc.enable()
            for worker in self._workers:
                worker.end()
            self._close()

    def _addAfterwards(self, busy: list[_Connection], measured: Round) -> None:
        """
        Add the numbers that are measured after the window.
        """
        if self._watch is not None and self._watch.calls:
            self._phaseBegan("counting system calls")
            self._count(busy, self._watch, measured)
        self._sample(measured)

    def interrupt(self, *ignored: object) -> None:
        """
        A handler of SIGINT: end the window, so that L{run} returns the numbers measured
        so far. After the window, the first SIGINT only prevents further numbers from
        being added: those of the window are kept while the load closes its connections.

        @raise KeyboardInterrupt: if the window has not begun, or at the second SIGINT.
        """
        if not self._measuring:
            raise KeyboardInterrupt("nothing was measured yet.")
        if self._interrupted:
            raise KeyboardInterrupt
        self.end()
        if self._isAdding:
            raise KeyboardInterrupt
        if not self._measured:
            for worker in self._workers:
                worker.interrupt()

    def end(self, *ignored: object) -> None:
        """
        End the window before its time, or as soon as it begins.
        """
        self._interrupted = True

    def runShare(self, pipe: Connection) -> None:
        """
        Make the load of a share, in a worker.

        @param pipe: to the first process. The worker sends a message when it is
            connected, its L{Part}, and the size of its sample; or a L{LoadFailed}. The
            first process sends a message before the measurement and before the sample.
        """
        try:
            busy = self._connect()
            pipe.send(None)
            pipe.recv()
            pipe.send(self._measurePart(busy))
            # The first process reads the memory of the server while all connections
            # are open.
            pipe.recv()
            pipe.send(self._sampleShare())
        except LoadFailed as error:
            pipe.send(error)
        finally:
            self._close()

    # Phases.

    def _awaitServer(self) -> None:
        """
        Wait for a server at one of the addresses. The load uses the first address that
        accepts a connection.
        """
        deadline = time.monotonic() + self._profile.wait
        addresses = list(self._profile.address.each())
        while True:
            reasons = []
            absent = False
            for address in addresses:
                self._profile = replace(self._profile, address=address)
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
            # There is no event for another process that begins to listen.
            time.sleep(0.005)

    def _verify(self) -> None:
        turns = self._profile.exchange.verification()

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
        # A surplus answer may come a little later than the right one.
        for descriptor, _ in self._epoll.poll(self.LATE, 1024):
            self._receive(self._connections[descriptor])
        for connection in made:
            self._drop(connection)

    def _notForGreetings(self, error: LoadFailed) -> str:
        """
        The reason why a server that speaks first could not be verified.
        """
        return "The load has no kind for a protocol in which the server begins"

    def _greeting(self) -> bytes:
        """
        The bytes that the server sends on a new connection without a request; empty if
        there are none. They are not waited for if the load has received no bytes at
        all, or if the server is right to begin.
        """
        silent, _ = self._profile.exchange.turns()
        if not (self._hasReceived and silent.request):
            return b""
        listening = select.poll()
        with suppress(OSError), closing(self._open()) as opened:
            connection = self._connectionOf("", opened, self._profile.exchange)
            listening.register(opened, select.POLLIN)
            end = time.monotonic() + self.GREETING
            while (left := end - time.monotonic()) > 0:
                # With TLS, the bytes received may belong to the handshake.
                with suppress(BlockingIOError):
                    return connection.socket.recv(self._size)
                listening.poll(left * 1000)
        return b""

    def _connect(self) -> list[_Connection]:
        profile = self._profile
        total = profile.connections
        where = ""
        if profile.processes > 1:
            where = f" in process {profile.process + 1} of {profile.processes}"
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

        ramp = max(1, self.RAMP // profile.processes)
        pending = sum(1 for _ in range(ramp) if another())

        def answered(connection: _Connection) -> bool:
            # The server answers this connection; now make the next one.
            self._silence(connection)
            if another():
                self._pending += 1
            return False

        self._exchange(answered, pending)
        self._stall(made[profile.active + profile.idle :])
        return made[: profile.active]

    def _stall(self, connections: list[_Connection]) -> None:
        """
        Send requests on these connections without reading the answers, until the kernel
        takes no more, or has taken L{STALLED} bytes on each.
        """
        polled = select.poll()
        unsent: dict[int, tuple[_Connection, memoryview]] = {}
        for connection in connections:
            if connection.spent:
                raise LoadFailed(f"the server closed {connection.name}{self._hint()}")
            # Its answers are not read from now on.
            self._epoll.modify(connection.socket, 0)
            request = connection.turn.request
            requests = memoryview(request * (self.STALLED // len(request) + 1))
            unsent[connection.socket.fileno()] = connection, requests
            polled.register(connection.socket, select.POLLOUT)
        while ready := polled.poll(self.QUIET) if unsent else []:
            for descriptor, _ in ready:
                connection, requests = unsent[descriptor]
                try:
                    count = connection.socket.send(requests[: self._size])
                except BlockingIOError:
                    count = 0
                except OSError as error:
                    raise LoadFailed(self._dropped(connection, error)) from error
                unsent[descriptor] = connection, requests[count:]
                if count == len(requests):
                    polled.unregister(descriptor)
                    del unsent[descriptor]

    def _exchange(self, answered: Callable[[_Connection], bool], pending: int) -> None:
        """
        Receive on every connection until C{pending} of them are done.

        @param answered: called with the connection at each answer. It returns whether
            the connection sends the request of its present turn; otherwise it is done.
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
        profile = self._profile
        before = self._counters()
        for worker in self._workers:
            worker.resume()
        part = self._measurePart(busy)
        for worker in self._workers:
            part.add(worker.receive())
        if not part.requests:
            raise LoadFailed(part.whyNothing())
        busyProcesses = sum(1 for each in (profile, *self._others) if each.active)
        measured = part.round(busyProcesses, _cores(busyProcesses))
        if profile.rate is not None:
            measured["latency_uncorrected_us"] = part.uncorrected.latency()
            measured["due"] = part.due
            measured["backlog"] = part.backlog
            measured["backlog_before"] = part.backlogBefore
            measured["rate"] = sum(each.rate or 0 for each in (profile, *self._others))
        after = self._counters()
        if self._watch is not None and before is not None and after is not None:
            share = part.requests / (part.requests + part.late + part.before)
            addServer(measured, part.serverCpu, before, after, share)
            measured["server_rss_kib"] = self._watch.memory()
            self._addHeld(measured)
        return measured

    def _memory(self) -> tuple[int | None, int | None]:
        """
        The memory of the watched server and of the kernel, in KiB.
        """
        if self._watch is None:
            return None, None
        return self._watch.memory(proportional=True), kernelMemory()

    def _addHeld(self, measured: Round) -> None:
        """
        Add the memory per connection, if there are enough connections.
        """
        held = sum(each.connections for each in (self._profile, *self._others))
        if held < self.MANY or "idle_closed" in measured:
            return
        (server, kernel), (serverBefore, kernelBefore) = self._memory(), self._before
        # If memory shrank, the reason is not the connections.
        if server is not None and serverBefore is not None:
            grown = max(0, server - serverBefore)
            measured["server_bytes_per_connection"] = grown * 1024 / held
        if kernel is not None and kernelBefore is not None:
            grown = max(0, kernel - kernelBefore)
            measured["kernel_bytes_per_connection"] = grown * 1024 / held

    def _sample(self, measured: Round) -> None:
        """
        If there are idle connections, send one more request on a sample of all: one
        that the server has lost without an error gets no answer.

        @raise LoadFailed: if an answer is missing or wrong.
        """
        for worker in self._workers:
            worker.resume()
        sampled = self._sampleShare()
        for worker in self._workers:
            sampled += worker.receive()
        if sampled:
            measured["sampled"] = sampled

    def _sampleShare(self) -> int:
        """
        Send one more request on a sample of the connections of this process.

        @return: the size of the sample.
        """
        if not self._profile.idle:
            return 0
        # The stalled connections were made last.
        reading = self._made[: self._profile.active + self._profile.idle]
        # A connection without an answer from the window is counted already.
        silent = [connection for connection in reading if not connection.sent]
        most = -(-self.SAMPLE // self._profile.processes)
        chosen = random.sample(silent, min(most, len(silent)))
        for connection in chosen:
            self._start(connection, perf_counter_ns())
        self._drain(chosen, Recording(), Recording())
        self._mustBeSilent(chosen)
        return len(chosen)

    def _measurePart(self, busy: list[_Connection]) -> Part:
        self._begin(busy)
        warming = Recording()
        self._drive(int(self._profile.warmup * _SECOND), warming, Recording())
        recording, uncorrected = Recording(), Recording()
        reconnects, resent = self._reconnects, self._resent
        retransmitted = self._retransmitted
        serverCpu = self._serverCpu()
        delay = runDelay()
        cpu = time.process_time()
        began = perf_counter_ns()
        # Without a warm-up the window begins with the first request, which is due now.
        backlogBefore = self._backlog(began) if self._profile.warmup else 0
        self._measuring = True
        self._drive(int(self._profile.seconds * _SECOND), recording, uncorrected)
        ended = perf_counter_ns()
        cpu = time.process_time() - cpu
        delayed = runDelay()
        serverCpu = self._serverCpu() - serverCpu
        requests = recording.count
        backlog = self._backlog(ended)
        # From now on overdue answers do not fail the load: they are counted.
        self._deadline = NEVER
        if self._schedule is not None:
            # Requests that are due already are still sent.
            self._schedule.end(ended)
            most = min(self._profile.seconds, self._profile.patience)
            self._drive(int(most * _SECOND), recording, uncorrected)
        self._drain(busy, recording, uncorrected)
        self._deadline = 0
        # _drop has counted the connections that are closed.
        self._retransmitted += sum(map(self._isRetransmitted, busy))
        unanswered = [connection for connection in busy if connection.sent]
        unsent = 0 if self._schedule is None else self._schedule.overdue(ended)
        since = [self._since(connection) for connection in unanswered]
        if self._schedule is not None and unsent:
            since.append(self._schedule.due)
        idle = self._made[self._profile.active :][: self._profile.idle]
        return Part(
            recording,
            uncorrected,
            seconds=(ended - began) / _SECOND,
            cpu=cpu,
            wanted=delayed.since(delay) if delay and delayed else None,
            serverCpu=serverCpu,
            before=warming.count,
            requests=requests,
            due=requests + backlog - backlogBefore,
            backlog=backlog,
            backlogBefore=backlogBefore,
            unanswered=len(unanswered) + unsent,
            unsent=unsent,
            oldest=max((perf_counter_ns() - each for each in since), default=0),
            reconnects=self._reconnects - reconnects,
            resent=self._resent - resent,
            retransmitted=self._retransmitted - retransmitted,
            elsewhere=self._elsewhere,
            idleClosed=sum(connection.spent for connection in idle),
            leftOut=set(self._profile.exchange.leftOut),
        )

    def _backlog(self, now: int) -> int:
        """
        The number of requests due by now and not answered, in an open loop.
        """
        if self._schedule is None:
            return 0
        return self._schedule.overdue(now) + self._profile.active - len(self._free)

    def _since(self, connection: _Connection) -> int:
        """
        The time from which the latency of the request in flight counts.
        """
        return connection.sent if self._schedule is None else connection.due

    def _begin(self, busy: list[_Connection]) -> None:
        """
        In a closed loop, send a request on each of these connections, which are silent;
        in an open loop, start the schedule.
        """
        profile = self._profile
        self._free.clear()
        self._schedule = None
        if profile.rate is None:
            for connection in busy:
                self._request(connection)
        elif busy:
            # The default slack, 50 microseconds, would be part of every latency.
            _setTimerSlack(1)
            self._free.extend(busy)
            # The due times of the processes alternate.
            gap = _SECOND / (profile.rate * profile.processes)
            begin = perf_counter_ns() + int(profile.process * gap)
            self._schedule = Schedule(profile.rate, profile.arrivals, begin)

    def _count(self, busy: list[_Connection], watch: Watch, measured: Round) -> None:
        """
        Repeat the load for a short time, and add the system calls that the server makes
        in it. A failure here does not invalidate the numbers of the window.
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
            measured["syscalls_reason"] = "no request was due while they were counted"
            return
        measured["syscalls_per_request"] = sum(calls.values()) / requests
        measured["syscalls_by_name"] = {
            name: count / requests for name, count in calls.items()
        }

    def _drain(
        self,
        chosen: Sequence[_Connection],
        recording: Recording,
        uncorrected: Recording,
    ) -> None:
        """
        Wait for the answers to requests in flight, for the length of the patience.
        Connections that have received theirs are silent afterwards.

        @param recording: see L{_drive}.
        @param uncorrected: see L{_drive}.
        """
        latencies: list[int] = []
        fromSent: list[int] = []
        waiting = {connection for connection in chosen if connection.sent}
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
        The time to wait for answers at the end, in nanoseconds. After SIGINT it is a
        second at most, since the user waits for the result.
        """
        patience = self._profile.patience
        return int((min(patience, 1.0) if self._interrupted else patience) * _SECOND)

    def _mustBeSilent(self, connections: Sequence[_Connection]) -> None:
        """
        See that no request is in flight on these connections.

        @raise LoadFailed: if one is.
        """
        for connection in connections:
            if connection.sent:
                raise LoadFailed(
                    f"no answer for {self._profile.patience:g} s on {connection.name}"
                )

    def _drive(self, length: int, recording: Recording, uncorrected: Recording) -> None:
        """
        The hot loop: receive answers and send the next requests, for C{length}
        nanoseconds.

        @param recording: gets the latency of each answer.
        @param uncorrected: in an open loop, gets the latency of each answer counted
            from when its request was sent.
        """
        if self._schedule is not None:
            self._driveOpen(self._schedule, length, recording, uncorrected)
            return
        if self._profile.churn:
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
                    self._request(connection)
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
                self._request(connection)
                schedule.advance()
            wait = min(end - now, _SECOND)
            if free:
                wait = min(wait, max(schedule.due - now, 0))
            # The timeout of select is in microseconds, that of epoll_wait in
            # milliseconds.
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
            if schedule.due == NEVER and len(free) == self._profile.active:
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
        # This connect blocks: on loopback it returns at once, unless the backlog is
        # full, and then the load has to wait anyway.
        opened = self._connecting(self._profile.patience)
        try:
            if opened.getsockname() == opened.getpeername() != "":
                # The kernel chose the target port as the local port: TCP connects a
                # socket to itself if no other socket listens.
                raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
            opened.setblocking(False)
        except BaseException:
            opened.close()
            raise
        return opened

    def _openSoon(self) -> socket.socket:
        """
        Begin to connect; C{send} raises EAGAIN until the connection is established.
        """
        if self._profile.address.family == socket.AF_UNIX:
            # On a UNIX socket, a connect either succeeds at once or fails.
            return self._open()
        opened = self._connecting(0)
        _resetWhenClosed(opened)
        return opened

    def _connecting(self, timeout: float) -> socket.socket:
        """
        A socket that is connected, or, if the timeout is 0, that begins to connect.

        If the source address has no free port, this socket and all later ones use
        another address of the loopback network.

        @param timeout: seconds.
        """
        address = self._profile.address
        while True:
            made = socket.socket(address.family, socket.SOCK_STREAM)
            try:
                if address.family != socket.AF_UNIX:
                    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._source is not None:
                    made.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                    made.bind((self._source, 0))
                if address.family == socket.AF_UNIX:
                    # If the backlog is full, a non-blocking connect would fail. This
                    # one blocks, for SO_SNDTIMEO at most.
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
        Use the next address of the loopback network as source address.

        @return: whether there is a next one.
        """
        if not self._profile.address.isLoopback or self._sources == self.SOURCES:
            return False
        self._sources += 1
        self._source = f"127.0.{self._profile.process}.{1 + self._sources}"
        return True

    def _openOrFail(
        self, name: str, open: Callable[[], socket.socket] | None = None
    ) -> socket.socket:
        try:
            return (open or self._open)()
        except OSError as error:
            raise LoadFailed(f"{name}: {_reason(error)}") from error

    def _add(self, name: str, connected: socket.socket) -> _Connection:
        connection = self._connectionOf(name, connected, self._profile.exchange)
        self._register(connection)
        return connection

    def _register(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        self._connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN)

    def _drop(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        if descriptor < 0:
            # It was closed when the server closed it.
            return
        self._retransmitted += self._isRetransmitted(connection)
        self._epoll.unregister(descriptor)
        del self._connections[descriptor]
        connection.socket.close()

    def _isRetransmitted(self, connection: _Connection) -> bool:
        """
        Whether the latency of a request on a new connection includes the time until a
        retransmission by the kernel.
        """
        if not connection.anew or self._profile.address.family == socket.AF_UNIX:
            return False
        taken = perf_counter_ns() - connection.first
        return taken >= _SENT_AGAIN and _wasSentAgain(connection.socket)

    def _ready(self) -> Iterator[_Connection]:
        """
        Wait until some connections have events.

        @return: these connections.
        @raise TooLate: if an answer is overdue.
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
        See that no connection has waited longer than C{patience} for its answer, and
        set the time of the next check: no answer can be overdue before.

        @raise TooLate: if one has.
        """
        longest = int(self._patience * _SECOND)
        waiting = [each for each in self._connections.values() if each.sent]
        first = min(waiting, key=lambda each: each.sent, default=None)
        sent = now if first is None else first.sent
        if first is not None and now - sent >= longest:
            raise TooLate(self._overdue(first))
        # If all answers take nearly as long as the patience, the earliest time would
        # make the loop check all the time.
        self._deadline = max(sent + longest, now + _CHECKED)

    def _overdue(self, connection: _Connection) -> str:
        """
        The message about an overdue answer on this connection.
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
        new socket, if this one is spent.
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

    def _request(self, connection: _Connection) -> None:
        """
        Send the request of the connection's turn; with churn, on a new socket.
        """
        if not self._profile.churn:
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
        self._register(connection)

    def _silence(self, connection: _Connection) -> None:
        """
        Mark that no request is in flight: any bytes received now are wrong.
        """
        connection.sent = 0
        connection.expected = b""

    def _notSent(self, connection: _Connection, error: OSError) -> int:
        # recv reports the end of a connection, after the bytes that came before it.
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
        Send the rest of a request and receive, as the events require: the general case
        of a step of the hot loop.

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
        self._hasReceived = True
        if not connection.sent:
            raise LoadFailed(
                f"wrong answer on {connection.name}: it came without a request: "
                f"'{shown(data)}'"
            )
        answer = connection.answer
        if answer is None:
            answer = self._profile.exchange.answer(connection.turn)
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
            # The next bytes are not the whole answer: the hot loop must not compare
            # them with it.
            connection.expected = b""
        connection.spent = whole and connection.turn.last
        return whole

    def _closed(self, connection: _Connection) -> bool:
        """
        The server has closed a connection by FIN.

        @return: whether this makes an answer whole.
        """
        answer = connection.answer
        try:
            whole = answer is not None and answer.ended()
        except WrongAnswer as error:
            raise LoadFailed(f"wrong answer on {connection.name}: {error}") from error
        if not whole:
            self._ended(connection, f"the server closed {connection.name}")
            return False
        self._markSpent(connection)
        return True

    def _lost(self, connection: _Connection, error: OSError) -> None:
        """
        A C{send} or C{recv} has failed.

        @raise LoadFailed: unless it would have blocked, or the server has closed the
            connection where it may.
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
        The server has closed a connection. Between two answers it may do so; a request
        in flight is then sent again on a new connection.

        @param how: a description for the message.
        @raise LoadFailed: if part of an answer was received, or no answer at all on
            this connection.
        """
        if connection.came:
            raise LoadFailed(
                f"{how} in the middle of an answer, after {connection.came:,} bytes of "
                "it"
            )
        if connection.sent and connection.sent == connection.first:
            raise LoadFailed(f"{how} before it answered anything on it{self._hint()}")
        self._markSpent(connection)
        if connection.sent:
            self._resent += 1
            self._start(connection, connection.sent)

    def _markSpent(self, connection: _Connection) -> None:
        self._drop(connection)
        connection.answer = None
        connection.came = 0
        connection.unsent = 0
        connection.spent = True

    def _hint(self) -> str:
        """
        A hint for the message, if the server may have reached its limit of open files.
        A watched server was started by a comparison, which raises its limit. Only the
        first process knows whether the server is watched, so workers give no hint.
        """
        if self._source is not None:
            return f"; connections come from {self._source} too: {_PORTS_USED_UP}"
        if self._watch is not None or self._profile.process > 0:
            return ""
        if len(self._connections) * self._profile.processes < _USUAL_LIMIT // 2:
            return ""
        total = sum(each.connections for each in (self._profile, *self._others))
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
    Set a linger time of zero, so that closing leaves no port in TIME_WAIT. This holds
    also if the kernel closes the socket of a killed process.
    """
    if connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _wasSentAgain(connected: socket.socket) -> bool:
    """
    Whether the kernel has retransmitted a segment of this side of the connection.
    """
    # An older kernel has no such option, or a shorter structure.
    with suppress(OSError, struct.error):
        info = connected.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _TOTAL_RETRANS + 4
        )
        return struct.unpack_from("I", info, _TOTAL_RETRANS)[0] > 0
    return False


def _unreached(address: Address, error: OSError) -> str:
    """
    The reason why there is no connection to an address.
    """
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {address}"
    if isinstance(error, FileNotFoundError):
        return f"there is no {address}"
    return f"cannot connect to {address}: {_reason(error)}"


def _reason(error: OSError) -> str:
    """
    The text of a system error, with a hint if a resource is used up.
    """
    text = error.strerror or str(error)
    if error.errno == errno.EMFILE:
        return "the load has no descriptors left (see iodemo doctor)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{text}: no local port is left, or no route (see iodemo doctor)"
    return text


def _cores(processes: int) -> float:
    """
    The number of cores that so many processes may use.
    """
    allowed = quota().cores
    most = min(processes, usable())
    return most if allowed is None else min(most, allowed)


def _setTimerSlack(nanoseconds: int) -> None:
    # Before Linux 4.6, and where there is no /proc, it stays as it is.
    with suppress(OSError):
        _TIMER_SLACK.write_text(str(nanoseconds))


def _work(driverType: type[Driver], share: Profile, pipe: Connection) -> None:
    """
    The function of a worker: make the load of its share.
    """
    # At SIGINT the worker ends its window; the first process reports the numbers.
    driving = driverType(share)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, driving.end)
    with suppress(EOFError, BrokenPipeError):
        driving.runShare(pipe)


def fastest(tls: bool = False) -> type[Driver]:
    """
    The driver with TLS, if that is required; otherwise the compiled one, or, where it
    is not built, the one in Python.
    """
    if tls:
        from iodemo.load.tls import TLSDriver

        return TLSDriver
    try:
        from iodemo.load.fast import FastDriver
    except ImportError:
        return Driver
    return FastDriver
