# -*- test-case-name: tests.test_conform -*-
"""
Compare the outcomes of a reactor with those of the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypedDict

from iodemo.conformance.running import Outcome

#: The outcome of each test, by module and name.
Outcomes = Mapping[str, Mapping[str, Outcome]]


class Counts(TypedDict):
    """The number of tests with each outcome."""

    passed: int
    failed: int
    errored: int
    skipped: int


class ModuleCounts(Counts):
    """
    One module of tests.

    @ivar control: the numbers of the control.
    """

    module: str
    control: Counts


class Remark(TypedDict):
    """A test, and the reason of its outcome."""

    test: str
    reason: str


class Verdict(TypedDict):
    """
    The comparison of two reactors' outcomes.

    @ivar modules: the numbers of outcomes, by module.
    @ivar failures: the tests that the reactor fails and the control passes, without an
        exception.
    @ivar exceptions: the tests that the reactor fails and the control passes, with an
        exception; the reason is that of the exception.
    @ivar unneeded_exceptions: the exceptions that apply to no failed test.
    @ivar skips: the tests that the reactor skips and the control passes.
    @ivar control_skips: the tests that the control skips.
    @ivar unjudged: the tests that the reactor fails and the control skips.
    @ivar shared: the tests that both fail.
    @ivar conforms: whether the control passes some tests, and there are no failures.
    """

    modules: list[ModuleCounts]
    failures: list[Remark]
    exceptions: list[Remark]
    unneeded_exceptions: list[Remark]
    skips: list[Remark]
    control_skips: list[Remark]
    unjudged: list[Remark]
    shared: list[Remark]
    conforms: bool


def judge(
    reactor: Outcomes, control: Outcomes, exceptions: Mapping[str, str]
) -> Verdict:
    """
    Compare a reactor with the control.

    @param exceptions: the reason by name of a test, or by a pattern of C{fnmatch}.
    """
    verdict: Verdict = {
        "modules": [],
        "failures": [],
        "exceptions": [],
        "unneeded_exceptions": [],
        "skips": [],
        "control_skips": [],
        "unjudged": [],
        "shared": [],
        "conforms": False,
    }
    needed: set[str] = set()
    for module, controls in control.items():
        outcomes = reactor.get(module, {})
        if outcomes or controls:
            verdict["modules"].append(
                {"module": module, **_count(outcomes), "control": _count(controls)}
            )
        for test in {**controls, **outcomes}:
            _judgeTest(
                test,
                outcomes.get(test, _NOT_RUN),
                # An outcome that only the reactor has, such as an error outside of any
                # test, did not happen under the control.
                controls.get(test, Outcome("passed")),
                exceptions,
                needed,
                verdict,
            )
    verdict["unneeded_exceptions"] = [
        {"test": pattern, "reason": reason}
        for pattern, reason in exceptions.items()
        if pattern not in needed
    ]
    someTests = any(each["control"]["passed"] for each in verdict["modules"])
    verdict["conforms"] = someTests and not verdict["failures"]
    return verdict


_NOT_RUN = Outcome("errored", "it was not run")


def _judgeTest(
    test: str,
    outcome: Outcome,
    control: Outcome,
    exceptions: Mapping[str, str],
    needed: set[str],
    verdict: Verdict,
) -> None:
    remark: Remark = {"test": test, "reason": outcome.reason}
    bad = outcome.kind in ("failed", "errored")
    if control.kind == "skipped":
        verdict["control_skips"].append({"test": test, "reason": control.reason})
        if bad:
            verdict["unjudged"].append(remark)
    elif control.kind != "passed":
        if bad:
            verdict["shared"].append(remark)
    elif outcome.kind == "skipped":
        verdict["skips"].append(remark)
    elif bad:
        allowing = [each for each in exceptions if fnmatchcase(test, each)]
        needed.update(allowing)
        if allowing:
            verdict["exceptions"].append(
                {"test": test, "reason": exceptions[allowing[0]]}
            )
        else:
            verdict["failures"].append(remark)


def _count(outcomes: Mapping[str, Outcome]) -> Counts:
    counts: Counts = {"passed": 0, "failed": 0, "errored": 0, "skipped": 0}
    for outcome in outcomes.values():
        counts[outcome.kind] += 1
    return counts
