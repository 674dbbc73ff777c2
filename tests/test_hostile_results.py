"""
Tests with results files from outside, made at random: each is refused in one line, or
shown.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from iodemo.cli import main as cli
from iodemo.report.figures import Chart
from iodemo.results.file import FILE_NAME
from iodemo.results.schema import Cell, Results
from tests.results_examples import (
    controlled,
    failedCell,
    fivePipes,
    heldCells,
    okCell,
    parameters,
    planned,
    ratedCells,
    results,
    sharedCells,
    skippedCell,
)

#: How often each command is tried by default.
EXAMPLES = int(os.environ.get("IODEMO_RESULTS_EXAMPLES", "15"))

#: Numbers that the format allows and that are difficult in calculations.
NUMBERS = (0, 1, 3, 1e-30, 1e-9, 0.5, 1.0, 100, 1e9, 1e15, 2**53, 2**63 - 1)

#: Values to put in the place of any other.
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *(-1, -0.5, 2**63, 5e-324, 1e308, 10**400, float("nan"), float("inf")),
    *(None, True, False, [], {}, [[]], {"x": 1}, "", "12", "x" * 64, "x" * 10_001),
    *("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\u202egnp", "a\x00b", "\ud800"),
    *("<script>alert(1)</script>", "&amp;", "[bold]x[/bold]", "[/x]", "$\\frac{", "µ"),
    *("epoll", "uring", "idle", "multiplexer", "rate", "connections", "chat", "stream"),
    *("ok", "failed", "faster", "throughput", "latency_us.p99", "us_per_call"),
)

#: Replaced by lists nested so deeply that no recursive function can process them.
DEEP = "<deep>"

#: The commands. FILE stands for the hostile file, GOOD for a well-formed one.
SHOWING = (
    ("report", "FILE", "--output", "out"),
    ("report", "GOOD", "FILE", "--output", "out"),
    ("report", "--book", "FILE", "--output", "out"),
)
DECIDING = (
    ("diff", "GOOD", "FILE"),
    ("diff", "FILE", "GOOD", "--different-machines", "--different-plans"),
    ("diff", "FILE", "FILE", "--json"),
)
CLAIMS = (
    "uring/epoll > 1",
    "latency_us.p99: epoll/uring < 2",
    "server_cpu_us_per_request: epoll/poll <= 1",
    "idle=100: epoll/poll >= 0.5",
)


def _ofScenario(name: str) -> list[Cell]:
    """
    A few different cells of one scenario.
    """
    made = {
        "multiplexer": fivePipes,
        "rate": ratedCells,
        "shares": sharedCells,
        "connections": heldCells,
    }
    if name in made:
        return made[name]()
    cells = []
    for number, many in enumerate((0, 100, 1000)):
        point = parameters(10, many)
        if name == "slow":
            point = parameters(10, stalled=many)
        elif name in ("churn", "threads"):
            point = parameters(1 + many, churn=name == "churn")
        scenario = "active" if name == "threads" else name
        for backend, rate in (("epoll", 4e4), ("uring", 1e5), ("threads", 2e4)):
            calls = {"recvfrom": 1.0, "epoll_wait": 1 / (1 + number), "other": 0.1}
            cells.append(okCell(scenario, backend, point, rate, calls=calls))
        cells.append(failedCell(scenario, "select", point))
        cells.append(skippedCell(scenario, "fork", point))
    return cells


SCENARIOS = (
    *("idle", "threads", "churn", "slow", "http", "chat", "stream"),
    *("multiplexer", "rate", "shares", "connections"),
)


def _run(names: list[str]) -> Results:
    """
    A whole run, with every part that a file may have.
    """
    cells = [cell for name in names for cell in _ofScenario(name)]
    if {"rate", "shares"} <= {*names}:
        # Cells of one scenario have different points.
        cells = [
            *{(cell["parameters"], cell["backend"]): cell for cell in cells}.values()
        ]
    run = controlled(results(cells), 1.02)
    run["plan"] = planned()
    first = cells[0]
    run["unfinished"] = [
        {
            "scenario": first["scenario"],
            "service": first["service"],
            "parameters": first["parameters"],
            "backend": "epoll",
            "control": True,
            "rounds": first["rounds"],
        }
    ]
    run["resumed"] = ["2026-11-24T10:00:00Z"]
    return run


def _places(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """
    The path of each value in a file, as a list of keys.
    """
    if keys:
        yield keys
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*keys, key))


@st.composite
def hostileRuns(draw: st.DrawFn) -> Any:
    """
    Runs in which some values are replaced, repeated or removed. Most still match the
    format, as a file that is refused tests little.
    """
    chosen = st.lists(st.sampled_from(SCENARIOS), min_size=1, max_size=2, unique=True)
    run: Any = msgspec.to_builtins(_run(draw(chosen)))
    anything = draw(st.booleans())
    for _ in range(draw(st.integers(1, 30))):
        places = [*_places(run)]
        *outer, last = places[draw(st.integers(0, len(places) - 1))]
        inner = run
        for key in outer:
            inner = inner[key]
        there = inner[last]
        how = draw(st.sampled_from(("other", "other", "gone", "twice", "empty")))
        if anything and draw(st.integers(0, 4)) == 0:
            # A copy: a later step may change it, and no other run.
            inner[last] = copy.deepcopy(draw(st.sampled_from((*VALUES, DEEP))))
        elif isinstance(there, bool):
            inner[last] = not there
        elif isinstance(there, int | float):
            number = draw(st.sampled_from(NUMBERS))
            inner[last] = int(number) if isinstance(there, int) else number
        elif isinstance(there, str) and isinstance(last, str):
            inner[last] = draw(
                st.sampled_from(
                    [v for v in VALUES if isinstance(v, str) and v.isalpha()]
                )
            )
        elif isinstance(inner, list) and how == "gone":
            del inner[last]
        elif isinstance(inner, list) and how == "twice":
            inner.append(copy.deepcopy(there))
        elif isinstance(there, list) and how == "empty":
            there.clear()
    return run


class HostileResultsTests(SynchronousTestCase):
    """
    Tests for every command that reads results.
    """

    def setUp(self) -> None:
        # One format of figures is enough: to draw each in two would take half of the
        # time.
        self.patch(Chart, "png", lambda self: b"")
        self.good = msgspec.json.encode(_run(["idle"])).decode()

    def shown(self, run: Any, arguments: tuple[str, ...]) -> None:
        """
        Check that a command refuses a run in one line, or succeeds.
        """
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            deep = "[" * 900 + "]" * 900
            hostile = json.dumps(run).replace(f'"{DEEP}"', deep)
            files = {"FILE": hostile, "GOOD": self.good}
            for each, text in files.items():
                (directory / each).mkdir()
                (directory / each / FILE_NAME).write_text(text)
            paths = {each: str(directory / each) for each in (*files, "out")}
            line = [paths.get(each, each) for each in arguments]
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                outcome = CliRunner().invoke(cli.main, line)
            if not isinstance(outcome.exception, SystemExit | None):
                raise outcome.exception
            text = outcome.output
            self.assertTrue(all(c.isprintable() or c == "\n" for c in text), repr(text))
            claims = "--require" in arguments
            if outcome.exit_code not in ((0, 1, 2, 3) if claims else (0,)):
                self.assertEqual(outcome.exit_code, 1)
                self.assertEqual(text.count("\n"), 1, text)
                self.assertTrue(text.startswith("Error: "), text)
            page = directory / "out" / "report.html"
            if page.exists():
                self.wholesome(page.read_text(encoding="utf-8"))

    def wholesome(self, page: str) -> None:
        """
        Check that a page is well-formed, and that no text of the file is executed.
        """
        root = ElementTree.fromstring(page.split("\n", 1)[1])
        tags = {each.tag.rpartition("}")[2] for each in root.iter()}
        self.assertEqual(tags & {"script", "img", "iframe", "object"}, set())
        self.assertTrue(all(c.isprintable() or c in "\n\t\xa0" for c in page))

    def eachHostile(self, commands: tuple[tuple[str, ...], ...], times: int) -> None:
        """
        Run commands on random runs.
        """

        @settings(
            max_examples=times * EXAMPLES,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(hostileRuns(), st.sampled_from(commands))
        def holds(run: Any, arguments: tuple[str, ...]) -> None:
            self.shown(run, arguments)

        holds()

    def test_shown(self) -> None:
        """
        Commands that draw: C{report}, of one run, of several, and for the book.
        """
        self.eachHostile(SHOWING, 1)

    def test_compared(self) -> None:
        """
        Commands that compare: C{diff}, with a well-formed run and with the same file.
        """
        self.eachHostile(DECIDING, 4)

    def test_decided(self) -> None:
        """
        Commands that decide: C{--require}.
        """
        commands = tuple((*SHOWING[0], "--require", claim) for claim in CLAIMS)
        self.eachHostile(commands, 1)
