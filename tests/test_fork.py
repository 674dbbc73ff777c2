"""
Tests for the peculiarities of L{iodemo.reactors.fork}. L{tests.conformance} tests the
behaviour that it shares with other reactors.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from iodemo.models import find

from .children import TIMEOUT, Child, exchange
from .conformance.hosting import Host, childrenOf, descriptorsOf, eventually
from .conformance.stamping import BackendTestCase


class ForkTestCase(BackendTestCase):
    """
    Tests of the reactor.
    """

    model = find("fork")

    def serve(self) -> Child:
        """
        Run C{iodemo-echo}.
        """
        return self.twistd("iodemo-echo")

    def visit(self, child: Child | Host) -> socket.socket:
        """
        Connect to a service, and wait for an answer.
        """
        connection = child.connect()
        self.addCleanup(connection.close)
        self.assertEqual(exchange(connection, b"hello"), b"hello")
        return connection

    @contextmanager
    def watching(self, pids: list[int]) -> Iterator[None]:
        """
        Check that all processes that exist at the beginning have ended at the end.
        """
        descriptors = [os.pidfd_open(pid) for pid in pids]
        try:
            yield
            for descriptor in descriptors:
                ended = select.select([descriptor], [], [], TIMEOUT)[0]
                self.assertEqual(ended, [descriptor], "it lives on")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


class ProcessTests(ForkTestCase):
    """
    Tests for the processes of the reactor.
    """

    def test_descriptors(self) -> None:
        """
        A child has the socket of its own connection, and no other socket of the parent
        or of another child; the parent has none of the children's.
        """
        child = self.serve()
        before = descriptorsOf(child.pid)
        held = _sockets(child.pid)
        for _ in range(3):
            self.visit(child)
        # A child may answer before the parent has closed its copy of the child's
        # socket.
        eventually(
            lambda: descriptorsOf(child.pid) == before,
            lambda: (before, descriptorsOf(child.pid)),
        )
        pids = childrenOf(child.pid)
        own = [_sockets(pid) - held for pid in pids]
        self.assertEqual([len(each) for each in own], [1, 1, 1])
        self.assertEqual(len(set().union(*own)), 3)
        for pid in pids:
            # All children share the socket of the log.
            self.assertEqual(len(_sockets(pid) & held), 1)

    def test_noProcess(self) -> None:
        """
        If no more processes can be started, connections are refused, with a line in the
        log.
        """
        expected = ("log",) * 3
        with self.host("shortage.unforkable", spare=2, expecting=expected) as host:
            self.refusesOthers(host, "warning")
        for event in host.told("warning"):
            self.assertRegex(event["text"], "^refused a connection: .*Resource temp")

    def test_parentKilled(self) -> None:
        """
        If the parent is killed, its children end too, and their peers see the end.
        """
        child = self.serve()
        connections = [self.visit(child) for _ in range(3)]
        with self.watching(childrenOf(child.pid)):
            os.kill(child.pid, signal.SIGKILL)
        for connection in connections:
            self.assertEqual(connection.recv(1), b"")

    def test_childKilled(self) -> None:
        """
        If a child is killed, its own connection ends, and no other. The log has a line
        about it, also for a signal without a name.
        """
        child = self.serve()
        for number, name in ((signal.SIGKILL, b"SIGKILL"), (40, b"signal 40")):
            before = childrenOf(child.pid)
            connection = self.visit(child)
            (pid,) = set(childrenOf(child.pid)) - set(before)
            others = [self.visit(child)]
            os.kill(pid, number)
            self.assertEqual(connection.recv(1), b"")
            child.await_(b"the process of a connection ended with " + name)
            self.assertNotIn(pid, childrenOf(child.pid))
            for other in [*others, self.visit(child)]:
                self.assertEqual(exchange(other, b"still"), b"still")
        child.stop()

    def test_rude(self) -> None:
        """
        A protocol that exits, kills its process or stops the reactor ends its own
        connection, and no other.
        """
        with self.host("processes.rude") as host:
            other = self.visit(host)
            for order in (b"exit", b"kill", b"stop"):
                connection = self.visit(host)
                connection.sendall(order)
                self.assertEqual(connection.recv(1), b"")
                self.assertEqual(exchange(other, b"still"), b"still")
            eventually(
                lambda: len(childrenOf(host.pid)) == 1, lambda: childrenOf(host.pid)
            )

    def test_hanging(self) -> None:
        """
        A child that does not end after SIGTERM is killed.
        """
        with self.host("processes.rude", grace=0.1) as host:
            connection = self.visit(host)
            connection.sendall(b"hang")
            host.await_("hanging")
            with self.watching(childrenOf(host.pid)):
                host.finish()
            self.assertEqual(connection.recv(1), b"")


class ChildTests(ForkTestCase):
    """
    Tests for the state and the abilities of a child.
    """

    def test_parentsOwn(self) -> None:
        """
        The parent's timers, readers, triggers, threads and signal handlers do not run
        in a child, not even when it ends; and they still work in the parent.
        """
        with self.host("processes.parent") as host:
            client = host.connect()
            datagrams = socket.socket(type=socket.SOCK_DGRAM)
            self.addCleanup(datagrams.close)
            datagrams.settimeout(TIMEOUT)
            datagrams.connect(("127.0.0.1", host.await_("datagrams")["port"]))
            self.assertEqual(exchange(client, b"later"), b"later")
            (pid,) = childrenOf(host.pid)
            os.kill(pid, signal.SIGUSR1)
            for _ in range(10):
                datagrams.send(b"hello")
                self.assertEqual(datagrams.recv(10), b"hello")
            self.assertEqual(exchange(client, b"later"), b"later")
            client.close()
            host.await_("connectionLost")
            eventually(lambda: not childrenOf(host.pid), lambda: host.events)
        self.assertEqual(host.told("stray"), [])

    def test_able(self) -> None:
        """
        A child can use the whole reactor: threads, processes, outgoing connections,
        ports and the resolver. It serves its connection in between.
        """
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            self.host("processes.able", port=server.getsockname()[1]) as host,
        ):
            server.settimeout(TIMEOUT)
            client = self.visit(host)
            # Until it starts a thread or a timer, it waits in recv in between.
            for question in (b"call", b"process", b"output", b"thread"):
                client.sendall(question)
                self.assertEqual(client.recv(10), question)
                self.assertEqual(exchange(client, b"still"), b"still")
            client.sendall(b"outgoing")
            with server.accept()[0] as connection:
                connection.sendall(b"outgoing")
                self.assertEqual(client.recv(10), b"outgoing")
            for question in (b"listening", b"name"):
                client.sendall(question)
                self.assertEqual(client.recv(10), question)

    def test_blocks(self) -> None:
        """
        A child that waits for nothing else is blocked in C{recv}.
        """
        child = self.serve()
        self.visit(child)
        (pid,) = childrenOf(child.pid)
        path = f"/proc/{pid}/syscall"
        if not os.access(path, os.R_OK):
            self.skipTest("only root may see what a process waits for")
        calls = {"x86_64": "45", "aarch64": "207"}
        expected = calls.get(os.uname().machine)
        if expected is None:
            self.skipTest("the number of recvfrom is not known here")

        def call() -> str:
            with open(path) as file:
                return file.read().split()[0]

        eventually(lambda: call() == expected, call)

    def test_stopListening(self) -> None:
        """
        If a child stops listening, the parent goes on, and the file of a UNIX socket
        stays.
        """
        with self.host("processes.closing", path="socket") as host:
            host.await_("listening")
            for _ in range(2):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(TIMEOUT)
                    connection.connect(str(host.directory / "socket"))
                    self.assertEqual(exchange(connection, b"hello"), b"hello")

    def test_printed(self) -> None:
        """
        Printed text appears once: text that the parent has not flushed when a child is
        forked, and text that a child has not flushed when it ends.
        """
        with (
            mock.patch.dict(os.environ, PYTHONUNBUFFERED=""),
            self.host("processes.printing") as host,
        ):
            for _ in range(2):
                self.visit(host).close()
            eventually(lambda: not childrenOf(host.pid), lambda: host.events)
        printed = [each["pid"] == host.pid for each in host.told("printed")]
        self.assertEqual(sorted(printed), [False, False, True])

    def test_log(self) -> None:
        """
        The parent logs the events of its children: once each, in order, shortened if
        they are too long, and with the failure if that can be pickled. It does so even
        if a thread of the parent was logging when the child was forked.
        """
        visits = 20
        errors = ("ZeroDivisionError", "ZeroDivisionError", "log", "log")
        expected: list[tuple[str, str | None]] = []
        with self.host("processes.logging", expecting=errors * visits) as host:
            for number in range(visits):
                with host.connect() as connection:
                    said = b"%d" % number
                    self.assertEqual(exchange(connection, said), said)
                expected += [
                    ("made", None),
                    (f"old {number}", None),
                    (f"new {number}", None),
                    (f"old failure {number}", "ZeroDivisionError"),
                    (f"new failure {number}", "ZeroDivisionError"),
                    (f"old failure {number}", None),
                    (f"new failure {number}", None),
                    (f"long {str(number) * 20}"[:16], None),
                ]
            eventually(lambda: not childrenOf(host.pid), lambda: host.events)
        logged = [
            each
            for each in host.told("logged")
            if each["text"].split()[0] in ("made", "old", "new", "long")
        ]
        self.assertEqual({each["pid"] for each in logged}, {host.pid})
        heads = [each["text"].partition("\n")[0][:16] for each in logged]
        failures = [each["failure"] for each in logged]
        self.assertEqual(list(zip(heads, failures, strict=True)), expected)
        for each in logged:
            if "failure" in each["text"] and each["failure"] is None:
                self.assertIn("UnpicklableError", each["text"])


def _sockets(pid: int) -> set[str]:
    """
    The descriptors of a process that are sockets.
    """
    return {each.split()[1] for each in descriptorsOf(pid) if "socket:" in each}
