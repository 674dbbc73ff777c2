"""
Tests for a backend under C{twistd}: in the foreground and as a daemon.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import signal
import socket
from pathlib import Path

from twisted.trial.unittest import SkipTest

from ..children import TIMEOUT, exchange, makeDirectory, runTwistd
from .hosting import childrenOf, eventually
from .stamping import BackendTestCase, stamped


@stamped
class TerminationTests(BackendTestCase):
    """
    Tests for a service that gets SIGTERM.
    """

    def test_foreground(self) -> None:
        """
        With connections open, it ends by the signal, leaves no file and no process, and
        its peers see the end.
        """
        child = self.twistd("iodemo-echo")
        connections = [child.connect() for _ in range(3)]
        for connection in connections:
            self.addCleanup(connection.close)
            self.assertEqual(exchange(connection, b"hello"), b"hello")
        children = [self.watch(pid) for pid in childrenOf(child.pid)]
        self.assertEqual(child.stop(), -signal.SIGTERM)
        for connection in connections:
            self.assertEqual(connection.recv(1), b"")
        for descriptor in children:
            self.assertEnds(descriptor)
        self.assertEqual(os.listdir(child.directory), [])
        self.assertIn(b"Received SIGTERM, shutting down.", child.log)
        self.assertNotIn(b"Traceback", child.log)

    def test_daemon(self) -> None:
        """
        As a daemon it serves, writes its process id and its log to the given files,
        begins a new log on SIGUSR1, and ends on SIGTERM.
        """
        directory = makeDirectory(self)
        descriptor, pid, connection = self.daemon(directory)
        with connection:
            self.assertEqual(exchange(connection, b"hello"), b"hello")
            children = [self.watch(child) for child in childrenOf(pid)]
            signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
            eventually((directory / "its.log.1").exists, directory.iterdir)
            self.assertEqual(exchange(connection, b"still"), b"still")
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            self.assertEnds(descriptor)
            self.assertEqual(connection.recv(1), b"")
        for child in children:
            self.assertEnds(child)
        log = directory / "its.log"
        self.assertIn("Received SIGTERM, shutting down.", log.read_text())
        self.assertEqual(sorted(os.listdir(directory)), ["its.log", "its.log.1"])
        for each in directory.iterdir():
            self.assertNotIn("Traceback", each.read_text())

    def test_anotherUser(self) -> None:
        """
        Started by root, a daemon and all its processes run as the given user and group,
        and it ends well.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        nobody = pwd.getpwnam("nobody")
        user, group = nobody.pw_uid, nobody.pw_gid
        directory = makeDirectory(self)
        os.chown(directory, user, group)
        descriptor, pid, connection = self.daemon(
            directory, f"--uid={user}", f"--gid={group}"
        )
        with connection:
            self.assertEqual(exchange(connection, b"hello"), b"hello")
            for process in (pid, *childrenOf(pid)):
                status = Path(f"/proc/{process}/status").read_text()
                self.assertEqual(_identities(status, "Uid"), {user})
                self.assertEqual(_identities(status, "Gid"), {group})
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            self.assertEnds(descriptor)
            self.assertEqual(connection.recv(1), b"")
        self.assertEqual(os.listdir(directory), ["its.log"])
        self.assertNotIn("Traceback", (directory / "its.log").read_text())

    def daemon(self, directory: Path, *options: str) -> tuple[int, int, socket.socket]:
        """
        Start C{iodemo-echo} as a daemon.

        @return: a pidfd of its process, its process id, and a connection to it.
        """
        answer = runTwistd(
            f"--reactor={self.model.name}",
            "--pidfile=its.pid",
            "--logfile=its.log",
            *options,
            "iodemo-echo",
            "--listen=tcp:0:interface=127.0.0.1",
            directory=directory,
        )
        self.assertEqual((answer.returncode, answer.stderr), (0, ""))
        log = directory / "its.log"
        # When that line is there, the reactor runs and handles signals.
        _awaitText(log, " listens on ")
        pid = int((directory / "its.pid").read_text())
        descriptor = self.watch(pid)
        (port,) = re.findall(r" starting on (\d+)\n", log.read_text())
        return (
            descriptor,
            pid,
            socket.create_connection(("127.0.0.1", int(port)), TIMEOUT),
        )

    def watch(self, pid: int) -> int:
        """
        Open a pidfd of a process, which is killed at the end of the test.
        """
        descriptor = os.pidfd_open(pid)
        self.addCleanup(_end, descriptor)
        return descriptor

    def assertEnds(self, descriptor: int) -> None:
        """
        Check that a process ends.
        """
        ended = select.select([descriptor], [], [], TIMEOUT)[0]
        self.assertEqual(ended, [descriptor], "it has not ended")


def _awaitText(path: Path, text: str) -> None:
    """
    Wait until a file contains something.
    """
    eventually(lambda: path.exists() and text in path.read_text(), lambda: path)


def _identities(status: str, kind: str) -> set[int]:
    """
    The user or group ids of a process, from its status in /proc: real, effective, saved
    and of the file system.
    """
    (line,) = re.findall(rf"^{kind}:(.*)$", status, re.MULTILINE)
    return set(map(int, line.split()))


def _end(descriptor: int) -> None:
    """
    Kill a process, if it has not ended.
    """
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
