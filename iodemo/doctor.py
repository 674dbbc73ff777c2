# -*- test-case-name: tests.test_doctor -*-
"""
Checks of what this machine allows, with advice where it allows too little.

Each check answers one question with a L{Finding}. A check needs no privileges, changes
nothing and never fails: where it cannot learn the answer (on another operating system,
or in a container that hides C{/proc}), the value is C{unknown}.

Checks take the directory that holds C{proc} and C{sys}, so that tests can imitate other
machines.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import twisted

from iodemo.kernel import (
    SYSTEM,
    UNKNOWN,
    URING_FLOOR,
    dotted,
    integers,
    ioUringRefusal,
    kernelRelease,
    readText,
    version,
)
from iodemo.process.cores import NOTHING, quota, runDelay, usable

# The largest scenario holds 10,000 idle connections, with one descriptor each in the
# server and in the load, besides busy connections, logs and listening sockets.
DESCRIPTORS_NEEDED = 20_000
# Linux's default range, 32768 to 60999, holds 28,232.
PORTS_NEEDED = 28_000
# Local ports that one scenario uses at the same time.
PORTS_AT_ONCE = 10_000
# The largest burst of a scenario connects 1,000 clients at the same time.
BACKLOG_NEEDED = 1_024
MEMORY_NEEDED_MIB = 512
STEAL_ALLOWED = 0.01
DELAY_ALLOWED = 0.1
_SOCKETS = "proc/net/sockstat"


@dataclass(frozen=True)
class Finding:
    """
    The answer to one question about this machine.

    @ivar name: the property that was checked.
    @ivar value: its value.
    @ivar advice: what to change and how; C{None} if nothing needs to change.
    """

    name: str
    value: str
    advice: str | None = None


Check = Callable[[Path], Finding]


def examine(root: Path = SYSTEM) -> list[Finding]:
    """
    Make every check.

    @param root: the directory that holds C{proc} and C{sys}.
    """
    return [check(root) for check in CHECKS]


# The system, the interpreter and the machine.


def checkKernel(root: Path) -> Finding:
    """
    Is it Linux, and new enough for every backend?
    """
    system = platform.system()
    release = kernelRelease(root)
    advice = None
    if system != "Linux":
        advice = (
            "the backends epoll and uring need Linux, and so do the counters read "
            "from the server; the others can be compared"
        )
    elif (numbers := version(release)) and numbers < URING_FLOOR:
        advice = (
            f"the backend uring needs Linux {dotted(URING_FLOOR)} or later; every "
            "other runs"
        )
    return Finding("kernel", f"{system or UNKNOWN} {release}".strip(), advice)


def checkPython(root: Path) -> Finding:
    """
    Which Python runs?
    """
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Finding("Python", python)


def checkTwisted(root: Path) -> Finding:
    """
    Which Twisted is measured?
    """
    return Finding("Twisted", twisted.__version__)


def checkMachine(root: Path) -> Finding:
    """
    Is it a virtual machine? There is nothing to change, but it may explain a result.
    """
    cpuinfo = readText(root, "proc/cpuinfo") or ""
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    if flags is None:
        return Finding("machine", UNKNOWN)
    virtual = "hypervisor" in flags[1].split()
    return Finding("machine", "virtual" if virtual else "metal (no hypervisor seen)")


# Limits on a comparison.


def checkDescriptors(root: Path) -> Finding:
    """
    Can one process hold the connections of the largest scenario?
    """
    name = "file descriptors"
    try:
        import resource
    except ImportError:  # Windows, which sets no such limit.
        return Finding(name, UNKNOWN)
    soft, hard = (
        "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    advice = None
    if most != resource.RLIM_INFINITY and most < DESCRIPTORS_NEEDED:
        advice = (
            f"10,000 idle connections take a hard limit of {DESCRIPTORS_NEEDED:,} in "
            "the server: as root 'ulimit -n 65536' in the shell, or "
            "'* - nofile 65536' in /etc/security/limits.conf and a new login, or "
            "LimitNOFILE=65536 in a systemd unit"
        )
    elif least < DESCRIPTORS_NEEDED // 2:
        advice = (
            "enough for comparisons, which raise the soft limit themselves; a server "
            f"started by hand stops at {soft} connections: "
            'ulimit -n "$(ulimit -Hn)" in its shell'
        )
    return Finding(name, f"soft {soft}, hard {hard}", advice)


def checkPorts(root: Path) -> Finding:
    """
    Are there enough local ports for the load's connections to one address?
    """
    name = "local ports"
    ports = integers(readText(root, "proc/sys/net/ipv4/ip_local_port_range"))
    if len(ports) != 2:
        return Finding(name, UNKNOWN)
    low, high = ports
    count = max(0, high - low + 1)
    closed = re.search(
        r"^TCP:.* tw (\d+)", readText(root, _SOCKETS) or "", re.MULTILINE
    )
    waiting = int(closed[1]) if closed else 0
    value = f"{count:,} ({low} to {high})"
    advice = None
    if count < PORTS_NEEDED:
        advice = (
            "a closed connection keeps its port for a minute, and each round opens "
            "up to 10,000: sysctl -w net.ipv4.ip_local_port_range='32768 60999'"
        )
    elif waiting > count - PORTS_AT_ONCE:
        value += f", {waiting:,} of closed connections"
        advice = "closed connections keep their ports for a minute: wait that long"
    return Finding(name, value, advice)


def checkBacklog(root: Path) -> Finding:
    """
    Can the backlog of a listening socket hold all connections that come at once?
    """
    name = "listen backlog"
    values = integers(readText(root, "proc/sys/net/core/somaxconn"))
    if not values:
        return Finding(name, UNKNOWN)
    advice = None
    if values[0] < BACKLOG_NEEDED:
        advice = (
            "connections beyond it are dropped and tried again a second later: "
            "sysctl -w net.core.somaxconn=4096"
        )
    return Finding(name, f"net.core.somaxconn={values[0]}", advice)


def checkMemory(root: Path) -> Finding:
    """
    Do server and load fit in memory without swapping?
    """
    meminfo = readText(root, "proc/meminfo") or ""
    available = re.search(r"^MemAvailable:\s*(\d+) kB$", meminfo, re.MULTILINE)
    if available is None:
        return Finding("memory", UNKNOWN)
    mib = int(available[1]) // 1024
    advice = None
    if mib < MEMORY_NEEDED_MIB:
        advice = (
            f"less than {MEMORY_NEEDED_MIB} MiB may not hold both ends of 10,000 "
            "connections, and a machine that swaps measures its disk: end other "
            "programs"
        )
    return Finding("memory", f"{mib:,} MiB available", advice)


def checkLoopback(root: Path) -> Finding:
    """
    Can a process connect to another on this machine? IPv6 is optional.
    """
    reached = [
        address
        for family, address in (
            (socket.AF_INET, "127.0.0.1"),
            (socket.AF_INET6, "::1"),
        )
        if _reaches(family, address)
    ]
    advice = None
    if "127.0.0.1" not in reached:
        advice = (
            "server and load meet on 127.0.0.1: bring the loopback interface up, as "
            "root with 'ip link set lo up'"
        )
    return Finding("loopback", " and ".join(reached) or "unreachable", advice)


def _reaches(family: socket.AddressFamily, address: str) -> bool:
    """
    Whether a connection to this address of this machine can be made.
    """
    try:
        with socket.create_server((address, 0), family=family) as server:
            socket.create_connection(server.getsockname()[:2], timeout=1).close()
    except OSError:
        return False
    return True


def checkIoUring(root: Path) -> Finding:
    """
    May this process use io_uring?
    """
    refusal = ioUringRefusal(root)
    return Finding("io_uring", "usable" if refusal is None else "not usable", refusal)


# Disturbances of a measurement.


def checkCores(root: Path) -> Finding:
    """
    Is there a core for the server and another for the load?
    """
    present = os.cpu_count() or 1
    allowed = usable()
    advice = None
    if allowed < 2:
        advice = (
            "server and load share one core, so each slows the other and ratios "
            "shrink: give the machine, or the container (--cpuset-cpus=0,1), two"
        )
    if not hasattr(os, "sched_setaffinity"):
        advice = (
            "processes cannot be pinned to cores on this system, so results vary "
            "more: use more --rounds"
        )
    return Finding("cores", f"{allowed} of {present} usable", advice)


def checkQuota(root: Path) -> Finding:
    """
    Can a CPU quota stop the server in the middle of a round?
    """
    name = "CPU quota"
    found = quota(root)
    if found.cores is None:
        return Finding(name, UNKNOWN if found.hidden else "none")
    advice = None
    if found.cores < 2:
        advice = (
            "server and load together use two cores, and a process that has used up "
            "the quota is stopped for the rest of the period: allow at least two cores "
            "(--cpus=2), or better, set no quota"
        )
    return Finding(name, f"{found.cores:g} cores", advice)


def checkRunDelay(root: Path) -> Finding:
    """
    Did this process wait for a core? That may be due to a quota that cannot be read.
    """
    name = "run delay"
    delay = runDelay(root)
    if delay is None:
        return Finding(name, UNKNOWN)
    waited = max(0.0, 1 - delay.ran / delay.since(NOTHING))
    advice = None
    if waited > DELAY_ALLOWED:
        advice = (
            "this process was ready to run and had no core: either a CPU quota stops "
            "it (of this container, or outside of it; see CPU quota), or other "
            "programs use the cores; end those"
        )
    return Finding(name, f"{waited:.0%} of the time since it was started", advice)


def checkGovernor(root: Path) -> Finding:
    """
    Does the clock rate of the cores change during a measurement?
    """
    files = root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
    governors = {(readText(file) or UNKNOWN).strip() for file in files}
    advice = None
    if governors - {"performance"}:
        advice = (
            "the clock rate follows the load, and that favours busy backends: "
            "cpupower frequency-set -g performance"
        )
    value = ", ".join(sorted(governors))
    return Finding("CPU governor", value or "none seen", advice)


def checkSteal(root: Path) -> Finding:
    """
    Does the host take cores away from this virtual machine?

    It is counted since boot. The kernel counts steal only while a process is ready to
    run, so a short observation of an idle machine would find none.
    """
    name = "CPU steal"
    line = re.match(r"cpu +(.*)", readText(root, "proc/stat") or "")
    # user nice system idle iowait irq softirq steal; the rest is contained in user.
    ticks = integers(line[1] if line else None)[:8]
    if len(ticks) < 8 or not sum(ticks):
        return Finding(name, UNKNOWN)
    steal = ticks[7] / sum(ticks)
    advice = None
    if steal > STEAL_ALLOWED:
        advice = (
            "the host gives this machine's cores to other machines, and no program "
            "here can see when: measure elsewhere, or use more --rounds"
        )
    return Finding(name, f"{steal:.2%} since boot", advice)


def checkLoad(root: Path) -> Finding:
    """
    Are other programs running?
    """
    name = "load average"
    first = re.match(r"\d+\.\d+", readText(root, "proc/loadavg") or "")
    if first is None:
        return Finding(name, UNKNOWN)
    load = float(first[0])
    advice = None
    if load > usable() / 2:
        advice = (
            "other programs run, or ran in the last minute: find them with 'top', and "
            "end them or wait"
        )
    return Finding(name, f"{load:g} over the last minute", advice)


# Optional tools.


def checkDriver(root: Path) -> Finding:
    """
    Is the inner loop of the load compiled?
    """
    name = "load"
    if find_spec("iodemo.load.fast"):
        return Finding(name, "compiled")
    return Finding(
        name,
        "in Python",
        "it works, but uses a third more CPU time than compiled: install a C compiler "
        "and the headers of Python (on Debian and Ubuntu, gcc and python3-dev), then "
        "iodemo again as before, with pip install --force-reinstall --no-deps "
        "--no-cache-dir, or in a checkout with scripts/setup",
    )


def checkStrace(root: Path) -> Finding:
    """
    Can strace count system calls, where perf is not allowed to?
    """
    purpose = "counts a backend's system calls where perf is not allowed to"
    finding = _tool("strace", ["strace"], purpose, "strace")
    scope = integers(readText(root, "proc/sys/kernel/yama/ptrace_scope"))
    if finding.advice is not None or not scope or not hasattr(os, "geteuid"):
        return finding
    value = f"{finding.value}, kernel.yama.ptrace_scope={scope[0]}"
    advice = None
    if scope[0] > 0 and os.geteuid() != 0:
        advice = (
            "this user's strace can trace only programs that it has started itself: as "
            "root, sysctl -w kernel.yama.ptrace_scope=0"
        )
    return Finding(finding.name, value, advice)


def checkPerf(root: Path) -> Finding:
    """
    Can this user read the kernel's counters?
    """
    finding = _tool("perf", ["perf"], "counts a backend's system calls", "perf")
    if finding.advice is not None:
        return finding
    values = integers(readText(root, "proc/sys/kernel/perf_event_paranoid"))
    if not values or not hasattr(os, "geteuid"):
        return finding
    value = f"{finding.value}, kernel.perf_event_paranoid={values[0]}"
    advice = None
    if values[0] > 1 and os.geteuid() != 0:
        advice = (
            "this user's perf does not count in the kernel, where network I/O spends "
            "its time: as root, sysctl -w kernel.perf_event_paranoid=1"
        )
    return Finding(finding.name, value, advice)


def checkWrk(root: Path) -> Finding:
    """
    Is there another load for HTTP, to check the results of iodemo's own?
    """
    return _tool("wrk", ["wrk"], "a second opinion on HTTP", "wrk")


def checkCompiler(root: Path) -> Finding:
    """
    Can extensions in C be built?
    """
    names = ["cc", "gcc", "clang"]
    return _tool("C compiler", names, "builds extensions and the C reference", "gcc")


def _tool(name: str, commands: list[str], purpose: str, package: str) -> Finding:
    """
    Look for an optional program.

    @param commands: its possible names.
    @param purpose: its use in a comparison, for the advice.
    @param package: the package that contains it, in most distributions.
    """
    for command in commands:
        if path := shutil.which(command):
            return Finding(name, path)
    debian = {"perf": "linux-perf"}.get(package, package)
    return Finding(
        name,
        "not installed",
        f"optional ({purpose}): on Debian 'apt install {debian}', elsewhere the "
        f"distribution's package {package}",
    )


CHECKS: tuple[Check, ...] = (
    checkKernel,
    checkPython,
    checkTwisted,
    checkMachine,
    checkDescriptors,
    checkPorts,
    checkBacklog,
    checkMemory,
    checkLoopback,
    checkIoUring,
    checkCores,
    checkQuota,
    checkRunDelay,
    checkGovernor,
    checkSteal,
    checkLoad,
    checkDriver,
    checkStrace,
    checkPerf,
    checkWrk,
    checkCompiler,
)
