# -*- test-case-name: tests.test_completion -*-
"""
Twisted's TCP transports, on a completion queue. L{iodemo.completion} defines the terms;
L{iodemo.completion.unix} has what differs for UNIX connections.

Decisions. These transports inherit from Twisted's the behaviour of a connection
(producers, half-close, TLS, addresses, the order of callbacks), so they cannot drift
from it. New is only how bytes are received and sent. The methods that run for every
exchange exist twice: here, and compiled for the ring (C{RingStream} in
C{iodemo/completion/ring.pyx}).

  - Bytes that a protocol writes are collected, and sent before the reactor waits
    (L{StreamMixin.sendWritten}): many writes, one send. A small amount is joined into
    one piece. A large one is sent in the pieces that were written: the queue keeps them
    until they are sent, so joining would take new memory, outside the processor's
    cache, for each connection at the same time.
  - If nothing has to happen at the end of a send, it is a C{sendNow}, which the queue
    reports only if it was short. Otherwise, and for the rest of a short one, it is a
    C{send}, which the queue completes.
  - A connection that pauses cancels its receive at once. So data that arrives later
    stays in the socket, for example for another process to which the connection is
    handed over. This takes no system call of its own: a queue cancels when it waits.
  - Ports are Twisted's own, on the queue's C{poll}: C{iodemo.completion.ring} has the
    reason.

Cost. A connection may be paused by the callback of another one, when a ring has already
received data for it. That data is kept, one delivery at most, because it cannot be put
back into the socket.
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
    from iodemo.completion.reactor import CompletionMixin

#: How many bytes are joined into one piece at most.
_JOINED = 32 * 1024
#: Seconds until a port accepts again after the process had no free descriptor.
RETRY_DELAY = 0.5


class StreamMixin(tcp.Connection):
    """
    A connection that receives and sends by a completion queue.

    @ivar reading: whether the protocol has not paused.
    @ivar writing: whether there is data to send, or a send in the queue.
    @ivar descriptor: the socket's number.
    @ivar _receiving: the receive in the queue, if there is one.
    @ivar _sending: the send in the queue, if there is one.
    @ivar _pieces: the data of that send, from C{offset} in the first piece.
    @ivar _piecesLength: how many bytes the pieces have. Twisted's own C{dataBuffer}
        stays empty.
    @ivar pausedInput: data that the queue had received before the protocol paused, and
        after it the result that ended receiving. C{None} if there is none.
    @ivar _inputOver: whether the protocol has been called with the end of its input. A
        transport of Twisted's calls it again if it resumes.
    """

    reactor: CompletionMixin
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
        """See C{FileDescriptor.startReading}."""
        if self.disconnected or self._aborting or self._inputOver:
            return
        self.reading = True
        if self.pausedInput is not None:
            self.reactor.callLater(0, self._deliverPausedInput)
        elif self._receiving is None:
            self.reactor.streams.add(self)
            self._receiving = self.reactor.queue.receive(self, self.descriptor)

    def stopReading(self) -> None:
        """See C{FileDescriptor.stopReading}."""
        self.reading = False
        if self._receiving is not None:
            self.reactor.queue.cancel(self._receiving)
            self._receiving = None
        if self._sending is None:
            # As with Twisted's reactors, the reactor holds no reference to a
            # connection that neither reads nor writes.
            self.reactor.streams.discard(self)

    def received(self, data: bytes) -> None:
        """
        Called by the queue with received data.
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
        Called by the queue when nothing more will come.
        """
        if self._receiving is not None:
            # It is a new receive if the connection has resumed meanwhile.
            self.reactor.queue.cancel(self._receiving)
            self._receiving = None
        if self.reading and self.pausedInput is None:
            self._inputEnded(result)
        else:
            self._keepInput(result)

    def _keepInput(self, item: bytes | int) -> None:
        """
        Keep data, or the end, that the queue had received before the pause.
        """
        if self.disconnected or self._aborting:
            return
        if self.pausedInput is None:
            self.pausedInput = []
        self.pausedInput.append(item)

    def _deliverPausedInput(self) -> None:
        """
        Deliver paused input, until the protocol pauses again.
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
        See C{ITransport.write}. The most frequent case, of plain C{bytes} without TLS,
        avoids the five calls that Twisted's method makes.
        """
        if type(data) is not bytes or self.TLS:
            super().write(data)
        elif data and self.connected and not self._writeDisconnected:
            self._tempDataBuffer.append(data)
            self._tempDataLen += len(data)
            # Before the producer is called, whose code may fail.
            self.startWriting()
            if self.producer is not None:
                self._maybePauseProducer()

    def startWriting(self) -> None:
        """See C{FileDescriptor.startWriting}."""
        if not self.writing:
            self.writing = True
            self.reactor.unsent.append(self)

    def stopWriting(self) -> None:
        """
        See C{FileDescriptor.stopWriting}. Nothing to do: L{sendWritten} finds out
        whether there is data.
        """

    def sendWritten(self) -> None:
        """
        Send what was written since the last call.
        """
        if self.disconnected or self._aborting or self._sending is not None:
            return
        # Empty pieces are dropped. They are joined to see this, because a subclass of
        # bytes may define a __len__ that is wrong.
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
        Called by the queue when a C{sendNow} was short.
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
        Called by the queue when a C{send} has ended.
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
            # Not at once: if this were a sendNow, and another one followed before the
            # queue waits, the second could be sent though the first was short.
            self.reactor.unsent.append(self)
        else:
            self.sendWritten()

    def _isAwaited(self) -> bool:
        """
        Whether something has to happen when all is sent.
        """
        # A push producer that is not paused writes at any time, and waits for no call.
        return bool(
            self.disconnecting
            or self._writeDisconnecting
            or (
                self.producer is not None
                and (self.producerPaused or not self.streamingProducer)
            )
        )

    def _isSendBufferFull(self) -> bool:
        """See C{FileDescriptor._isSendBufferFull}."""
        return self._piecesLength + self._tempDataLen > self.bufferSize

    def _takeWritten(self) -> list[bytes]:
        """
        Take all that was written.

        @return: up to L{MOST_PIECES}, each exactly of type C{bytes}. A protocol may
            write instances of a subclass, but a queue does not accept them.
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
        Resume the producer, or close, after everything was sent.
        """
        try:
            # With nothing to write, this does what comes after the last byte.
            why = FileDescriptor.doWrite(self)
        except BaseException:
            self.failed(False)
        else:
            if why is not None and not self.disconnected:
                self._disconnect(why, False)

    def writeSomeData(self, data: bytes) -> int:
        """See C{FileDescriptor.writeSomeData}. Called only below L{_drained}."""
        return 0

    # The end

    def failed(self, isRead: bool) -> None:
        """
        Drop this connection because of the exception that its protocol raised.
        """
        why = sys.exc_info()[1]
        log.err()
        if why is not None and not self.disconnected:
            self._disconnect(why, isRead)

    def _disconnect(self, why: BaseException, isRead: bool) -> None:
        self.reactor._disconnectSelectable(self, why, isRead)

    def _closeSocket(self, orderly: bool) -> None:
        """
        Close the socket, after cancelling the operations on it.
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
    The beginning of a connection that a port has accepted.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: Any,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: CompletionMixin,
    ) -> None:
        self.reactor = reactor
        self.descriptor = sock.fileno()
        super().__init__(  # type: ignore[call-arg]
            sock, protocol, client, server, sessionno, reactor
        )


class ClientMixin(StreamMixin):
    """
    The beginning of a connection that this process makes.

    @ivar realAddress: the address to connect to.
    @ivar _connecting: the connect in the queue, if there is one.
    """

    realAddress: Any
    failIfNotConnected: Any
    _connectDone: Any
    _connecting: int | None = None

    def _finishInit(
        self, whenDone: Any, skt: Any, error: Any, reactor: CompletionMixin
    ) -> None:
        self.reactor = reactor
        if skt is not None:
            self.descriptor = skt.fileno()
        super()._finishInit(whenDone, skt, error, reactor)  # type: ignore[misc]

    def doConnect(self) -> None:
        """See C{tcp.BaseClient.doConnect}."""
        if hasattr(self, "connector"):
            queue = self.reactor.queue
            self._connecting = queue.connect(self, self.descriptor, self.realAddress)

    def connectEnded(self, result: int) -> None:
        """
        Called by the queue when the connection is made, or has failed.
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
    A TCP connection that this process makes.
    """


class Connector(tcp.Connector):
    """
    The factory of L{Client}s.
    """

    reactor: CompletionMixin

    def _makeTransport(self) -> Client:
        made: Client = self.reactor.clientTransport(
            self.host, self.port, self.bindAddress, self, self.reactor
        )
        return made


class PortMixin(tcp.Port):
    """
    A port that pauses accepting when the process has no free descriptor, and Twisted's
    reserved one is used up. Twisted's own port would spin then.

    @ivar _retrying: the delayed call that resumes accepting.
    """

    reactor: CompletionMixin
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
        """See C{FileDescriptor.stopReading}."""
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
