# -*- test-case-name: tests.test_stream -*-
"""
Tests for L{iodemo.services.stream}.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from iodemo.services.stream import Sink, SinkFactory, Stream, StreamFactory

from .certificates import tlsEndpoint, writeCertificate
from .children import TIMEOUT, Child, makeDirectory, receive
from .transports import OverTransport


def pattern(size: int) -> bytes:
    """
    The first bytes of the stream.
    """
    return (bytes(range(256)) * (size // 256 + 1))[:size]


class TurnClock(Clock):
    """
    A clock that schedules each call at least a second later. On L{Clock}, a call with a
    delay of 0 that schedules another would loop without end.
    """

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """
        Schedule a call in a later turn.
        """
        return super().callLater(max(delay, 1), callable, *args, **kw)


class PausingTransport(StringTransport):
    """
    A transport that pauses its producer after some writes, and may resume it before the
    write returns.

    @ivar patience: how many writes it accepts before each pause.
    @ivar resumes: whether it resumes at once.
    """

    patience = 1
    resumes = False
    writes = 0
    depth = 0

    def write(self, data: bytes) -> None:
        """
        Accept the data.
        """
        self.depth += 1
        if self.depth > 1:
            raise AssertionError("written to within a write")
        super().write(data)
        self.writes += 1
        if self.producer is not None and self.writes % self.patience == 0:
            self.producer.pauseProducing()
            if self.resumes:
                self.producer.resumeProducing()
        self.depth -= 1


class StreamTests(SynchronousTestCase):
    """
    Tests for L{Stream}.
    """

    def connect(self, transport: StringTransport, size: int = 1000) -> Stream:
        """
        Connect a stream, on a clock of its own.
        """
        self.clock = TurnClock()
        self.transport = transport
        stream = StreamFactory(size, self.clock).buildProtocol(None)
        stream.makeConnection(transport)
        return stream

    def assertStreamed(self, size: int) -> None:
        """
        Check the content and the length of the data that was sent.
        """
        self.assertEqual(len(self.transport.value()), size)
        self.assertEqual(self.transport.value(), pattern(size))

    def test_interface(self) -> None:
        """
        It is a push producer, and registers as one.
        """
        stream = self.connect(StringTransport())
        verifyObject(IPushProducer, stream)
        self.assertIs(self.transport.producer, stream)
        self.assertTrue(self.transport.streaming)

    def test_turns(self) -> None:
        """
        On a transport that never pauses, a stream sends some chunks a turn, so that
        others get theirs.
        """
        for size in (1, 255, 256, 257, 1000, 65536):
            self.connect(StringTransport(), size)
            self.assertStreamed(16 * size)
            for turn in (2, 3):
                self.assertEqual(len(self.clock.getDelayedCalls()), 1)
                self.clock.advance(1)
                self.assertStreamed(turn * 16 * size)

    def test_chunks(self) -> None:
        """
        With the usual sizes, no chunk is a copy.
        """
        source = StreamFactory(65536, Clock())
        self.assertIs(source.chunk(0), source.chunk(0))
        self.assertEqual(len(source.chunk(0)), 65536)

    def test_pauseBetweenTurns(self) -> None:
        """
        If it is paused while it waits for its turn, the turn is cancelled; after it is
        resumed, it continues where it stopped.
        """
        stream = self.connect(StringTransport())
        stream.pauseProducing()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        stream.resumeProducing()
        self.assertStreamed(32 * 1000)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_pauseWithinTurn(self) -> None:
        """
        If a write pauses it, it writes nothing until it is resumed.
        """
        transport = PausingTransport()
        transport.patience = 3
        stream = self.connect(transport)
        for turn in (1, 2, 3):
            self.assertStreamed(turn * 3 * 1000)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            stream.resumeProducing()

    def test_resumedWithinWrite(self) -> None:
        """
        If it is paused and resumed before a write returns, it does not write within
        that write, and it has one turn, not two.
        """
        transport = PausingTransport()
        transport.resumes = True
        self.connect(transport)
        self.assertStreamed(16 * 1000)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_resumedTwice(self) -> None:
        """
        If it is resumed without a pause, it has no additional turn.
        """
        stream = self.connect(StringTransport())
        stream.resumeProducing()
        self.assertStreamed(16 * 1000)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_ends(self) -> None:
        """
        When it is stopped, disconnected or both, no call is left behind.
        """
        done = Failure(ConnectionDone())
        stream = self.connect(StringTransport())
        stream.stopProducing()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        stream.connectionLost(done)
        stream = self.connect(StringTransport())
        stream.connectionLost(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_over(self) -> None:
        """
        If it is resumed by a closed transport, it writes nothing more.
        """
        transport = OverTransport()
        stream = self.connect(transport)
        stream.pauseProducing()
        transport.over = True
        stream.resumeProducing()
        self.assertStreamed(16 * 1000)
        self.assertIsNone(transport.producer)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SinkTests(SynchronousTestCase):
    """
    Tests for L{Sink}.
    """

    def test_swallows(self) -> None:
        """
        A sink sends nothing back.
        """
        sink = SinkFactory().buildProtocol(None)
        assert isinstance(sink, Sink)
        transport = StringTransport()
        sink.makeConnection(transport)
        sink.dataReceived(b"hello")
        self.assertEqual(transport.value(), b"")


class StreamChildTests(SynchronousTestCase):
    """
    Tests for C{iodemo-stream} in a process of its own.
    """

    size = 2**23

    def test_tcp(self) -> None:
        """
        Two readers at the same time have a stream each.
        """
        child = Child(self, "iodemo-stream", "--size", "1000")
        with child.connect() as one, child.connect() as other:
            # The size of each part is a multiple of 256, so each part looks like the
            # first.
            for client in (one, other, one):
                self.assertEqual(receive(client, self.size), pattern(self.size))
        child.stop()
        self.assertNotIn(b"Traceback", child.log)

    def test_tls(self) -> None:
        """
        Over TLS; and when the reader closes TLS in the middle of the stream, the
        connection is closed.
        """
        certificate = writeCertificate(makeDirectory(self))
        child = Child(self, "iodemo-stream", listen=tlsEndpoint(certificate))
        context = ssl.create_default_context(cafile=str(certificate))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with child.connect() as client:

            def more() -> bool:
                client.sendall(outgoing.read())
                data = client.recv(65536)
                incoming.write(data)
                return bool(data)

            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self.assertTrue(more())
            received = b""
            while len(received) < self.size:
                try:
                    received += tls.read(65536)
                except ssl.SSLWantReadError:
                    self.assertTrue(more())
            self.assertEqual(received, pattern(len(received)))
            with self.assertRaises(ssl.SSLError):
                tls.unwrap()
            while more():
                pass

    def test_sink(self) -> None:
        """
        A sink discards what it receives; a peer that has shut down its sending side
        sees the end.
        """
        child = Child(self, "iodemo-stream", "--sink")
        with child.connect() as client:
            client.settimeout(TIMEOUT)
            client.sendall(bytes(self.size))
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")
