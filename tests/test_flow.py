"""
Tests for L{iodemo.load.flow}.
"""

from __future__ import annotations

import itertools
import socket
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from iodemo.load import driver
from iodemo.load.address import Address
from iodemo.load.exchanges import PIECE, Sink, Stream, WrongAnswer, exchangeOf
from iodemo.load.flow import driverOf
from iodemo.load.profile import LoadFailed, Profile, split
from iodemo.results.schema import Round
from tests.test_load import Driving, Serve

PATTERN = bytes(range(256)) * 256


def sendPattern(connection: socket.socket) -> None:
    """Send the pattern of C{iodemo-stream}, until the peer closes."""
    while True:
        connection.sendall(PATTERN)


def swallow(connection: socket.socket) -> None:
    """Receive all data, until the peer has closed its sending side."""
    while connection.recv(PIECE):
        pass


class FlowTestCase(Driving, SynchronousTestCase):
    """
    Loads against servers in threads of this process.
    """

    def load(self, kind: str, serve: Serve, **more: Any) -> Round:
        """
        Run a load of a kind against a server in a thread.

        @return: its result.
        """
        return self.loadAt(kind, self.listen(serve), **more)

    def loadAt(
        self,
        kind: str,
        address: Address,
        active: int = 2,
        idle: int = 0,
        processes: int | None = None,
        **more: Any,
    ) -> Round:
        """
        Run a load of a kind against a server that already runs.

        @return: its result.
        """
        exchange = exchangeOf(kind, 64, "localhost")
        asked = {"seconds": 0.1, "warmup": 0.02, **more}
        first, *others = split(
            Profile(address, exchange, active, idle, **asked), processes
        )
        return driverOf(exchange)(first, others=others).run()

    def refused(self, kind: str, serve: Serve, **more: Any) -> str:
        """
        The reason for which a load gives no result.
        """
        return str(self.assertRaises(LoadFailed, self.load, kind, serve, **more))


class StreamTests(FlowTestCase):
    """
    Tests for L{Stream} and the loop that drives it.
    """

    def test_pieces(self) -> None:
        """
        A piece is complete when all its bytes have arrived, and wrong from its first
        wrong byte.
        """
        exchange = Stream()
        turn, _ = exchange.turns()
        answer = exchange.answer(turn)
        self.assertFalse(answer.received(PATTERN[:-1]))
        self.assertTrue(answer.received(PATTERN[-1:]))
        for received, reason in (
            (PATTERN[:300] + b"\0", "byte 300 of a piece is 0x00, and must be 0x2c"),
            (PATTERN + b"\0", "65,537 bytes came, and a piece has 65,536"),
        ):
            answer = exchange.answer(turn)
            error = self.assertRaises(WrongAnswer, answer.received, received)
            self.assertIn(reason, str(error))

    def test_measured(self) -> None:
        """
        Received data is counted in pieces and in bytes.
        """
        measured = self.load("stream", sendPattern)
        self.assertGreater(measured["requests"], 0)
        self.assertAlmostEqual(
            measured["bytes_per_second"], measured["throughput"] * PIECE
        )
        self.assertGreater(measured["latency_us"]["p50"], 0)

    def test_anyCut(self) -> None:
        """
        The same pieces are counted, however the bytes are cut. Other connections may be
        idle, also in other processes.
        """

        def serve(connection: socket.socket) -> None:
            while True:
                for first in range(0, PIECE, 4099):
                    connection.sendall(PATTERN[first : first + 4099])

        measured = self.load("stream", serve, active=3, idle=2, processes=2)
        self.assertGreater(measured["requests"], 0)

    def test_wrong(self) -> None:
        """
        A lost byte fails the load, before the measurement or during it.
        """
        for right in (1, 100, 1000):

            def serve(connection: socket.socket, right: int = right) -> None:
                for _ in range(right):
                    connection.sendall(PATTERN)
                while True:
                    connection.sendall(PATTERN[1:])

            self.patch(Stream, "VERIFIED", 8 * PIECE)
            # Long enough for any machine; the test ends earlier, when the load fails.
            said = self.refused("stream", serve, seconds=60)
            self.assertIn("wrong answer on ", said)
            self.assertIn("byte 0 of a piece is 0x01, and must be 0x00", said)

    def test_ended(self) -> None:
        """
        A server that closes, or stops sending, fails the load.
        """
        said = self.refused("stream", lambda connection: connection.sendall(PATTERN))
        self.assertIn("the server closed verifying connection", said)
        said = self.refused("stream", swallow, patience=0.1)
        self.assertIn("no piece is complete in 0.1 s on verifying connection", said)
        self.patch(Stream, "VERIFIED", 8 * PIECE)

        def stop(connection: socket.socket) -> None:
            for _ in range(100):
                connection.sendall(PATTERN)
            swallow(connection)

        said = self.refused("stream", stop, patience=0.1, seconds=60)
        self.assertIn("no piece is complete in 0.1 s on connection ", said)

    def test_slow(self) -> None:
        """
        A piece that takes longer than the window is counted in the latencies.
        """
        self.patch(Stream, "VERIFIED", PIECE)
        self.patch(driver.Driver, "RAMP", 1)
        over = self.when("_drain")
        accepted = itertools.count(-driver.Driver.VERIFYING)

        def serve(connection: socket.socket) -> None:
            number = next(accepted)
            if number == 2:
                connection.sendall(PATTERN + PATTERN[:1000])
                over.wait(30)
                connection.sendall(PATTERN[1000:])
            sendPattern(connection)

        measured = self.load("stream", serve, active=3, seconds=0.3)
        self.assertEqual((measured["late"], measured["unanswered"]), (3, 0))
        self.assertGreater(measured["latency_us"]["max"], 0.3e6)


class SinkTests(FlowTestCase):
    """
    Tests for L{Sink} and the loop that drives it.
    """

    def test_measured(self) -> None:
        """
        Sent data is counted in pieces and in bytes, and arrives.
        """
        taken: dict[str, int] = {}
        lock = threading.Lock()

        def serve(connection: socket.socket) -> None:
            while data := connection.recv(PIECE):
                with lock:
                    taken["bytes"] = taken.get("bytes", 0) + len(data)

        measured = self.load("sink", serve, idle=1)
        self.assertGreater(measured["requests"], 0)
        self.assertAlmostEqual(
            measured["bytes_per_second"], measured["throughput"] * PIECE
        )
        self.assertGreater(taken["bytes"], Sink.VERIFIED)

    def test_slow(self) -> None:
        """
        A piece that is accepted after the window is counted in the latencies.
        """
        begun, over = self.when("_begin"), self.when("_drain")
        lock = threading.Lock()
        first: list[socket.socket] = []

        def serve(connection: socket.socket) -> None:
            # A small receive buffer, which is full soon.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
            while connection.recv(PIECE):
                if not begun.is_set():
                    continue
                with lock:
                    first.append(connection)
                if first[0] is connection:
                    over.wait(30)

        # Before the window, the kernel accepts data until its buffers are full.
        measured = self.load("sink", serve, active=3, warmup=1.0, seconds=0.3)
        self.assertEqual((measured["late"], measured["unanswered"]), (3, 0))
        self.assertGreater(measured["latency_us"]["max"], 0.3e6)

    def test_saysNothing(self) -> None:
        """
        A server that sends anything, even at the end, is no sink.
        """

        def serve(connection: socket.socket) -> None:
            swallow(connection)
            connection.sendall(b"ok")

        said = self.refused("sink", serve)
        self.assertEqual(
            said, "wrong answer on verifying connection 1: a sink sends nothing"
        )
        answer = Sink().answer(Sink().turns()[0])
        self.assertRaises(WrongAnswer, answer.received, b"x")

    def test_ended(self) -> None:
        """
        A server that closes before all data has arrived, or does not close afterwards,
        or does not read, is no sink.
        """

        def drop(connection: socket.socket) -> None:
            connection.recv(PIECE)

        said = self.refused("sink", drop)
        self.assertIn("the server dropped verifying connection 1", said)

        done = threading.Event()

        def stay(connection: socket.socket) -> None:
            swallow(connection)
            done.wait()

        address = self.listen(stay)
        # Before the load waits for the server to close.
        self.addCleanup(done.set)
        said = str(
            self.assertRaises(LoadFailed, self.loadAt, "sink", address, patience=0.1)
        )
        self.assertIn("did not read all bytes sent on verifying connection 1", said)
