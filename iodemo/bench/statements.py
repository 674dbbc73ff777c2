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
listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from iodemo.bench.scenarios import (
    SCENARIOS,
    Scenario,
    UnknownScenario,
    findScenario,
    placed,
)
from iodemo.results.claims import BadClaim, Claim, parse
from iodemo.results.schema import Point


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
        found = []
        for scenario in SCENARIOS:
            points = tuple(
                point
                for point in (*scenario.points, *self.points.get(scenario.name, ()))
                if any(claim.applies(placed(scenario, point)) for claim in self.claims)
            )
            if points:
                found.append((scenario, points))
        return tuple(found)


class _StatementInFile(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    claims: Annotated[list[str], msgspec.Meta(min_length=1)]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    statements: list[_StatementInFile]
    points: dict[str, tuple[Point, ...]] = {}


def read(path: Path, about: str = "") -> Statements:
    """
    Read a file of statements.

    @param about: leave out a statement whose text does not contain this.
    @raise StatementsError: if the file cannot be used, or no statement is left.
    """
    try:
        content = msgspec.toml.decode(path.read_bytes(), type=_File)
        for name in content.points:
            findScenario(name)
        statements = tuple(
            Statement(each.text, tuple(map(parse, each.claims)))
            for each in content.statements
            if about in each.text
        )
    except OSError as error:
        raise StatementsError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, BadClaim, UnknownScenario) as error:
        raise StatementsError(f"{path}: {error}") from error
    if not statements:
        raise StatementsError(f"{path}: no statement has {about!r} in its text")
    return Statements(statements, content.points)
