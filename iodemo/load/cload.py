# -*- test-case-name: tests.test_bench -*-
"""
A load in C, for the calibration of C{iodemo load}: a comparison can measure a server
with both. The program is compiled when this module is imported.
"""

from __future__ import annotations

from pathlib import Path

from iodemo.compiler import compiled

_PROGRAM = compiled(Path(__file__).with_suffix(".c"))


def command(
    kind: str, port: int, active: int, idle: int, warmup: float, seconds: float
) -> list[str]:
    """
    The command line of the load, which prints a L{Round} as C{iodemo load --json} does.

    @param kind: C{"echo"} or C{"http:/"}.
    @param active: connections with one request in flight each.
    @param idle: further connections that stay open without a request.
    """
    return [_PROGRAM, kind, *map(str, (port, active, idle, warmup, seconds))]
