# -*- test-case-name: tests.test_references -*-
"""
The echo of L{iodemo.references.asyncioprotocol} on uvloop, whose transports are in C.
"""

from __future__ import annotations

import importlib.util

from iodemo.references import asyncioprotocol

if importlib.util.find_spec("uvloop") is None:
    raise ImportError("uvloop is not installed: pip install 'iodemo[uvloop]'")


def command(port: int) -> list[str]:
    """
    The command that starts the server.
    """
    return asyncioprotocol.command(port, "uvloop")
