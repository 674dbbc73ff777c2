# -*- test-case-name: tests.test_conform -*-
"""
The process that Twisted's tests run in: one module of them, one reactor.

It is told all it needs as one JSON object on its command line (L{Orders}), and
writes what happens to a pipe, a JSON object a line, as it happens: the reader
knows at any time which test is running, also when that test never ends or takes
the process with it.

  - C{{"tests": [ID, ...]}}: what there is, in the order it is run
  - C{{"began": INDEX}}
  - C{{"ended": INDEX, "outcome": OUTCOME, "reason": TEXT}}
  - C{{"left": true}}: after a test that went wrong, which may leave behind what
    trial would charge to the next: that one wants another process
  - C{{"stray": TEXT}}: an error that was logged outside of any test
  - C{{"unbuilt": TEXT}}: no such reactor can be made
  - C{{"finished": true}}
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypedDict

OutcomeKind = Literal["passed", "failed", "errored", "skipped"]

# It has the file mode of /dev/null changed, and expects to be refused. For root it is
# changed: nobody else on the machine could write there any more.
_HARMFUL = "twisted.test.test_logfile.LogFileTests.test_cantChangeFileMode"

_SEVERITY: dict[OutcomeKind, int] = {
    "passed": 0,
    "skipped": 1,
    "failed": 2,
    "errored": 3,
}


class Orders(TypedDict):
    """
    What to run.

    @ivar reactor: the reactor's class.
    @ivar module: the module of tests; the empty string to build a reactor only.
    @ivar start: the index of the first test to run.
    @ivar seconds: how long a test may run its reactor if it does not say.
    @ivar whole: whether to install the reactor and run all tests of the module,
        rather than those stamped out for a reactor.
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


def main(argument: str) -> None:
    """
    Do as ordered, and leave without asking threads and exit functions: they are
    the reactor's, and may wait for ever.
    """
    orders: Orders = json.loads(argument)
    sys.path[:] = orders["path"]
    # Some tests look at it.
    sys.argv[:] = ["trial"]
    events = Events(orders["events"])
    # The leash has raised the soft limit. Some tests open all that they may, and
    # select cannot watch more than this.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = 1024 if hard == resource.RLIM_INFINITY else min(1024, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if orders["module"]:
        _run(orders, events)
    else:
        _build(orders, events)
    events.send(finished=True)
    os._exit(0)


class Events:
    """
    Where what happens is written to.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._pid = os.getpid()

    def send(self, **event: object) -> None:
        """
        Write one event.
        """
        if os.getpid() != self._pid:
            # A child of some test that ran away and takes itself for the parent.
            os._exit(1)
        data = json.dumps(event).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]


def normalised(test: str, reactor: str) -> str:
    """
    The name of a test without that of the reactor it was stamped out for.

    @param reactor: its class.
    """
    shortName = reactor.rpartition(".")[2]
    return test.replace(f"_{shortName}Tests.", ".")


def _run(orders: Orders, events: Events) -> None:
    name = orders["reactor"]
    if orders["whole"]:
        _install(name)

    from twisted.internet.test.reactormixins import ReactorBuilder
    from twisted.trial import reporter, runner, unittest
    from twisted.trial._asyncrunner import _iterateTests
    from twisted.trial.util import acquireAttribute

    from iodemo.conformance.reporting import StreamingReporter

    # The modules make their classes from this when they are imported. There is
    # no public way (twisted#7303).
    ReactorBuilder._reactors = [name]
    unbuilt: list[str] = []
    factory = _factory(name, unbuilt)
    tests: list[Any] = []
    loader = runner.TestLoader()
    test: Any
    for test in _iterateTests(loader.loadByName(orders["module"])):
        # Some that are for one reactor only have a list of their own.
        isStamped = normalised(test.id(), name) != test.id()
        if isinstance(test, ReactorBuilder) and isStamped:
            type(test).reactorFactory = factory  # type: ignore[assignment]  # has self
        elif not orders["whole"] and not isinstance(test, runner.ErrorHolder):
            continue
        tests.append(test)
        if test.id() == _HARMFUL and os.geteuid() == 0:
            test.skip = "for root it would change the file mode of /dev/null"
        if acquireAttribute(getattr(test, "_parents", []), "timeout", None) is None:
            # Twisted's default is two minutes, which is longer than we wait.
            test.timeout = orders["seconds"]
    events.send(tests=[normalised(test.id(), name) for test in tests])

    def leave() -> None:
        events.send(left=True)
        os._exit(0)

    def makeReporter(*_: object) -> reporter.TestResult:
        return StreamingReporter(events.send, leave, orders["start"], unbuilt)

    runner.TrialRunner(makeReporter).run(unittest.TestSuite(tests[orders["start"] :]))


def _build(orders: Orders, events: Events) -> None:
    from twisted.python.reflect import namedAny

    try:
        namedAny(orders["reactor"])()
    except BaseException as error:
        events.send(unbuilt=_described(error))


def _factory(name: str, unbuilt: list[str]) -> Callable[[Any], Any]:
    """
    How tests make their reactors.

    C{ReactorBuilder} skips a test whose reactor cannot be made. That is right for
    a list of reactors of which some may not be there, and would here let one pass
    that fails to start. So the reason is put down in C{unbuilt}.
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
            # As in twisted.internet.test.reactormixins: without a loop of their
            # own, tests would be handed what earlier ones have left behind.
            loop = reactor._asyncioEventloop
            asyncio.set_event_loop(loop)
            case.addCleanup(asyncio.set_event_loop, before)
            case.addCleanup(loop.close)
        return reactor

    return factory


def _currentLoop() -> asyncio.AbstractEventLoop | None:
    with warnings.catch_warnings():
        # It is only wanted back, and none is as good.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return asyncio.get_event_loop()
        except RuntimeError:
            return None


def _install(name: str) -> None:
    """
    Make it the reactor of the process.
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
    The last line of a text that has something in it, fit to be printed.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return "".join(c if c.isprintable() else "?" for c in lines[-1])[:500]


if __name__ == "__main__":
    main(sys.argv[1])
