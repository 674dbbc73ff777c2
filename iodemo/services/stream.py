# -*- test-case-name: tests.test_stream -*-
"""
C{iodemo-stream}: sends as fast as the reader takes, or swallows what it is
sent. Bulk throughput is the question here.

The byte at offset k of the stream is k % 256, so that a reader can tell a
stream that lost, repeated or reordered something from one that did not.
"""

from __future__ import annotations

from math import gcd

from twisted.application.service import IService
from twisted.internet import protocol
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from . import IStreamTransport, listeningService, noDelay, renewProducer, wholeNumber
from . import Options as BaseOptions

# A transport that buffers says "pause" after two or three chunks. One that
# sends at once may never say it, and would keep everybody else waiting.
_CHUNKS_PER_TURN = 16


@implementer(IPushProducer)
class Stream(protocol.Protocol):
    """
    Sends for as long as it is connected and not paused.

    @ivar source: where chunks and turns come from.
    @ivar offset: where in the stream the next chunk starts, modulo 256.
    @ivar paused: whether the transport has asked for no more.
    @ivar producing: whether chunks are being written further up the stack.
    @ivar nextTurn: the call that goes on with the stream, if one is due.
    """

    transport: IStreamTransport

    def __init__(self, source: StreamFactory) -> None:
        self.source = source
        self.offset = 0
        self.paused = False
        self.producing = False
        self.nextTurn: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Start.
        """
        noDelay(self.transport)
        self.transport.registerProducer(self, True)
        self._produce()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """
        Stop.
        """
        self.stopProducing()

    def resumeProducing(self) -> None:
        """
        Send, until told to pause or until it is somebody else's turn.
        """
        self.paused = False
        renewProducer(self.transport, self)
        # A transport that sends at once may pause and resume within one write.
        if not self.producing and self.nextTurn is None:
            self._produce()

    def pauseProducing(self) -> None:
        """
        Send no more until asked to.
        """
        self.paused = True
        if self.nextTurn is not None:
            self.nextTurn.cancel()
            self.nextTurn = None

    def stopProducing(self) -> None:
        """
        Send no more.
        """
        self.pauseProducing()

    def _produce(self) -> None:
        self.nextTurn = None
        self.producing = True
        for _ in range(_CHUNKS_PER_TURN):
            if self.paused:
                break
            chunk = self.source.chunk(self.offset)
            self.offset = (self.offset + len(chunk)) % 256
            self.transport.write(chunk)
        self.producing = False
        if not self.paused:
            self.nextTurn = self.source.clock.callLater(0, self._produce)


class StreamFactory(protocol.ServerFactory):
    """
    Makes a L{Stream} for each connection.

    @ivar size: how many bytes are written at once.
    @ivar clock: where a stream waits for its next turn.
    """

    noisy = False

    def __init__(self, size: int, clock: IReactorTime) -> None:
        self.size = size
        self.clock = clock
        # Chunks start at multiples of gcd(size, 256). Having no byte more than
        # that takes means that a size like 65536 has one chunk, never copied:
        # a slice that is all of a bytes object is that object.
        length = size + 256 - gcd(size, 256)
        self._pattern = (bytes(range(256)) * (length // 256 + 1))[:length]

    def buildProtocol(self, addr: object) -> Stream:
        """
        Make a stream, which starts at its first byte.
        """
        return Stream(self)

    def chunk(self, offset: int) -> bytes:
        """
        The chunk that starts at an offset modulo 256.
        """
        return self._pattern[offset : offset + self.size]


class Sink(protocol.Protocol):
    """
    Swallows what it receives. A peer who has sent everything is disconnected,
    and can take that for the word that everything has arrived.
    """

    transport: IStreamTransport

    def connectionMade(self) -> None:
        """
        There is nothing to send, and so nothing to produce.
        """
        noDelay(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """
        Forget it.
        """


class SinkFactory(protocol.ServerFactory):
    """
    Makes a L{Sink} for each connection.
    """

    protocol = Sink
    noisy = False


class Options(BaseOptions):
    """
    C{twistd iodemo-stream}.
    """

    command = "iodemo-stream"
    longdesc = (
        "Sends as fast as the reader takes; or, with --sink, swallows what it is sent. "
        "There is no time-out: a client that neither reads nor sends keeps its "
        "connection for as long as it likes."
    )
    optFlags = [["sink", None, "Swallow instead of sending."]]
    optParameters = [
        [
            "size",
            None,
            65536,
            "How many bytes to write at once.",
            wholeNumber("size", most=2**24),
        ],
    ]


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    if options["sink"]:
        return listeningService(options, SinkFactory())
    from twisted.internet import reactor

    clock = IReactorTime(reactor)
    return listeningService(options, StreamFactory(options["size"], clock))
