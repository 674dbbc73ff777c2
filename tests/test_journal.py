"""
Tests for L{iodemo.results.journal}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from iodemo.results import file, journal
from iodemo.results.cells import withUnfinished
from iodemo.results.journal import Journal
from iodemo.results.schema import Entry, Results
from tests.results_examples import okCell, parameters, planned
from tests.results_examples import results as example


class JournalTests(SynchronousTestCase):
    """
    Tests for L{Journal} and L{journal.read}.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / journal.FILE_NAME
        self.run_: Results = example([okCell("idle", "epoll", parameters(1), 1000.0)])
        self.run_["complete"] = False
        self.run_["plan"] = {**planned(), "backends": ["epoll", "poll"]}
        file.write(self.run_, self.directory / file.FILE_NAME)
        self.rounds = self.run_["cells"][0]["rounds"]

    def entry(self, backend: str = "poll", control: bool = False) -> Entry:
        return {
            "scenario": "idle",
            "service": "echo",
            "parameters": parameters(1),
            "backend": backend,
            "control": control,
        }

    def begin(self, run: Results | None = None) -> Journal:
        kept = Journal(self.directory, run or self.run_)
        self.addCleanup(kept.remove)
        return kept

    def read(self) -> Results:
        """
        Read results and journal, both to their end.
        """
        run, lost = journal.read(self.directory)
        self.assertIsNone(lost)
        return run

    def rounds_(self) -> dict[tuple[str, bool], int]:
        """
        How many rounds each unfinished cell has.
        """
        return {
            (each["backend"], each["control"]): len(each["rounds"])
            for each in self.read().get("unfinished", [])
        }

    def test_read(self) -> None:
        """
        Rounds come back as they were, after those that the results have; those of a
        cell that is finished, and those that the results have too, do not.
        """
        self.run_["unfinished"] = [{**self.entry(), "rounds": self.rounds[:1]}]
        file.write(self.run_, self.directory / file.FILE_NAME)
        kept = self.begin()
        kept.add(self.entry(), 0, self.rounds[0])
        kept.add(self.entry(), 1, self.rounds[1])
        kept.add(self.entry("epoll", control=True), 0, self.rounds[2])
        kept.add(self.entry("epoll"), 0, self.rounds[0])
        self.assertEqual(self.rounds_(), {("poll", False): 2, ("epoll", True): 1})
        poll, control = self.read()["unfinished"]
        self.assertEqual(poll["rounds"], self.rounds[:2])
        self.assertEqual(control["rounds"], self.rounds[2:])
        kept.remove()
        self.assertFalse(self.path.exists())
        self.assertEqual(self.rounds_(), {("poll", False): 1})

    def test_cutOff(self) -> None:
        """
        A last line that is cut off anywhere is dropped.
        """
        kept = self.begin()
        kept.add(self.entry(), 0, self.rounds[0])
        whole = self.path.read_bytes()
        kept.add(self.entry(), 1, self.rounds[1])
        longer = self.path.read_bytes()
        for length in range(len(whole), len(longer), 97):
            self.path.write_bytes(longer[:length])
            self.assertEqual(self.rounds_(), {("poll", False): 1})
        for length in range(0, whole.index(b"\n"), 7):
            self.path.write_bytes(whole[:length])
            self.assertEqual(self.rounds_(), {})

    def test_ofAnotherRun(self) -> None:
        """
        The journal of another run is ignored, and so is that of a complete one.
        """
        other = example([])
        other["environment"]["date"] = "2020-01-01T00:00:00Z"
        self.begin(other).add(self.entry(), 0, self.rounds[0])
        self.assertEqual(self.rounds_(), {})
        self.begin().add(self.entry(), 0, self.rounds[0])
        self.assertEqual(self.rounds_(), {("poll", False): 1})
        self.run_["complete"] = True
        file.write(self.run_, self.directory / file.FILE_NAME)
        self.assertNotIn("unfinished", self.read())

    def test_wrong(self) -> None:
        """
        The rounds before the first line that is wrong are read. The reason has the
        number of that line.
        """
        kept = self.begin()
        kept.add(self.entry(), 0, self.rounds[0])
        text = self.path.read_bytes()
        kept.add(self.entry(), 1, self.rounds[1])
        rest = self.path.read_bytes().removeprefix(text)
        for wrong, reason in (
            (rest.replace(b'"number":1', b'"number":-1'), "Expected `int` >= 0"),
            (rest.replace(b'"throughput":', b'"through":'), "Object missing"),
            (b"{]\n" + rest, "not a whole JSON file"),
            (b"\xff\0\n" + rest, "can't decode"),
            (b"\n" + rest, "not a whole JSON file"),
        ):
            self.path.write_bytes(text + wrong)
            run, lost = journal.read(self.directory)
            (poll,) = run["unfinished"]
            self.assertEqual(poll["rounds"], self.rounds[:1])
            self.assertIn(f"{self.path}: line 3: ", lost or "")
            self.assertIn(reason, lost or "")
        self.path.write_bytes(b"[]\n" + text)
        run, lost = journal.read(self.directory)
        self.assertEqual(run, self.run_)
        self.assertIn(f"{self.path}: line 1: Expected `object`", lost or "")

    def test_notAFile(self) -> None:
        """
        The results can be used if there is something else in the journal's place.
        """
        os.mkfifo(self.path)
        run, lost = journal.read(self.directory)
        self.assertEqual(run, self.run_)
        self.assertIn(f"{self.path}: not a results file", lost or "")

    def test_unfinishedCells(self) -> None:
        """
        For a report, the rounds of an unfinished cell are a cell, which is compared
        with the baseline at its point.
        """
        kept = self.begin()
        kept.add(self.entry(), 0, self.rounds[0])
        kept.add(self.entry(), 1, self.rounds[1])
        kept.add(self.entry("epoll", control=True), 0, self.rounds[0])
        run = withUnfinished(self.read())
        self.assertEqual(
            [(cell["backend"], len(cell["rounds"])) for cell in run["cells"]],
            [("epoll", 3), ("poll", 2)],
        )
        self.assertEqual(len(run["controls"]), 1)
        compared = {each["backend"] for each in run["comparisons"]}
        self.assertEqual(compared, {"poll"})
        self.assertNotEqual(run["noise"], [])
        self.assertFalse(run["complete"])
        path = self.directory / file.FILE_NAME
        file.write(run, path)
        self.assertEqual(file.read(path), run)

    def test_link(self) -> None:
        """
        Nothing is written through a link, and nothing into a file that was there.
        """
        target = self.directory / "target"
        target.write_text("mine")
        self.path.symlink_to(target)
        error = self.assertRaises(OSError, Journal, self.directory, self.run_)
        self.assertEqual(error.filename, str(self.path))
        self.path.unlink()
        self.path.hardlink_to(target)
        self.begin().add(self.entry(), 0, self.rounds[0])
        self.assertEqual(target.read_text(), "mine")
