# -*- test-case-name: tests.test_results,tests.test_hostile_results -*-
"""
The border: JSON text from outside becomes a value of L{iodemo.results.schema}, or an
error with the path to the value that is wrong.

Facts. Python reads and writes NaN and Infinity, which are not JSON. msgspec's own
parser reports the byte at which it met one, and not the path.

Decisions. Python's parser reads the text, so that every error has its line or its path.
msgspec then checks types, ranges and names. This module checks what no type expresses:
that a number is finite and not so close to zero that a division overflows, that text
can be printed, and that lists are not nested too deeply for a recursive function.

Costs. Python's parser takes some 50 ms for the file of a full run, and msgspec's 10.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

import msgspec

from iodemo.results.schema import SMALLEST

_T = TypeVar("_T")

# A key that stands in a path without quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]{1,64}")

# How deep lists and objects may be within each other; those of a run are so by seven.
_DEEPEST = 20
_TOO_DEEP = "nested too deeply"


class Malformed(ValueError):
    """The text is not JSON. The message has the line and the reason."""


class Wrong(ValueError):
    """A value within the JSON is not what it must be. The message has its path."""


class _NotFinite:
    """
    A number that no variable of a finite type can hold: NaN, an infinity, or an integer
    with too many digits. It is kept until its path is known.
    """

    def __init__(self, text: str) -> None:
        self.text = text


def loaded(text: str) -> Any:
    """
    Parse JSON into dicts, lists and finite numbers.

    @raise Malformed: if the text is not JSON.
    @raise Wrong: if it holds what no file of iodemo's holds.
    """
    try:
        value = json.loads(
            text, parse_constant=_NotFinite, parse_float=_float, parse_int=_int
        )
    except RecursionError as error:
        raise Wrong(_TOO_DEEP) from error
    except json.JSONDecodeError as error:
        raise Malformed(_notJSON(error)) from error
    _checkLeaves(value, "$", _DEEPEST)
    return value


def converted(value: Any, shape: type[_T]) -> _T:
    """
    Check what L{loaded} returned. Keys that the shape does not have are left out.

    @param shape: a class of L{iodemo.results.schema}.
    @raise Wrong: if a value is of another shape.
    """
    try:
        found = msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise Wrong(printable(str(error))) from error
    except UnicodeEncodeError as error:
        raise Wrong("Expected text, got half of a surrogate pair") from error
    _checkKnown(found, "$")
    return found


def decoded(text: str, shape: type[_T]) -> _T:
    """
    Parse JSON and check it.

    @raise Malformed: if the text is not JSON.
    @raise Wrong: if a value is of another shape.
    """
    return converted(loaded(text), shape)


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
    The reason why a text is not JSON, with its place.
    """
    where = f"line {error.lineno:,}, column {error.colno:,}"
    found = error.doc[error.pos : error.pos + 1]
    # Within a text; one that is cut off there has another message.
    if error.msg.startswith("Invalid control character"):
        return (
            f"not JSON: there is a control character ({found!a}) within a text at "
            f"{where}, where JSON has it escaped"
        )
    return (
        f"not a whole JSON file ({error.msg}: {where}): cut off, changed by hand, or "
        "not a results file"
    )


def printable(message: str) -> str:
    """
    Make one short line of a message that may quote a value of a file.
    """
    line = "".join(c if c.isprintable() else "?" for c in message)
    return line if len(line) <= 300 else f"{line[:297]}..."


def _shown(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def _checkLeaves(value: Any, where: str, deeper: int) -> None:
    """
    Check every value, those of unknown keys too.

    @param deeper: how much deeper they may be nested.
    """
    if isinstance(value, _NotFinite):
        raise Wrong(f"Expected a finite number, got {value.text[:37]} - at `{where}`")
    if isinstance(value, dict | list):
        if not deeper:
            raise Wrong(_TOO_DEEP)
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            if isinstance(inner, dict | list | _NotFinite):
                _checkLeaves(inner, _path(where, key), deeper - 1)


def _path(where: str, key: int | str) -> str:
    if isinstance(key, int):
        return f"{where}[{key}]"
    return f"{where}.{key}" if _PLAIN.fullmatch(key) else f"{where}[{_shown(key)}]"


def _checkKnown(value: object, where: str) -> None:
    """
    Check the numbers and texts that are used.
    """
    if isinstance(value, float):
        if 0 < value < SMALLEST:
            raise Wrong(
                f"Expected 0 or a number >= {SMALLEST:g}, got {value:g} - at `{where}`"
            )
    elif isinstance(value, str):
        if not value.isprintable() and not value.replace("\n", "").isprintable():
            raise Wrong(f"Expected printable text, got {_shown(value)} - at `{where}`")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _checkKnown(inner, _path(where, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _checkKnown(inner, _path(where, index))
    elif isinstance(value, msgspec.Struct):
        _checkKnown(msgspec.structs.asdict(value), where)
