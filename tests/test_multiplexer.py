"""
Tests for L{iodemo.bench.multiplexer}, over all its multiplexers.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from iodemo import models
from iodemo.bench import multiplexer as program
from iodemo.bench.multiplexer import MULTIPLEXERS, Multiplexer, WrongFind
from iodemo.results.schema import Round
from tests.children import TIMEOUT, allowFiles

Change = Callable[[list[int], list[int]], list[int]]


def available() -> Iterator[str]:
    """
    The backends that can run here and have a multiplexer.
    """
    return (each.name for each in models.available() if each.name in MULTIPLEXERS)


def changed(
    multiplexer: Multiplexer, change: Change, watched: list[int]
) -> Multiplexer:
    """
    A multiplexer whose answers a function changes.

    @param change: takes the watched and the ready descriptors, and returns the
        descriptors to report.
    """

    def ready(answer: Any) -> list[int]:
        return change(watched, multiplexer.ready(answer))

    return Multiplexer(multiplexer.wait, ready)


class MeasureTests(SynchronousTestCase):
    """
    Tests for L{iodemo.bench.multiplexer.measure}, in this process.
    """

    def test_whichThereAre(self) -> None:
        """
        Every backend with a multiplexer of its own has one here, and no other name has.
        """
        self.assertLessEqual({"select", "poll", "epoll", "proactor"}, set(available()))
        self.assertLessEqual(set(MULTIPLEXERS), {model.name for model in models.MODELS})

    def test_round(self) -> None:
        """
        For any number of ready pipes, the measured numbers are consistent.
        """
        for name in available():
            for count, active in ((10, 1), (130, 7), (130, 130)):
                with program.opened(count) as opened:
                    measured = program.measure(
                        MULTIPLEXERS[name](opened), opened, active, 0.01
                    )
                spent = measured["seconds"]
                self.assertEqual(
                    set(measured), {*Round.__required_keys__, "us_per_call"}
                )
                self.assertGreater(measured["requests"], 0)
                self.assertAlmostEqual(
                    measured["throughput"] * spent, measured["requests"]
                )
                self.assertGreater(measured["us_per_call"], 0)
                latency = measured["latency_us"]
                # A part is less than the whole.
                self.assertLess(measured["us_per_call"], latency["p50"])
                self.assertLessEqual(latency["p50"], latency["p99"])
                self.assertLessEqual(latency["p99"], latency["max"])
                self.assertLessEqual(latency["max"] / 1e6, spent)

    def test_leastIsOne(self) -> None:
        """
        At least one operation is measured, however short the time is.
        """
        for name in available():
            with program.opened(3) as opened:
                measured = program.measure(MULTIPLEXERS[name](opened), opened, 1, 0.0)
            self.assertEqual(measured["requests"], 1, name)

    def test_everyPipe(self) -> None:
        """
        Each pipe is chosen equally often, in changing order.
        """
        choices = program._choices(list(range(6)), 2)
        rounds = [[next(choices) for _ in range(3)] for _ in range(20)]
        for dealt in rounds:
            self.assertEqual(sorted(chain(*dealt)), list(range(6)))
        self.assertGreater(len({str(dealt) for dealt in rounds}), 1)

    def test_again(self) -> None:
        """
        A pipe that is ready again at once is reported, and so is the next.
        """
        for name in available():
            with program.opened(3) as opened:
                multiplexer = MULTIPLEXERS[name](opened)
                for chosen in ([0], [0], [1], [0, 1, 2], [2], [2]):
                    program._operation(multiplexer, [opened[n] for n in chosen], b"x")

    def test_wrong(self) -> None:
        """
        If a multiplexer reports a pipe that is not ready, or the same one twice, or
        none at all, there is no result.
        """
        changes: list[tuple[Change, str]] = [
            (lambda watched, ready: watched, "is not ready, and was named"),
            (lambda watched, ready: ready * 2, "is not ready, and was named"),
            (lambda watched, ready: [], "it named 0 pipes, and 10 are ready"),
        ]
        for name in available():
            for change, said in changes:
                with program.opened(20) as opened:
                    wrong = changed(MULTIPLEXERS[name](opened), change, opened)
                    error = self.assertRaises(
                        WrongFind, program._operation, wrong, opened[:10], b"x"
                    )
                self.assertIn(said, str(error), name)

    def test_partly(self) -> None:
        """
        A multiplexer that reports a part of the ready pipes is called until it has
        reported all.
        """
        for name in available():
            with program.opened(7) as opened:
                waits = 0
                multiplexer = MULTIPLEXERS[name](opened)

                def wait(multiplexer: Multiplexer = multiplexer) -> Any:
                    nonlocal waits
                    waits += 1
                    return multiplexer.wait()

                def some(answer: Any, multiplexer: Multiplexer = multiplexer) -> Any:
                    return multiplexer.ready(answer)[:2]

                program._operation(Multiplexer(wait, some), opened, b"x")
            self.assertEqual(waits, 4, name)

    def test_wrongByte(self) -> None:
        """
        If a pipe has any byte but the one that was written, there is no result.
        """
        for name in available():
            with program.opened(5) as opened:
                multiplexer = MULTIPLEXERS[name](opened)
                os.write(opened[3], b"?")
                error = self.assertRaises(
                    WrongFind, program.measure, multiplexer, opened, 1, 0.0
                )
                self.assertIn(f"({opened[3]}, b'?", str(error), name)

    def test_verified(self) -> None:
        """
        Every pipe has been reported before the measurement begins.
        """
        for name in available():
            with program.opened(250) as opened:
                multiplexer = MULTIPLEXERS[name](opened)
                found: set[int] = set()

                def ready(
                    answer: Any,
                    multiplexer: Multiplexer = multiplexer,
                    found: set[int] = found,
                ) -> list[int]:
                    named = multiplexer.ready(answer)
                    found.update(named)
                    return named

                program.measure(Multiplexer(multiplexer.wait, ready), opened, 1, 0.0)
                self.assertEqual(found, set(opened), name)

    def test_closed(self) -> None:
        """
        All descriptors of the pipes and of the multiplexer are closed.
        """
        for name in available():
            gc.collect()
            before = os.listdir("/proc/self/fd")
            with program.opened(10) as opened:
                program.measure(MULTIPLEXERS[name](opened), opened, 1, 0.0)
            gc.collect()
            self.assertEqual(os.listdir("/proc/self/fd"), before, name)

    def test_tooMany(self) -> None:
        """
        If not all pipes can be opened, those that were opened are closed.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = os.listdir("/proc/self/fd")
        highest = max(map(int, before))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, hard))
        try:
            with self.assertRaises(OSError), program.opened(highest + 10):
                self.fail("there are more than may be")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class ProgramTests(SynchronousTestCase):
    """
    Tests for the program that a comparison runs.
    """

    def run_(self, *arguments: str) -> tuple[int, str, str]:
        """
        @return: exit status, standard output, standard error.
        """
        code = "from iodemo.bench.multiplexer import main; main()"
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        return ended.returncode, ended.stdout, ended.stderr

    def test_reports(self) -> None:
        """
        It prints a round.
        """
        for name in available():
            status, output, errors = self.run_(name, "20", "3", "0.01")
            self.assertEqual((status, errors), (0, ""), name)
            self.assertGreater(json.loads(output)["us_per_call"], 0)

    def test_beyondSelect(self) -> None:
        """
        If select cannot watch the descriptors, the program ends with that reason.
        """
        allowFiles(self, 1200)
        status, output, errors = self.run_("select", "1100", "1", "0.01")
        self.assertEqual((status, output), (1, ""))
        self.assertIn("filedescriptor out of range in select()", errors)

    def test_wrong(self) -> None:
        """
        If a multiplexer is wrong, the program ends with the error and without a result.
        """
        code = (
            "from iodemo.bench import multiplexer\n"
            "liar = multiplexer.Multiplexer(lambda: None, lambda answer: [])\n"
            "multiplexer.MULTIPLEXERS['poll'] = lambda descriptors: liar\n"
            "multiplexer.main()"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, "poll", "20", "3", "0.01"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertEqual(ended.stderr, "it named 0 pipes, and 20 are ready\n")
