"""
What the completion reactors are to reach, measured: C{scripts/bench}.

A closed loop of a C client against one echo server at a time, each pinned to a core of
its own. Every round starts a fresh server; the rounds of all servers are shuffled; what
is compared is medians, with 95 % bootstrap intervals of their ratio. System calls are
counted by perf in a pass of its own.
"""

from __future__ import annotations

import json
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
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from iodemo.lab.statistics import interval, ratio

HERE = Path(__file__).resolve().parent
BYTES = "64"
DESCRIPTORS = 12_000
PATIENCE = 30.0
SECOND = ("sleep", "1")


@dataclass(frozen=True)
class Target:
    """
    One server's throughput against another's.
    """

    server: str
    baseline: str
    busy: int
    idle: int
    least: float


TARGETS = (
    Target("uring", "epoll", 100, 0, 3.0),
    Target("uring", "epoll", 10, 10_000, 3.0),
    Target("uring", "on-uvloop", 100, 0, 1.15),
    Target("uring", "c", 100, 0, 0.95),
    Target("proactor", "epoll", 100, 0, 2.0),
)
MOST_CALLS = 0.25
MOST_KIB = 1.2


class Bench:
    """
    The programs, and how they are run.

    @ivar realtime: whether to run both before everything else on the machine.
    """

    def __init__(self, directory: Path, seconds: float, realtime: bool) -> None:
        self.seconds = seconds
        self.realtime = realtime
        self.serverCore, self.clientCore = sorted(os.sched_getaffinity(0))[:2]
        self.programs = {}
        for name in ("client", "server"):
            self.programs[name] = str(directory / name)
            source = str(HERE / f"{name}.c")
            subprocess.run(["cc", "-O2", "-o", self.programs[name], source], check=True)

    def prepare(self, core: int) -> None:
        """
        In a child process: be where it is to be.
        """
        os.sched_setaffinity(0, {core})
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))

    @contextmanager
    def server(self, name: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
        """
        Run a server: its process, and its port.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        command = [sys.executable, str(HERE / "echo.py"), name, port]
        if name == "c":
            command = [self.programs["server"], port]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            preexec_fn=lambda: self.prepare(self.serverCore),
        ) as process:
            try:
                await_(int(port), process)
                yield process, port
            finally:
                process.kill()

    def ask(self, port: str, busy: int, idle: int, seconds: float) -> dict[str, float]:
        """
        Run the client: what it says.
        """
        asked = subprocess.run(
            [
                self.programs["client"],
                *(port, str(busy), str(idle), BYTES, "0.5", str(seconds)),
            ],
            stdout=subprocess.PIPE,
            check=True,
            timeout=PATIENCE + seconds,
            preexec_fn=lambda: self.prepare(self.clientCore),
        )
        answer: dict[str, float] = json.loads(asked.stdout)
        return answer

    def throughput(self, name: str, busy: int, idle: int) -> float:
        """
        Exchanges a second with a fresh server.
        """
        with self.server(name) as (_, port):
            return self.ask(port, busy, idle, self.seconds)["throughput"]

    def memory(self, name: str) -> float:
        """
        KiB of resident memory for one more idle connection.
        """
        sizes = []
        for idle in (100, 10_000):
            with self.server(name) as (process, port):
                watched = psutil.Process(process.pid)
                client = subprocess.Popen(
                    [
                        self.programs["client"],
                        *(port, "10", str(idle), BYTES, "0.5", "3"),
                    ],
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
        with self.server(name) as (process, port):
            event = "raw_syscalls:sys_enter"
            client = subprocess.Popen(
                [self.programs["client"], port, "100", "0", BYTES, "1", "3"],
                stdout=subprocess.PIPE,
            )
            time.sleep(1.5)
            counted = subprocess.run(
                ["perf", "stat", "-x,", "-e", event, "-p", str(process.pid), *SECOND],
                capture_output=True,
                text=True,
            )
            said, _ = client.communicate(timeout=PATIENCE)
            found = re.search(rf"^(\d+),.*{event}", counted.stderr, re.MULTILINE)
            if found is None:
                return None
            return int(found[1]) / float(json.loads(said)["throughput"])


def await_(port: int, process: subprocess.Popen[bytes]) -> None:
    """
    Wait until a server listens.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise click.ClickException(f"a server did not listen: {process.args!r}")


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Servers of each kind.")
@click.option("--seconds", default=2.0, show_default=True, help="Length of a round.")
@click.option(
    "--realtime",
    is_flag=True,
    help="Run server and client before all else on the machine (as root).",
)
def main(rounds: int, seconds: float, realtime: bool) -> None:
    """
    Measure what the completion reactors are to reach, and say whether they do.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    if len(os.sched_getaffinity(0)) < 2:
        raise click.ClickException("two cores are needed, for server and client")
    if shutil.which("cc") is None:
        raise click.ClickException("a C compiler is needed: install gcc")
    cells = {(t.server, t.busy, t.idle) for t in TARGETS}
    cells |= {(t.baseline, t.busy, t.idle) for t in TARGETS}
    plan = sorted(cells) * rounds
    random.shuffle(plan)
    measured: dict[tuple[str, int, int], list[float]] = {cell: [] for cell in cells}
    errors = Console(stderr=True)
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), seconds, realtime)
        for cell in track(plan, "rounds", console=errors):
            measured[cell].append(bench.throughput(*cell))
        calls = bench.calls("uring")
        memory = bench.memory("uring")
    show(measured, calls, memory)


def show(
    measured: dict[tuple[str, int, int], list[float]],
    calls: float | None,
    memory: float,
) -> None:
    """
    Print what was measured, and what it says of the targets.
    """
    console = Console()
    table = tableOf("server", "busy", "idle", "exchanges/s", "95 %")
    for (name, busy, idle), values in sorted(measured.items()):
        found = interval(values)
        between = f"{found['low']:,.0f}\N{EN DASH}{found['high']:,.0f}"
        median = f"{found['median']:,.0f}"
        table.add_row(name, f"{busy:,}", f"{idle:,}", median, between)
    console.print(table)
    table = tableOf("target", "busy", "aim", "measured", "95 %", "")
    for target in TARGETS:
        ratios = ratio(
            measured[target.server, target.busy, target.idle],
            measured[target.baseline, target.busy, target.idle],
        )
        assert ratios is not None
        middle, low, high = ratios
        table.add_row(
            f"{target.server} / {target.baseline}",
            f"{target.busy}" + (f" + {target.idle:,} idle" if target.idle else ""),
            f"≥ {target.least:.2f}",
            f"{middle:.2f}",
            f"{low:.2f}\N{EN DASH}{high:.2f}",
            "met" if middle >= target.least else "not met",
        )
    aim = f"≤ {MOST_CALLS}"
    if calls is None:
        table.add_row("uring, calls", "100", aim, "unknown", "", "needs perf")
    else:
        met = "met" if calls <= MOST_CALLS else "not met"
        table.add_row("uring, calls", "100", aim, f"{calls:.2f}", "", met)
    met = "met" if memory <= MOST_KIB else "not met"
    table.add_row("uring, idle KiB", "10", f"≤ {MOST_KIB}", f"{memory:.2f}", "", met)
    console.print(table)
    console.print(
        "on-uvloop: asyncio's own protocol on uvloop. c: epoll in C. calls: system "
        "calls an exchange. idle KiB: memory of one more idle connection."
    )


def tableOf(*columns: str) -> Table:
    """
    A table that fits a terminal of 80 columns.
    """
    return Table(*columns, box=None, padding=(0, 2, 0, 0))


if __name__ == "__main__":
    main()
