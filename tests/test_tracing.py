"""
Tests for L{iodemo.load.tracing}: real processes, counted by the tools of this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import psutil
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.load import tracing
from iodemo.load.tracing import OTHER, CannotTrace, Trace
from tests.children import TIMEOUT

# A program that answers each byte, from a new thread each time, and once from a child.
_ANSWERS = """
import os, sys, threading
def answer():
    os.write(1, os.read(0, 1))
if sys.argv[1] == "fork":
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        sys.exit()
os.write(1, b"!")
while True:
    if sys.argv[1] == "threads":
        thread = threading.Thread(target=answer)
        thread.start()
        thread.join()
    else:
        answer()
"""


class TracingTests(SynchronousTestCase):
    """
    Tests for counts, by perf and by strace alike.
    """

    def answering(self, how: str = "alone") -> subprocess.Popen[bytes]:
        """
        Start a process that answers.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", _ANSWERS, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

        def end() -> None:
            for child in psutil.Process(process.pid).children():
                child.kill()
            process.kill()
            process.communicate()

        self.addCleanup(end)
        assert process.stdout is not None
        self.assertEqual(process.stdout.read(1), b"!")
        return process

    def ask(self, process: subprocess.Popen[bytes], times: int) -> None:
        """
        Send requests, one after the other.
        """
        assert process.stdin is not None and process.stdout is not None
        for _ in range(times):
            process.stdin.write(b"?")
            self.assertEqual(process.stdout.read(1), b"?")

    def begun(
        self, way: Callable[[Sequence[int]], Trace], process: subprocess.Popen[bytes]
    ) -> Trace:
        """
        Begin to count with one of the tools, if it is installed.
        """
        pids = [process.pid]
        pids += [each.pid for each in psutil.Process(process.pid).children()]
        try:
            return way(pids)
        except CannotTrace as error:
            raise SkipTest(str(error)) from error

    def counts(self, way: Callable[[Sequence[int]], Trace]) -> None:
        """
        Every call is counted, also of later threads and of children, and the counting
        process has ended afterwards.
        """
        for how in ("alone", "threads", "fork"):
            process = self.answering(how)
            self.ask(process, 3)
            with self.begun(way, process) as trace:
                self.ask(process, 50)
                calls = trace.end()
            self.assertEqual(calls["write"], 50, how)
            # The server may have begun the next call already.
            self.assertIn(calls["read"], (49, 50, 51), how)
            self.ask(process, 1)
        names = {child.name() for child in psutil.Process().children()}
        self.assertEqual(names & {"perf", "strace"}, set())

    def test_perf(self) -> None:
        """
        By perf.
        """
        self.counts(tracing._Perf)

    def test_strace(self) -> None:
        """
        By strace.
        """
        self.counts(tracing._Strace)

    def test_begin(self) -> None:
        """
        By the tool that is installed.
        """
        self.counts(tracing.begin)

    def test_other(self) -> None:
        """
        Calls for which there are too few counters, as there are many threads, are
        counted nevertheless.
        """
        self.patch(tracing, "_MOST_COUNTERS", 2)
        process = self.answering()
        with self.begun(tracing._Perf, process) as trace:
            self.ask(process, 50)
            calls = trace.end()
        self.assertEqual(list(calls), [OTHER])
        self.assertIn(calls[OTHER], (99, 100, 101))

    def test_abandoned(self) -> None:
        """
        A count that is abandoned does not go on.
        """
        for way in (tracing._Perf, tracing._Strace):
            process = self.answering()
            trace = self.begun(way, process)
            counting = psutil.Process(trace._process.pid)
            with self.assertRaises(ZeroDivisionError), trace:
                raise ZeroDivisionError
            self.assertFalse(counting.is_running())
            self.ask(process, 1)

    def test_gone(self) -> None:
        """
        If the counting process has been killed, there is no count.
        """
        for way in (tracing._Perf, tracing._Strace):
            process = self.answering()
            with self.begun(way, process) as trace:
                trace._process.kill()
                trace._process.wait()
                self.assertRaises(CannotTrace, trace.end)

    def test_killed(self) -> None:
        """
        The counting process ends with the process that started it, also if that is
        killed.
        """
        code = (
            "from iodemo.load.tracing import Trace\n"
            "class Endless(Trace):\n"
            "    name = 'sleep'\n"
            "print(Endless(['600'])._process.pid, flush=True)\n"
            "input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent:
            assert parent.stdout is not None
            counting = psutil.Process(int(parent.stdout.readline()))
            self.assertTrue(counting.is_running())
            parent.kill()
        _, left = psutil.wait_procs([counting], TIMEOUT)
        self.assertEqual(left, [])


class CannotTraceTests(SynchronousTestCase):
    """
    Tests for the reasons why calls cannot be counted.
    """

    def test_nothingHere(self) -> None:
        """
        Neither perf nor strace is installed.
        """
        self.patch(os, "environ", {**os.environ, "PATH": ""})
        error = self.assertRaises(CannotTrace, tracing.begin, [os.getpid()])
        self.assertRegex(str(error), r"\Aperf: No such file.*; strace: No such file")

    def test_nobodyThere(self) -> None:
        """
        There is no process of that number.
        """
        error = self.assertRaises(CannotTrace, tracing.begin, [2**22 + 1])
        self.assertRegex(str(error), r"\Aperf: .+; strace: .+")
        self.assertNotIn("\n", str(error))
