# -*- test-case-name: tests.test_tracing -*-
"""
Which system calls a server makes, counted from outside.

Facts. A tracepoint of the kernel sees every call of everybody. perf counts what one
sees of a thread, all of it or what a filter lets through: such a counter is a
descriptor, is made in some 30 microseconds and costs a call next to nothing. To let go
of a tracepoint takes the kernel tens of milliseconds; that of all calls and a filter
for each name is one, and a name's own tracepoint is another for each. Not everybody may
use them. strace, which may watch whatever its user runs (unless
kernel.yama.ptrace_scope says otherwise), stops the watched twice at every call: it
counts well, and what is watched runs ten times slower meanwhile.

Decision. Both are told which processes there are, and both say when they have begun.
So a count begins and ends while a server has nothing to answer, and is of all requests
between; nobody times them. perf is asked first.

Costs. A server that never waits (busy polling) makes calls while it has nothing to
answer, which count too; with perf that is for as good as no time. A filter knows a call
by its number, so perf has names for those in L{_NUMBERS} and not too many threads at a
time; what else there was is L{OTHER}.
"""

from __future__ import annotations

import os
import platform
import re
import select
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any

from iodemo.kernel import endWithParent

# What is counted by name, those first that a server with many threads makes. Most
# architectures have the numbers of asm-generic/unistd.h.
_GENERIC = (
    "recvfrom=207 sendto=206 futex=98 read=63 write=64 epoll_ctl=21 epoll_pwait=22 "
    "epoll_pwait2=441 io_uring_enter=426 pselect6=72 ppoll=73 recvmsg=212 sendmsg=211 "
    "readv=65 writev=66 accept4=242 setsockopt=208 clock_nanosleep=115 sched_yield=124 "
    "getpid=172"
)
_NUMBERS = {
    "x86_64": (
        "recvfrom=45 sendto=44 futex=202 read=0 write=1 epoll_wait=232 epoll_ctl=233 "
        "epoll_pwait=281 epoll_pwait2=441 io_uring_enter=426 poll=7 select=23 "
        "pselect6=270 ppoll=271 recvmsg=47 sendmsg=46 readv=19 writev=20 accept4=288 "
        "setsockopt=54 clock_nanosleep=230 sched_yield=24 getpid=39"
    ),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
}

_MOST_COUNTERS = 8192
_EVENT = "raw_syscalls:sys_enter"
_BEGUN = re.compile(rb"^strace: (?:Process \d+ attached|attach:)", re.MULTILINE)
_PATIENCE = 20.0

#: The name of those that were not counted by name.
OTHER = "other"


class CannotTrace(Exception):
    """System calls cannot be counted here. The message says why."""


class Trace:
    """
    A count that has begun, by a program of its own. As a context manager it is over at
    the end of the block, whatever happens.

    @cvar name: the program's. It counts until it is interrupted, and reports to
        standard error.
    """

    name: str

    def __init__(self, arguments: Sequence[str], passing: Sequence[int] = ()) -> None:
        self._said = b""
        self._errors, errors = os.pipe()
        try:
            self._process = subprocess.Popen(
                [self.name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=passing,
                # Else it would go on, and strace slow down the watched, after a load
                # that was killed.
                preexec_fn=partial(endWithParent, os.getpid()),
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            os.close(self._errors)
            raise CannotTrace(f"{self.name}: {error.strerror}") from error
        finally:
            os.close(errors)

    def __enter__(self) -> Trace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._errors)

    def end(self) -> dict[str, int]:
        """
        How many calls there were of each name, since it began.

        @raise CannotTrace: if that cannot be said.
        """
        raise NotImplementedError

    def _report(self) -> list[str]:
        """
        Have it end, and wait: the lines it has said since it began.
        """
        self._process.send_signal(signal.SIGINT)
        while self._hear():
            pass
        return self._said.decode("utf-8", "replace").splitlines()

    def _hear(self) -> bool:
        """
        Wait for what it says next.

        @return: whether it has said something, and not ended.
        """
        if not _readable(self._errors):
            raise CannotTrace(f"{self.name}: nothing happened for {_PATIENCE:g} s")
        said = os.read(self._errors, 65536)
        self._said += said
        return bool(said)

    def _failed(self) -> CannotTrace:
        """
        Why it does not do what it should, in its own words if it has any.
        """
        self._process.kill()
        while self._hear():
            pass
        said = self._said.decode("utf-8", "replace")
        told = re.search(rf"^(?:Error|{self.name}):\s*(.+)$", said, re.MULTILINE)
        return CannotTrace(f"{self.name}: {told[1] if told else 'it ended'}")


class _Perf(Trace):
    """
    Counters of the kernel.
    """

    name = "perf"

    def __init__(self, pids: Sequence[int]) -> None:
        known = _NUMBERS.get(platform.machine(), "").split()
        room = max(0, _MOST_COUNTERS // _threads(pids) - 1)
        numbers = dict(word.split("=") for word in known[:room])
        self._names = list(numbers)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        try:
            super().__init__(
                [
                    *("stat", "-x,", "--delay=-1", "--control"),
                    f"fd:{commands},{answers}",
                    *("-e", _EVENT),
                    *_filters(numbers.values()),
                    *("-p", ",".join(map(str, pids))),
                ],
                (commands, answers),
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(commands)
            os.close(answers)
        try:
            self._tell(b"enable\n")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        self._close()

    def _close(self) -> None:
        os.close(self._commands)
        os.close(self._answers)

    def _tell(self, command: bytes) -> None:
        """
        Have it do something, and wait until it is done.
        """
        with suppress(BrokenPipeError):  # which the answer, or none, explains
            os.write(self._commands, command)
        if not (_readable(self._answers) and os.read(self._answers, 16)):
            raise self._failed()

    def end(self) -> dict[str, int]:
        """
        See L{Trace.end}.
        """
        self._tell(b"disable\n")
        fields = [line.split(",") for line in self._report()]
        # Of who did nothing at all it says "<not counted>".
        every, *named = [
            int(each[0]) if each[0].isdigit() else 0
            for each in fields
            if each[2:3] == [_EVENT]
        ] or [0]
        if len(named) != len(self._names):
            raise self._failed()
        calls = dict(zip(self._names, named, strict=True))
        calls[OTHER] = every - sum(named)
        return {name: count for name, count in calls.items() if count > 0}


class _Strace(Trace):
    """
    A debugger that counts.
    """

    name = "strace"

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(
            ["-c", "-f", *(word for pid in pids for word in ("-p", str(pid)))]
        )
        try:
            while self._begun() < len(pids):
                if not self._hear():
                    raise self._failed()
        except BaseException:
            self.__exit__()
            raise

    def end(self) -> dict[str, int]:
        """
        See L{Trace.end}.
        """
        # % time, seconds, usecs/call, calls, errors if any, syscall
        rows = [line.split() for line in self._report()]
        calls = {
            row[-1]: int(row[3])
            for row in rows
            if len(row) in (5, 6) and row[3].isdigit()
        }
        if calls.pop("total", None) is None:
            raise self._failed()
        calls.pop("restart_syscall", None)  # what it interrupted when it began
        return calls

    def _begun(self) -> int:
        """
        How many processes it is done with, provided that one of them is there.
        """
        begun = _BEGUN.findall(self._said)
        return len(begun) if any(b"attached" in each for each in begun) else 0


def begin(pids: Sequence[int]) -> Trace:
    """
    Begin to count the calls of some processes, their threads, and whatever they start.

    @raise CannotTrace: if nothing here can.
    """
    reasons = []
    for way in (_Perf, _Strace):
        try:
            return way(pids)
        except CannotTrace as error:
            reasons.append(str(error))
    raise CannotTrace("; ".join(reasons))


def _filters(numbers: Iterable[str]) -> Iterator[str]:
    """
    The arguments by which perf counts each of some calls.
    """
    for number in numbers:
        yield from ("-e", _EVENT, "--filter", f"id=={number}")


def _threads(pids: Sequence[int]) -> int:
    """
    How many threads some processes have.
    """
    count = 0
    for pid in pids:
        with suppress(OSError):  # it has ended
            count += len(os.listdir(f"/proc/{pid}/task"))
    return max(count, 1)


def _readable(descriptor: int) -> bool:
    """
    Whether there is something to read, or an end, within L{_PATIENCE} seconds.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(_PATIENCE * 1000))
