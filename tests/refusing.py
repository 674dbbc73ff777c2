"""
Programs in which the kernel refuses system calls of io_uring, for tests.
"""

from __future__ import annotations

#: A program that is twistd.
TWISTD = """
from twisted.scripts.twistd import run
run()
"""

# The numbers of the system calls.
SETUP = 425
ENTER = 426
REGISTER = 427
CALLS = {
    SETUP: "io_uring_setup",
    ENTER: "io_uring_enter",
    REGISTER: "io_uring_register",
}


def refusing(call: int, error: int, above: int = 0) -> str:
    """
    Program text that makes a system call fail from there on, by a filter (seccomp(2)).

    @param above: the call fails only if its first argument is larger than this.
    """
    return _filtering(call, 0x00050000 | error, above)


def killing(call: int) -> str:
    """
    Program text that makes a system call end the process from there on.
    """
    return _filtering(call, 0x80000000)


def _filtering(call: int, action: int, above: int = 0) -> str:
    return f"""
import ctypes, struct, sys
program = b"".join(struct.pack("=HBBI", *instruction) for instruction in (
    (0x20, 0, 0, 0),                          # load the number of the call
    (0x15, 0, 3, {call}),                     # if it is this one,
    (0x20, 0, 0, 16 + 4 * (sys.byteorder == "big")),  # load its first argument,
    (0x25, 0, 1, {above}),                    # and if that is above,
    (0x06, 0, 0, {action}),                   # act;
    (0x06, 0, 0, 0x7FFF0000),                 # else allow
))
memory = ctypes.create_string_buffer(program, len(program))
prepared = struct.pack("HP", 6, ctypes.addressof(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0            # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, prepared, 0, 0) == 0     # PR_SET_SECCOMP, a filter
"""
