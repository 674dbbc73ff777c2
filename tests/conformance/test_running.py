"""
Tests for a reactor that is run more often than once.
"""

from __future__ import annotations

from ..children import exchange
from .stamping import BackendTestCase, sharedState, stamped


@stamped
class RunTests(BackendTestCase):
    """
    Tests for C{run}.
    """

    @sharedState
    def test_again(self) -> None:
        """
        A reactor that has crashed can be run again, and its connections live on.
        """
        with self.host("running.again") as host:
            client = host.connect()
            self.assertEqual(exchange(client, b"hello"), b"hello")
            client.sendall(b"crash")
            host.await_("crashed")
            for each in (client, host.connect()):
                self.assertEqual(exchange(each, b"still"), b"still")

    def test_nested(self) -> None:
        """
        A protocol cannot run what runs already: it loses its connection by that,
        and nobody else notices.
        """
        expecting = ("ReactorAlreadyRunning",)
        with self.host("running.serve", expecting) as host:
            other, client = host.connect(), host.connect()
            for each in (other, client):
                self.assertEqual(exchange(each, b"hello"), b"hello")
            client.sendall(b"run")
            self.assertEqual(client.recv(1), b"")
            self.assertEqual(exchange(other, b"still"), b"still")
