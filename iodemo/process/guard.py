"""
Run as a script: become another program that cannot outlive a comparison.

C{python -I -S guard.py LIFELINE CORE PROGRAM ARGUMENT...}. LIFELINE is the
reading end of a pipe whose other end the comparison alone holds: when that is
over, however it ended, SIGKILL included, the pipe ends. A guard process waits
for that and then kills its process group: the program and whatever it started.
(PR_SET_PDEATHSIG would do for the program alone, not for its children.)

Before it becomes PROGRAM, this process pins itself to CORE, unless that is C{-},
and raises its soft limit on open files to the hard one.

It imports nothing of iodemo, and no site packages: it costs some 15 ms a start.
"""

import os
import resource
import signal
import sys


def main(lifeline: str, core: str, *command: str) -> None:
    """
    Does not return.
    """
    guard(int(lifeline))
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.execvp(command[0], command)


def guard(lifeline: int) -> None:
    """
    Start the guard. It is nobody's child, so that nobody counts it as a part of
    the program, and is of our process group, so that it ends with the others.
    """
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.read(lifeline, 1)
            os.killpg(0, signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(lifeline)


if __name__ == "__main__":
    main(*sys.argv[1:])
