# -*- test-case-name: tests.test_workers -*-
"""
The start of a worker: a C{twistd} that has inherited listening sockets.

Twisted reads LISTEN_PID when its endpoints are imported, so this module imports nothing
of Twisted before it has set that.
"""

from __future__ import annotations

import os
import sys

from iodemo.kernel import endWithParent


def run() -> None:
    """
    Run C{twistd}. The command line is C{PARENT ARGUMENT...}: the parent's process id,
    with which this process ends, and the arguments of C{twistd}.
    """
    parent = int(sys.argv.pop(1))
    endWithParent(parent)
    # Ctrl-C at the terminal reaches the parent alone, which then ends its workers.
    os.setsid()
    os.environ["LISTEN_PID"] = str(os.getpid())
    from twisted.scripts.twistd import run as runTwistd

    runTwistd()
