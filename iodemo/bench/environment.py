# -*- test-case-name: tests.test_bench -*-
"""
The environment of a comparison: the facts that are needed to repeat it.
"""

from __future__ import annotations

import os
import platform
import resource
from datetime import datetime, timezone
from pathlib import Path

import psutil
import twisted

import iodemo
from iodemo.results.schema import Environment, Pinning


def describe(command: str) -> Environment:
    """
    @param command: the command line, as a person would type it again. Characters that
        cannot be printed are replaced: results may not hold them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cpu, flags = _processor()
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": cpu,
        "cores": psutil.cpu_count() or 1,
        "memory_kib": psutil.virtual_memory().total // 1024,
        "virtualized": "hypervisor" in flags,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "twisted": twisted.__version__,
        "iodemo": iodemo.__version__,
        "limits": {
            "nofile_soft": _limit(soft),
            "nofile_hard": _limit(hard),
            "somaxconn": _sysctlNumber("net/core/somaxconn"),
            "ephemeral_ports": _sysctl("net/ipv4/ip_local_port_range"),
        },
        "pinning": pinning(),
        "steal_fraction": None,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": "".join(c if c.isprintable() else "?" for c in command)[:10_000],
    }


def pinning() -> Pinning | None:
    """
    The cores that server and load are pinned to. On a machine with one core nothing is
    pinned.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return {"server": cores[0], "load": cores[1]} if len(cores) > 1 else None


class Steal:
    """
    The share of CPU time that the hypervisor took for other machines since this object
    was made.
    """

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def fraction(self) -> float | None:
        """
        @return: from 0 to 1; C{None} where the kernel does not count it.
        """
        now = psutil.cpu_times()
        if not hasattr(now, "steal"):
            return None
        total = sum(now) - sum(self._before)
        return (now.steal - self._before.steal) / total if total > 0 else 0.0


def _processor() -> tuple[str, frozenset[str]]:
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name = fields.get("model name") or platform.processor() or "unknown"
    return name, frozenset(fields.get("flags", "").split())


def _limit(value: int) -> int | None:
    return None if value == resource.RLIM_INFINITY else value


def _sysctl(name: str) -> str | None:
    try:
        return " ".join((Path("/proc/sys") / name).read_text().split())
    except OSError:
        return None


def _sysctlNumber(name: str) -> int | None:
    text = _sysctl(name)
    return int(text) if text is not None and text.isdigit() else None
