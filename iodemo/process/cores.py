# -*- test-case-name: tests.test_cores -*-
"""
How much of the machine's cores this process may use, and whether it was let.

Facts. A quota belongs to a control group: so many microseconds of CPU time in each
period, after which its processes stop until the next one. Groups are nested, and the
strictest of them counts. Version 2 has both numbers in C{cpu.max}, version 1 in
C{cpu.cfs_quota_us} and C{cpu.cfs_period_us}; a group without these files sets no quota,
and those above it still may. A container sees its own group as the root, and nothing of
those above it. Only a real root has no C{cgroup.events} (version 2), or has a
C{release_agent} (version 1).

Whatever keeps a process from running, a quota that is hidden or another process, the
kernel counts as run delay in C{/proc/self/schedstat}: how long it was ready and had no
core.
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
# Seconds that a core may take to wake up for a process: nobody else has it meanwhile.
_WAKING = 20e-6
# Where groups are, if the kernel does not say.
_USUAL = {
    "cgroup2": ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
    "cgroup": ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"),
}


@dataclass(frozen=True)
class Quota:
    """
    What the control groups of this process let it have.

    @ivar cores: CPU seconds a second, of the strictest quota that can be seen; L{None}
        where there is none.
    @ivar hidden: whether there may be another that cannot be seen.
    """

    cores: float | None
    hidden: bool


@dataclass(frozen=True)
class Delay:
    """
    What the kernel has counted of the first thread of a process so far.

    @ivar ran: seconds on a core.
    @ivar waited: seconds for which it was ready to run and had none.
    @ivar times: how often it was put on a core.
    """

    ran: float
    waited: float
    times: int

    def since(self, before: Delay) -> float:
        """
        The seconds since C{before} for which it could have run, or did.
        """
        times = self.times - before.times
        waited = self.waited - before.waited - times * _WAKING
        return self.ran - before.ran + max(0.0, waited)


#: What L{Delay} is of a process that has not begun.
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
    How long this process waited for a core so far; L{None} if the kernel does not say.
    """
    match integers(readText(root, "proc/self/schedstat")):
        case [ran, waited, times] if ran:
            return Delay(ran / 1e9, waited / 1e9, times)
    return None


def _group(root: Path) -> tuple[str, str]:
    """
    @return: the type of the file system in which the CPU controller's groups are, and
        the path of this process's group there.
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
    Where the groups are mounted: the group that is the root there, and the mount point
    without its slash. The one that shows the most is first.
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

    @param mounted: the uppermost that can be seen.
    @param inside: the path of the group below that.
    @param hidden: whether there are groups above.
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
    The quota of one group; L{None} if it has none.

    @raise ValueError: if it is none that can be read.
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
