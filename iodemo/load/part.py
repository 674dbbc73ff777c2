# -*- test-case-name: tests.test_load -*-
"""
What each process of a load has measured, and the round that all of it makes.
"""

from __future__ import annotations

from dataclasses import dataclass

from iodemo.load.recording import Recording
from iodemo.load.round import Round
from iodemo.load.watching import Counters


@dataclass
class Part:
    """
    What one process has measured.

    @ivar recording: latencies of the answers in the window.
    @ivar uncorrected: in an open loop, the same counted from when requests were sent.
    @ivar seconds: length of the window.
    @ivar cpu: CPU time in it, in seconds.
    @ivar serverCpu: likewise of the server that is watched.
    @ivar others: requests before and after it.
    @ivar backlog: requests due at its end and not answered.
    """

    recording: Recording
    uncorrected: Recording
    seconds: float
    cpu: float
    serverCpu: float
    others: int
    backlog: int

    def add(self, other: Part) -> None:
        """
        Add what another process measured in the same window.
        """
        self.recording.counters += other.recording.counters
        self.uncorrected.counters += other.uncorrected.counters
        self.cpu += other.cpu
        self.others += other.others
        self.backlog += other.backlog


def roundOf(recording: Recording, seconds: float, loadCpu: float) -> Round:
    requests = recording.count
    return {
        "requests": requests,
        "seconds": seconds,
        "throughput": requests / seconds,
        "latency_us": recording.latency(),
        "server_cpu_us_per_request": None,
        "server_user_s": None,
        "server_system_s": None,
        "server_rss_kib": None,
        "context_switches": None,
        "syscalls_per_request": None,
        "load_cpu_fraction": loadCpu,
    }


def addServer(
    measured: Round, cpu: float, before: Counters, after: Counters, share: float
) -> None:
    """
    Add what the server used.

    @param cpu: seconds, in the window.
    @param before: its counters before the first request.
    @param after: its counters after the last answer.
    @param share: of the requests between these, those of the window.
    """
    cpu = max(cpu, 0.0)
    measured["server_cpu_us_per_request"] = cpu * 1e6 / measured["requests"]
    # The total is exact, its two parts are counted in ticks: the ticks say how to
    # divide it.
    userShare = after.userShareSince(before)
    if userShare is not None:
        measured["server_user_s"] = cpu * userShare
        measured["server_system_s"] = cpu * (1 - userShare)
    measured["context_switches"] = round(after.switchesSince(before) * share)
