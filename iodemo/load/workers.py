# -*- test-case-name: tests.test_load -*-
"""
Workers: further processes of a load, where one process may not open all connections or
cannot send all requests.

The kernel kills the workers when the first process ends, in any way
(PR_SET_PDEATHSIG): SIGTERM and SIGKILL run no code of the first process, and a worker
in its hot loop does not read its pipe. The standard output of a worker is /dev/null, so
that a pipe from the first process reaches its end when the first process ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from iodemo.kernel import endWithParent
from iodemo.load.profile import LoadFailed

_STANDARD_OUTPUT = 1


class Worker:
    """
    A process forked from this one, and the pipe between the two.
    """

    def __init__(self, name: str, do: Callable[[Connection], None]) -> None:
        """
        @param name: what an error message calls the process if it ends too early.
        @param do: the function that the process runs. Its argument is the process's
            side of the pipe, to which it sends results or, if it fails, a
            L{LoadFailed}.
        """
        context = multiprocessing.get_context("fork")
        self._name = name
        self._parent = os.getpid()
        self._pipe, its = context.Pipe()
        self._process = context.Process(target=self._run, args=(do, its), daemon=True)
        self._process.start()
        its.close()

    def _run(self, do: Callable[[Connection], None], its: Connection) -> None:
        endWithParent(self._parent)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), _STANDARD_OUTPUT)
        self._pipe.close()
        do(its)

    def resume(self) -> None:
        """
        Send the message for which the process waits between two phases.
        """
        self._pipe.send(None)

    def receive(self) -> Any:
        """
        Wait for the next message of the process.

        @raise LoadFailed: if the process has failed, or ended.
        """
        try:
            message = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            message = LoadFailed(f"{self._name} of the load ended")
        if isinstance(message, LoadFailed):
            raise message
        return message

    def interrupt(self) -> None:
        """
        Send SIGINT to the process.
        """
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """
        Kill and reap the process. Its files are closed when this returns.
        """
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()
