"""
C{twistd} as a child process, for tests.

Nothing here sleeps: a service logs when it listens, and every wait ends in an error
after L{TIMEOUT}. The time-out is long, as a machine may be slow or busy; it only ends a
test that hangs, and decides nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.endpoints import quoteStringArgument
from twisted.trial.unittest import SkipTest, SynchronousTestCase

TIMEOUT = 600.0
TWISTD = str(Path(sys.executable).with_name("twistd"))

# A program that passes on a listening socket in the way of systemd: as descriptor 3,
# for the process that it becomes.
_AS_SYSTEMD = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="x", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def makeDirectory(test: SynchronousTestCase) -> Path:
    """
    Make a directory that is removed with the test. Its path is short, as the paths of
    UNIX sockets are limited.
    """
    directory = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, directory)
    return Path(directory)


def allowFiles(test: SynchronousTestCase, count: int) -> None:
    """
    Let this process and its children open this number of files, until the test ends.

    @raise SkipTest: if the user may not raise the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if hard != unlimited and hard < count:
        raise SkipTest(f"it takes {count:,} open files, and this user has {hard:,}")
    if soft != unlimited and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
        test.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))


def quoted(path: Path) -> str:
    """
    Escape a path for an endpoint string.
    """
    return quoteStringArgument(str(path))


def runTwistd(
    *arguments: str, directory: Path, passing: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """
    Run a C{twistd} that is expected to end by itself.
    """
    return subprocess.run(
        [TWISTD, *arguments],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        pass_fds=passing,
    )


class Child:
    """
    A service in a child process, which ends with the test.

    @ivar directory: its working directory.
    @ivar log: the part of its log that has been read.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        command: str,
        *options: str,
        listen: str | None = None,
        systemdSocket: socket.socket | None = None,
        reactor: str | None = None,
        twistd: Sequence[str] = (TWISTD,),
    ) -> None:
        self.directory = makeDirectory(test)
        self.log = b""
        listen = "tcp:0:interface=127.0.0.1" if listen is None else listen
        chosen = [] if reactor is None else [f"--reactor={reactor}"]
        line = [*twistd, "-n", *chosen, command, "--listen", listen, *options]
        passing: tuple[int, ...] = ()
        if systemdSocket is not None:
            number = systemdSocket.fileno()
            line = [sys.executable, "-c", _AS_SYSTEMD, str(number), *line]
            passing = (number,)
        self._process = subprocess.Popen(
            line,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=passing,
        )
        test.addCleanup(self.kill)
        self.await_(b" listens on ")

    @property
    def ports(self) -> list[int]:
        """
        The TCP ports it listens on, in the order of its options.
        """
        return [int(port) for port in re.findall(rb" starting on (\d+)\r?\n", self.log)]

    @property
    def pid(self) -> int:
        """
        Its process id.
        """
        return self._process.pid

    def connect(self) -> socket.socket:
        """
        Connect to its first port.
        """
        return socket.create_connection(("127.0.0.1", self.ports[0]), TIMEOUT)

    def await_(self, phrase: bytes) -> None:
        """
        Wait until the log contains a text.
        """
        while phrase not in self.log:
            if not self.readLog(TIMEOUT):
                stderr = self._process.communicate(timeout=TIMEOUT)[1]
                raise AssertionError(f"no {phrase!r} in {self.log!r}, {stderr!r}")

    def readLog(self, timeout: float = 0.0) -> bool:
        """
        Read the rest of the log.

        @return: whether there was more.
        """
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return False
        data = os.read(self._process.stdout.fileno(), 65536)
        self.log += data
        return bool(data)

    def stop(self) -> int:
        """
        Send SIGTERM, and wait. Afterwards C{log} is the whole log.

        @return: its exit status.
        """
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """
        Wait for its end. Afterwards C{log} is the whole log.

        @return: its exit status.
        """
        stdout, stderr = self._process.communicate(timeout=TIMEOUT)
        self.log += stdout
        if stderr:
            raise AssertionError(f"{stderr!r} on standard error")
        return self._process.returncode

    def kill(self) -> None:
        """
        Kill the process, if it has not ended.
        """
        self._process.kill()
        self._process.communicate(timeout=TIMEOUT)


def exchange(connection: socket.socket, data: bytes, shutdown: bool = False) -> bytes:
    """
    Send and receive at the same time, as many bytes as are sent.

    @param shutdown: whether to shut down the sending side after the data, and to
        receive until the peer closes.
    """
    received = bytearray()
    left = memoryview(data)
    # The socket is non-blocking, since select may report it as ready while TLS has no
    # data yet.
    connection.setblocking(False)
    while shutdown or left or len(received) < len(data):
        readable, writable, _ = select.select(
            [connection], [connection] if left else [], [], TIMEOUT
        )
        if not readable and not writable:
            raise AssertionError(f"nothing after {len(received)} bytes")
        if writable:
            with contextlib.suppress(ssl.SSLWantWriteError):
                left = left[connection.send(left[:65536]) :]
            if shutdown and not left:
                connection.shutdown(socket.SHUT_WR)
        if readable:
            try:
                piece = connection.recv(65536)
            except ssl.SSLWantReadError:
                continue
            received += piece
            if not piece:
                break
    connection.settimeout(TIMEOUT)
    return bytes(received)


def receive(connection: socket.socket, size: int) -> bytes:
    """
    Receive this number of bytes, or fewer if the peer closes.
    """
    received = bytearray()
    while len(received) < size:
        piece = connection.recv(min(65536, size - len(received)))
        if not piece:
            break
        received += piece
    return bytes(received)
