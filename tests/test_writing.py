"""
Tests for L{iodemo.writing}, and tests that all of iodemo writes by it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from iodemo import report
from iodemo.report import book
from iodemo.results import file
from iodemo.writing import makeDirectory, writeFile
from tests.results_examples import okCell, parameters
from tests.results_examples import results as example

SECRET = b"never write over this"


class WritingTestCase(SynchronousTestCase):
    """
    Base of tests with a directory to write to, and a file outside of it.
    """

    def setUp(self) -> None:
        outside = Path(self.mktemp()).absolute()
        self.directory = outside / "inside"
        self.directory.mkdir(parents=True)
        self.secret = outside / "secret"
        self.secret.write_bytes(SECRET)
        self.elsewhere = outside / "elsewhere"
        self.elsewhere.mkdir()

    def refuses(self, write: Callable[[], object], path: Path) -> None:
        """
        Check that a link is refused with an error, and that nothing is written.
        """
        before = sorted(os.listdir(path.parent))
        error = self.assertRaises(OSError, write)
        self.assertEqual((error.errno, error.filename), (errno.ELOOP, str(path)))
        self.assertIn("it is a link", error.strerror)
        self.assertEqual(sorted(os.listdir(path.parent)), before)
        self.assertTrue(path.is_symlink())
        self.assertEqual(self.secret.read_bytes(), SECRET)
        self.assertEqual(os.listdir(self.elsewhere), [])


class WriteFileTests(WritingTestCase):
    """
    Tests for L{writeFile} and L{makeDirectory}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.path = self.directory / "file"

    def write(self) -> None:
        """
        Write the file.
        """
        writeFile(self.path, b"new")

    def test_new(self) -> None:
        """
        A new file has the usual permissions, and no temporary file is left.
        """
        before = os.umask(0o027)
        self.addCleanup(os.umask, before)
        self.write()
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        self.assertEqual(os.listdir(self.directory), ["file"])

    def test_replaced(self) -> None:
        """
        A file replaces another, and a process that has the old one open keeps its
        content.
        """
        self.path.write_bytes(b"old")
        with open(self.path, "rb") as old:
            self.write()
            self.assertEqual(old.read(), b"old")
        self.assertEqual(self.path.read_bytes(), b"new")

    def test_link(self) -> None:
        """
        A symbolic link to a file, to nothing or to a directory is refused.
        """
        for target in (self.secret, self.elsewhere / "nothing", self.elsewhere):
            self.path.symlink_to(target)
            self.refuses(self.write, self.path)
            self.path.unlink()

    def test_hardLink(self) -> None:
        """
        A hard link to the old file keeps its content.
        """
        os.link(self.secret, self.path)
        self.write()
        self.assertEqual(self.path.read_bytes(), b"new")
        self.assertEqual(self.secret.read_bytes(), SECRET)

    def test_fifo(self) -> None:
        """
        An existing file is not opened: a FIFO without a reader is replaced.
        """
        os.mkfifo(self.path)
        self.write()
        self.assertEqual(self.path.read_bytes(), b"new")

    def test_failure(self) -> None:
        """
        If a write fails, the old file is unchanged, and no temporary file is left.
        """
        self.path.mkdir()
        error = self.assertRaises(IsADirectoryError, self.write)
        self.assertEqual(error.filename, str(self.path))
        self.assertEqual(os.listdir(self.directory), ["file"])

    def test_directory(self) -> None:
        """
        A directory is made if it does not exist, and never through a link.
        """
        below = self.directory / "a" / "b"
        for _ in range(2):
            makeDirectory(below)
            self.assertTrue(below.is_dir())
        linked = self.directory / "linked"
        for target in (self.elsewhere, self.elsewhere / "nothing", self.secret):
            linked.symlink_to(target)
            self.refuses(lambda: makeDirectory(linked), linked)
            linked.unlink()
        self.path.write_bytes(b"")
        self.assertRaises(FileExistsError, makeDirectory, self.path)


class EverythingTests(WritingTestCase):
    """
    Tests that iodemo writes no file of a run through a link.
    """

    def setUp(self) -> None:
        super().setUp()
        # Few figures, as they are drawn again for each file.
        cell = okCell("idle", "epoll", parameters(10), 1000)
        for metric in [*cell["summary"]]:
            if metric.startswith(("latency", "server_rss", "context")):
                del cell["summary"][metric]
        self.run_ = example([cell])

    def each(self, write: Callable[[], object]) -> int:
        """
        Put a link in the place of each file, one after the other, and of each directory
        that is written below.

        @return: how many there were.
        """
        write()
        paths = sorted(self.directory.rglob("*"))
        for path in paths:
            kept = path.with_name(f"{path.name}.kept")
            path.rename(kept)
            path.symlink_to(self.elsewhere if kept.is_dir() else self.secret)
            self.refuses(write, path)
            path.unlink()
            kept.rename(path)
        write()
        return len(paths)

    def test_results(self) -> None:
        """
        The results.
        """
        path = self.directory / file.FILE_NAME
        self.assertEqual(self.each(lambda: file.write(self.run_, path)), 1)

    def test_report(self) -> None:
        """
        A report with its figures.
        """
        written = self.each(lambda: report.write([self.run_], self.directory))
        self.assertGreaterEqual(written, 4)

    def test_book(self) -> None:
        """
        The figures and numbers of the book's pages.
        """
        pages = self.directory / "measured"
        self.assertGreaterEqual(self.each(lambda: book.write(self.run_, pages)), 4)
