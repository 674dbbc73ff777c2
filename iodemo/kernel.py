# -*- test-case-name: tests.test_doctor -*-
"""
The kernel's release, its files in C{/proc} and C{/sys}, and whether this process may
use io_uring.

Most machines that refuse io_uring do so for a reason that can be found and changed:
L{ioUringRefusal} finds it.

The functions take the directory that holds C{proc} and C{sys}, so that tests can
imitate other machines.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
import resource
import signal
from pathlib import Path

SYSTEM = Path("/")
UNKNOWN = "unknown"

# Kernel 6.1 is the first long-term release with every feature that the uring backend
# uses.
URING_FLOOR = (6, 1)

# System call numbers of asm-generic, the same on all architectures except two.
_SETUP = ("io_uring_setup", 425)
_ENTER = ("io_uring_enter", 426)
_REGISTER = ("io_uring_register", 427)
_OTHER_NUMBERS = ("alpha", "mips")
# Sizes of struct io_uring_params and of struct io_uring_probe (which lists the
# supported operations); the kernel fills in both.
_PARAMS_BYTES = 120
_REGISTER_PROBE = 8
_PROBE_BYTES = 16
_SECCOMP_FILTER = "2"
# linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def endWithParent(parent: int) -> None:
    """
    In a process that was just forked: have the kernel kill this process as soon as its
    parent has ended for any reason (PR_SET_PDEATHSIG). The children of this process are
    not killed; L{iodemo.process.guard} ends those, too.

    @param parent: the parent's process id. If the parent has ended meanwhile, this
        process exits at once.
    @raise OSError: if prctl(2) fails.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")
    if os.getppid() != parent:
        os._exit(1)


def ioUringRefusal(root: Path = SYSTEM) -> str | None:
    """
    Find why this process cannot use io_uring as the backend needs it.

    It sets up a ring, makes each of its three system calls once, and closes the ring.
    The answer is about this process: for another user, or in a container, it may be
    different. If there is a seccomp filter, a child process tries first, since a filter
    may kill the process.

    @return: the reason and what to change; C{None} if io_uring can be used.
    """
    if platform.system() != "Linux":
        return f"io_uring is part of Linux, and this is {platform.system() or UNKNOWN}"
    if platform.machine().startswith(_OTHER_NUMBERS):
        return f"io_uring has never been tried on {platform.machine()}"
    if _isFiltered(root) and _isKilled():
        return _KILLED
    refused = _tryRing()
    if refused is not None:
        return _explain(*refused, root)
    release = kernelRelease(root)
    numbers = version(release)
    if numbers and numbers < URING_FLOOR:
        return (
            f"Linux {release} has an io_uring that is too old: the backend uring "
            f"needs {dotted(URING_FLOOR)} or later"
        )
    return None


def _isFiltered(root: Path) -> bool:
    """
    Whether this process has a seccomp filter.
    """
    status = readText(root, "proc/self/status") or ""
    seccomp = re.search(r"^Seccomp:\s*(\d+)$", status, re.MULTILINE)
    return seccomp is not None and seccomp[1] == _SECCOMP_FILTER


def _isKilled() -> bool:
    """
    Whether a seccomp filter kills a process that makes a system call of io_uring.
    """
    # Its exit status is not always there: a process that ignores SIGCHLD gets none.
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            _tryRing()
            os.write(writer, b"\0")
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        survived = pipe.read()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    return not survived


def _tryRing() -> tuple[str, int] | None:
    """
    Set up a ring of two entries, enter it, probe it, and close it: a seccomp filter may
    forbid any of the three system calls.

    @return: the system call that failed, and its C{errno}; C{None} if none failed.
    """
    params = ctypes.create_string_buffer(_PARAMS_BYTES)
    ring, code = _call(_SETUP, ctypes.c_uint(2), params)
    if ring == -1:
        return _SETUP[0], code
    number = ctypes.c_uint(ring)
    nothing = ctypes.c_uint(0)
    probe = ctypes.create_string_buffer(_PROBE_BYTES)
    try:
        for call, arguments in (
            (_ENTER, (nothing, nothing, nothing, None, ctypes.c_size_t(0))),
            (_REGISTER, (ctypes.c_uint(_REGISTER_PROBE), probe, nothing)),
        ):
            done, code = _call(call, number, *arguments)
            if done == -1:
                return call[0], code
    finally:
        os.close(ring)
    return None


def _call(call: tuple[str, int], *arguments: object) -> tuple[int, int]:
    """
    Make a system call.

    @param call: its name and number.
    @return: its return value, and C{errno}.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    done = libc.syscall(ctypes.c_long(call[1]), *arguments)
    return done, ctypes.get_errno()


def _explain(call: str, code: int, root: Path) -> str:
    """
    Explain why a system call of io_uring failed, and what to change.

    @param call: its name.
    @param code: its C{errno}.
    """
    release = kernelRelease(root)
    numbers = version(release)
    failure = f"{call} says {errno.errorcode.get(code, code)}"
    if code == errno.ENOSYS:
        if numbers and numbers < URING_FLOOR:
            return (
                f"{failure}: Linux {release} is too old, the backend uring needs "
                f"{dotted(URING_FLOOR)} or later"
            )
        return (
            f"{failure}: this kernel was built without CONFIG_IO_URING, or a "
            f"container hides it; {_ALLOW_IN_CONTAINER}"
        )
    if code == errno.EPERM:
        disabled = (readText(root, "proc/sys/kernel/io_uring_disabled") or "").strip()
        if disabled == "2":
            return (
                f"{failure}: kernel.io_uring_disabled=2 switches it off for all users; "
                "as root, sysctl -w kernel.io_uring_disabled=0"
            )
        if disabled == "1":
            return (
                f"{failure}: kernel.io_uring_disabled=1 keeps it for root and for the "
                "group in kernel.io_uring_group; as root, sysctl -w "
                "kernel.io_uring_disabled=0, or put this user in that group"
            )
        cause = "a seccomp filter or a security module refuses it"
        if _isFiltered(root):
            cause = "a seccomp filter refuses it, as containers have"
        return f"{failure}: {cause}; {_ALLOW_IN_CONTAINER}"
    if code == errno.EACCES:
        return (
            f"{failure}: a security module refuses it; allow io_uring in the policy of "
            "SELinux or AppArmor for this program"
        )
    if code == errno.EINVAL:
        return (
            f"{failure} to the simplest call: this io_uring is not Linux's own; run "
            "outside the sandbox or emulator"
        )
    if code == errno.ENOMEM:
        return (
            f"{failure}: no memory is left, or none that may be locked; raise the "
            "limit with 'ulimit -l', memlock in /etc/security/limits.conf or "
            "LimitMEMLOCK in a systemd unit"
        )
    if code in (errno.EMFILE, errno.ENFILE):
        return f"{failure}: no file descriptor is left; raise 'ulimit -n'"
    return f"{failure}: {os.strerror(code)}"


_KILLED = (
    "a seccomp filter kills a process that uses io_uring; in a systemd unit, add @aio "
    "to SystemCallFilter, or refuse system calls by SystemCallErrorNumber=EPERM"
)
_ALLOW_IN_CONTAINER = (
    "start a container with --security-opt seccomp=unconfined, or with a profile "
    "that allows io_uring_setup, io_uring_enter and io_uring_register"
)


# Files that may be absent or unreadable.


def readText(root: Path, name: str = "") -> str | None:
    """
    The text of a file, or C{None} if it cannot be read.
    """
    try:
        return (root / name).read_text("utf-8", "replace")
    except OSError:
        return None


def integers(text: str | None) -> list[int]:
    """
    The whole numbers in a text, separated by white space.

    @param text: C{None} if there is no file.
    @return: an empty list if there is no text, or anything but whole numbers in it.
    """
    try:
        return [int(word) for word in (text or "").split()]
    except ValueError:
        return []


def kernelRelease(root: Path) -> str:
    """
    The kernel's release, as in C{6.1.0-37-amd64}.
    """
    text = readText(root, "proc/sys/kernel/osrelease") or platform.release()
    return text.strip()


def version(release: str) -> tuple[int, int] | None:
    """
    The two numbers at the beginning of a kernel's release; C{None} if it begins with
    something else.
    """
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def dotted(version: tuple[int, int]) -> str:
    """
    A version as text: C{(6, 1)} is C{"6.1"}.
    """
    return ".".join(map(str, version))
