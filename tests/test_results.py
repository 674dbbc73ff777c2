"""
Tests for L{iodemo.results.file}.
"""

from __future__ import annotations

import copy
import fcntl
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from iodemo.results import file
from iodemo.results.schema import PARAMETERS, Point
from tests.results_examples import (
    controlled,
    failedCell,
    jsonOf,
    okCell,
    parameters,
    pipesCell,
)
from tests.results_examples import results as example


class PointTests(SynchronousTestCase):
    """
    Tests for L{Point}.
    """

    def test_rows(self) -> None:
        """
        Each parameter has a row, in the order of the fields.
        """
        self.assertEqual(list(PARAMETERS), list(Point.__struct_fields__))


class ResultsFileTests(SynchronousTestCase):
    """
    Tests for L{file.read} and L{file.write}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.path /= file.FILE_NAME
        asked = parameters(10, 100)
        calls = {"recvfrom": 1.0, "other": 2.0}
        self.example = controlled(
            example(
                [
                    okCell("idle", "epoll", asked, 40_000, calls=calls),
                    okCell("idle", "poll", asked, 30_000),
                    failedCell("idle", "select", asked),
                    pipesCell("epoll", 1, 10, 0.8),
                ]
            ),
            1.02,
        )
        del self.example["noise"][1:]
        (one, *_) = self.example["cells"]
        located = {key: one[key] for key in ("scenario", "service", "parameters")}
        added: Any = {
            "plan": {
                "backends": ["epoll"],
                "baseline": "epoll",
                "controlled": True,
                "rounds": 3,
                "seconds": 0.5,
                "warmup": 0.5,
                "points": [{**located, "command": ["iodemo-echo"], "kind": "echo"}],
            },
            "unfinished": [
                {
                    **located,
                    "backend": "epoll",
                    "control": True,
                    "rounds": one["rounds"][:1],
                }
            ],
            "resumed": ["2026-11-24T10:00:00Z"],
        }
        self.example.update(added)

    def refused(self, text: str | bytes) -> str:
        """
        A file of C{text} is refused in one line that names it.
        """
        if isinstance(text, str):
            text = text.encode()
        self.path.write_bytes(text)
        error = str(self.assertRaises(file.ResultsError, file.read, self.path))
        self.assertTrue(error.startswith(f"{self.path}: "), error)
        self.assertTrue(error.isprintable(), repr(error))
        return error

    def test_roundTrip(self) -> None:
        """
        A file that was written can be read, by its name or by its directory's, by any
        user.
        """
        file.write(self.example, self.path)
        self.assertEqual(file.read(self.path), self.example)
        self.assertEqual(file.read(self.path.parent), self.example)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o644)
        self.assertEqual(os.listdir(self.path.parent), [file.FILE_NAME])

    def test_failedWrite(self) -> None:
        """
        A write that fails leaves the old file, and nothing beside it.
        """
        file.write(self.example, self.path)
        broken = copy.deepcopy(self.example)
        broken["cells"][0]["rounds"][0]["throughput"] = float("nan")
        self.assertRaises(ValueError, file.write, broken, self.path)
        self.assertEqual(file.read(self.path), self.example)
        self.assertEqual(os.listdir(self.path.parent), [file.FILE_NAME])

    def test_missing(self) -> None:
        """
        No file, no results.
        """
        error = self.assertRaises(file.ResultsError, file.read, self.path)
        self.assertIn("No such file", str(error))

    def test_truncated(self) -> None:
        """
        A file cut off anywhere is refused.
        """
        text = jsonOf(self.example)
        for length in range(0, len(text), 211):
            self.assertIn("not a whole JSON file", self.refused(text[:length]))

    def test_notResults(self) -> None:
        """
        Other files are refused for what they are.
        """
        for text, reason in (
            ("[]", "its format is not 'iodemo-results'"),
            ('{"format": "pyperf", "version": "1.0"}', "its format is not"),
            ('{"format": "iodemo-results"}', "version None"),
            ('{"format": "iodemo-results", "version": 2}', "reads version 1"),
            (b"\xff\xfe", "not UTF-8"),
            ("[" * 100_000, "nested too deeply"),
            ('{"cells": ' + "[" * 100_000, "nested too deeply"),
            ('{"format": NaN}', "Expected a finite number, got NaN - at `$.format`"),
        ):
            self.assertIn(reason, self.refused(text))

    def test_hostile(self) -> None:
        """
        With anything in the place of any one value, the file is read or refused in one
        line, and text that is no name never passes as one.
        """
        hostile: list[Any] = [
            *(None, True, -1, 1e999, 10**400, "", [], {}, [[]], {"x": 1}),
            *("<script>alert(1)</script>", "\x1b[2J", "a\x00b", "\ud800", "x" * 10_000),
        ]
        tried = 0
        for keys in _places(msgspec.to_builtins(self.example)):
            for value in hostile:
                changed: Any = msgspec.to_builtins(self.example)
                inner = changed
                for key in keys[:-1]:
                    inner = inner[key]
                inner[keys[-1]] = value
                self.path.write_text(jsonOf(changed))
                tried += 1
                try:
                    read = file.read(self.path)
                except file.ResultsError as error:
                    self.assertTrue(str(error).isprintable(), repr(str(error)))
                else:
                    for cell in read["cells"]:
                        self.assertRegex(cell["backend"], r"\A[\w.+-]+\Z")
                        self.assertRegex(cell["scenario"], r"\A[\w.+-]+\Z")
                    self.assertNotIn("\x1b", msgspec.json.encode(read).decode())
        self.assertGreater(tried, 1000)

    def test_deep(self) -> None:
        """
        A value that is nested deeper than a run is refused, in an unknown key too,
        whichever part of Python would be the first to fail.
        """
        for key in ("cells", "of another version"):
            for depth in (30, *range(850, 1050, 7), 100_000):
                text = jsonOf({**self.example, key: "DEEP"})
                deep = "[" * depth + "]" * depth
                self.assertIn(
                    "nested too deeply", self.refused(text.replace('"DEEP"', deep))
                )

    def test_beyond(self) -> None:
        """
        Numbers that no machine gives, with which arithmetic would fail, are refused, in
        an unknown key too if they are no numbers.
        """
        changed = copy.deepcopy(self.example)
        for number in (5e-324, 1e-31, 1e19, 1e308, -1.0, 2**63):
            changed["cells"][0]["rounds"][0]["throughput"] = number
            self.assertIn(
                "at `$.cells[0].rounds[0].throughput`", self.refused(jsonOf(changed))
            )
        for number in (0, 1e-30, 1e18, 2**63 - 1024):
            changed["cells"][0]["rounds"][0]["throughput"] = number
            self.path.write_text(jsonOf(changed))
            file.read(self.path)
        text = jsonOf({**self.example, "of another version": [{"x": "NUMBER"}]})
        for said in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000):
            self.assertIn(
                f"a finite number, got {said[:37]} - at `$['of another version'][0].x`",
                self.refused(text.replace('"NUMBER"', said)),
            )

    def test_controlCharacters(self) -> None:
        """
        A control character within a text is named, with its place, whether it is
        escaped or not.
        """
        changed = copy.deepcopy(self.example)
        changed["environment"]["cpu"] = "A\x1bB"
        text = jsonOf(changed)
        self.assertIn(
            "Expected printable text, got 'A\\x1bB' - at `$.environment.cpu`",
            self.refused(text),
        )
        lines = text.partition("\\u001b")[0].split("\n")
        for found, said in (("\x1b", r"'\x1b'"), ("\n", r"'\n'"), ("\0", r"'\x00'")):
            self.assertIn(
                f"not JSON: there is a control character ({said}) within a text at "
                f"line {len(lines)}, column {len(lines[-1]) + 1}",
                self.refused(text.replace("\\u001b", found)),
            )

    def test_intervals(self) -> None:
        """
        A number beside its interval lies in it, and no ratio of throughputs is 0.
        """
        for key, low, middle, high in (
            ("comparisons", 0, 0, 0),
            ("comparisons", 0, 1, 2),
            ("comparisons", 1, 0, 2),
            ("noise", 0, 0, 0),
            ("noise", 0.9, 0, 1.1),
            ("noise", 0.9, 1.2, 1.1),
        ):
            changed: Any = copy.deepcopy(self.example)
            of = changed[key][0]
            of["low"], of["ratio"], of["high"] = low, middle, high
            of["metric"] = "throughput"
            self.assertIn(f"$.{key}[0].", self.refused(jsonOf(changed)))
        # Another metric may be 0: a server may have used too little CPU time to count.
        of["low"], of["ratio"], of["high"] = 0, 0, 1.1
        of["metric"] = "server_user_us_per_request"
        self.path.write_text(jsonOf(changed))
        file.read(self.path)
        changed = copy.deepcopy(self.example)
        changed["cells"][0]["summary"]["throughput"]["median"] = 0
        self.assertIn("summary.throughput.median is 0", self.refused(jsonOf(changed)))

    def test_twice(self) -> None:
        """
        A backend is there once at each point, in what was measured and in what was
        measured again.
        """
        for key in ("cells", "controls"):
            changed: Any = copy.deepcopy(self.example)
            changed[key].append(copy.deepcopy(changed[key][0]))
            last = len(changed[key]) - 1
            self.assertIn(
                f"$.{key}[{last}] is of the same backend at the same point as "
                f"$.{key}[0]",
                self.refused(jsonOf(changed)),
            )

    def test_many(self) -> None:
        """
        More backends than a figure can show, and more rounds than iodemo compare makes,
        are refused.
        """
        changed = copy.deepcopy(self.example)
        cell = changed["cells"][1]
        changed["cells"] += [{**cell, "backend": f"b{n}"} for n in range(100)]
        self.assertIn("has 103 backends", self.refused(jsonOf(changed)))
        changed = copy.deepcopy(self.example)
        changed["cells"][0]["rounds"] *= 400
        self.assertIn(
            "`array` of length <= 1000 - at `$.cells[0].rounds`",
            self.refused(jsonOf(changed)),
        )

    def test_noFile(self) -> None:
        """
        A directory whose results are no file is refused, and not waited for.
        """
        os.mkfifo(self.path)
        error = self.assertRaises(file.ResultsError, file.read, self.path.parent)
        self.assertIn("not a regular file", str(error))

    def test_size(self) -> None:
        """
        A file that is larger than any run is refused, before it is read if its size is
        known, and so is a device.
        """
        with self.path.open("wb") as huge:
            huge.truncate(6 << 30)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for path in (self.path, self.path.parent):
            error = self.assertRaises(file.ResultsError, file.read, path)
            self.assertIn("larger than 256 MiB", str(error))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertLess(after - before, 64 << 10)  # KiB
        for device in ("/dev/zero", "/dev/null"):
            error = self.assertRaises(file.ResultsError, file.read, Path(device))
            self.assertIn("not a regular file", str(error))

    def test_pipe(self) -> None:
        """
        A pipe that the command line names is read to its end, or to the bound.
        """
        text = jsonOf(self.example).encode()
        for length, reason in ((0, ""), (1, "larger than")):
            self.patch(file, "_LARGEST_FILE", len(text) - length)
            reading, writing = os.pipe()
            with open(reading, "rb"):
                with open(writing, "wb") as pipe:
                    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, len(text))
                    pipe.write(text)
                path = Path(f"/dev/fd/{reading}")
                if reason:
                    error = self.assertRaises(file.ResultsError, file.read, path)
                    self.assertIn(reason, str(error))
                else:
                    self.assertEqual(file.read(path), self.example)

    def test_missingKeys(self) -> None:
        """
        A value that is not there is named with its place.
        """
        del self.example["cells"][1]["rounds"][2]["latency_us"]["p99"]  # type: ignore[misc]
        self.assertIn(
            "missing required field `p99` - at `$.cells[1].rounds[2].latency_us`",
            self.refused(jsonOf(self.example)),
        )

    def test_addedKeys(self) -> None:
        """
        Keys that only some rounds have must be right where they are.
        """
        self.example["cells"][3]["rounds"][1]["us_per_call"] = -1
        self.assertIn(
            "Expected `float` >= 0.0 - at `$.cells[3].rounds[1].us_per_call`",
            self.refused(jsonOf(self.example)),
        )

    def test_okNeedsNumbers(self) -> None:
        """
        A cell is not ok without rounds, and not failed without a reason.
        """
        changed = copy.deepcopy(self.example)
        changed["cells"][0]["rounds"] = []
        self.assertIn("has no rounds", self.refused(jsonOf(changed)))
        changed = copy.deepcopy(self.example)
        changed["cells"][2]["reason"] = None
        self.assertIn("gives no reason", self.refused(jsonOf(changed)))

    def test_older(self) -> None:
        """
        A file from before there were controls is no mistake.
        """
        for key in ("controls", "noise", "plan", "unfinished", "resumed"):
            del self.example[key]  # type: ignore[misc]
        file.write(self.example, self.path)
        self.assertEqual(file.read(self.path), self.example)

    def test_calls(self) -> None:
        """
        System calls have names that are some, and numbers or a reason.
        """
        changed: Any = copy.deepcopy(self.example)
        changed["cells"][1]["syscalls_reason"] = "perf is not here"
        self.path.write_text(jsonOf(changed))
        self.assertEqual(file.read(self.path), changed)
        for key, value, reason in (
            ("syscalls_by_name", {"recv": -1}, "`$.cells[1].syscalls_by_name[...]`"),
            ("syscalls_by_name", {"<b>": 1}, "at `key` in `$.cells[1].syscalls_by_"),
            ("syscalls_by_name", [], "Expected `object`, got `array`"),
            ("syscalls_reason", "\x1b", "Expected printable text"),
        ):
            changed["cells"][1][key] = value
            self.assertIn(reason, self.refused(jsonOf(changed)))
            del changed["cells"][1][key]

    def test_keysMayBeAdded(self) -> None:
        """
        A later minor version's keys are no mistake, and are left out.
        """
        changed: Any = copy.deepcopy(self.example)
        changed["cells"][0]["colour"] = "blue"
        self.path.write_text(jsonOf(changed))
        self.assertEqual(file.read(self.path), self.example)

    def test_laterParameter(self) -> None:
        """
        A parameter that a file does not have is at its default: arrivals were random
        before they could be chosen.
        """
        changed: Any = msgspec.to_builtins(self.example)
        for cell in changed["cells"]:
            del cell["parameters"]["arrivals"]
        self.path.write_text(jsonOf(changed))
        self.assertEqual(file.read(self.path), self.example)

    def test_renamed(self) -> None:
        """
        The scenario that version 0.1 called C{pipes} is read by its new name, wherever
        it is named.
        """
        older = jsonOf(self.example).replace('"multiplexer"', '"pipes"')
        self.path.write_text(older)
        self.assertEqual(file.read(self.path), self.example)


def _places(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """
    The way to every value inside C{value}.
    """
    if keys:
        yield keys
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield from _places(inner, (*keys, key))
