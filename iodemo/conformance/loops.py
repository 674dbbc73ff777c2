# -*- test-case-name: tests.test_loops -*-
"""
CPython's own tests of asyncio, on the event loops of this project and on asyncio's own.
C{python -m iodemo.conformance.loops [NAME ...]} prints the outcomes.

The tests are in the package C{test.test_asyncio} of the standard library. Its modules
that run a loop are used here; the others test loops that are mocked.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from iodemo import models
from iodemo.conformance import insideloop
from iodemo.conformance.inside import OutcomeKind, lastLine, worse
from iodemo.conformance.running import Outcome
from iodemo.process.child import Child, awaitFirst

#: The class of the event loop, by backend. The first is the control.
LOOPS = {
    "asyncio": "asyncio.SelectorEventLoop",
    "proactor-asyncio": "iodemo.reactors.proactorasyncio.ProactorEventLoop",
    "uring-asyncio": "iodemo.reactors.uringasyncio.UringEventLoop",
}
CONTROL = "asyncio"

PACKAGE = "test.test_asyncio"
MODULES = (
    *("test_buffered_proto", "test_events", "test_runners", "test_sendfile"),
    *("test_server", "test_sock_lowlevel", "test_ssl", "test_sslproto"),
    *("test_streams", "test_subprocess", "test_threads", "test_unix_events"),
)

#: Seconds for one module. CPython's own limit is longer.
LIMIT = 600.0

_BAD: tuple[OutcomeKind, ...] = ("failed", "errored")


class CannotJudgeLoops(Exception):
    """The tests cannot be run here. The message says why, and what to do."""


class LoopVerdict(NamedTuple):
    """
    The outcomes of the tests on one loop.

    @ivar name: the backend.
    @ivar outcomes: the outcome of each test, by name.
    @ivar failures: the tests that fail on this loop and pass on the control's, each
        with the reason.
    """

    name: str
    outcomes: dict[str, Outcome]
    failures: dict[str, str]


def judge(names: Sequence[str], modules: Sequence[str] = MODULES) -> list[LoopVerdict]:
    """
    Run the tests on the control's loop and on others.

    @param names: the other loops.
    @return: one verdict a loop, the control's first.
    @raise CannotJudgeLoops: if this Python has no tests, or passes none of them.
    """
    if importlib.util.find_spec("test") is None or not importlib.util.find_spec(
        PACKAGE
    ):
        raise CannotJudgeLoops(
            f"{sys.executable} has no {PACKAGE}: some distributions have it in a "
            "package of its own (on Debian and Ubuntu, libpython3-testsuite); a Python "
            "that was built from its sources has it"
        )
    verdicts: list[LoopVerdict] = []
    for name in (CONTROL, *names):
        outcomes: dict[str, Outcome] = {}
        for module in modules:
            outcomes |= runModule(LOOPS[name], f"{PACKAGE}.{module}")
        control = verdicts[0].outcomes if verdicts else outcomes
        if not any(outcome.kind == "passed" for outcome in control.values()):
            reasons = {outcome.reason for outcome in control.values()}
            raise CannotJudgeLoops(
                f"no test passes on the loop of {CONTROL}: {'; '.join(sorted(reasons))}"
            )
        failures = {
            test: outcome.reason
            for test, outcome in outcomes.items()
            if outcome.kind in _BAD
            and (test not in control or control[test].kind == "passed")
        }
        verdicts.append(LoopVerdict(name, outcomes, failures))
    return verdicts


def runModule(loop: str, module: str, limit: float = LIMIT) -> dict[str, Outcome]:
    """
    Run one module of tests on a loop, in a process of its own.

    @param loop: the loop's class, with its module.
    @param module: the module, with its package.
    @param limit: seconds for the module.
    @return: the outcome of each test, by name.
    """
    with tempfile.TemporaryDirectory(prefix="iodemo-loops-") as scratch:
        report = Path(scratch, "report")
        command = [sys.executable, "-m", insideloop.__name__, loop, module, str(report)]
        with Child(command, None, directory=Path(scratch)) as child:
            inTime = awaitFirst((child,), limit)
            how = child.failure or "it ended before its tests"
            words = child.lastWords()
        lines = report.read_text().splitlines() if report.exists() else []
    if not lines:
        return {module: Outcome("errored", f"{how}: {words}")}
    tests, *ended = map(json.loads, lines)
    outcomes: dict[str, Outcome] = {}
    for test, kind, reason in ended:
        # A test with several failed parts has several outcomes.
        before = outcomes.get(test)
        if before is None or worse(before.kind, kind) != before.kind:
            outcomes[test] = Outcome(kind, lastLine(reason))
    lost = how if inTime else f"the module did not end within {limit:g} s"
    return {test: outcomes.get(test, Outcome("errored", lost)) for test in tests} | {
        # For example a fixture of a class.
        test: outcome
        for test, outcome in outcomes.items()
        if outcome.kind in _BAD
    }


def counts(outcomes: Mapping[str, Outcome]) -> tuple[int, int, int, int]:
    """
    How many tests there are, have passed, have failed, and were skipped.
    """
    found = Counter(outcome.kind for outcome in outcomes.values())
    bad = sum(found[kind] for kind in _BAD)
    return len(outcomes), found["passed"], bad, found["skipped"]


def available() -> list[str]:
    """
    The backends beside the control whose loop can run here.
    """
    return [
        name
        for name in LOOPS
        if name != CONTROL and models.find(name).unavailable() is None
    ]


def main(*names: str) -> None:
    """
    Run the tests on loops, and print the verdicts.

    @param names: the backends; none for all that can run here.
    @raise SystemExit: with 1 if a test fails that passes on asyncio's own loop.
    """
    unknown = [name for name in names if name not in LOOPS]
    if unknown:
        sys.exit(f"iodemo: no loop of {unknown[0]!r}: choose from {', '.join(LOOPS)}")
    try:
        verdicts = judge(list(names) or available())
    except CannotJudgeLoops as error:
        sys.exit(f"iodemo: {error}")
    for verdict in verdicts:
        print(*_lines(verdict), sep="\n")
    sys.exit(any(verdict.failures for verdict in verdicts[1:]))


def _lines(verdict: LoopVerdict) -> Iterator[str]:
    tests, passed, bad, skipped = counts(verdict.outcomes)
    yield (
        f"{verdict.name}: {tests} tests, {passed} passed, {bad} failed, "
        f"{skipped} skipped"
    )
    for test, reason in verdict.failures.items():
        yield f"  {test.removeprefix(f'{PACKAGE}.')}: {reason}"


if __name__ == "__main__":
    main(*sys.argv[1:])
