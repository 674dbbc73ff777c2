# -*- test-case-name: tests.test_statements -*-
"""
A file of statements: what they claim, and what has to be measured to decide them.

It is TOML. A statement holds if all of its claims (L{iodemo.results.claims}) do::

    [[statements]]
    text = "Where most connections are idle, poll is slower than epoll."
    claims = ["idle idle=900: poll/epoll <= 0.7", "idle idle=9000: poll/epoll <= 0.3"]

    [points]
    idle = [{active = 10, idle = 900}, {active = 10, idle = 9000}]

C{points} adds to the points of scenarios (L{iodemo.bench.scenarios}), which need not be
listed. The scenario decides C{payload}, C{tls} and C{churn}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import structs

from iodemo.bench.scenarios import (
    PIPES,
    SCENARIOS,
    Scenario,
    UnknownScenario,
    findScenario,
    placed,
)
from iodemo.load.exchanges import OTHER_KINDS
from iodemo.load.profile import HIGHEST_RATE, LOWEST_RATE, MOST_CONNECTIONS
from iodemo.results.claims import Claim, parse
from iodemo.results.decoding import printable
from iodemo.results.schema import Placed, Point

# In bytes. A claim takes about sixty.
_LARGEST_FILE = 1 << 20

# The parameters that a scenario's workload decides, at all of its points.
_DECIDED = ("payload", "tls", "churn")

# The kinds of load that have no requests to be due.
_WITHOUT_RATE = (*OTHER_KINDS, PIPES.kind)


class StatementsError(Exception):
    """
    A file of statements cannot be used. The message is one line: the file, and what is
    wrong in it.
    """


@dataclass(frozen=True)
class Statement:
    """
    @ivar text: in words, for a reader.
    @ivar claims: what it claims, to be decided. There is at least one.
    """

    text: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Statements:
    """
    @ivar statements: in the order of the file. There is at least one.
    @ivar points: by the name of the scenario that they are added to.
    """

    statements: tuple[Statement, ...]
    points: dict[str, tuple[Point, ...]]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """
        The claims of all statements.
        """
        return tuple(claim for each in self.statements for claim in each.claims)

    def backends(self) -> tuple[str, ...]:
        """
        The names of the backends that the claims are about.
        """
        names = [name for claim in self.claims for name in claim.backends]
        return tuple(dict.fromkeys(names))

    def scenarios(self) -> tuple[tuple[Scenario, tuple[Point, ...]], ...]:
        """
        The scenarios and points that the claims are about.
        """
        found: dict[Scenario, dict[Point, None]] = {}
        names = {scenario.name for scenario in SCENARIOS}
        for scenario, point in self._every():
            place = placed(scenario, point)
            if any(claim.applies(place, names) for claim in self.claims):
                # A point that the file and the scenario have is one.
                found.setdefault(scenario, {})[point] = None
        return tuple((scenario, tuple(points)) for scenario, points in found.items())

    def places(self) -> list[Placed]:
        """
        Everything that a claim can be about.
        """
        return [placed(scenario, point) for scenario, point in self._every()]

    def _every(self) -> Iterator[tuple[Scenario, Point]]:
        for scenario in SCENARIOS:
            for point in (*scenario.points, *self.points.get(scenario.name, ())):
                yield scenario, point


class _StatementInFile(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    claims: Annotated[list[str], msgspec.Meta(min_length=1)]


_Connections = Annotated[int, msgspec.Meta(ge=0, le=MOST_CONNECTIONS)]


class _PointInFile(Point, frozen=True, forbid_unknown_fields=True):
    """
    A point that a person wrote: a parameter that is unknown is misspelt. In results it
    would be one that a later version added. Numbers are in the range that the load
    accepts.
    """

    active: Annotated[int, msgspec.Meta(ge=1, le=MOST_CONNECTIONS)]
    idle: _Connections = 0
    stalled: _Connections = 0
    rate: Annotated[float, msgspec.Meta(ge=LOWEST_RATE, le=HIGHEST_RATE)] | None = None
    share: Annotated[float, msgspec.Meta(gt=0, le=1000)] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    statements: Annotated[list[_StatementInFile], msgspec.Meta(min_length=1)]
    # Points are checked one by one, so that an error can name the scenario.
    points: dict[str, list[dict[str, Any]]] = {}


def read(path: Path, about: str = "") -> Statements:
    """
    Read a file of statements.

    @param about: leave out a statement whose text does not contain this.
    @raise StatementsError: if the file cannot be used, or no statement is left.
    """
    try:
        content = _content(path)
        points = {name: _points(name, those) for name, those in content.points.items()}
        statements = tuple(
            Statement(each.text, tuple(map(parse, each.claims)))
            for each in content.statements
            if about in each.text
        )
    except OSError as error:
        raise StatementsError(f"{path}: {error.strerror}") from error
    except RecursionError as error:
        raise StatementsError(f"{path}: nested too deeply") from error
    # A ValueError: text that is not UTF-8, a number of too many digits, a bad claim.
    except (msgspec.MsgspecError, ValueError, UnknownScenario) as error:
        raise StatementsError(f"{path}: {printable(str(error))}") from error
    if not statements:
        raise StatementsError(f"{path}: no statement has {about!r} in its text")
    return Statements(statements, points)


def _content(path: Path) -> _File:
    """
    Read a file, which may be a device that has no end.

    @raise ValueError: if it is too large, or a text in it cannot be printed.
    """
    with path.open("rb") as stream:
        read = stream.read(_LARGEST_FILE + 1)
    if len(read) > _LARGEST_FILE:
        raise ValueError(f"larger than {_LARGEST_FILE >> 20} MiB")
    content = msgspec.toml.decode(read, type=_File)
    for each in content.statements:
        if not each.text.replace("\n", "").isprintable():
            raise ValueError(f"not printable: {each.text!a:.60}")
    return content


def _points(name: str, those: list[dict[str, Any]]) -> tuple[Point, ...]:
    """
    The points of a scenario, as the rest of iodemo has them.

    @raise UnknownScenario: if there is no scenario of this name.
    @raise ValueError: if one of them cannot be measured. The message has its place.
    """
    workload = findScenario(name).workload
    points = []
    for number, each in enumerate(those, 1):
        where = f"point {number} of {name}"
        try:
            found = msgspec.convert(each, _PointInFile)
        except msgspec.ValidationError as error:
            raise ValueError(f"{where}: {error}") from error
        point = Point(**structs.asdict(found))
        for parameter in _DECIDED:
            if parameter in point.given():
                raise ValueError(f"{where}: the scenario decides {parameter}")
        if workload.kind in _WITHOUT_RATE and (point.isPaced or point.stalled):
            raise ValueError(
                f"{where}: rate, share and stalled are for requests that are answered "
                "one by one"
            )
        if point.stalled and (workload.tls or workload.churn):
            raise ValueError(f"{where}: stalled goes neither with TLS nor with churn")
        points.append(point)
    return tuple(points)
