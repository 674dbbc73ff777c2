"""
Tests for L{iodemo.conformance}.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from datetime import date
from io import StringIO

import msgspec
from rich.console import Console
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.conformance.conforming import (
    CannotJudge,
    Conformance,
    allModules,
    conform,
    reactorModules,
)
from iodemo.conformance.finding import UnknownReactor, findReactor
from iodemo.conformance.inside import (
    Began,
    Collected,
    Ended,
    Event,
    Finished,
    Left,
    normalised,
)
from iodemo.conformance.page import pageLines
from iodemo.conformance.running import Job, JobObserver, Outcome, run
from iodemo.conformance.showing import show
from iodemo.conformance.verdict import Verdict, judge
from tests import broken_reactors
from tests.children import TIMEOUT
from tests.test_cli import CommandTestCase

#: A module of two tests. Broken reactors fail in the first.
SMALL = "twisted.internet.test.test_time"
FIRST = f"{SMALL}.TimeTestsBuilder.test_delayedCallStopsReactor"
SECOND = f"{SMALL}.TimeTestsBuilder.test_distantDelayedCall"

PASSED = Outcome("passed")
FAILED = Outcome("failed", "1 != 2")


def verdictOf(
    reactor: dict[str, Outcome],
    control: dict[str, Outcome],
    exceptions: dict[str, str] | None = None,
) -> Verdict:
    """
    Judge one module.
    """
    return judge({"m": reactor}, {"m": control}, exceptions or {})


class NameTests(SynchronousTestCase):
    """
    Tests for names: of tests, and of reactors.
    """

    def test_normalised(self) -> None:
        """
        The reactor's name is removed from the name of the test class, and nothing else.
        """
        self.assertEqual(
            normalised(
                "twisted.internet.test.test_tcp.TCPPortTestsBuilder_XReactorTests"
                ".test_XReactorTests",
                "some.module.XReactor",
            ),
            "twisted.internet.test.test_tcp.TCPPortTestsBuilder.test_XReactorTests",
        )
        self.assertEqual(normalised("a.BTests.test_c", "d.EReactor"), "a.BTests.test_c")

    def test_shortName(self) -> None:
        """
        A short name means the same reactor as for C{twistd --reactor}.
        """
        subject = findReactor("poll")
        self.assertEqual(subject.dottedName, "twisted.internet.pollreactor.PollReactor")
        self.assertIn("IReactorTCP", subject.interfaces)
        self.assertEqual(subject.exceptions, {})

    def test_dottedName(self) -> None:
        """
        A dotted name is the name of a class.
        """
        name = "twisted.internet.epollreactor.EPollReactor"
        self.assertEqual(findReactor(name).dottedName, name)

    def test_unknown(self) -> None:
        """
        A name without a usable reactor is refused with one line that contains the name.
        """
        for name in (
            "nonsense",
            "no.such.module",
            "twisted.internet.pollreactor.NoReactor",
            "os.path.join",
            "iocp",
            "default",
            "c-epoll",
        ):
            error = self.assertRaises(UnknownReactor, findReactor, name)
            self.assertIn(name.rpartition(".")[2], str(error))
            self.assertNotIn("\n", str(error))

    def test_modules(self) -> None:
        """
        The modules of Twisted's reactor tests are found by their content, and the
        modules of all its tests by their names.
        """
        names = {each.rpartition("_")[2] for each in reactorModules()}
        self.assertLessEqual(
            {"core", "fdset", "tcp", "tls", "newtls", "udp", "unix", "process"}
            | {"threads", "time", "socket", "stdio"},
            names,
        )
        self.assertLess(set(reactorModules()), set(allModules()))


class VerdictTests(SynchronousTestCase):
    """
    Tests for L{judge}.
    """

    def test_conforms(self) -> None:
        """
        A reactor that passes every test that the control passes conforms.
        """
        verdict = verdictOf({"a": PASSED}, {"a": PASSED})
        self.assertTrue(verdict["conforms"])
        self.assertEqual(
            verdict["modules"],
            [
                {
                    "module": "m",
                    "passed": 1,
                    "failed": 0,
                    "errored": 0,
                    "skipped": 0,
                    "control": {"passed": 1, "failed": 0, "errored": 0, "skipped": 0},
                }
            ],
        )

    def test_failure(self) -> None:
        """
        A reactor that fails a test that the control passes does not conform.
        """
        verdict = verdictOf({"a": FAILED, "b": PASSED}, {"a": PASSED, "b": PASSED})
        self.assertFalse(verdict["conforms"])
        self.assertEqual(verdict["failures"], [{"test": "a", "reason": "1 != 2"}])

    def test_shared(self) -> None:
        """
        A test that both fail, for whatever reasons, does not count against the reactor.
        """
        verdict = verdictOf(
            {"a": FAILED, "b": PASSED},
            {"a": Outcome("errored", "whatever"), "b": PASSED},
        )
        self.assertTrue(verdict["conforms"])
        self.assertEqual(verdict["failures"], [])
        self.assertEqual(verdict["shared"], [{"test": "a", "reason": "1 != 2"}])

    def test_skipped(self) -> None:
        """
        A test that either skips is listed, and is no failure.
        """
        skipped = Outcome("skipped", "not provided")
        verdict = verdictOf(
            {"a": skipped, "b": FAILED, "c": PASSED},
            {"a": PASSED, "b": skipped, "c": PASSED},
        )
        self.assertTrue(verdict["conforms"])
        self.assertEqual(verdict["skips"], [{"test": "a", "reason": "not provided"}])
        self.assertEqual(verdict["unjudged"], [{"test": "b", "reason": "1 != 2"}])
        self.assertEqual(
            verdict["control_skips"], [{"test": "b", "reason": "not provided"}]
        )

    def test_exceptions(self) -> None:
        """
        A documented exception, by name or by pattern, permits a failure; an exception
        that applies to no failure is listed.
        """
        verdict = verdictOf(
            {"m.A.x": FAILED, "m.B.y": FAILED, "m.B.z": PASSED},
            {"m.A.x": PASSED, "m.B.y": PASSED, "m.B.z": PASSED},
            {"m.A.x": "for this", "m.B.*": "for that", "m.B.z": "stale"},
        )
        self.assertTrue(verdict["conforms"])
        self.assertEqual(
            verdict["exceptions"],
            [
                {"test": "m.A.x", "reason": "for this"},
                {"test": "m.B.y", "reason": "for that"},
            ],
        )
        self.assertEqual(
            verdict["unneeded_exceptions"], [{"test": "m.B.z", "reason": "stale"}]
        )

    def test_notRun(self) -> None:
        """
        A test that was not run under the reactor counts as failed.
        """
        verdict = verdictOf({}, {"a": PASSED})
        self.assertEqual(
            verdict["failures"], [{"test": "a", "reason": "it was not run"}]
        )

    def test_onlyReactor(self) -> None:
        """
        So does an error that only the reactor reports.
        """
        verdict = verdictOf({"a": PASSED, "m (no test)": FAILED}, {"a": PASSED})
        self.assertEqual(
            verdict["failures"], [{"test": "m (no test)", "reason": "1 != 2"}]
        )

    def test_nothing(self) -> None:
        """
        Without any test, the reactor does not conform.
        """
        self.assertFalse(verdictOf({}, {})["conforms"])


class ShowTests(SynchronousTestCase):
    """
    Tests for L{show}.
    """

    def shown(self, full: bool) -> list[str]:
        """
        The lines about a reactor that fails one of three tests, and skips another as
        the control does.
        """
        one = {"a": FAILED, "b": PASSED}
        other = {"c": PASSED, "d": Outcome("skipped", "a reason")}
        control = {
            "some.where.test_one": {"a": PASSED, "b": PASSED},
            "some.where.test_other": other,
        }
        reactor = {"some.where.test_one": one, "some.where.test_other": other}
        console = Console(file=StringIO(), width=100)
        show(
            {
                "reactor": "x",
                "control": "epoll",
                "twisted": "1",
                "python": "2",
                "kernel": "3",
                "full": full,
                "seconds": 89.6,
                "interfaces": ["IReactorTime"],
                "missing_interfaces": [],
                **judge(reactor, control, {}),
            },
            console,
        )
        assert isinstance(console.file, StringIO)
        return [" ".join(line.split()) for line in console.file.getvalue().split("\n")]

    def test_modules(self) -> None:
        """
        The table has a row for each module and one for all. After it come the failures,
        the skipped tests with reasons, the duration and the verdict.
        """
        lines = self.shown(False)
        self.assertEqual(
            lines[2:5],
            [
                "test_one 1 1 0 0 2 0 0 0",
                "test_other 1 0 0 1 1 0 0 1",
                "all 2 1 0 1 3 0 0 1",
            ],
        )
        for line in ("a: 1 != 2", "1 test: a reason", "The tests took 1 min 30 s."):
            self.assertIn(line, lines)
        self.assertEqual(lines[-2], "x fails 1 of the tests that epoll passes.")

    def test_packages(self) -> None:
        """
        For all of Twisted's tests, the table has a row for each package.
        """
        self.assertEqual(
            self.shown(True)[2:4],
            ["some.where 2 1 0 1 3 0 0 1", "all 2 1 0 1 3 0 0 1"],
        )


class JobTests(SynchronousTestCase):
    """
    Tests for L{Job}.
    """

    def job(self, *events: Event) -> Job:
        """
        A job that has received some events.
        """
        job = Job("x.XReactor", "m")
        for event in events:
            job.eventReceived(msgspec.json.encode(event))
        return job

    def test_ended(self) -> None:
        """
        If two tests have the same name, the worse outcome counts.
        """
        job = self.job(
            Collected(["m.a", "m.a"]),
            Began(0),
            Ended("failed", "no"),
            Began(1),
            Ended("passed", ""),
            Finished(),
        )
        self.assertTrue(job.ended)
        self.assertEqual(job.outcomes, {"m.a": Outcome("failed", "no")})

    def test_left(self) -> None:
        """
        After a test that failed, the next test runs in a new process, if there is a
        next test.
        """
        events: list[Event] = [
            Collected(["m.a", "m.b"]),
            Began(0),
            Ended("failed", "no"),
            Left(),
        ]
        job = self.job(*events)
        self.assertEqual((job.start, job.left, job.ended), (1, True, False))
        job.eventReceived(msgspec.json.encode(Collected(["m.a", "m.b"])))
        self.assertFalse(job.left)
        last = self.job(Collected(["m.a"]), *events[1:])
        self.assertTrue(last.ended)
        self.assertEqual(last.outcomes, {"m.a": Outcome("failed", "no")})

    def test_lost(self) -> None:
        """
        A test during which the process dies has errored; the next test runs in a new
        process.
        """
        job = self.job(Collected(["m.a", "m.b"]), Began(0))
        job.processLost("hung")
        self.assertEqual(job.outcomes, {"m.a": Outcome("errored", "hung")})
        self.assertEqual((job.start, job.ended), (1, False))

    def test_lostLast(self) -> None:
        """
        If the process dies in the last test, the job has ended.
        """
        job = self.job(Collected(["m.a"]), Began(0))
        job.processLost("hung")
        self.assertTrue(job.ended)

    def test_notAnEvent(self) -> None:
        """
        A line that is no event is an error, not a fact about a test.
        """
        job = self.job(Collected(["m.a"]))
        for line in (b"{]", b"{}", b'{"type": "began", "index": "0"}', b"\xff"):
            self.assertRaises(msgspec.MsgspecError, job.eventReceived, line)
        self.assertEqual(job.outcomes, {})

    def test_lostBetween(self) -> None:
        """
        If two processes die before they begin a test, the test has errored.
        """
        job = self.job(
            Collected(["m.a", "m.b"]),
            Began(0),
            Ended("passed", ""),
        )
        job.processLost("died")
        self.assertEqual((job.start, job.ended), (1, False))
        job.eventReceived(msgspec.json.encode(Collected(["m.a", "m.b"])))
        job.processLost("died")
        self.assertTrue(job.ended)
        self.assertEqual(job.outcomes["m.b"], Outcome("errored", "died"))

    def test_lostAtOnce(self) -> None:
        """
        A module during whose import the process dies has ended.
        """
        job = self.job()
        job.processLost("died")
        self.assertTrue(job.ended)
        self.assertEqual(job.outcomes, {"m": Outcome("errored", "died")})

    def test_lostAfterwards(self) -> None:
        """
        An error after the last test counts, too.
        """
        job = self.job(
            Collected(["m.a"]),
            Began(0),
            Ended("passed", ""),
        )
        job.processLost("hung")
        self.assertTrue(job.ended)
        self.assertEqual(
            job.outcomes, {"m.a": PASSED, "m (no test)": Outcome("errored", "hung")}
        )


class _Simultaneous(JobObserver):
    """
    @ivar seen: the sets of modules that ran at the same time.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._running: list[str] = []

    def began(self, job: Job) -> None:
        """See L{JobObserver.began}."""
        self._running.append(job.module)
        self.seen.add(" and ".join(sorted(self._running)))

    def ended(self, job: Job) -> None:
        """See L{JobObserver.ended}."""
        self._running.remove(job.module)


class RealTests(SynchronousTestCase):
    """
    Real tests of Twisted, in real processes.
    """

    def conform(self, name: str, limit: float = 60, full: bool = False) -> Conformance:
        """
        Judge a reactor by a small module.
        """
        return conform(name, JobObserver(), full, [SMALL], limit)[0]

    def broken(self, name: str, limit: float = 60) -> Conformance:
        """
        Judge one of the broken reactors. The second test of the module passes under
        each.
        """
        outcome = self.conform(f"{broken_reactors.__name__}.{name}", limit)
        self.assertFalse(outcome["conforms"])
        self.assertEqual([each["test"] for each in outcome["failures"]], [FIRST])
        self.assertEqual(
            [(each["module"], each["passed"]) for each in outcome["modules"]],
            [(SMALL, 1)],
        )
        return outcome

    def test_good(self) -> None:
        """
        The reactors poll, asyncio and busypoll conform, by reactor tests and by all
        tests of a module.
        """
        for name in ("poll", "asyncio", "busypoll"):
            for full in (False, True):
                outcome = self.conform(name, full=full)
                self.assertTrue(outcome["conforms"], outcome)
                self.assertEqual(outcome["failures"], [])

    def test_failing(self) -> None:
        """
        The reason of a failure is the last line of its message.
        """
        outcome = self.broken("FailingReactor")
        self.assertEqual(outcome["failures"][0]["reason"], "ValueError: at once")

    def test_haunting(self) -> None:
        """
        An error that a failed test leaves behind does not count against the next test.
        """
        outcome = self.broken("HauntingReactor")
        self.assertEqual(outcome["failures"][0]["reason"], "ValueError: as asked")

    def test_excused(self) -> None:
        """
        The exceptions in the reactor's module permit its failures.
        """
        self.patch(
            broken_reactors,
            "CONFORMANCE_EXCEPTIONS",
            {FIRST: "it always fails", SECOND: "an old one"},
        )
        outcome = self.conform("tests.broken_reactors.FailingReactor")
        self.assertTrue(outcome["conforms"])
        self.assertEqual(
            (outcome["exceptions"], outcome["unneeded_exceptions"]),
            (
                [{"test": FIRST, "reason": "it always fails"}],
                [{"test": SECOND, "reason": "an old one"}],
            ),
        )

    def test_hanging(self) -> None:
        """
        A test that hangs is reported by name, and the rest of the module still runs.
        """
        outcome = self.broken("HangingReactor", limit=10)
        self.assertIn("hung", outcome["failures"][0]["reason"])

    def test_crashing(self) -> None:
        """
        So is a test that kills its process.
        """
        outcome = self.broken("CrashingReactor")
        self.assertIn("SIGABRT", outcome["failures"][0]["reason"])

    def test_leaving(self) -> None:
        """
        A test that ends its process is reported even if the exit status is 0.
        """
        outcome = self.broken("LeavingReactor")
        self.assertIn("exit status 0", outcome["failures"][0]["reason"])

    def test_unmakeable(self) -> None:
        """
        For a reactor that cannot be made there is no verdict, as its tests would be
        skipped.
        """
        error = self.assertRaises(
            CannotJudge, self.conform, "tests.broken_reactors.UnmakeableReactor"
        )
        self.assertIn("the kernel says no", str(error))

    def test_unloadable(self) -> None:
        """
        If the control cannot load the tests, there is no verdict.
        """
        error = self.assertRaises(
            CannotJudge,
            conform,
            "poll",
            JobObserver(),
            False,
            ["twisted.test.test_none"],
        )
        self.assertIn("twisted.test.test_none", str(error))

    def test_harmless(self) -> None:
        """
        The test that would change the file mode of /dev/null for root is skipped for
        root.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can do harm")
        before = os.stat(os.devnull).st_mode
        self.addCleanup(os.chmod, os.devnull, stat.S_IMODE(before))
        module = "twisted.test.test_logfile"
        job = Job("twisted.internet.pollreactor.PollReactor", module, True)
        run([job], 60, JobObserver())
        test = f"{module}.LogFileTests.test_cantChangeFileMode"
        self.assertEqual(job.outcomes[test].kind, "skipped")
        self.assertEqual(os.stat(os.devnull).st_mode, before)

    def test_simultaneous(self) -> None:
        """
        Two processes run at the same time, and never with the same module.
        """
        observer = _Simultaneous()
        modules = [SMALL, "twisted.internet.test.test_fdset"]
        conform("poll", observer, modules=modules)
        both = " and ".join(sorted(modules))
        self.assertIn(both, observer.seen)
        self.assertLessEqual(observer.seen, {*modules, both})

    def test_page(self) -> None:
        """
        The page is valid reStructuredText, and has a row for every backend.
        """
        found = [
            self.conform("poll"),
            self.conform("tests.broken_reactors.FailingReactor"),
        ]
        absent = [("iocp", "needs `Windows`_ *now*")]
        lines = [*pageLines(found, absent, date(2026, 11, 23))]
        text = subprocess.run(
            [sys.executable, "-m", "docutils", "--halt=2", "--writer=pseudoxml"],
            input="\n".join(lines),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        for word in ("poll", "FailingReactor", "ValueError", "`Windows`_ *now*"):
            self.assertIn(word, text)
        (first, *_) = [n for n, line in enumerate(lines) if line.startswith("- ``")]
        self.assertTrue(lines[first].startswith("- ``test_"), lines[first])
        self.assertRegex(lines[first - 2], r"^\*\*.*FailingReactor\*\*: .*ValueError")


class CommandTests(CommandTestCase):
    """
    Tests for the command C{iodemo conform}.
    """

    def test_json(self) -> None:
        """
        poll passes all of Twisted's reactor tests, and the JSON shows that it conforms.
        """
        status, output, _ = self.run_("conform", "--reactor", "poll", "--json")
        outcome = json.loads(output)
        self.assertLessEqual(
            {"reactor", "control", "twisted", "python", "kernel", "modules"}
            | {"failures", "exceptions", "unneeded_exceptions", "interfaces"}
            | {"conforms", "seconds"},
            set(outcome),
        )
        self.assertEqual(outcome["failures"], [])
        self.assertEqual((status, outcome["conforms"]), (0, True))
        self.assertEqual((outcome["reactor"], outcome["control"]), ("poll", "epoll"))
        self.assertGreater(sum(each["passed"] for each in outcome["modules"]), 200)

    def test_unknown(self) -> None:
        """
        An unknown name is an error of one line.
        """
        status, output, errors = self.run_("conform", "--reactor", "nonsense")
        self.assertEqual((status, output), (1, ""))
        self.assertEqual(len(errors.splitlines()), 1)
        self.assertIn("nonsense", errors)

    def test_interrupted(self) -> None:
        """
        Ctrl-C ends the command and all processes that it has started.
        """
        process = self.start(
            "conform", "--reactor", "tests.broken_reactors.HangingReactor"
        )
        assert process.stderr is not None
        # The first module has ended, and others run.
        self.assertIn("tests", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 128 + signal.SIGINT)
        self.seeAllEnd()
