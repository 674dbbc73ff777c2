# -*- test-case-name: tests.test_conform -*-
"""
Print a verdict, and the progress of the tests.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from iodemo.conformance.conforming import Conformance
from iodemo.conformance.running import Job, JobObserver
from iodemo.conformance.verdict import Counts, ModuleCounts, Remark

_COLUMNS = ("passed", "failed", "errored", "skipped")


class ConformanceProgress(JobObserver):
    """
    On a terminal, shows a bar with the time left; elsewhere, prints a line for every
    module.

    @ivar _jobs: the number of jobs.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self._console = console
        self._jobs = jobs
        self._done = 0
        self._began = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=jobs)

    def __enter__(self) -> ConformanceProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def began(self, job: Job) -> None:
        """See L{JobObserver.began}."""
        self._bar.update(self._task, description=_title(job))

    def ended(self, job: Job) -> None:
        """See L{JobObserver.ended}."""
        self._done += 1
        self._bar.advance(self._task)
        if self._console.is_terminal:
            return
        spent = time.monotonic() - self._began
        left = spent / self._done * (self._jobs - self._done)
        self._console.print(
            f"{self._done} of {self._jobs}: {_title(job)}: {len(job.outcomes)} tests; "
            f"about {left:.0f} s left",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _title(job: Job) -> str:
    return f"{job.module} under {job.reactor.rpartition('.')[2]}"


def show(conformance: Conformance, console: Console) -> None:
    """
    Print a verdict.
    """
    console.print(
        f"{conformance['reactor']} against {conformance['control']}, Twisted "
        f"{conformance['twisted']}, {conformance['python']}, {conformance['kernel']}",
        highlight=False,
    )
    console.print(_table(conformance))
    for line in _lines(conformance):
        console.print(line, highlight=False, soft_wrap=True)


def _table(conformance: Conformance) -> Table:
    """
    The numbers of outcomes: a row for each module or, if all of Twisted's tests were
    run, for each package.
    """
    full = conformance["full"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("package" if full else "module", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    table.add_column(conformance["control"], justify="right", no_wrap=True)
    modules = conformance["modules"]
    rows: dict[str, list[ModuleCounts]] = {}
    for each in modules:
        package, _, module = each["module"].rpartition(".")
        rows.setdefault(package if full else module, []).append(each)
    for name, group in [*rows.items(), ("all", modules)]:
        control = total([each["control"] for each in group])
        table.add_row(name, *_numbers(total(group)), " ".join(_numbers(control)))
    return table


def total(rows: Sequence[Counts]) -> Counts:
    """
    The sum of some counts.
    """
    return {
        "passed": sum(row["passed"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "errored": sum(row["errored"] for row in rows),
        "skipped": sum(row["skipped"] for row in rows),
    }


def _numbers(counts: Counts) -> list[str]:
    return [
        str(each)
        for each in (
            counts["passed"],
            counts["failed"],
            counts["errored"],
            counts["skipped"],
        )
    ]


def _lines(conformance: Conformance) -> Iterator[Text]:
    control = conformance["control"]
    sections: tuple[tuple[str, list[Remark], str], ...] = (
        (f"Fails what {control} passes", conformance["failures"], "red"),
        ("Fails, as documented", conformance["exceptions"], "yellow"),
        (
            "Documented exceptions that nothing needed: remove them",
            conformance["unneeded_exceptions"],
            "yellow",
        ),
        (f"Skips what {control} passes", conformance["skips"], ""),
        (f"Fails what {control} skips", conformance["unjudged"], ""),
        (f"Fails, as {control} does", conformance["shared"], ""),
    )
    for title, remarks, style in sections:
        if remarks:
            yield Text(f"\n{title}:")
        for remark in remarks:
            yield Text(f"  {remark['test']}: {remark['reason']}", style=style)
    reasons = Counter(each["reason"] for each in conformance["control_skips"])
    if reasons:
        yield Text(f"\n{control} skips:")
    for reason, count in reasons.most_common():
        tests = "1 test" if count == 1 else f"{count} tests"
        yield Text(f"  {tests}: {reason or 'no reason given'}")
    missing = conformance["missing_interfaces"]
    yield Text(f"\nDeclares {', '.join(conformance['interfaces']) or 'no interface'}")
    if missing:
        yield Text(f"and not {', '.join(missing)}, which {control} does")
    yield Text(f"\nThe tests took {_duration(conformance['seconds'])}.")
    name = conformance["reactor"]
    if conformance["conforms"]:
        yield Text(f"{name} fails nothing that {control} passes{_but(conformance)}.")
    elif not conformance["failures"]:
        yield Text(f"Nothing was tested: {control} passes none of these tests.")
    else:
        count = len(conformance["failures"])
        yield Text(f"{name} fails {count} of the tests that {control} passes.")


def _but(conformance: Conformance) -> str:
    count = len(conformance["exceptions"])
    return f", apart from {count} documented exceptions" if count else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
