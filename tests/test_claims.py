"""
Tests for L{iodemo.results.claims} and L{iodemo.report.claimtable}.
"""

from __future__ import annotations

import io
import math

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from iodemo.report.claimtable import ClaimTable
from iodemo.results.claims import Answer, BadClaim, decide, overall, parse
from iodemo.results.schema import Results
from tests.results_examples import (
    SELECT_LIMIT,
    failedCell,
    fourBackends,
    okCell,
    parameters,
    results,
)

POINT = parameters(10, 1000)


def run(uring: float = 90_000.0) -> Results:
    """
    A run of two points: epoll and poll are measured at both, uring at one, and select
    fails.
    """
    return results(
        [
            okCell("active", "poll", parameters(100), 36_000.0),
            okCell("active", "epoll", parameters(100), 36_000.0),
            failedCell("idle", "select", POINT),
            okCell("idle", "poll", POINT, 12_000.0),
            okCell("idle", "epoll", POINT, 36_000.0),
            okCell("idle", "uring", POINT, uring),
        ]
    )


class ParseTests(SynchronousTestCase):
    """
    Tests for L{parse}.
    """

    def test_ratio(self) -> None:
        """
        A claim is about throughput at all points by default.
        """
        claim = parse("uring/epoll >= 2")
        self.assertEqual((claim.backend, claim.baseline), ("uring", "epoll"))
        self.assertEqual(claim.bounds, ((">=", 2.0),))
        self.assertEqual((claim.names, claim.parameters), ((), {}))
        self.assertEqual(claim.metric, "throughput")

    def test_where(self) -> None:
        """
        Before the colon, backends, points and the metric may come in any order.
        """
        claim = parse("active=10 idle, latency_us.p99.9 idle=1e4: c-epoll/epoll<.5")
        self.assertEqual(claim.names, ("idle",))
        self.assertEqual(claim.parameters, {"active": 10, "idle": 10_000})
        self.assertEqual(claim.metric, "latency_us.p99.9")
        self.assertEqual((claim.backend, claim.bounds), ("c-epoll", (("<", 0.5),)))

    def test_scenarioOfRates(self) -> None:
        """
        The word rate is the scenario, not the metric, which repeats a parameter. With
        an equals sign it is the parameter.
        """
        claim = parse("rate latency_us.p99 rate=8000: uring/epoll < 1")
        self.assertEqual(claim.names, ("rate",))
        self.assertEqual(claim.parameters, {"rate": 8000})
        self.assertEqual(claim.metric, "latency_us.p99")

    def test_range(self) -> None:
        """
        A ratio can be claimed to lie in a range.
        """
        claim = parse("echo: uring/epoll = 0.9..1.1")
        self.assertEqual(claim.bounds, ((">=", 0.9), ("<=", 1.1)))
        self.assertEqual(claim.claimed, "uring/epoll = 0.9..1.1")

    def test_alone(self) -> None:
        """
        A claim can be about one backend.
        """
        claim = parse("echo syscalls_per_request: uring <= 0.25")
        self.assertEqual((claim.backends, claim.baseline), (("uring",), None))
        self.assertEqual(parse("echo: a/b > 1").backends, ("a", "b"))

    def test_bad(self) -> None:
        """
        A text that is not a claim is refused with a reason.
        """
        for text, reason in (
            ("", "no claim such as"),
            ("echo uring/epoll >= 2", "no claim such as"),
            ("echo: uring/ >= 2", "no claim such as"),
            ("echo: uring/epoll == 2", "no claim such as"),
            ("echo: uring/epoll = 2", "after = there is a range"),
            ("echo: uring/epoll = 2..", "'' is not a number"),
            ("echo: uring/epoll = 1.1..0.9", "no number is in the range 1.1..0.9"),
            ("echo: uring/epoll >= two", "'two' is not a number"),
            ("echo: uring/epoll >= nan", "'nan' is not a number"),
            ("idle=many: uring/epoll >= 2", "'many' is not a number"),
            ("echo: epoll/epoll >= 1", "compares epoll with itself"),
            ("throughput latency_us.p99: a/b > 1", "names 2 metrics"),
        ):
            error = self.assertRaises(BadClaim, parse, text)
            self.assertIn(reason, str(error))


class CheckTests(SynchronousTestCase):
    """
    Tests for L{Claim.check}.
    """

    def check(self, text: str) -> None:
        """Check a claim against the plan of L{run}."""
        cells = run()["cells"]
        parse(text).check(cells, [cell["backend"] for cell in cells])

    def test_good(self) -> None:
        """
        A claim may name every scenario, service and point that is measured.
        """
        for where in ("", "echo:", "idle:", "echo idle:", "active=100 idle=0:"):
            self.check(f"{where} uring/epoll >= 2")

    def test_bad(self) -> None:
        """
        An error names the part of a claim that is not measured, and the names that are.
        """
        for text, reason in (
            ("urng/epoll > 2", "'urng' is not measured, but poll, epoll, select, ur"),
            ("kqueue > 2", "'kqueue' is not measured, but poll, epoll"),
            ("uring/kqueue > 2", "'kqueue' is not measured, but poll, epoll"),
            ("chat: uring/epoll > 2", "'chat' is not measured, but active, idle, echo"),
            ("active idle: uring/epoll > 2", "'idle' is not measured, but active, ec"),
            (
                "idle=5: uring/epoll > 2",
                "idle=5 is not measured, but idle=0, idle=1000",
            ),
            ("idle idle=0: uring/epoll > 2", "idle=0 is not measured, but idle=1000"),
            ("tls=1: uring/epoll > 2", "tls=1 is not measured, but tls=0"),
            ("colour=5: uring/epoll > 2", "colour=5 is not measured: nothing of"),
        ):
            error = self.assertRaises(BadClaim, self.check, text)
            self.assertIn(reason, str(error))


class DecideTests(SynchronousTestCase):
    """
    Tests for L{decide}.
    """

    def answers(self, text: str, measured: Results | None = None) -> list[Answer]:
        """The decision at each point of a run."""
        decisions = decide(parse(text), measured or run())
        return [decision.answer for decision in decisions]

    def test_onTheInterval(self) -> None:
        """
        The interval decides whether a claim holds, not the ratio.
        """
        (decision,) = decide(parse("idle: uring/epoll > 0"), run())
        assert decision.interval is not None and decision.value is not None
        low, high = decision.interval
        self.assertEqual(decision.value, 2.5)
        self.assertLess(low, 2.5)
        self.assertGreater(high, 2.5)
        for operator, bound, answer in (
            (">=", low, "held"),
            (">", low, "undecided"),
            (">", math.nextafter(low, 0), "held"),
            (">=", 2.5, "undecided"),
            (">=", high, "undecided"),
            (">", high, "refuted"),
            ("<=", high, "held"),
            ("<", high, "undecided"),
            ("<", 2.5, "undecided"),
            ("<=", low, "undecided"),
            ("<", low, "refuted"),
        ):
            claim = f"idle: uring/epoll {operator} {bound!r}"
            self.assertEqual(self.answers(claim), [answer], claim)

    def test_words(self) -> None:
        """
        A parameter whose values are words chooses points by them.
        """
        cells = [
            okCell(
                "arrivals", backend, parameters(100, rate=9, arrivals=arrivals), rate
            )
            for arrivals in ("constant", "poisson")
            for backend, rate in (("epoll", 9.0), ("uring", 18.0))
        ]
        measured = results(cells)
        self.assertEqual(self.answers("uring/epoll > 1", measured), ["held"] * 2)
        claim = "arrivals=constant: uring/epoll > 1"
        self.assertEqual(self.answers(claim, measured), ["held"])
        error = self.assertRaises(
            BadClaim,
            parse("arrivals=late: uring/epoll > 1").check,
            cells,
            ["uring", "epoll"],
        )
        self.assertIn("arrivals=late is not measured, but arrivals=con", str(error))

    def test_range(self) -> None:
        """
        A range is left by an interval that lies on one side of it.
        """
        (decision,) = decide(parse("idle: uring/epoll > 0"), run())
        assert decision.interval is not None
        low, high = decision.interval
        for least, most, answer in (
            (low, high, "held"),
            (math.nextafter(low, 9), high, "undecided"),
            (low, math.nextafter(high, 0), "undecided"),
            (2.5, 2.5, "undecided"),
            (high, 9, "undecided"),
            (math.nextafter(high, 9), 9, "refuted"),
            (0, math.nextafter(low, 0), "refuted"),
        ):
            claim = f"idle: uring/epoll = {least!r}..{most!r}"
            self.assertEqual(self.answers(claim), [answer], claim)

    def test_alone(self) -> None:
        """
        The median of one backend is decided on its interval.
        """
        (decision,) = decide(parse("idle: uring >= 2"), run())
        summary = run()["cells"][-1]["summary"]["throughput"]
        low, high = summary["low"], summary["high"]
        self.assertEqual(decision.value, summary["median"])
        self.assertEqual(decision.interval, (low, high))
        for claim, answer in (
            (f"idle: uring >= {low!r}", "held"),
            (f"idle: uring > {low!r}", "undecided"),
            (f"idle: uring > {high!r}", "refuted"),
        ):
            self.assertEqual(self.answers(claim), [answer], claim)

    def test_countedOnce(self) -> None:
        """
        System calls are counted in one round: that count decides.
        """
        measured = run()
        rounds = measured["cells"][-1]["rounds"]
        for each in rounds:
            each["syscalls_per_request"] = None
        rounds[-1]["syscalls_per_request"] = 0.25
        claim = "idle syscalls_per_request: uring <= 0.25"
        self.assertEqual(self.answers(claim, measured), ["held"])
        del rounds[:-1]
        self.assertEqual(self.answers(claim, measured), ["undecided"])

    def test_scenarioBeforeService(self) -> None:
        """
        A word that a scenario and the service of another one have means the scenario.
        """
        cells = [
            okCell(scenario, backend, parameters(10), rate)
            for scenario in ("stream", "sink")
            for backend, rate in (("epoll", 9.0), ("uring", 18.0))
        ]
        for cell in cells:
            cell["service"] = "stream"
        measured = results(cells)
        self.assertEqual(self.answers("stream: uring/epoll > 1", measured), ["held"])
        measured = results(cells[2:])
        self.assertEqual(self.answers("stream: uring/epoll > 1", measured), ["held"])
        for cell in cells:
            cell["service"] = "echo"
        claim = "echo: uring/epoll > 1"
        self.assertEqual(self.answers(claim, results(cells)), ["held"] * 2)

    def test_everywhere(self) -> None:
        """
        A claim is about every point that it does not exclude, and holds if it holds at
        all of them.
        """
        for claim, answers, answer in (
            ("echo: poll/epoll >= 0.9", ["held", "refuted"], "refuted"),
            ("active: poll/epoll >= 0.9", ["held"], "held"),
            ("active=100: poll/epoll >= 0.9", ["held"], "held"),
            ("idle idle=1000: poll/epoll >= 0.9", ["refuted"], "refuted"),
            ("poll/epoll < 1.5", ["held", "held"], "held"),
            ("poll/epoll >= 1", ["undecided", "refuted"], "refuted"),
            ("poll/epoll <= 1", ["undecided", "held"], "undecided"),
        ):
            decisions = decide(parse(claim), run())
            self.assertEqual([each.answer for each in decisions], answers, claim)
            self.assertEqual(overall(decisions), answer)

    def test_metric(self) -> None:
        """
        A claim may be about any measured metric.
        """
        self.assertEqual(
            self.answers("idle latency_us.p99: uring/epoll < 0.5"), ["held"]
        )
        (decision,) = decide(parse("idle latency_us.p99: uring/epoll < 1"), run())
        self.assertAlmostEqual(decision.value or 0, 0.4)

    def test_noNumber(self) -> None:
        """
        Without a number there is a reason instead of a decision.
        """
        measured = run()
        for each in measured["cells"][-1]["rounds"]:
            each["server_rss_kib"] = None
        for claim, reason in (
            ("idle: select/epoll < 1", f"select failed: {SELECT_LIMIT}"),
            ("active: uring/epoll > 1", "uring was not measured"),
            ("idle server_rss_kib: uring/epoll < 9", "uring has no server_rss_kib"),
        ):
            (decision,) = decide(parse(claim), measured)
            self.assertEqual(
                (decision.answer, decision.value, decision.reason),
                ("undecided", None, reason),
            )

    def test_fewRounds(self) -> None:
        """
        Two rounds decide nothing, however different the results are.
        """
        measured = run()
        del measured["cells"][-1]["rounds"][2:]
        (decision,) = decide(parse("idle: uring/epoll > 2"), measured)
        self.assertEqual(decision.answer, "undecided")
        self.assertIn("fewer than 3 rounds", decision.reason or "")

    def test_loadLimited(self) -> None:
        """
        A lower bound can show that a backend is faster, but not that it is not.
        """
        measured = run()
        uring, epoll = measured["cells"][-1], measured["cells"][-2]
        for limited, claim, answer in (
            (uring, "uring/epoll >= 2", "held"),
            (uring, "uring/epoll >= 3", "undecided"),
            (uring, "uring/epoll <= 3", "undecided"),
            (uring, "uring/epoll < 2", "refuted"),
            (epoll, "uring/epoll >= 2", "undecided"),
            (epoll, "uring/epoll <= 3", "held"),
            (epoll, "uring/epoll >= 3", "refuted"),
        ):
            limited["load_limited"] = True
            self.assertEqual(self.answers(f"idle: {claim}", measured), [answer], claim)
            limited["load_limited"] = False
        uring["load_limited"] = True
        latency = "idle latency_us.p99: uring/epoll < 0.5"
        self.assertEqual(self.answers(latency, measured), ["held"])


class ClaimTableTests(SynchronousTestCase):
    """
    Tests for L{ClaimTable}.
    """

    def terminal(self, text: str, measured: Results) -> str:
        """The printed table in 80 columns, without blanks at the ends of lines."""
        stream = io.StringIO()
        table = ClaimTable(f"required: {text}", [parse(text)], measured)
        Console(file=stream, width=80).print(table)
        return "\n".join(line.rstrip() for line in stream.getvalue().split("\n"))

    def test_each(self) -> None:
        """
        Each point has a line with its decision and its interval, and a reason below.
        """
        measured = run()
        measured["cells"][-1]["load_limited"] = True
        self.assertEqual(self.terminal("echo: uring/epoll >= 2", measured), MIXED)

    def test_several(self) -> None:
        """
        Several claims are decided together, and each line says which is its own.
        """
        claims = [
            parse("idle: uring/epoll >= 2"),
            parse("idle latency_us.p99: uring < 1"),
        ]
        table = ClaimTable("uring is quick", claims, run())
        self.assertEqual(table.answer, "refuted")
        stream = io.StringIO()
        Console(file=stream, width=80).print(table)
        lines = stream.getvalue().splitlines()
        self.assertEqual(lines[0], "uring is quick")
        where = r"idle: 10 busy \+ 1,000 idle"
        self.assertRegex(lines[1], rf"held .*\) +{where}: uring/epoll >= 2")
        self.assertRegex(lines[2], rf"refuted +\d.*\) +{where}, latency_us.p99:")
        self.assertRegex(lines[3], r"^ {30,}uring < 1")
        self.assertIn("refuted at 1 of 2 points, ", lines[4])

    def test_advice(self) -> None:
        """
        More rounds are recommended where they could lead to a decision.
        """
        said = self.terminal("idle idle=1000: poll/epoll >= 0.28", fourBackends())
        self.assertIn("More rounds (--rounds) narrow an interval.", said)
        said = self.terminal("idle: select/epoll >= 1", run())
        self.assertNotIn("More rounds", said)

    def test_noMarkup(self) -> None:
        """
        Markup in a reason is shown literally.
        """
        measured = run()
        measured["cells"][2]["reason"] = "[bold red]x[/]"
        said = self.terminal("idle: select/epoll >= 1", measured)
        self.assertIn("[bold red]x[/]", said)


MIXED = """\
required: echo: uring/epoll >= 2
undecided  –                     active: 100 busy: uring/epoll >= 2
                                 uring was not measured
held       ×2.5 (2.414 to more)  idle: 10 busy + 1,000 idle: uring/epoll >= 2
                                 the load was the limit of uring
undecided at 1 of 2 points, decided on the range of throughput

"""  # noqa: RUF001
