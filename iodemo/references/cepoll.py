# -*- test-case-name: tests.test_references -*-
"""
An echo server in C on epoll: the least work that an echo takes. It is compiled when
this module is first imported.
"""

from __future__ import annotations

from pathlib import Path

from iodemo.compiler import compiled

_PROGRAM = compiled(Path(__file__).with_suffix(".c"))


def command(port: int) -> list[str]:
    """
    The command that starts the server.
    """
    return [_PROGRAM, str(port)]
