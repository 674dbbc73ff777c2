"""
Tests for connections that a reactor makes.
"""

from __future__ import annotations

import socket

from ..children import TIMEOUT, receive
from .hosting import Host
from .sizes import CONNECTIONS
from .stamping import BackendTestCase, stamped


@stamped
class ClientTests(BackendTestCase):
    """
    Tests for clients.
    """

    def test_echo(self) -> None:
        """
        Many clients connect at the same time to a server under the same reactor. Each
        gets its data back, and loses its connection once.
        """
        with self.host("outgoing.echo") as host:
            asked = host.await_("asked")
            host.await_("ended")
        self.assertEqual(asked["answers"], ["ConnectionDone True"] * CONNECTIONS)

    def test_factory(self) -> None:
        """
        A factory is called for each event, in order; and its connector can connect
        again after the end.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(TIMEOUT)
            with self.host("outgoing.factory", port=server.getsockname()[1]) as host:
                for _ in range(2):
                    with server.accept()[0] as connection:
                        connection.settimeout(TIMEOUT)
                        self.assertEqual(receive(connection, 5), b"hello")
                        connection.sendall(b"hello")
                        self.assertEqual(connection.recv(1), b"")
                host.await_("ended")
        once = [
            "startedConnecting",
            "buildProtocol",
            "clientConnectionLost ConnectionDone",
        ]
        self.assertEqual(_told(host), [*once, *once, "ended"])

    def test_refused(self) -> None:
        """
        If no process listens on the port, the connection is refused.
        """
        with self.host("outgoing.refused") as host:
            host.await_("ended")
        self.assertEqual(
            _told(host),
            [
                "failed ConnectionRefusedError",
                "startedConnecting",
                "clientConnectionFailed ConnectionRefusedError",
                "ended",
            ],
        )

    def test_unanswered(self) -> None:
        """
        If the server does not accept, a client gives up after its time-out, or when it
        is cancelled.
        """
        with self.host("outgoing.unanswered") as host:
            host.await_("ended")
        self.assertEqual(
            _told(host),
            [
                "failed TimeoutError",
                "startedConnecting",
                "clientConnectionFailed UserError",
                "ended",
            ],
        )


def _told(host: Host) -> list[str]:
    """
    All of its events, in order.
    """
    return [" ".join(map(str, event.values())) for event in host.events]
