"""
Servers for the ways in which a connection can end.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python import context
from twisted.python.failure import Failure
from twisted.python.log import ILogContext
from zope.interface import implementer

from ..peers import pattern
from ..sizes import LAST_WORDS
from . import listen, tell, tellLost


class Telling(Protocol):
    """
    Reports when it is connected and when the connection is lost.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Report it.
        """
        tell("connectionMade")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report the reason.
        """
        tellLost(reason)


class TellingEcho(Telling):
    """
    Sends back what it receives.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


@implementer(IHalfCloseableProtocol)
class Answering(Telling):
    """
    When the peer has shut down its sending side, sends an answer with the number of
    bytes received, and shuts down its own.
    """

    def connectionMade(self) -> None:
        """
        Start with no bytes.
        """
        super().connectionMade()
        self.heard = 0

    def dataReceived(self, data: bytes) -> None:
        """
        Count the bytes.
        """
        self.heard += len(data)

    def readConnectionLost(self) -> None:
        """
        The peer has sent everything: answer.
        """
        tell("readConnectionLost", heard=self.heard)
        self.transport.write(pattern(LAST_WORDS))
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """
        The answer is sent: both directions have ended.
        """
        tell("writeConnectionLost")
        self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class Greeting(Telling):
    """
    Sends a greeting, shuts down its sending side, and then only receives.
    """

    def connectionMade(self) -> None:
        """
        Send it.
        """
        super().connectionMade()
        self.heard = 0
        self.transport.write(pattern(LAST_WORDS))
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Count the bytes, and write something that has to be discarded.
        """
        self.heard += len(data)
        self.transport.write(b"unheard")

    def writeConnectionLost(self) -> None:
        """
        Its sending side is shut down.
        """
        tell("writeConnectionLost")

    def readConnectionLost(self) -> None:
        """
        The peer has shut down its sending side.
        """
        tell("readConnectionLost", heard=self.heard)
        self.transport.loseConnection()


class LastWords(Telling):
    """
    Executes the commands that it receives: C{l} writes much data and closes, C{w}
    writes something after that, C{a} writes much data and aborts, C{s} writes much data
    without closing, C{c} closes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Execute the command.
        """
        if data != b"c":
            self.transport.write(pattern(LAST_WORDS))
        if data in b"lwc":
            self.transport.loseConnection()
        if data == b"w":
            self.transport.write(b"afterwards")
        if data == b"a":
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report the prefix that a log event would have, too.
        """
        tell("logged", prefix=context.get(ILogContext)["system"])
        super().connectionLost(reason)


class Aborting(Telling):
    """
    Aborts as soon as it receives something, and then tries to receive more.
    """

    aborted = False

    def dataReceived(self, data: bytes) -> None:
        """
        Abort, or report that more was received.
        """
        if self.aborted:
            tell("dataReceived")
        self.aborted = True
        self.transport.abortConnection()
        self.transport.resumeProducing()


class Fragile(Telling):
    """
    Sends back what it receives, and raises an exception for C{break} or C{recurse}.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Raise an exception, or send the data back.
        """
        if data == b"break":
            raise ZeroDivisionError("deliberate")
        if data == b"recurse":
            # Recurse through C, where each step uses a part of the thread's stack.
            list(map(self.dataReceived, [data]))
        self.transport.write(data)


class BehindItsBack(Telling):
    """
    Ends its connection at the socket itself, unknown to its transport: C{s} shuts it
    down and C{c} closes it. C{l} calls the transport's C{loseConnection}.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Execute the command, and report it.
        """
        if data == b"s":
            self.transport.getHandle().shutdown(socket.SHUT_RDWR)
        if data == b"c":
            self.transport.getHandle().close()
        if data == b"l":
            self.transport.loseConnection()
        tell("did", what=data.decode())


def echo(reactor: Any) -> None:
    """
    Serve L{TellingEcho}.
    """
    listen(reactor, TellingEcho)


def answer(reactor: Any) -> None:
    """
    Serve L{Answering}.
    """
    listen(reactor, Answering)


def greet(reactor: Any) -> None:
    """
    Serve L{Greeting}.
    """
    listen(reactor, Greeting)


def lastWords(reactor: Any) -> None:
    """
    Serve L{LastWords}.
    """
    listen(reactor, LastWords)


def abort(reactor: Any) -> None:
    """
    Serve L{Aborting}.
    """
    listen(reactor, Aborting)


def fragile(reactor: Any) -> None:
    """
    Serve L{Fragile}.
    """
    listen(reactor, Fragile)


def behindItsBack(reactor: Any) -> None:
    """
    Serve L{BehindItsBack}.
    """
    listen(reactor, BehindItsBack)
