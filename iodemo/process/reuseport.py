# -*- test-case-name: tests.test_bench -*-
"""
Several server processes on one port, for more connections than one process may open
files. This is a program of its own: it starts the servers as its children.

Facts. A process opens no more files than its hard limit (RLIMIT_NOFILE) allows, and
each connection is an open file. Where several processes accept from one socket, the
kernel does not share connections evenly: chance decides, and with io_uring the process
that first submitted an accept gets all of them. Sockets bound to one port with
SO_REUSEPORT (Linux 3.9) form a group. The kernel assigns each connection to one socket
of the group by a hash of its addresses and ports, so that all processes get about as
many (of 100,000 connections, each of six processes got 16,700, give or take 400).

Decision. Each server inherits a listening socket of its own from that group, in the way
of systemd (sd_listen_fds(3)): every Twisted reactor adopts it through the endpoint
C{systemd:}. When one server ends, all others are ended.

Costs. This process is measured as a part of the servers: a few MiB, and no CPU time.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

#: The endpoint by which a server adopts its socket.
ENDPOINT = "systemd:domain=INET:index=0"

# sd_listen_fds(3): SD_LISTEN_FDS_START.
_FIRST = 3


def _listening(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    return listening


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
        os.dup2(os.dup(listening.fileno()), _FIRST)
        os.environ.update(
            LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="shared"
        )
        os.execvp(command[0], command)
    finally:
        os._exit(127)


def serve(port: int, count: int, command: list[str]) -> int:
    """
    Run servers until one of them ends, or SIGTERM comes.

    @param count: how many servers.
    @param command: the command that starts one; it listens on L{ENDPOINT}.
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
    sockets = [_listening(port) for _ in range(count)]
    for listening in sockets:
        if not ending:
            servers.add(_start(listening, command))
    for listening in sockets:
        # A copy left open here would keep queueing connections for a server that ended.
        listening.close()
    failure = 0
    while servers:
        pid, status = os.wait()
        servers.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, -signal.SIGTERM):
            if code < 0:
                print(f"killed by {signal.Signals(-code).name}", file=sys.stderr)
            failure = failure or abs(code)
        end()
    return failure


def main() -> None:
    """
    Run the program, whose command line is C{PORT COUNT COMMAND...}.
    """
    port, count, *command = sys.argv[1:]
    sys.exit(serve(int(port), int(count), command))
