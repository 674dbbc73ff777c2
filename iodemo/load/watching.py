# -*- test-case-name: tests.test_load -*-
"""
The counters of a server, read from outside at the edges of the measured window.

The server is one process, or one with descendants (a process per connection);
either way the counters are of all of them together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil


class NothingToWatch(Exception):
    """There is no such process, or it ended."""


@dataclass(frozen=True)
class Counters:
    """
    What a server has used so far.

    @ivar cpu: seconds of CPU time.
    @ivar user: of these, in user mode, by the kernel's coarser accounting.
    @ivar system: likewise in the kernel.
    @ivar rss: resident memory in KiB.
    @ivar switches: context switches, voluntary and not.
    """

    cpu: float
    user: float
    system: float
    rss: int
    switches: int


class Watch:
    """
    Reads the counters of one process and its descendants.
    """

    def __init__(self, pid: int) -> None:
        """
        @raise NothingToWatch: if there is no such process.
        """
        try:
            self._process = psutil.Process(pid)
        except (psutil.Error, ValueError, OverflowError) as error:
            raise NothingToWatch(f"there is no process {pid}") from error

    def read(self) -> Counters:
        """
        @raise NothingToWatch: if the process has ended.
        """
        cpu = user = system = 0.0
        rss = switches = 0
        try:
            for process in (self._process, *self._process.children(recursive=True)):
                with process.oneshot():
                    times = process.cpu_times()
                    user += times.user
                    system += times.system
                    cpu += _cpuSeconds(process.pid, times.user + times.system)
                    rss += process.memory_info().rss // 1024
                    switches += _contextSwitches(process)
        except (psutil.Error, OSError) as error:
            raise NothingToWatch(f"process {self._process.pid} has ended") from error
        return Counters(cpu, user, system, rss, switches)


def _cpuSeconds(pid: int, coarse: float) -> float:
    """
    The CPU time of a process to the nanosecond. C{/proc} counts in ticks of
    10 ms, which is 2 % of half a second. Every process has a clock of its own,
    whose id Linux derives from the pid (clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return coarse


def _contextSwitches(process: psutil.Process) -> int:
    """
    Context switches of all threads: C{/proc/PID/status}, which psutil reads, has
    those of the first thread alone.
    """
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.is_dir():
        counts = process.num_ctx_switches()
        return int(counts.voluntary + counts.involuntary)
    switches = 0
    for task in tasks.iterdir():
        try:
            status = (task / "status").read_text()
        except OSError:
            continue  # the thread ended meanwhile
        switches += sum(
            int(line.rpartition("\t")[2])
            for line in status.splitlines()
            if "ctxt_switches" in line
        )
    return switches
