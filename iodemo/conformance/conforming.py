# -*- test-case-name: tests.test_conform -*-
"""
Judge a reactor by Twisted's tests.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from importlib.util import find_spec

import twisted
from twisted.python.modules import getModule

from iodemo.conformance.finding import Subject, findReactor
from iodemo.conformance.running import LIMIT, Job, JobObserver, run
from iodemo.conformance.verdict import Outcomes, Verdict, judge

#: The reactor that Twisted itself chooses on Linux.
CONTROL = "epoll"


class Conformance(Verdict):
    """
    A verdict, with the reactor and the environment that it is about.

    @ivar interfaces: the reactor interfaces that the reactor's class declares.
    @ivar missing_interfaces: the interfaces that only the control declares.
    @ivar full: whether all of Twisted's tests were run.
    @ivar seconds: how long the tests took.
    """

    reactor: str
    control: str
    twisted: str
    python: str
    kernel: str
    full: bool
    seconds: float
    interfaces: list[str]
    missing_interfaces: list[str]


class CannotJudge(Exception):
    """There is no verdict. The message has the reason and what to do about it."""


def reactorModules() -> list[str]:
    """
    The modules of Twisted's reactor tests, which stamp test cases. (A few contain the
    call without stamping any: they test how test cases are stamped.)
    """
    package = getModule("twisted.internet.test")
    return sorted(
        module.name
        for module in package.iterModules()
        if b".makeTestCaseClasses()" in module.filePath.getContent()
        and _isTests(module.name)
    )


def allModules() -> list[str]:
    """
    The modules of all of Twisted's tests.
    """
    package = getModule("twisted")
    return sorted(each.name for each in package.walkModules() if _isTests(each.name))


def _isTests(module: str) -> bool:
    return module.rpartition(".")[2].startswith("test_")


def conform(
    name: str,
    observer: JobObserver,
    full: bool = False,
    modules: Sequence[str] | None = None,
    limit: float = LIMIT,
    control: Outcomes | None = None,
) -> tuple[Conformance, Outcomes]:
    """
    Judge one reactor.

    @param name: a short name, or a class.
    @param observer: an object to be called when a job begins or ends.
    @param full: install the reactor, and run all of Twisted's tests.
    @param modules: the modules of tests; by default all reactor tests, or all tests.
    @param limit: seconds for one test.
    @param control: the control's outcomes in these modules, if they are known.
    @return: the verdict, and the control's outcomes.
    @raise UnknownReactor: if there is no such reactor, or it cannot run here.
    @raise CannotJudge: if the reactor cannot be made, or the tests cannot be run.
    """
    began = time.monotonic()
    subject, standard = findReactor(name), findReactor(CONTROL)
    build = Job(subject.dottedName, "")
    run([build], limit, JobObserver())
    if build.unbuilt is not None:
        raise CannotJudge(f"{name} cannot be made here: {build.unbuilt}")
    for outcome in build.outcomes.values():
        raise CannotJudge(f"{name} cannot be made here: {outcome.reason}")
    if not full and find_spec("hamcrest") is None:
        raise CannotJudge("Twisted's reactor tests import it: pip install PyHamcrest")
    watching = observer if full else _ControlChecker(standard, observer)
    if modules is None:
        modules = allModules() if full else reactorModules()
    jobs = [Job(subject.dottedName, module, full) for module in modules]
    controls = [Job(standard.dottedName, module, full) for module in modules]
    if control is None:
        # Interleaved, so that both run on the machine in the same state.
        pairs = zip(controls, jobs, strict=True)
        run([job for pair in pairs for job in pair], limit, watching)
    else:
        run(jobs, limit, watching)
    if control is None:
        control = {job.module: job.outcomes for job in controls}
    outcomes = {job.module: job.outcomes for job in jobs}
    return {
        "reactor": name,
        "control": CONTROL,
        "twisted": twisted.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "full": full,
        "seconds": time.monotonic() - began,
        "interfaces": list(subject.interfaces),
        "missing_interfaces": [
            each for each in standard.interfaces if each not in subject.interfaces
        ],
        **judge(outcomes, control, subject.exceptions),
    }, control


class _ControlChecker(JobObserver):
    """
    Stops the run if the control cannot load a module of tests. The module's tests would
    be missing from the verdict, and the reactor would seem to conform.
    """

    def __init__(self, control: Subject, observer: JobObserver) -> None:
        self._control = control
        self._observer = observer

    def began(self, job: Job) -> None:
        """See L{JobObserver.began}."""
        self._observer.began(job)

    def ended(self, job: Job) -> None:
        """See L{JobObserver.ended}."""
        self._observer.ended(job)
        problem = job.outcomes.get(job.module)
        if problem is not None and job.reactor == self._control.dottedName:
            raise CannotJudge(
                f"{job.module} cannot be loaded ({problem.reason}): "
                "pip install 'twisted[test]' installs what Twisted's tests need"
            )
