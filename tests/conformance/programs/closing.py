"""
Servers whose connections end in every way they can.
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
    Tells when it is connected and when it is not.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Tell.
        """
        tell("connectionMade")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell why.
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
    Answers once the peer has said everything: how much it was, and the answer
    itself. Then it has nothing to say either.
    """

    def connectionMade(self) -> None:
        """
        Have heard nothing.
        """
        super().connectionMade()
        self.heard = 0

    def dataReceived(self, data: bytes) -> None:
        """
        Count it.
        """
        self.heard += len(data)

    def readConnectionLost(self) -> None:
        """
        That was everything.
        """
        tell("readConnectionLost", heard=self.heard)
        self.transport.write(pattern(LAST_WORDS))
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """
        The answer is on its way: both directions are over.
        """
        tell("writeConnectionLost")
        self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class Greeting(Telling):
    """
    Says what it has to say, and then listens only.
    """

    def connectionMade(self) -> None:
        """
        Say it.
        """
        super().connectionMade()
        self.heard = 0
        self.transport.write(pattern(LAST_WORDS))
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Count it; what is written now goes nowhere.
        """
        self.heard += len(data)
        self.transport.write(b"unheard")

    def writeConnectionLost(self) -> None:
        """
        Everything is said.
        """
        tell("writeConnectionLost")

    def readConnectionLost(self) -> None:
        """
        And heard.
        """
        tell("readConnectionLost", heard=self.heard)
        self.transport.loseConnection()


class LastWords(Telling):
    """
    Does as it is told: C{l} says a lot and closes, C{w} adds a word after that,
    C{a} says a lot and aborts, C{s} says a lot and does not close, C{c} closes.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Do it.
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
        Tell whose name would be in the log, too.
        """
        tell("logged", prefix=context.get(ILogContext)["system"])
        super().connectionLost(reason)


class Aborting(Telling):
    """
    Aborts as soon as it is told something, and wants to be told more all the same.
    """

    aborted = False

    def dataReceived(self, data: bytes) -> None:
        """
        Do so, or tell that it was told more.
        """
        if self.aborted:
            tell("dataReceived")
        self.aborted = True
        self.transport.abortConnection()
        self.transport.resumeProducing()


class Fragile(Telling):
    """
    Sends back what it receives, and breaks when that is C{break} or C{recurse}.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Break, or do not.
        """
        if data == b"break":
            raise ZeroDivisionError("as asked")
        if data == b"recurse":
            # By way of C, where each step takes a piece of the thread's stack.
            list(map(self.dataReceived, [data]))
        self.transport.write(data)


class BehindItsBack(Telling):
    """
    Ends its connection without its transport, at the socket itself: C{s} shuts it down
    and C{c} closes it. C{l} is the transport's C{loseConnection}.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Do it, and tell.
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
