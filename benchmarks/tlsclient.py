"""
An echo client over TLS: C{tlsclient.py CERTIFICATE PORT BUSY WARMUP SECONDS}.

It does what C{client.c} does for C{echo}, but with Python's C{ssl}, so that no headers
of OpenSSL are needed. That costs less than TLS costs any server in Twisted.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import sys
import time

BYTES = 64
PATIENCE = 5.0


class Connection:
    """
    One connection, and what came of its answer.
    """

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.socket.setblocking(False)
        self.question = os.urandom(BYTES)
        self.answer = b""

    def ask(self) -> None:
        """
        Ask, anew.
        """
        self.answer = b""
        if self.socket.send(self.question) != BYTES:
            raise SystemExit("tlsclient: there was no room for a question")

    def isAnswered(self) -> bool:
        """
        Receive what there is: whether that is the answer.
        """
        # Records that are not data come too.
        with contextlib.suppress(ssl.SSLWantReadError):
            while len(self.answer) < BYTES:
                received = self.socket.recv(BYTES)
                if not received:
                    raise SystemExit("tlsclient: the server closed a connection")
                self.answer += received
        if not self.question.startswith(self.answer):
            raise SystemExit("tlsclient: the answer is not the question")
        return len(self.answer) == BYTES


def main(certificate: str, port: str, busy: str, warmup: str, seconds: str) -> None:
    """
    Ask, and say how often that went.
    """
    context = ssl.create_default_context(cafile=certificate)
    poller = select.epoll()
    connections = {}
    for _ in range(int(busy)):
        connection = Connection(context, int(port))
        connections[connection.socket.fileno()] = connection
        poller.register(connection.socket, select.EPOLLIN)
    for connection in connections.values():
        connection.ask()
    now = time.monotonic()
    begun, cpu, exchanges = now + float(warmup), 0.0, 0
    end = begun + float(seconds)
    while now < end:
        ready = poller.poll(PATIENCE)
        if not ready:
            raise SystemExit("tlsclient: no answer")
        for descriptor, _ in ready:
            connection = connections[descriptor]
            if connection.isAnswered():
                exchanges += 1
                connection.ask()
        now = time.monotonic()
        if now >= begun and not cpu:
            begun, cpu, exchanges = now, time.process_time(), 0
    lasted = now - begun
    used = (time.process_time() - cpu) / lasted
    print(json.dumps({"throughput": exchanges / lasted, "load_cpu": used}))


main(*sys.argv[1:])
