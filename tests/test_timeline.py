"""
Tests for C{docs/timeline.csv}, the source of the timeline's figure and table.
"""

from __future__ import annotations

import csv
import re
from datetime import date
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

_FILE = Path(__file__).parent.parent / "docs" / "timeline.csv"

_KINDS = {"readiness", "signal", "completion", "writing"}


def _first(written: str) -> date:
    """
    The first day of a year, a month or a day.
    """
    return date.fromisoformat((written + "-01-01")[:10])


class TimelineTests(SynchronousTestCase):
    """
    Tests for every row.
    """

    def setUp(self) -> None:
        """
        Read the rows.
        """
        if not _FILE.exists():
            raise SkipTest("the pages are not here")
        with _FILE.open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.assertGreater(len(self.rows), 10)

    def test_complete(self) -> None:
        """
        Each row has a date, a kind, an event and a place.
        """
        for row in self.rows:
            self.assertEqual(list(row), ["Date", "Kind", "What", "Where", "Source"])
            self.assertRegex(row["Date"], r"^\d{4}(-\d\d(-\d\d)?)?$")
            self.assertIn(row["Kind"], _KINDS)
            for column in ("What", "Where"):
                self.assertTrue(row[column].strip(), row)

    def test_sources(self) -> None:
        """
        Each row has a source with a link, and no incomplete markup.
        """
        for row in self.rows:
            links = re.findall(r"`[^`<>]+ <(https?://[^\s<>`]+)>`__", row["Source"])
            self.assertTrue(links, row)
            self.assertEqual(row["Source"].count("`"), 2 * len(links), row)

    def test_order(self) -> None:
        """
        The rows are in chronological order.
        """
        dates = [_first(row["Date"]) for row in self.rows]
        self.assertEqual(dates, sorted(dates))

    def test_whatPagesRestOn(self) -> None:
        """
        Every version of Linux that the chapter on asynchronous I/O mentions has a row.
        """
        page = (_FILE.parent / "aio.rst").read_text()
        ours = page[: page.index("\nMeasurements by others\n")]
        found = re.findall(r"(?:[Ss]ince\s+Linux|\bof)\s+(\d+\.\d+)", ours)
        self.assertIn("5.7", found)
        self.assertIn("6.0", found)
        where = [row["Where"] for row in self.rows]
        for version in set(found):
            there = re.compile(rf"Linux {re.escape(version)}\b")
            self.assertTrue(any(map(there.match, where)), version)

    def test_outline(self) -> None:
        """
        Every event of the outline has a row, in the same order.
        """
        whole = [row["What"] for row in self.rows]
        places = [
            next(place for place, what in enumerate(whole) if name in what)
            for name in ("select", "poll", "The paper", "epoll:", "io_uring")
        ]
        self.assertEqual(places, sorted(places))
        for name in ("SIGIO", "signals", "/dev/poll", "kqueue", "AIO", "kevent"):
            self.assertTrue(any(name in what for what in whole), name)
