"""
Tests for L{iodemo.reactors.uvloop}.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from .children import TIMEOUT

try:
    from iodemo.reactors.uvloop import PersistentLoop
except ImportError as error:
    absent = str(error)
else:
    absent = ""


@skipIf(absent, absent)
class PersistentLoopTests(SynchronousTestCase):
    """
    Tests for L{PersistentLoop}.
    """

    def setUp(self) -> None:
        self.loop = PersistentLoop()
        self.addCleanup(self.loop.close)
        # Each datagram to a port without a socket causes an error, which is pending on
        # the sending socket until it is read.
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.setblocking(False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            self.socket.connect(other.getsockname())
        self.refused = 0

    def refuse(self) -> None:
        """
        Read an error, and cause the next.
        """
        self.assertRaises(ConnectionRefusedError, self.socket.recv, 1)
        self.refused += 1
        if self.refused == 3:
            self.loop.stop()
        else:
            self.socket.send(b"x")

    def run_(self) -> None:
        """
        Run the loop until it is stopped.
        """
        tooLate = self.loop.call_later(30, self.loop.stop)
        self.loop.run_forever()
        tooLate.cancel()

    def test_errors(self) -> None:
        """
        A descriptor that had an error is still watched.
        """
        self.loop.add_reader(self.socket.fileno(), self.refuse)
        self.socket.send(b"x")
        self.run_()
        self.assertEqual(self.refused, 3)

    def test_writer(self) -> None:
        """
        It can be watched for writing, too.
        """

        def writable() -> None:
            self.loop.remove_writer(self.socket.fileno())

        def read() -> None:
            self.refuse()
            self.loop.call_soon(self.loop.add_writer, self.socket.fileno(), writable)

        self.loop.add_reader(self.socket.fileno(), read)
        self.socket.send(b"x")
        self.run_()
        self.assertEqual(self.refused, 3)

    def test_removed(self) -> None:
        """
        A reader that its own callback removes stays removed.
        """

        def read() -> None:
            self.loop.remove_reader(self.socket.fileno())
            self.refuse()
            self.loop.call_later(0.01, self.loop.stop)

        self.loop.add_reader(self.socket.fileno(), read)
        self.socket.send(b"x")
        self.run_()
        self.assertEqual(self.refused, 1)


class AbsenceTests(SynchronousTestCase):
    """
    Tests without uvloop.
    """

    def test_reason(self) -> None:
        """
        twistd lists the reactor with the reason, and with what to install.
        """
        program = (
            "import sys\n"
            "sys.modules['uvloop'] = None\n"
            "from twisted.scripts.twistd import run\n"
            "run()"
        )
        shown = subprocess.run(
            [sys.executable, "-c", program, "--help-reactors"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
        )
        (line,) = (each for each in shown.stdout.splitlines() if "uvloop" in each)
        self.assertIn("uvloop is not installed", line)
        self.assertIn("iodemo[uvloop]", line)
