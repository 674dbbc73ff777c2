# -*- test-case-name: tests.test_journal -*-
"""
The journal of a run: a file beside C{results.json}, while a comparison runs. It has a
line for each round, except the last one of a cell: that one is written with the cell.

Facts. C{results.json} is written whole, so each time takes longer the more it holds. A
process that SIGKILL ends writes nothing more, and what it has written is in the page
cache.

Decisions. A round is appended to the journal when it ends, as one JSON line, and
C{results.json} is written when a cell ends. The first line names the run, by the time
when it began or went on: the journal of another run that was here is ignored. Each line
says which round of its cell it is, so a round that C{results.json} has too is not taken
twice. The last line may be cut off; it is dropped, and that round is measured again.
From a line on that is wrong (a disk may have lost a part of the file) nothing is read,
since the numbers of the rounds would not follow each other.

Costs. A run that goes on writes C{results.json} and begins a new journal, so between
the two a round is in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from typing_extensions import TypedDict

from iodemo.results import file
from iodemo.results.decoding import Malformed, Wrong, decoded
from iodemo.results.schema import (
    MOST_ROUNDS,
    Count,
    Entry,
    Results,
    Round,
    Text,
    Unfinished,
    placeOf,
)
from iodemo.writing import createFile

FILE_NAME = "journal.jsonl"


class _Head(TypedDict):
    """The first line."""

    format: Literal["iodemo-journal"]
    began: Text  # L{began} of the results


class _Line(Entry):
    """Any other line."""

    number: Count  # how many rounds of the cell were before
    round: Round


class Journal:
    """
    The journal of a run that is being measured.
    """

    def __init__(self, directory: Path, results: Results) -> None:
        """
        Begin the journal, in the place of one that is there.

        @raise OSError: if it cannot be written, here and later.
        """
        self._path = directory / FILE_NAME
        self._stream = createFile(self._path)
        self._append({"format": "iodemo-journal", "began": began(results)})

    def add(self, entry: Entry, number: int, measured: Round) -> None:
        """
        Append a round.

        @param number: how many rounds of its cell ended before it.
        """
        self._append({**entry, "number": number, "round": measured})

    def remove(self) -> None:
        """
        Remove it: everything in it is in the results.
        """
        self._stream.close()
        self._path.unlink(missing_ok=True)

    def _append(self, line: object) -> None:
        try:
            self._stream.write(msgspec.json.encode(line) + b"\n")
            self._stream.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def began(results: Results) -> str:
    """
    When a run began or, if it was interrupted, last went on.
    """
    return [results["environment"]["date"], *results.get("resumed", [])][-1]


def read(path: Path) -> tuple[Results, str | None]:
    """
    Read results, with the rounds that only the journal beside them has.

    @param path: of the results, or of their directory.
    @return: the results, and why the journal was not read to its end; C{None} if it
        was, if there is none, or if the results are complete without it.
    @raise ResultsError: if the results cannot be used.
    """
    results = file.read(path)
    path = (path if path.is_dir() else path.parent) / FILE_NAME
    if results["complete"] or not path.exists():
        return results, None
    try:
        _addLines(results, path)
    except file.ResultsError as error:
        return results, str(error)
    return results, None


def _addLines(results: Results, path: Path) -> None:
    """
    Add the rounds of a journal to the results.

    @raise ResultsError: at the first line that cannot be used. The rounds before it are
        added.
    """
    cells = [(cell, False) for cell in results["cells"]]
    cells += [(cell, True) for cell in results.get("controls", [])]
    finished = {(placeOf(cell), cell["backend"], control) for cell, control in cells}
    unfinished = {
        (placeOf(each), each["backend"], each["control"]): each
        for each in results.get("unfinished", [])
    }
    planned = results["plan"]["backends"] if "plan" in results else []
    for line in _lines(path, began(results)):
        key = (placeOf(line), line["backend"], line["control"])
        if key in finished or line["backend"] not in planned:
            continue
        new: Unfinished = {
            "scenario": line["scenario"],
            "service": line["service"],
            "parameters": line["parameters"],
            "backend": line["backend"],
            "control": line["control"],
            "rounds": [],
        }
        rounds = unfinished.setdefault(key, new)["rounds"]
        if line["number"] == len(rounds) < MOST_ROUNDS:
            rounds.append(line["round"])
        results["unfinished"] = list(unfinished.values())


def _lines(path: Path, run: str) -> Iterator[_Line]:
    """
    The whole lines of a journal, if it is the journal of a run.

    @raise ResultsError: after the lines before the first that is wrong.
    """
    # A text behind the last newline was cut off.
    lines = file.readContent(path).split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode()
            if number > 1:
                yield decoded(text, _Line)
            elif decoded(text, _Head)["began"] != run:
                return
        except (Malformed, Wrong, UnicodeDecodeError) as error:
            raise file.ResultsError(f"{path}: line {number}: {error}") from error
