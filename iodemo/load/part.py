# -*- test-case-name: tests.test_load -*-
"""
What each process of a load has measured, and the round that all of it makes.
"""

from __future__ import annotations

from dataclasses import dataclass

from iodemo.load.recording import Recording
from iodemo.results.schema import Round


@dataclass
class Part:
    """
    What one process has measured.

    @ivar recording: latencies of the answers in the window, and of the requests under
        way at its end that were answered later.
    @ivar uncorrected: in an open loop, the same counted from when requests were sent.
    @ivar seconds: length of the window.
    @ivar cpu: CPU time in it, in seconds.
    @ivar wanted: seconds of it in which the process ran or waited for a core; L{None}
        where the kernel does not say.
    @ivar serverCpu: likewise of the server that is watched.
    @ivar before: requests answered before it.
    @ivar requests: those answered in it.
    @ivar due: in an open loop, how many were due in it.
    @ivar backlog: likewise, due by its end and not answered by then.
    @ivar backlogBefore: likewise, due before its beginning and not answered by then.
    @ivar unanswered: under way or due at its end, and never answered.
    @ivar unsent: of these, those that were never sent.
    @ivar oldest: how long the oldest of these has waited, in nanoseconds.
    @ivar reconnects: connections that the server closed between answers and were made
        again, from its beginning on.
    @ivar resent: requests that were under way on such a connection, and sent again.
    @ivar retransmitted: connections, made for a request, on which the kernel sent
        something again.
    @ivar elsewhere: connections made from another address than the kernel chooses.
    @ivar idleClosed: idle connections that the server had closed.
    @ivar leftOut: what of the answers changed and was not compared, by name.
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
        """Requests under way at the end of the window, and answered later."""
        return self.recording.count - self.requests

    def add(self, other: Part) -> None:
        """
        Add what another process measured in the same window.
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
        Why there is no number, where nothing was answered in the window.
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
        The round of this, without what is of the server or of one kind of load alone.

        @param processes: how many were busy.
        @param cores: how many of them these may have used.
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
