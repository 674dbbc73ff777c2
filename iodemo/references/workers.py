# -*- test-case-name: tests.test_references -*-
"""
An event loop on each core: C{iodemo-echo} under Twisted's epoll reactor, in as many
processes as there are cores for it (C{iodemo-workers}).
"""

from __future__ import annotations

import sys

if not sys.platform.startswith("linux"):
    raise ImportError("it needs Linux, whose SO_REUSEPORT divides connections")

_TWISTD = "from twisted.scripts.twistd import run; run()"


def command(port: int) -> list[str]:
    """
    The command that starts the server.
    """
    return [
        *(sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "--reactor=epoll"),
        *("iodemo-workers", f"--listen=tcp:{port}:interface=127.0.0.1", "--grace=0"),
        *("--", "iodemo-echo", "--listen={endpoint}"),
    ]
