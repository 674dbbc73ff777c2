"""
Tests for L{iodemo.bench}, with real servers and short loads.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

import psutil
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo import models
from iodemo.bench import environment, record, runner, scenarios
from iodemo.bench import plan as planning
from iodemo.bench.multiplexer import MULTIPLEXERS
from iodemo.bench.plan import Plan
from iodemo.bench.scenarios import (
    ECHO,
    PIPES,
    PIPES_SHARE,
    Scenario,
    Workload,
    foreignWorkload,
)
from iodemo.kernel import ioUringRefusal
from iodemo.load import driver
from iodemo.load.exchanges import Echo, Http
from iodemo.process import child
from iodemo.report import select
from iodemo.results import cells, comparisons, file, journal
from iodemo.results.metrics import COMPARED
from iodemo.results.schema import Cell, Point, Results, Round, placeOf
from tests.children import TIMEOUT, allowFiles
from tests.children import Child as TwistdChild
from tests.results_examples import failedCell, okCell, parameters

ROOT = Path(__file__).parent.parent

#: Files that a process opens for more connections than select can watch.
BEYOND_SELECT = 1300


def faultyPath() -> str:
    """
    A PYTHONPATH on which twistd finds the faulty service and the checkout.
    """
    path = [str(ROOT), str(ROOT / "tests" / "faulty")]
    return os.pathsep.join(filter(None, [*path, os.environ.get("PYTHONPATH", "")]))


def faulty(fault: str) -> Workload:
    """
    An echo service with one of L{tests.faulty.service.FAULTS}.
    """
    arguments = ("iodemo-faulty", f"--fault={fault}", "--listen={endpoint}")
    return Workload(arguments, "echo", 64)


class CompareTestCase(SynchronousTestCase):
    """
    A test case that compares backends, into a directory of its own.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.path /= file.FILE_NAME
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = faultyPath()
        self.addCleanup(self.restore, before)

    @staticmethod
    def restore(path: str | None) -> None:
        """Restore PYTHONPATH."""
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path

    def compare(
        self,
        *points: Point,
        backends: tuple[str, ...] = ("epoll",),
        workload: Workload = ECHO,
        rounds: int = 1,
        observer: runner.ComparisonObserver | None = None,
        controlled: bool = False,
    ) -> Results:
        """
        Make a short comparison, and check that the file has the results returned, and
        that no process is left.
        """
        scenario = Scenario("test", "Does it work?", workload, points, points)
        plan = Plan(
            scenarios=((scenario, points),),
            backends=tuple(models.find(name) for name in backends),
            baseline=backends[0],
            rounds=rounds,
            # In a shorter window, a busy machine may answer no request.
            seconds=0.5,
            warmup=0.01,
            controlled=controlled,
        )
        outcome = runner.compare(plan, self.path, "iodemo compare", observer)
        self.assertEqual(file.read(self.path), outcome)
        self.assertEqual(psutil.Process().children(recursive=True), [])
        return outcome


class CompareTests(CompareTestCase):
    """
    Tests for L{runner.compare}.
    """

    def test_realtime(self) -> None:
        """
        A process of a plan in real time has priority over all processes without it.
        """
        scenario = Scenario("test", "?", ECHO, (Point(1),), ())
        plan = Plan(
            ((scenario, (Point(1),)),), (models.find("epoll"),), "epoll", 3, 1, 0.5
        )
        with child.Child(["sleep", "60"], None) as process:
            runner._prioritize(plan, process)
            self.assertEqual(os.sched_getscheduler(process.pid), os.SCHED_OTHER)
            plan = dataclasses.replace(plan, realtime=True)
            try:
                runner._prioritize(plan, process)
            except PermissionError as error:
                raise SkipTest("this user may not") from error
            self.assertEqual(os.sched_getscheduler(process.pid), os.SCHED_FIFO)
        self.assertTrue(plan.planned()["realtime"])

    def test_everyBackend(self) -> None:
        """
        Every backend that runs here is measured, in all its rounds, and compared
        with the baseline.
        """
        names = tuple(model.name for model in models.available())
        self.assertIn("epoll", names)
        outcome = self.compare(Point(2, 5), backends=names, rounds=2)
        self.assertEqual([cell["backend"] for cell in outcome["cells"]], list(names))
        for cell in outcome["cells"]:
            self.assertEqual((cell["status"], cell["reason"]), ("ok", None))
            self.assertEqual(len(cell["rounds"]), 2)
            self.assertGreater(cell["summary"]["throughput"]["low"], 0)
            self.assertGreater(cell["summary"]["server_cpu_us_per_request"]["low"], 0)
            self.assertGreater(cell["summary"]["server_rss_kib"]["low"], 0)
            self.assertCounted(cell)
        if ioUringRefusal() is None:
            self.assertEqual(select.contradictions(outcome), {})
        compared = {
            (each["backend"], each["metric"]) for each in outcome["comparisons"]
        }
        self.assertEqual(
            compared,
            {
                (name, metric)
                for name in names[1:]
                for metric in (
                    "throughput",
                    "latency_us.p99",
                    "server_cpu_us_per_request",
                )
            },
        )
        self.assertTrue(outcome["complete"])

    def test_pipes(self) -> None:
        """
        Pipes are measured with the multiplexer of every backend that has one, and the
        time in it is compared too.
        """
        names = tuple(model.name for model in models.available())
        outcome = self.compare(
            Point(1, 9), Point(5), backends=names, workload=PIPES, rounds=2
        )
        having = [name for name in names if name in MULTIPLEXERS]
        self.assertLess(len(having), len(names))
        cells = outcome["cells"]
        self.assertEqual([cell["backend"] for cell in cells], having * 2)
        for cell in cells:
            self.assertEqual((cell["status"], cell["reason"]), ("ok", None))
            self.assertEqual(cell["service"], "pipes")
            self.assertEqual(len(cell["rounds"]), 2)
            self.assertGreater(cell["summary"]["us_per_call"]["low"], 0)
            self.assertNotIn("server_rss_kib", cell["summary"])
        # The first backend has no multiplexer, and is compared with nothing.
        self.assertNotIn(names[0], having)
        self.assertEqual(outcome["comparisons"], [])
        outcome = self.compare(
            Point(1, 9), backends=("epoll", "poll"), workload=PIPES, rounds=1
        )
        self.assertEqual(
            {each["metric"] for each in outcome["comparisons"]},
            {"throughput", "latency_us.p99", "us_per_call"},
        )

    def test_rate(self) -> None:
        """
        With requests due at a rate, latency is known from when they were due and from
        when they were sent.
        """
        outcome = self.compare(Point(2, rate=400), Point(2, rate=2e6), rounds=2)
        kept, overtaken = outcome["cells"]
        for cell, rate in ((kept, 400), (overtaken, 2e6)):
            self.assertEqual((cell["status"], cell["reason"]), ("ok", None))
            self.assertEqual(cell["parameters"].rate, rate)
            for each in cell["rounds"]:
                due, sent = each["latency_us"], each["latency_uncorrected_us"]
                self.assertGreaterEqual(due["p50"], sent["p50"])
            for metric in ("latency_us.p99", "latency_uncorrected_us.p99"):
                self.assertGreater(cell["summary"][metric]["low"], 0)
        self.assertFalse(select.keptUp(overtaken))
        self.assertGreater(overtaken["summary"]["unanswered_fraction"]["low"], 0.5)
        self.assertLess(overtaken["summary"]["throughput"]["high"], 1e6)
        self.assertNotIn("syscalls_reason", overtaken)

    def test_share(self) -> None:
        """
        Requests may be due at a share of each backend's own capacity, measured in a
        closed loop of as many connections; if that is unknown there is a reason.
        """
        allowFiles(self, BEYOND_SELECT)
        outcome = self.compare(
            *(Point(2, 1100), Point(2, 1100, share=0.5), Point(3, share=0.5)),
            backends=("epoll", "select"),
            rounds=2,
            controlled=True,
        )
        closed, without, shared, refused, *unknown = outcome["cells"]
        (closedAgain, sharedAgain, _) = outcome["controls"]
        for capacity, cell in ((closed, shared), (closedAgain, sharedAgain)):
            self.assertEqual((capacity["status"], capacity["reason"]), ("ok", None))
            self.assertEqual((cell["status"], cell["reason"]), ("ok", None))
            self.assertEqual(cell["parameters"].share, 0.5)
            self.assertIsNone(cell["parameters"].rate)
            rate = capacity["summary"]["throughput"]["median"] / 2
            self.assertAlmostEqual(cell["summary"]["rate"]["median"], rate)
        self.assertEqual((without["status"], refused["status"]), ("failed", "skipped"))
        self.assertEqual(
            refused["reason"], "it has no number for 2 connections in a closed loop"
        )
        for cell in unknown:
            self.assertEqual(cell["status"], "skipped")
            self.assertIn("has to be measured before", cell["reason"] or "")

    def test_pipesBeyondSelect(self) -> None:
        """
        Beyond its limit select fails with pipes as with connections, and the other
        backends are measured.
        """
        allowFiles(self, BEYOND_SELECT)
        outcome = self.compare(
            Point(1, 1100), backends=("epoll", "select"), workload=PIPES
        )
        epoll, select = outcome["cells"]
        self.assertEqual(epoll["status"], "ok")
        self.assertEqual(select["status"], "failed")
        self.assertIn("FD_SETSIZE", select["reason"] or "")
        self.assertIn("seen here: the program ended", select["reason"] or "")

    def test_pipesKilled(self) -> None:
        """
        A program that is killed, or reports nothing, fails its cell.
        """
        for code, reason in (
            ("import os; os.kill(os.getpid(), 9)", "the program ended (killed by"),
            ("pass", "nothing was reported"),
        ):
            self.patch(runner, "_PIPES", code)
            (cell,) = self.compare(Point(1, 9), workload=PIPES)["cells"]
            self.assertEqual(cell["status"], "failed")
            self.assertIn(reason, cell["reason"] or "")

    def assertCounted(self, cell: Cell) -> None:
        """
        Check that its system calls were counted once, after its last round, or that it
        has a reason for none.
        """
        each = [measured["syscalls_per_request"] for measured in cell["rounds"]]
        self.assertEqual(each[:-1], [None] * len(each[:-1]))
        if each[-1] is None:
            self.assertNotIn("syscalls_by_name", cell)
            self.assertTrue(cell["syscalls_reason"])
        else:
            calls = cell["syscalls_by_name"]
            self.assertAlmostEqual(sum(calls.values()), each[-1])
            self.assertEqual(
                cell["summary"]["syscalls_per_request"]["median"], each[-1]
            )
        for measured in cell["rounds"]:
            self.assertEqual({"syscalls_by_name"} & set(measured), set())

    def test_order(self) -> None:
        """
        Rounds are interleaved: every backend has its first round before any has its
        second.
        """
        ran: list[str] = []

        class Order(runner.ComparisonObserver):
            def roundBegan(self, scenario: Scenario, point: Point, name: str) -> None:
                ran.append(name)

        self.compare(Point(1), backends=("poll", "epoll"), rounds=3, observer=Order())
        pairs = [set(ran[n : n + 2]) for n in range(0, 6, 2)]
        self.assertEqual(pairs, [{"poll", "epoll"}] * 3)

    def test_control(self) -> None:
        """
        The baseline is measured a second time, as the control, and compared with
        itself.
        """
        ran: list[str] = []
        ended: list[Cell] = []

        class Control(runner.ComparisonObserver):
            def roundBegan(self, scenario: Scenario, point: Point, name: str) -> None:
                ran.append(name)

            def controlEnded(self, cell: Cell) -> None:
                ended.append(cell)

        outcome = self.compare(
            Point(1),
            backends=("epoll", "poll"),
            rounds=2,
            observer=Control(),
            controlled=True,
        )
        for block in (ran[:3], ran[3:]):
            self.assertEqual(sorted(block), ["epoll", "epoll", "poll"])
        self.assertEqual([c["backend"] for c in outcome["cells"]], ["epoll", "poll"])
        self.assertEqual(outcome["controls"], ended)
        (control,) = ended
        self.assertEqual((control["backend"], control["status"]), ("epoll", "ok"))
        self.assertNotEqual(control["rounds"], outcome["cells"][0]["rounds"])
        for noise in outcome["noise"]:
            self.assertEqual((noise["baseline"], noise["backend"]), ("epoll", "epoll"))
        # Not every metric has a ratio: a short round may take no system time.
        metrics = {noise["metric"] for noise in outcome["noise"]}
        expected = {*COMPARED, "server_rss_kib"} - {"us_per_call"}
        self.assertLessEqual(expected, metrics)

    def test_withinTheNoise(self) -> None:
        """
        A difference that is within the noise is not a difference of a backend.
        """
        base, control, other = (
            okCell("active", name, parameters(1), throughput)
            for name, throughput in (
                *(("epoll", 1000.0), ("epoll", 1300.0), ("poll", 1200.0)),
            )
        )
        noise = comparisons.compareControl([base, other], control)
        self.assertLessEqual(
            {*COMPARED} - {"us_per_call"},
            {found["metric"] for found in noise},
        )
        for found, verdict in (([], "faster"), (noise, "indistinguishable")):
            (throughput, *_) = comparisons.compareWithBaseline(
                [base, other], "epoll", found
            )
            self.assertEqual(throughput["verdict"], verdict)
        failed = failedCell("active", "epoll", parameters(1))
        self.assertEqual(comparisons.compareControl([base], failed), [])
        self.assertEqual(comparisons.compareControl([failed], control), [])

    def test_finishedIsKept(self) -> None:
        """
        A finished cell is in the file before the next one is finished.
        """
        kept: list[int] = []

        class Look(runner.ComparisonObserver):
            def roundBegan(this, scenario: Scenario, point: Point, name: str) -> None:
                kept.append(len(file.read(self.path)["cells"]))

        self.compare(Point(1), Point(2), backends=("poll", "epoll"), observer=Look())
        self.assertEqual(kept, [0, 1, 2, 3])

    def test_corruptingHttp(self) -> None:
        """
        A web server that fails has a reason and no number.
        """
        arguments = ("iodemo-faulty", "--fault=corrupt-http", "--listen={endpoint}")
        workload = Workload(arguments, "http:/", 0)
        (cell,) = self.compare(Point(1), workload=workload)["cells"]
        self.assertEqual(cell["status"], "failed")
        self.assertIn("wrong answer", cell["reason"] or "")

    def test_corrupting(self) -> None:
        """
        A service that corrupts one byte in a million has a reason and no number.
        """
        outcome = self.compare(Point(1), workload=faulty("corrupt"))
        (cell,) = outcome["cells"]
        self.assertEqual(cell["status"], "failed")
        self.assertIn("wrong answer", cell["reason"] or "")
        self.assertEqual((cell["rounds"], cell["summary"]), ([], {}))
        self.assertEqual(outcome["comparisons"], [])

    def test_soundTwin(self) -> None:
        """
        The same service without its fault has a number.
        """
        (cell,) = self.compare(Point(1), workload=faulty("none"))["cells"]
        self.assertEqual((cell["status"], cell["reason"]), ("ok", None))

    def test_faults(self) -> None:
        """
        Each fault gives a reason of its own.
        """
        self.patch(child.Child, "GRACE", 0.5)
        for fault, reason in (
            ("repeat", "wrong answer on verifying connection"),
            ("hang-up", "the server closed verifying connection"),
            ("die", "the server ended (killed by SIGKILL)"),
            ("outlive", "the server did not end within 0 s of SIGTERM"),
            ("no-such", "the server closed verifying connection"),
        ):
            (cell,) = self.compare(Point(1), workload=faulty(fault))["cells"]
            self.assertEqual(cell["status"], "failed", fault)
            self.assertIn(reason, cell["reason"] or "", fault)

    def test_incomplete(self) -> None:
        """
        A load has a result if some requests were not answered, or idle connections were
        closed; a comparison has none. In an open loop unsent requests are part of the
        comparison.
        """
        (sound, *_) = okCell("idle", "epoll", parameters(1), 1000.0)["rounds"]
        for found, reason in (
            ({"unanswered": 0}, None),
            ({"unanswered": 3, "unsent": 3, "unanswered_oldest_us": 1e6}, None),
            (
                {"unanswered": 3, "unsent": 1, "unanswered_oldest_us": 12e6},
                "2 requests had no answer, the oldest for 12 s",
            ),
            ({"idle_closed": 4}, "the server closed 4 idle connections"),
        ):
            measured = cast(Round, {**sound, **found})
            self.assertEqual(runner._incomplete(measured), reason)

    def test_noSuchPlugin(self) -> None:
        """
        A missing plugin fails with the message of twistd.
        """
        workload = Workload(("no-such-plugin", "{endpoint}"), "echo", 64)
        (cell,) = self.compare(Point(1), workload=workload)["cells"]
        self.assertIn("Unknown command: no-such-plugin", cell["reason"] or "")

    def test_inCommon(self) -> None:
        """
        A point that two scenarios have is measured once, and is in the results and
        comparisons of both.
        """
        began: list[int] = []
        ended: list[str] = []

        class Observer(runner.ComparisonObserver):
            def roundBegan(self, scenario: Scenario, point: Point, name: str) -> None:
                began.append(point.connections)

            def cellEnded(self, cell: Cell) -> None:
                ended.append(f"{cell['scenario']} {cell['parameters'].active}")

        both = tuple(Scenario(name, "?", ECHO, (), ()) for name in ("one", "two"))
        plan = Plan(
            scenarios=((both[0], (Point(1), Point(2))), (both[1], (Point(2),))),
            backends=(models.find("epoll"), models.find("poll")),
            baseline="epoll",
            rounds=1,
            seconds=0.05,
            warmup=0.01,
        )
        outcome = runner.compare(plan, self.path, "iodemo compare", Observer())
        self.assertEqual(file.read(self.path), outcome)
        self.assertEqual(began, [1, 1, 2, 2])
        self.assertEqual(ended, [*["one 1"] * 2, *["one 2"] * 2, *["two 2"] * 2])
        *_, one, other, first, second = outcome["cells"]
        self.assertEqual({**one, "scenario": "two"}, first)
        self.assertEqual({**other, "scenario": "two"}, second)
        self.assertEqual(
            {each["scenario"] for each in outcome["comparisons"]}, {"one", "two"}
        )

    def test_progress(self) -> None:
        """
        The seconds passed to C{roundsEnded} add up to the estimate, also with a cell
        that fails in its first round and one that is not tried.
        """
        allowFiles(self, BEYOND_SELECT)
        ended: list[float] = []

        class Ended(runner.ComparisonObserver):
            def roundsEnded(self, seconds: float) -> None:
                ended.append(seconds)

        small = dataclasses.replace(models.find("poll"), connectionLimit=5)
        backends = (models.find("epoll"), models.find("select"), small)
        scenario = Scenario("test", "?", ECHO, (), ())
        plan = Plan(((scenario, (Point(1, 1100),)),), backends, "epoll", 2, 0.05, 0.01)
        outcome = runner.compare(plan, self.path, "iodemo compare", Ended())
        self.assertEqual(
            [cell["status"] for cell in outcome["cells"]], ["ok", "failed", "skipped"]
        )
        self.assertAlmostEqual(sum(ended), plan.estimate())

    def test_progressOfPipes(self) -> None:
        """
        The seconds add up with pipes.
        """
        allowFiles(self, BEYOND_SELECT)
        ended: list[float] = []

        class Ended(runner.ComparisonObserver):
            def roundsEnded(self, seconds: float) -> None:
                ended.append(seconds)

        backends = tuple(map(models.find, ("threads", "epoll", "select")))
        scenario = Scenario("test", "?", PIPES, (), ())
        points = (Point(1, 1100), Point(1, 9))
        plan = Plan(((scenario, points),), backends, "epoll", 2, 0.05, 0.01)
        runner.compare(plan, self.path, "iodemo compare", Ended())
        self.assertEqual(len(ended), 7)
        self.assertAlmostEqual(sum(ended), plan.estimate())

    def test_failureIsTheCells(self) -> None:
        """
        Beyond its limit a backend fails, with a reason that explains it, and the others
        are measured.
        """
        allowFiles(self, BEYOND_SELECT)
        outcome = self.compare(Point(1, 1100), backends=("epoll", "select"))
        epoll, select = outcome["cells"]
        self.assertEqual(epoll["status"], "ok")
        self.assertEqual(select["status"], "failed")
        self.assertIn("FD_SETSIZE", select["reason"] or "")
        self.assertIn("seen here: the server", select["reason"] or "")
        self.assertNotIn("ulimit", select["reason"] or "")

    def test_beyondItsLimit(self) -> None:
        """
        A backend whose model cannot hold so many connections is not tried with them.
        """
        began: list[str] = []

        class Began(runner.ComparisonObserver):
            def roundBegan(self, scenario: Scenario, point: Point, name: str) -> None:
                began.append(f"{name} {point.connections}")

        small = dataclasses.replace(
            models.find("poll"), connectionLimit=5, limitReason="it is small"
        )
        self.patch(
            models,
            "MODELS",
            [small if model.name == "poll" else model for model in models.MODELS],
        )
        outcome = self.compare(
            Point(1, 4), Point(1, 5), backends=("poll", "epoll"), observer=Began()
        )
        self.assertEqual(
            [cell["status"] for cell in outcome["cells"]], ["ok", "ok", "skipped", "ok"]
        )
        self.assertEqual(
            outcome["cells"][2]["reason"], "it is small (at most 5 connections)"
        )
        self.assertEqual(sorted(began), ["epoll 5", "epoll 6", "poll 5"])

    def test_referencesHostNothing(self) -> None:
        """
        A reference is measured with an echo, and skipped with other workloads.
        """
        backends = ("epoll", "asyncio-protocol")
        for workload, status in ((ECHO, "ok"), (faulty("none"), "skipped")):
            cells = self.compare(Point(1), backends=backends, workload=workload)
            self.assertEqual(
                [cell["status"] for cell in cells["cells"]], ["ok", status]
            )
        self.assertIn("cannot host iodemo-faulty", cells["cells"][1]["reason"] or "")

    def test_churn(self) -> None:
        """
        Every kind of model, and a reference, is measured with churn.
        """
        backends = ("fork", "threads", "epoll", "proactor", "asyncio-protocol")
        workload = dataclasses.replace(ECHO, churn=True)
        for cell in self.compare(Point(2), backends=backends, workload=workload)[
            "cells"
        ]:
            self.assertEqual((cell["status"], cell["reason"]), ("ok", None))
            self.assertIs(cell["parameters"].churn, True)

    def test_tls(self) -> None:
        """
        An echo is measured over TLS, with a new certificate, and without references.
        """
        backends = ("epoll", "asyncio-protocol")
        for churn in (False, True):
            workload = dataclasses.replace(ECHO, tls=True, churn=churn)
            outcome = self.compare(Point(2), backends=backends, workload=workload)
            epoll, reference = outcome["cells"]
            self.assertEqual((epoll["status"], epoll["reason"]), ("ok", None))
            self.assertTrue(epoll["parameters"].tls)
            self.assertEqual(reference["status"], "skipped")
            self.assertIn("has no TLS", reference["reason"] or "")

    def test_tooFewDescriptors(self) -> None:
        """
        If several servers cannot share one port, more connections than the hard limit
        allows are not tried.
        """
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        point = Point(1, hard)
        ofPort = Workload(("iodemo-echo", "--listen=tcp:{port}"), "echo", 64)
        for workload, backend, reason in (
            (ofPort, "epoll", "without {endpoint}"),
            (ECHO, "asyncio-protocol", "a reference inherits no socket"),
            (PIPES, "epoll", "within one process"),
        ):
            (cell,) = self.compare(point, workload=workload, backends=(backend,))[
                "cells"
            ]
            self.assertEqual(cell["status"], "skipped")
            self.assertIn(f"the hard limit, {hard:,}, and", cell["reason"] or "")
            self.assertIn(reason, cell["reason"] or "")

    def few(self) -> None:
        """
        Make the plan assume that a server may have 25 connections.
        """
        self.patch(planning, "descriptors", lambda: planning.SERVER_DESCRIPTORS + 28)

    def test_severalServers(self) -> None:
        """
        If one process may not open so many connections, several servers share one port,
        under every reactor: each connection is held and answered, and the counters are
        of all servers.
        """
        self.few()
        self.patch(driver.Driver, "MANY", 60)
        names = tuple(each.name for each in models.available() if each.module is None)
        self.assertLessEqual({"threads", "fork", "epoll", "asyncio"}, {*names})
        self.assertEqual(planning.servers(Point(2, 58)), 3)
        for cell in self.compare(Point(2, 58), backends=names)["cells"]:
            self.assertEqual((cell["status"], cell["reason"]), ("ok", None))
            (measured,) = cell["rounds"]
            self.assertEqual(measured["sampled"], 60)
            one = 10 * 1024
            self.assertGreater(measured["server_rss_kib"] or 0, 2 * one)

    def test_workers(self) -> None:
        """
        Several workers share one port, and the number is a lower bound if they and the
        load have fewer cores. A reference has no workers.
        """
        epoll, reference = self.compare(
            Point(2, workers=2), backends=("epoll", "asyncio-protocol")
        )["cells"]
        self.assertEqual((epoll["status"], epoll["reason"]), ("ok", None))
        self.assertGreater(epoll["rounds"][0]["server_rss_kib"] or 0, 2 * 10 * 1024)
        if len(os.sched_getaffinity(0)) < 3:
            self.assertTrue(epoll["load_limited"])
        self.assertEqual(
            reference["reason"],
            "it has no workers: a reference inherits no socket to share",
        )

    def test_cores(self) -> None:
        """
        A server has one core, workers have all but that of the load, and nothing is
        pinned if these are too few.
        """
        self.patch(os, "sched_getaffinity", lambda pid: {1, 2, 3, 5})
        epoll, everywhere = models.find("epoll"), models.find("workers")
        for backend, count, expected in (
            (epoll, 1, ([1], [2], False)),
            (epoll, 3, ([1, 3, 5], [2], False)),
            (epoll, 4, (None, None, True)),
            (everywhere, 1, ([1, 3, 5], [2], False)),
        ):
            self.assertEqual(runner._cores(backend, Point(1, workers=count)), expected)
        self.patch(os, "sched_getaffinity", lambda pid: {1})
        self.assertEqual(runner._cores(epoll, Point(1)), (None, None, False))

    def test_severalServersFail(self) -> None:
        """
        If one of several servers fails, all are ended, and its reason is reported.
        """
        self.few()
        missing = Workload(("no-such-plugin", "{endpoint}"), "echo", 64)
        for workload, reason in (
            (missing, "Unknown command: no-such-plugin"),
            (faulty("die"), "the server ended (exit status 9): killed by SIGKILL"),
        ):
            (cell,) = self.compare(Point(1, 59), workload=workload)["cells"]
            self.assertEqual(cell["status"], "failed")
            self.assertIn(reason, cell["reason"] or "")

    def test_loadKilled(self) -> None:
        """
        A load that is killed fails its cell, and its server is ended.
        """
        self.patch(runner, "_loadCommand", lambda *arguments: _killsItself())
        (cell,) = self.compare(Point(1))["cells"]
        self.assertEqual(cell["reason"], "the load ended (killed by SIGKILL)")

    def test_loadLimited(self) -> None:
        """
        A cell whose load had no time left is marked.
        """
        self.patch(cells, "LOAD_LIMIT", 0.0)
        (cell,) = self.compare(Point(1))["cells"]
        self.assertTrue(cell["load_limited"])
        self.patch(cells, "LOAD_LIMIT", 2.0)
        (cell,) = self.compare(Point(1))["cells"]
        self.assertFalse(cell["load_limited"])


class Stopped(BaseException):
    """The error that ends a comparison early."""


class Stopping(runner.ComparisonObserver):
    """
    An observer that ends a comparison after so many rounds.

    @ivar began: the backends of the rounds that began.
    @ivar ended: the scenarios and points of the cells that ended.
    @ivar seconds: the estimate of the rounds that ended.
    """

    def __init__(self, rounds: int | None = None) -> None:
        self._rounds = rounds
        self.began: list[str] = []
        self.ended: list[str] = []
        self.seconds = 0.0

    def roundBegan(self, scenario: Scenario, point: Point, name: str) -> None:
        if len(self.began) == self._rounds:
            raise Stopped
        self.began.append(name)

    def roundsEnded(self, seconds: float) -> None:
        self.seconds += seconds

    def cellEnded(self, cell: Cell) -> None:
        self.ended.append(f"{cell['scenario']} {cell['parameters'].active}")


#: A comparison that kills its own process when so many rounds have ended.
KILLED = """
import os, signal, sys
from pathlib import Path
from iodemo.bench import runner
from tests.test_bench import GoOnTests

class Killing(runner.ComparisonObserver):
    left = int(sys.argv[2])

    def roundBegan(self, *_):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

runner.compare(GoOnTests().plan(), Path(sys.argv[1]), "iodemo compare", Killing())
"""


class GoOnTests(CompareTestCase):
    """
    Tests for continuing an interrupted comparison.
    """

    def plan(self, **fields: Any) -> Plan:
        """Two backends and a control at two points, one of them in two scenarios."""
        one, two = (Scenario(name, "?", ECHO, (), ()) for name in ("one", "two"))
        plan = Plan(
            scenarios=((one, (Point(1), Point(2))), (two, (Point(2),))),
            backends=(models.find("epoll"), models.find("poll")),
            baseline="epoll",
            rounds=2,
            seconds=0.05,
            warmup=0.01,
            controlled=True,
        )
        return dataclasses.replace(plan, **fields)

    def stop(self, rounds: int, plan: Plan | None = None) -> Results:
        """
        The results in the file of a comparison that ends after so many rounds.
        """
        self.assertRaises(
            Stopped,
            runner.compare,
            plan or self.plan(),
            self.path,
            "iodemo compare",
            Stopping(rounds),
        )
        return file.read(self.path)

    def goOn(
        self, earlier: Results, plan: Plan | None = None
    ) -> tuple[Results, Stopping]:
        """
        Continue to the end.
        """
        observer = Stopping()
        plan = plan or self.plan()
        record.check(plan, earlier)
        outcome = runner.compare(
            plan, self.path, "iodemo compare again", observer, earlier
        )
        self.assertEqual(file.read(self.path), outcome)
        return outcome, observer

    def test_everyRoundIsKept(self) -> None:
        """
        No measured round is measured again, wherever the comparison was interrupted:
        cells, rounds of unfinished cells, and points that scenarios share.
        """
        for rounds in (1, 4, 6, 11):
            earlier = self.stop(rounds)
            self.assertFalse(earlier["complete"])
            kept = [u["rounds"] for u in earlier["unfinished"]]
            cells = [*earlier["cells"], *earlier["controls"]]
            self.assertEqual(
                sum(map(len, kept)) + sum(len(cell["rounds"]) for cell in cells), rounds
            )
            outcome, observer = self.goOn(copy.deepcopy(earlier))
            self.assertTrue(outcome["complete"])
            self.assertEqual(len(observer.began), 12 - rounds)
            self.assertEqual(outcome["unfinished"], [])
            every = [*outcome["cells"], *outcome["controls"]]
            self.assertEqual([cell["backend"] for cell in every[:6]], PAIR * 3)
            for cell in every:
                self.assertEqual((cell["reason"], len(cell["rounds"])), (None, 2))
            for cell in cells:
                self.assertIn(cell, every)
            for some in kept:
                self.assertTrue(any(c["rounds"][: len(some)] == some for c in every))
            for found in (outcome["noise"], outcome["comparisons"]):
                self.assertEqual(len({placeOf(each) for each in found}), 3)

    def test_killed(self) -> None:
        """
        If SIGKILL ends a comparison in the middle of a point, every finished round is
        in the file, and none is measured again.
        """
        for rounds in (2, 5):
            killed = subprocess.run(
                [sys.executable, "-c", KILLED, str(self.path), str(rounds)],
                timeout=600,
            )
            self.assertEqual(killed.returncode, -signal.SIGKILL)
            earlier, lost = journal.read(self.path.parent)
            self.assertIsNone(lost)
            finished = [*earlier["cells"], *earlier["controls"], *earlier["unfinished"]]
            self.assertEqual(sum(len(each["rounds"]) for each in finished), rounds)
            outcome, observer = self.goOn(earlier)
            self.assertTrue(outcome["complete"])
            self.assertEqual(len(observer.began), 12 - rounds)
            self.assertEqual(os.listdir(self.path.parent), [self.path.name])

    def test_everyCellEnds(self) -> None:
        """
        An interrupted comparison has reported all its cells to the observer, also the
        finished ones of the point at which it was interrupted.
        """
        ended: list[Cell] = []

        class Telling(Stopping):
            def cellEnded(self, cell: Cell) -> None:
                ended.append(cell)

            def controlEnded(self, cell: Cell) -> None:
                ended.append(cell)

        # Three first rounds, then two second rounds: two cells are finished.
        observer = Telling(5)
        arguments = (self.plan(), self.path, "iodemo compare", observer)
        self.assertRaises(Stopped, runner.compare, *arguments)
        run = file.read(self.path)
        self.assertEqual(ended, [*run["cells"], *run["controls"]])
        self.assertEqual(len(ended), 2)

    def test_pipes(self) -> None:
        """
        Pipes can be continued, although not every backend has them.
        """
        scenario = Scenario("multiplexer", "?", PIPES, (), ())
        plan = self.plan(
            scenarios=((scenario, (Point(1, 9), Point(2, 8))),),
            backends=(models.find("threads"), models.find("epoll")),
        )
        for rounds in (1, 5):
            earlier = self.stop(rounds, plan)
            left = plan.estimate(done=record.done(plan, earlier))
            self.assertAlmostEqual(left, plan.estimate() * (8 - rounds) / 8)
            outcome, observer = self.goOn(earlier, plan)
            self.assertTrue(outcome["complete"])
            self.assertEqual(observer.began, ["epoll"] * (8 - rounds))
            self.assertAlmostEqual(observer.seconds, left)
            self.assertEqual(len(outcome["cells"]), len(outcome["controls"]))

    def test_interleaved(self) -> None:
        """
        The rounds continue in order: the entrant with the fewest is first.
        """
        earlier = self.stop(2)
        missing = Counter(EACH) - Counter(u["backend"] for u in earlier["unfinished"])
        _, observer = self.goOn(earlier)
        self.assertEqual(observer.began[:1], list(missing))
        self.assertEqual(sorted(observer.began[1:4]), EACH)

    def test_observed(self) -> None:
        """
        Only new rounds are reported, and they add up to the estimate of the rest.
        """
        earlier = self.stop(7)
        left = self.plan().estimate(done=record.done(self.plan(), earlier))
        self.assertLess(left, self.plan().estimate() / 2)
        _, observer = self.goOn(earlier)
        self.assertEqual(observer.ended, ["one 2"] * 2 + ["two 2"] * 2)
        self.assertAlmostEqual(observer.seconds, left)

    def test_recorded(self) -> None:
        """
        A continued run has the machine and the command of its beginning, the date when
        it continued, and the largest fraction of stolen time.
        """
        earlier = self.stop(3)
        earlier["environment"]["steal_fraction"] = 0.9
        outcome, _ = self.goOn(copy.deepcopy(earlier))
        self.assertEqual(outcome["environment"], earlier["environment"])
        self.assertEqual(len(outcome["resumed"]), 1)

    def test_cannot(self) -> None:
        """
        A run with another plan, of another machine, or without results is not
        continued, and there is a reason.
        """
        earlier = self.stop(3)
        for plan in (
            self.plan(rounds=3),
            self.plan(seconds=0.1),
            self.plan(controlled=False),
            self.plan(backends=self.plan().backends[:1]),
            self.plan(scenarios=self.plan().scenarios[:1]),
        ):
            error = self.assertRaises(record.CannotGoOn, record.check, plan, earlier)
            self.assertIn("something else", str(error))
        for name, value, reason in (
            ("kernel", "Linux 1.0", "kernel Linux 1.0, now"),
            ("twisted", "1.0", "twisted 1.0, now"),
            ("pinning", {"server": 98, "load": 99}, "it ran elsewhere: pinning"),
        ):
            other: Any = copy.deepcopy(earlier)
            other["environment"][name] = value
            error = self.assertRaises(
                record.CannotGoOn, record.check, self.plan(), other
            )
            self.assertIn(reason, str(error))
        error = self.assertRaises(
            record.CannotGoOn, record.check, self.plan(), self.stop(0)
        )
        self.assertIn("measured nothing", str(error))

    def test_changed(self) -> None:
        """
        Cells and rounds that are not in the plan are left out.
        """
        earlier = self.stop(4)
        (cell, *_) = [*earlier["cells"], *earlier["controls"]]
        earlier["cells"].append({**cell, "backend": "select"})
        earlier["cells"].append({**cell, "scenario": "three"})
        for unfinished in earlier["unfinished"]:
            unfinished["rounds"] *= 5
        outcome, _ = self.goOn(earlier)
        every = [*outcome["cells"], *outcome["controls"]]
        self.assertEqual([cell["backend"] for cell in every], PAIR * 3 + ["epoll"] * 3)
        for cell in every:
            self.assertEqual((cell["reason"], len(cell["rounds"])), (None, 2))


PAIR = ["epoll", "poll"]
EACH = ["epoll", "epoll", "poll"]


def _killsItself() -> list[str]:
    return [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]


class ChildTests(SynchronousTestCase):
    """
    Tests for L{child.Child}.
    """

    def test_grandchildren(self) -> None:
        """
        The children of a process end with it, even if it did not end them.
        """
        code = (
            "import subprocess, sys, time; "
            "p = subprocess.Popen([sys.executable, '-c', 'input()'], "
            "stdin=subprocess.PIPE); print(p.pid, flush=True)"
        )
        with child.Child([sys.executable, "-c", code], None) as parent:
            self.assertTrue(child.awaitFirst((parent,), TIMEOUT))
            grandchild = psutil.Process(int(parent.output()))
            self.assertTrue(grandchild.is_running())
        _, left = psutil.wait_procs([grandchild], TIMEOUT)
        self.assertEqual(left, [])

    def test_pinnedAndLimited(self) -> None:
        """
        A process runs on its core alone, and may open as many files as its hard limit
        allows.
        """
        core = max(os.sched_getaffinity(0))
        code = (
            "import json, os, resource; print(json.dumps([list("
            "os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_NOFILE)]))"
        )
        with child.Child([sys.executable, "-c", code], [core]) as pinned:
            self.assertTrue(child.awaitFirst((pinned,), TIMEOUT))
            cores, (soft, hard) = json.loads(pinned.output())
        self.assertEqual(cores, [core])
        self.assertEqual(soft, hard)

    def test_lastWords(self) -> None:
        """
        A log line loses its prefix, and its unprintable characters.
        """
        code = r"print('2026-01-01T00:00:00+0000 [stdout#info] no \x1b[2J room')"
        with child.Child([sys.executable, "-c", code], None) as speaker:
            self.assertTrue(child.awaitFirst((speaker,), TIMEOUT))
            self.assertEqual(speaker.lastWords(), "no ?[2J room")
            self.assertIsNone(speaker.failure)

    def test_realTimeSignal(self) -> None:
        """
        A signal without a name has its number in the failure.
        """
        code = "import os; os.kill(os.getpid(), 40)"
        with child.Child([sys.executable, "-c", code], None) as killed:
            self.assertTrue(child.awaitFirst((killed,), TIMEOUT))
            self.assertEqual(killed.failure, "killed by signal 40")

    def test_parentDies(self) -> None:
        """
        In whatever way the parent ends, the child and its children end.
        """
        grandchild = (
            "import subprocess, sys, time; p = subprocess.Popen([sys.executable, "
            "'-c', 'import time; time.sleep(60)']); print(p.pid, flush=True); p.wait()"
        )
        code = (
            "import os, sys, time; from iodemo.process.child import Child; "
            "c = Child([sys.executable, '-c', sys.argv[1]], None)\n"
            "while not c.output(): time.sleep(0.01)\n"
            "print(c.pid, c.output(), flush=True); input()"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", code, grandchild],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": faultyPath()},
        )
        assert parent.stdout is not None and parent.stdin is not None
        with parent:
            pids = map(int, parent.stdout.readline().split())
            guarded = [psutil.Process(pid) for pid in pids]
            self.assertEqual(len(guarded), 2)
            parent.send_signal(signal.SIGKILL)
            _, left = psutil.wait_procs(guarded, TIMEOUT)
        self.assertEqual(left, [])


class FreePortTests(SynchronousTestCase):
    """
    Tests for the choice of the server's port.
    """

    def test_killed(self) -> None:
        """
        The port of a killed server is not given to another one while the kernel still
        uses it, for every model of the server.
        """
        for model in models.available():
            # The runner kills the children of fork with it.
            if model.module is not None or model.name == "fork":
                continue
            server = TwistdChild(self, "iodemo-echo", reactor=model.name)
            (port,) = server.ports
            self.patch(random, "randrange", lambda *bounds, port=port: port)
            with server.connect() as client:
                client.sendall(b"x")
                self.assertEqual(client.recv(1), b"x")
                os.kill(server.pid, signal.SIGKILL)
                self.assertEqual(runner._freePort(), port)
                with socket.socket() as another:
                    another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    another.bind(("127.0.0.1", port))
                    another.listen()


class ScenarioTests(SynchronousTestCase):
    """
    Tests for L{iodemo.bench.scenarios}.
    """

    def test_records(self) -> None:
        """
        Every scenario has points, and fewer of them, or none, in a quick comparison.
        """
        names = [scenario.name for scenario in scenarios.SCENARIOS]
        self.assertEqual(len(set(names)), len(names))
        for scenario in scenarios.SCENARIOS:
            self.assertTrue(scenario.points)
            self.assertLess(len(scenario.quick), len(scenario.points))
            self.assertIs(scenarios.findScenario(scenario.name), scenario)

    def test_asked(self) -> None:
        """
        A load gets the options that differ from their defaults; the arrivals only with
        a rate.
        """
        for point, options in (
            (Point(10), ["--connections=10", "--payload=64"]),
            (Point(1, 2, stalled=3), ["--idle=2", "--payload=64", "--stalled=3"]),
            (Point(10, rate=500), ["--rate=500", "--arrivals=poisson"]),
            (
                Point(10, rate=500, arrivals="constant"),
                ["--rate=500", "--arrivals=constant"],
            ),
        ):
            found = scenarios.ECHO.parametersAt(point).options()
            self.assertEqual(found[-len(options) :], options)

    def test_unknown(self) -> None:
        """
        An unknown scenario is refused with a list of those that exist.
        """
        error = self.assertRaises(
            scenarios.UnknownScenario, scenarios.findScenario, "no-such"
        )
        self.assertIn("active, idle", str(error))

    def test_foreign(self) -> None:
        """
        The command line of any plugin is a workload.
        """
        workload = scenarios.foreignWorkload(
            'web --listen={endpoint} --path="a b"', "http:/"
        )
        self.assertEqual(workload.command, ("web", "--listen={endpoint}", "--path=a b"))
        self.assertEqual(workload.service, "web")

    def test_unprintable(self) -> None:
        """
        Text that results cannot contain is refused in a plugin, and replaced in the
        record of the command: results that were written can be read.
        """
        for command in ("web '\x1b[31m' {endpoint}", "web '\udcff' {endpoint}"):
            error = self.assertRaises(
                scenarios.BadWorkload, foreignWorkload, command, "echo"
            )
            self.assertTrue(str(error).isprintable())
        said = environment.describe("iodemo compare 'a\tb\x1b'")["command"]
        self.assertEqual(said, "iodemo compare 'a?b?'")

    def test_badForeign(self) -> None:
        """
        An invalid command line is refused with the reason.
        """
        for command, kind, reason in (
            ("", "echo", "is empty"),
            ("web --port=80", "echo", "put {endpoint}"),
            ("web '{endpoint}", "echo", "No closing quotation"),
            ("web {endpoint}", "gopher", "no load of kind 'gopher'"),
            ("web {endpoint}", "sink", "no scenario has the kind sink for a plugin"),
        ):
            error = self.assertRaises(
                scenarios.BadWorkload, scenarios.foreignWorkload, command, kind
            )
            self.assertIn(reason, str(error))


class EnvironmentTests(SynchronousTestCase):
    """
    Tests for L{environment}.
    """

    def test_describe(self) -> None:
        """
        The description is valid in results, and describes this machine.
        """
        described = environment.describe("iodemo compare")
        self.assertEqual(described["cores"], os.cpu_count())
        self.assertIn(os.uname().release, described["kernel"])
        self.assertEqual(described["command"], "iodemo compare")

    def test_steal(self) -> None:
        """
        Stolen time is a fraction.
        """
        fraction = environment.Steal().fraction()
        if fraction is not None:
            self.assertTrue(0 <= fraction <= 1, fraction)

    def test_pinning(self) -> None:
        """
        Server and load run on different cores, or are not pinned.
        """
        pinned = environment.pinning()
        if pinned is None:
            self.assertEqual(len(os.sched_getaffinity(0)), 1)
        else:
            self.assertNotEqual(pinned["server"], pinned["load"])


class EstimateTests(SynchronousTestCase):
    """
    Tests for L{Plan} and L{runner.pace}.
    """

    def setUp(self) -> None:
        """
        A plan for a user who may open many files.
        """
        self.patch(planning, "descriptors", lambda: 20_000.0)

    def plan(self, name: str = "epoll", *points: Point, **fields: Any) -> Plan:
        """
        A plan for one backend, with some parameters changed.
        """
        scenario = Scenario("test", "?", ECHO, (), ())
        plan = Plan(
            ((scenario, points or (Point(1),)),), (models.find(name),), name, 3, 1, 0.5
        )
        return dataclasses.replace(plan, **fields)

    def test_noRoom(self) -> None:
        """
        A backend whose connections share no state is not measured with a chat.
        """
        scenario = scenarios.findScenario("chat")
        plan = self.plan(scenarios=((scenario, scenario.points),))
        refusals = [
            plan.refusal(models.find(name), scenario.workload, scenario.points[0])
            for name in ("fork", "threads")
        ]
        self.assertIn("share no state", refusals[0] or "")
        self.assertIsNone(refusals[1])

    def test_grows(self) -> None:
        """
        More of any parameter takes longer.
        """
        both = (models.find("epoll"), models.find("poll"))
        least = self.plan().estimate()
        for longer in (
            self.plan(rounds=4),
            self.plan(seconds=2.0),
            self.plan(warmup=1.0),
            self.plan(backends=both),
            self.plan(controlled=True),
            self.plan("epoll", Point(1, 1000)),
        ):
            self.assertGreater(longer.estimate(), least)
        self.assertGreater(self.plan().estimate(pace=2.0), least)
        self.assertLess(self.plan().estimate(pace=2.0), 2 * least)

    def test_connections(self) -> None:
        """
        Connections take longer with a thread or a process for each, and the longer the
        more there are if the backend scans them all.
        """

        def each(name: str, connections: int) -> float:
            many, none = (
                self.plan(name, Point(1, count)).estimate()
                for count in (connections, 0)
            )
            return (many - none) / connections

        self.assertLess(each("epoll", 500), each("threads", 500))
        self.assertLess(each("threads", 500), each("fork", 500))
        self.assertAlmostEqual(each("uring", 9000), each("uring", 10))
        for name in ("poll", "busypoll"):
            self.assertGreater(each(name, 9000), 2 * each(name, 10))

    def test_verifying(self) -> None:
        """
        The estimate includes the verification of a page, for every round.
        """
        http = foreignWorkload("web {endpoint}", "http:/")
        scenario = Scenario("test", "?", http, (), ())
        web = self.plan(scenarios=((scenario, (Point(1),)),))
        longer = web.estimate() - self.plan().estimate()
        self.assertAlmostEqual(longer, 3 * (Http.SECONDS - Echo.SECONDS))

    def test_encrypted(self) -> None:
        """
        TLS takes longer to verify, and for each connection.
        """

        def longer(connections: int) -> float:
            point = Point(connections)
            encrypted = Scenario(
                "test", "?", dataclasses.replace(ECHO, tls=True), (), ()
            )
            plan = self.plan("epoll", point, scenarios=((encrypted, (point,)),))
            return plan.estimate() - self.plan("epoll", point).estimate()

        self.assertGreater(longer(1), 0)
        self.assertGreater(longer(100), longer(1))

    def test_pipes(self) -> None:
        """
        Pipes take time only for backends that have a multiplexer: a share of the
        seconds for a server, and no warm-up.
        """
        scenario = Scenario("test", "?", PIPES, (), ())
        plan = self.plan("epoll", scenarios=((scenario, (Point(1, 9),)),))
        longer = dataclasses.replace(plan, seconds=5, warmup=9).estimate()
        self.assertAlmostEqual(longer - plan.estimate(), 3 * 4 * PIPES_SHARE)
        more = dataclasses.replace(plan, scenarios=((scenario, (Point(1, 999),)),))
        self.assertGreater(more.estimate(), plan.estimate())
        self.assertGreater(plan.estimate(pace=2.0), plan.estimate())
        none = dataclasses.replace(plan, backends=(models.find("threads"),))
        self.assertEqual(none.measured(), {})
        both = dataclasses.replace(plan, backends=(*plan.backends, *none.backends))
        self.assertEqual(both.estimate(), plan.estimate())

    def test_notMeasured(self) -> None:
        """
        An untried cell takes no time, and a failing one less than a round; a point that
        scenarios share takes its time once.
        """
        select = self.plan("select", Point(1, 5000))
        self.assertGreater(select.estimate(), 0)
        self.assertLess(
            select.estimate(), self.plan("poll", Point(1, 1000), rounds=1).estimate()
        )
        small = dataclasses.replace(models.find("epoll"), connectionLimit=5)
        plan = self.plan("epoll", Point(1, 5), backends=(small,))
        self.assertEqual(plan.estimate(), 0)
        twice = self.plan(scenarios=self.plan().scenarios * 2)
        self.assertEqual(twice.estimate(), self.plan().estimate())

    def test_pace(self) -> None:
        """
        The pace follows the time that the program of the server takes to start.
        """
        busy = "import time\nwhile time.process_time() < 0.4: pass"
        self.patch(runner, "_TWISTD", busy)
        self.patch(runner, "STARTING", 0.2)
        self.assertGreaterEqual(runner.pace(), 2)
