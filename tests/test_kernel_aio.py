"""
Tests for the program about kernel AIO in the chapter on asynchronous I/O.
"""

from __future__ import annotations

import platform
import runpy
from errno import ENOSYS
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

PROGRAM = Path(__file__).parent.parent / "docs/examples/kernel_aio.py"


class KernelAIOTests(SynchronousTestCase):
    """
    Tests for the statements of the chapter.
    """

    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        skip = "it is about Linux, and knows the numbers of two architectures"

    def setUp(self) -> None:
        """
        Load the program, if the kernel has kernel AIO.
        """
        self.program: dict[str, Any] = runpy.run_path(str(PROGRAM))
        try:
            with self.program["context"]():
                pass
        except OSError as error:
            if error.errno == ENOSYS:
                raise SkipTest("this kernel has no AIO") from error
            raise

    def test_blocking(self) -> None:
        """
        On a blocking socket io_submit waits.
        """
        self.assertFalse(self.program["ofBlocking"]())

    def test_nonBlocking(self) -> None:
        """
        On a non-blocking socket the result is EAGAIN, at once.
        """
        self.assertEqual(self.program["ofNonBlocking"](), -self.program["EAGAIN"])
