"""
Tests for L{iodemo.report}.
"""

from __future__ import annotations

import copy
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from msgspec import structs
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from iodemo import models, report
from iodemo.report import figures, headline, page, published, select, style
from iodemo.report.difftable import DiffTable
from iodemo.report.figures import Chart
from iodemo.report.table import comparisonTable
from iodemo.results import file as resultsFile
from iodemo.results import quantities
from iodemo.results.diff import difference
from iodemo.results.metrics import METRICS
from iodemo.results.schema import Cell, Results
from tests.results_examples import (
    CALLS,
    FORK_LIMIT,
    SELECT_LIMIT,
    controlled,
    failedCell,
    fivePipes,
    fourBackends,
    heldCells,
    okCell,
    parameters,
    pipesCell,
    ratedCells,
    results,
    sharedCells,
    skippedCell,
    sweep,
    twelveBackends,
)
from tests.test_costmodel import cells as costing

HOSTILE = (
    '<script>alert("1")</script> $\\frac{ [bold red]x[/] ]]> --> \'"&amp; </style> '
    "漢字 <img src='http://example.com/'>"
)
#: The figures of a whole run, in their order on its page.
FIGURES = (
    *("idle", "active", "idle-latency", "latency", "percentiles"),
    *("cpu", "calls", "memory"),
)
SVG = "{http://www.w3.org/2000/svg}"


def terminal(run: Results, width: int) -> str:
    """
    The table as it is piped to a file C{width} columns wide, without trailing blanks,
    and with the rules shortened, since their length depends on the version of rich.
    """
    stream = io.StringIO()
    Console(file=stream, width=width).print(comparisonTable(run))
    lines = [line.rstrip() for line in stream.getvalue().split("\n")]
    return re.sub("─+", "─", "\n".join(lines))


def words(run: Results, width: int) -> str:
    """
    The table without the spaces that align its columns.
    """
    lines = terminal(run, width).split("\n")
    return "\n".join(" ".join(line.split()) for line in lines)


def strained() -> Results:
    """
    One point, where the load is busier from cell to cell.
    """
    cells = [
        okCell("idle", name, parameters(10, 1000), rate)
        for name, rate in (("epoll", 5e4), ("proactor", 1e5), ("uring", 2e5))
    ]
    for cell, used in zip(cells, (0.79, 0.85, 0.99), strict=True):
        cell["summary"]["load_cpu_fraction"] = {
            "median": used,
            "low": used,
            "high": used,
        }
    cells[2]["load_limited"] = True
    return results(cells)


def small() -> Results:
    """
    One point with every kind of cell.
    """
    point = parameters(10, 1000)
    limited = okCell("idle", "uring", point, 165000.0)
    limited["load_limited"] = True
    return results(
        [
            failedCell("idle", "select", point),
            okCell("idle", "poll", point, 12000.0),
            okCell("idle", "epoll", point, 36000.0),
            okCell("idle", "asyncio", point, 35500.0),
            limited,
            skippedCell("idle", "shinyloop", point),
        ]
    )


def hostile() -> Results:
    """
    A run in which every string is as hostile as the format allows.
    """
    run = fourBackends()
    machine = run["environment"]
    machine["cpu"] = machine["command"] = machine["kernel"] = HOSTILE
    machine["date"] = machine["python"] = HOSTILE
    machine["limits"]["ephemeral_ports"] = HOSTILE
    for cell in run["cells"]:
        if cell["status"] != "ok":
            cell["reason"] = HOSTILE
    return run


class TableTests(SynchronousTestCase):
    """
    Tests for L{comparisonTable}.
    """

    def test_narrow(self) -> None:
        """
        In 80 columns intervals and verdicts are on a second line.
        """
        self.assertIn(
            "\nbackend requests/s p50 p99 CPU/req memory against epoll\n─\n"
            "select failed\n"
            "poll 12,000 792 µs 1.58 ms 81.7 µs 43.0 MiB ×0.33 (0.32–0.35)\n"  # noqa: RUF001
            "(11,800–12,200) ▼ slower\n"  # noqa: RUF001
            "epoll 36,000 264 µs 528 µs 27.2 µs 43.0 MiB (baseline)\n",
            words(small(), 80),
        )

    def test_wide(self) -> None:
        """
        In 120 columns each row takes one line. Below the rows are the reasons, and
        below all tables the notes.
        """
        text = words(small(), 120)
        for expected in (
            "\n10 busy, 1,000 idle connections\nbackend requests/s p50 p99 CPU/req "
            "memory against epoll\n─\nselect failed\n",
            "\npoll 12,000 (11,800–12,200) 792 µs 1.58 ms 81.7 µs 43.0 MiB ×0.33 "  # noqa: RUF001
            "(0.32–0.35) ▼ slower\n",  # noqa: RUF001
            "\nuring ≥ 165,000 (163,000–168,000) 57.6 µs",  # noqa: RUF001
            "\nshinyloop skipped\nselect failed: select(2) takes",
            "1024 or above\nshinyloop skipped: the run was interrupted\n",
            "\nMedians over the rounds, each with its range; latency in a closed loop."
            "\n"
            "≥: the load was the limit, so the value is a lower bound.\n",
        ):
            self.assertIn(expected, text)

    def test_pipes(self) -> None:
        """
        Pipes have a table of their own, with a note.
        """
        text = words(results(fivePipes()), 80)
        for expected in (
            "multiplexer: in one process, without a network",
            "\n1 ready of 10,000 pipes\n",
            "backend calls/s p50 p99 multiplexer against epoll\n",
            "poll 768 1.30 ms 2.47 ms 1.30 ms",
            "\nOf pipes: a call with its write and read; multiplexer: the call alone.",
        ):
            self.assertIn(expected, text)
        for unexpected in ("connections", "CPU/req", "requests/s"):
            self.assertNotIn(unexpected, text)

    def test_rate(self) -> None:
        """
        If requests are due at a rate, the points differ in the rate, p99 is compared,
        and backends that do not keep up are named.
        """
        text = words(results(ratedCells()), 120)
        for expected in (
            "rate: echo, 64 B payload\n\n2,000 requests a second due on 100 ",
            "p99 sent CPU/req p99 against epoll\n",
            "uring 31,900 (31,400–32,500) 29.8 ms 59.6 ms 5.96 ms",  # noqa: RUF001
            "\ndid not keep up: fork (7,000 a second)\n",
            "\nRequests due at a rate: an open loop, where latency counts from when",
        ):
            self.assertIn(expected, text)
        self.assertEqual(text.count("did not keep up"), 3)
        limited = ratedCells()
        limited[0]["load_limited"] = True
        self.assertIn(
            "did not keep up: fork (900 a second, the load was the limit)",
            terminal(results(limited), 120),
        )
        self.assertNotIn("keep up", terminal(twelveBackends(), 120))
        self.assertIn(
            "\n80 % of what each answers at most due on 100 connections\n",
            terminal(results(sharedCells()), 120),
        )

    def test_strained(self) -> None:
        """
        A load that was near its limit is named; a load that was the limit is marked
        otherwise.
        """
        text = terminal(strained(), 120)
        self.assertIn("\n  load near its limit: proactor (85 %)\n", text)
        self.assertEqual(text.count("near its limit"), 1)

    def test_held(self) -> None:
        """
        In a scenario about connections, the table has the memory per connection.
        """
        text = words(results(heldCells()), 80)
        for expected in (
            "\n100,000 connections, 10 of them busy\n",
            "backend requests/s p50 p99 server kernel against epoll",
            "epoll 36,000 264 µs 528 µs 1.07 KiB 8.01 KiB (baseline)",
            "\nServer, kernel: the memory that each connection took.",
        ):
            self.assertIn(expected, text)

    def test_flow(self) -> None:
        """
        A flow is shown in bytes, with its direction.
        """
        point = parameters(10, payload=65536)
        text = words(
            results(
                [
                    okCell(scenario, "epoll", point, each)
                    for scenario, each in (("stream", 20000.0), ("sink", 10000.0))
                ]
            ),
            80,
        )
        for expected in (
            "stream: from the server, a request is a piece of 64 KiB\n",
            "sink: to the server, a request is a piece of 64 KiB\n",
            "\nbackend MB/s p50 ",
            "\nepoll 1,310 ",
            "\nepoll 655 ",
        ):
            self.assertIn(expected, text)
        self.assertNotIn("requests/s", text)

    def test_chat(self) -> None:
        """
        For a chat, the table has the times when half of the members, and all, have
        received a line.
        """
        cell = okCell("chat", "epoll", parameters(100), 20000.0)
        cell["summary"]["latency_last_us.p50"] = {
            "median": 7e3,
            "low": 6e3,
            "high": 8e3,
        }
        text = words(results([cell]), 80)
        for expected in (
            "chat: a request is a line of 64 B, heard by one member\n",
            "\n100 members\n",
            " lines/s half all CPU/req ",
            " 4.75 ms 7.00 ms ",
        ):
            self.assertIn(expected, text)

    def test_stalled(self) -> None:
        """
        Points that differ only in stalled connections are different points.
        """
        point = parameters(100, stalled=10)
        cells = [
            okCell("slow", "epoll", each, 20000.0) for each in (parameters(100), point)
        ]
        text = terminal(results(cells), 80)
        for expected in (
            "\n100 busy connections\n",
            "\n100 busy + 10 stalled connections\n",
        ):
            self.assertIn(expected, text)
        charts = {chart.name: chart for chart in figures.drawn(results(cells))}
        self.assertIn("with 10 stalled 4.75 ms", charts["slow"].alt)
        self.assertEqual(greys(charts["slow"]), 0)
        cells += [
            okCell("slow", "poll", each, 19000.0) for each in (parameters(100), point)
        ]
        noisy = figures.drawn(controlled(results(cells), 1.1))
        (chart,) = (chart for chart in noisy if chart.name == "slow")
        self.assertEqual(greys(chart), 2)
        self.assertIn("Striped grey: what epoll, measured twice,", chart.caption)

    def test_nothingIsCut(self) -> None:
        """
        For any width, no line is longer and no letter is lost.
        """
        run = twelveBackends()
        run["cells"] += fivePipes()
        run["cells"][0]["backend"] = "a-name-that-goes-on-" + "and-on-" * 6 + "ends"
        complete = Counter(re.sub(r"[\s─]", "", terminal(run, 400)))
        for width in (60, 80, 120):
            text = terminal(run, width)
            self.assertTrue(all(len(line) <= width for line in text.split("\n")))
            self.assertEqual(Counter(re.sub(r"[\s─]", "", text)), complete)

    def test_wordsAreWhole(self) -> None:
        """
        In 80 columns, the largest run has no broken word or number.
        """
        wide, narrow = (
            set(terminal(twelveBackends(), width).split()) for width in (120, 80)
        )
        self.assertEqual(narrow, wide)

    def test_references(self) -> None:
        """
        References come last, in a block of their own; a name that is too long for the
        terminal is broken at a hyphen.
        """
        cells = [
            okCell("idle", name, parameters(10), 150e3)
            for name in ("c-epoll", "uvloop-protocol", "shinyloop", "epoll")
        ]
        lines = terminal(results(cells), 80).split("\n")
        self.assertEqual(
            [line[:9].strip() for line in lines[5:-3]],
            ["epoll", "", "shinyloop", "", "", "uvloop-", "protocol", "c-epoll", ""],
        )
        cells = [cell for cell in cells if cell["backend"] == "c-epoll"]
        self.assertTrue(terminal(results(cells), 80).split("\n")[5].startswith("c-e"))

    def test_noMarkup(self) -> None:
        """
        A reason is shown as it is, without markup.
        """
        text = " ".join(terminal(hostile(), 120).split())
        self.assertIn(" ".join(HOSTILE.split()), text)

    def test_noColourInAPipe(self) -> None:
        """
        A file contains no control characters.
        """
        self.assertNotIn("\x1b", terminal(small(), 80))

    def test_calls(self) -> None:
        """
        System calls are in a table of their own, at the point with several busy
        connections where most backends have counts. Deviations from a model's label are
        shown, and the reason for missing counts.
        """
        run = twelveBackends()
        _, _, text = terminal(run, 80).partition("System calls a request")
        lines = [" ".join(line.split()) for line in text.split("\n")]
        self.assertEqual(lines[0], ": echo, 64 B payload")
        self.assertEqual(lines[2], "10 busy connections")
        self.assertEqual(
            lines[5:10],
            [
                "poll 2.1 1 recvfrom, 1 sendto, 0.1 poll",
                "epoll 4.1 2 epoll_ctl, 1 recvfrom, 1 sendto, 0.1 epoll_wait",
                "proactor 2.1 1 recvfrom, 1 sendto, 0.1 epoll_wait",
                "uring 0.1 0.1 io_uring_enter",
                "c-epoll 2.1 1 recvfrom, 1 sendto, 0.1 epoll_wait, 0.01 other",
            ],
        )
        said = (
            "proactor is listed with read, write, epoll_wait; seen without read, "
            "write and with recvfrom, sendto."
        )
        self.assertIn(said, " ".join(lines))
        self.assertNotIn("could not be counted", text)
        run["cells"][0]["syscalls_reason"] = HOSTILE
        self.assertIn(
            " ".join(f"System calls could not be counted: {HOSTILE}".split()),
            " ".join(terminal(run, 400).split()),
        )

    def test_interrupted(self) -> None:
        """
        An interrupted run is marked at its beginning.
        """
        run = small()
        run["complete"] = False
        self.assertTrue(terminal(run, 80).startswith("This run is not complete"))

    def test_noise(self) -> None:
        """
        Each point has the noise in throughput: the difference between baseline and
        control.
        """
        text = terminal(controlled(small(), 1.05), 80)
        self.assertIn(
            "  noise ×1.07: epoll against itself ×0.98 (0.95–1.07)\n",  # noqa: RUF001
            text,
        )
        self.assertIn("\nNoise: epoll was measured twice.", text)
        self.assertNotIn("nstable", text)

    def test_differsFromItself(self) -> None:
        """
        If the control differs from the baseline, the baseline is named, with advice.
        """
        run = controlled(small(), 1.0)
        (noise,) = (n for n in run["noise"] if n["metric"] == "throughput")
        noise["low"], noise["ratio"], noise["high"] = 1.1, 1.2, 1.3
        noise["verdict"] = "faster"
        text = " ".join(terminal(run, 80).split())
        self.assertIn("×1.20 (1.10–1.30), which is a difference", text)  # noqa: RUF001
        self.assertIn("Unstable: epoll differs from itself at 1 of 1 points", text)
        self.assertIn("A remedy: iodemo doctor", text)

    def test_unstable(self) -> None:
        """
        If rounds differ by too much, the table has the difference, the limit and
        advice; it also reports a machine whose CPU time was stolen.
        """
        run = small()
        rounds = run["cells"][1]["rounds"]
        for each, throughput in zip(rounds, (100, 80, 120), strict=True):
            each["throughput"] = throughput
        text = " ".join(terminal(run, 80).split())
        self.assertIn("unstable: poll 20 %", text)
        self.assertIn(
            "Unstable: in 1 of 4 cells the throughput of the rounds has a standard "
            "deviation above 10 % of its mean, at most 20 %. A remedy:",
            text,
        )
        self.assertNotIn("hypervisor", text)
        run["environment"]["steal_fraction"] = 0.023
        text = " ".join(terminal(run, 80).split())
        self.assertIn("the hypervisor took 2.3 % of the CPU time for others", text)
        self.assertIn("more than 1 %", text)

    def test_nothing(self) -> None:
        """
        A run without cells makes an empty table, not an error.
        """
        self.assertEqual(terminal(results([]), 80).strip(), "")


class ReadingTests(SynchronousTestCase):
    """
    Tests for L{iodemo.report.select}.
    """

    def test_units(self) -> None:
        """
        Numbers are shown in the unit in which they are shortest.
        """
        for said, expected in (
            (quantities.duration(0), "0 µs"),
            (quantities.duration(27.14), "27.1 µs"),
            (quantities.duration(999.4), "999 µs"),
            (quantities.duration(999.6), "1.00 ms"),
            (quantities.duration(1.5e6), "1.50 s"),
            (quantities.duration(2.5e9), "2,500 s"),
            (quantities.memory(512), "512 KiB"),
            (quantities.memory(38000), "37.1 MiB"),
            (quantities.memory(1024**3), "1,024 GiB"),
            (quantities.rate(36123), "36,100"),
            (quantities.rate(0.5), "0.5"),
            (quantities.count(10000), "10,000"),
            (quantities.count(1e300), "1.00e+300"),
            (quantities.count(0.5), "0.5"),
            (quantities.few(5.12e-6), "0.0000051"),
            (quantities.few(5e-300), "5e-300"),
            (quantities.ratio(0.016666), "0.017"),
            (quantities.ratio(0.98), "0.98"),
            (quantities.ratio(3.75), "3.75"),
        ):
            self.assertEqual(said, expected)

    def test_namesInTheTablesOrder(self) -> None:
        """
        Backends are in the order of the table of models, then unknown ones, then
        references.
        """
        point = parameters(1)
        cells = [
            okCell("active", name, point, 1.0)
            for name in ("zeta", "c-epoll", "epoll", "alpha", "select")
        ]
        self.assertEqual(
            select.names(results(cells)),
            ["select", "epoll", "zeta", "alpha", "c-epoll"],
        )

    def test_orderOfRoundsDoesNotMatter(self) -> None:
        """
        The points of a scenario are in the order of their connections.
        """
        cells = [okCell("idle", "epoll", parameters(10, n), 1.0) for n in (100, 0, 10)]
        idle = [place.point.idle for place in select.places(results(cells))]
        self.assertEqual(idle, [0, 10, 100])

    def test_labels(self) -> None:
        """
        No two points of a run have the same label, short or long.
        """
        cells = [*sweep(), *fivePipes(), *ratedCells(), *sharedCells(), *heldCells()]
        cells += [
            okCell("arrivals", "epoll", parameters(9, rate=7, arrivals=each), 1.0)
            for each in ("poisson", "constant")
        ]
        places = select.places(results(cells))
        for labels in (
            {(place.scenario, place.label()) for place in places},
            {(place.scenario, place.shortLabel()) for place in places},
        ):
            self.assertEqual(len(labels), len(places), labels)

    def test_contradictions(self) -> None:
        """
        A system call is found at any point, and a model without counts is not judged.
        """
        calls = {"epoll_wait": 1.0, "recvfrom": 1.0, "sendto": 1.0}
        point = parameters(1)
        cells = [
            okCell("active", "epoll", point, 1.0, calls=calls),
            okCell("active", "poll", point, 1.0),
            okCell("active", "shinyloop", point, 1.0, calls=calls),
        ]
        self.assertEqual(
            select.contradictions(results(cells)),
            {
                "epoll": "listed with epoll_wait, recv, epoll_ctl, send; seen without "
                "epoll_ctl"
            },
        )
        calls = {**calls, "epoll_ctl": 0.01}
        cells.append(okCell("active", "epoll", parameters(9), 1.0, calls=calls))
        self.assertEqual(select.contradictions(results(cells)), {})

    def test_contradictionOfOneService(self) -> None:
        """
        A service that makes more system calls than another is named.
        """
        web = okCell("http", "c-epoll", parameters(10), 1e4, calls=CALLS["poll"])
        web["service"] = "http"
        echo = okCell("active", "c-epoll", parameters(10), 1e4, calls=CALLS["c-epoll"])
        said = "listed with epoll_wait, recv, send; seen "
        said += "without epoll_wait and with poll"
        for cells, where in (([echo, web], " (http)"), ([web], "")):
            self.assertEqual(
                select.contradictions(results(cells)), {"c-epoll": said + where}
            )

    def test_representative(self) -> None:
        """
        The largest point that all backends have is found, not the largest of all.
        """
        cells = [c for c in fourBackends()["cells"] if c["scenario"] == "idle"]
        place = select.representative(results(cells), ["throughput"])
        assert place is not None
        self.assertEqual((place.point.active, place.point.idle), (10, 100))


class HeadlineTests(SynchronousTestCase):
    """
    Tests for L{headline.headline}.
    """

    def test_few(self) -> None:
        """
        If there are few backends, all are named, at the most idle connections.
        """
        self.assertEqual(
            headline.headline(fourBackends()),
            "With 10,000 idle connections, epoll served 36,000 requests a second, "
            "asyncio 35,000 and poll 600; select failed.",
        )

    def test_many(self) -> None:
        """
        Of many backends, the first, the baseline and the last are named, but no
        references; a lower bound is marked.
        """
        self.assertEqual(
            headline.headline(twelveBackends()),
            "With 10,000 idle connections, uring served at least 165,000 requests a "
            "second, epoll 36,000 and busypoll 210, and 6 more lay between; select "
            "failed; fork was skipped.",
        )

    def test_pipes(self) -> None:
        """
        The headline of a run of pipes alone has the time of a call with the most
        descriptors; a run with servers too has no pipes in its headline.
        """
        self.assertEqual(
            headline.headline(results(fivePipes())),
            "With 1 ready of 10,000 pipes, epoll took 0.750 µs a call, uring 1.50 µs, "
            "proactor 1.80 µs and poll 1.30 ms; select failed.",
        )
        both = fourBackends()
        both["cells"] += fivePipes()
        self.assertEqual(headline.headline(both), headline.headline(fourBackends()))

    def test_rate(self) -> None:
        """
        The headline of a run of rates alone has the latency at the highest.
        """
        self.assertEqual(
            headline.headline(results(ratedCells())),
            "With 32,000 requests a second due on 100 connections, uring answered 99 "
            "of 100 within 59.6 ms, epoll 613 ms and fork 67.9 s; select failed.",
        )
        both = fourBackends()
        both["cells"] += ratedCells()
        self.assertEqual(headline.headline(both), headline.headline(fourBackends()))

    def test_indistinguishable(self) -> None:
        """
        If no backend is distinguishable from the baseline, the headline has this, and
        names no backend as the fastest.
        """
        cells = [
            okCell("active", backend, parameters(10), throughput)
            for backend, throughput in (("poll", 1.0e4), ("epoll", 1.01e4))
        ]
        self.assertEqual(
            headline.headline(results(cells)),
            "With 10 busy connections, no backend is distinguishable from epoll by 3 "
            "rounds: each served 10,000 to 10,100 requests a second.",
        )
        cells = [
            okCell("arrivals", name, parameters(10, rate=5000), throughput)
            for name, throughput in (("poll", 5.0e3), ("epoll", 5.05e3))
        ]
        for cell in cells:
            del cell["rounds"][1:]
        cells.append(failedCell("arrivals", "select", parameters(10, rate=5000)))
        self.assertEqual(
            headline.headline(results(cells)),
            "With 5,000 requests a second due on 10 connections, poisson arrivals, no "
            "backend is distinguishable from epoll by 1 round: each answered 99 of 100 "
            "within 3.76 ms to 3.80 ms; select failed.",
        )

    def test_references(self) -> None:
        """
        References are in the headline only if nothing else was measured.
        """
        cells = [c for c in twelveBackends()["cells"] if c["backend"] == "c-epoll"]
        self.assertIn("c-epoll served 145,000", headline.headline(results(cells)))

    def test_none(self) -> None:
        """
        The headline of a run in which every cell failed reports this.
        """
        run = results([failedCell("idle", "select", parameters(10))])
        self.assertIn("No backend gave a number", headline.headline(run))


class StyleTests(SynchronousTestCase):
    """
    Tests for L{style.looks}.
    """

    def test_allDiffer(self) -> None:
        """
        No two models look the same, in colour or in grey.
        """
        looks = list(style.looks([]).values())
        self.assertEqual(len(looks), len(models.MODELS))
        self.assertEqual(len({look.color for look in looks}), len(looks))
        self.assertEqual(len({look.marker for look in looks}), len(looks))

    def test_consistent(self) -> None:
        """
        A backend of the table has the same look in every run.
        """
        self.assertEqual(style.looks(["epoll"])["epoll"], style.looks(["x"])["epoll"])

    def test_unknown(self) -> None:
        """
        Reactors of other projects have looks of their own.
        """
        looks = style.looks(["one", "two"])
        self.assertNotEqual(looks["one"], looks["two"])

    def test_newRow(self) -> None:
        """
        A new row of the table of models gets a look, even with a pattern of its own,
        and a reference does not look like a reactor.
        """
        row = copy.deepcopy(models.MODELS[0])
        object.__setattr__(row, "name", "carrier-pigeon")
        object.__setattr__(row, "pattern", "avian")
        yard = copy.deepcopy(models.MODELS[5])
        object.__setattr__(yard, "name", "yard")
        object.__setattr__(yard, "kind", "reference")
        self.patch(style, "MODELS", (*models.MODELS, row, yard))
        looks = style.looks([])
        self.assertIn("carrier-pigeon", looks)
        self.assertNotEqual(looks["yard"].line, looks["epoll"].line)
        red, green, blue = to_rgb(looks["yard"].color)
        self.assertTrue(red == green == blue)


def said(chart: Chart) -> list[str]:
    """
    The texts of a sheet, outside of its axes.
    """
    return [text.get_text() for text in chart.figure.texts]


def textsOf(axes: Axes) -> list[str]:
    """
    The texts on axes, each in one line.
    """
    texts = (text.get_text().replace("\n", " ") for text in axes.texts)
    return [text for text in texts if text]


def greys(chart: Chart) -> int:
    """
    The number of noise bands.
    """
    artists: list[Any] = [
        each
        for axes in chart.figure.axes
        for each in (*axes.collections, *axes.patches)
    ]
    return sum(
        to_hex(color) == style.NOISE
        for each in artists
        for color in numpy.reshape(each.get_facecolor(), (-1, 4))
    )


class FiguresTests(SynchronousTestCase):
    """
    Tests for L{figures.drawn}.
    """

    def names(self, run: Results) -> list[str]:
        return [chart.name for chart in figures.drawn(run)]

    def test_all(self) -> None:
        """
        A whole run has every figure.
        """
        self.assertEqual(self.names(fourBackends()), list(FIGURES))
        names = [*FIGURES]
        names.insert(2, "threads")
        self.assertEqual(self.names(twelveBackends()), names)

    def test_oneScenario(self) -> None:
        """
        Without idle connections there is no chart of them.
        """
        run = results([c for c in sweep() if c["scenario"] == "active"])
        self.assertEqual(
            self.names(run), [each for each in FIGURES if "idle" not in each]
        )

    def test_noServerCounters(self) -> None:
        """
        Without the server's counters there is no chart of CPU time or memory.
        """
        run = fourBackends()
        for cell in run["cells"]:
            for metric in list(cell["summary"]):
                if metric.startswith("server_"):
                    del cell["summary"][metric]
        without = [each for each in FIGURES if each not in ("cpu", "memory")]
        self.assertEqual(self.names(run), without)

    def test_undivided(self) -> None:
        """
        CPU time that is not divided into user and system is drawn as one.
        """
        run = fourBackends()
        both = "Upright stripes: both"
        (chart,) = (each for each in figures.drawn(run) if each.name == "cpu")
        self.assertNotIn(both, chart.caption)
        for cell in run["cells"]:
            if cell["backend"] == "poll" and cell["status"] == "ok":
                del cell["summary"]["server_user_us_per_request"]
        (chart,) = (each for each in figures.drawn(run) if each.name == "cpu")
        self.assertIn(both, chart.caption)
        self.assertRegex(chart.alt, r"poll: undivided [\d.]+ µs\.")
        self.assertRegex(chart.alt, r"epoll: user [\d.]+ µs, system [\d.]+ µs\.")
        legend = chart.figure.axes[0].get_legend()
        assert legend is not None
        self.assertEqual(
            [text.get_text() for text in legend.get_texts()],
            ["user", "system", "undivided"],
        )

    def test_noise(self) -> None:
        """
        Every chart shows and explains the noise, if it was measured; but the chart of
        system calls, which are counted once, has none.
        """
        for chart in figures.drawn(twelveBackends()):
            self.assertNotIn("noise", "".join(said(chart)))
            self.assertNotIn("Striped", chart.caption)
            self.assertEqual(greys(chart), 0)
        charts = figures.drawn(controlled(twelveBackends(), 1.1))
        bands = {chart.name: greys(chart) for chart in charts}
        self.assertEqual(
            bands,
            {
                "idle": 1,
                "active": 1,
                "threads": 3,
                "idle-latency": 2,
                "latency": 2,
                "percentiles": 1,
                "cpu": 1,
                "calls": 0,
                "memory": 1,
            },
        )
        for chart in charts:
            if chart.name == "calls":
                continue
            self.assertIn("; striped: noise", "".join(said(chart)))
            self.assertIn("Striped grey: what epoll, measured twice,", chart.caption)

    def test_noiseBand(self) -> None:
        """
        The band reaches as far from the baseline's line as the control does.
        """
        run = controlled(fourBackends(), 1.0)
        for noise in run["noise"]:
            noise["low"], noise["high"] = 0.8, 1.1
        (band,) = figures.drawn(run)[0].figure.axes[0].collections[:1]
        (path,) = band.get_paths()
        corners = numpy.asarray(path.vertices, dtype=float)
        heights = {round(y) for x, y in corners if x == 4}
        self.assertEqual(heights, {round(36e3 / 1.25), round(36e3 * 1.25)})

    def test_titles(self) -> None:
        """
        No two figures have the same title.
        """
        cells = sweep()
        for scenario in ("http", "tls"):
            for active in (1, 10):
                cell = okCell(scenario, "epoll", parameters(active), 1000.0)
                cell["service"] = scenario
                cell["syscalls_by_name"] = {"read": 1.0}
                cells.append(cell)
        titles = [chart.title for chart in figures.drawn(results(cells))]
        self.assertIn("http: throughput against busy connections", titles)
        self.assertIn("tls: system calls per request", titles)
        self.assertEqual(len(titles), len(set(titles)), titles)

    def test_calls(self) -> None:
        """
        System calls are drawn by purpose, and named in the text. Without counts there
        is no chart.
        """
        run = twelveBackends()
        (chart,) = (each for each in figures.drawn(run) if each.name == "calls")
        legend = chart.figure.axes[0].get_legend()
        assert legend is not None
        self.assertEqual(
            [text.get_text() for text in legend.get_texts()],
            ["wait", "register", "receive", "send", "other"],
        )
        said = "epoll: 2 epoll_ctl, 1 recvfrom, 1 sendto, 0.1 epoll_wait. proactor:"
        self.assertIn(said, chart.alt)
        self.assertIn("with 10 busy connections", chart.caption)
        # Backends without counts are named.
        self.assertIn("Without numbers here: fork, threads, busypoll,", chart.caption)
        texts = [text.get_text() for text in chart.figure.axes[0].texts]
        self.assertEqual(texts, ["2.1", "4.1", "2.1", "0.1", "2.1"])
        for cell in run["cells"]:
            cell.pop("syscalls_by_name", None)
        self.assertNotIn("calls", self.names(run))

    def test_nothingMeasured(self) -> None:
        """
        Without any number there is no chart.
        """
        for cells in ([], [failedCell("idle", "select", parameters(10))]):
            self.assertEqual(self.names(results(cells)), [])

    def test_drawnMetric(self) -> None:
        """
        A metric with C{drawn} in its row has a figure, with a bar for each backend that
        has the metric.
        """
        key = "involuntary_switches_per_request"
        self.assertNotIn(key, self.names(fourBackends()))
        run = fourBackends()
        for cell in run["cells"]:
            if cell["backend"] in ("epoll", "poll") and cell["status"] == "ok":
                cell["summary"][key] = {"median": 0.5, "low": 0.25, "high": 0.75}
        (chart,) = (each for each in figures.drawn(run) if each.name == key)
        self.assertEqual(chart.title, "Involuntary switches per request")
        self.assertEqual(textsOf(chart.figure.axes[0]), ["0.5", "0.5"])
        self.assertIn("Context switches of the server that the sched", chart.caption)
        self.assertIn("Without numbers here: select and asyncio.", chart.caption)
        self.assertIn("epoll: involuntary switches per request 0.5.", chart.alt)
        self.assertEqual(greys(chart), 0)
        (noisy,) = (c for c in figures.drawn(controlled(run, 1.0)) if c.name == key)
        self.assertEqual(greys(noisy), 0)
        for metric in METRICS:
            self.assertTrue(metric.title or not metric.drawn, metric.key)

    def test_failure(self) -> None:
        """
        If a backend fails after a point, its line has the place, and the caption the
        reason.
        """
        chart = figures.drawn(fourBackends())[0]
        texts = textsOf(chart.figure.axes[0])
        self.assertIn("select: failed at 1,000 idle", texts)
        self.assertIn(SELECT_LIMIT, chart.caption)
        self.assertIn("1,010 and 10,010", chart.caption)

    def test_failureAtLast(self) -> None:
        """
        A backend that fails at the last point is named with the others, and nowhere
        else; its mark is at zero.
        """
        cells = [
            okCell("idle", "epoll", parameters(10, 100), 1000.0),
            okCell("idle", "epoll", parameters(10, 1000), 1000.0),
            okCell("idle", "select", parameters(10, 100), 1000.0),
            failedCell("idle", "select", parameters(10, 1000)),
        ]
        (axes,) = figures.drawn(results(cells))[0].figure.axes
        texts = {text.get_text(): text for text in axes.texts if text.get_text()}
        self.assertEqual(set(texts), {"epoll", "select: failed"})
        epoll, select = (
            texts[name].get_position() for name in ("epoll", "select: failed")
        )
        self.assertEqual(epoll[0], select[0])
        self.assertLess(select[1], 0.1)

    def test_namesHaveMarkers(self) -> None:
        """
        The name of each line has its marker beside it.
        """
        run = twelveBackends()
        looks = style.looks(select.names(run))
        (axes,) = figures.drawn(run)[0].figure.axes
        outside = [
            line.get_marker()
            for line in axes.lines
            if line.get_transform() == axes.transAxes and line.get_marker() != "None"
        ]
        named = [
            looks[text.get_text()].marker
            for text in axes.texts
            if text.get_text() in looks
        ]
        self.assertEqual(outside, named)
        self.assertGreater(len(named), 6)

    def crowd(self, names: str, *busy: int) -> Chart:
        cells = [
            okCell("active", name, parameters(active), 1000.0)
            for name in names.split()
            for active in busy
        ]
        return figures.drawn(controlled(results(cells), 1.1))[0]

    def test_distribution(self) -> None:
        """
        Latency is drawn by percentile, on an axis where the rarer have as much space as
        the frequent.
        """
        (chart,) = (c for c in figures.drawn(fourBackends()) if c.name == "percentiles")
        (axes,) = chart.figure.axes
        self.assertEqual(axes.get_yscale(), "log")
        ticks = [tick.get_text() for tick in axes.get_xticklabels()]
        self.assertEqual(sorted(ticks), ["max", "p50", "p90", "p99", "p99.9"])
        cell = next(c for c in fourBackends()["cells"] if c["backend"] == "epoll")
        self.assertIn("p99.9", cell["rounds"][0]["latency_us"])
        self.assertRegex(chart.alt, r"epoll: p50 [\d.]+ ms, p90 .*, max [\d.]+ m?s\.")

    def test_idleLatency(self) -> None:
        """
        Latency is drawn over idle connections, as throughput is, and backends that
        failed are named.
        failed.
        """
        (chart,) = (
            c for c in figures.drawn(fourBackends()) if c.name == "idle-latency"
        )
        tail, half = chart.figure.axes
        self.assertEqual({tail.get_yscale(), half.get_yscale()}, {"log"})
        ticks = [tick.get_text() for tick in half.get_xticklabels()]
        (throughput,) = (c for c in figures.drawn(fourBackends()) if c.name == "idle")
        (axes,) = throughput.figure.axes
        self.assertEqual(ticks, [tick.get_text() for tick in axes.get_xticklabels()])
        self.assertIn("select failed at", chart.caption)
        self.assertRegex(chart.alt, r"poll: 99 of 100 within [\d.]+ µs at 0, ")

    def test_sideBySide(self) -> None:
        """
        With many backends and few points, bands would cover each other: the values of a
        point are drawn side by side, their intervals are whiskers, and the noise is a
        bar.
        """
        crowd = "fork threads select poll epoll asyncio uvloop"
        chart = self.crowd(crowd, 10, 100)
        (axes,) = chart.figure.axes
        lines = [
            line for line in axes.lines if len(numpy.asarray(line.get_xdata())) > 1
        ]
        lines = [line for line in lines if line.get_marker() != "None"]
        self.assertEqual(len(lines), 7)
        places = [x for line in lines for x in numpy.asarray(line.get_xdata())]
        self.assertEqual(len(set(places)), 14)
        self.assertEqual(greys(chart), 2)
        self.assertIn("side by side, and the whiskers are the range", chart.caption)
        ticks = [tick.get_text() for tick in axes.get_xticklabels()]
        self.assertEqual(sorted(ticks), ["10", "100"])

    def test_bands(self) -> None:
        """
        Few lines, or lines over many points, have bands.
        """
        crowd = "fork threads select poll epoll asyncio uvloop"
        for chart in (
            self.crowd("threads epoll", 10, 100),
            self.crowd(crowd, 1, 10, 100, 1000),
        ):
            self.assertIn("; the bands are the range over rounds", chart.caption)
            self.assertEqual(greys(chart), 1)

    def test_memory(self) -> None:
        """
        Values that differ a thousandfold are on a logarithmic axis with powers of two,
        with numbers beside them; zero has a place too.
        """
        cells = []
        for name, each in (("fork", 3000.0), ("epoll", 1.5), ("uvloop", 0.0)):
            for idle in (0, 1000):
                cell = okCell("idle", name, parameters(10, idle), 1000.0)
                kib = 40000 + each * idle
                cell["summary"]["server_rss_kib"] = {
                    "median": kib,
                    "low": kib,
                    "high": kib,
                }
                cells.append(cell)
        charts = {chart.name: chart for chart in figures.drawn(results(cells))}
        chart = charts["memory"]
        (axes,) = chart.figure.axes
        self.assertEqual(axes.get_xscale(), "log")
        words = [text.get_text() for text in axes.texts]
        self.assertEqual(words, ["2.93 MiB", "1.50 KiB", "1.00 B"])
        ticks = [tick.get_text() for tick in axes.get_xticklabels()]
        self.assertEqual(ticks, ["1 B", "1 KiB", "1 MiB"])
        self.assertIn("fork: 2.93 MiB. epoll: 1.50 KiB. uvloop: 0 B.", chart.alt)
        chart.figure.draw_without_rendering()
        (box, *_) = (text.get_window_extent() for text in axes.texts)
        self.assertLess(box.x1, chart.figure.bbox.x1)

    def test_skipped(self) -> None:
        """
        The line of a backend that is not tried after a point ends with the reason, too.
        """
        chart = figures.drawn(twelveBackends())[0]
        texts = textsOf(chart.figure.axes[0])
        self.assertIn("fork: skipped at 1,000 idle", texts)
        self.assertIn(
            f"fork skipped at 1,010 and 10,010 connections: {FORK_LIMIT}", chart.caption
        )

    def test_everyLineIsNamed(self) -> None:
        """
        The name of each backend is on the chart once, and no two names overlap.
        """
        for run in (fourBackends(), twelveBackends()):
            chart = figures.drawn(run)[0]
            texts = [text for text in chart.figure.axes[0].texts if text.get_text()]
            said = sorted(text.get_text().split(":")[0] for text in texts)
            self.assertEqual(said, sorted(select.names(run)))
            chart.figure.draw_without_rendering()
            boxes = [text.get_window_extent() for text in texts]
            for index, box in enumerate(boxes):
                self.assertEqual(box.count_overlaps(boxes[index + 1 :]), 0)

    def test_everyTextIsSeen(self) -> None:
        """
        In every figure, each text is within the sheet, and no two labels of an axis
        touch.
        """
        runs = [twelveBackends(), results([*ratedCells(), *heldCells(), *fivePipes()])]
        for cell in runs[0]["cells"]:
            if cell["backend"] == "shinyloop":
                cell["backend"] = "a-name-that-is-longer-than-most"
        for chart in (chart for run in runs for chart in figures.drawn(run)):
            sheet = chart.figure
            sheet.draw_without_rendering()
            for text in sheet.findobj(Text):
                assert isinstance(text, Text)
                if text.get_text() and text.get_visible():
                    box = text.get_window_extent()
                    seen = (
                        *(box.x0 >= 0, box.x1 <= sheet.bbox.x1),
                        *(box.y0 >= 0, box.y1 <= sheet.bbox.y1),
                    )
                    self.assertTrue(all(seen), (chart.name, text.get_text(), seen))
            for axes in sheet.axes:
                for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
                    shown = [each for each in labels if each.get_text()]
                    boxes = [each.get_window_extent() for each in shown]
                    for index, box in enumerate(boxes):
                        self.assertEqual(box.count_overlaps(boxes[index + 1 :]), 0)

    def threads(self, run: Results) -> Chart:
        (chart,) = (each for each in figures.drawn(run) if each.name == "threads")
        return chart

    def test_threads(self) -> None:
        """
        Threads and processes are compared with epoll alone, in three panels over the
        same axis, with names in each.
        """
        run = twelveBackends()
        chart = self.threads(run)
        panels = chart.figure.axes
        self.assertEqual(len(panels), 3)
        self.assertEqual(len({panel.get_xlim() for panel in panels}), 1)
        self.assertEqual([panel.get_yscale() for panel in panels][1], "log")
        chart.figure.draw_without_rendering()
        for panel in panels:
            texts = [text for text in panel.texts if text.get_text()]
            self.assertEqual(
                sorted(text.get_text() for text in texts), ["epoll", "fork", "threads"]
            )
            boxes = [text.get_window_extent() for text in texts]
            for index, box in enumerate(boxes):
                self.assertEqual(box.count_overlaps(boxes[index + 1 :]), 0)
            self.assertEqual(
                sum(line.get_linewidth() == 2.4 for line in panel.lines), 3
            )
        self.assertIn("threads: at 1, 9,300 a second, 37.2 MiB, 4.4 context", chart.alt)
        self.assertNotIn("uring", chart.alt)

    def test_threadsEverywhere(self) -> None:
        """
        A point without idle connections is a point of that figure, once, for any
        scenario that has it.
        """
        run = twelveBackends()
        run["cells"] = [
            cell
            for cell in run["cells"]
            if cell["scenario"] == "idle" or cell["parameters"].active != 10
        ]
        ticks = self.threads(run).figure.axes[-1].get_xticklabels()
        self.assertEqual(
            sorted(tick.get_text() for tick in ticks), ["1", "1,000", "10", "100"]
        )
        self.assertEqual(self.threads(run).alt.count("at 10, "), 3)

    def test_churn(self) -> None:
        """
        Points with churn have figures and a table of their own, separate from those
        with lasting connections, and their system calls do not contradict a model.
        """
        calls = {"accept4": 1.0, "write": 1.0, "recvfrom": 1.0}
        cells = []
        for busy in (1, 10, 50):
            point = parameters(busy)
            cells.append(okCell("active", "threads", point, 1000.0, calls=calls))
            anew = structs.replace(point, churn=True)
            for name in ("threads", "epoll"):
                cells.append(okCell("churn", name, anew, 1000.0, calls=calls))
        run = results(cells)
        self.assertEqual(list(select.contradictions(run)), ["threads"])
        active, churn, threads, again, *_ = figures.drawn(run)
        self.assertEqual((active.name, churn.name), ("active", "churn"))
        self.assertEqual(churn.title, "New connections")
        self.assertTrue(churn.caption.startswith("Connections a second, echo, 64 B"))
        self.assertEqual(threads.alt.count("at 10, "), 1)
        self.assertEqual(again.alt.count("at 10, "), 2)
        self.assertIn("a connection for each request", again.caption)
        table = terminal(run, 100)
        self.assertIn("50 busy connections\nbackend         requests/s", table)
        self.assertIn("50 connections at a time\nbackend connections/s", table)

    def test_threadsAlike(self) -> None:
        """
        Memory between two ticks of its axis is drawn.
        """
        cells = [
            okCell("active", name, parameters(active), 1000.0)
            for name in ("threads", "epoll")
            for active in (1, 10, 100)
        ]
        for cell in cells:
            for end in cell["summary"]["server_rss_kib"]:
                cell["summary"]["server_rss_kib"][end] = 31.5 * 1024  # type: ignore[literal-required]
        (_, memory, _) = self.threads(results(cells)).figure.axes
        self.assertNotEqual(list(memory.get_yticks()), [])

    def test_threadsFailed(self) -> None:
        """
        A line that ends early has the reason in the first panel, and its name in all.
        """
        run = twelveBackends()
        for index, cell in enumerate(run["cells"]):
            point = cell["parameters"]
            if (cell["backend"], point.active) == ("threads", 1000):
                run["cells"][index] = failedCell("active", "threads", point, "too many")
        chart = self.threads(run)
        for panel, name in zip(
            chart.figure.axes,
            ("threads: failed", "threads", "threads"),
            strict=True,
        ):
            self.assertIn(name, [text.get_text() for text in panel.texts])
        self.assertIn("threads failed at 1,000 connections: too many.", chart.caption)

    def test_rate(self) -> None:
        """
        Latencies are drawn over the rate, with hollow marks if the server did not keep
        up.
        """
        run = controlled(results(ratedCells()), 1.1)
        (chart,) = (each for each in figures.drawn(run) if each.name == "rate")
        self.assertEqual(greys(chart), 2)
        tail, half = chart.figure.axes
        self.assertEqual({tail.get_yscale(), half.get_yscale()}, {"log"})
        ticks = [tick.get_text() for tick in half.get_xticklabels()]
        self.assertEqual(sorted(ticks), ["2,000", "32,000", "8,000"])
        for panel in chart.figure.axes:
            hollow = [
                line for line in panel.lines if line.get_markerfacecolor() == "white"
            ]
            self.assertEqual(len(hollow), 3)
        words = textsOf(tail)
        self.assertIn("select: failed at 8,000 a second", words)
        self.assertIn("Hollow: it did not keep up", chart.caption)
        self.assertIn("99 of 100 within 67.9 s and did not keep up.", chart.alt)
        self.assertIn("at 8,000 a second half within 11.9 ms, 99 of", chart.alt)
        few = [cell for cell in ratedCells() if cell["parameters"].rate == 2000]
        for cells, names in (
            (few, True),
            ([failedCell("rate", "epoll", few[0]["parameters"])], False),
        ):
            there = [each.name for each in figures.drawn(results(cells))]
            self.assertEqual("rate" in there, names)

    def test_share(self) -> None:
        """
        Latencies at shares of the capacity are drawn in another figure.
        """
        run = results([*ratedCells(), *sharedCells()])
        charts = {chart.name: chart for chart in figures.drawn(run)}
        self.assertLessEqual({"rate", "share"}, {*charts})
        chart = charts["share"]
        tail, half = chart.figure.axes
        ticks = [tick.get_text() for tick in half.get_xticklabels()]
        self.assertEqual(sorted(ticks), ["50 %", "80 %"])
        words = textsOf(tail)
        self.assertIn("select: failed at 80 % of its own", words)
        self.assertIn("at 50 % of its own half within", chart.alt)
        self.assertIn("its median in a closed loop", chart.caption)
        self.assertNotIn("its median in a closed loop", charts["rate"].caption)

    def test_held(self) -> None:
        """
        The memory per connection, of server and kernel, is one bar, and the noise is
        that of the sum.
        """
        run = controlled(results(heldCells()), 1.1)
        for noise in run["noise"]:
            noise["low"], noise["high"] = 0.8, 1.25
        charts = figures.drawn(run)
        (chart,) = (each for each in charts if each.name == "connections")
        self.assertEqual(chart.title, "Memory of each of 100,000 connections")
        (axes,) = chart.figure.axes
        words = [text.get_text() for text in axes.texts]
        self.assertEqual(words, ["9.08 KiB", "9.28 KiB"])
        self.assertEqual(greys(chart), 1)
        self.assertIn("epoll: server 1.07 KiB, kernel, both ends 8.01 KiB.", chart.alt)
        self.assertIn("select failed at 100,000 connections: ", chart.caption)
        self.assertIn("both ends of every connection are on it", chart.caption)

    def test_arrivals(self) -> None:
        """
        A scenario whose points differ in a parameter of words has a chart along it, in
        which no line joins two words, and each point has the word in its label.
        """
        cells = [
            okCell(
                "arrivals",
                backend,
                parameters(100, rate=8000, arrivals=arrivals),
                throughput,
            )
            for arrivals, throughput in (("poisson", 4e3), ("constant", 8e3))
            for backend in ("epoll", "uring")
        ]
        cells.append(failedCell("arrivals", "select", parameters(100, rate=8000)))
        run = controlled(results(cells), 1.02)
        chart = {chart.name: chart for chart in figures.drawn(run)}["arrivals"]
        self.assertEqual(chart.title, "Response time against arrivals of requests")
        self.assertIn(
            "epoll: 99 of 100 within 23.8 ms at constant arrivals, 99 of 100 within "
            "47.5 ms at poisson arrivals.",
            chart.alt,
        )
        self.assertIn("or at equal distances. 8,000 requests a second", chart.caption)
        self.assertIn("select failed at 100 connections", chart.caption)
        text = terminal(run, 100)
        for arrivals in ("poisson", "constant"):
            self.assertIn(f"due on 100 connections, {arrivals} arrivals\n", text)
        self.assertIn(
            "on 100 connections, echo, 64 B payload. Marks are", chart.caption
        )
        for axes in chart.figure.axes:
            series = [
                line for line in axes.lines if len(numpy.asarray(line.get_xdata())) == 2
            ]
            series = [line for line in series if line.get_marker() != "None"]
            self.assertEqual({line.get_linestyle() for line in series}, {"None"})
            places = [x for line in series for x in numpy.asarray(line.get_xdata())]
            self.assertEqual(len(set(places)), 4)

    def test_rateAtOnce(self) -> None:
        """
        A time of zero, which no machine gives, has a place too.
        """
        run = results(ratedCells())
        for cell in run["cells"]:
            for metric in cell["summary"]:
                if metric.startswith("latency"):
                    cell["summary"][metric] = {"median": 0.0, "low": 0.0, "high": 0.0}
        (chart,) = (each for each in figures.drawn(run) if each.name == "rate")
        chart.svg()

    def pipes(self, cells: list[Cell]) -> list[Chart]:
        return [
            chart
            for chart in figures.drawn(results(cells))
            if chart.name.startswith("multiplexer")
        ]

    def test_pipes(self) -> None:
        """
        The times of the whole operation and of the multiplexer are drawn over the same
        axis, both logarithmic; there is a chart for each number of ready pipes.
        """
        one, hundred = self.pipes(fivePipes())
        self.assertIn("the one of many", one.title)
        self.assertIn("the 100 of many", hundred.title)
        for chart in (one, hundred):
            whole, alone = chart.figure.axes
            self.assertEqual(whole.get_xlim(), alone.get_xlim())
            self.assertEqual({whole.get_yscale(), alone.get_yscale()}, {"log"})
            chart.figure.draw_without_rendering()
            for panel in chart.figure.axes:
                texts = [text for text in panel.texts if text.get_text()]
                boxes = [text.get_window_extent() for text in texts]
                for index, box in enumerate(boxes):
                    self.assertEqual(box.count_overlaps(boxes[index + 1 :]), 0)
            said = textsOf(whole)
            self.assertIn("select: failed at 10,000 pipes", said)
            self.assertEqual(
                {text.get_text() for text in alone.texts if text.get_text()},
                {"select", "poll", "epoll", "proactor", "uring"},
            )
            self.assertIn(
                f"select failed at 10,000 pipes: {SELECT_LIMIT}", chart.caption
            )
        self.assertIn("poll: of 10, 3.10 µs, 1.30 µs in the multiplexer;", one.alt)
        self.assertIn(
            "proactor: of 100, 198 µs, 18.0 µs in the multiplexer", hundred.alt
        )

    def test_pipesPublished(self) -> None:
        """
        The chart with one ready pipe has the published curves, dashed, grey and named,
        and the caption has the source of each.
        """
        one, hundred = self.pipes(fivePipes())
        drawn = [
            line
            for line in one.figure.axes[0].lines
            if line.get_color() == style.PALE and line.get_linewidth() == 1.2
        ]
        self.assertEqual(len(drawn), len(published.CURVES))
        named = {text.get_text() for text in one.figure.axes[0].texts}
        for curve, line in zip(published.CURVES, drawn, strict=True):
            self.assertTrue(line.is_dashed())
            self.assertEqual(
                numpy.asarray(line.get_ydata()).tolist(),
                list(curve.microseconds.values()),
            )
            self.assertIn(f"{curve.call} {curve.year}", named)
            self.assertIn(f"{curve.year}: {published.SOURCES[curve.year]}", one.caption)
        self.assertEqual({curve.year for curve in published.CURVES}, {2001, 2006, 2010})
        self.assertNotIn(
            style.PALE, [line.get_color() for line in hundred.figure.axes[0].lines]
        )
        self.assertNotIn("Kegel", hundred.caption)

    def test_pipesFew(self) -> None:
        """
        One point suffices to be drawn beside the published curves, and a cell without
        the time in the multiplexer is not drawn.
        """
        (chart,) = self.pipes([pipesCell("epoll", 1, 1000, 0.7)])
        ticks = [tick.get_text() for tick in chart.figure.axes[1].get_xticklabels()]
        self.assertEqual(ticks, ["10,000", "1,000", "100", "10"])
        cell = pipesCell("epoll", 1, 1000, 0.7)
        del cell["summary"]["us_per_call"]
        self.assertEqual(self.pipes([cell]), [])
        self.assertEqual(
            self.pipes([failedCell("multiplexer", "poll", parameters(1))]), []
        )

    def test_pipesNoise(self) -> None:
        """
        Noise is a band in both panels, and looks unlike the grey of the published
        curves.
        """
        for chart in figures.drawn(controlled(results(fivePipes()), 1.1)):
            self.assertEqual(greys(chart), 2)
            self.assertIn("noise", "".join(said(chart)))
            self.assertIn("Striped grey: what epoll, measured twice,", chart.caption)

    def test_pipesApart(self) -> None:
        """
        No chart of servers has pipes.
        """
        run = twelveBackends()
        before = [(chart.caption, chart.alt) for chart in figures.drawn(run)]
        run["cells"] += fivePipes()
        after = [(chart.caption, chart.alt) for chart in figures.drawn(run)]
        self.assertEqual(after[:-2], before)

    def test_longNames(self) -> None:
        """
        Names without space at the ends of lines are in a legend.
        """
        name = "x" * 64
        cells = [
            okCell("idle", backend, parameters(10, n), 1000.0)
            for n in (0, 100)
            for backend in (name, "epoll")
        ]
        legend = figures.drawn(results(cells))[0].figure.axes[0].get_legend()
        assert legend is not None
        said = [text.get_text().replace("\n", "") for text in legend.get_texts()]
        self.assertEqual(said, ["epoll", name])

    def test_lowerBound(self) -> None:
        """
        The text below a chart reports a load that was the limit.
        """
        self.assertNotIn("lower bound", figures.drawn(fourBackends())[0].caption)
        self.assertIn("lower bound", figures.drawn(twelveBackends())[0].caption)

    def test_points(self) -> None:
        """
        The charts of a single point have its parameters.
        """
        charts = {chart.name: chart for chart in figures.drawn(fourBackends())}
        for name in ("latency", "cpu"):
            self.assertIn("1,000 busy connections", charts[name].caption)

    def test_alternative(self) -> None:
        """
        The text alternative has the numbers.
        """
        chart = figures.drawn(fourBackends())[0]
        self.assertIn("poll: 45,000 at 0, 38,000 at 100, 12,000 at 1,000", chart.alt)

    def test_conditionsApart(self) -> None:
        """
        Runs under other conditions are not points of the same line.
        """
        cells = []
        for payload in (64, 65536):
            for idle in (0, 100):
                point = parameters(10, idle, payload)
                cells.append(okCell("idle", "epoll", point, 1000.0))
        self.assertEqual(len(set(self.names(results(cells)))), 8)

    def test_sameBytes(self) -> None:
        """
        The same results give the same file.
        """
        first, second = (
            [(chart.svg(), chart.png()) for chart in figures.drawn(hostile())]
            for _ in range(2)
        )
        self.assertEqual(first, second)

    def test_hostile(self) -> None:
        """
        Strings from outside are drawn as letters, whatever they contain.
        """
        for chart in figures.drawn(hostile()):
            drawing = ElementTree.fromstring(chart.svg())
            self.assertEqual(list(drawing.iter(f"{SVG}script")), [])
            self.assertEqual(list(drawing.iter(f"{SVG}image")), [])
            self.assertNotIn("<script", chart.svg())

    def test_extremes(self) -> None:
        """
        Numbers that the format allows and no machine reaches cause no error.
        """
        run = controlled(fourBackends(), 1.0)
        extremes = (0.0, 1e308, 5e-324, 1.0)
        for index, noise in enumerate(run["noise"]):
            noise["low"] = extremes[index % 4]
            noise["high"] = extremes[index // 4 % 4]
        for index, cell in enumerate(run["cells"]):
            for name in cell.get("syscalls_by_name", {}):
                cell["syscalls_by_name"][name] = extremes[index % 4]
            for each in cell["summary"].values():
                each["low"] = extremes[(index + 1) % 4]
                each["median"] = extremes[index % 4]
                each["high"] = extremes[(index + 2) % 4]
            if cell["backend"] == "poll":
                cell["backend"] = "threads"
        huge = structs.replace(run["cells"][1]["parameters"], idle=2**63 - 1)
        run["cells"][1]["parameters"] = huge
        for cell in fivePipes():
            for interval in cell["summary"].values():
                interval["low"], interval["median"], interval["high"] = extremes[:3]
            run["cells"].append(cell)
        charts = figures.drawn(run)
        self.assertIn("threads", [chart.name for chart in charts])
        for chart in charts:
            ElementTree.fromstring(chart.svg())
        report.write([run], Path(self.mktemp()))
        self.assertEqual(self.flushWarnings(), [])


class PublishedTests(SynchronousTestCase):
    """
    Tests for L{published.CURVES}.
    """

    def test_asPrinted(self) -> None:
        """
        The curves of Kerrisk equal his tables, in seconds for 100,000 operations; the
        curve of Kegel equals his, in microseconds.
        """
        printed = {
            2006: """
                poll    1.12  6.8   157   1750
                select  1.28  7.1   151   1087
                epoll   0.65  0.68  0.89  0.97
            """,
            2010: """
                poll    0.61  2.9   35    990
                select  0.73  3.0   35    930
                epoll   0.41  0.42  0.53  0.66
            """,
        }
        expected = [published.Curve("poll", 2001, {100: 48, 1000: 1162, 10000: 14702})]
        for year, table in printed.items():
            for line in table.split("\n")[1:-1]:
                call, *seconds = line.split()
                watched = zip((10, 100, 1000, 10000), seconds, strict=True)
                us = {n: round(float(each) * 1e6 / 1e5, 9) for n, each in watched}
                expected.append(published.Curve(call, year, us))
        self.assertEqual(list(published.CURVES), expected)


class PageTests(SynchronousTestCase):
    """
    Tests for L{report.write}.
    """

    def page(self, *runs: Results) -> tuple[Path, str]:
        directory = Path(self.mktemp()) / "new"
        path = report.write(runs, directory)
        return path, path.read_text(encoding="utf-8")

    def parsed(self, text: str) -> ElementTree.Element:
        self.assertTrue(text.startswith("<!DOCTYPE html>\n<html"))
        return ElementTree.fromstring(text.split("\n", 1)[1])

    def test_files(self) -> None:
        """
        The page is written, and each figure in two files.
        """
        path, _ = self.page(fourBackends())
        self.assertEqual(path.name, "report.html")
        self.assertEqual(
            sorted(each.name for each in (path.parent / "figures").iterdir()),
            sorted(f"{name}.{kind}" for name in FIGURES for kind in ("svg", "png")),
        )
        svg = path.parent / "figures" / "idle.svg"
        self.assertEqual(
            svg.read_text(encoding="utf-8"), figures.drawn(fourBackends())[0].svg()
        )

    def test_wholeAndAlone(self) -> None:
        """
        The page is well-formed, contains its figures and loads nothing else.
        """
        _, text = self.page(fourBackends())
        root = self.parsed(text)
        self.assertEqual(len(list(root.iter("figure"))), len(FIGURES))
        self.assertEqual(len(list(root.iter(f"{SVG}svg"))), len(FIGURES))
        for element in root.iter():
            self.assertNotIn(element.tag, ("script", "link", "img", "iframe"))
            for name, value in element.attrib.items():
                if name == "src" or name.endswith("href"):
                    self.assertTrue(value.startswith("#"), value)
        self.assertNotIn("url(http", text)
        self.assertNotIn("@import", text)

    def test_identifiers(self) -> None:
        """
        Every id in the page is there once, and every reference has its target.
        """
        _, text = self.page(fourBackends(), twelveBackends())
        names = re.findall(r'\sid="([^"]*)"', text)
        self.assertEqual(len(names), len(set(names)))
        used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)
        self.assertNotEqual(used, [])
        self.assertEqual({a or b for a, b in used} - set(names), set())

    def test_styleIsNotEscaped(self) -> None:
        """
        A browser takes the content of C{style} literally, so the style sheet must
        contain nothing that escaping would change.
        """
        self.assertNotRegex(page._resource("page.css"), "[<>&]")

    def test_fewRounds(self) -> None:
        """
        If rounds are too few, page and tables give this as the reason why there are no
        verdicts.
        """
        for rounds, few in ((2, True), (3, False)):
            run = twelveBackends()
            for cell in run["cells"]:
                del cell["rounds"][rounds:]
            stream = io.StringIO()
            changes = DiffTable(run, run, difference(run, run))
            Console(file=stream, width=100).print(changes)
            said = [
                "".join(self.parsed(self.page(run)[1]).itertext()),
                terminal(run, 100),
                stream.getvalue(),
            ]
            for text in said:
                sentence = "Fewer than 3 rounds decide nothing"
                self.assertEqual(sentence in " ".join(text.split()), few)

    def test_says(self) -> None:
        """
        The page has the headline, reasons, verdicts, the command, the machine.
        """
        run = twelveBackends()
        run["environment"]["command"] = "iodemo compare --rounds 3"
        text = "".join(self.parsed(self.page(run)[1]).itertext())
        for expected in (
            headline.headline(run),
            SELECT_LIMIT,
            FORK_LIMIT,
            "▲ faster",
            "▼ slower",
            "= indistinguishable",
            "≥ 165,000",
            "a lower bound",
            "iodemo compare --rounds 3",
            "Example CPU @ 2.60GHz",
            "Linux 6.18.5",
            "closed loop",
            "The cost of a request",
            "4.12 epoll_ctl, 1 recvfrom, 1 sendto, 0.1 epoll_wait",
            "proactor is listed with read, write, epoll_wait; seen without",
        ):
            self.assertIn(expected, text)

    def test_pipes(self) -> None:
        """
        The verdicts and numbers of pipes are the metrics that pipes have, and the
        tables of servers have none of these.
        """
        run = fourBackends()
        whole = results([*run["cells"], *fivePipes()])
        root = self.parsed(self.page(whole)[1])
        sections: dict[str, list[str]] = {}
        title = ""
        for element in root.iter():
            if element.tag == "h3":
                title = "".join(element.itertext()).partition(":")[0]
            elif element.tag in ("summary", "th"):
                sections.setdefault(title, []).append("".join(element.itertext()))
        for there in (
            "Time in the multiplexer per call",
            "calls/s",
            "in the multiplexer",
        ):
            self.assertIn(there, sections["multiplexer"])
            self.assertNotIn(there, sections["idle"])
        for there in ("CPU time of the server per request", "memory", "requests/s"):
            self.assertNotIn(there, sections["multiplexer"])
            self.assertIn(there, sections["idle"])

    def test_rate(self) -> None:
        """
        If requests are due at a rate, latency is the verdict that is not folded, and
        the page names backends that did not keep up.
        """
        root = self.parsed(self.page(results(ratedCells()))[1])
        said = "".join(root.itertext())
        self.assertIn(
            "Did not keep up with 8,000 requests a second due on 100 connections: fork "
            "(7,000 a second).",
            said,
        )
        folded = ["".join(each.itertext()) for each in root.iter("summary")]
        self.assertIn("Throughput", folded)
        self.assertNotIn("Response time, p99", folded)
        self.assertIn("p99 from sending", said)

    def test_strained(self) -> None:
        """
        The page names loads that were near their limit.
        """
        root = self.parsed(self.page(strained())[1])
        self.assertIn(
            "The load was near its limit at 10 busy, 1,000 idle connections: proactor "
            "(85 %) of its core.",
            "".join(root.itertext()),
        )

    def test_noise(self) -> None:
        """
        Noise is a row of each table of verdicts, and the control is listed with the
        backends.
        """
        root = self.parsed(self.page(controlled(fourBackends(), 1.05))[1])
        rows = [
            "".join(row.itertext())
            for row in root.iter("tr")
            if row[0].text in ("noise", "epoll again")
        ]
        self.assertEqual(sum(row.startswith("noise") for row in rows), 6)
        self.assertEqual(sum("epoll against itself" in row for row in rows), 6)
        self.assertEqual(sum(row.startswith("epoll again") for row in rows), 8)
        self.assertIn("Noise: epoll was measured twice", "".join(root.itertext()))

    def test_costs(self) -> None:
        """
        The cost of a request is in a table: prices with their intervals, or the reason
        for none. Without system calls there is no such table.
        """
        run = results(
            [
                *costing(10, 0.2, 3),
                *costing(20, -0.05, 0.5, "epoll"),
                *costing(5, 0, 1, "threads"),
                *costing(5, 0, 1, "c-epoll")[:2],
            ]
        )
        root = self.parsed(self.page(run)[1])
        rows = {
            "".join(row[0].itertext()): ["".join(each.itertext()) for each in row[1:]]
            for table in root.iter("table")
            if "a connection watched" in "".join(table.itertext())
            for row in table.iter("tr")
        }
        self.assertEqual(
            rows["poll"],
            [
                "10.0 µs10.0 µs to 10.0 µs",
                "200 ns200 ns to 200 ns",
                "3.00 µs3.00 µs to 3.00 µs",
                "0%at most 0%",
                "7",
            ],
        )
        minus = "\N{MINUS SIGN}50 ns"
        self.assertEqual(rows["epoll"][1], f"{minus}{minus} to {minus}")
        self.assertEqual(rows["threads"][1], f"{select.MISSING}it watches none")
        self.assertIn("known at 2 points, and a fit needs 5", rows["c-epoll"][0])
        run = small()
        self.assertNotIn("The cost of a request</h2>", self.page(run)[1])

    def test_interrupted(self) -> None:
        """
        The page of an interrupted run reports this; that of a finished run does not.
        """
        run = small()
        self.assertNotIn('class="notice"', self.page(run)[1])
        run["complete"] = False
        self.assertIn("This run is not complete", self.page(run)[1])
        run["environment"]["steal_fraction"] = 0.02
        self.assertEqual(self.page(run)[1].count('class="notice"'), 2)

    def test_hostile(self) -> None:
        """
        Strings from outside are text of the page, not markup.
        """
        _, text = self.page(hostile())
        root = self.parsed(text)
        self.assertEqual(list(root.iter("script")), [])
        self.assertEqual(list(root.iter("img")), [])
        self.assertNotIn("<script", text)
        command = root.find(".//pre")
        assert command is not None
        self.assertEqual(command.text, HOSTILE)
        said = "".join(root.itertext())
        # The reason is in the list, the caption and all three cells; CPU time and the
        # rest.
        self.assertGreaterEqual(said.count(HOSTILE), 8)

    def test_several(self) -> None:
        """
        Several runs are sections of one page, with files of their own.
        """
        path, text = self.page(fourBackends(), twelveBackends())
        root = self.parsed(text)
        heads = ["".join(each.itertext()) for each in root.iter("h1")]
        self.assertEqual(
            heads,
            [headline.headline(run) for run in (fourBackends(), twelveBackends())],
        )
        self.assertEqual(len(list(root.iter("figure"))), 2 * len(FIGURES) + 1)
        names = {each.name for each in (path.parent / "figures").iterdir()}
        self.assertIn("run1-idle.svg", names)
        self.assertIn("run2-idle.svg", names)

    def test_nothing(self) -> None:
        """
        A run without cells, and one without comparisons, make a page too.
        """
        for run in (results([]), results(sweep(), baseline="absent")):
            text = "".join(self.parsed(self.page(run)[1]).itertext())
            self.assertIn("Nothing in this run was compared", text)

    def test_again(self) -> None:
        """
        A second report of the same results is the same page.
        """
        directory = Path(self.mktemp())
        first = report.write([small()], directory).read_bytes()
        self.assertEqual(report.write([small()], directory).read_bytes(), first)

    def test_unwritable(self) -> None:
        """
        If the report cannot be written, there is an L{OSError}.
        """
        occupied = Path(self.mktemp())
        occupied.write_text("a file, not a directory")
        self.assertRaises(OSError, report.write, [small()], occupied)
        self.assertRaises(OSError, report.write, [small()], occupied / "below")


class ExamplesTests(SynchronousTestCase):
    """
    Tests for L{tests.results_examples}.
    """

    def test_valid(self) -> None:
        """
        The examples are results files that L{resultsFile.read} accepts.
        """
        path = Path(self.mktemp())
        pipes = results(fivePipes())
        rates = results([*ratedCells(), *sharedCells(), *heldCells()])
        for run in (fourBackends(), twelveBackends(), small(), hostile(), pipes, rates):
            resultsFile.write(run, path)
            self.assertEqual(resultsFile.read(path), run)
