"""
Run as a script: become another program that cannot outlive its parent.

C{python -I -S leash.py PARENT CORE PROGRAM ARGUMENT...} asks the kernel to kill
this process when PARENT dies (C{PR_SET_PDEATHSIG}, which survives C{exec}),
pins it to CORE unless that is C{-}, raises the soft limit on open files to the
hard one, and becomes PROGRAM. So whatever ends a comparison, even SIGKILL, ends
what it started; and a process is where it belongs before its first instruction.

It imports nothing of iodemo, and no site packages: it costs some 15 ms a start.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: str, core: str, *command: str) -> None:
    """
    Does not return.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if core != "-":
            os.sched_setaffinity(0, {int(core)})
    # The parent may have died before the kernel was asked.
    if os.getppid() != int(parent):
        sys.exit("the comparison ended before this began")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
