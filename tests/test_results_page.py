"""
The page on the results format, which an extension of Sphinx draws from the source.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from iodemo.results.file import read
from iodemo.results.metrics import BY_KEY

_ROOT = Path(__file__).parents[1]


class PageTests(SynchronousTestCase):
    """
    Tests for C{docs/results_keys.py}.
    """

    def setUp(self) -> None:
        """
        Import it as Sphinx does.
        """
        self.patch(sys, "path", [str(_ROOT / "docs"), *sys.path])
        self.extension: Any = importlib.import_module("results_keys")
        page = (_ROOT / "docs" / "results-format.rst").read_text()
        self.shown = re.findall(r"^\.\. keys:: (\w+)$", page, re.MULTILINE)

    def test_everyShape(self) -> None:
        """
        Every kind of object in a results file is on the page, once.
        """
        self.assertEqual(sorted(self.shown), sorted(self.extension.shapes()))

    def test_everyKey(self) -> None:
        """
        Every key of the newest committed results is described.
        """
        described = {
            key
            for name in self.shown
            for line in self.extension.described(name)
            for key in re.findall(r"^- ``(\S+)`` \(", line)
        }
        newest = max((_ROOT / "results").iterdir())
        there = set(_keys(msgspec.to_builtins(read(newest))))
        self.assertEqual(there - described, set())

    def test_said(self) -> None:
        """
        A key is shown with what its value is, and what its comment says.
        """
        self.assertIn(
            "- ``cells`` (list of objects: :ref:`cell <results-Cell>`)",
            self.extension.described("Results"),
        )
        self.assertIn(
            "- ``stalled`` (whole number, or absent): further connections that send "
            "requests and read no answer",
            self.extension.described("Point"),
        )
        self.assertIn(
            "- ``late`` (whole number, or absent): answered after the window: in "
            "latency_us, not requests",
            self.extension.described("Round"),
        )

    def test_metrics(self) -> None:
        """
        Every metric is listed with its description.
        """
        lines = self.extension.listedMetrics()
        listed = [key for each in lines for key in re.findall("``([^`]+)``", each)]
        self.assertEqual(sorted(listed), sorted(BY_KEY))
        self.assertIn(
            "- ``us_per_call``: time in the multiplexer, for one operation", lines
        )


def _keys(value: Any, named: bool = True) -> Iterator[str]:
    """
    The keys in a value, except those that are names of metrics or system calls.
    """
    if isinstance(value, list):
        for each in value:
            yield from _keys(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if named:
                yield key
            yield from _keys(each, key not in ("summary", "syscalls_by_name"))
