"""
Tests for a backend in several processes, by C{iodemo-workers}.
"""

from __future__ import annotations

import signal

from ..children import exchange
from ..test_workers import ECHO, Parent
from .hosting import eventually
from .stamping import BackendTestCase, stamped


@stamped
class WorkersTests(BackendTestCase):
    """
    Tests for workers that are replaced, and that end.
    """

    def test_drains(self) -> None:
        """
        An open connection stays with its worker when that is replaced, and when
        everything ends. New ones are served by the new worker until then, and
        refused afterwards. All ends with the last connection.
        """
        parent = Parent(
            *(self, "-p", "1", "--grace=1000", *ECHO), reactor=self.model.name
        )
        first = parent.connected()
        parent.send(signal.SIGHUP)
        parent.awaitWorkers(2)
        parent.await_(b" drains")
        second = parent.connected()
        self.assertEqual(exchange(first, b"still"), b"still")
        first.close()
        parent.await_(b"ended with exit status 0")
        parent.send(signal.SIGTERM)
        eventually(parent.refuses, lambda: parent.log)
        self.assertEqual(exchange(second, b"still"), b"still")
        second.close()
        self.assertEqual(parent.wait(), -signal.SIGTERM)
        self.assertNotIn(b"Traceback", parent.log)
        self.assertNotIn(b"closing connections", parent.log)
