# -*- test-case-name: tests.test_report -*-
"""
Examples of results, made by this code and not measured, for tests that need a run.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import structs

from iodemo.results.comparisons import compareControl
from iodemo.results.metrics import COMPARED
from iodemo.results.schema import (
    FORMAT,
    VERSION,
    Cell,
    Comparison,
    Environment,
    Interval,
    Planned,
    Point,
    Results,
    Round,
    Verdict,
)

SELECT_LIMIT = (
    "select(2) takes bitmaps of FD_SETSIZE = 1024 bits, so a process cannot watch "
    "descriptor 1024 or above"
)
FORK_LIMIT = "a process for each connection (at most 1,000 connections)"
WOBBLE = (0.985, 1.0, 1.02)  # three rounds, as factors

IDLE = (0, 100, 1000, 10000)
ACTIVE = (1, 10, 100, 1000)

# KiB per connection, and context switches per request with many connections.
KIB = {"fork": 3100, "threads": 45}
SWITCHES = {"fork": 1.6, "threads": 4.4}

# System calls per request, if every wait returns one request.
CALLS = {
    "poll": {"poll": 1.0, "recvfrom": 1.0, "sendto": 1.0},
    "epoll": {"epoll_wait": 1.0, "recvfrom": 1.0, "sendto": 1.0, "epoll_ctl": 2.0},
    "proactor": {"epoll_wait": 1.0, "recvfrom": 1.0, "sendto": 1.0},
    "uring": {"io_uring_enter": 1.0},
    "c-epoll": {"epoll_wait": 1.0, "recvfrom": 1.0, "sendto": 1.0, "other": 0.01},
}
_WAITS = ("poll", "epoll_wait", "io_uring_enter")

# Requests per second at each point; None is a failed cell.
Curve = Sequence[float | None]

FOUR_IDLE: dict[str, Curve] = {
    "select": (45e3, 38e3, None, None),
    "poll": (45e3, 38e3, 12e3, 600),
    "epoll": (45e3, 44e3, 42e3, 36e3),
    "asyncio": (36e3, 36e3, 35.6e3, 35e3),
}
FOUR_ACTIVE: dict[str, Curve] = {
    "select": (14e3, 45e3, 43e3, 31e3),
    "poll": (14.1e3, 45.2e3, 43.5e3, 33e3),
    "epoll": (13.8e3, 45e3, 46e3, 40e3),
    "asyncio": (12.2e3, 36e3, 38e3, 34e3),
}
TWELVE_IDLE: dict[str, Curve] = {
    **FOUR_IDLE,
    "fork": (52e3, 52e3, None, None),
    "threads": (31e3, 30e3, 24e3, 9e3),
    "busypoll": (48e3, 15e3, 2.1e3, 210),
    "uvloop": (95e3, 95e3, 93e3, 90e3),
    "proactor": (122e3, 121e3, 118e3, 112e3),
    "uring": (175e3, 174e3, 170e3, 165e3),
    "shinyloop": (43e3, 42.5e3, 41e3, 38e3),
    "c-epoll": (150e3, 150e3, 148e3, 145e3),
}


def jsonOf(run: Any) -> str:
    """
    A run as it is read from a file, or as a test has changed it.
    """
    return json.dumps(run, default=structs.asdict)


def interval(values: Iterable[float]) -> Interval:
    """
    The median of three rounds, with their range as interval.
    """
    ordered = sorted(values)
    return {
        "median": ordered[len(ordered) // 2],
        "low": ordered[0],
        "high": ordered[-1],
    }


def parameters(active: int, idle: int = 0, payload: int = 64, **others: Any) -> Point:
    return Point(active, idle, payload, **others)


def okCell(
    scenario: str,
    backend: str,
    point: Point,
    throughput: float,
    kibPerConnection: float = 6.0,
    switches: float = 0.001,
    calls: dict[str, float] | None = None,
) -> Cell:
    """
    A cell of three rounds around C{throughput}, with other metrics to match.

    @param calls: system calls per request, if they were counted.
    """
    rates = [throughput * factor for factor in WOBBLE]
    cpu = [0.98e6 / rate for rate in rates]
    response = [point.active / rate * 1e6 for rate in rates]
    connections = point.active + point.idle
    rss = 38000 + int(kibPerConnection * connections)
    tail = {"p50": 0.95, "p90": 1.2, "p99": 1.9, "p99.9": 4.1, "max": 14.0}
    rounds: list[Round] = [
        {
            "requests": int(rate),
            "seconds": 1.0,
            "throughput": rate,
            "latency_us": {
                "p50": time * 0.95,
                "p90": time * 1.2,
                "p99": time * 1.9,
                "p99.9": time * 4.1,
                "max": time * 14.0,
            },
            "server_cpu_us_per_request": each,
            "server_user_s": 0.58,
            "server_system_s": 0.4,
            "server_rss_kib": rss,
            "context_switches": int(rate * switches),
            "syscalls_per_request": None,
            "load_cpu_fraction": 0.41,
        }
        for rate, each, time in zip(rates, cpu, response, strict=True)
    ]
    summary = {
        "throughput": interval(rates),
        "server_cpu_us_per_request": interval(cpu),
        "server_user_us_per_request": interval(each * 0.6 for each in cpu),
        "server_system_us_per_request": interval(each * 0.4 for each in cpu),
        "server_waiting_fraction": interval((0.02, 0.02, 0.02)),
        "server_rss_kib": interval(rss + extra for extra in (-40, 0, 60)),
        "context_switches_per_request": interval(
            switches * factor for factor in (0.95, 1, 1.05)
        ),
        "load_cpu_fraction": interval((0.40, 0.41, 0.42)),
    }
    for percentile, factor in tail.items():
        summary[f"latency_us.{percentile}"] = interval(t * factor for t in response)
    cell: Cell = {
        "scenario": scenario,
        "service": "echo",
        "backend": backend,
        "parameters": point,
        "status": "ok",
        "reason": None,
        "load_limited": False,
        "rounds": rounds,
        "summary": summary,
    }
    if calls is not None:
        rounds[-1]["syscalls_per_request"] = sum(calls.values())
        summary["syscalls_per_request"] = interval([sum(calls.values())])
        cell["syscalls_by_name"] = calls
    return cell


def pipesCell(backend: str, ready: int, watched: int, call: float) -> Cell:
    """
    A cell of pipes, with C{call} microseconds in the multiplexer.
    """
    point = parameters(ready, watched - ready, payload=1)
    whole = call + 1.8 * ready
    cell = okCell("multiplexer", backend, point, 1e6 / whole)
    cell["service"] = "pipes"
    cell["summary"]["latency_us.p50"] = interval(whole * factor for factor in WOBBLE)
    cell["summary"]["us_per_call"] = interval(call * factor for factor in WOBBLE)
    for each, factor in zip(cell["rounds"], WOBBLE, strict=True):
        each["us_per_call"] = call * factor
        each["server_rss_kib"] = each["context_switches"] = None
        each["server_user_s"] = each["server_system_s"] = None
        each["server_cpu_us_per_request"] = None
    for metric in list(cell["summary"]):
        if metric.startswith(("server_", "context_")):
            del cell["summary"][metric]
    return cell


def failedCell(
    scenario: str, backend: str, point: Point, reason: str = SELECT_LIMIT
) -> Cell:
    return {
        "scenario": scenario,
        "service": "echo",
        "backend": backend,
        "parameters": point,
        "status": "failed",
        "reason": reason,
        "load_limited": False,
        "rounds": [],
        "summary": {},
    }


def skippedCell(
    scenario: str,
    backend: str,
    point: Point,
    reason: str = "the run was interrupted",
) -> Cell:
    cell = failedCell(scenario, backend, point, reason)
    cell["status"] = "skipped"
    return cell


def environment() -> Environment:
    return {
        "kernel": "Linux 6.18.5",
        "architecture": "x86_64",
        "cpu": "Example CPU @ 2.60GHz",
        "cores": 2,
        "memory_kib": 8 * 1024 * 1024,
        "virtualized": True,
        "python": "CPython 3.11.7",
        "twisted": "26.10.0",
        "iodemo": "0.1.0",
        "limits": {
            "nofile_soft": 1048576,
            "nofile_hard": 1048576,
            "somaxconn": 4096,
            "ephemeral_ports": "32768 60999",
        },
        "pinning": {"server": 0, "load": 1},
        "steal_fraction": 0.004,
        "date": "2026-11-23T10:00:00Z",
        "command": "iodemo compare --backends select,poll,epoll,asyncio --rounds 3",
    }


def planned() -> Planned:
    """
    The plan of a run: an echo at one point.
    """
    return {
        "backends": ["epoll"],
        "baseline": "epoll",
        "controlled": False,
        "rounds": 3,
        "seconds": 1.0,
        "warmup": 0.5,
        "points": [
            {
                "scenario": "idle",
                "service": "echo",
                "parameters": parameters(10),
                "command": ["iodemo-echo", "--listen={endpoint}"],
                "kind": "echo",
            }
        ],
    }


def results(cells: list[Cell], baseline: str = "epoll") -> Results:
    """
    A whole run of C{cells}, compared with C{baseline}.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "complete": True,
        "environment": environment(),
        "cells": cells,
        "comparisons": comparisons(cells, baseline),
    }


def comparisons(cells: Iterable[Cell], baseline: str) -> list[Comparison]:
    """
    The comparison of each ok cell with the baseline's at the same point.
    """
    ok = [cell for cell in cells if cell["status"] == "ok"]
    found: list[Comparison] = []
    for reference in ok:
        if reference["backend"] != baseline:
            continue
        for cell in ok:
            if (
                cell["backend"] == baseline
                or cell["scenario"] != reference["scenario"]
                or cell["parameters"] != reference["parameters"]
            ):
                continue
            for metric in COMPARED:
                if metric not in cell["summary"]:
                    continue
                ours, its = cell["summary"][metric], reference["summary"][metric]
                low, high = ours["low"] / its["high"], ours["high"] / its["low"]
                found.append(
                    {
                        "scenario": cell["scenario"],
                        "parameters": cell["parameters"],
                        "metric": metric,
                        "baseline": baseline,
                        "backend": cell["backend"],
                        "ratio": ours["median"] / its["median"],
                        "low": low,
                        "high": high,
                        "verdict": _verdict(low, high, metric == "throughput"),
                    }
                )
    return found


def fivePipes() -> list[Cell]:
    """
    The cells of the scenario with pipes.
    """
    cells: list[Cell] = []
    for ready, some in ((1, (10, 1000, 10_000)), (100, (100, 10_000))):
        for watched in some:
            point = parameters(ready, watched - ready, payload=1)
            for backend in ("select", "poll"):
                if backend == "select" and watched > 1000:
                    cells.append(failedCell("multiplexer", backend, point))
                    cells[-1]["service"] = "pipes"
                else:
                    cells.append(pipesCell(backend, ready, watched, 0.13 * watched))
            for backend, call in (("epoll", 0.75), ("proactor", 1.8), ("uring", 1.5)):
                cells.append(pipesCell(backend, ready, watched, call * ready**0.5))
    return cells


RATES: dict[str, Curve] = {
    "fork": (900, 7e3, 7e3),
    "select": (2e3, None, None),
    "epoll": (2e3, 8e3, 31e3),
    "uring": (2e3, 8e3, 31.9e3),
}


def ratedCells() -> list[Cell]:
    """
    The cells of the scenario with an open loop: some keep up, some do not, and one
    fails.
    """
    cells: list[Cell] = []
    for index, rate in enumerate((2000, 8000, 32_000)):
        point = parameters(100, rate=rate)
        for backend, curve in RATES.items():
            answered = curve[index]
            if answered is None:
                cells.append(failedCell("rate", backend, point))
                continue
            cell = okCell("rate", backend, point, answered)
            cells.append(cell)
            waiting = max(rate - answered, 10.0)
            for each in cell["rounds"]:
                each["latency_uncorrected_us"] = dict(each["latency_us"])  # type: ignore[typeddict-item]
                each["backlog"] = int(waiting)
            for percentile in ("p50", "p90", "p99", "p99.9", "max"):
                sent = cell["summary"][f"latency_us.{percentile}"]
                cell["summary"][f"latency_uncorrected_us.{percentile}"] = sent
                cell["summary"][f"latency_us.{percentile}"] = interval(
                    sent["median"] * factor * waiting / 10 for factor in WOBBLE
                )
            left = waiting / (answered + waiting)
            cell["summary"]["unanswered_fraction"] = interval((left, left, left))
    return cells


def sharedCells() -> list[Cell]:
    """
    The cells of the scenario with rates that are shares of each backend's capacity.
    """
    cells = []
    for rate, share in ((2000, 0.5), (8000, 0.8)):
        for cell in ratedCells():
            if cell["parameters"].rate == rate:
                cell["parameters"] = parameters(100, share=share)
                cells.append(cell)
    return cells


def heldCells() -> list[Cell]:
    """
    The cells of the scenario about the cost of a connection.
    """
    point = parameters(10, 99_990)
    cells = [
        failedCell("connections", "select", point),
        okCell("connections", "epoll", point, 36e3),
        okCell("connections", "uring", point, 165e3),
    ]
    for number, cell in enumerate(cells[1:]):
        for metric, bytes in (("server", 1100.0 + 200 * number), ("kernel", 8200.0)):
            name = f"{metric}_bytes_per_connection"
            cell["summary"][name] = interval(bytes * factor for factor in WOBBLE)
            for each, factor in zip(cell["rounds"], WOBBLE, strict=True):
                each[name] = bytes * factor  # type: ignore[literal-required]
                each["sampled"] = 1000
    return cells


def controlled(run: Results, factor: float) -> Results:
    """
    The same run with a control: its rounds are those of the baseline, once multiplied
    and once divided by C{factor}.
    """
    run["controls"], run["noise"] = [], []
    for cell in run["cells"]:
        if cell["backend"] == "epoll" and cell["status"] == "ok":
            again = copy.deepcopy(cell)
            for each, by in zip(again["rounds"], (1, factor, 1 / factor), strict=True):
                each["throughput"] *= by
                for percentile in ("p50", "p99"):
                    each["latency_us"][percentile] /= by
                cpu = each["server_cpu_us_per_request"]
                each["server_cpu_us_per_request"] = cpu and cpu / by
            run["controls"].append(again)
            run["noise"] += compareControl([cell], again)
    return run


def _verdict(low: float, high: float, moreIsFaster: bool) -> Verdict:
    if low <= 1 <= high:
        return "indistinguishable"
    return "faster" if (low > 1) == moreIsFaster else "slower"


def sweep(
    idle: Mapping[str, Curve] = FOUR_IDLE, active: Mapping[str, Curve] = FOUR_ACTIVE
) -> list[Cell]:
    """
    The cells of the first two scenarios.
    """
    points = {
        "idle": [parameters(10, each) for each in IDLE],
        "active": [parameters(each) for each in ACTIVE],
    }
    cells = []
    for scenario, curves in (("idle", idle), ("active", active)):
        for index, point in enumerate(points[scenario]):
            for number, (backend, curve) in enumerate(curves.items()):
                rate = curve[index]
                if rate is None:
                    cells.append(failedCell(scenario, backend, point))
                else:
                    kib = KIB.get(backend, 4 + number * 0.8)
                    # A multiplexer makes one wait for all connections that are ready.
                    switches = SWITCHES.get(backend, 1 / point.active)
                    calls = {
                        name: each / point.active if name in _WAITS else each
                        for name, each in CALLS.get(backend, {}).items()
                    }
                    cells.append(
                        okCell(
                            *(scenario, backend, point, rate, kib, switches),
                            calls or None,
                        )
                    )
    return cells


def fourBackends() -> Results:
    """
    The comparison that C{scripts/compare} makes first.
    """
    return results(sweep())


def twelveBackends() -> Results:
    """
    A run with every model, an unknown backend, one that holds a thousand connections at
    most, and a load that was the limit.
    """
    active: dict[str, Curve] = {
        name: (rates[0] and rates[0] * 0.3, *rates[:2], rates[1] and rates[1] * 0.8)
        for name, rates in TWELVE_IDLE.items()
    }
    cells = sweep(TWELVE_IDLE, active)
    for cell in cells:
        if cell["status"] == "ok" and cell["summary"]["throughput"]["median"] > 16e4:
            cell["load_limited"] = True
        if cell["status"] == "failed" and cell["backend"] == "fork":
            cell["status"], cell["reason"] = "skipped", FORK_LIMIT
    return results(cells)
