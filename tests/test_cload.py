"""
Tests for L{iodemo.load.cload}, the load in C, as a comparison uses it.
"""

from __future__ import annotations

from dataclasses import replace

from iodemo import models
from iodemo.bench.plan import Plan
from iodemo.bench.scenarios import (
    ECHO,
    HTTP,
    Scenario,
    Workload,
    findScenario,
)
from iodemo.results.schema import Point
from tests.test_bench import CompareTestCase, faulty

NAME = "epoll+c-load"


class CLoadTests(CompareTestCase):
    """
    Tests for a backend that the load in C measures.
    """

    def test_measures(self) -> None:
        """
        Both loads measure the same server, by echoes and by pages. The load in C
        watches no server.
        """
        for workload in (ECHO, HTTP):
            outcome = self.compare(
                Point(3, 5), backends=("epoll", NAME), workload=workload
            )
            cells = outcome["cells"]
            self.assertEqual([cell["backend"] for cell in cells], ["epoll", NAME])
            for cell in cells:
                self.assertEqual((cell["status"], cell["reason"]), ("ok", None))
                (measured,) = cell["rounds"]
                self.assertGreater(measured["requests"], 10)
                self.assertGreaterEqual(measured["seconds"], 0.5)
                latency = measured["latency_us"]
                self.assertLessEqual(latency["p50"], latency["p99"])
                self.assertLessEqual(latency["p99"], latency["max"])
            self.assertNotIn("server_cpu_us_per_request", cells[1]["summary"])
            self.assertNotIn("syscalls_per_request", cells[1]["summary"])

    def test_badServer(self) -> None:
        """
        A server that does not answer as it should has no number, but a reason.
        """
        for fault, reason in (
            ("repeat", "the load in C: the answer is not the request"),
            ("hang-up", "the load in C: recv: Connection reset by peer"),
            ("swallow", "the load in C: recv: Connection timed out"),
        ):
            outcome = self.compare(Point(1), backends=(NAME,), workload=faulty(fault))
            (cell,) = outcome["cells"]
            self.assertEqual(cell["status"], "failed")
            self.assertIn(reason, cell["reason"] or "")

    def test_refuses(self) -> None:
        """
        A workload that only iodemo load can measure is refused for the load in C, with
        the reason.
        """
        backends = models.find("epoll"), models.find(NAME)
        stream = findScenario("stream").workload
        assert isinstance(stream, Workload)
        for workload, point in (
            (stream, Point(1)),
            (replace(ECHO, tls=True), Point(1)),
            (replace(ECHO, churn=True), Point(1)),
            (ECHO, Point(1, rate=100.0)),
            (ECHO, Point(1, stalled=1)),
        ):
            scenario = Scenario("test", "?", workload, (point,), ())
            plan = Plan(((scenario, (point,)),), backends, "epoll", 3, 1, 0.5)
            self.assertIsNone(plan.refusal(backends[0], workload, point))
            reason = plan.refusal(backends[1], workload, point)
            self.assertIn("the load in C measures echo and http:/ in a", reason or "")
