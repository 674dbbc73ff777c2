"""
Tests for the program about POSIX AIO in the chapter on asynchronous I/O.
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


def output(idle: int) -> str:
    """
    The output of the program for some idle connections. It runs in a process of its
    own, because idle threads of glibc stay for a second.
    """
    command = [sys.executable, str(PROGRAM), str(idle)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class PosixAIOTests(SynchronousTestCase):
    """
    Tests for the statements of the chapter.
    """

    if not _isGlibc or ctypes.sizeof(ctypes.c_void_p) != 8:
        skip = "it is about glibc on a machine of 64 bits"

    def test_threadEach(self) -> None:
        """
        Each idle connection occupies a thread, and so does the one with data.
        """
        printed = output(5)
        self.assertIn("5 idle connections: 6 threads more.", printed)
        self.assertIn("The data of the other connection was read.", printed)

    def test_noneLeft(self) -> None:
        """
        With 20 idle connections no thread is left, and the other one is not read until
        an idle one sends data.
        """
        printed = output(20)
        self.assertIn("20 idle connections: 20 threads more.", printed)
        self.assertIn("was read after an idle one had sent data.", printed)

    def test_queue(self) -> None:
        """
        With more idle connections their reads wait before that of the other one.
        """
        printed = output(25)
        self.assertIn("25 idle connections: 20 threads more.", printed)
        self.assertIn("The data of the other connection was not read.", printed)
