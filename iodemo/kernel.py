# -*- test-case-name: tests.test_doctor -*-
"""
What the kernel says of itself, whether it lends io_uring to this process, and what it
does for a process that ends.

Most machines that refuse io_uring refuse it for a reason that can be told and
changed: L{ioUringRefusal} finds which.

C{/proc} and C{/sys} are read under a root that can be given, so that tests can
show machines that are not this one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import signal
from pathlib import Path

SYSTEM = Path("/")
UNKNOWN = "unknown"

# Kernel 6.1 is the first long-term one with all that the uring backend builds on.
URING_FLOOR = (6, 1)

# asm-generic's numbers, which every architecture took but two.
_SETUP = ("io_uring_setup", 425)
_ENTER = ("io_uring_enter", 426)
_REGISTER = ("io_uring_register", 427)
_OTHER_NUMBERS = ("alpha", "mips")
# struct io_uring_params, which the kernel fills in; and io_uring_probe, likewise,
# which asks what operations there are.
_PARAMS_BYTES = 120
_REGISTER_PROBE = 8
_PROBE_BYTES = 16
_SECCOMP_FILTER = "2"
# linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def endWithParent(parent: int) -> None:
    """
    In a process that was just forked: have the kernel kill it as soon as its parent has
    ended, whatever ended that and whatever this process does by then. It is for a
    process alone: its own children would go on (L{iodemo.process.guard} ends those,
    too).

    @param parent: process id of the one that forked, which may have ended meanwhile.
    @raise OSError: if the kernel does not do that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")
    if os.getppid() != parent:
        os._exit(1)


def ioUringRefusal(root: Path = SYSTEM) -> str | None:
    """
    Say why this process cannot use io_uring as the backend needs it, and what to
    do about it; or L{None} if it can.

    It asks the kernel for a ring, asks the ring for nothing, and gives it back. What
    it finds holds for this process: another user, or a container, may be told
    otherwise.
    """
    if platform.system() != "Linux":
        return f"io_uring is part of Linux, and this is {platform.system() or UNKNOWN}"
    if platform.machine().startswith(_OTHER_NUMBERS):
        return f"io_uring has never been tried on {platform.machine()}"
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


def _tryRing() -> tuple[str, int] | None:
    """
    Ask for a ring of two entries, use it, and close it. A filter may forbid any of its
    three system calls.

    @return: the one that failed, and its C{errno}; L{None} if none did.
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
    @return: what a system call returns, and C{errno}.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    done = libc.syscall(ctypes.c_long(call[1]), *arguments)
    return done, ctypes.get_errno()


def _explain(call: str, code: int, root: Path) -> str:
    """
    Why a system call failed, and what to do.

    @param code: its C{errno}.
    """
    release = kernelRelease(root)
    numbers = version(release)
    said = f"{call} says {errno.errorcode.get(code, code)}"
    if code == errno.ENOSYS:
        if numbers and numbers < URING_FLOOR:
            return (
                f"{said}: Linux {release} is too old, the backend uring needs "
                f"{dotted(URING_FLOOR)} or later"
            )
        return (
            f"{said}: this kernel was built without CONFIG_IO_URING, or a "
            f"container hides it; {_ALLOW_IN_CONTAINER}"
        )
    if code == errno.EPERM:
        disabled = (readText(root, "proc/sys/kernel/io_uring_disabled") or "").strip()
        if disabled == "2":
            return (
                f"{said}: kernel.io_uring_disabled=2 switches it off for everybody; "
                "as root, sysctl -w kernel.io_uring_disabled=0"
            )
        if disabled == "1":
            return (
                f"{said}: kernel.io_uring_disabled=1 keeps it for root and for the "
                "group in kernel.io_uring_group; as root, sysctl -w "
                "kernel.io_uring_disabled=0, or put this user in that group"
            )
        status = readText(root, "proc/self/status") or ""
        seccomp = re.search(r"^Seccomp:\s*(\d+)$", status, re.MULTILINE)
        who = "a seccomp filter or a security module refuses it"
        if seccomp and seccomp[1] == _SECCOMP_FILTER:
            who = "a seccomp filter refuses it, as containers have"
        return f"{said}: {who}; {_ALLOW_IN_CONTAINER}"
    if code == errno.EACCES:
        return (
            f"{said}: a security module refuses it; allow io_uring in the policy of "
            "SELinux or AppArmor for this program"
        )
    if code == errno.EINVAL:
        return (
            f"{said} to the plainest of questions: what answers is not Linux's own "
            "io_uring; run outside the sandbox or emulator"
        )
    if code == errno.ENOMEM:
        return (
            f"{said}: memory that may be locked, or memory at all, is used up; raise "
            "it with 'ulimit -l', memlock in /etc/security/limits.conf or "
            "LimitMEMLOCK in a systemd unit"
        )
    if code in (errno.EMFILE, errno.ENFILE):
        return f"{said}: no file descriptor is left; raise 'ulimit -n'"
    return f"{said}: {os.strerror(code)}"


_ALLOW_IN_CONTAINER = (
    "start a container with --security-opt seccomp=unconfined, or with a profile "
    "that allows io_uring_setup, io_uring_enter and io_uring_register"
)


# Reading what may not be there.


def readText(root: Path, name: str = "") -> str | None:
    """
    The text of a file of the system, or L{None} if it cannot be had.
    """
    try:
        return (root / name).read_text("utf-8", "replace")
    except OSError:
        return None


def integers(text: str | None) -> list[int]:
    """
    The whole numbers in a file that holds nothing else; none if there is no file
    or something else in it.
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
    The two numbers that a kernel's release begins with.
    """
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return (int(numbers[1]), int(numbers[2])) if numbers else None


def dotted(version: tuple[int, int]) -> str:
    """
    A version as people write it.
    """
    return ".".join(map(str, version))
