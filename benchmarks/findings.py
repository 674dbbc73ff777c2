"""
What was foretold of these I/O models, measured: C{scripts/findings}.

Plain echo servers, asked as L{benchmarks.bench} asks, by the client in C. A prediction
is a few ratios, each with what it was said to be. It is confirmed if the 95 % interval
of every one of them lies where it was said to, refuted if that of one lies nowhere
there, and else undecided.
"""

from __future__ import annotations

import random
import resource
import tempfile
from dataclasses import dataclass
from math import inf
from pathlib import Path

import click
from bench import DESCRIPTORS, Bench, Cell, checkMachine, tableOf
from rich.console import Console
from rich.progress import track

from iodemo.results.statistics import FEWEST_ROUNDS, ratio

THROUGHPUT = "throughput"
P99 = "p99_us"
P50 = "p50_us"


@dataclass(frozen=True)
class Said:
    """
    A ratio, and what it was said to be.

    @ivar metric: as the client names it.
    """

    cell: Cell
    baseline: Cell
    least: float = 0.0
    most: float = inf
    metric: str = THROUGHPUT


@dataclass(frozen=True)
class Prediction:
    """
    @ivar text: in its own words, as far as it is tested.
    """

    text: str
    said: tuple[Said, ...]


def echo(server: str, busy: int, idle: int = 0) -> Cell:
    """
    One server's echo.
    """
    return Cell("echo", server, busy, idle)


#: What is on par.
LEAST, MOST = 0.9, 1.1

PREDICTIONS = (
    Prediction(
        "select and poll are much slower than epoll only when idle connections are "
        "many; without any, all are within the noise",
        (
            Said(echo("select", 10), echo("epoll", 10), LEAST, MOST),
            Said(echo("poll", 10), echo("epoll", 10), LEAST, MOST),
            Said(echo("select", 10, 900), echo("epoll", 10, 900), most=0.7),
            Said(echo("poll", 10, 900), echo("epoll", 10, 900), most=0.7),
        ),
    ),
    Prediction(
        "to try a send at once and ask for EPOLLOUT only then gives Twisted's epoll "
        "reactor 15 to 30 %, more than another poller does",
        (
            Said(echo("epoll-trying", 100), echo("epoll", 100), 1.15, 1.3),
            Said(echo("epoll-trying", 100), echo("poll", 100), least=1.0),
        ),
    ),
    Prediction(
        "asyncio's reactor is no faster than epoll's; uvloop gives it at most 10 %",
        (
            Said(echo("asyncio", 100), echo("epoll", 100), most=1.0),
            Said(echo("uvloop", 100), echo("asyncio", 100), most=1.1),
        ),
    ),
    Prediction(
        "io_uring as readiness is no faster than epoll",
        (Said(echo("uring-readiness", 100), echo("epoll", 100), most=1.0),),
    ),
    Prediction(
        "io_uring as completions, one call an iteration, is on par with a tuned epoll "
        "(proactor, which tries at once) where one connection is busy, and gains with "
        "the number of completions a call",
        (
            Said(echo("uring", 1), echo("proactor", 1), LEAST, MOST),
            Said(echo("uring", 10), echo("proactor", 10), least=1.1),
            Said(echo("uring", 100), echo("proactor", 100), least=1.1),
        ),
    ),
    Prediction(
        "io_uring that is entered for every operation can have half of what a tuned "
        "epoll has",
        (Said(echo("uring-by-operation", 100), echo("proactor", 100), most=0.75),),
    ),
    Prediction(
        "a ring that is driven through ctypes loses: to epoll, and to the same ring in "
        "an extension",
        (
            Said(echo("uring-ctypes", 100), echo("proactor", 100), most=1.0),
            Said(echo("uring-ctypes", 100), echo("uring", 100), most=1.0),
        ),
    ),
    Prediction(
        "a thread a connection competes up to 100 busy connections, and has a worse "
        "p99 with 1,000",
        (
            Said(echo("threads", 100), echo("epoll", 100), least=0.9),
            Said(echo("threads", 1000), echo("epoll", 1000), 1.0, metric=P99),
        ),
    ),
    Prediction(
        "busy polling has the best p50 with one connection",
        tuple(
            Said(echo("busypoll", 1), echo(other, 1), most=1.0, metric=P50)
            for other in ("select", "poll", "epoll", "threads", "proactor", "uring")
        ),
    ),
)


def answer(verdicts: list[bool | None]) -> str:
    """
    What the ratios of a prediction say together.
    """
    if False in verdicts:
        return "refuted"
    return "undecided" if None in verdicts else "confirmed"


def verdict(said: Said, low: float, high: float) -> bool | None:
    """
    Whether an interval lies where it was said to; L{None} if in part.
    """
    if said.least <= low and high <= said.most:
        return True
    if high < said.least or said.most < low:
        return False
    return None


@click.command()
@click.option(
    "--rounds",
    type=click.IntRange(FEWEST_ROUNDS),
    default=7,
    show_default=True,
    help="Servers of each kind.",
)
@click.option("--seconds", default=1.0, show_default=True, help="Length of a round.")
@click.option(
    "--realtime",
    is_flag=True,
    help="Run server and client before all else on the machine (as root).",
)
@click.option("--about", default="", help="Only predictions that have this in them.")
def main(rounds: int, seconds: float, realtime: bool, about: str) -> None:
    """
    Measure what was foretold of these I/O models, and say what came true.

    It takes seven minutes on two cores that do nothing else.
    """
    checkMachine()
    predictions = [each for each in PREDICTIONS if about in each.text]
    if not predictions:
        raise click.ClickException(f"no prediction has {about!r} in it")
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    cells = {
        cell
        for prediction in predictions
        for said in prediction.said
        for cell in (said.cell, said.baseline)
    }
    plan = sorted(cells) * rounds
    random.shuffle(plan)
    measured: dict[Cell, list[dict[str, float]]] = {cell: [] for cell in cells}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), seconds, realtime)
        for cell in track(plan, "rounds", console=Console(stderr=True)):
            measured[cell].append(bench.measure(cell))
    console = Console()
    for prediction in predictions:
        table = tableOf("ratio", "of", "busy + idle", "said", "measured", "95 %")
        verdicts = []
        for said in prediction.said:
            found = ratio(
                *(
                    [each[said.metric] for each in measured[cell]]
                    for cell in (said.cell, said.baseline)
                )
            )
            assert found is not None
            middle, low, high = found
            verdicts.append(verdict(said, low, high))
            idle = f" + {said.cell.idle:,}" if said.cell.idle else ""
            most = "" if said.most == inf else f"≤ {said.most:.2f}"
            least = f"≥ {said.least:.2f}" if said.least else ""
            table.add_row(
                f"{said.cell.server} / {said.baseline.server}",
                said.metric.removesuffix("_us"),
                f"{said.cell.busy:,}{idle}",
                " ".join(each for each in (least, most) if each),
                f"{middle:.2f}",
                f"{low:.2f}\N{EN DASH}{high:.2f}",
            )
        console.print(f"[b]{prediction.text}[/b]: {answer(verdicts)}", highlight=False)
        console.print(table)


if __name__ == "__main__":
    main()
