# -*- test-case-name: tests.test_examples -*-
"""
A server with a thread for each connection. C{python docs/examples/threads.py 8007}
sends back what is sent to port 8007.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from threading import Thread


def serve(port: socket.socket) -> None:
    """
    Accept, and hand over to a thread, until the port is shut down.
    """
    with contextlib.suppress(OSError):
        while True:
            connection, _ = port.accept()
            Thread(target=echo, args=[connection], daemon=True).start()


def echo(connection: socket.socket) -> None:
    """
    Serve one connection, as if there were no other, until it ends or is reset.
    """
    with connection, contextlib.suppress(ConnectionError):
        while data := connection.recv(64 * 1024):
            connection.sendall(data)


def main(port: int) -> None:
    """
    Serve, on the loopback interface.
    """
    with socket.create_server(("127.0.0.1", port)) as listening:
        serve(listening)


if __name__ == "__main__":
    main(int(sys.argv[1]))
