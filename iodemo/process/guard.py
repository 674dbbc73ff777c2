"""
Run as a script: become another program that cannot outlive iodemo.

C{python -I -S guard.py PIPE CORES PROGRAM ARGUMENT...}. PIPE is the descriptor of the
reading end of the guard pipe. Only iodemo holds the writing end, so a read from PIPE
returns when iodemo has ended, even by SIGKILL. The guard, a process of its own, waits
for that and then kills its process group: the program and every process that the
program started. (PR_SET_PDEATHSIG would end the program, but not its children.)

Before it becomes PROGRAM, this process pins itself to CORES, such as C{2} or C{2,3},
unless that is C{-}, and raises its soft limit on open files to the hard limit.

It imports nothing of iodemo, and no site packages: a start costs some 15 ms.
"""

import os
import resource
import signal
import sys


def main(pipe: str, cores: str, *command: str) -> None:
    """
    Start the guard, and become the program. Does not return.
    """
    guard(int(pipe))
    if cores != "-":
        os.sched_setaffinity(0, set(map(int, cores.split(","))))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.execvp(command[0], command)


def guard(pipe: int) -> None:
    """
    Start the guard. It is forked twice: as an orphan it is no child of the program, and
    is not counted as a part of it. It stays in this process group, and so ends with it.
    """
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.read(pipe, 1)
            os.killpg(0, signal.SIGKILL)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(pipe)


if __name__ == "__main__":
    main(*sys.argv[1:])
