# -*- test-case-name: tests.test_bench -*-
"""
Several servers on one port, as many as it takes to open so many files. A program of its
own, whose children the servers are.

Facts. A process opens no more files than its hard limit says, and a connection is one.
Where several wait for connections on one and the same socket, it is chance who has the
next, or always the same: with io_uring the first that asked. Sockets of one port that
have SO_REUSEPORT (Linux 3.9) are a group: each connection belongs to one of them by a
hash of its addresses and ports, so that the processes have as many each, but for chance
(of 100,000 in six, 16,700 give or take 400).

Decision. Each server inherits a socket of its own of that group, which listens already,
as systemd would hand it over (sd_listen_fds(3)): every reactor of Twisted's adopts it
by the endpoint C{systemd:}. One that ends, ends all.

Costs. What this process itself uses counts as the servers': some MiB, and no time.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

#: What servers are told to listen on.
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
    @return: the process id of a server that inherits this socket.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        # The copy stays open in the program that this process becomes.
        os.dup2(os.dup(listening.fileno()), _FIRST)
        os.environ.update(
            LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="shared"
        )
        os.execvp(command[0], command)
    finally:
        os._exit(127)


def serve(port: int, count: int, command: list[str]) -> int:
    """
    Run so many servers until one ends, or this process is asked to.

    @param command: what starts one, which listens on L{ENDPOINT}.
    @return: an exit status: that of the first that went wrong, or 0.
    @raise OSError: if nobody can listen on the port.
    """
    servers: set[int] = set()
    asked = False

    def ask(*ignored: object) -> None:
        nonlocal asked
        if not asked:
            for pid in servers:
                os.kill(pid, signal.SIGTERM)
        asked = True

    signal.signal(signal.SIGTERM, ask)
    sockets = [_listening(port) for _ in range(count)]
    for listening in sockets:
        if not asked:
            servers.add(_start(listening, command))
    for listening in sockets:
        # Else connections would wait here for a server that is no more.
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
        ask()
    return failure


def main() -> None:
    """
    C{sharing PORT COUNT COMMAND...}
    """
    port, count, *command = sys.argv[1:]
    sys.exit(serve(int(port), int(count), command))
