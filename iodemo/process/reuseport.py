# -*- test-case-name: tests.test_bench -*-
"""
Several server processes on one port, for more connections than one process may open
files. This is a program of its own: it starts the servers as its children.

Facts. A process opens no more files than its hard limit (RLIMIT_NOFILE) allows, and
each connection is an open file. Those about sockets that share a port are in
L{iodemo.process.listening}.

Decision. Each server inherits a listening socket of its own from a group, and adopts it
by the endpoint C{systemd:}. When one server ends, all others are ended: C{twistd
iodemo-workers} would replace it, and a measurement has to fail.

Costs. This process is measured as a part of the servers: a few MiB, and no CPU time.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from iodemo.process.listening import (
    FIRST_DESCRIPTOR,
    endpoint,
    environment,
    opened,
    parsed,
)
from iodemo.process.signals import signalName


def _start(listening: socket.socket, command: list[str]) -> int:
    """
    Start a server that inherits a socket.

    @return: its process id.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        # Descriptor 3 has to stay open across execvp. A dup2 of 3 onto itself would
        # leave it close-on-exec, hence the copy.
        os.dup2(os.dup(listening.fileno()), FIRST_DESCRIPTOR)
        os.environ.update(environment(1), LISTEN_PID=str(os.getpid()))
        os.execvp(command[0], command)
    finally:
        os._exit(127)


def serve(port: int, count: int, command: list[str]) -> int:
    """
    Run servers until one of them ends, or SIGTERM comes.

    @param count: how many servers.
    @param command: the command that starts one. Where a word has C{{endpoint}}, it gets
        the endpoint that adopts the socket.
    @return: an exit status: that of the first server that failed, or 0.
    @raise OSError: if the port cannot be listened on.
    """
    servers: set[int] = set()
    ending = False

    def end(*ignored: object) -> None:
        nonlocal ending
        if not ending:
            for pid in servers:
                os.kill(pid, signal.SIGTERM)
        ending = True

    signal.signal(signal.SIGTERM, end)
    address = parsed(f"tcp:{port}:interface=127.0.0.1")
    command = [word.replace("{endpoint}", endpoint(address, 0)) for word in command]
    listening = opened(address, count)
    for each in listening.sockets:
        if not ending:
            servers.add(_start(each, command))
    # A copy left open here would keep queueing connections for a server that ended.
    listening.close()
    failure = 0
    while servers:
        pid, status = os.wait()
        servers.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, -signal.SIGTERM):
            if code < 0:
                print(f"killed by {signalName(-code)}", file=sys.stderr)
            failure = failure or abs(code)
        end()
    return failure


def main() -> None:
    """
    Run the program, whose command line is C{PORT COUNT COMMAND...}.
    """
    port, count, *command = sys.argv[1:]
    sys.exit(serve(int(port), int(count), command))
