# -*- test-case-name: tests.test_results -*-
"""
The results file: its shape, and reading and writing it.

A run is one JSON object (format C{iodemo-results}, version 1). The
C{TypedDict}s below are its documentation: names of units are in the keys, keys
may be added, and none is renamed or dropped without a new version.

A file comes from outside: from another machine, another version, a half-written
disk or somebody who means ill. L{read} therefore checks every value it lets
through, and the rest of iodemo may trust what it returns. Names must look like
names; free text may hold any printable characters, which whoever shows it
escapes.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from iodemo.load.round import Counted, Latency, Round
from iodemo.writing import writeFile

FORMAT = "iodemo-results"
VERSION = 1
FILE_NAME = "results.json"

Status = Literal["ok", "failed", "skipped"]
Verdict = Literal["faster", "slower", "indistinguishable"]


class Limits(TypedDict, total=False):
    """Kernel and process limits in force; C{None} where unknown."""

    nofile_soft: int | None  # open files a process (RLIMIT_NOFILE); None: no limit
    nofile_hard: int | None
    somaxconn: int | None  # the longest queue of connections to accept
    ephemeral_ports: str | None  # from which to which a client is given one


class Pinning(TypedDict):
    """The core each process was pinned to."""

    server: int
    load: int


class Environment(TypedDict):
    """The machine, the versions, and the command that made the file."""

    kernel: str  # its name and release
    architecture: str  # as of uname -m
    cpu: str  # its model
    cores: int  # of the machine
    memory_kib: int
    virtualized: bool  # whether a hypervisor is known to be below
    python: str  # which and its version
    twisted: str
    iodemo: str
    limits: Limits
    pinning: Pinning | None  # None where nothing could be pinned
    steal_fraction: float | None  # CPU time the hypervisor took during the run
    date: str  # UTC, ISO 8601, when the run began
    command: str  # the command line that made the file


class AddedParameters(TypedDict, total=False):
    """
    What was not asked yet when older files were written. Where one of them is not
    there, it is nothing.
    """

    churn: bool  # a connection for each request; "active" of them at a time
    stalled: int  # further connections, which ask and read no answer
    share: float  # a rate, as one of the throughput in a closed loop


class Parameters(AddedParameters):
    """
    What was asked of the server in one cell. In the scenario C{pipes}, for a
    connection read a pipe: C{active} of them are ready at a time.
    """

    active: int  # connections with one request in flight each
    idle: int  # further connections, open and silent
    payload: int  # bytes of a request's payload
    rate: float | None  # requests due a second; None is a closed loop
    tls: bool  # whether over TLS


class Located(TypedDict):
    """What belongs to one point of one scenario."""

    scenario: str
    parameters: Parameters


class Placed(Located):
    """The same, with the service, of which a run has one in each scenario."""

    service: str


class Interval(TypedDict):
    """The median over rounds and its 95 % bootstrap interval."""

    median: float
    low: float  # where the interval begins
    high: float  # where it ends


class Cell(Placed, Counted):
    """
    One backend at one point of one scenario. System calls are counted once, after its
    last round.
    """

    backend: str
    status: Status
    reason: str | None  # why there is no number; None when there is
    load_limited: bool  # the load was the limit: the number is a lower bound
    rounds: list[Round]
    summary: dict[str, Interval]  # by metric, "latency_us.p99" for nested ones


class Comparison(Located):
    """One backend against the baseline, in one metric at one point."""

    metric: str  # as in a summary
    baseline: str
    backend: str
    ratio: float  # backend / baseline
    low: float  # where its 95 % interval begins
    high: float  # where it ends
    verdict: Verdict  # "faster" is better: more throughput, or less of another metric


class PlannedPoint(Placed):
    """One point of one scenario, with what is hosted and what is asked of it."""

    command: list[str]  # as after twistd -n, with {endpoint} or {port}; of pipes, []
    kind: str  # as in iodemo load --kind, or "pipes"


class Planned(TypedDict):
    """What a run was to measure."""

    backends: list[str]
    baseline: str  # which of them the others are compared with
    controlled: bool  # whether the baseline was to be measured twice
    rounds: int  # of each cell
    seconds: float  # length of a round's measured window
    warmup: float  # seconds of load before it
    points: list[PlannedPoint]


class Unfinished(Placed):
    """Rounds of a cell that does not have all of them yet."""

    backend: str
    control: bool  # whether they are of the second measurement of the baseline
    rounds: list[Round]


class Additions(TypedDict, total=False):
    """
    What files of version 0.1 do not have.

    The controls are the baseline, measured a second time at each point as if it were
    another backend.
    """

    plan: Planned
    controls: list[Cell]
    noise: list[Comparison]  # controls against the baseline, in every metric
    unfinished: list[Unfinished]  # to go on from, if the run was interrupted
    resumed: list[str]  # UTC, ISO 8601, when it went on, each time


class Results(Additions):
    """A whole run."""

    format: str
    version: int
    complete: bool  # False while the run goes on, and if it was interrupted
    environment: Environment
    cells: list[Cell]
    comparisons: list[Comparison]


class ResultsError(Exception):
    """
    A results file cannot be used. The message is one line for a person: which
    file, where in it, and what is wrong.
    """


def placeOf(located: Located) -> str:
    """
    What is the same of all that belongs to one point, in any run. A parameter that an
    older version did not have yet is the same as one that is nothing.
    """
    asked = {name: value for name, value in located["parameters"].items() if value}
    return json.dumps([located["scenario"], asked], sort_keys=True)


def write(results: Results, path: Path) -> None:
    """
    Write C{results} so that C{path} is, at every moment, absent or whole.

    @raise OSError: as L{writeFile}.
    """
    text = json.dumps(results, indent=1, allow_nan=False)
    writeFile(path, f"{text}\n".encode())


def read(path: Path) -> Results:
    """
    Read a results file, or the one in a directory.

    @raise ResultsError: if there is none, or it is not one this version can use.
    """
    try:
        directory = path.is_dir()
        if directory:
            path = path / FILE_NAME
        text = _bounded(path, pipes=not directory).decode()
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    except MemoryError as error:
        raise ResultsError(f"{path}: not a results file: too large") from error
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: not a results file: not UTF-8 text") from error
    try:
        value = json.loads(
            text, parse_constant=_NotFinite, parse_float=_float, parse_int=_int
        )
    except RecursionError as error:
        raise ResultsError(f"{path}: {_TOO_DEEP}") from error
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path}: {_notJSON(error)}") from error
    try:
        _checkDepth(value)
        _checkFinite(value, "the file")
        _checkHead(value)
        _results(value, "the file")
        _checkCells(value)
    except _Wrong as wrong:
        raise ResultsError(f"{path}: {wrong}") from wrong
    return cast(Results, value)


def _bounded(path: Path, pipes: bool) -> bytes:
    """
    Read a file that may be anything, and of any size.

    @param pipes: whether it may be a pipe. The command line may name one. In a
        directory, which may come from anywhere, there is none to wait for.
    """
    # Before it is opened: to open a FIFO is to wait, and a device may act on it.
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or (pipes and stat.S_ISFIFO(found.st_mode))):
        raise ResultsError(f"{path}: not a results file: not a regular file")
    content = b""
    if found.st_size <= _LARGEST_FILE:
        with path.open("rb") as file:
            # Of a pipe, and of a file in /proc, no size is known before the end.
            content = file.read(_LARGEST_FILE + 1)
    if max(found.st_size, len(content)) > _LARGEST_FILE:
        raise ResultsError(
            f"{path}: not a results file: larger than {_LARGEST_FILE >> 20} MiB"
        )
    return content


class _Wrong(Exception):
    """What is wrong with a value, and where it is."""


_Check = Callable[[Any, str], None]

# In bytes. A full run has about five million.
_LARGEST_FILE = 256 << 20

_LONGEST = 10_000

# No machine gives a number beyond these, but for zero. Between them the arithmetic of a
# report neither overflows nor divides by what was rounded to zero.
_SMALLEST = 1e-30
_LARGEST = 2**63 - 1

# By how much a number that was computed may be off, as a fraction of it.
_ROUNDED = 1e-9

# As many as iodemo compare makes. The intervals of millions would take all memory.
_MOST_ROUNDS = 1000

# A figure has a row for each, and becomes higher than an image can be.
_MOST_BACKENDS = 100

# How deep lists and objects may be within each other; those of a run are so by seven.
_DEEPEST = 20
_TOO_DEEP = "not a results file: nested too deeply"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


class _NotFinite:
    """
    What stands for a number and is none that Python can have: NaN, an infinity, or too
    many digits. It is kept until it is known where it is.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _float(text: str) -> float | _NotFinite:
    number = float(text)
    return _NotFinite(text) if math.isinf(number) else number


def _int(text: str) -> int | _NotFinite:
    try:
        return int(text)
    except ValueError:
        # It has more digits than Python reads.
        return _NotFinite(text)


def _notJSON(error: json.JSONDecodeError) -> str:
    """
    What is wrong with a text that is not JSON, and where.
    """
    where = f"line {error.lineno:,}, column {error.colno:,}"
    found = error.doc[error.pos : error.pos + 1]
    # Within a text; what is cut off there has another message.
    if error.msg.startswith("Invalid control character"):
        return (
            f"not JSON: there is a control character ({found!a}) within a text at "
            f"{where}, where JSON has it escaped"
        )
    return (
        f"not a whole JSON file ({error.msg}: {where}): cut off, changed by hand, or "
        "not a results file"
    )


def _checkFinite(value: Any, where: str) -> None:
    """
    See that every number within, those of unknown keys too, is one.
    """
    if isinstance(value, _NotFinite):
        raise _Wrong(f"{where} is {_show(value)}, expected a finite number")
    if isinstance(value, dict):
        for key, inner in value.items():
            named = f".{key}" if _NAME.fullmatch(key) else f"[{_show(key)}]"
            _checkFinite(inner, where + named)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _checkFinite(inner, f"{where}[{index}]")


def _checkDepth(value: Any) -> None:
    """
    See that no value within, those of unknown keys too, is nested deeper than functions
    that call themselves can follow.
    """
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise _Wrong(_TOO_DEEP)


def _checkHead(value: Any) -> None:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _Wrong(f"not a results file: its format is not {FORMAT!r}")
    if type(value.get("version")) is not int or value["version"] != VERSION:
        raise _Wrong(
            f"version {_show(value.get('version'))} of the format; "
            f"this iodemo reads version {VERSION}"
        )


def _checkCells(value: Any) -> None:
    """
    See that the cells are those of one run.
    """
    backends = {cell["backend"] for cell in value["cells"]}
    if len(backends) > _MOST_BACKENDS:
        raise _Wrong(
            f"the file has {len(backends):,} backends, expected at most "
            f"{_MOST_BACKENDS}"
        )
    for key in ("cells", "controls"):
        there: dict[tuple[str, str, str], int] = {}
        for index, cell in enumerate(value.get(key, [])):
            where = (placeOf(cell), cell["service"], cell["backend"])
            first = there.setdefault(where, index)
            if first != index:
                raise _Wrong(
                    f"the file.{key}[{index}] is of the same backend at the same point "
                    f"as {key}[{first}]"
                )


def _show(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _expect(what: str, good: Callable[[Any], bool]) -> _Check:
    def check(value: Any, where: str) -> None:
        if not good(value):
            raise _Wrong(f"{where} is {_show(value)}, expected {what}")

    return check


def _isNumber(value: Any) -> bool:
    # bool is an int to isinstance.
    return type(value) in (int, float) and (
        value == 0 or _SMALLEST <= value <= _LARGEST
    )


def _isText(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= _LONGEST
        and all(c.isprintable() or c == "\n" for c in value)
    )


def _list(check: _Check, most: int | None = None) -> _Check:
    def checkList(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise _Wrong(f"{where} is {_show(value)}, expected a list")
        if most is not None and len(value) > most:
            raise _Wrong(f"{where} has {len(value):,}, expected at most {most:,}")
        for index, element in enumerate(value):
            check(element, f"{where}[{index}]")

    return checkList


def _object(
    checks: dict[str, _Check], optional: dict[str, _Check] | None = None
) -> _Check:
    def checkObject(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _Wrong(f"{where} is {_show(value)}, expected an object")
        for key, check in checks.items():
            if key not in value:
                raise _Wrong(f"{where} has no {key!r}")
            check(value[key], f"{where}.{key}")
        for key, check in (optional or {}).items():
            if key in value:
                check(value[key], f"{where}.{key}")

    return checkObject


def _byName(check: _Check) -> _Check:
    def checkByName(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _Wrong(f"{where} is {_show(value)}, expected an object")
        for name, element in value.items():
            _name(name, f"a key of {where}")
            check(element, f"{where}.{name}")

    return checkByName


def _orNone(check: _Check) -> _Check:
    def checkUnlessNone(value: Any, where: str) -> None:
        if value is not None:
            check(value, where)

    return checkUnlessNone


def _oneOf(*values: str) -> _Check:
    return _expect(" or ".join(values), lambda value: value in values)


_number = _expect(
    f"a number, 0 or from {_SMALLEST:g} to {float(_LARGEST):.1e}", _isNumber
)
_count = _expect(
    "a whole number, not negative",
    lambda value: type(value) is int and 0 <= value <= _LARGEST,
)
_text = _expect(f"printable text, at most {_LONGEST:,} characters", _isText)
_name = _expect(
    "a name", lambda v: isinstance(v, str) and _NAME.fullmatch(v) is not None
)
_flag = _expect("true or false", lambda v: isinstance(v, bool))

_parameters = _object(
    {
        "active": _count,
        "idle": _count,
        "payload": _count,
        "rate": _orNone(_number),
        "tls": _flag,
    },
    optional={"churn": _flag, "share": _number, "stalled": _count},
)

_latency = _object(dict.fromkeys(Latency.__annotations__, _number))
_counted = {"syscalls_by_name": _byName(_number), "syscalls_reason": _text}
_round = _object(
    {
        "requests": _count,
        "seconds": _number,
        "throughput": _number,
        "latency_us": _latency,
        "server_cpu_us_per_request": _orNone(_number),
        "server_user_s": _orNone(_number),
        "server_system_s": _orNone(_number),
        "server_rss_kib": _orNone(_count),
        "context_switches": _orNone(_count),
        "syscalls_per_request": _orNone(_number),
        "load_cpu_fraction": _number,
    },
    optional={
        **_counted,
        "us_per_call": _number,
        "latency_uncorrected_us": _latency,
        "due": _count,
        "backlog": _count,
        "backlog_before": _count,
        "late": _count,
        "unanswered": _count,
        "unsent": _count,
        "unanswered_oldest_us": _number,
        "reconnects": _count,
        "resent": _count,
        "retransmitted": _count,
        "idle_closed": _count,
        "rate": _number,
        "connections_from_elsewhere": _count,
        "load_busy_fraction": _number,
        "sampled": _count,
        "server_bytes_per_connection": _number,
        "kernel_bytes_per_connection": _number,
        "bytes_per_second": _number,
        "fields_left_out": _list(_text),
        "latency_last_us": _latency,
    },
)


def _within(middle: str, check: _Check) -> _Check:
    """
    What C{check} lets through, if its middle lies between its C{low} and C{high}.
    """

    def checkWithin(value: Any, where: str) -> None:
        check(value, where)
        low, high = value["low"] * (1 - _ROUNDED), value["high"] * (1 + _ROUNDED)
        if not low <= value[middle] <= high:
            raise _Wrong(
                f"{where}.{middle} is {_show(value[middle])}, expected one from "
                f"{_show(value['low'])} to {_show(value['high'])}, as low and high are"
            )

    return checkWithin


_interval = _within(
    "median", _object({"median": _number, "low": _number, "high": _number})
)

_placed = {"scenario": _name, "service": _name, "parameters": _parameters}
_cell = _object(
    {
        **_placed,
        "backend": _name,
        "status": _oneOf("ok", "failed", "skipped"),
        "reason": _orNone(_text),
        "load_limited": _flag,
        "rounds": _list(_round, _MOST_ROUNDS),
        "summary": _byName(_interval),
    },
    optional=_counted,
)


def _cellWithItsNumbers(value: Any, where: str) -> None:
    _cell(value, where)
    if value["status"] == "ok" and not value["rounds"]:
        raise _Wrong(f"{where} is ok, but has no rounds")
    if value["status"] == "ok" and "throughput" not in value["summary"]:
        raise _Wrong(f"{where} is ok, but has no throughput in its summary")
    if value["status"] != "ok" and not value["reason"]:
        raise _Wrong(f"{where} is {value['status']}, but gives no reason")


_compared = _object(
    {
        "scenario": _name,
        "parameters": _parameters,
        "metric": _name,
        "baseline": _name,
        "backend": _name,
        "ratio": _number,
        "low": _number,
        "high": _number,
        "verdict": _oneOf("faster", "slower", "indistinguishable"),
    }
)


def _comparison(value: Any, where: str) -> None:
    _within("ratio", _compared)(value, where)
    # A backend that answered nothing has no ratio.
    if value["metric"] == "throughput" and not value["low"]:
        raise _Wrong(f"{where}.low is 0, expected a ratio of throughputs above 0")


_environment = _object(
    {
        "kernel": _text,
        "architecture": _text,
        "cpu": _text,
        "cores": _count,
        "memory_kib": _count,
        "virtualized": _flag,
        "python": _text,
        "twisted": _text,
        "iodemo": _text,
        "limits": _object(
            {
                "nofile_soft": _orNone(_count),
                "nofile_hard": _orNone(_count),
                "somaxconn": _orNone(_count),
                "ephemeral_ports": _orNone(_text),
            }
        ),
        "pinning": _orNone(_object({"server": _count, "load": _count})),
        "steal_fraction": _orNone(_number),
        "date": _text,
        "command": _text,
    }
)
_results = _object(
    {
        "complete": _flag,
        "environment": _environment,
        "cells": _list(_cellWithItsNumbers),
        "comparisons": _list(_comparison),
    },
    optional={
        "plan": _object(
            {
                "backends": _list(_name),
                "baseline": _name,
                "controlled": _flag,
                "rounds": _count,
                "seconds": _number,
                "warmup": _number,
                "points": _list(
                    _object(
                        {**_placed, "command": _list(_text), "kind": _text},
                    )
                ),
            }
        ),
        "controls": _list(_cellWithItsNumbers),
        "noise": _list(_comparison),
        "unfinished": _list(
            _object(
                {
                    **_placed,
                    "backend": _name,
                    "control": _flag,
                    "rounds": _list(_round, _MOST_ROUNDS),
                }
            )
        ),
        "resumed": _list(_text),
    },
)
