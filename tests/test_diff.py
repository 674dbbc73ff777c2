"""
Tests for L{iodemo.results.diff} and L{iodemo.report.difftable}.
"""

from __future__ import annotations

import copy
import io
import json
import re
from collections import Counter
from typing import Any

import msgspec
from msgspec import structs
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from iodemo.report.difftable import DiffTable
from iodemo.report.select import MISSING
from iodemo.results.decoding import decoded
from iodemo.results.diff import (
    MACHINE,
    SOFTWARE,
    Change,
    difference,
    differing,
    plansDiffering,
)
from iodemo.results.schema import Cell, Point, Results
from tests.results_examples import (
    SELECT_LIMIT,
    controlled,
    environment,
    failedCell,
    fourBackends,
    okCell,
    parameters,
    planned,
    results,
    skippedCell,
    twelveBackends,
)

POINT = parameters(10, 1000)


def terminal(old: Results, new: Results, width: int) -> str:
    """
    The table in C{width} columns, as written to a file, with rules shortened and
    without blanks at the ends of lines.
    """
    stream = io.StringIO()
    table = DiffTable(old, new, difference(old, new))
    Console(file=stream, width=width).print(table)
    lines = [line.rstrip() for line in stream.getvalue().split("\n")]
    return re.sub("─+", "─", "\n".join(lines))


def pair() -> tuple[Results, Results]:
    """
    Two runs that show every kind of change.
    """
    old = results(
        [
            failedCell("idle", "select", POINT),
            okCell("idle", "poll", POINT, 12000.0),
            okCell("idle", "epoll", POINT, 36000.0),
            okCell("idle", "uring", POINT, 100000.0),
            okCell("idle", "asyncio", POINT, 30000.0),
            okCell("active", "asyncio", parameters(10), 30000.0),
        ]
    )
    new = results(
        [
            failedCell("idle", "select", POINT),
            okCell("idle", "poll", POINT, 9000.0),
            okCell("idle", "epoll", POINT, 36500.0),
            okCell("idle", "uring", POINT, 150000.0),
            failedCell("idle", "asyncio", POINT, "it broke"),
            skippedCell("idle", "shinyloop", POINT),
        ]
    )
    new["environment"]["date"] = "2026-11-24T10:00:00Z"
    new["environment"]["twisted"] = "26.11.0"
    return old, new


class DifferenceTests(SynchronousTestCase):
    """
    Tests for L{difference}.
    """

    def change(self, old: Cell, new: Cell, metric: str = "throughput") -> Change:
        """The only change of a metric between two cells."""
        found = difference(results([old]), results([new]))
        self.assertEqual(found["unpaired"], [])
        (change,) = (each for each in found["changes"] if each["metric"] == metric)
        return change

    def test_ratio(self) -> None:
        """
        A change is the ratio of the new value to the old one, with its interval and
        verdict, for each compared metric.
        """
        old = okCell("idle", "epoll", POINT, 10_000.0)
        new = okCell("idle", "epoll", POINT, 20_000.0)
        change = self.change(old, new)
        self.assertEqual((change["scenario"], change["backend"]), ("idle", "epoll"))
        self.assertEqual((change["service"], change["parameters"]), ("echo", POINT))
        self.assertEqual(change["ratio"], 2.0)
        self.assertLess(change["low"], 2.0)
        self.assertGreater(change["high"], 2.0)
        self.assertEqual(change["verdict"], "faster")
        self.assertEqual(self.change(new, old)["verdict"], "slower")
        for metric in ("latency_us.p99", "server_cpu_us_per_request"):
            change = self.change(old, new, metric)
            self.assertAlmostEqual(change["ratio"], 0.5)
            self.assertEqual(change["verdict"], "faster")

    def test_same(self) -> None:
        """
        A run does not differ from itself.
        """
        found = difference(fourBackends(), fourBackends())
        self.assertTrue(found["changes"])
        for change in found["changes"]:
            self.assertEqual(change["ratio"], 1.0)
            self.assertEqual(change["verdict"], "indistinguishable")

    def test_noise(self) -> None:
        """
        A change within the noise of the baseline of either run is no difference.
        """
        runs = [results([okCell("idle", "epoll", POINT, n)]) for n in (1e3, 1.3e3)]
        for noisy in range(2):
            for factor, verdict in ((1.1, "faster"), (1.5, "indistinguishable")):
                pair = copy.deepcopy(runs)
                controlled(pair[noisy], factor)
                throughput = difference(*pair)["changes"][0]
                self.assertEqual(throughput["verdict"], verdict, (noisy, factor))

    def test_unpaired(self) -> None:
        """
        A value that only one run has is listed, with the reason.
        """
        old, new = pair()
        found = {
            (each["backend"], each["scenario"]): (
                each["old"],
                each["new"],
                each["reason"],
            )
            for each in difference(old, new)["unpaired"]
        }
        self.assertEqual(
            found,
            {
                ("select", "idle"): ("failed", "failed", SELECT_LIMIT),
                ("asyncio", "idle"): ("ok", "failed", "it broke"),
                ("asyncio", "active"): ("ok", None, None),
                ("shinyloop", "idle"): (None, "skipped", "the run was interrupted"),
            },
        )

    def test_samePoint(self) -> None:
        """
        Two points differ if any parameter differs. A parameter that an older version
        does not have makes no difference.
        """
        for name, value in (
            *(("active", 11), ("idle", 5), ("payload", 65), ("rate", 1.0)),
            *(("tls", True), ("churn", True), ("share", 0.5), ("stalled", 1)),
        ):
            point = structs.replace(POINT, **{name: value})
            (one, other) = difference(
                results([okCell("idle", "epoll", POINT, 1.0)]),
                results([okCell("idle", "epoll", point, 1.0)]),
            )["unpaired"]
            self.assertEqual((one["new"], other["old"]), (None, None), name)
        older = {
            name: getattr(POINT, name)
            for name in ("active", "idle", "payload", "rate", "tls")
        }
        point = decoded(json.dumps(older), Point)
        self.change(
            okCell("idle", "epoll", POINT, 1.0), okCell("idle", "epoll", point, 1.0)
        )

    def test_extremes(self) -> None:
        """
        Extreme numbers, which the format allows but no machine measures, give a finite
        ratio or none.
        """
        extremes: tuple[Any, ...] = (0, 0.0, 5e-324, 1.0, 1e308, 2**62)
        keys = ("requests", "throughput", "server_cpu_us_per_request")
        for before in extremes:
            for after in extremes:
                runs = []
                for value in (before, after):
                    cell = okCell("idle", "epoll", POINT, 1000.0)
                    for each in cell["rounds"]:
                        for key in keys:
                            each[key] = value  # type: ignore[literal-required]
                        each["latency_us"]["p99"] = value
                    runs.append(results([cell]))
                msgspec.json.encode(difference(*runs))
        self.assertEqual(self.flushWarnings(), [])


class DifferingTests(SynchronousTestCase):
    """
    Tests for L{differing}.
    """

    def test_each(self) -> None:
        """
        Each property of the machine or the versions that differs is named, with the old
        and the new value.
        """
        old = environment()
        for name, value in (
            *(("cpu", "Other"), ("cores", 4), ("architecture", "arm64")),
            *(("virtualized", False), ("kernel", "Linux 7.0")),
        ):
            new: Any = {**old, name: value}
            self.assertEqual(
                differing(old, new, MACHINE),
                [f"{name} {old[name]}, now {value}"],  # type: ignore[literal-required]
            )
            self.assertEqual(differing(old, new, SOFTWARE), [])

    def test_cores(self) -> None:
        """
        Other cores count as another machine; so does one core for both server and load.
        """
        old = environment()
        for pinning, said in (
            (None, "none"),
            ({"server": 2, "load": 3}, "server 2, load 3"),
        ):
            new: Any = {**old, "pinning": pinning}
            self.assertEqual(
                differing(old, new, MACHINE),
                [f"pinning server 0, load 1, now {said}"],
            )

    def test_versions(self) -> None:
        """
        Other versions do not count as another machine.
        """
        old, new = environment(), environment()
        new["twisted"], new["date"] = "27.1.0", "2027-01-01"
        self.assertEqual(differing(old, new, MACHINE), [])
        self.assertEqual(differing(old, new, SOFTWARE), ["twisted 26.10.0, now 27.1.0"])

    def test_oneLine(self) -> None:
        """
        A text from a file is shown on one line, whatever it contains.
        """
        old, new = environment(), environment()
        new["cpu"] = "long\n" * 1000
        (said,) = differing(old, new, MACHINE)
        self.assertNotIn("\n", said)
        self.assertLess(len(said), 200)


class PlansDifferingTests(SynchronousTestCase):
    """
    Tests for L{plansDiffering}, and for the remarks about equal plans.
    """

    def setUp(self) -> None:
        cells = [okCell("idle", "epoll", parameters(10), 1000.0)]
        self.old, self.new = results(cells), results(cells)
        self.old["plan"], self.new["plan"] = planned(), planned()

    def test_same(self) -> None:
        """
        More rounds, backends and points, and another baseline, do not change how a
        point is measured. There is a remark about those that affect the certainty of a
        difference.
        """
        self.assertEqual(difference(self.old, self.new)["different"], [])
        more = self.new["plan"]
        more["backends"] = ["poll", "epoll"]
        more["rounds"], more["baseline"] = 5, "poll"
        more["points"] = [
            *more["points"],
            {**more["points"][0], "scenario": "other", "command": ["other"]},
        ]
        self.new["environment"]["limits"]["nofile_hard"] = 1024
        self.assertEqual(plansDiffering(self.old, self.new), [])
        self.assertEqual(
            difference(self.old, self.new)["different"],
            [
                "limit on open files 1048576, now 1024",
                "rounds 3, now 5",
                "baseline epoll, now poll",
            ],
        )

    def test_each(self) -> None:
        """
        Each difference in how points were measured is named once, with all its points.
        """
        (point,) = self.old["plan"]["points"]
        further: Any = {**point, "parameters": parameters(10, 100)}
        self.old["plan"]["points"] = [point, further]
        for key, value, said in (
            ("seconds", 0.25, "seconds 1.0, now 0.25"),
            ("warmup", 0.0, "warmup 0.5, now 0.0"),
        ):
            changed: Any = {**self.old, "plan": {**self.old["plan"], key: value}}
            self.assertEqual(plansDiffering(self.old, changed), [said])
        for name, other, said in (
            ("command", ["web", "a b"], "command iodemo-echo '--listen={endpoint}', "),
            ("kind", "chat", "kind echo, now chat"),
        ):
            points = [{**each, name: other} for each in (point, further)]
            changed = {**self.old, "plan": {**self.old["plan"], "points": points}}
            (only,) = plansDiffering(self.old, changed)
            self.assertTrue(only.startswith(f"idle: {said}"), only)

    def test_older(self) -> None:
        """
        If only one file has a plan, that is mentioned.
        """
        del self.old["plan"]
        self.assertEqual(plansDiffering(self.old, self.new), [])
        (said,) = difference(self.old, self.new)["different"]
        self.assertIn("not in old", said)
        del self.new["plan"]
        self.assertEqual(difference(self.old, self.new)["different"], [])


class DiffTableTests(SynchronousTestCase):
    """
    Tests for L{DiffTable}.
    """

    def test_narrow(self) -> None:
        """
        In 80 columns a row takes one line. Cells without a number in one of the runs
        are in sentences, and a summary is the end.
        """
        lines = terminal(*pair(), 80).split("\n")
        text = "\n".join(" ".join(line.split()) for line in lines)
        for expected in (
            "\n10 busy, 1,000 idle connections\nbackend requests/s p99 CPU/req\n─\n"
            "poll ▼ ×0.75 (0.72–0.78) ▼ ×1.33 (1.29–1.38) ▼ ×1.33 (1.29–1.38)\n"  # noqa: RUF001
            "epoll = ×1.01 (0.98–1.05) = ×0.99 (0.95–1.02) = ×0.99 (0.95–1.02)\n",  # noqa: RUF001
            "\ndifferent: twisted 26.10.0, now 26.11.0\n",
            "\nFailed in both: select (idle: 10 busy + 1,000 idle): select(2) takes",
            "\nOk in old, failed in new: asyncio (idle: 10 busy + 1,000 idle): it bro",
            "\nOnly in old: asyncio (active: 10 busy)\n",
            "\nOnly in new: shinyloop (idle: 10 busy + 1,000 idle): the run was inter",
            "\nThroughput, new to old: 1 ▲ faster, 1 ▼ slower, 1 = indistinguishable;",
        ):
            self.assertIn(expected, text)

    def test_nothingIsCut(self) -> None:
        """
        At any width, no line is longer than that and no letter is lost.
        """
        old, new = twelveBackends(), twelveBackends()
        new["cells"][0]["backend"] = "a-name-that-goes-on-" + "and-on-" * 6 + "ends"
        complete = Counter(re.sub(r"[\s─]", "", terminal(old, new, 400)))
        for width in (60, 80, 120):
            text = terminal(old, new, width)
            self.assertTrue(all(len(line) <= width for line in text.split("\n")))
            self.assertEqual(Counter(re.sub(r"[\s─]", "", text)), complete)

    def test_noMarkup(self) -> None:
        """
        Markup in a text from a file is shown literally.
        """
        old, new = pair()
        hostile = "[bold red]x[/] <b>"
        new["environment"]["command"] = new["environment"]["twisted"] = hostile
        new["cells"][4]["reason"] = hostile
        self.assertEqual(terminal(old, new, 200).count(hostile), 4)

    def test_incomplete(self) -> None:
        """
        If a run is incomplete, the table has a remark about it.
        """
        old, new = pair()
        old["complete"] = False
        self.assertEqual(terminal(old, new, 80).count("This run is not complete"), 1)

    def test_missingInOne(self) -> None:
        """
        A metric that only one of the runs has is a column of dashes.
        """
        old, new = pair()
        cells = [cell for cell in new["cells"] if cell["status"] == "ok"]
        self.assertIn("CPU/req", terminal(old, new, 120))
        for cell in cells:
            del cell["summary"]["server_cpu_us_per_request"]
            for each in cell["rounds"]:
                each["server_cpu_us_per_request"] = None
        text = terminal(old, new, 120)
        self.assertIn("CPU/req", text)
        self.assertIn(MISSING, text)
        for cell in old["cells"]:
            cell["summary"].pop("server_cpu_us_per_request", None)
        self.assertNotIn("CPU/req", terminal(old, new, 120))

    def test_nothingInCommon(self) -> None:
        """
        For runs without a common point, there is a sentence instead of a table.
        """
        old = results([okCell("idle", "epoll", POINT, 1.0)])
        text = terminal(old, results([]), 80)
        self.assertIn("Nothing was measured in both.", text)
        self.assertIn("Only in old: epoll (idle: 10 busy + 1,000 idle)", text)
