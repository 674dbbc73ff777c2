"""
What the completion reactors are to reach, measured: C{scripts/bench}.

One server at a time and its client, each pinned to a core of its own. Every round
starts a fresh server; the rounds of all servers are shuffled; what is compared is
medians, with 95 % bootstrap intervals of their ratio. System calls are counted by perf
in a pass of its own.

There are plain echo servers (C{echo.py}, C{server.c}), and iodemo's own services as
users start them, with C{twistd}. The client is C{client.c}; over TLS, C{tlsclient.py}.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from iodemo import models
from iodemo.process.child import Child
from iodemo.results.statistics import interval, ratio
from tests.certificates import tlsEndpoint, writeCertificate

HERE = Path(__file__).resolve().parent
TWISTD = str(Path(sys.executable).with_name("twistd"))
DESCRIPTORS = 12_000
PATIENCE = 30.0
WARMUP = "0.5"
SECOND = ("sleep", "1")
#: Services by what the client does with them, where that is not a plain echo.
SERVICES = {
    "http": ("iodemo-http",),
    "load-http": ("iodemo-http",),
    "wrk": ("iodemo-http",),
    "tls": ("iodemo-echo",),
    "stream": ("iodemo-stream",),
    "sink": ("iodemo-stream", "--sink"),
}
#: What the client counts in bytes.
BULK = ("stream", "sink")


class Cell(NamedTuple):
    """
    One server, and what is done with it.

    @ivar work: C{"echo"}, C{"load"} for an echo that C{iodemo load} asks for, or a key
        of L{SERVICES}: of those C{"load-http"} is asked by C{iodemo load}, and C{"wrk"}
        by wrk.
    @ivar server: a reactor, or a reference.
    """

    work: str
    server: str
    busy: int
    idle: int


@dataclass(frozen=True)
class Target:
    """
    One server's throughput against another's.
    """

    work: str
    server: str
    baseline: str
    busy: int
    idle: int
    least: float

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """
        What is compared.
        """
        return (
            Cell(self.work, self.server, self.busy, self.idle),
            Cell(self.work, self.baseline, self.busy, self.idle),
        )


TARGETS = (
    Target("echo", "uring", "epoll", 100, 0, 3.0),
    Target("echo", "uring", "epoll", 10, 10_000, 3.0),
    Target("echo", "uring", "uvloop-protocol", 100, 0, 1.15),
    Target("echo", "uring", "c-epoll", 100, 0, 0.95),
    Target("echo", "proactor", "epoll", 100, 0, 2.0),
    Target("stream", "uring", "epoll", 10, 0, 1.0),
    Target("sink", "uring", "epoll", 10, 0, 1.0),
    Target("http", "uring", "epoll", 100, 0, 1.0),
    Target("http", "proactor", "epoll", 100, 0, 1.0),
    Target("tls", "uring", "epoll", 100, 0, 1.0),
    Target("tls", "proactor", "epoll", 100, 0, 1.0),
)
#: The driver of C{iodemo load}, and what it is held against: the same server, asked by
#: the client in C and, where there is wrk, by that. And what their ratios are to be.
DRIVERS = {
    "load / client in C": (
        Cell("load", "c-epoll", 100, 0),
        Cell("echo", "c-epoll", 100, 0),
    )
}
if shutil.which("wrk") is not None:
    DRIVERS["load / wrk, http"] = (
        Cell("load-http", "epoll", 100, 0),
        Cell("wrk", "epoll", 100, 0),
    )
DRIVER_AIMS = {
    "throughput": (0.9, inf),
    "p50_us": (0.9, 1.1),
    "p99_us": (0.9, 1.1),
}
EXPLANATION = (
    "echo: 64 bytes, by a plain protocol. load: the same, asked by iodemo load. http: "
    "the small page of iodemo-http; load-http, wrk: the same, asked by iodemo load, by "
    "wrk. tls: 64 bytes over TLS, by iodemo-echo. stream, "
    "sink: bytes from iodemo-stream and to iodemo-stream --sink, in writes of 64 KiB. "
    "uvloop-protocol: asyncio's own protocol on uvloop. c-epoll: epoll in C. client: "
    "how much of its core the client used, which is in C, for tls in Python. calls: "
    "system calls an exchange. idle KiB: memory of one more idle connection."
)
MOST_CALLS = 0.25
MOST_KIB = 1.2


class Bench:
    """
    The client and the servers, and how they are run.

    @ivar realtime: whether to run both before everything else on the machine.
    """

    def __init__(self, directory: Path, seconds: float, realtime: bool) -> None:
        self.seconds = seconds
        self.realtime = realtime
        self.serverCore, self.clientCore = sorted(os.sched_getaffinity(0))[:2]
        self.client = str(directory / "client")
        source = str(HERE / "client.c")
        subprocess.run(["cc", "-O2", "-o", self.client, source], check=True)
        self.certificate = writeCertificate(directory)

    def prepare(self) -> None:
        """
        In the client's process: be where it is to be.
        """
        os.sched_setaffinity(0, {self.clientCore})
        self.hurry(0)

    def hurry(self, pid: int) -> None:
        """
        Have a process run before everything else, if that was asked for.
        """
        if self.realtime:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(50))

    @contextmanager
    def server(self, work: str, name: str) -> Iterator[tuple[Child, str]]:
        """
        Run a server: its process, and its port.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with Child(self.serverCommand(work, name, port), self.serverCore) as server:
            self.hurry(server.pid)
            await_(port, server)
            yield server, str(port)

    def serverCommand(self, work: str, name: str, port: int) -> list[str]:
        """
        How a server is started.
        """
        modules = {model.name: model.module for model in models.MODELS}
        reference = modules.get(name)
        if reference is not None:
            command: list[str] = importlib.import_module(reference).command(port)
            return command
        if work in ("echo", "load"):
            return [sys.executable, str(HERE / "echo.py"), name, str(port)]
        endpoint = f"tcp:{port}:interface=127.0.0.1"
        if work == "tls":
            endpoint = tlsEndpoint(self.certificate, port)
        twistd = [TWISTD, "-n", "--pidfile=", f"--reactor={name}"]
        return [*twistd, *SERVICES[work], "--listen", endpoint]

    def clientCommand(
        self, work: str, port: str, busy: int, idle: int, seconds: float
    ) -> list[str]:
        """
        How its client is started.
        """
        if work == "tls":
            client = [sys.executable, str(HERE / "tlsclient.py"), str(self.certificate)]
            return [*client, port, str(busy), WARMUP, str(seconds)]
        if work in ("load", "load-http"):
            return [
                *(sys.executable, "-m", "iodemo", "load", f"tcp:127.0.0.1:{port}"),
                *(f"--connections={busy}", f"--idle={idle}", f"--warmup={WARMUP}"),
                *(f"--seconds={seconds}", "--json"),
                f"--kind={'echo' if work == 'load' else 'http:/'}",
            ]
        if work == "wrk":
            asked = f"http://127.0.0.1:{port}/"
            length = f"{math.ceil(seconds)}s"  # it takes no part of one
            return ["wrk", "--latency", "-t", "1", "-c", str(busy), "-d", length, asked]
        client = [self.client, work]
        return [*client, port, str(busy), str(idle), WARMUP, str(seconds)]

    def measure(self, cell: Cell) -> dict[str, float]:
        """
        What the client says of a fresh server.
        """
        with self.server(cell.work, cell.server) as (_, port):
            before, began = cpuOfChildren(), time.monotonic()
            asked = subprocess.run(
                self.clientCommand(cell.work, port, cell.busy, cell.idle, self.seconds),
                stdout=subprocess.PIPE,
                check=True,
                timeout=PATIENCE + self.seconds,
                preexec_fn=self.prepare,
            )
            used = (cpuOfChildren() - before) / (time.monotonic() - began)
        if cell.work == "wrk":
            return wrkSaid(asked.stdout.decode(), used)
        answer: dict[str, Any] = json.loads(asked.stdout)
        if cell.work in ("load", "load-http"):
            return {
                "throughput": answer["throughput"],
                "p50_us": answer["latency_us"]["p50"],
                "p99_us": answer["latency_us"]["p99"],
                "load_cpu": answer["load_cpu_fraction"],
            }
        return answer

    def memory(self, name: str) -> float:
        """
        KiB of resident memory for one more idle connection.
        """
        sizes = []
        for idle in (100, 10_000):
            with self.server("echo", name) as (server, port):
                watched = psutil.Process(server.pid)
                client = subprocess.Popen(
                    self.clientCommand("echo", port, 10, idle, 3),
                    stdout=subprocess.DEVNULL,
                )
                most = 0
                while client.poll() is None:
                    most = max(most, watched.memory_info().rss)
                    time.sleep(0.05)
                sizes.append(most)
        return (sizes[1] - sizes[0]) / 9_900 / 1024

    def calls(self, name: str) -> float | None:
        """
        System calls an exchange, with 100 busy; L{None} if perf cannot count them.
        """
        if shutil.which("perf") is None:
            return None
        with self.server("echo", name) as (server, port):
            event = "raw_syscalls:sys_enter"
            client = subprocess.Popen(
                self.clientCommand("echo", port, 100, 0, 3), stdout=subprocess.PIPE
            )
            time.sleep(1.5)
            counted = subprocess.run(
                ["perf", "stat", "-x,", "-e", event, "-p", str(server.pid), *SECOND],
                capture_output=True,
                text=True,
            )
            said, _ = client.communicate(timeout=PATIENCE)
            found = re.search(rf"^(\d+),.*{event}", counted.stderr, re.MULTILINE)
            if found is None:
                return None
            return int(found[1]) / float(json.loads(said)["throughput"])


def cpuOfChildren() -> float:
    """
    CPU seconds of those that have ended.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wrkSaid(text: str, used: float) -> dict[str, float]:
    """
    What wrk has found out.

    @param used: of its core.
    """
    scale = {"us": 1.0, "ms": 1e3, "s": 1e6}

    def latency(percentile: int) -> float:
        found = re.search(
            rf"^\s*{percentile}%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE
        )
        assert found is not None, text
        return float(found[1]) * scale[found[2]]

    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", text, re.MULTILINE)
    assert rate is not None, text
    return {
        "throughput": float(rate[1]),
        "p50_us": latency(50),
        "p99_us": latency(99),
        "load_cpu": used,
    }


def await_(port: int, server: Child) -> None:
    """
    Wait until a server listens.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not server.ended:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise click.ClickException(f"a server did not listen: {server.lastWords()}")


def checkMachine() -> None:
    """
    See that there is what this takes.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise click.ClickException("two cores are needed, for server and client")
    if shutil.which("cc") is None:
        raise click.ClickException("a C compiler is needed: install gcc")


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Servers of each kind.")
@click.option("--seconds", default=1.5, show_default=True, help="Length of a round.")
@click.option(
    "--realtime",
    is_flag=True,
    help="Run server and client before all else on the machine (as root).",
)
def main(rounds: int, seconds: float, realtime: bool) -> None:
    """
    Measure what the completion reactors are to reach, and say whether they do.

    Plain echo servers and iodemo's services, each under the reactor in question and
    under what it is held against: a fresh server for every round, in random order,
    server and client on a core each. It takes four minutes on two cores that do nothing
    else.
    """
    checkMachine()
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    compared = [*DRIVERS.values(), *(each.cells for each in TARGETS)]
    cells = {cell for pair in compared for cell in pair}
    plan = sorted(cells) * rounds
    random.shuffle(plan)
    measured: dict[Cell, list[dict[str, float]]] = {cell: [] for cell in cells}
    errors = Console(stderr=True)
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), seconds, realtime)
        for cell in track(plan, "rounds", console=errors):
            measured[cell].append(bench.measure(cell))
        calls = bench.calls("uring")
        memory = bench.memory("uring")
    show(measured, calls, memory)


def show(
    measured: dict[Cell, list[dict[str, float]]],
    calls: float | None,
    memory: float,
) -> None:
    """
    Print what was measured, and what it says of the targets.
    """
    console = Console()
    throughputs = {
        cell: [each["throughput"] for each in rounds]
        for cell, rounds in measured.items()
    }
    table = tableOf("", "server", "busy", "idle", "a second", "95 %", "client")
    works = ("echo", "load", *SERVICES)
    for cell in sorted(measured, key=lambda c: (works.index(c.work), c.idle, c.server)):
        found = interval(throughputs[cell])
        scale, unit = (1e-6, " MB") if cell.work in BULK else (1, "")
        low, middle, high = (
            f"{found[key] * scale:,.0f}" for key in ("low", "median", "high")
        )
        table.add_row(
            cell.work,
            cell.server,
            f"{cell.busy:,}",
            f"{cell.idle:,}",
            f"{middle}{unit}",
            f"{low}\N{EN DASH}{high}",
            f"{median(each['load_cpu'] for each in measured[cell]):.0%}",
        )
    console.print(table)
    table = tableOf("target", "busy + idle", "aim", "measured", "95 %", "")
    for target in TARGETS:
        cell, baseline = target.cells
        table.add_row(
            f"{target.work}, {target.server} / {target.baseline}",
            f"{target.busy}" + (f" + {target.idle:,}" if target.idle else ""),
            *ratioSaid(throughputs[cell], throughputs[baseline], target.least, inf),
        )
    for driver, pair in DRIVERS.items():
        for metric, aims in DRIVER_AIMS.items():
            if metric == "p99_us" and pair[1].work == "wrk":
                # wrk adds to it what it thinks that it has not asked meanwhile
                # (stats_correct in its src/stats.c): it is no percentile of answers.
                continue
            ours, its = ([each[metric] for each in measured[cell]] for cell in pair)
            said = ratioSaid(ours, its, *aims)
            name = metric.removesuffix("_us")
            table.add_row(f"{driver}, {name}", f"{pair[0].busy}", *said)
    aim = f"≤ {MOST_CALLS}"
    if calls is None:
        table.add_row("echo, uring, calls", "100", aim, "unknown", "", "needs perf")
    else:
        met = "met" if calls <= MOST_CALLS else "not met"
        table.add_row("echo, uring, calls", "100", aim, f"{calls:.2f}", "", met)
    met = "met" if memory <= MOST_KIB else "not met"
    aim = f"≤ {MOST_KIB}"
    table.add_row("echo, uring, idle KiB", "10", aim, f"{memory:.2f}", "", met)
    console.print(table)
    console.print(EXPLANATION)


def ratioSaid(
    values: list[float], baseline: list[float], least: float, most: float
) -> tuple[str, str, str, str]:
    """
    What a ratio is to be, what it is, its interval, and whether it is what it is to be.
    """
    ratios = ratio(values, baseline)
    assert ratios is not None
    times, low, high = ratios
    return (
        f"≥ {least:.2f}" if most == inf else f"{least:.2f}\N{EN DASH}{most:.2f}",
        f"{times:.2f}",
        f"{low:.2f}\N{EN DASH}{high:.2f}",
        "met" if least <= times <= most else "not met",
    )


def tableOf(*columns: str) -> Table:
    """
    A table that fits a terminal of 80 columns.
    """
    return Table(*columns, box=None, padding=(0, 2, 0, 0))


if __name__ == "__main__":
    main()
