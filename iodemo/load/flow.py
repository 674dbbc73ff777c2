# -*- test-case-name: tests.test_flow -*-
"""
What is not asked and answered by turns: bytes that flow one way.

Facts. On loopback to receive a piece is to copy it, and the copy into the kernel is the
sender's: a load that only reads, and compares, has about as much to do as the server.
What the kernel takes of a sender it has not delivered. While the other side does not
read it is full after some megabytes, and then takes what the other side takes.

Decisions. Pieces of 64 KiB are what is counted: in each direction one is the answer, or
the request, of an exchange whose other half is nothing, and C{latency_us} says how long
it took on its connection, from the end of the piece before. A receive never goes beyond
the end of a piece, so that all pieces of a stream are compared with the same bytes.
A connection that is silent is one that nobody looks at: it is full, either way.

Costs. This is Python, which is little beside copying. Of a sink nothing tells during
the measurement that all has arrived; it is asked for that before, by its own rule.
"""

from __future__ import annotations

import select
import socket
from functools import cached_property
from time import perf_counter_ns
from typing import ClassVar

from iodemo.load.driver import Driver, _Connection, fastest
from iodemo.load.exchanges import PIECE, Chat, Exchange, Sink, Stream
from iodemo.load.fanout import RoomDriver
from iodemo.load.plan import LoadFailed
from iodemo.load.recording import Recording
from iodemo.results.schema import Round

_SECOND = 10**9
# To record a single latency would cost as much as a system call.
_MOST_KEPT = 1 << 19


class _Flowing(_Connection):
    """
    A connection, and how much of the present piece is through.
    """

    __slots__ = ("progress",)

    def __init__(self, name: str, connected: socket.socket, exchange: Exchange) -> None:
        super().__init__(name, connected, exchange)
        self.progress = 0


class _Flow(Driver):
    """
    A driver of pieces that flow one way.

    @cvar DIRECTION: what a connection waits for.
    """

    DIRECTION: ClassVar[int]

    _connectionOf = _Flowing

    def _start(self, connection: _Connection, now: int) -> None:
        """
        Let it flow.
        """
        connection.sent = now
        self._epoll.modify(connection.socket, self.DIRECTION)

    def _silence(self, connection: _Connection) -> None:
        """
        Let it flow no more, before long.
        """
        connection.sent = 0
        self._epoll.modify(connection.socket, 0)

    def _ended(self, connection: _Connection, how: str) -> None:
        """
        What flows has no end at which the server may close.
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
        return f"no piece is through in {self._patience:g} s on {connection.name}"

    def _measure(self, busy: list[_Connection]) -> Round:
        measured = super()._measure(busy)
        measured["bytes_per_second"] = measured["throughput"] * PIECE
        return measured


class StreamDriver(_Flow):
    """
    Receives as fast as the server sends.
    """

    DIRECTION = select.EPOLLIN

    @cached_property
    def _buffer(self) -> memoryview:
        return memoryview(bytearray(PIECE))

    def _receive(self, connection: _Connection) -> bool:
        """
        Receive, up to the end of the piece.

        @return: whether that was all of it.
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
            # It says what is wrong.
            if progress:
                self._received(connection, connection.turn.expected[:progress])
            self._received(connection, bytes(data))
        connection.progress = (progress + count) % PIECE
        return not connection.progress


class SinkDriver(_Flow):
    """
    Sends as fast as the server takes.
    """

    DIRECTION = select.EPOLLOUT

    #: Pieces that are more than the kernel takes for somebody who does not read.
    FULL = (16 << 20) // PIECE

    def _connect(self) -> list[_Connection]:
        busy = super()._connect()
        left = dict.fromkeys(busy, self.FULL)

        def taken(connection: _Connection) -> bool:
            left[connection] -= 1
            if left[connection]:
                return True
            # It has shown that it is served.
            self._silence(connection)
            return False

        for connection in busy:
            self._start(connection, perf_counter_ns())
        self._exchange(taken, len(busy))
        return busy

    def _verify(self) -> None:
        """
        A sink closes a connection when all has arrived that was sent on it.
        """
        name = "verifying connection 1"
        with self._openOrFail(name) as connected:
            connected.settimeout(self._plan.patience)
            try:
                for turn in self._plan.exchange.verification():
                    connected.sendall(turn.request)
                connected.shutdown(socket.SHUT_WR)
                answered = connected.recv(1)
            except TimeoutError as error:
                raise LoadFailed(
                    f"the server did not take all that was sent on {name}, and close, "
                    f"within {self._plan.patience:g} s"
                ) from error
            except OSError as error:
                raise LoadFailed(
                    f"the server dropped {name}: {error.strerror or error}"
                ) from error
        if answered:
            raise LoadFailed(f"wrong answer on {name}: a sink says nothing")

    def _receive(self, connection: _Connection) -> bool:
        """
        Send, up to the end of the piece.

        @return: whether that was all of it.
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
    Chat: RoomDriver,
}


def driverOf(exchange: Exchange, tls: bool = False) -> type[Driver]:
    """
    The driver of an exchange: where that is one of requests, the fastest.

    @raise LoadFailed: if there is none that speaks TLS.
    """
    found = _DRIVERS.get(type(exchange))
    if found is not None and tls:
        raise LoadFailed("what is not asked by turns is not asked over TLS here")
    return found or fastest(tls)
