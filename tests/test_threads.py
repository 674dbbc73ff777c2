"""
Tests for the peculiarities of L{iodemo.reactors.threads}. L{tests.conformance} tests
the behaviour that it shares with other reactors.
"""

from __future__ import annotations

import os
import socket
from unittest import mock

from iodemo.models import find

from .children import TIMEOUT, exchange, makeDirectory, receive, runTwistd
from .conformance.stamping import BackendTestCase

#: The size of a stack, in KiB, so large that only a few fit into the address space.
_LARGE = 1024 * 1024


class ThreadsTests(BackendTestCase):
    """
    Tests of the reactor.
    """

    model = find("threads")

    def test_noThread(self) -> None:
        """
        If no more threads can be started, connections are refused, with a line in the
        log.
        """
        with (
            mock.patch.dict(os.environ, IODEMO_THREADS_STACK_KIB=str(_LARGE)),
            self.host("shortage.confined", spare=_LARGE * 1024 * 5 // 2) as host,
        ):
            inside = self.refusesOthers(host, "connectionLost")
            inside.pop().close()
            host.await_("connectionLost", 4)
        warnings = [event["text"] for event in host.told("warning")]
        self.assertEqual(len(warnings), 3)
        for text in warnings:
            self.assertRegex(text, "^refused .*: can't start new thread$")

    def test_outgoing(self) -> None:
        """
        An outgoing connection beyond the bound is refused, too.
        """
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            mock.patch.dict(os.environ, IODEMO_THREADS_MAX="2"),
            self.host("shortage.calling", port=server.getsockname()[1]) as host,
        ):
            server.settimeout(TIMEOUT)
            clients = [host.connect(), host.connect()]
            for each in clients:
                self.assertEqual(exchange(each, b"hello"), b"hello")
            clients[0].sendall(b"connect")
            with server.accept()[0] as connection:
                connection.settimeout(TIMEOUT)
                self.assertEqual(connection.recv(1), b"")
            host.await_("connectionLost")
            for each in clients:
                self.assertEqual(exchange(each, b"still"), b"still")
        self.assertEqual(len(host.told("connectionMade")), 3)
        (warning,) = host.told("warning")
        self.assertIn(": 2 threads are the most (IODEMO_THREADS_MAX)", warning["text"])

    def test_iterate(self) -> None:
        """
        A protocol that calls C{reactor.iterate} to wait for an event gets it, and
        others are served meanwhile.
        """
        with self.host("shortage.waiting") as host:
            client, other = host.connect(), host.connect()
            client.sendall(b"later")
            while not host.told("fired"):
                self.assertEqual(exchange(other, b"hello"), b"hello")
            self.assertEqual(receive(client, 5), b"later")

    def test_settings(self) -> None:
        """
        A value that is not a whole number, or too small, is refused with one sentence.
        """
        for name, value, least in (
            ("IODEMO_THREADS_MAX", "many", 1),
            ("IODEMO_THREADS_MAX", "0", 1),
            ("IODEMO_THREADS_STACK_KIB", "31", 32),
        ):
            with mock.patch.dict(os.environ, {name: value}):
                answer = runTwistd(
                    "--reactor=threads", "iodemo-echo", directory=makeDirectory(self)
                )
            self.assertEqual(answer.returncode, 1)
            said = f"{name}={value!r} is not a whole number from {least}\n"
            self.assertEqual(answer.stderr, said)
