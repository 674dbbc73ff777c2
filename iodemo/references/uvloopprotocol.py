# -*- test-case-name: tests.test_references -*-
"""
The same echo on uvloop, which has asyncio's transports in C.
"""

from __future__ import annotations

import importlib.util

from iodemo.references import asyncioprotocol

if importlib.util.find_spec("uvloop") is None:
    raise ImportError("uvloop is not installed: pip install 'iodemo[uvloop]'")


def command(port: int) -> list[str]:
    """
    How to start the server.
    """
    return asyncioprotocol.command(port, "uvloop")
