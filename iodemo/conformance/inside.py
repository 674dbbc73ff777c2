# -*- test-case-name: tests.test_conform -*-
"""
The process that runs one module of Twisted's tests under one reactor.

Its command line has its orders as one JSON object (L{Orders}). It writes an event
(L{Event}) to a pipe, as a line with a JSON object, whenever a test begins or ends. So
the reader knows at any time which test is running, also when that test never ends or
kills the process.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import warnings
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct

OutcomeKind = Literal["passed", "failed", "errored", "skipped"]

# This test tries to change the file mode of /dev/null, and expects to be refused. Root
# is not refused, and afterwards no other user could write to /dev/null.
_HARMFUL = "twisted.test.test_logfile.LogFileTests.test_cantChangeFileMode"

_SEVERITY: dict[OutcomeKind, int] = {
    "passed": 0,
    "skipped": 1,
    "failed": 2,
    "errored": 3,
}


class Orders(Struct):
    """
    The task of the process: the tests to run.

    @ivar reactor: the reactor's class.
    @ivar module: the module of tests; an empty string only makes the reactor.
    @ivar start: the index of the first test to run.
    @ivar seconds: how long a test may run its reactor, unless the test sets a time-out.
    @ivar whole: whether to install the reactor and run all tests of the module, instead
        of only the stamped ones.
    @ivar path: C{sys.path}.
    @ivar events: the descriptor of the pipe.
    """

    reactor: str
    module: str
    start: int
    seconds: float
    whole: bool
    path: list[str]
    events: int


class Collected(Struct, tag="collected"):
    """
    All tests of the module, in the order in which they are run.
    """

    tests: list[str]


class Began(Struct, tag="began"):
    """
    A test has begun.

    @ivar index: its index in C{Collected.tests}.
    """

    index: int


class Ended(Struct, tag="ended"):
    """
    The test that began last has ended.

    @ivar reason: why it did not pass; empty if it did.
    """

    outcome: OutcomeKind
    reason: str


class Left(Struct, tag="left"):
    """
    The process exits after a test that failed or errored: trial could blame the next
    test for what this one left behind, so the next needs a new process.
    """


class Stray(Struct, tag="stray"):
    """
    An error was logged while no test was running.
    """

    reason: str


class Unbuilt(Struct, tag="unbuilt"):
    """
    The reactor cannot be made.
    """

    reason: str


class Finished(Struct, tag="finished"):
    """
    All tests have ended.
    """


#: One line of the pipe.
Event = Collected | Began | Ended | Left | Stray | Unbuilt | Finished


def main(argument: str) -> None:
    """
    Execute orders, and exit without waiting for threads and exit functions: the
    reactor's may never end.

    @param argument: the orders, in JSON.
    """
    orders = msgspec.json.decode(argument, type=Orders)
    sys.path[:] = orders.path
    # Some tests read it.
    sys.argv[:] = ["trial"]
    pipe = Pipe(orders.events)
    # iodemo.process.guard has raised the soft limit. Some tests open as many files as
    # allowed, and select cannot watch descriptors from 1024 on.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = 1024 if hard == resource.RLIM_INFINITY else min(1024, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if orders.module:
        _run(orders, pipe)
    else:
        _build(orders, pipe)
    pipe.send(Finished())
    os._exit(0)


class Pipe:
    """
    The writing end of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._pid = os.getpid()

    def send(self, event: Event) -> None:
        """
        Write one event.
        """
        if os.getpid() != self._pid:
            # A test forked this process, which continues as if it were the parent.
            os._exit(1)
        data = msgspec.json.encode(event) + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]


def normalised(test: str, reactor: str) -> str:
    """
    The name of a test without the name of the reactor for which it was stamped.

    @param reactor: the reactor's class.
    """
    shortName = reactor.rpartition(".")[2]
    return test.replace(f"_{shortName}Tests.", ".")


def _run(orders: Orders, pipe: Pipe) -> None:
    name = orders.reactor
    if orders.whole:
        _install(name)

    from twisted.internet.test.reactormixins import ReactorBuilder
    from twisted.trial import reporter, runner, unittest
    from twisted.trial._asyncrunner import _iterateTests
    from twisted.trial.util import acquireAttribute

    from iodemo.conformance.reporting import StreamingReporter

    # The modules stamp their test cases from this list when they are imported. There is
    # no public way to set it (twisted#7303).
    ReactorBuilder._reactors = [name]
    unbuilt: list[str] = []
    factory = _factory(name, unbuilt)
    tests: list[Any] = []
    loader = runner.TestLoader()
    test: Any
    for test in _iterateTests(loader.loadByName(orders.module)):
        # Tests for one particular reactor have a list of their own, and are not
        # stamped.
        isStamped = normalised(test.id(), name) != test.id()
        if isinstance(test, ReactorBuilder) and isStamped:
            type(test).reactorFactory = factory  # type: ignore[assignment]  # has self
        elif not orders.whole and not isinstance(test, runner.ErrorHolder):
            continue
        tests.append(test)
        if test.id() == _HARMFUL and os.geteuid() == 0:
            test.skip = "for root it would change the file mode of /dev/null"
        if acquireAttribute(getattr(test, "_parents", []), "timeout", None) is None:
            # Twisted's default is two minutes, longer than the limit for one test.
            test.timeout = orders.seconds
    pipe.send(Collected([normalised(test.id(), name) for test in tests]))

    def leave() -> None:
        pipe.send(Left())
        os._exit(0)

    def makeReporter(*_: object) -> reporter.TestResult:
        return StreamingReporter(pipe.send, leave, orders.start, unbuilt)

    runner.TrialRunner(makeReporter).run(unittest.TestSuite(tests[orders.start :]))


def _build(orders: Orders, pipe: Pipe) -> None:
    from twisted.python.reflect import namedAny

    try:
        namedAny(orders.reactor)()
    except BaseException as error:
        pipe.send(Unbuilt(_described(error)))


def _factory(name: str, unbuilt: list[str]) -> Callable[[Any], Any]:
    """
    Make the function by which tests make their reactors.

    C{ReactorBuilder} skips a test whose reactor cannot be made. That is right for a
    list of reactors of which some may not be available; but here it would hide that the
    subject cannot be made. So the reason is appended to C{unbuilt}.
    """
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor
    from twisted.python.reflect import namedAny

    reactorClass = namedAny(name)

    def factory(case: Any) -> Any:
        isOnAsyncio = issubclass(reactorClass, AsyncioSelectorReactor)
        before = _currentLoop() if isOnAsyncio else None
        try:
            reactor = reactorClass()
        except BaseException as error:
            unbuilt.append(_described(error))
            raise
        if isOnAsyncio:
            # twisted.internet.test.reactormixins does the same. Without a loop of its
            # own, a test would get the calls that earlier tests left behind.
            loop = reactor._asyncioEventloop
            asyncio.set_event_loop(loop)
            case.addCleanup(asyncio.set_event_loop, before)
            case.addCleanup(loop.close)
        return reactor

    return factory


def _currentLoop() -> asyncio.AbstractEventLoop | None:
    with warnings.catch_warnings():
        # The loop is only needed to restore it afterwards; it may be None.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return asyncio.get_event_loop()
        except RuntimeError:
            return None


def _install(name: str) -> None:
    """
    Make a reactor, and install it as the reactor of the process.
    """
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor
    from twisted.internet.main import installReactor
    from twisted.python.reflect import namedAny

    reactor = namedAny(name)()
    if isinstance(reactor, AsyncioSelectorReactor):
        asyncio.set_event_loop(reactor._asyncioEventloop)
    installReactor(reactor)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {lastLine(str(error))}"


def worse(one: OutcomeKind, other: OutcomeKind) -> OutcomeKind:
    """
    The worse of two outcomes.
    """
    return max(one, other, key=_SEVERITY.__getitem__)


def lastLine(text: str) -> str:
    """
    The last line of a text that is not empty, with unprintable characters replaced.

    @return: at most 500 characters.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return "".join(c if c.isprintable() else "?" for c in lines[-1])[:500]


if __name__ == "__main__":
    main(sys.argv[1])
