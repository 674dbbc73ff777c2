"""
The program about POSIX AIO that the chapter on asynchronous I/O shows.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PROGRAM = Path(__file__).parent.parent / "docs/examples/posix_aio.py"

_isGlibc = sys.platform == "linux" and hasattr(
    ctypes.CDLL(None), "gnu_get_libc_version"
)


def said(silent: int) -> str:
    """
    What it prints of so many silent connections, in a process of its own: threads that
    are idle stay for a second.
    """
    command = [sys.executable, str(PROGRAM), str(silent)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class PosixAIOTests(SynchronousTestCase):
    """
    What the chapter says of it is so.
    """

    if not _isGlibc or ctypes.sizeof(ctypes.c_void_p) != 8:
        skip = "it is about glibc on a machine of 64 bits"

    def test_threadEach(self) -> None:
        """
        Each connection that is silent has a thread, and so has the one that is read.
        """
        printed = said(5)
        self.assertIn("5 silent connections: 6 threads more.", printed)
        self.assertIn("What the other one had said was read.", printed)

    def test_noneLeft(self) -> None:
        """
        With 20 silent connections no thread is left, and the other one is not read
        until one of them speaks.
        """
        printed = said(20)
        self.assertIn("20 silent connections: 20 threads more.", printed)
        self.assertIn("was read when a silent one spoke.", printed)

    def test_queue(self) -> None:
        """
        With more the others wait before it.
        """
        printed = said(25)
        self.assertIn("25 silent connections: 20 threads more.", printed)
        self.assertIn("What the other one had said was not read.", printed)
