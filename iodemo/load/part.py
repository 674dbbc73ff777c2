# -*- test-case-name: tests.test_load -*-
"""
The measurements of one process of a load, and the round that their sum makes.
"""

from __future__ import annotations

from dataclasses import dataclass

from iodemo.load.recording import Recording
from iodemo.results.schema import Round


@dataclass
class Part:
    """
    The measurements of one process.

    @ivar recording: latencies of the answers in the window, and of requests that were
        in flight at its end and answered later.
    @ivar uncorrected: in an open loop, latencies of the same answers, counted from
        sending the request.
    @ivar seconds: length of the window.
    @ivar cpu: CPU time of this process in the window, in seconds.
    @ivar wanted: seconds of the window in which the process ran or waited for a core;
        C{None} where the kernel does not report it.
    @ivar serverCpu: CPU time of the watched server in the window, in seconds.
    @ivar before: requests answered before the window.
    @ivar requests: requests answered in the window.
    @ivar due: in an open loop, requests due in the window.
    @ivar backlog: in an open loop, requests due and not answered at the end of the
        window.
    @ivar backlogBefore: the same at its beginning.
    @ivar unanswered: requests in flight or due at the end, and never answered.
    @ivar unsent: of these, the requests that were never sent.
    @ivar oldest: the time since the oldest of these was sent or due, in nanoseconds.
    @ivar reconnects: connections that the server closed between answers and the load
        made again, since the beginning of the window.
    @ivar resent: requests in flight on such a connection, which were sent again.
    @ivar retransmitted: connections, made for a request, on which the kernel
        retransmitted a segment.
    @ivar elsewhere: connections from another source address than the kernel's choice.
    @ivar idleClosed: idle connections that the server had closed.
    @ivar leftOut: parts of the answers that changed and were not compared, by name.
    """

    recording: Recording
    uncorrected: Recording
    seconds: float
    cpu: float
    wanted: float | None
    serverCpu: float
    before: int
    requests: int
    due: int
    backlog: int
    backlogBefore: int
    unanswered: int
    unsent: int
    oldest: int
    reconnects: int
    resent: int
    retransmitted: int
    elsewhere: int
    idleClosed: int
    leftOut: set[str]

    @property
    def late(self) -> int:
        """Requests in flight at the end of the window, and answered later."""
        return self.recording.count - self.requests

    def add(self, other: Part) -> None:
        """
        Add the measurements of another process, in the same window.
        """
        self.recording.counters += other.recording.counters
        self.uncorrected.counters += other.uncorrected.counters
        self.cpu += other.cpu
        if self.wanted is None or other.wanted is None:
            self.wanted = None
        else:
            self.wanted += other.wanted
        self.before += other.before
        self.requests += other.requests
        self.due += other.due
        self.backlog += other.backlog
        self.backlogBefore += other.backlogBefore
        self.unanswered += other.unanswered
        self.unsent += other.unsent
        self.oldest = max(self.oldest, other.oldest)
        self.reconnects += other.reconnects
        self.resent += other.resent
        self.retransmitted += other.retransmitted
        self.elsewhere += other.elsewhere
        self.idleClosed += other.idleClosed
        self.leftOut |= other.leftOut

    def whyNothing(self) -> str:
        """
        The reason why no request was answered in the window.
        """
        within = f"within {self.seconds:.3g} s"
        if not self.late and not self.unanswered:
            return f"no request was due {within}: measure for longer (--seconds)"
        why = f"no request was answered {within}"
        if self.late:
            slowest = self.recording.percentile(100) / 1e6
            why += (
                f": {self.late:,} were answered later, the slowest after "
                f"{slowest:.3g} s"
            )
        if self.unanswered:
            why += f": {self.unanswered:,} were not, for {self.oldest / 1e9:.3g} s"
        return f"{why}: measure for longer (--seconds)"

    def round(self, processes: int, cores: float) -> Round:
        """
        The round, without the numbers of the server and of special kinds of load.

        @param processes: the number of processes with an active connection.
        @param cores: the number of cores that these may have used.
        """
        measured: Round = {
            "requests": self.requests,
            "seconds": self.seconds,
            "throughput": self.requests / self.seconds,
            "latency_us": self.recording.latency(),
            "server_cpu_us_per_request": None,
            "server_user_s": None,
            "server_system_s": None,
            "server_rss_kib": None,
            "context_switches": None,
            "syscalls_per_request": None,
            "load_cpu_fraction": self.cpu / self.seconds / cores,
            "late": self.late,
            "unanswered": self.unanswered,
            "reconnects": self.reconnects,
            "resent": self.resent,
        }
        if self.wanted is not None:
            busy = self.wanted / self.seconds / processes
            measured["load_busy_fraction"] = min(1.0, busy)
        if self.unanswered:
            measured["unsent"] = self.unsent
            measured["unanswered_oldest_us"] = self.oldest / 1000
        if self.retransmitted:
            measured["retransmitted"] = self.retransmitted
        if self.elsewhere:
            measured["connections_from_elsewhere"] = self.elsewhere
        if self.idleClosed:
            measured["idle_closed"] = self.idleClosed
        if self.leftOut:
            measured["fields_left_out"] = sorted(self.leftOut)
        return measured
