"""
Tests for L{iodemo.report.book}: the measured numbers and figures on the pages of
C{docs/}.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from docutils.core import publish_string
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.report import book, figures
from iodemo.results import file as files
from iodemo.results.claims import BadClaim
from iodemo.results.schema import Cell, Results

from .children import makeDirectory
from .results_examples import failedCell, okCell, parameters, results

_ASKED = parameters(10, 1000)


def _run() -> Results:
    return results(
        [
            okCell("idle", "epoll", _ASKED, 50_000),
            okCell("idle", "uring", _ASKED, 150_000),
            okCell("idle", "epoll", parameters(10, 0), 60_000),
            okCell("idle", "uring", parameters(10, 0), 160_000),
            failedCell("idle", "select", _ASKED),
        ]
    )


class QuotedTests(SynchronousTestCase):
    """
    Tests for L{book.quoted}.
    """

    def test_ratio(self) -> None:
        """
        A ratio of two backends is quoted with its interval.
        """
        said = book.quoted(_run(), "idle idle=1000: uring/epoll")
        self.assertRegex(said, r"^3\.00 times \(2\.\d\d to 3\.\d\d\)$")

    def test_bound(self) -> None:
        """
        Where the load was the limit, a ratio is quoted as a bound, or not at all.
        """
        run = _run()
        run["cells"][1]["load_limited"] = True
        said = book.quoted(run, "idle idle=1000: uring/epoll")
        self.assertRegex(said, r"^at least 2\.\d\d times$")
        said = book.quoted(run, "idle idle=1000: uring")
        self.assertEqual(said, "at least 150,000 a second")
        said = book.quoted(run, "idle idle=1000: epoll/uring")
        self.assertRegex(said, r"^at most 0\.3\d times$")
        run["cells"][0]["load_limited"] = True
        error = self.assertRaises(
            BadClaim, book.quoted, run, "idle idle=1000: uring/epoll"
        )
        self.assertIn("the load was the limit of uring and epoll", str(error))

    def test_value(self) -> None:
        """
        A value is quoted with its unit.
        """
        for asked, expected in (
            ("idle idle=1000: uring", "150,000 a second"),
            ("idle idle=1000 latency_us.p99: epoll", "380 µs"),
            ("idle idle=1000 server_rss_kib: epoll", "43.0 MiB"),
            ("idle idle=1000 server_waiting_fraction: epoll", "2 %"),
        ):
            self.assertEqual(book.quoted(_run(), asked), expected)

    def test_multiplexer(self) -> None:
        """
        The value of a multiplexer is a time.
        """
        run = _run()
        for each in run["cells"][0]["rounds"]:
            each["us_per_call"] = 0.77
        said = book.quoted(run, "idle idle=1000 us_per_call: epoll")
        self.assertEqual(said, "0.770 µs")

    def test_refused(self) -> None:
        """
        A value that was not measured, or was measured more than once, is an error, and
        its message has the reason.
        """
        for asked, expected in (
            ("idle: uring/epoll", "at 2 points"),
            ("idle: uring", "at 2 points"),
            ("active: uring/epoll", "at 0 points"),
            ("idle idle=1000: select", "select failed"),
            ("idle idle=1000: select/epoll", "select failed"),
            ("idle idle=1000 us_per_call: epoll", "has no us_per_call"),
            ("idle idle=1000: ", "is nothing such as"),
        ):
            error = self.assertRaises(BadClaim, book.quoted, _run(), asked)
            self.assertIn(expected, str(error))


class WriteTests(SynchronousTestCase):
    """
    Tests for L{book.write}.
    """

    def test_written(self) -> None:
        """
        Each figure is written for a browser, for print, and as a page that shows it.
        The results are copied, too: the text quotes from them.
        """
        run = _run()
        directory = makeDirectory(self) / "measured"
        pages = book.write(run, directory)
        names = [chart.name for chart in figures.drawn(run)]
        self.assertIn("idle", names)
        self.assertEqual([page.stem for page in pages], names)
        for page in pages:
            self.assertTrue(page.with_suffix(".svg").read_text().startswith("<?xml"))
            self.assertTrue(
                page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
            )
            shown = self.shown(page)
            self.assertIn(f"measured/{page.stem}.svg", shown)
            self.assertIn('class="system-message', self.shown(page, "|nothing|"))
            self.assertNotIn("system-message", shown)
        self.assertEqual(files.read(directory), run)

    def test_text(self) -> None:
        """
        A text from a results file is shown as text, even if it looks like markup.
        """
        run = _run()
        run["cells"][4]["reason"] = "|x|_ `y`_ **z** :raw:`<b>` file_ a@b.c \\ end"
        directory = makeDirectory(self) / "measured"
        book.write(run, directory)
        shown = self.shown(directory / "idle.rst")
        self.assertNotIn("system-message", shown)
        self.assertIn("|x|_ `y`_ **z** :raw:`&lt;b&gt;` file_ a&#64;b.c \\ end", shown)

    def test_machine(self) -> None:
        """
        The pages show when and on which machine a run was made.
        """
        said = book.machine(_run())
        for expected in ("Measured on 20", " cores", ", Linux 6.18.5, CPython 3.11.7"):
            self.assertIn(expected, said)

    def shown(self, page: Path, more: str = "") -> str:
        """
        Render a page.

        @return: the HTML, and the warnings of docutils.
        """
        html = publish_string(
            page.read_text() + more,
            writer="html5",
            settings_overrides={
                "embed_stylesheet": False,
                "halt_level": 5,
                "report_level": 1,
                "warning_stream": "",
            },
        )
        return html.decode()


class PagesTests(SynchronousTestCase):
    """
    Tests for the commands on the pages by which a reader can measure, on another
    machine, the numbers of a page.
    """

    def setUp(self) -> None:
        """
        Find the pages and the newest results.
        """
        runs = sorted((_ROOT / "results").glob("*/results.json"))
        self.pages = sorted((_ROOT / "docs").glob("*.rst"))
        if not runs or not self.pages:
            raise SkipTest("the pages or the results are not here")
        self.results = files.read(runs[-1].parent)

    def test_commands(self) -> None:
        """
        Such a command measures every number and every figure of its page.
        """
        checked = []
        for page in self.pages:
            text = page.read_text()
            commands = list(_commandsFor(text))
            if not commands:
                continue
            checked.append(page.name)
            run = self.results.copy()
            run["cells"] = [
                cell
                for cell in run["cells"]
                if any(_measures(command, cell) for command in commands)
            ]
            for asked in re.findall(r":measured:`([^`]+)`", text):
                try:
                    book.quoted(run, " ".join(asked.split()))
                except BadClaim as error:
                    self.fail(f"{page.name}: {commands} measures no {asked}: {error}")
            names = [chart.name for chart in figures.drawn(run)]
            for name in re.findall(r"^\.\. include:: measured/(.+)\.rst", text, re.M):
                self.assertIn(name, names, f"{page.name}: {commands}")
        for name in ("aio.rst", "chart.rst", "multiplexing.rst", "threads.rst"):
            self.assertIn(name, checked)


_ROOT = Path(__file__).resolve().parents[1]


def _commandsFor(page: str) -> Iterator[list[str]]:
    """
    The comparisons in code blocks below a paragraph about a machine, except for
    comparisons of a plugin of the reader's.
    """
    paragraph = ""
    for block in re.split(r"\n\n+", page):
        if block.startswith(".. code-block"):
            continue
        if not block.startswith("    "):
            paragraph = block
        elif "machine" in paragraph:
            for line in re.sub(r"\\\n", " ", block).splitlines():
                if line.strip().startswith("iodemo compare"):
                    words = shlex.split(line, comments=True)
                    if "--plugin" not in words:
                        yield words[2:]


def _measures(command: list[str], cell: Cell) -> bool:
    """
    Whether a comparison measures a cell: it names the scenario and, if it names
    backends, the backend.
    """
    options = dict(itertools.pairwise(command))
    backends = options.get("--backends", cell["backend"])
    scenarios = options.get("--scenarios", cell["scenario"])
    return cell["backend"] in backends.split(",") and cell["scenario"] in (
        scenarios.split(",")
    )
