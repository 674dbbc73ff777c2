# -*- test-case-name: tests.test_cores -*-
"""
How many of the machine's cores this process may use, and whether it got them.

Facts. A quota belongs to a control group: it is a number of microseconds of CPU time in
each period. When they are used up, the group's processes stop until the next period.
Groups are nested, and the strictest quota counts. Version 2 has both numbers in
C{cpu.max}, version 1 in C{cpu.cfs_quota_us} and C{cpu.cfs_period_us}. A group without
these files sets no quota, but a group above it may. A container sees its own group as
the root, and no group above it. Only a real root has no C{cgroup.events} (version 2),
or has a C{release_agent} (version 1).

A process that is ready to run and has no core, because of a hidden quota or of another
process, accumulates run delay, which the kernel counts in C{/proc/self/schedstat}.

Decision. Report the strictest quota that can be read, and whether a group above may
have another; the run delay then shows a quota that cannot be read.

Cost. A run delay does not say which of its causes it had.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from iodemo.kernel import SYSTEM, integers, readText

# A mount's root and mount point, then its type and options: proc_pid_mountinfo(5).
_MOUNT = re.compile(
    r"^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$", re.MULTILINE
)
_OCTAL = re.compile(r"\\([0-7]{3})")
# Seconds that an idle core may take to wake up for a process. The kernel counts them as
# run delay, although no other process has the core.
_WAKING = 20e-6
# Usual mount points, for a machine on which mountinfo cannot be read.
_USUAL = {
    "cgroup2": ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
    "cgroup": ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"),
}


@dataclass(frozen=True)
class Quota:
    """
    The CPU quota of this process's control groups.

    @ivar cores: the strictest quota that can be read, in CPU seconds a second; C{None}
        if there is none.
    @ivar hidden: whether there may be another quota that cannot be read.
    """

    cores: float | None
    hidden: bool


@dataclass(frozen=True)
class Delay:
    """
    The scheduler's counters of a process's first thread, as in C{/proc/self/schedstat}.

    @ivar ran: seconds on a core.
    @ivar waited: seconds ready to run, without a core.
    @ivar times: how often it was put on a core.
    """

    ran: float
    waited: float
    times: int

    def since(self, before: Delay) -> float:
        """
        Seconds since C{before} in which the thread ran or was ready to run, apart from
        the time that cores take to wake up.
        """
        times = self.times - before.times
        waited = self.waited - before.waited - times * _WAKING
        return self.ran - before.ran + max(0.0, waited)


#: The counters of a process that has just started.
NOTHING = Delay(0.0, 0.0, 0)


def usable() -> int:
    """
    How many cores this process may run on.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on macOS.
        return os.cpu_count() or 1


def quota(root: Path = SYSTEM) -> Quota:
    """
    Look for CPU quotas in the control groups of this process.

    @param root: where C{proc} and C{sys} are to be found.
    """
    version, group = _group(root)
    for top, mounted in _mounts(root, version):
        if not (root / mounted).is_dir():
            continue
        try:
            inside = PurePosixPath(group).relative_to(top)
        except ValueError:
            continue
        hidden = top != "/" or readText(root, "proc/self/cgroup") is None
        return _strictest(root / mounted, inside, version, hidden)
    return Quota(None, hidden=True)


def runDelay(root: Path = SYSTEM) -> Delay | None:
    """
    How long this process has run, and has waited for a core, so far; C{None} if the
    kernel does not report that.
    """
    match integers(readText(root, "proc/self/schedstat")):
        case [ran, waited, times] if ran:
            return Delay(ran / 1e9, waited / 1e9, times)
    return None


def _group(root: Path) -> tuple[str, str]:
    """
    Find the control group that limits this process's CPU time.

    @return: C{cgroup} or C{cgroup2}, whichever has the CPU controller, and the path of
        this process's group in it.
    """
    paths = {"": "/"}
    for line in (readText(root, "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths |= dict.fromkeys(controllers.split(","), path)
    # A controller is in one hierarchy alone.
    return ("cgroup", paths["cpu"]) if "cpu" in paths else ("cgroup2", paths[""])


def _mounts(root: Path, version: str) -> Iterator[tuple[str, str]]:
    """
    The mounts of the control groups: for each the group at its root, and the mount
    point without the leading slash. The mount that shows most groups comes first.
    """
    found = []
    for top, point, kind, options in _MOUNT.findall(
        readText(root, "proc/self/mountinfo") or ""
    ):
        if kind == version and (kind == "cgroup2" or "cpu" in options.split(",")):
            found.append((_unescaped(top), _unescaped(point)))
    for top, point in sorted(found) or [("/", each) for each in _USUAL[version]]:
        yield top, point.lstrip("/")


def _unescaped(path: str) -> str:
    return _OCTAL.sub(lambda code: chr(int(code[1], 8)), path)


def _strictest(
    mounted: Path, inside: PurePosixPath, version: str, hidden: bool
) -> Quota:
    """
    The strictest quota of a group and of those above it.

    @param mounted: the directory of the uppermost group that can be seen.
    @param inside: the path of the group below that.
    @param hidden: whether there are groups above C{mounted}.
    """
    if version == "cgroup2":
        hidden |= (mounted / "cgroup.events").exists()
    else:
        hidden |= not (mounted / "release_agent").exists()
    found: list[float] = []
    for group in (inside, *inside.parents):
        directory = mounted / group
        hidden |= not directory.is_dir()
        try:
            cores = _cores(directory, version)
        except ValueError:
            hidden = True
        else:
            found += [] if cores is None else [cores]
    return Quota(min(found, default=None), hidden)


def _cores(directory: Path, version: str) -> float | None:
    """
    The quota of one group, in CPU seconds a second; C{None} if it has none.

    @raise ValueError: if its files do not hold a quota.
    """
    if version == "cgroup2":
        text = readText(directory, "cpu.max")
        words = ["max"] if text is None else text.split()
    else:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        texts = [readText(directory, name) for name in names]
        words = ["max"] if None in texts else " ".join(map(str, texts)).split()
    if words[:1] in (["max"], ["-1"]):
        return None
    allowed, period = map(int, words)
    if allowed <= 0 or period <= 0:
        raise ValueError("a quota is positive")
    return allowed / period
