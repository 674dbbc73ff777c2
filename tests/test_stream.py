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
    A clock on which a turn takes a second. On L{Clock} a call in no time that
    makes another is a loop without end.
    """

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """
        Call it in a turn to come.
        """
        return super().callLater(max(delay, 1), callable, *args, **kw)


class PausingTransport(StringTransport):
    """
    A transport that pauses its producer after some writes, and may resume it
    before the write returns.

    @ivar patience: how many writes are taken before each pause.
    @ivar resumes: whether to resume at once.
    """

    patience = 1
    resumes = False
    writes = 0
    depth = 0

    def write(self, data: bytes) -> None:
        """
        Take it.
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
        Connect one, on a clock of its own.
        """
        self.clock = TurnClock()
        self.transport = transport
        stream = StreamFactory(size, self.clock).buildProtocol(None)
        stream.makeConnection(transport)
        return stream

    def assertStreamed(self, size: int) -> None:
        """
        Check what has been sent, and that it is so much.
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
        On a transport that always takes more, it sends some chunks a turn, and
        lets others have theirs.
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
        The usual sizes are never copied.
        """
        source = StreamFactory(65536, Clock())
        self.assertIs(source.chunk(0), source.chunk(0))
        self.assertEqual(len(source.chunk(0)), 65536)

    def test_pauseBetweenTurns(self) -> None:
        """
        Paused while it waits for its turn, it gives the turn up; resumed, it
        goes on where it was.
        """
        stream = self.connect(StringTransport())
        stream.pauseProducing()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        stream.resumeProducing()
        self.assertStreamed(32 * 1000)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_pauseWithinTurn(self) -> None:
        """
        Paused by a write, it writes no more until resumed.
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
        Paused and resumed before a write returns, it neither writes within the
        write nor has two turns.
        """
        transport = PausingTransport()
        transport.resumes = True
        self.connect(transport)
        self.assertStreamed(16 * 1000)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_resumedTwice(self) -> None:
        """
        Resumed though not paused, it keeps to its turns.
        """
        stream = self.connect(StringTransport())
        stream.resumeProducing()
        self.assertStreamed(16 * 1000)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_ends(self) -> None:
        """
        Stopped, or disconnected, or both, it leaves no call behind.
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
        Resumed by a transport that is over, it writes nothing more.
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
        Nothing comes back.
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
        Two readers at a time have a stream each.
        """
        child = Child(self, "iodemo-stream", "--size", "1000")
        with child.connect() as one, child.connect() as other:
            # The size is a multiple of 256: each part looks like the first.
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
        What is sent is swallowed; whoever has sent everything sees the end.
        """
        child = Child(self, "iodemo-stream", "--sink")
        with child.connect() as client:
            client.settimeout(TIMEOUT)
            client.sendall(bytes(self.size))
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")
