# -*- test-case-name: tests.test_load -*-
"""
The counters of a server, read from outside.

The server is one process, or a process with descendants (one per connection); the
counters are the sum over all of them.

Facts. Every process has a clock of its CPU time, in nanoseconds, which one system call
reads. The other counters are in C{/proc}, in a file for each process or thread: to read
a thousand takes as long as to serve hundreds of requests. C{/proc} counts CPU time in
full ticks of 10 ms. When a parent has waited for an ended process, the parent's
C{cutime} and C{cstime} contain its CPU time, C{cminflt} and C{cmajflt} its page faults;
its context switches are counted nowhere.
Pages that processes share, as after C{fork}, are in the RSS of each; PSS divides them
by the number of processes that share them.

Decision. At the edges of the measured window the load calls L{Watch.cpu} only; it reads
the other counters while no request is in flight. Memory is PSS where there are several
processes, extrapolated from a sample of the descendants.

Costs. A process started since the last L{Watch.read} counts only when it has ended. The
context switches of a process that ended since then are lost.
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

#: The unit in which C{/proc} counts CPU time, in seconds.
_TICK = 1 / os.sysconf("SC_CLK_TCK")

# The fields of proc_meminfo(5) that grow with the number of connections.
_KERNEL = re.compile(r"^(?:Slab|KernelStack|PageTables): +(\d+) kB$", re.MULTILINE)
_SWITCHES = re.compile(r"^(\w+)_ctxt_switches:\t(\d+)$", re.MULTILINE)
_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)


class NothingToWatch(Exception):
    """The process to watch does not exist, or has ended."""


@dataclass(frozen=True)
class Counters:
    """
    The counters of a server at one moment.

    @ivar cpu: seconds of CPU time, from L{Watch.cpu}.
    @ivar user: seconds of CPU time in user mode, a sum of full ticks of each process.
    @ivar system: the same in the kernel.
    @ivar processes: the number of processes.
    @ivar switches: context switches, voluntary and not, of each thread by its id.
    @ivar involuntary: of these, the switches that the scheduler forced
        (proc_pid_status(5)).
    @ivar faults: page faults, minor and major; C{None} if the kernel does not report
        them.
    """

    cpu: float
    user: float
    system: float
    processes: int
    switches: dict[int, int]
    involuntary: dict[int, int] = field(default_factory=dict)
    faults: int | None = None

    def userShareSince(self, before: Counters) -> float | None:
        """
        The fraction of the CPU time since C{before} that was in user mode; C{None} if
        the CPU time is less than two ticks per process, since the error may be so
        large.
        """
        user = self.user - before.user
        system = self.system - before.system
        unseen = 2 * _TICK * self.processes
        if user + system <= 0 or self.cpu - before.cpu < unseen:
            return None
        return min(max(user / (user + system), 0.0), 1.0)

    def switchesSince(self, before: Counters) -> int:
        """
        Context switches since C{before}, of the threads that still exist.
        """
        return _since(before.switches, self.switches)

    def involuntarySince(self, before: Counters) -> int:
        """
        Involuntary context switches since C{before}, of the threads that still exist.
        """
        return _since(before.involuntary, self.involuntary)

    def faultsSince(self, before: Counters) -> int | None:
        """
        Page faults since C{before}; C{None} if the kernel does not report them.
        """
        if self.faults is None or before.faults is None:
            return None
        return max(0, self.faults - before.faults)


def _since(before: dict[int, int], after: dict[int, int]) -> int:
    """
    The increase of a counter, over the threads that still exist.
    """
    return sum(
        # A smaller number is the counter of a new thread with the same id.
        max(0, count - before.get(thread, 0))
        for thread, count in after.items()
    )


class Watch:
    """
    Reads the counters of one process and its descendants.

    @ivar calls: whether to count its system calls, too.
    @cvar SAMPLE: the number of descendants whose memory is read, at most; their mean is
        taken for all.
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
        @return: seconds of CPU time, of the processes that L{read} found and of ended
            ones.
        @raise NothingToWatch: if the process has ended.
        """
        used = 0.0
        for process in self._descendants:
            with suppress(psutil.NoSuchProcess):  # it is in the cutime of its parent
                used += _cpuSeconds(process)
        try:
            times = self._process.cpu_times()
            used += _cpuSeconds(self._process)
        except psutil.Error as error:
            raise self._ended() from error
        return float(used + times.children_user + times.children_system)

    def read(self) -> Counters:
        """
        Find the descendants, and read all counters; this may take milliseconds.

        @raise NothingToWatch: if the process has ended.
        """
        user = system = 0.0
        switches: dict[int, int] = {}
        involuntary: dict[int, int] = {}
        faults: list[int] = []
        self._find()
        # The process itself last: its cutime has children that ended during the loop.
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
                faults += _pageFaults(process)
                user += times.user + times.children_user
                system += times.system + times.children_system
        processes = 1 + len(self._descendants)
        return Counters(
            *(self.cpu(), user, system, processes, switches, involuntary),
            sum(faults) if faults else None,
        )

    def memory(self, proportional: bool = False) -> int | None:
        """
        @param proportional: whether to return PSS for a single process, too.
        @return: KiB: the RSS of a single process, otherwise the PSS of all together;
            C{None} if the kernel does not report it.
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
    Add the CPU time, context switches and page faults of the server to a round.

    @param cpu: seconds of CPU time in the window.
    @param before: the counters before the first request.
    @param after: the counters after the last answer.
    @param share: of the requests answered between C{before} and C{after}, the fraction
        that belongs to the window.
    """
    cpu = max(cpu, 0.0)
    measured["server_cpu_us_per_request"] = cpu * 1e6 / measured["requests"]
    # The total is exact, but its two parts are counted in ticks: only their ratio is
    # used.
    userShare = after.userShareSince(before)
    if userShare is not None:
        measured["server_user_s"] = cpu * userShare
        measured["server_system_s"] = cpu * (1 - userShare)
    measured["context_switches"] = round(after.switchesSince(before) * share)
    measured["involuntary_switches"] = round(after.involuntarySince(before) * share)
    faults = after.faultsSince(before)
    if faults is not None:
        measured["page_faults"] = round(faults * share)


def kernelMemory() -> int | None:
    """
    @return: KiB of kernel memory that grows with the number of connections and
        processes: slabs, kernel stacks and page tables; C{None} if the kernel does not
        report it.
    """
    try:
        found = _KERNEL.findall(Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return sum(map(int, found)) if found else None


def _cpuSeconds(process: psutil.Process) -> float:
    """
    The CPU time of a process, by its own clock; by ticks where it has none. (A tick of
    10 ms is 3 % of a third of a second.) Linux derives the clock's id from the pid
    (clock_getcpuclockid(3)).
    """
    try:
        return time.clock_gettime(~process.pid << 3 | 2)
    except OSError:
        times = process.cpu_times()
        return float(times.user + times.system)


def _proportionalSetSize(process: psutil.Process) -> int | None:
    """
    @return: KiB; a page that two processes share adds half its size to each.
    """
    try:
        found = _PSS.search(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
    except OSError:
        return None
    return int(found[1]) if found else None


def _contextSwitches(process: psutil.Process) -> tuple[dict[int, int], dict[int, int]]:
    """
    Context switches of each thread, all and involuntary, by thread id.
    C{/proc/PID/status}, which psutil reads, counts the first thread alone.
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


def _pageFaults(process: psutil.Process) -> list[int]:
    """
    Page faults of a process, and of its ended children: minor, those of the children,
    major, those of the children (proc_pid_stat(5)). Empty where there is no such file.
    """
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return []
    # The second field, a name in brackets, may contain spaces and brackets; the tenth
    # is the first of the four.
    return [int(each) for each in stat.rpartition(")")[2].split()[7:11]]
