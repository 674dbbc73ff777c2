# -*- test-case-name: tests.test_multiplexing_examples -*-
"""
The same loop on select, poll and epoll, and two functions that show traps of epoll: the
examples of the chapter on multiplexing.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from socket import socket


def receive(connection: socket) -> bytes | None:
    """
    Receive from a non-blocking socket.

    @return: the data, C{b""} if the peer has ended the connection, or C{None} if there
        is no data after all.
    """
    try:
        return connection.recv(65536)
    except BlockingIOError:  # EAGAIN
        return None


def withSelect(sockets: Iterable[socket]) -> Iterator[tuple[socket, bytes]]:
    """
    Yield the data of each socket as it arrives, until all have ended.
    """
    watched = set(sockets)
    for each in watched:
        each.setblocking(False)
    while watched:
        readable, _, _ = select.select(watched, (), ())
        for each in readable:
            data = receive(each)
            if data:
                yield each, data
            elif data is not None:
                watched.remove(each)


def withPoll(sockets: Iterable[socket]) -> Iterator[tuple[socket, bytes]]:
    """
    Yield the data of each socket as it arrives, until all have ended.
    """
    watched = {each.fileno(): each for each in sockets}
    poller = select.poll()
    for descriptor, each in watched.items():
        each.setblocking(False)
        poller.register(descriptor, select.POLLIN)
    while watched:
        for descriptor, _ in poller.poll():
            data = receive(watched[descriptor])
            if data:
                yield watched[descriptor], data
            elif data is not None:
                poller.unregister(descriptor)
                del watched[descriptor]


def withEpoll(sockets: Iterable[socket]) -> Iterator[tuple[socket, bytes]]:
    """
    Yield the data of each socket as it arrives, until all have ended.
    """
    watched = {each.fileno(): each for each in sockets}
    with select.epoll() as poller:
        for descriptor, each in watched.items():
            each.setblocking(False)
            poller.register(descriptor, select.EPOLLIN)
        while watched:
            for descriptor, _ in poller.poll():
                data = receive(watched[descriptor])
                if data:
                    yield watched[descriptor], data
                elif data is not None:
                    poller.unregister(descriptor)
                    del watched[descriptor]


def timesReported(trigger: int) -> int:
    """
    Write two bytes into a pipe and read one of them; call epoll before and after.

    @param trigger: C{select.EPOLLET} for edges, 0 for levels.
    @return: the number of calls that reported the pipe as ready.
    """
    reading, writing = os.pipe()
    try:
        with select.epoll() as poller:
            poller.register(reading, select.EPOLLIN | trigger)
            os.write(writing, b"12")
            reports = len(poller.poll(0))
            os.read(reading, 1)
            reports += len(poller.poll(0))
            return reports
    finally:
        os.close(reading)
        os.close(writing)


def reportsClosed() -> bool:
    """
    Whether epoll reports a descriptor that was duplicated, then closed.
    """
    reading, writing = os.pipe()
    duplicate = os.dup(reading)
    try:
        with select.epoll() as poller:
            poller.register(reading, select.EPOLLIN)
            os.close(reading)
            os.write(writing, b"1")
            return poller.poll(0) == [(reading, select.EPOLLIN)]
    finally:
        os.close(duplicate)
        os.close(writing)
