# -*- test-case-name: tests.test_bench -*-
"""
The processes a comparison starts, and that none is left when it ends.
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

_LEASH = Path(__file__).with_name("guard.py")
# Nobody writes to it. Its writing end is closed when this process is no more.
_LIFELINE, _HELD = os.pipe()
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\dT[^ ]+ \[[^]]*\] ")


class Child:
    """
    A process on a leash, in a session of its own (so that Ctrl-C at the terminal
    reaches the comparison alone), its output kept in files.

    As a context manager, it and its own children are gone at the end of the block,
    asked or not.

    @cvar GRACE: seconds a process has to end after SIGTERM.
    """

    GRACE = 30.0

    def __init__(
        self,
        command: list[str],
        core: int | None,
        directory: Path | None = None,
        passing: tuple[int, ...] = (),
    ) -> None:
        """
        @param core: where to run it; L{None} for anywhere.
        @param directory: its working directory, if not this process's.
        @param passing: the descriptors it inherits.
        """
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 closed in __exit__
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed in __exit__
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(_LIFELINE)]
        self._process = subprocess.Popen(
            [*leash, "-" if core is None else str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            start_new_session=True,
            cwd=directory,
            pass_fds=(_LIFELINE, *passing),
        )
        self._descriptor = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Process id, also of the program after the leash."""
        return self._process.pid

    @property
    def descriptor(self) -> int:
        """What poll(2) reports as readable once it has ended."""
        return self._descriptor

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The group first, while the first process, dead or not, still holds the
        # number: afterwards it could be anybody's.
        with suppress(ProcessLookupError, PermissionError):  # nobody is left in it
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._descriptor)
        self._output.close()
        self._errors.close()

    def stop(self) -> bool:
        """
        Ask the process to end, and wait.

        @return: whether it did within L{GRACE} seconds.
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
        """How it ended, if not well or as asked; L{None} if it did or has not."""
        status = self._status()
        if status is None or status in (0, -signal.SIGTERM):
            return None
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"exit status {status}"

    def _status(self) -> int | None:
        """
        The exit status, or minus a signal, or L{None}; leaves the zombie be.
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
        The last line it wrote to standard error, else to standard output, or
        nothing. It is text from outside: what cannot be printed is replaced.
        """
        for stream in (self._errors, self._output):
            lines = self._read(stream).strip().splitlines()
            if lines:
                words = _LOG_PREFIX.sub("", lines[-1]).strip()
                return "".join(c if c.isprintable() else "?" for c in words)[:500]
        return ""

    @staticmethod
    def _read(stream: IO[bytes]) -> str:
        # pread leaves alone the offset, which the child's descriptor shares.
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
