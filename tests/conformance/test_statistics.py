"""
Tests for the statistics of a reactor on a completion queue.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

from ..children import TIMEOUT, exchange
from .stamping import BackendTestCase, stampedFor


@stampedFor("proactor", "uring", "proactor-asyncio", "uring-asyncio")
class StatisticsTests(BackendTestCase):
    """
    Tests for L{iodemo.completion.reactor.CompletionMixin.statistics}.
    """

    def test_logged(self) -> None:
        """
        SIGUSR2 logs the numbers in one line, and the program goes on.
        """
        child = self.twistd("iodemo-echo")
        for count in range(1, 3):
            connection = child.connect()
            self.addCleanup(connection.close)
            self.assertEqual(exchange(connection, b"hello"), b"hello")
            os.kill(child.pid, signal.SIGUSR2)
            child.await_(b"Queue: connections=%d" % count)
            self.assertEqual(exchange(connection, b"still"), b"still")
        for line in re.findall(rb"Queue: (.*)", child.log):
            numbers = dict(item.split(b"=") for item in line.split())
            self.assertTrue(int(numbers[b"operations"]) > 0, numbers)
        self.assertEqual(child.stop(), -signal.SIGTERM)

    def test_ownUse(self) -> None:
        """
        A program that handles SIGUSR2 itself, or ignores it, or runs the reactor
        without handling of signals, keeps its own use of it.
        """
        program = (
            "import os, signal\n"
            "from twisted.application.reactors import installReactor\n"
            f"reactor = installReactor({self.model.name!r})\n"
            "reactor.callWhenRunning(reactor.stop)\n"
        )
        check = (
            "signal.signal(signal.SIGUSR2, {use})\n"
            "reactor.run(installSignalHandlers={install})\n"
            "print(repr(signal.getsignal(signal.SIGUSR2)))"
        )
        for use, install, expected in (
            ("signal.SIG_IGN", True, "Handlers.SIG_IGN"),
            ("signal.default_int_handler", True, "default_int_handler"),
            ("signal.SIG_DFL", False, "Handlers.SIG_DFL"),
        ):
            ended = subprocess.run(
                [
                    *(sys.executable, "-c"),
                    program + check.format(use=use, install=install),
                ],
                stdout=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT,
            )
            self.assertEqual(ended.returncode, 0)
            self.assertIn(expected, ended.stdout)
