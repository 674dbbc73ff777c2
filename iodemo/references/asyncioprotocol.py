# -*- test-case-name: tests.test_references -*-
"""
An echo on asyncio's own protocols and transports.

As a script, C{python asyncioprotocol.py LOOP PORT}, this file is the server itself. It
then imports nothing of iodemo. SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from typing import cast

HOST = "127.0.0.1"
BACKLOG = 4096


def command(port: int, loop: str = "asyncio") -> list[str]:
    """
    The command that starts the server.

    @param loop: the module that makes its event loop.
    """
    return [sys.executable, __file__, loop, str(port)]


class Echo(asyncio.Protocol):
    """
    Sends back what it receives.
    """

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Set TCP_NODELAY, so that small answers are sent at once.
        """
        self.transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)

    def pause_writing(self) -> None:
        """
        The transport's buffer is full: stop reading.
        """
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """
        The transport's buffer has space again: continue reading.
        """
        self.transport.resume_reading()


def serve(loopModule: str, port: str) -> None:
    """
    Serve until a signal ends the process.
    """
    loop = importlib.import_module(loopModule).new_event_loop()
    loop.run_until_complete(loop.create_server(Echo, HOST, int(port), backlog=BACKLOG))
    loop.run_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
