"""
Tests for L{iodemo.bench.statements}.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from twisted.application.reactors import Reactor
from twisted.trial.unittest import SynchronousTestCase

from iodemo import models
from iodemo.bench.plan import Plan
from iodemo.bench.statements import Statements, StatementsError, read
from iodemo.results.schema import Point

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PLUGINS = "twisted/plugins/iodemo_variants.py"

TWO = """
[[statements]]
text = "poll is slow"
claims = ["idle idle=900: poll/epoll < 1", "idle idle=0: poll >= 1"]

[[statements]]
text = "uring is quick"
claims = ["active active=100: uring/poll > 1"]

[points]
idle = [{active = 10, idle = 900}]
"""


class ReadTests(SynchronousTestCase):
    """
    Tests for L{read}.
    """

    def read(self, text: str, about: str = "") -> Statements:
        """Read a file with this text."""
        path = Path(self.mktemp())
        path.write_text(text)
        return read(path, about)

    def test_claims(self) -> None:
        """
        The file has statements in its order, each with claims.
        """
        found = self.read(TWO)
        self.assertEqual(
            [each.text for each in found.statements], ["poll is slow", "uring is quick"]
        )
        self.assertEqual(len(found.claims), 3)
        self.assertEqual(found.backends(), ("poll", "epoll", "uring"))

    def test_scenarios(self) -> None:
        """
        The points are those that a claim is about, of the scenarios and of the file.
        """
        found = {each.name: points for each, points in self.read(TWO).scenarios()}
        self.assertEqual(
            found, {"active": (Point(100),), "idle": (Point(10), Point(10, 900))}
        )

    def test_samePoint(self) -> None:
        """
        A point of the file that the scenario has too is measured once.
        """
        found = self.read(TWO.replace("idle = 900}", "idle = 900}, {active = 10}"))
        self.assertIn(
            (Point(10), Point(10, 900)), [points for _, points in found.scenarios()]
        )

    def test_about(self) -> None:
        """
        Statements can be left out by their text.
        """
        found = self.read(TWO, "quick")
        self.assertEqual([each.text for each in found.statements], ["uring is quick"])
        self.assertEqual([each.name for each, _ in found.scenarios()], ["active"])

    def test_bad(self) -> None:
        """
        An error in a file is reported in one line, with its place.
        """
        claimless = '[[statements]]\ntext = ""\nclaims = []'
        for text, about, reason in (
            ("", "", "required field `statements`"),
            ("statements = []", "", "length >= 1 - at `$.statements`"),
            (TWO, "nonsense", "no statement has 'nonsense' in its text"),
            (claimless, "", "length >= 1 - at `$.statements[0].claims`"),
            (TWO.replace("text =", "texts ="), "", "unknown field `texts`"),
            (TWO.replace("poll >= 1", "poll"), "", "is no claim such as"),
            (TWO.replace("\nidle =", "\nidel ="), "", "no scenario named 'idel'"),
            (TWO.replace("idle = 900", "idle = ''"), "", "at `$.idle`"),
            (TWO.replace("idle = 900", "idel = 900"), "", "unknown field `idel`"),
            (TWO.replace("idle = 900", '"\\u001b\\n" = 1'), "", "unknown field `??`"),
            (TWO.replace("idle = 900", "tls = true"), "", "scenario decides tls"),
            (
                TWO.replace("{active = 10", "{active = 0"),
                "",
                "point 1 of idle: ",
            ),
            (TWO.replace("idle = 900", "rate = 0.0"), "", ">= 1e-05 - at `$.rate`"),
            (
                f"{TWO}tls = [{{active = 1, stalled = 1}}]",
                "",
                "of tls: stalled",
            ),
            (f"{TWO}sink = [{{active = 1, rate = 9}}]", "", "point 1 of sink: rate"),
            (TWO.replace("900}", f"{'9' * 5000}}}"), "", "limit (4300 digits)"),
            (TWO.replace("is slow", "\\u001b[31m"), "", "printable: 'poll \\x1b[31m'"),
            ("x = " + "[" * 100_000, "", "nested too deeply"),
            ("#" * (2 << 20), "", "larger than 1 MiB"),
            ("statements", "", "Expected '=' after a key"),
        ):
            error = self.assertRaises(StatementsError, self.read, text, about)
            self.assertIn(reason, str(error))
            self.assertEqual(len(str(error).splitlines()), 1)
        path = Path(self.mktemp())
        path.write_bytes(b"\xff")
        error = self.assertRaises(StatementsError, read, path)
        self.assertIn("'utf-8' codec can't decode byte 0xff", str(error))
        error = self.assertRaises(StatementsError, read, Path("no-such"))
        self.assertEqual(str(error), "no-such: No such file or directory")


class PlanTests(SynchronousTestCase):
    """
    Tests for a L{Plan} that has claims.
    """

    def test_entrants(self) -> None:
        """
        A backend is measured where a claim is about it, at no other point.
        """
        path = Path(self.mktemp())
        path.write_text(TWO)
        found = read(path)
        backends = tuple(map(models.find, found.backends()))
        plan = Plan(
            *(found.scenarios(), backends, "epoll", 3, 1, 0.5), claims=found.claims
        )
        self.assertEqual(
            [
                (scenario.name, point.idle, [each.backend.name for each in entrants])
                for scenario, point in plan.points()
                for entrants in [plan.entrantsFor(scenario.workload, point)]
            ],
            [
                ("active", 0, ["poll", "uring"]),
                ("idle", 0, ["poll"]),
                ("idle", 900, ["poll", "epoll"]),
            ],
        )


class FilesTests(SynchronousTestCase):
    """
    Tests for the files in C{benchmarks}.
    """

    def test_decidable(self) -> None:
        """
        Everything that is claimed is measured, by backends that there are, or that are
        variants.
        """
        variants = runpy.run_path(str(BENCHMARKS / PLUGINS))
        names = [
            each.shortName for each in variants.values() if isinstance(each, Reactor)
        ]
        self.assertTrue(names)
        for name in ("aims.toml", "predictions.toml"):
            found = read(BENCHMARKS / name)
            for backend in found.backends():
                if backend not in names:
                    models.find(backend)
            plan = Plan(
                *(found.scenarios(), (models.find("epoll"),), "epoll", 3, 1, 0.5)
            )
            for claim in found.claims:
                claim.check(plan.places(), found.backends())
