# -*- test-case-name: tests.test_conform -*-
"""
A reporter for trial that sends each outcome at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.reporter import TestResult

from iodemo.conformance.inside import (
    Began,
    Ended,
    Event,
    OutcomeKind,
    Stray,
    lastLine,
    worse,
)


class StreamingReporter(TestResult):
    """
    Sends an event (see L{iodemo.conformance.inside}) when a test begins, and when it
    ends.

    It keeps no failures: each would keep alive the objects in its traceback.

    @ivar _index: the index of the test that is running, or of the next one.
    @ivar _unbuilt: the reasons why reactors could not be made in this test.
    """

    def __init__(
        self,
        send: Callable[[Event], None],
        leave: Callable[[], None],
        start: int,
        unbuilt: list[str],
    ) -> None:
        """
        @param send: the function that sends an event.
        @param leave: called after a test that failed or errored.
        @param start: the index of the first test to run.
        @param unbuilt: the list to which the reactor factory appends reasons.
        """
        super().__init__()
        self._send = send
        self._leave = leave
        self._index = start
        self._unbuilt = unbuilt
        self._running = False
        self._outcome: OutcomeKind = "passed"
        self._reason = ""

    def startTest(self, test: Any) -> None:
        """See C{TestResult.startTest}."""
        super().startTest(test)
        self._running = True
        self._outcome, self._reason = "passed", ""
        self._unbuilt.clear()
        self._send(Began(self._index))

    def stopTest(self, test: Any) -> None:
        """See C{TestResult.stopTest}."""
        super().stopTest(test)
        if self._unbuilt:
            self._add("errored", f"no reactor could be made: {self._unbuilt[-1]}")
        self._running = False
        self._send(Ended(self._outcome, self._reason))
        self._index += 1
        if self._outcome in ("failed", "errored"):
            self._leave()

    def _add(self, outcome: OutcomeKind, reason: str) -> None:
        if not self._running:
            self._send(Stray(reason))
        elif worse(outcome, self._outcome) != self._outcome:
            self._outcome, self._reason = outcome, reason

    def addFailure(self, test: Any, fail: Any) -> None:
        """See C{TestResult.addFailure}."""
        self._add("failed", self._described(fail))

    def addError(self, test: Any, error: Any) -> None:
        """See C{TestResult.addError}."""
        self._add("errored", self._described(error))

    def addSkip(self, test: Any, reason: object) -> None:
        """See C{TestResult.addSkip}."""
        self._add("skipped", lastLine(str(reason)))

    def addExpectedFailure(self, test: Any, error: Any, todo: object = None) -> None:
        """See C{TestResult.addExpectedFailure}."""
        self._add("skipped", f"expected to fail: {self._described(error)}")

    def addUnexpectedSuccess(self, test: Any, todo: object = None) -> None:
        """See C{TestResult.addUnexpectedSuccess}."""

    def addSuccess(self, test: Any) -> None:
        """See C{TestResult.addSuccess}."""

    def _described(self, error: Any) -> str:
        failure = self._getFailure(error)
        name = getattr(failure.type, "__name__", str(failure.type))
        return f"{name}: {lastLine(failure.getErrorMessage())}"
