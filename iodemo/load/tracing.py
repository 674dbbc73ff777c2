# -*- test-case-name: tests.test_tracing -*-
"""
System calls of a server, counted from outside and by name.

Facts. A kernel tracepoint fires at the calls of every process. perf counts how often
one fires in a given thread, with a filter or without: such a counter is a descriptor,
takes some 30 microseconds to make, and adds next to nothing to a call. To release a
tracepoint takes the kernel tens of milliseconds. C{raw_syscalls:sys_enter} with one
filter per name is a single tracepoint; the tracepoint of each name would be one more to
release. The kernel may allow tracepoints to root only. strace may trace any process of
its user, unless kernel.yama.ptrace_scope forbids it. It stops the process twice at
every call: its counts are right, and the process is ten times slower meanwhile.

Decision. Both programs take a list of processes and report when counting has begun. So
a count begins and ends while the server has no request in flight, and is of all
requests between; no latency is measured during it. perf is tried first.

Costs. A server that never blocks (busy polling) makes system calls between requests
too, and these count; with perf that time is very short. A filter matches the number of
a call, so perf has names only for the calls in L{_NUMBERS}, and only if there are not
too many threads; all other calls count as L{OTHER}.
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

# The calls that perf counts by name. With many threads it counts only the first of
# these, so the calls of a server with many threads come first. Most architectures have
# the numbers of asm-generic/unistd.h.
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

#: The name for all calls that are not counted by name.
OTHER = "other"


class CannotTrace(Exception):
    """System calls cannot be counted here. The message gives the reason."""


class Trace:
    """
    A count in progress, made by a program in a process of its own. A context manager:
    the end of the block kills the program if it still runs.

    @cvar name: the program's name. It counts until SIGINT, and reports to standard
        error.
    """

    name: str

    def __init__(self, arguments: Sequence[str], passing: Sequence[int] = ()) -> None:
        self._output = b""
        self._errors, errors = os.pipe()
        try:
            self._process = subprocess.Popen(
                [self.name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=passing,
                # Otherwise, after a load that was killed, strace would go on and slow
                # the server down.
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
        Stop counting.

        @return: the number of calls, by name.
        @raise CannotTrace: if the program reports no counts.
        """
        raise NotImplementedError

    def _report(self) -> list[str]:
        """
        Interrupt the program and wait for its end.

        @return: the lines that it has printed to standard error.
        """
        self._process.send_signal(signal.SIGINT)
        while self._readMore():
            pass
        return self._output.decode("utf-8", "replace").splitlines()

    def _readMore(self) -> bool:
        """
        Wait for more output of the program.

        @return: whether there was some; false if the program has ended.
        """
        if not _readable(self._errors):
            raise CannotTrace(f"{self.name}: nothing happened for {_PATIENCE:g} s")
        more = os.read(self._errors, 65536)
        self._output += more
        return bool(more)

    def _failed(self) -> CannotTrace:
        """
        The reason why the program failed: its error message, if it printed one.
        """
        self._process.kill()
        while self._readMore():
            pass
        output = self._output.decode("utf-8", "replace")
        found = re.search(rf"^(?:Error|{self.name}):\s*(.+)$", output, re.MULTILINE)
        return CannotTrace(f"{self.name}: {found[1] if found else 'it ended'}")


class _Perf(Trace):
    """
    Counts by perf: counters in the kernel.
    """

    name = "perf"

    def __init__(self, pids: Sequence[int]) -> None:
        known = _NUMBERS.get(platform.machine(), "").split()
        most = max(0, _MOST_COUNTERS // _threads(pids) - 1)
        numbers = dict(word.split("=") for word in known[:most])
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
            self._control(b"enable\n")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *details: Any) -> None:
        super().__exit__(*details)
        self._close()

    def _close(self) -> None:
        os.close(self._commands)
        os.close(self._answers)

    def _control(self, command: bytes) -> None:
        """
        Send perf a command over its control descriptor, and wait until it has obeyed.
        """
        with suppress(BrokenPipeError):  # perf has ended: the read below finds it out
            os.write(self._commands, command)
        if not (_readable(self._answers) and os.read(self._answers, 16)):
            raise self._failed()

    def end(self) -> dict[str, int]:
        """
        See L{Trace.end}.
        """
        self._control(b"disable\n")
        fields = [line.split(",") for line in self._report()]
        # For a process that did not run perf prints "<not counted>".
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
    Counts by strace, which stops the traced process at every call.
    """

    name = "strace"

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(
            ["-c", "-f", *(word for pid in pids for word in ("-p", str(pid)))]
        )
        try:
            while self._begun() < len(pids):
                if not self._readMore():
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
        calls.pop("restart_syscall", None)  # the call that attaching interrupted
        return calls

    def _begun(self) -> int:
        """
        The number of processes that strace has attached to or failed to attach to; 0 if
        it has attached to none.
        """
        begun = _BEGUN.findall(self._output)
        return len(begun) if any(b"attached" in each for each in begun) else 0


def begin(pids: Sequence[int]) -> Trace:
    """
    Begin to count the calls of processes, their threads and the processes they start.

    @raise CannotTrace: if neither perf nor strace can.
    """
    reasons = []
    for trace in (_Perf, _Strace):
        try:
            return trace(pids)
        except CannotTrace as error:
            reasons.append(str(error))
    raise CannotTrace("; ".join(reasons))


def _filters(numbers: Iterable[str]) -> Iterator[str]:
    """
    The arguments of perf for counting calls by their numbers.
    """
    for number in numbers:
        yield from ("-e", _EVENT, "--filter", f"id=={number}")


def _threads(pids: Sequence[int]) -> int:
    """
    The number of threads of processes, at least 1.
    """
    count = 0
    for pid in pids:
        with suppress(OSError):  # the process has ended
            count += len(os.listdir(f"/proc/{pid}/task"))
    return max(count, 1)


def _readable(descriptor: int) -> bool:
    """
    Whether a descriptor becomes readable, or reaches its end, within L{_PATIENCE}
    seconds.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(_PATIENCE * 1000))
