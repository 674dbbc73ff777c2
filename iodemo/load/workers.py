# -*- test-case-name: tests.test_load -*-
"""
Further processes of a load, for as many connections as one may not have, or as many
requests as one cannot make.

However the first process ends, the kernel ends the others with it: SIGTERM and SIGKILL
run nothing of ours, and a companion in its hot loop looks at no pipe. None of them has
the standard output of the first, so that whoever reads that sees it end with the first.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from iodemo.kernel import endWithParent
from iodemo.load.plan import LoadFailed

_STANDARD_OUTPUT = 1


class Companion:
    """
    A process, forked from this one, that does something in step with it.
    """

    def __init__(self, name: str, do: Callable[[Connection], None]) -> None:
        """
        @param name: what it is called where it ends by itself.
        @param do: what it does. What it sends is heard here; a L{LoadFailed} is why it
            has failed.
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

    def tell(self) -> None:
        """
        Let it go on, where it waits to receive something.
        """
        self._pipe.send(None)

    def hear(self) -> Any:
        """
        Wait for what it sends next.

        @raise LoadFailed: if it has failed, or ended.
        """
        try:
            said = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            said = LoadFailed(f"{self._name} of the load ended")
        if isinstance(said, LoadFailed):
            raise said
        return said

    def interrupt(self) -> None:
        """
        Send it SIGINT.
        """
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """
        Kill it, whatever it does. Its files are closed when this returns.
        """
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()
