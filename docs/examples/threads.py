# -*- test-case-name: tests.test_examples -*-
"""
A server with a thread for each connection. C{python docs/examples/threads.py 8007} runs
an echo server on port 8007.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from threading import Thread


def serve(port: socket.socket) -> None:
    """
    Accept connections and start a thread for each, until the port is shut down.
    """
    with contextlib.suppress(OSError):
        while True:
            connection, _ = port.accept()
            Thread(target=echo, args=[connection], daemon=True).start()


def echo(connection: socket.socket) -> None:
    """
    Send back the data of one connection until it ends or is reset.
    """
    with connection, contextlib.suppress(ConnectionError):
        while data := connection.recv(64 * 1024):
            connection.sendall(data)


def main(port: int) -> None:
    """
    Serve on the loopback interface.

    @param port: the number of a TCP port.
    """
    with socket.create_server(("127.0.0.1", port)) as listening:
        serve(listening)


if __name__ == "__main__":
    main(int(sys.argv[1]))
