# -*- test-case-name: tests.test_conform -*-
"""
The page of all backends' verdicts: C{python -m iodemo.conformance.page FILE}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from iodemo import models
from iodemo.conformance.conforming import (
    CannotJudge,
    Conformance,
    conform,
    reactorModules,
)
from iodemo.conformance.finding import UnknownReactor
from iodemo.conformance.loops import (
    CONTROL,
    PACKAGE,
    CannotJudgeLoops,
    LoopVerdict,
    available,
    counts,
    judge,
)
from iodemo.conformance.showing import ConformanceProgress, total
from iodemo.conformance.verdict import Outcomes
from iodemo.process.signals import Interrupted, interruptible
from iodemo.writing import writeFile

_INTRODUCTION = """\
Conformance
===========

.. Written by scripts/conformance. Do not edit.

Every test of Twisted's own reactor test package (the ``ReactorBuilder`` classes of
``twisted.internet.test``), run against each backend of this machine, with Twisted's
{control} reactor as the control. A backend conforms if it fails nothing that the
control passes, apart from its documented exceptions. ``iodemo conform --reactor NAME``
does the same for any reactor.

{when}, Twisted {twisted}, {python}, {kernel}.
"""

_LOOPS = """
Event loops of asyncio
----------------------

CPython's own tests of asyncio (the modules of ``test.test_asyncio`` that run a loop),
on the event loop of each backend that has one here. The control is asyncio's own
selector loop. ``scripts/asyncio-tests`` does the same.
"""

_PACKAGE = "twisted.internet.test."

_COLUMNS = (
    *("backend", "tests", "passed", "failed", "skipped", "shared", "exceptions"),
    "conforms",
)
_COLUMNS_NOTE = """\
*shared*: how many of the failed tests fail under {control}, too. *exceptions*: how many
are documented below, with the reason. Below, the names of tests are without
``twisted.internet.test.`` Differences that these tests do not cover are in
``docs/choosing.rst``, under *Known differences*."""


def main(path: str) -> None:
    """
    Judge every backend that can run here, and write the page.

    @param path: the file to write.
    """
    console = Console(stderr=True)
    found: list[Conformance] = []
    absent: list[tuple[str, str]] = []
    modules = reactorModules()
    control: Outcomes | None = None
    try:
        with interruptible():
            for model in models.MODELS:
                if model.kind != "reactor":
                    continue
                reason = model.unavailable()
                if reason is not None:
                    absent.append((model.name, reason))
                    continue
                jobs = len(modules) * (1 if control else 2)
                with ConformanceProgress(console, jobs) as progress:
                    one, control = conform(
                        model.name, progress, modules=modules, control=control
                    )
                found.append(one)
            loops = judge(available())
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signal)
    except (CannotJudge, CannotJudgeLoops, UnknownReactor) as error:
        sys.exit(f"iodemo: {error}")
    page = Path(path)
    text = "\n".join([*pageLines(found, absent, date.today()), *loopLines(loops)])
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        writeFile(page, f"{text}\n".encode())
    except OSError as error:
        sys.exit(f"iodemo: cannot write to {error.filename}: {error.strerror}")
    console.print(f"{page} is written.", highlight=False, markup=False)


def pageLines(
    found: Sequence[Conformance], absent: Sequence[tuple[str, str]], when: date
) -> Iterator[str]:
    """
    The lines of the page.

    @param found: the verdicts, at least one.
    @param absent: the backends that cannot run here, each with the reason.
    @param when: the day of the run.
    """
    yield _INTRODUCTION.format(when=when.isoformat(), **found[0])
    yield from _listTable(_COLUMNS, [_row(each) for each in found])
    yield from ("", _COLUMNS_NOTE.format(**found[0]))
    for each in found:
        if each["missing_interfaces"]:
            lacking = ", ".join(each["missing_interfaces"])
            yield from ("", f"{each['reactor']} lacks {lacking}.")
    for title, attribute in (
        ("Documented exceptions", "exceptions"),
        ("Failures", "failures"),
        ("Exceptions that nothing needed", "unneeded_exceptions"),
        ("Skipped where the control passes", "skips"),
        ("Failed where the control skips", "unjudged"),
    ):
        remarks = [
            (each["reactor"], remark["test"], remark["reason"])
            for each in found
            for remark in each[attribute]  # type: ignore[literal-required]
        ]
        if remarks:
            yield from ("", title, "-" * len(title))
            yield from _byReason(remarks)
    if absent:
        yield from ("", "Not here", "--------", "")
        yield from _listTable(
            ("backend", "reason"), [(name, _plain(why)) for name, why in absent]
        )


def loopLines(verdicts: Sequence[LoopVerdict]) -> Iterator[str]:
    """
    The lines of the page about event loops of asyncio.

    @param verdicts: at least the control's.
    """
    yield _LOOPS
    yield from _listTable(
        ("backend", "tests", "passed", "failed", "skipped", f"failed unlike {CONTROL}"),
        [
            (each.name, *map(str, counts(each.outcomes)), str(len(each.failures)))
            for each in verdicts
        ],
    )
    yield from _byReason(
        [
            (each.name, test.removeprefix(f"{PACKAGE}."), reason)
            for each in verdicts
            for test, reason in each.failures.items()
        ]
    )


def _row(one: Conformance) -> tuple[str, ...]:
    counts = total([*one["modules"]])
    bad = counts["failed"] + counts["errored"]
    return (
        one["reactor"],
        str(sum((counts["passed"], bad, counts["skipped"]))),
        str(counts["passed"]),
        str(bad),
        str(counts["skipped"]),
        str(len(one["shared"])),
        str(len(one["exceptions"])),
        "yes" if one["conforms"] else "no",
    )


def _byReason(remarks: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """
    Lists of tests, one for each backend and reason.

    @param remarks: a backend, a test and the reason, for each.
    """
    grouped: dict[tuple[str, str], list[str]] = {}
    for backend, test, reason in remarks:
        grouped.setdefault((backend, reason), []).append(test)
    for (backend, reason), tests in grouped.items():
        yield from ("", f"**{backend}**: {_plain(reason)}.", "")
        yield from (f"- ``{test.removeprefix(_PACKAGE)}``" for test in tests)


def _listTable(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "")
    for row in (headings, *rows):
        for index, cell in enumerate(row):
            yield f"   {'*' if index == 0 else ' '} - {cell}"


def _plain(text: str) -> str:
    """
    Escape the markup of reStructuredText in a text.
    """
    for character in "\\*`|_":
        text = text.replace(character, "\\" + character)
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
