"""
Tests for L{iodemo.conformance.loops}.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import subprocess
import sys
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.conformance import loops
from iodemo.conformance.loops import CannotJudgeLoops, LoopVerdict, judge, runModule
from iodemo.conformance.page import loopLines
from iodemo.conformance.running import Outcome

#: A short module.
_MODULE = "test_threads"


class BrokenLoop(asyncio.SelectorEventLoop):
    """
    A loop that runs nothing in threads.
    """

    def run_in_executor(self, *arguments: object) -> None:  # type: ignore[override]
        """Refuse."""
        raise ZeroDivisionError("deliberate")


class EndingLoop(asyncio.SelectorEventLoop):
    """
    A loop that ends the process when it runs.
    """

    def run_forever(self) -> None:
        """End it."""
        raise SystemExit(3)


class LoopsTests(SynchronousTestCase):
    """
    Tests for CPython's tests on event loops.
    """

    def setUp(self) -> None:
        """
        Have only loops that run everywhere.
        """
        here = f"{__name__}."
        self.patch(
            loops,
            "LOOPS",
            {
                "asyncio": "asyncio.SelectorEventLoop",
                "same": "asyncio.SelectorEventLoop",
                "broken": f"{here}BrokenLoop",
                "ending": f"{here}EndingLoop",
            },
        )

    def judge(self, *names: str) -> list[LoopVerdict]:
        """
        Run the tests of one module.
        """
        try:
            return judge(names, [_MODULE])
        except CannotJudgeLoops as error:
            raise SkipTest(str(error)) from None

    def test_judge(self) -> None:
        """
        A loop that fails tests which asyncio's passes is found out, with the reason;
        another passes what asyncio's passes.
        """
        control, same, broken, ending = self.judge("same", "broken", "ending")
        self.assertEqual(control.failures, {})
        self.assertNotEqual(control.outcomes, {})
        self.assertEqual(same.outcomes, control.outcomes)
        self.assertEqual(broken.outcomes.keys(), control.outcomes.keys())
        self.assertIn("ZeroDivisionError: deliberate", broken.failures.values())
        self.assertEqual(ending.failures.keys(), control.outcomes.keys())

    def test_limit(self) -> None:
        """
        Tests that do not end in time have failed.
        """
        self.judge()
        outcomes = runModule(
            "asyncio.SelectorEventLoop", f"{loops.PACKAGE}.{_MODULE}", limit=0
        )
        self.assertEqual({each.kind for each in outcomes.values()}, {"errored"})

    def test_missing(self) -> None:
        """
        If this Python has no tests, a sentence says where they are.
        """
        self.patch(loops, "PACKAGE", "test.no_such_tests")
        with self.assertRaises(SystemExit) as raised:
            loops.main("same")
        self.assertIn("has no test.no_such_tests: ", str(raised.exception))

    def test_nothing(self) -> None:
        """
        If asyncio's own loop passes nothing, no other loop can be judged.
        """
        self.judge()
        self.patch(loops, "CONTROL", "ending")
        with self.assertRaises(CannotJudgeLoops) as raised:
            judge([], [_MODULE])
        self.assertIn("exit status 3", str(raised.exception))

    def test_unknown(self) -> None:
        """
        The name of an unknown loop is answered with those that there are.
        """
        with self.assertRaises(SystemExit) as raised:
            loops.main("epoll")
        self.assertIn("'epoll': choose from asyncio", str(raised.exception))

    def test_main(self) -> None:
        """
        The outcomes are printed, and the exit status says whether a test fails that
        passes on asyncio's own loop.
        """
        passed, failed = Outcome("passed"), Outcome("failed", "why not")
        verdicts = [LoopVerdict("asyncio", {"a": passed}, {})]
        for outcome, failures in ((passed, {}), (failed, {"a": "why not"})):
            found = [*verdicts, LoopVerdict("same", {"a": outcome}, failures)]
            output = io.StringIO()
            with (
                mock.patch.object(loops, "judge", return_value=found),
                contextlib.redirect_stdout(output),
                self.assertRaises(SystemExit) as raised,
            ):
                loops.main("same")
            self.assertEqual(bool(raised.exception.code), bool(failures))
            self.assertIn("same: 1 tests, ", output.getvalue())
            self.assertEqual("why not" in output.getvalue(), bool(failures))

    def test_page(self) -> None:
        """
        The section of the page is valid, and has the failures.
        """
        failed = {"test.test_asyncio.test_a.b": Outcome("failed", "why *not*")}
        verdict = LoopVerdict(
            "same", failed, {"test.test_asyncio.test_a.b": "why *not*"}
        )
        lines = [*loopLines([LoopVerdict("asyncio", {}, {}), verdict])]
        self.assertIn("- ``test_a.b``", lines)
        text = subprocess.run(
            [sys.executable, "-m", "docutils", "--halt=2", "--writer=pseudoxml"],
            input="\n".join(lines),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        self.assertIn("why *not*", text)
