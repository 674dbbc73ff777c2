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


def read(directory: Path) -> Results:
    """
    Read the results in a directory, with the rounds that only their journal has.

    @raise ResultsError: if one of the two cannot be used.
    """
    results = file.read(directory)
    path = directory / FILE_NAME
    if results["complete"] or not path.exists():
        return results
    cells = [(cell, False) for cell in results["cells"]]
    cells += [(cell, True) for cell in results.get("controls", [])]
    finished = {(placeOf(cell), cell["backend"], control) for cell, control in cells}
    unfinished = {
        (placeOf(each), each["backend"], each["control"]): each
        for each in results.get("unfinished", [])
    }
    for line in _lines(path, began(results)):
        key = (placeOf(line), line["backend"], line["control"])
        if key in finished:
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
        if line["number"] == len(rounds):
            rounds.append(line["round"])
    results["unfinished"] = list(unfinished.values())
    return results


def _lines(path: Path, run: str) -> Iterator[_Line]:
    """
    The whole lines of a journal, if it is the journal of a run.
    """
    # A text behind the last newline was cut off.
    head, *lines = file.readText(path).split("\n")[:-1] or [""]
    try:
        if not head or decoded(head, _Head)["began"] != run:
            return
        for number, line in enumerate(lines, 2):
            try:
                yield decoded(line, _Line)
            except (Malformed, Wrong) as error:
                raise Wrong(f"line {number}: {error}") from error
    except (Malformed, Wrong) as error:
        raise file.ResultsError(f"{path}: not a journal: {error}") from error
