# -*- test-case-name: tests.test_bench -*-
"""
The processes that iodemo starts, of which none is left when it ends.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from iodemo.process.signals import signalName

_GUARD = Path(__file__).with_name("guard.py")
# The guard pipe. Its writing end stays open, unused, until this process ends.
_GUARD_PIPE, _GUARD_PIPE_WRITER = os.pipe()
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\dT[^ ]+ \[[^]]*\] ")


class Child:
    """
    A process with a guard, in a session of its own (so that Ctrl-C at the terminal
    reaches iodemo alone). Its output goes to temporary files.

    At the end of a C{with} block, the process and its own children are killed if they
    still run.

    @cvar GRACE: seconds a process has to end after SIGTERM.
    """

    GRACE = 30.0

    def __init__(
        self,
        command: list[str],
        cores: list[int] | None,
        directory: Path | None = None,
        passing: tuple[int, ...] = (),
    ) -> None:
        """
        @param command: the program and its arguments.
        @param cores: the numbers of the cores to pin it to; C{None} for any core.
        @param directory: its working directory, if not this process's.
        @param passing: the descriptors that it inherits.
        """
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 closed in __exit__
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed in __exit__
        chosen = ",".join(map(str, cores)) if cores else "-"
        guarded = [sys.executable, "-I", "-S", str(_GUARD), str(_GUARD_PIPE)]
        self._process = subprocess.Popen(
            [*guarded, chosen, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            start_new_session=True,
            cwd=directory,
            pass_fds=(_GUARD_PIPE, *passing),
        )
        self._descriptor = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Process id. It stays the same when guard.py becomes the program."""
        return self._process.pid

    @property
    def descriptor(self) -> int:
        """A pidfd: poll(2) reports it as readable once the process has ended."""
        return self._descriptor

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Kill the group before reaping its leader: once the leader is reaped, its
        # number may belong to an unrelated process.
        with suppress(ProcessLookupError, PermissionError):  # the group is empty
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._descriptor)
        self._output.close()
        self._errors.close()

    def stop(self) -> bool:
        """
        Send SIGTERM, and wait until the process has ended.

        @return: whether it has, within L{GRACE} seconds.
        """
        if not self.ended:
            signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
        return awaitFirst((self,), self.GRACE)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._status() is not None

    @property
    def failure(self) -> str | None:
        """
        How it ended: an exit status or a signal. C{None} if it still runs, has exited
        with 0 or was ended by SIGTERM.
        """
        status = self._status()
        if status is None or status in (0, -signal.SIGTERM):
            return None
        if status < 0:
            return f"killed by {signalName(-status)}"
        return f"exit status {status}"

    def _status(self) -> int | None:
        """
        The exit status, or the negative number of a signal; C{None} if it still runs.
        An ended process is not reaped.
        """
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        ended = os.waitid(os.P_PID, self.pid, options)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    def output(self) -> str:
        """Its standard output so far."""
        return self._read(self._output)

    def lastWords(self) -> str:
        """
        The last line of standard error, or of standard output if that is empty. The
        text comes from outside, so unprintable characters are replaced.

        @return: at most 500 characters; an empty string if both are empty.
        """
        for stream in (self._errors, self._output):
            lines = self._read(stream).strip().splitlines()
            if lines:
                words = _LOG_PREFIX.sub("", lines[-1]).strip()
                return "".join(c if c.isprintable() else "?" for c in words)[:500]
        return ""

    @staticmethod
    def _read(stream: IO[bytes]) -> str:
        # pread does not move the file offset, which the child's descriptor shares.
        size = os.fstat(stream.fileno()).st_size
        tail = os.pread(stream.fileno(), 1 << 16, max(0, size - (1 << 16)))
        return tail.decode("utf-8", "replace")


def awaitFirst(children: tuple[Child, ...], seconds: float) -> bool:
    """
    Wait until one of the children has ended.

    @return: whether one has, within C{seconds}.
    """
    poll = select.poll()
    for child in children:
        poll.register(child._descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
