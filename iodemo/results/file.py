# -*- test-case-name: tests.test_results,tests.test_hostile_results -*-
"""
Reading and writing C{results.json}.

Facts. A file may be a device or a FIFO, of any size, and of any content.

Decisions. L{read} checks every value it lets through, so the rest of iodemo may trust
what it returns. Names match a pattern, and other text may hold any printable
characters: the code that shows text escapes it. L{write} decodes what it has encoded,
so a value of a wrong type is refused before it is in a file.

Costs. A file is decoded whole: a full run has about five million bytes, which take some
tens of milliseconds.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from iodemo.results.decoding import Malformed, Wrong, converted, loaded
from iodemo.results.schema import FORMAT, VERSION, Cell, Located, Results, placeOf
from iodemo.writing import writeFile

FILE_NAME = "results.json"

# In bytes. A full run has about five million.
_LARGEST_FILE = 256 << 20

# A figure has a row for each backend, and must not become higher than an image can be.
_MOST_BACKENDS = 100

# By how much a number that was computed may be off, as a fraction of it.
_ROUNDED = 1e-9

# New names of scenarios, by the names in older files.
_RENAMED = {"pipes": "multiplexer"}


class ResultsError(Exception):
    """
    A results file cannot be used. The message is one line for a person: which
    file, where in it, and what is wrong.
    """


def write(results: Results, path: Path) -> None:
    """
    Write C{results} so that C{path} is, at every moment, absent or whole.

    @raise ValueError: if a value has not the type that the schema gives it.
    @raise OSError: as L{writeFile}.
    """
    text = msgspec.json.encode(results)
    msgspec.json.decode(text, type=Results)
    writeFile(path, msgspec.json.format(text, indent=1) + b"\n")


def read(path: Path) -> Results:
    """
    Read a results file, or the one in a directory.

    @raise ResultsError: if there is none, or it is not one this version can use.
    """
    directory = path.is_dir()
    if directory:
        path = path / FILE_NAME
    content = readContent(path, pipes=not directory)
    try:
        value = loaded(content.decode())
        _checkHead(value)
        results = converted(value, Results)
        for located in _located(results):
            scenario = located["scenario"]
            located["scenario"] = _RENAMED.get(scenario, scenario)
        _checkCells(results)
        _checkComparisons(results)
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: not a results file: not UTF-8 text") from error
    except (Malformed, Wrong) as error:
        raise ResultsError(f"{path}: {error}") from error
    return results


def readContent(path: Path, pipes: bool = False) -> bytes:
    """
    Read a file that may be anything, and of any size.

    @param pipes: whether it may be a pipe. The command line may name one. A directory,
        which may come from anywhere, must not make iodemo wait for one.
    @raise ResultsError: if it cannot be read.
    """
    try:
        # Before it is opened: opening a FIFO waits, and a device may act on it.
        found = path.stat()
        isPipe = pipes and stat.S_ISFIFO(found.st_mode)
        if not stat.S_ISREG(found.st_mode) and not isPipe:
            raise ResultsError(f"{path}: not a results file: not a regular file")
        content = b""
        if found.st_size <= _LARGEST_FILE:
            with path.open("rb") as file:
                # The size of a pipe, or of a file in /proc, is not known before its
                # end.
                content = file.read(_LARGEST_FILE + 1)
        if max(found.st_size, len(content)) > _LARGEST_FILE:
            raise ResultsError(
                f"{path}: not a results file: larger than {_LARGEST_FILE >> 20} MiB"
            )
        return content
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    except MemoryError as error:
        raise ResultsError(f"{path}: not a results file: too large") from error


def _checkHead(head: Any) -> None:
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise Wrong(f"not a results file: its format is not {FORMAT!r}")
    version = head.get("version")
    if type(version) is not int or version != VERSION:
        shown = ascii(version)[:40]
        raise Wrong(
            f"version {shown} of the format; this iodemo reads version {VERSION}"
        )


def _located(results: Results) -> Iterator[Located]:
    """
    Everything in a file that names a scenario.
    """
    yield from results["cells"]
    yield from results.get("controls", [])
    yield from results["comparisons"]
    yield from results.get("noise", [])
    yield from results.get("unfinished", [])
    if "plan" in results:
        yield from results["plan"]["points"]


def _checkCells(results: Results) -> None:
    """
    Check that the cells are those of one run, and have what their status promises.
    """
    measured = [*results["cells"], *results.get("unfinished", [])]
    backends = {each["backend"] for each in measured}
    if "plan" in results:
        backends.update(results["plan"]["backends"])
    if len(backends) > _MOST_BACKENDS:
        raise Wrong(
            f"the file has {len(backends):,} backends, expected at most "
            f"{_MOST_BACKENDS}"
        )
    for key, cells in (
        ("cells", results["cells"]),
        ("controls", results.get("controls", [])),
    ):
        seen: dict[tuple[object, ...], int] = {}
        for index, cell in enumerate(cells):
            _checkStatus(cell, f"$.{key}[{index}]")
            for metric, interval in cell["summary"].items():
                median = interval["median"]
                within = f"$.{key}[{index}].summary.{metric}.median"
                _checkWithin(interval["low"], median, interval["high"], within)
            where = (placeOf(cell), cell["service"], cell["backend"])
            first = seen.setdefault(where, index)
            if first != index:
                raise Wrong(
                    f"$.{key}[{index}] is of the same backend at the same point as "
                    f"$.{key}[{first}]"
                )


def _checkComparisons(results: Results) -> None:
    """
    Check that ratios lie in their intervals, and can be divided by.
    """
    for key, comparisons in (
        ("comparisons", results["comparisons"]),
        ("noise", results.get("noise", [])),
    ):
        for index, each in enumerate(comparisons):
            where = f"$.{key}[{index}]"
            _checkWithin(each["low"], each["ratio"], each["high"], f"{where}.ratio")
            # A backend that answered nothing has no ratio.
            if each["metric"] == "throughput" and not each["low"]:
                raise Wrong(
                    f"{where}.low is 0, expected a ratio of throughputs above 0"
                )


def _checkWithin(low: float, middle: float, high: float, where: str) -> None:
    if not low * (1 - _ROUNDED) <= middle <= high * (1 + _ROUNDED):
        raise Wrong(
            f"{where} is {middle:g}, expected one from {low:g} to {high:g}, as low and "
            "high are"
        )


def _checkStatus(cell: Cell, where: str) -> None:
    if cell["status"] != "ok":
        if not cell["reason"]:
            raise Wrong(f"{where} is {cell['status']}, but gives no reason")
    elif not cell["rounds"]:
        raise Wrong(f"{where} is ok, but has no rounds")
    elif "throughput" not in cell["summary"]:
        raise Wrong(f"{where} is ok, but has no throughput in its summary")
