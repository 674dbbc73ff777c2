# -*- test-case-name: tests.conformance -*-
"""
Busy polling: non-blocking sockets and no multiplexing. Every socket is asked in
turn, for ever.

Facts. A non-blocking C{recv} on a socket with nothing to read returns EAGAIN at
once: some 0.2 microseconds in the kernel, and several times that to come to
know of it in Python, as an exception. No system call waits, so no process
switch stands between a packet and its reader, and the kernel never puts the
process to sleep.

Decision. A connection is asked by C{recv} itself, and so is told nothing that
the answer does not bring along. Whatever else there is (listening ports,
datagrams, pipes, descriptors of unknown kind, which may block) is asked one by
one with a poll(2) of that descriptor alone. Writing is tried at once.

Costs. A core, always, with or without traffic. And as each round asks everybody,
the time to find the one who has something to say is linear in the number of
those who do not: what select and poll do in the kernel is done here with a
system call each.
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST, installReactor
from twisted.python import log

from iodemo.reactors.polling import ReadinessReactor


class BusyPollReactor(ReadinessReactor):
    """
    A reactor that never waits.
    """

    def doIteration(self, delay: float | None) -> None:
        """
        Ask everybody once. The loop comes again at once, whatever the delay.
        """
        for reader in list(self._reads):
            if reader not in self._reads:
                continue  # gone, by the doing of one asked before it
            if _isPlainStream(reader):
                self._receive(reader)
            else:
                self._ask(reader, self._reads[reader], select.POLLIN)
        for writer in list(self._writes):
            if writer in self._writes:
                self._ask(writer, self._writes[writer], select.POLLOUT)

    def _receive(self, connection: Any) -> None:
        try:
            data = connection.socket.recv(connection.bufferSize)
        except BlockingIOError:
            return
        except OSError:
            data = None
        log.callWithLogger(
            connection,
            self.perform,
            connection,
            lambda: _received(connection, data),
            isRead=True,
        )

    def _ask(self, selectable: Any, descriptor: int, wanted: int) -> None:
        alone = select.poll()
        alone.register(descriptor, wanted)
        for _, events in alone.poll(0):
            log.callWithLogger(selectable, self._serve, selectable, descriptor, events)


def _isPlainStream(reader: object) -> bool:
    """
    Whether reading from this connection is C{recv} and nothing more, so that it
    may be done here.

    That it is not while the connection is being made, nor after it was aborted,
    nor for a UNIX socket, which may receive descriptors too.
    """
    doRead = getattr(reader, "doRead", None)
    return getattr(doRead, "__func__", None) is tcp.Connection.doRead


def _received(
    connection: tcp.Connection, data: bytes | None
) -> ConnectionDone | ConnectionLost | None:
    """
    Hand over what C{recv} gave, as C{doRead} would.

    @param data: L{None} if it failed.
    @return: why the connection is over, or L{None}.
    """
    if data is None:
        return CONNECTION_LOST
    if not data:
        return CONNECTION_DONE
    connection.protocol.dataReceived(data)
    return None


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(BusyPollReactor())
