# -*- test-case-name: tests.test_flow -*-
"""
Flows: bytes that go one way, without requests and answers in turn.

Facts. On loopback, to receive a piece is to copy it, and the sender makes the copy into
the kernel: a load that only reads and compares has about as much work as the server.
Bytes that the kernel took from a sender are not delivered yet. While the receiver does
not read, the buffers fill up after some megabytes; from then on the kernel takes bytes
as fast as the receiver reads.

Decisions. Pieces of 64 KiB are counted. Of a stream, a piece is the answer to an empty
request; of a sink, it is a request with an empty answer. C{latency_us} is the time that
a piece took on its connection, from the end of the piece before. A C{recv} never goes
beyond the end of a piece, so that all pieces of a stream are compared with the same
bytes. A silent connection is one whose events epoll does not report: its buffers are
full.

Costs. This loop is Python, which is little beside the copying. Nothing confirms, during
the measurement, that a sink has received all bytes; verification checks it, by the rule
of the sink.
"""

from __future__ import annotations

import select
import socket
from functools import cached_property
from time import perf_counter_ns
from typing import ClassVar

from iodemo.load.driver import Driver, _Connection, fastest
from iodemo.load.exchanges import PIECE, Chat, Exchange, Sink, Stream
from iodemo.load.fanout import FanoutDriver
from iodemo.load.profile import LoadFailed
from iodemo.load.recording import Recording
from iodemo.results.schema import Round

_SECOND = 10**9
# To record a single latency would cost as much as a system call.
_MOST_KEPT = 1 << 19


class _Flowing(_Connection):
    """
    A connection, and its progress in the present piece, in bytes.
    """

    __slots__ = ("progress",)

    def __init__(self, name: str, connected: socket.socket, exchange: Exchange) -> None:
        super().__init__(name, connected, exchange)
        self.progress = 0


class _Flow(Driver):
    """
    A driver of pieces that flow one way.

    @cvar DIRECTION: the epoll event that a connection waits for.
    """

    DIRECTION: ClassVar[int]

    _connectionOf = _Flowing

    def _start(self, connection: _Connection, now: int) -> None:
        """
        Have epoll report the events of the flow.
        """
        connection.sent = now
        self._epoll.modify(connection.socket, self.DIRECTION)

    def _silence(self, connection: _Connection) -> None:
        """
        Have epoll report no events: the flow stops when the buffers are full.
        """
        connection.sent = 0
        self._epoll.modify(connection.socket, 0)

    def _ended(self, connection: _Connection, how: str) -> None:
        """
        Fail: a flow has no end at which the server may close the connection.
        """
        raise LoadFailed(f"{how}{self._hint()}")

    def _drive(self, length: int, recording: Recording, uncorrected: Recording) -> None:
        """
        See L{Driver._drive}.
        """
        latencies: list[int] = []
        connections = self._connections
        receive = self._receive
        now = perf_counter_ns()
        end = now + length
        while now < end and not self._interrupted:
            ready = self._epoll.poll(min(end - now, _SECOND) / _SECOND, 1024)
            for descriptor, _ in ready:
                connection = connections[descriptor]
                if receive(connection):
                    now = perf_counter_ns()
                    latencies.append(now - connection.sent)
                    connection.sent = now
            now = perf_counter_ns()
            if now >= self._deadline:
                self._checkWaiting(now)
            if len(latencies) > _MOST_KEPT:
                recording.add(latencies)
                latencies.clear()
        recording.add(latencies)

    def _overdue(self, connection: _Connection) -> str:
        return f"no piece is complete in {self._patience:g} s on {connection.name}"

    def _measure(self, busy: list[_Connection]) -> Round:
        measured = super()._measure(busy)
        measured["bytes_per_second"] = measured["throughput"] * PIECE
        return measured


class StreamDriver(_Flow):
    """
    A driver that receives as fast as the server sends.
    """

    DIRECTION = select.EPOLLIN

    @cached_property
    def _buffer(self) -> memoryview:
        return memoryview(bytearray(PIECE))

    def _receive(self, connection: _Connection) -> bool:
        """
        Receive, up to the end of the piece.

        @return: whether the piece is complete.
        """
        assert isinstance(connection, _Flowing)
        progress = connection.progress
        try:
            count = connection.socket.recv_into(self._buffer[progress:])
        except OSError as error:
            self._lost(connection, error)
            return False
        data = self._buffer[progress : progress + count]
        if not count or not connection.turn.expected.startswith(data, progress):
            # This raises an error with the difference.
            if progress:
                self._received(connection, connection.turn.expected[:progress])
            self._received(connection, bytes(data))
        connection.progress = (progress + count) % PIECE
        return not connection.progress


class SinkDriver(_Flow):
    """
    A driver that sends as fast as the server reads.
    """

    DIRECTION = select.EPOLLOUT

    #: A number of pieces larger than the buffers of the kernel.
    FULL = (16 << 20) // PIECE

    def _connect(self) -> list[_Connection]:
        busy = super()._connect()
        left = dict.fromkeys(busy, self.FULL)

        def taken(connection: _Connection) -> bool:
            left[connection] -= 1
            if left[connection]:
                return True
            # More was taken than the buffers hold: the server reads this connection.
            self._silence(connection)
            return False

        for connection in busy:
            self._start(connection, perf_counter_ns())
        self._exchange(taken, len(busy))
        return busy

    def _verify(self) -> None:
        """
        See that a sink reads everything: it closes a connection when it has received
        all bytes up to the end that the load has shut down.
        """
        name = "verifying connection 1"
        with self._openOrFail(name) as connected:
            connected.settimeout(self._profile.patience)
            try:
                for turn in self._profile.exchange.verification():
                    connected.sendall(turn.request)
                connected.shutdown(socket.SHUT_WR)
                answered = connected.recv(1)
            except TimeoutError as error:
                raise LoadFailed(
                    f"the server did not read all bytes sent on {name} and close it "
                    f"within {self._profile.patience:g} s"
                ) from error
            except OSError as error:
                raise LoadFailed(
                    f"the server dropped {name}: {error.strerror or error}"
                ) from error
        if answered:
            raise LoadFailed(f"wrong answer on {name}: a sink sends nothing")

    def _receive(self, connection: _Connection) -> bool:
        """
        Send, up to the end of the piece.

        @return: whether the piece is complete.
        """
        assert isinstance(connection, _Flowing)
        request = memoryview(connection.turn.request)
        try:
            connection.progress += connection.socket.send(
                request[connection.progress :]
            )
        except OSError as error:
            self._lost(connection, error)
        if connection.progress < PIECE:
            return False
        connection.progress = 0
        return True


_DRIVERS: dict[type[Exchange], type[Driver]] = {
    Stream: StreamDriver,
    Sink: SinkDriver,
    Chat: FanoutDriver,
}


def driverOf(exchange: Exchange, tls: bool = False) -> type[Driver]:
    """
    The driver for an exchange; for requests and answers in turn, the fastest one.

    @raise LoadFailed: if it has no driver with TLS.
    """
    found = _DRIVERS.get(type(exchange))
    if found is not None and tls:
        raise LoadFailed("stream, sink and chat are not available over TLS")
    return found or fastest(tls)
