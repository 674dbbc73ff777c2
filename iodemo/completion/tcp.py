# -*- test-case-name: tests.test_completion -*-
"""
Twisted's TCP transports, on a completion queue; L{iodemo.completion.unix} has what is
different of UNIX connections.

Decision. What a connection owes Twisted (producers, half-close, TLS, addresses, the
order in which things are told) is Twisted's own code, inherited; what is new is how
bytes come and go. So these transports cannot drift from Twisted's, and nothing of
them is written twice, but for what every exchange takes: the ring's extension has
that without an interpreter (C{RingStream} in L{iodemo.completion}).

  - Bytes that a protocol writes are collected, and sent when the reactor is about to
    wait (L{StreamMixin.sendWritten}): many writes, one send. Those that are small
    altogether are joined for it; others are sent as they are, since the queue holds
    what it sends: joined, much of it would be new memory, not in any cache, for every
    connection at the same time.
  - If nobody waits for the end of it, the send is a try that is reported only if it
    was not all that was sent; else, and for what was left of a try, it is one that
    the queue finishes.
  - To stop reading cancels the receive at once, so that whatever comes stays in the
    socket, for another process, say, to which the connection is handed over. That takes
    no system call of its own: a queue tells the kernel when it waits.
  - Ports are Twisted's own, on the queue's C{poll}: L{iodemo.completion.ring} says why.

Cost. What a ring had received for a connection when the callback of another one paused
it is kept, one read at most: it cannot be put back into the socket.
"""

from __future__ import annotations

import socket
import struct
import sys
from errno import EAGAIN
from os import strerror
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python import log

from iodemo.completion.interfaces import MOST_PIECES

if TYPE_CHECKING:
    from iodemo.completion.reactor import CompletionReactor

#: How many bytes are joined at most.
_JOINED = 32 * 1024
#: Seconds until a port accepts again that had no descriptor.
RETRY_DELAY = 0.5


class StreamMixin(tcp.Connection):
    """
    How a connection receives and sends.

    @ivar reading: whether the protocol wants to be told what comes.
    @ivar writing: whether there is something to be sent, or a send under way.
    @ivar descriptor: the socket's number.
    @ivar _receiving: the operation, if there is one.
    @ivar _sending: likewise.
    @ivar _pieces: what it sends, from C{offset} in the first of them.
    @ivar _piecesLength: how many bytes they have. For Twisted, C{dataBuffer} is empty.
    @ivar pausedInput: what had come when C{reading} was turned off: data, and how receiving
        ended.
    @ivar _inputOver: whether the protocol was told that nothing more will come. Of
        Twisted's own, one that resumes then is told again.
    """

    reactor: CompletionReactor
    reading = False
    writing = False
    descriptor = -1
    _receiving: int | None = None
    _sending: int | None = None
    _pieces: list[bytes] = []
    _piecesLength = 0
    pausedInput: list[bytes | int] | None = None
    _inputOver = False

    # Receiving

    def startReading(self) -> None:
        """See L{FileDescriptor.startReading}."""
        if self.disconnected or self._aborting or self._inputOver:
            return
        self.reading = True
        if self.pausedInput is not None:
            self.reactor.callLater(0, self._deliverPausedInput)
        elif self._receiving is None:
            self.reactor.streams.add(self)
            self._receiving = self.reactor.queue.receive(self, self.descriptor)

    def stopReading(self) -> None:
        """See L{FileDescriptor.stopReading}."""
        self.reading = False
        if self._receiving is not None:
            self.reactor.queue.cancel(self._receiving)
            self._receiving = None
        if self._sending is None:
            # What neither reads nor writes the reactor does not keep, as Twisted's.
            self.reactor.streams.discard(self)

    def received(self, data: bytes) -> None:
        """
        Told by the queue: something came.
        """
        if self.reading and self.pausedInput is None:
            try:
                self.protocol.dataReceived(data)
            except BaseException:
                self.failed(True)
        else:
            self._keepInput(data)

    def receiveEnded(self, result: int) -> None:
        """
        Told by the queue: nothing more will come.
        """
        if self._receiving is not None:
            # Another one, if the connection has resumed meanwhile.
            self.reactor.queue.cancel(self._receiving)
            self._receiving = None
        if self.reading and self.pausedInput is None:
            self._inputEnded(result)
        else:
            self._keepInput(result)

    def _keepInput(self, item: bytes | int) -> None:
        """
        Keep what had come when this connection stopped reading.
        """
        if self.disconnected or self._aborting:
            return
        if self.pausedInput is None:
            self.pausedInput = []
        self.pausedInput.append(item)

    def _deliverPausedInput(self) -> None:
        """
        Hand over what was kept, as long as it is wanted.
        """
        while self.pausedInput and self.reading and not self.disconnected:
            item = self.pausedInput.pop(0)
            if isinstance(item, int):
                self._inputEnded(item)
                continue
            try:
                self.protocol.dataReceived(item)
            except BaseException:
                self.failed(True)
        if not self.pausedInput:
            self.pausedInput = None
            if self.reading:
                self.startReading()

    def _inputEnded(self, result: int) -> None:
        self._inputOver = True
        self._disconnect(CONNECTION_LOST if result else CONNECTION_DONE, True)

    # Sending

    def write(self, data: bytes) -> None:
        """
        See L{ITransport.write}: the plainest case, which is nearly every one, without
        the five calls that Twisted's takes.
        """
        if type(data) is not bytes or self.TLS:
            super().write(data)
        elif data and self.connected and not self._writeDisconnected:
            self._tempDataBuffer.append(data)
            self._tempDataLen += len(data)
            # First this: what the producer does may fail.
            self.startWriting()
            if self.producer is not None:
                self._maybePauseProducer()

    def startWriting(self) -> None:
        """See L{FileDescriptor.startWriting}."""
        if not self.writing:
            self.writing = True
            self.reactor.unsent.append(self)

    def stopWriting(self) -> None:
        """
        See L{FileDescriptor.stopWriting}. What is written is sent when the reactor
        comes to it; if there is nothing by then, nothing is.
        """

    def sendWritten(self) -> None:
        """
        Send what was written since this was called last.
        """
        if self.disconnected or self._aborting or self._sending is not None:
            return
        # Pieces without a byte are dropped. (One of a subclass may lie of its length.)
        if not self._tempDataLen and not b"".join(self._tempDataBuffer):
            self._tempDataBuffer.clear()
            self.writing = False
            if not self.reading:
                self.reactor.streams.discard(self)
            if self._isAwaited():
                self._drained()
            return
        pieces = self._takeWritten()
        if self._isAwaited() or len(pieces) > 1:
            self._send(pieces, 0)
        else:
            self.writing = False
            self.reactor.queue.sendNow(self, self.descriptor, pieces[0])

    def sentPart(self, data: bytes, result: int) -> None:
        """
        Told by the queue: not all of a try was sent.
        """
        if self.disconnected or self._aborting:
            return
        if result == -EAGAIN:
            result = 0
        if result < 0:
            self._disconnect(CONNECTION_LOST, False)
        else:
            self.writing = True
            self._send([data], result)

    def sent(self, result: int) -> None:
        """
        Told by the queue: a send is over.
        """
        self._sending = None
        if self.disconnected or self._aborting:
            return
        if result < 0:
            self._disconnect(CONNECTION_LOST, False)
            return
        offset = self.offset + result
        pieces = self._pieces
        self._pieces = []
        self.offset = 0
        if offset < self._piecesLength:
            while offset >= len(pieces[0]):
                offset -= len(pieces.pop(0))
            self._send(pieces, offset)
            return
        self._piecesLength = 0
        if self._tempDataLen:
            # Not at once: were it a try, and then another before the queue waits,
            # the second could go where the first found no room.
            self.reactor.unsent.append(self)
        else:
            self.sendWritten()

    def _isAwaited(self) -> bool:
        """
        Whether something is to happen when all is sent.
        """
        # A producer who is not paused writes when it likes, and waits for nothing.
        return bool(
            self.disconnecting
            or self._writeDisconnecting
            or (
                self.producer is not None
                and (self.producerPaused or not self.streamingProducer)
            )
        )

    def _isSendBufferFull(self) -> bool:
        """See L{FileDescriptor._isSendBufferFull}."""
        return self._piecesLength + self._tempDataLen > self.bufferSize

    def _takeWritten(self) -> list[bytes]:
        """
        Take all that was written.

        @return: up to L{MOST_PIECES}, of the very type C{bytes}: a queue takes no
            other, and a protocol may write any of a subclass.
        """
        written = self._tempDataBuffer
        if self._tempDataLen <= _JOINED or len(written) > MOST_PIECES:
            pieces = [b"".join(written)]
        else:
            exact = (
                piece if type(piece) is bytes else b"".join([piece])
                for piece in written
            )
            pieces = [piece for piece in exact if piece]
        self._tempDataBuffer = []
        self._tempDataLen = 0
        return pieces

    def _send(
        self, pieces: list[bytes], offset: int, passed: int | None = None
    ) -> None:
        self.reactor.streams.add(self)
        self._pieces = pieces
        self._piecesLength = sum(map(len, pieces))
        self.offset = offset
        self._sending = self.reactor.queue.send(
            self, self.descriptor, pieces, offset, passed
        )

    def _drained(self) -> None:
        """
        Everything is sent: have the producer go on, or close what was to be closed.
        """
        try:
            # It finds nothing to write, and knows what comes then.
            why = FileDescriptor.doWrite(self)
        except BaseException:
            self.failed(False)
        else:
            if why is not None and not self.disconnected:
                self._disconnect(why, False)

    def writeSomeData(self, data: bytes) -> int:
        """See L{FileDescriptor.writeSomeData}: only L{_drained} comes here."""
        return 0

    # The end

    def failed(self, isRead: bool) -> None:
        """
        Drop this connection for the error that its protocol let through.
        """
        why = sys.exc_info()[1]
        log.err()
        if why is not None and not self.disconnected:
            self._disconnect(why, isRead)

    def _disconnect(self, why: BaseException, isRead: bool) -> None:
        self.reactor._disconnectSelectable(self, why, isRead)

    def _closeSocket(self, orderly: bool) -> None:
        """
        Close the socket, after the operations on it.
        """
        queue = self.reactor.queue
        for operation in (self._receiving, self._sending):
            if operation is not None:
                queue.cancel(operation)
        try:
            if not orderly:
                linger = struct.pack("ii", 1, 0)
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif self._shouldShutdown:
                self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.reactor.streams.discard(self)
        self.writing = False
        self.pausedInput = None
        self._pieces = []
        self._tempDataBuffer.clear()
        self._tempDataLen = 0
        descriptor = self.socket.detach()
        if descriptor >= 0:
            queue.close(descriptor)


class ServerMixin(StreamMixin):
    """
    How a connection that was accepted begins.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: Any,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: CompletionReactor,
    ) -> None:
        self.reactor = reactor
        self.descriptor = sock.fileno()
        super().__init__(  # type: ignore[call-arg]
            sock, protocol, client, server, sessionno, reactor
        )


class ClientMixin(StreamMixin):
    """
    How a connection is made from here.

    @ivar realAddress: where to.
    @ivar _connecting: the operation, if there is one.
    """

    realAddress: Any
    failIfNotConnected: Any
    _connectDone: Any
    _connecting: int | None = None

    def _finishInit(
        self, whenDone: Any, skt: Any, error: Any, reactor: CompletionReactor
    ) -> None:
        self.reactor = reactor
        if skt is not None:
            self.descriptor = skt.fileno()
        super()._finishInit(whenDone, skt, error, reactor)  # type: ignore[misc]

    def doConnect(self) -> None:
        """See L{tcp.BaseClient.doConnect}."""
        if hasattr(self, "connector"):
            queue = self.reactor.queue
            self._connecting = queue.connect(self, self.descriptor, self.realAddress)

    def connectEnded(self, result: int) -> None:
        """
        Told by the queue: connected, or not.
        """
        self._connecting = None
        if result:
            error = getConnectError((-result, strerror(-result)))
            self.failIfNotConnected(error)
            return
        try:
            self._connectDone()
        except BaseException:
            self.failed(False)

    def _stopReadingAndWriting(self) -> None:
        if self._connecting is not None:
            self.reactor.queue.cancel(self._connecting)
            self._connecting = None


class Server(ServerMixin, tcp.Server):
    """
    A TCP connection that was accepted.
    """


class Client(ClientMixin, tcp.Client):
    """
    A TCP connection that is made from here.
    """


class Connector(tcp.Connector):
    """
    What makes L{Client}s.
    """

    reactor: CompletionReactor

    def _makeTransport(self) -> Client:
        made: Client = self.reactor.clientTransport(
            self.host, self.port, self.bindAddress, self, self.reactor
        )
        return made


class PortMixin(tcp.Port):
    """
    How a port waits where Twisted's would ask again and again: when there is no
    descriptor for a connection, nor one in reserve to turn the connection away with.

    @ivar _retrying: what begins to accept again.
    """

    reactor: CompletionReactor
    _retrying: IDelayedCall | None = None

    def doRead(self) -> None:
        """See L{tcp.Port.doRead}."""
        super().doRead()
        if not tcp._reservedFD.available():
            try:
                socket.socket().close()
            except OSError:
                self.stopReading()
                self._retrying = self.reactor.callLater(
                    RETRY_DELAY, self._resumeAccepting
                )

    def _resumeAccepting(self) -> None:
        self._retrying = None
        self.startReading()

    def stopReading(self) -> None:
        """See L{FileDescriptor.stopReading}."""
        if self._retrying is not None:
            self._retrying.cancel()
            self._retrying = None
        super().stopReading()


class Port(PortMixin):
    """
    A TCP port that listens.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.transport = self.reactor.serverTransport
