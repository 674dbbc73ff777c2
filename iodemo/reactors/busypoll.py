# -*- test-case-name: tests.conformance -*-
"""
Busy polling: non-blocking sockets and no multiplexing. The loop tries every socket, one
after another, without end.

Facts. A non-blocking C{recv} on a socket with nothing to read returns EAGAIN at once:
it takes some 0.2 microseconds in the kernel, and several times that in Python, which
raises an exception. No system call waits, so the kernel never puts the process to
sleep, and no context switch comes between the arrival of a packet and its C{recv}.

Decision. For a connection, C{recv} itself is the test whether there is data. Every
other descriptor (listening ports, datagrams, pipes, and descriptors of unknown kind, on
which a read may block) gets a poll(2) for itself alone. Data is sent when it is
written.

Costs. The loop uses a whole core, with or without traffic. The time to find the one
connection with data is linear in the number of silent ones, as with select and poll;
but select and poll scan in the kernel, while here each connection costs a system call.
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
    A reactor that never blocks in the kernel.
    """

    def doIteration(self, delay: float | None) -> None:
        """
        Try every reader and every writer once. It returns without waiting, whatever the
        delay.
        """
        for reader in list(self._reads):
            if reader not in self._reads:
                continue  # removed by one that was served before it
            if _isPlainStream(reader):
                self._receive(reader)
            else:
                self._pollAlone(reader, self._reads[reader], select.POLLIN)
        for writer in list(self._writes):
            if writer in self._writes:
                self._pollAlone(writer, self._writes[writer], select.POLLOUT)

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

    def _pollAlone(self, selectable: Any, descriptor: int, wanted: int) -> None:
        alone = select.poll()
        alone.register(descriptor, wanted)
        for _, events in alone.poll(0):
            log.callWithLogger(selectable, self._serve, selectable, descriptor, events)


def _isPlainStream(reader: object) -> bool:
    """
    Whether C{doRead} of this connection only calls C{recv}, so that the reactor may
    call C{recv} instead.

    That is not so while the connection is being made, after it was aborted, and for a
    UNIX socket, which may receive descriptors too.
    """
    doRead = getattr(reader, "doRead", None)
    return getattr(doRead, "__func__", None) is tcp.Connection.doRead


def _received(
    connection: tcp.Connection, data: bytes | None
) -> ConnectionDone | ConnectionLost | None:
    """
    Deliver the result of C{recv} to the protocol, as C{doRead} would.

    @param data: C{None} if C{recv} failed.
    @return: the reason if the connection has ended, else C{None}.
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
