# -*- test-case-name: tests.test_multiplexing_examples -*-
"""
The same loop on select, poll and epoll, and what shows two of epoll's traps: what the
chapter on multiplexing shows.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Iterator
from socket import socket


def receive(connection: socket) -> bytes | None:
    """
    What has come on a non-blocking socket: C{b""} if its peer has ended, C{None} if
    nothing has come after all.
    """
    try:
        return connection.recv(65536)
    except BlockingIOError:  # EAGAIN
        return None


def withSelect(sockets: Iterable[socket]) -> Iterator[tuple[socket, bytes]]:
    """
    What arrives on any of some sockets, until each has ended.
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
    What arrives on any of some sockets, until each has ended.
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
    What arrives on any of some sockets, until each has ended.
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


def timesTold(trigger: int) -> int:
    """
    How often epoll names a pipe that got two bytes, of which one is read in between.

    @param trigger: C{select.EPOLLET} for edges, 0 for levels.
    """
    reading, writing = os.pipe()
    try:
        with select.epoll() as poller:
            poller.register(reading, select.EPOLLIN | trigger)
            os.write(writing, b"12")
            told = len(poller.poll(0))
            os.read(reading, 1)
            told += len(poller.poll(0))
            return told
    finally:
        os.close(reading)
        os.close(writing)


def toldOfClosed() -> bool:
    """
    Whether epoll names a descriptor that is closed, but was duplicated before.
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
