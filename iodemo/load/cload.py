# -*- test-case-name: tests.test_bench -*-
"""
A load in C, to calibrate C{iodemo load} by: one comparison can measure a server by
both. It is compiled when this module is imported.
"""

from __future__ import annotations

from pathlib import Path

from iodemo.compiler import compiled

_PROGRAM = compiled(Path(__file__).with_suffix(".c"))


def command(
    kind: str, port: int, active: int, idle: int, warmup: float, seconds: float
) -> list[str]:
    """
    How to start the load, which prints a L{Round} as C{iodemo load --json} does.

    @param kind: C{"echo"} or C{"http:/"}.
    @param active: connections with one request in flight each.
    @param idle: further connections, open and silent.
    """
    return [_PROGRAM, kind, *map(str, (port, active, idle, warmup, seconds))]
