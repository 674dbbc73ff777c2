# -*- test-case-name: tests.test_conform -*-
"""
Run tests in processes of their own, and read their reports.

Each module of tests has its own process. A test that hangs, or that ends its process,
counts as errored. After such a test, and after any that failed or errored, the rest of
the module runs in a new process.
"""

from __future__ import annotations

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

import msgspec
import psutil

from iodemo.conformance import inside
from iodemo.conformance.inside import Orders, OutcomeKind, worse
from iodemo.process.child import Child

#: Seconds for one test.
LIMIT = 60.0

#: How many processes run tests at the same time. More would disturb each other's
#: timing.
SIMULTANEOUS = 2


class Outcome(NamedTuple):
    """
    How a test ended, and the reason if it did not pass.
    """

    kind: OutcomeKind
    reason: str = ""


class Job:
    """
    The tests of one module under one reactor, in one process or several.

    @ivar reactor: the reactor's class.
    @ivar module: the module; an empty string only makes the reactor.
    @ivar whole: whether all tests of the module are run, not only the stamped ones.
    @ivar outcomes: the outcome of each test that has ended, by name.
    @ivar start: the index of the first test that has not begun.
    @ivar ended: whether all tests have ended.
    @ivar left: whether the process has exited and left the rest to a new one.
    @ivar unbuilt: why the reactor cannot be made; C{None} if it can.
    """

    def __init__(self, reactor: str, module: str, whole: bool = False) -> None:
        self.reactor = reactor
        self.module = module
        self.whole = whole
        self.outcomes: dict[str, Outcome] = {}
        self.start = 0
        self.ended = False
        self.left = False
        self.unbuilt: str | None = None
        self._tests: list[str] | None = None
        self._running: str | None = None
        self._progressed = False

    def eventReceived(self, line: bytes) -> None:
        """
        Note an event of the process.

        @param line: an L{inside.Event} in JSON.
        @raise msgspec.MsgspecError: if it is none.
        """
        match msgspec.json.decode(line, type=inside.Event):
            case inside.Collected(tests=tests):
                self._tests = tests
                self.left = False
                self._progressed = False
            case inside.Began(index=index):
                assert self._tests is not None
                self._running = self._tests[index]
                self.start = index + 1
                self._progressed = True
            case inside.Ended(outcome=outcome, reason=reason):
                assert self._running is not None
                self._record(self._running, Outcome(outcome, reason))
                self._running = None
            case inside.Left():
                assert self._tests is not None
                self.left = True
                self.ended = self.start == len(self._tests)
            case inside.Stray(reason=reason):
                self._record(f"{self.module} (no test)", Outcome("errored", reason))
            case inside.Unbuilt(reason=reason):
                self.unbuilt = reason
            case inside.Finished():
                self.ended = True

    def processLost(self, reason: str) -> None:
        """
        The process has died, or was killed, before all tests had ended.

        @param reason: how, for the outcome of the test that was running.
        """
        if self._tests is None:
            self._record(self.module, Outcome("errored", reason))
            self.ended = True
            return
        if self._running is not None:
            self._record(self._running, Outcome("errored", reason))
            self._running = None
        elif self.start == len(self._tests):
            self._record(f"{self.module} (no test)", Outcome("errored", reason))
        elif not self._progressed:
            # The process has not begun any test. A new one would end in the same way.
            self._record(self._tests[self.start], Outcome("errored", reason))
            self.start += 1
        self.ended = self.start == len(self._tests)

    def _record(self, test: str, outcome: Outcome) -> None:
        # Two tests may have the same name. Then the worse outcome counts.
        before = self.outcomes.get(test)
        if before is None or worse(before.kind, outcome.kind) != before.kind:
            self.outcomes[test] = outcome


class JobObserver:
    """
    Its methods are called as jobs proceed. They do nothing here.
    """

    def began(self, job: Job) -> None:
        """A process was started for this job, the first or a further one."""

    def ended(self, job: Job) -> None:
        """All tests of the job have ended."""


def run(jobs: Sequence[Job], limit: float, observer: JobObserver) -> None:
    """
    Do the jobs.

    Two jobs with the same module never run at the same time: some tests need a resource
    that the machine has once, such as a network device with a certain name.

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
                    if process.job.ended:
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
        orders = Orders(
            reactor=job.reactor,
            module=job.module,
            start=job.start,
            # Shorter than the limit: a test that times out by itself reports more, and
            # needs no new process. A reactor test takes a second; other tests, which
            # start many processes, take ten on a busy machine.
            seconds=limit / 2 if job.whole else limit / 6,
            whole=job.whole,
            path=[str(Path(each).absolute()) for each in sys.path],
            events=writing,
        )
        command = [sys.executable, "-m", inside.__name__]
        try:
            self.child = Child(
                [*command, msgspec.json.encode(orders).decode()],
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
        Read the events of the process, and see whether it has ended or hangs.

        @return: whether the process is no longer needed.
        """
        ended = self.child.ended
        try:
            self._read()
        except msgspec.MsgspecError as error:
            self.job.processLost(f"its report cannot be read: {error}")
            return True
        if self.job.ended or self.job.left:
            return True
        if ended:
            how = self.child.failure or "exit status 0"
            words = self.child.lastWords()
            self.job.processLost(
                f"the process ended: {how}" + (f": {words}" if words else "")
            )
            return True
        if time.monotonic() > self.deadline:
            self.job.processLost(f"hung: nothing happened for {self._limit:g} s")
            return True
        return False

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self.events, 1 << 16):
                *lines, self._unread = (self._unread + data).split(b"\n")
                for line in lines:
                    self.job.eventReceived(line)
                    self.deadline = time.monotonic() + self._limit

    def close(self) -> None:
        """
        Kill the process, and all that its tests have started.
        """
        # Processes in sessions of their own are not in the child's process group.
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.child.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.child.__exit__(None, None, None)
        os.close(self.events)


def _next(waiting: Iterable[Job], running: Sequence[_Process]) -> list[Job]:
    """
    The jobs to begin now: of different modules, and at most L{SIMULTANEOUS} in all.
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
