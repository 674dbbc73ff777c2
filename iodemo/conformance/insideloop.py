# -*- test-case-name: tests.test_loops -*-
"""
The process that runs one module of CPython's asyncio tests on one event loop: C{LOOP
MODULE FILE}. It writes to the file, line by line as JSON: the names of all tests, and
an array of name, outcome and reason when a test ends.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from twisted.python.reflect import namedAny

#: Classes of tests that name a selector of the standard library other than epoll. On
#: another loop they would repeat those of epoll.
_OTHER_SELECTORS = ("PollEventLoopTests", "SelectEventLoopTests")


def main(loop: str, module: str, path: str) -> None:
    """
    Run the tests.

    @param loop: the class of the loop, with its module.
    @param module: the module of tests.
    @param path: the file to write.
    """
    _substitute(namedAny(loop))
    tests = unittest.TestSuite(_testsOf(importlib.import_module(module)))
    with Path(path).open("w", buffering=1) as file:
        print(json.dumps([each.id() for each in _flat(tests)]), file=file)
        tests.run(_Recording(file))


def _substitute(loopClass: type[asyncio.AbstractEventLoop]) -> None:
    """
    Have the tests make loops of a class wherever they make a selector loop.
    """

    class Substitute(loopClass):  # type: ignore[misc, valid-type]  # a variable
        """
        Such a loop, which takes a selector and makes its own.
        """

        def __new__(cls, selector: Any = None) -> Any:
            return super().__new__(cls)

        def __init__(self, selector: Any = None) -> None:
            super().__init__()

    asyncio.SelectorEventLoop = Substitute
    if sys.version_info >= (3, 13):
        asyncio.EventLoop = Substitute
    # asyncio.new_event_loop asks the policy; there is no public way to set its class.
    asyncio.DefaultEventLoopPolicy._loop_factory = Substitute  # type: ignore[attr-defined]


def _testsOf(module: Any) -> Iterator[unittest.TestCase]:
    for each in _flat(unittest.defaultTestLoader.loadTestsFromModule(module)):
        if type(each).__name__ not in _OTHER_SELECTORS:
            yield each


def _flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _flat(each)
        else:
            yield each


class _Recording(unittest.TestResult):
    """
    Writes each outcome to a file.
    """

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def _record(self, test: unittest.TestCase, outcome: str, reason: str = "") -> None:
        print(json.dumps([test.id(), outcome, reason]), file=self._file)

    def addSuccess(self, test: unittest.TestCase) -> None:
        """It has passed."""
        self._record(test, "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """It was skipped."""
        self._record(test, "skipped", reason)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        """It has failed."""
        self._record(test, "failed", f"{err[0].__name__}: {err[1]}")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        """It has raised an error."""
        self._record(test, "errored", f"{err[0].__name__}: {err[1]}")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """A part of it has ended."""
        if err is not None:
            self._record(test, "failed", f"{err[0].__name__}: {err[1]}")

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        """It has failed, as it must."""
        self._record(test, "passed")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        """It has passed, and should not have."""
        self._record(test, "failed", "an unexpected success")


if __name__ == "__main__":
    main(*sys.argv[1:])
