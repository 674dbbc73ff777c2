# -*- test-case-name: tests.test_stream -*-
"""
C{iodemo-stream}: sends as fast as the peer reads, or discards what it receives. It is
for measurements of bulk throughput.

The byte at offset k of the stream is k % 256, so that a reader notices lost, repeated
and reordered data.
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

# A transport that buffers pauses its producer after two or three chunks. A transport
# that sends at once may never pause it; without this limit, other connections would
# wait.
_CHUNKS_PER_TURN = 16


@implementer(IPushProducer)
class Stream(protocol.Protocol):
    """
    Sends for as long as it is connected and not paused.

    @ivar source: the factory, which has the chunks and the clock.
    @ivar offset: the offset of the next chunk in the stream, modulo 256.
    @ivar paused: whether the transport has paused this producer.
    @ivar producing: whether a caller further up the stack is writing chunks.
    @ivar nextTurn: the delayed call that continues the stream; C{None} if there is
        none.
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
        Send until the transport pauses this producer, or one call has sent enough.
        """
        self.paused = False
        renewProducer(self.transport, self)
        # A transport that sends at once may pause and resume within one write.
        if not self.producing and self.nextTurn is None:
            self._produce()

    def pauseProducing(self) -> None:
        """
        Stop sending until L{resumeProducing}.
        """
        self.paused = True
        if self.nextTurn is not None:
            self.nextTurn.cancel()
            self.nextTurn = None

    def stopProducing(self) -> None:
        """
        Stop sending for good.
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

    @ivar size: bytes that are written at a time.
    @ivar clock: the reactor, by which a stream schedules its next turn.
    """

    noisy = False

    def __init__(self, size: int, clock: IReactorTime) -> None:
        self.size = size
        self.clock = clock
        # Chunks start at multiples of gcd(size, 256). The pattern has no byte more than
        # they need. So for a size like 65536 the only chunk is the whole pattern, and a
        # slice of a whole bytes object is the object itself, not a copy.
        length = size + 256 - gcd(size, 256)
        self._pattern = (bytes(range(256)) * (length // 256 + 1))[:length]

    def buildProtocol(self, addr: object) -> Stream:
        """
        Make a stream that starts at offset 0.
        """
        return Stream(self)

    def chunk(self, offset: int) -> bytes:
        """
        The chunk of the stream that starts at an offset.

        @param offset: modulo 256.
        """
        return self._pattern[offset : offset + self.size]


class Sink(protocol.Protocol):
    """
    Discards what it receives. When a peer has closed its sending side, the connection
    is closed, which shows the peer that all its data has arrived.
    """

    transport: IStreamTransport

    def connectionMade(self) -> None:
        """
        Set TCP_NODELAY as the other services do. There is nothing to send.
        """
        noDelay(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """
        Discard the data.
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
        "Sends as fast as the client reads; or, with --sink, discards what it "
        "receives. There is no time-out: a client that neither reads nor sends keeps "
        "its connection for as long as it likes."
    )
    optFlags = [["sink", None, "Discard what is received instead of sending."]]
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
