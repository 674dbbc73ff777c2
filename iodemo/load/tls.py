# -*- test-case-name: tests.test_load -*-
"""
A load over TLS.

Facts. A non-blocking C{SSLSocket} makes its handshake in C{send}, as far as it can, and
says what it waits for: mostly for the server, while the kernel would take more bytes.
C{wrap_socket} is for sockets that are connected. C{SSL_read} takes a whole record from
the kernel and hands it out, 16 KiB at most; what the kernel still has is reported
again.

Decisions. This is the driver in Python, with sockets that turn what C{ssl} raises into
what a plain socket would. A connection that has something to send tries whenever
anything has happened. No certificate is looked at, and no session is resumed: what is
measured is the server's part of whole handshakes. A connection ends by reset, as it
does without TLS, and without a C{close_notify}.

Costs. To encrypt costs the load what it costs the server, and the loop here is not
compiled: of a fast server the load may well be the limit, and then says so.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from iodemo.load.driver import Driver, _Connection
from iodemo.load.exchanges import Exchange
from iodemo.load.plan import LoadFailed
from iodemo.load.recording import Recording

_RECORD = 16384
_EITHER = select.EPOLLIN | select.EPOLLOUT
# OpenSSL's reasons where what came is no record of TLS, or one that no server sends.
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG")

_A = TypeVar("_A")
_R = TypeVar("_R")


def _anybody() -> ssl.SSLContext:
    """
    What trusts whoever answers.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_CONTEXT = _anybody()


class NotTLS(OSError):
    """What came in the place of a handshake is not TLS."""


class Encrypted:
    """
    As much of a socket as a driver uses, with TLS as soon as it is connected.

    @ivar awaited: the events after which to go on with what could not be sent.
    @ivar isSecured: whether the handshake is finished: something could be sent.
    """

    def __init__(self, plain: socket.socket, serverName: str | None = None) -> None:
        """
        @param plain: it does not block, and need not be connected yet.
        @param serverName: what the handshake calls the server (SNI).
        """
        self._serverName = serverName
        self.family = plain.family
        self.awaited = _EITHER
        self.isSecured = False
        self._socket = plain
        self._secured: ssl.SSLSocket | None = None

    def fileno(self) -> int:
        """See L{socket.socket.fileno}."""
        return self._socket.fileno()

    def close(self) -> None:
        """See L{socket.socket.close}."""
        self._socket.close()

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """See L{socket.socket.getsockopt}."""
        return self._socket.getsockopt(level, option, size)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """See L{socket.socket.setsockopt}."""
        self._socket.setsockopt(level, option, value)

    def send(self, data: bytes | memoryview) -> int:
        """See L{socket.socket.send}."""
        self.awaited = _EITHER
        count = self._try(self._connected().send, data)
        self.isSecured = True
        return count

    def recv(self, size: int) -> bytes:
        """See L{socket.socket.recv}."""
        return self._try(self._connected().recv, min(size, _RECORD))

    def _connected(self) -> ssl.SSLSocket:
        if self._secured is None:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            try:
                self._socket.getpeername()
            except OSError as notYet:
                raise BlockingIOError(errno.EAGAIN, "not connected") from notYet
            self._socket = self._secured = _CONTEXT.wrap_socket(
                self._socket,
                do_handshake_on_connect=False,
                server_hostname=self._serverName,
            )
        return self._secured

    def _try(self, do: Callable[[_A], _R], argument: _A) -> _R:
        try:
            return do(argument)
        except ssl.SSLWantReadError as wait:
            self.awaited = select.EPOLLIN
            raise BlockingIOError(errno.EAGAIN, "nothing to read") from wait
        except ssl.SSLWantWriteError as wait:
            raise BlockingIOError(errno.EAGAIN, "no room to write") from wait
        except ssl.SSLEOFError as error:
            raise ConnectionResetError(f"TLS: {error.reason or error}") from error
        except ssl.SSLError as error:
            if error.reason in _NO_TLS and not self.isSecured:
                raise NotTLS(error.reason) from error
            # Its number is none of the system's.
            raise OSError(f"TLS: {error.reason or error}") from error


class TLSConnection(_Connection):
    """
    A connection with TLS.
    """

    def __init__(
        self,
        name: str,
        connected: socket.socket,
        exchange: Exchange,
        serverName: str | None = None,
    ) -> None:
        self._serverName = serverName
        super().__init__(name, connected, exchange)

    def renew(self, connected: socket.socket) -> None:
        """See L{_Connection.renew}."""
        encrypted: Any = Encrypted(connected, self._serverName)
        super().renew(encrypted)


class TLSDriver(Driver):
    """
    A driver that asks over TLS.
    """

    def _connectionOf(
        self, name: str, connected: socket.socket, exchange: Exchange
    ) -> TLSConnection:
        serverName = self._plan.address.serverName
        return TLSConnection(name, connected, exchange, serverName)

    def _dropped(self, connection: Any, error: OSError) -> str:
        if isinstance(error, NotTLS):
            return (
                "the server does not speak TLS: what it sent in the handshake on "
                f"{connection.name} is none: {error}{self._without()}"
            )
        return super()._dropped(connection, error)

    def _ended(self, connection: Any, how: str) -> None:
        if connection.socket.isSecured:
            super()._ended(connection, how)
        else:
            raise LoadFailed(
                f"{how} before the TLS handshake was finished{self._spoken()}"
                f"{self._hint()}"
            )

    def _overdue(self, connection: Any) -> str:
        if connection.socket.isSecured:
            return super()._overdue(connection)
        return (
            f"the TLS handshake on {connection.name} is not finished after "
            f"{self._patience:g} s{self._spoken()}"
        )

    def _spoken(self) -> str:
        """
        What to ask oneself where no handshake was finished yet.
        """
        if self._hasSpoken:
            return ""
        return f": does the server speak TLS?{self._without()}"

    def _without(self) -> str:
        address = replace(self._plan.address, tls=False)
        return f" (without TLS it would be {address})"

    def _drive(self, length: int, recording: Recording, uncorrected: Recording) -> None:
        """See L{Driver._drive}."""
        if self._schedule is None:
            # Each event may be one for the handshake.
            self._driveAnew(length, recording)
        else:
            super()._drive(length, recording, uncorrected)

    def _sendLater(self, connection: _Connection, unsent: int) -> None:
        connection.unsent = unsent
        self._await(connection)

    def _serve(self, connection: _Connection, events: int) -> bool:
        """See L{Driver._serve}."""
        if not connection.unsent:
            return super()._serve(connection, events)
        whole = super()._serve(connection, _EITHER)
        if connection.unsent:
            self._await(connection)
        return whole

    def _await(self, connection: Any) -> None:
        self._epoll.modify(connection.socket, connection.socket.awaited)
