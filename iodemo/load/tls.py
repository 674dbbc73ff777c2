# -*- test-case-name: tests.test_load -*-
"""
A load over TLS.

Facts. A non-blocking C{SSLSocket} makes its handshake in C{send}, as far as it can.
When it cannot go on it raises an error that names the event it needs: mostly readable,
although the socket is writable meanwhile. C{wrap_socket} needs a connected socket.
C{SSL_read} receives a whole record from the kernel and returns its bytes, 16 KiB at
most; epoll reports further records, which are still in the kernel.

Decisions. This is the driver in Python, with sockets that translate the errors of
C{ssl} into those of a plain socket. A connection with unsent bytes calls C{send} after
any event. No certificate is verified and no session is resumed: the measurement is of
the server's part of whole handshakes. A connection is closed by reset, as without TLS,
and without C{close_notify}.

Costs. Encryption costs the load as much CPU time as the server, and the loop here is
not compiled: with a fast server the load may be the limit, which its result reports.
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
from iodemo.load.profile import LoadFailed
from iodemo.load.recording import Recording

_RECORD = 16384
_EITHER = select.EPOLLIN | select.EPOLLOUT
# OpenSSL's reasons for bytes that are not a TLS record, or one that no server sends.
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG")

_A = TypeVar("_A")
_R = TypeVar("_R")


def _withoutVerification() -> ssl.SSLContext:
    """
    A context that accepts any certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_CONTEXT = _withoutVerification()


class NotTLS(OSError):
    """The server sent bytes that are not TLS instead of a handshake."""


class TlsSocket:
    """
    The methods of a socket that a driver uses, with TLS once the socket is connected.

    @ivar awaited: the epoll events to wait for before the next call of C{send}.
    @ivar isSecured: whether the handshake is finished: a C{send} has succeeded.
    """

    def __init__(self, plain: socket.socket, serverName: str | None = None) -> None:
        """
        @param plain: a non-blocking socket, which need not be connected yet.
        @param serverName: the server's name in the handshake (SNI).
        """
        self._serverName = serverName
        self.family = plain.family
        self.awaited = _EITHER
        self.isSecured = False
        self._socket = plain
        self._secured: ssl.SSLSocket | None = None

    def fileno(self) -> int:
        """See C{socket.socket.fileno}."""
        return self._socket.fileno()

    def close(self) -> None:
        """See C{socket.socket.close}."""
        self._socket.close()

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """See C{socket.socket.getsockopt}."""
        return self._socket.getsockopt(level, option, size)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """See C{socket.socket.setsockopt}."""
        self._socket.setsockopt(level, option, value)

    def send(self, data: bytes | memoryview) -> int:
        """See C{socket.socket.send}."""
        self.awaited = _EITHER
        count = self._try(self._connected().send, data)
        self.isSecured = True
        return count

    def recv(self, size: int) -> bytes:
        """See C{socket.socket.recv}."""
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
            # Its errno is not one of the system's.
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
        tlsSocket: Any = TlsSocket(connected, self._serverName)
        super().renew(tlsSocket)


class TLSDriver(Driver):
    """
    A driver whose connections use TLS.
    """

    def _connectionOf(
        self, name: str, connected: socket.socket, exchange: Exchange
    ) -> TLSConnection:
        serverName = self._profile.address.serverName
        return TLSConnection(name, connected, exchange, serverName)

    def _dropped(self, connection: Any, error: OSError) -> str:
        if isinstance(error, NotTLS):
            return (
                "the server does not speak TLS: what it sent in the handshake on "
                f"{connection.name} is none: {error}{self._plainAddress()}"
            )
        return super()._dropped(connection, error)

    def _ended(self, connection: Any, how: str) -> None:
        if connection.socket.isSecured:
            super()._ended(connection, how)
        else:
            raise LoadFailed(
                f"{how} before the TLS handshake was finished{self._question()}"
                f"{self._hint()}"
            )

    def _overdue(self, connection: Any) -> str:
        if connection.socket.isSecured:
            return super()._overdue(connection)
        return (
            f"the TLS handshake on {connection.name} is not finished after "
            f"{self._patience:g} s{self._question()}"
        )

    def _question(self) -> str:
        """
        A question for the message, while the server has not finished any handshake.
        """
        if self._hasReceived:
            return ""
        return f": does the server speak TLS?{self._plainAddress()}"

    def _plainAddress(self) -> str:
        address = replace(self._profile.address, tls=False)
        return f" (without TLS it would be {address})"

    def _drive(self, length: int, recording: Recording, uncorrected: Recording) -> None:
        """See L{Driver._drive}."""
        if self._schedule is None:
            # Any event may be for the handshake, which the plain loop does not handle.
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
