# -*- test-case-name: tests.test_load -*-
"""
The counters of a server, read from outside.

The server is one process, or one with descendants (a process per connection);
either way the counters are of all of them together.

Facts. Every process has a clock of its CPU time, to the nanosecond, and reading it
costs a system call. What else there is to know stands in C{/proc}, in a file for
each process or thread: to read a thousand takes as long as to serve hundreds of
requests. CPU time is counted there in full ticks of 10 ms. When a process has ended and
its parent has waited for it, the parent's C{cutime} and C{cstime} have its CPU
time; nothing has its context switches. Pages that processes share, as after
C{fork}, are in the RSS of each; PSS divides them among those that share.

Decision. L{Watch.cpu} alone is for the edges of the measured window; the others are
for when nobody waits for an answer. Memory is PSS where there are several
processes, and that of some children stands for all.

Costs. A process that was started since the last L{Watch.read} counts when it has
ended. The context switches of one that has ended meanwhile are lost.
"""

from __future__ import annotations

import os
import random
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from iodemo.results.schema import Round

#: Seconds that the kernel counts CPU time in.
_TICK = 1 / os.sysconf("SC_CLK_TCK")

# What grows with connections, of proc_meminfo(5).
_KERNEL = re.compile(r"^(?:Slab|KernelStack|PageTables): +(\d+) kB$", re.MULTILINE)
_SWITCHES = re.compile(r"^(\w+)_ctxt_switches:\t(\d+)$", re.MULTILINE)
_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)


class NothingToWatch(Exception):
    """There is no such process, or it ended."""


@dataclass(frozen=True)
class Counters:
    """
    What a server has used so far.

    @ivar cpu: seconds of CPU time, as of L{Watch.cpu}.
    @ivar user: of these, in user mode, in ticks of each process.
    @ivar system: likewise in the kernel.
    @ivar processes: how many there are.
    @ivar switches: context switches, voluntary and not, of each thread by its id.
    @ivar involuntary: of these, the switches that the scheduler forced
        (proc_pid_status(5)).
    """

    cpu: float
    user: float
    system: float
    processes: int
    switches: dict[int, int]
    involuntary: dict[int, int] = field(default_factory=dict)

    def userShareSince(self, before: Counters) -> float | None:
        """
        The share of CPU time since C{before} that was in user mode; L{None} if most of
        it may be in ticks that were not full, two for each process.
        """
        user = self.user - before.user
        system = self.system - before.system
        unseen = 2 * _TICK * self.processes
        if user + system <= 0 or self.cpu - before.cpu < unseen:
            return None
        return min(max(user / (user + system), 0.0), 1.0)

    def switchesSince(self, before: Counters) -> int:
        """
        Context switches, since C{before}, of the threads that there still are.
        """
        return _since(before.switches, self.switches)

    def involuntarySince(self, before: Counters) -> int:
        """
        Likewise those that the scheduler forced.
        """
        return _since(before.involuntary, self.involuntary)


def _since(before: dict[int, int], after: dict[int, int]) -> int:
    """
    How much more the threads have counted that there still are.
    """
    return sum(
        # A number that went down is another thread's.
        max(0, count - before.get(thread, 0))
        for thread, count in after.items()
    )


class Watch:
    """
    Reads the counters of one process and its descendants.

    @ivar calls: whether its system calls are to be counted, too.
    @cvar SAMPLE: how many descendants' memory is read, to stand for that of all.
    """

    SAMPLE = 100

    def __init__(self, pid: int, calls: bool = False) -> None:
        """
        @raise NothingToWatch: if there is no such process.
        """
        try:
            self._process = psutil.Process(pid)
        except (psutil.Error, ValueError, OverflowError) as error:
            raise NothingToWatch(f"there is no process {pid}") from error
        self._descendants: list[psutil.Process] = []
        self.calls = calls

    def pids(self) -> list[int]:
        """
        @return: the process and its descendants.
        @raise NothingToWatch: if the process has ended.
        """
        self._find()
        return [each.pid for each in (self._process, *self._descendants)]

    def cpu(self) -> float:
        """
        @return: seconds of CPU time of the processes that L{read} found, and of those
            that have ended.
        @raise NothingToWatch: if the process has ended.
        """
        used = 0.0
        for process in self._descendants:
            with suppress(psutil.NoSuchProcess):  # its parent has what it used
                used += _cpuSeconds(process)
        try:
            times = self._process.cpu_times()
            used += _cpuSeconds(self._process)
        except psutil.Error as error:
            raise self._ended() from error
        return float(used + times.children_user + times.children_system)

    def read(self) -> Counters:
        """
        Find the descendants, and read what takes its time.

        @raise NothingToWatch: if the process has ended.
        """
        user = system = 0.0
        switches: dict[int, int] = {}
        involuntary: dict[int, int] = {}
        self._find()
        # The process itself last: it has what those used that end meanwhile.
        for process in (*self._descendants, self._process):
            try:
                times = process.cpu_times()
                these, forced = _contextSwitches(process)
            except (psutil.Error, OSError) as error:
                if process is self._process:
                    raise self._ended() from error
            else:
                switches |= these
                involuntary |= forced
                user += times.user + times.children_user
                system += times.system + times.children_system
        processes = 1 + len(self._descendants)
        return Counters(self.cpu(), user, system, processes, switches, involuntary)

    def memory(self, proportional: bool = False) -> int | None:
        """
        @param proportional: whether to say the PSS of a process alone, too.
        @return: KiB: RSS of a process alone, otherwise PSS of all together; L{None} if
            the kernel does not say.
        @raise NothingToWatch: if the process has ended.
        """
        self._find()
        try:
            if not self._descendants and not proportional:
                return int(self._process.memory_info().rss) // 1024
        except psutil.Error as error:
            raise self._ended() from error
        own = _proportionalSetSize(self._process)
        if not self._descendants:
            return own
        many = len(self._descendants)
        sample = random.sample(self._descendants, min(many, self.SAMPLE))
        sizes = [
            size for each in sample if (size := _proportionalSetSize(each)) is not None
        ]
        if own is None or not sizes:
            return None
        return own + many * sum(sizes) // len(sizes)

    def _find(self) -> None:
        try:
            self._descendants = self._process.children(recursive=True)
        except psutil.Error as error:
            raise self._ended() from error

    def _ended(self) -> NothingToWatch:
        return NothingToWatch(f"process {self._process.pid} has ended")


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
    measured["involuntary_switches"] = round(after.involuntarySince(before) * share)


def kernelMemory() -> int | None:
    """
    @return: KiB that the kernel has for itself of what it needs the more of, the more
        connections and processes there are: objects, stacks and page tables; L{None} if
        it does not say.
    """
    try:
        found = _KERNEL.findall(Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return sum(map(int, found)) if found else None


def _cpuSeconds(process: psutil.Process) -> float:
    """
    The CPU time of a process, where there is none by its own clock: ticks of 10 ms
    are 3 % of a third of a second. Linux derives the clock's id from the pid
    (clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime(~process.pid << 3 | 2)
    except OSError:
        times = process.cpu_times()
        return float(times.user + times.system)


def _proportionalSetSize(process: psutil.Process) -> int | None:
    """
    @return: KiB, of which a page that two processes share adds half to each.
    """
    try:
        found = _PSS.search(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
    except OSError:
        return None
    return int(found[1]) if found else None


def _contextSwitches(process: psutil.Process) -> tuple[dict[int, int], dict[int, int]]:
    """
    Context switches of all threads, and those of them that were involuntary:
    C{/proc/PID/status}, which psutil reads, has those of the first thread alone.
    """
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.is_dir():
        counts = process.num_ctx_switches()
        forced = int(counts.involuntary)
        return {process.pid: int(counts.voluntary) + forced}, {process.pid: forced}
    switches, involuntary = {}, {}
    for task in tasks.iterdir():
        try:
            status = (task / "status").read_text()
        except OSError:
            continue  # the thread ended meanwhile
        found = dict(_SWITCHES.findall(status))
        switches[int(task.name)] = sum(map(int, found.values()))
        involuntary[int(task.name)] = int(found.get("nonvoluntary", 0))
    return switches, involuntary
