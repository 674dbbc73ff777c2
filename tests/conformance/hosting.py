"""
A program under a backend, in a child process, as the test sees it.
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
    A child process that runs one of L{tests.conformance.programs}, and what it
    has told.

    @ivar directory: its working directory.
    @ivar events: what it has told so far, each a JSON object with an C{event}.
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
            # A group of its own: with it end the children it may have.
            start_new_session=True,
        )
        test.addCleanup(self._end)

    @property
    def errors(self) -> list[str]:
        """
        The types of the errors that have been logged.
        """
        return [str(event["type"]) for event in self.told("error")]

    @property
    def port(self) -> int:
        """
        The first port it listens on.
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
        What it has told of one kind.
        """
        self._read(0)
        return [each for each in self.events if each["event"] == event]

    def await_(self, event: str, count: int = 1) -> dict[str, Any]:
        """
        Wait until it has told something, so many times: the last of them.
        """
        while True:
            told = self.told(event)
            if len(told) >= count:
                return told[count - 1]
            if not self._read(TIMEOUT):
                raise AssertionError(f"{len(told)} of {count} {event}: {self.events}")

    def connect(self, receiveBuffer: int | None = None) -> socket.socket:
        """
        Connect to its first port. The connection ends with the test.

        @param receiveBuffer: as in L{connectTo}.
        """
        client = connectTo(self.port, receiveBuffer)
        self._test.addCleanup(client.close)
        return client

    def permit(self, what: str) -> None:
        """
        Let it go on with something: see L{programs.whenPermitted}.
        """
        (self.directory / what).touch()

    def finish(self) -> None:
        """
        Ask it to end, if it has not, and check that it does so well, with all
        its children.
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
        Read what it tells: whether there was more. All of its processes have
        this pipe, so its end is the end of them all.
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
        # While the leader is not waited for, the group's number is its own.
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(TIMEOUT)
        self._process.stdout.close()


def keepBusy(host: Host, event: str, count: int) -> None:
    """
    Talk on many connections until the host, which sends back what it receives, has
    told something so many times. Only then may it start with what leads to that.
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
    Wait for what gives no notice, such as a count in /proc.

    @param what: what to show if it does not come.
    """
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: {what()}")
        time.sleep(0.02)


def descriptorsOf(pid: int) -> list[str]:
    """
    What the descriptors of a process refer to, one each.
    """
    held = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            held.append(f"{descriptor.name}: {descriptor.readlink()}")
        except FileNotFoundError:
            continue  # closed while we looked
    return sorted(held)


def threadsOf(pid: int) -> list[int]:
    """
    The threads of a process.
    """
    return sorted(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())


def childrenOf(pid: int) -> list[int]:
    """
    The children of a process, zombies among them.
    """
    children = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children += [
                int(child) for child in (task / "children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended while we looked
    return sorted(children)


def memoryOf(pid: int) -> int:
    """
    Bytes of memory that a process and its children have of their own.
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
