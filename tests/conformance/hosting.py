"""
A program that runs in a child process under a backend, as a test uses it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ..children import TIMEOUT, makeDirectory
from .peers import Peer, connectTo, converse, pattern
from .sizes import CONNECTIONS

_ROOT = str(Path(__file__).parents[2])


class Host:
    """
    A child process that runs one of L{tests.conformance.programs}, and its events.

    @ivar directory: its working directory.
    @ivar events: the events so far, each a JSON object with the key C{event}.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        backend: str,
        program: str,
        arguments: dict[str, Any],
    ) -> None:
        self.directory = makeDirectory(test)
        self.events: list[dict[str, Any]] = []
        self._unread = b""
        self._test = test
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.conformance.programs",
                backend,
                program,
                json.dumps(arguments),
            ],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([_ROOT, *sys.path])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # A process group of its own, so that its children can be killed with it.
            start_new_session=True,
        )
        test.addCleanup(self._end)

    @property
    def errors(self) -> list[str]:
        """
        The types of the logged errors.
        """
        return [str(event["type"]) for event in self.told("error")]

    @property
    def port(self) -> int:
        """
        The first port on which it listens.
        """
        return int(self.await_("listening")["port"])

    @property
    def pid(self) -> int:
        """
        Its process id.
        """
        return self._process.pid

    def told(self, event: str) -> list[dict[str, Any]]:
        """
        All events of one kind.
        """
        self._read(0)
        return [each for each in self.events if each["event"] == event]

    def await_(self, event: str, count: int = 1) -> dict[str, Any]:
        """
        Wait for a number of events of one kind.

        @return: the last of them.
        """
        while True:
            told = self.told(event)
            if len(told) >= count:
                return told[count - 1]
            if not self._read(TIMEOUT):
                raise AssertionError(f"{len(told)} of {count} {event}: {self.events}")

    def connect(self, receiveBuffer: int | None = None) -> socket.socket:
        """
        Connect to its first port. The connection is closed with the test.

        @param receiveBuffer: as in L{connectTo}.
        """
        client = connectTo(self.port, receiveBuffer)
        self._test.addCleanup(client.close)
        return client

    def permit(self, what: str) -> None:
        """
        Permit the program to continue: see L{programs.whenPermitted}.
        """
        (self.directory / what).touch()

    def finish(self) -> None:
        """
        Send SIGTERM, if the process has not ended, and check that it and all its
        children end well.
        """
        if not self.told("ended"):
            os.kill(self.pid, signal.SIGTERM)
        while self._read(TIMEOUT):
            pass
        status = self._process.wait(TIMEOUT)
        if status or not self.told("ended"):
            raise AssertionError(f"exit status {status} after {self.events}")

    def _read(self, patience: float) -> bool:
        """
        Read its events. All of its processes have this pipe, so the pipe ends when all
        of them have ended.

        @return: whether there was more.
        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], patience)[0]:
            if patience:
                raise AssertionError(f"nothing more after {self.events}")
            return False
        data = os.read(descriptor, 65536)
        *lines, self._unread = (self._unread + data).split(b"\n")
        self.events += map(json.loads, lines)
        return bool(data)

    def _end(self) -> None:
        assert self._process.stdout is not None
        # The group's number cannot be reused before the leader is reaped.
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(TIMEOUT)
        self._process.stdout.close()


def keepBusy(host: Host, event: str, count: int) -> None:
    """
    Exchange data on many connections until the host, which sends back what it receives,
    has reported a number of events. The host is permitted to start only after the first
    exchange.
    """
    connections = [host.connect() for _ in range(CONNECTIONS)]
    said = [pattern(size) for size in (1, 1000, 10000)]
    deadline = time.monotonic() + TIMEOUT
    while len(host.told(event)) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"not {count} {event}: {host.events}")
        converse([Peer(each, said, b"".join(said)) for each in connections])
        host.permit("start")


def eventually(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    """
    Wait for a condition that causes no event, such as a count in /proc.

    @param what: returns a description of the state, for the error if the condition does
        not come.
    """
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: {what()}")
        time.sleep(0.02)


def descriptorsOf(pid: int) -> list[str]:
    """
    The files of a process's descriptors, one for each.
    """
    held = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.append(f"{descriptor.name}: {descriptor.readlink()}")
        except FileNotFoundError:
            continue  # closed in the meantime
    return sorted(held)


def threadsOf(pid: int) -> list[int]:
    """
    The threads of a process.
    """
    return sorted(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())


def childrenOf(pid: int) -> list[int]:
    """
    The children of a process, including zombies.
    """
    children = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children += [
                int(child) for child in (task / "children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended in the meantime
    return sorted(children)


def memoryOf(pid: int) -> int:
    """
    The private memory of a process and its children, in bytes.
    """
    private = 0
    for process in (pid, *childrenOf(pid)):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        private += sum(
            int(line.split()[1]) * 1024
            for line in rollup.splitlines()
            if line.startswith("Private_")
        )
    return private
