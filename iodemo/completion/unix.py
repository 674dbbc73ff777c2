# -*- test-case-name: tests.test_completion -*-
"""
Twisted's transports for UNIX sockets, on a completion queue. L{iodemo.completion}
defines the terms.

Facts. Descriptors may come with the bytes of a UNIX socket; recvmsg(2) returns them,
and recv(2) discards them. Connecting never waits: it succeeds at once, or the backlog
of the listener is full (EAGAIN), and no event reports when it has space again.

Decision. Connecting, sending (with or without a descriptor) and closing are operations
of the queue, as with TCP. For receiving, the queue only polls; Twisted's own code then
calls recvmsg, and knows what to do with the descriptors.

Cost. A system call for each receive, which a multishot recvmsg would not need. In
return, a replacement of C{twisted.python.sendmsg.recvmsg}, as in Twisted's own tests,
has an effect here, as it has under every reactor of Twisted's.
"""

from __future__ import annotations

import select
from errno import EAGAIN
from typing import TYPE_CHECKING, Any

from twisted.internet import unix
from twisted.internet.error import FileDescriptorOverrun
from twisted.internet.interfaces import IDelayedCall

from iodemo.completion.tcp import ClientMixin, PortMixin, ServerMixin, StreamMixin

if TYPE_CHECKING:
    from iodemo.completion.reactor import CompletionMixin

    _Stream = StreamMixin
    _Client = ClientMixin
else:
    # Among the bases of a transport these come later, but not always next.
    _Stream = _Client = object

#: Seconds until the next attempt to connect to a listener whose backlog is full.
RETRY_DELAY = 0.01


class UNIXMixin(_Stream):
    """
    A UNIX connection, where it differs from a TCP connection.

    @ivar _sendmsgQueue: descriptors to be passed, each with one of the bytes written.
    """

    _sendmsgQueue: list[int]
    _fileDescriptorBufferSize: int
    doRead: Any
    reading: bool
    _receiving: int | None
    _inputOver: bool

    def startReading(self) -> None:
        """See C{FileDescriptor.startReading}."""
        if self.disconnected or self._aborting or self._inputOver:
            return
        self.reading = True
        if self._receiving is None:
            self.reactor.streams.add(self)
            self._receiving = self.reactor.queue.poll(
                self, self.descriptor, select.POLLIN
            )

    def polled(self, result: int) -> None:
        """
        Called by the queue when there is something to receive.
        """
        if result < 0:
            self._receiving = None
            self._inputEnded(result)
        else:
            try:
                why = self.doRead()
            except BaseException:
                self.failed(True)
            else:
                if why is not None and not self.disconnected:
                    self._inputOver = True
                    self._disconnect(why, True)

    def sendWritten(self) -> None:
        """
        Send the next byte with the next descriptor, if there is any.
        """
        if not self._sendmsgQueue:
            super().sendWritten()
        elif self.disconnected or self._aborting or self._sending is not None:
            return
        elif len(self._sendmsgQueue) > self._tempDataLen:
            # Twisted's rule: a descriptor without a byte could never be sent.
            self._disconnect(FileDescriptorOverrun(), False)
        else:
            first = self._tempDataBuffer[0]
            if type(first) is not bytes or len(first) != 1:
                self._splitWritten()
            self._tempDataLen -= 1
            first = self._tempDataBuffer.pop(0)
            self._send([first], 0, self._sendmsgQueue.pop(0))

    def _splitWritten(self) -> None:
        """
        Make a piece of each byte that is sent with a descriptor.
        """
        written = b"".join(self._tempDataBuffer)
        count = len(self._sendmsgQueue)
        self._tempDataBuffer[:] = [written[at : at + 1] for at in range(count)]
        if len(written) > count:
            self._tempDataBuffer.append(written[count:])

    def _isSendBufferFull(self) -> bool:
        """See C{FileDescriptor._isSendBufferFull}."""
        if len(self._sendmsgQueue) > self._fileDescriptorBufferSize:
            return True
        return super()._isSendBufferFull()


class UNIXClientMixin(UNIXMixin, _Client):
    """
    A UNIX connection that this process makes.

    @ivar _retrying: the delayed call that connects again.
    """

    _connecting: int | None
    _retrying: IDelayedCall | None = None

    def connectEnded(self, result: int) -> None:
        """
        Called by the queue when the connection is made, or has failed.
        """
        if result == -EAGAIN:
            self._connecting = None
            self._retrying = self.reactor.callLater(RETRY_DELAY, self._connectAgain)
        else:
            super().connectEnded(result)

    def _connectAgain(self) -> None:
        self._retrying = None
        self.doConnect()

    def _stopReadingAndWriting(self) -> None:
        if self._retrying is not None:
            self._retrying.cancel()
            self._retrying = None
        super()._stopReadingAndWriting()


class UNIXServer(UNIXMixin, ServerMixin, unix.Server):
    """
    A UNIX connection that was accepted.
    """


class UNIXClient(UNIXClientMixin, ClientMixin, unix.Client):
    """
    A UNIX connection that this process makes.
    """


class UNIXConnector(unix.Connector):
    """
    The factory of L{UNIXClient}s.
    """

    reactor: CompletionMixin

    def _makeTransport(self) -> UNIXClient:  # type: ignore[override]
        made: UNIXClient = self.reactor.unixClientTransport(
            self.address, self, self.reactor, self.checkPID
        )
        return made


class UNIXPort(PortMixin, unix.Port):
    """
    A UNIX socket that listens.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.transport = self.reactor.unixServerTransport
