# -*- test-case-name: tests.test_conform -*-
"""
The processes that the tests run in, and what they report.

A module of tests has a process of its own. A test that hangs, or that takes its
process with it, is one that errored, and the rest of its module goes on in a new
process. So it does after any test that failed or errored.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from iodemo.conformance import inside
from iodemo.conformance.inside import Orders, OutcomeKind, worse
from iodemo.process.child import Child

#: Seconds for one test.
LIMIT = 60.0

#: How many processes run tests at a time. More would disturb each other's timing.
SIMULTANEOUS = 2


class Outcome(NamedTuple):
    """
    What became of a test, and if it did not pass, why.
    """

    kind: OutcomeKind
    reason: str = ""


class Job:
    """
    The tests of one module under one reactor, over as many processes as it takes.

    @ivar reactor: the reactor's class.
    @ivar outcomes: what became of each test.
    @ivar start: the first test that has not begun.
    @ivar over: whether all have ended, one way or another.
    @ivar left: whether the process has left the rest to another.
    @ivar unbuilt: why no reactor can be made.
    """

    def __init__(self, reactor: str, module: str, whole: bool = False) -> None:
        self.reactor = reactor
        self.module = module
        self.whole = whole
        self.outcomes: dict[str, Outcome] = {}
        self.start = 0
        self.over = False
        self.left = False
        self.unbuilt: str | None = None
        self._tests: list[str] | None = None
        self._running: str | None = None
        self._progressed = False

    def heard(self, line: bytes) -> None:
        """
        Take note of an event.
        """
        event = json.loads(line)
        if "tests" in event:
            self._tests = event["tests"]
            self.left = False
            self._progressed = False
        elif "began" in event:
            assert self._tests is not None
            self._running = self._tests[event["began"]]
            self.start = event["began"] + 1
            self._progressed = True
        elif "ended" in event:
            assert self._running is not None
            self._record(self._running, Outcome(event["outcome"], event["reason"]))
            self._running = None
        elif "left" in event:
            assert self._tests is not None
            self.left = True
            self.over = self.start == len(self._tests)
        elif "stray" in event:
            self._record(f"{self.module} (no test)", Outcome("errored", event["stray"]))
        elif "unbuilt" in event:
            self.unbuilt = event["unbuilt"]
        else:
            self.over = True

    def lost(self, reason: str) -> None:
        """
        The process has ended, or was ended, with tests to do.
        """
        if self._tests is None:
            self._record(self.module, Outcome("errored", reason))
            self.over = True
            return
        if self._running is not None:
            self._record(self._running, Outcome("errored", reason))
            self._running = None
        elif self.start == len(self._tests):
            self._record(f"{self.module} (no test)", Outcome("errored", reason))
        elif not self._progressed:
            # Whatever it is, it would happen again.
            self._record(self._tests[self.start], Outcome("errored", reason))
            self.start += 1
        self.over = self.start == len(self._tests)

    def _record(self, test: str, outcome: Outcome) -> None:
        # A name may come twice. Then the worse counts.
        before = self.outcomes.get(test)
        if before is None or worse(before.kind, outcome.kind) != before.kind:
            self.outcomes[test] = outcome


class Observer:
    """
    Somebody who waits for the jobs. This one does nothing about it.
    """

    def began(self, job: Job) -> None:
        """A process was started for this job, possibly another one."""

    def ended(self, job: Job) -> None:
        """It is over."""


def run(jobs: Sequence[Job], limit: float, observer: Observer) -> None:
    """
    Do the jobs.

    No two that run the same module at a time: there are tests that want something
    of which the machine has one, such as a network device by its name.

    @param limit: seconds for one test.
    """
    waiting = deque(jobs)
    running: list[_Process] = []
    with tempfile.TemporaryDirectory(prefix="iodemo-conform-") as scratch:
        try:
            while waiting or running:
                for job in _next(waiting, running):
                    waiting.remove(job)
                    running.append(_Process(job, limit, Path(scratch)))
                    observer.began(job)
                _awaitAny(running)
                for process in running.copy():
                    if not process.attend():
                        continue
                    running.remove(process)
                    process.close()
                    if process.job.over:
                        observer.ended(process.job)
                    else:
                        waiting.appendleft(process.job)
        finally:
            for process in running:
                process.close()


class _Process:
    """
    One process that runs tests.
    """

    def __init__(self, job: Job, limit: float, scratch: Path) -> None:
        self.job = job
        self._limit = limit
        self.deadline = time.monotonic() + limit
        self._unread = b""
        self.events, writing = os.pipe()
        os.set_blocking(self.events, False)
        orders: Orders = {
            "reactor": job.reactor,
            "module": job.module,
            "start": job.start,
            # Before we lose patience: a test that gives up by itself says more,
            # and costs no process. A reactor test takes a second, but others, which
            # start many processes, ten on a busy machine.
            "seconds": limit / 2 if job.whole else limit / 6,
            "whole": job.whole,
            "path": [str(Path(each).absolute()) for each in sys.path],
            "events": writing,
        }
        try:
            self.child = Child(
                [sys.executable, "-m", inside.__name__, json.dumps(orders)],
                None,
                directory=Path(tempfile.mkdtemp(dir=scratch)),
                passing=(writing,),
            )
        except BaseException:
            os.close(self.events)
            raise
        finally:
            os.close(writing)

    def attend(self) -> bool:
        """
        Read what it says.

        @return: whether it is of no further use.
        """
        ended = self.child.ended
        self._read()
        if self.job.over or self.job.left:
            return True
        if ended:
            how = self.child.failure or "exit status 0"
            words = self.child.lastWords()
            self.job.lost(f"the process ended: {how}" + (f": {words}" if words else ""))
            return True
        if time.monotonic() > self.deadline:
            self.job.lost(f"hung: nothing happened for {self._limit:g} s")
            return True
        return False

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self.events, 1 << 16):
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    self.job.heard(line)
                    self.deadline = time.monotonic() + self._limit

    def close(self) -> None:
        """
        End it, and what its tests have left behind.
        """
        # Some of that is in sessions of its own, where the child's end of its
        # session does not reach.
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.child.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.child.__exit__(None, None, None)
        os.close(self.events)


def _next(waiting: Iterable[Job], running: Sequence[_Process]) -> list[Job]:
    """
    The jobs to begin now.
    """
    modules = {process.job.module for process in running}
    jobs = []
    for job in waiting:
        if len(modules) == SIMULTANEOUS:
            break
        if job.module not in modules:
            modules.add(job.module)
            jobs.append(job)
    return jobs


def _awaitAny(processes: Sequence[_Process]) -> None:
    poll = select.poll()
    for process in processes:
        poll.register(process.events, select.POLLIN)
        poll.register(process.child.descriptor, select.POLLIN)
    deadline = min(process.deadline for process in processes)
    poll.poll(max(0.0, deadline - time.monotonic()) * 1000 + 1)
