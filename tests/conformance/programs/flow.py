"""
Servers that have more to send than their peers read at once, and a server that reads
only when it is permitted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..peers import pattern
from ..sizes import PRODUCED, PRODUCED_AT_ONCE
from . import listen, tell, tellLost, whenPermitted

_PRODUCT = pattern(PRODUCED_AT_ONCE)


class _Flowing(Protocol):
    """
    @ivar reactor: the reactor, for delays.
    @ivar left: how many bytes it still has to produce.
    """

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.left = 0

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Report the reason.
        """
        self.left = 0
        tellLost(reason)


@implementer(IPushProducer)
class Pushing(_Flowing):
    """
    Sends until it is paused, and continues when it is resumed.
    """

    def connectionMade(self) -> None:
        """
        Start.
        """
        self.left = PRODUCED
        self.pauses = self.resumes = 0
        self.paused = self.producing = self.ended = False
        self.transport.registerProducer(self, True)
        self.produce()
        _tellQuiet(self.reactor, lambda: self.left)

    def produce(self) -> None:
        """
        Send. A transport that sends at once may pause and resume this producer within a
        write.
        """
        self.producing = True
        while self.left and not self.paused:
            self.left -= len(_PRODUCT)
            self.transport.write(_PRODUCT)
        self.producing = False
        if not self.left and not self.ended:
            self.ended = True
            tell("produced", pauses=self.pauses, resumes=self.resumes)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        """
        Stop sending.
        """
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        """
        Continue sending.
        """
        self.paused = False
        self.resumes += 1
        if not self.producing:
            self.produce()

    def stopProducing(self) -> None:
        """
        Stop sending for good.
        """
        tell("stopProducing")
        self.paused = True


@implementer(IPullProducer)
class Pulled(_Flowing):
    """
    Sends a piece whenever it is resumed.
    """

    def connectionMade(self) -> None:
        """
        Start.
        """
        self.left = PRODUCED
        self.asked = 0
        self.transport.registerProducer(self, False)
        _tellQuiet(self.reactor, lambda: self.left)

    def resumeProducing(self) -> None:
        """
        Send a piece; finish after the last.
        """
        self.asked += 1
        if self.left:
            self.left -= len(_PRODUCT)
            self.transport.write(_PRODUCT)
        if not self.left:
            tell("produced", asked=self.asked)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        """
        Stop sending for good.
        """
        tell("stopProducing")


class Reading(_Flowing):
    """
    Reads a little, then nothing until it is permitted, then everything. It sends back
    at once what it has read.
    """

    def connectionMade(self) -> None:
        """
        Start with nothing read.
        """
        self.reading = True
        self.first = True

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back; and the first time, stop reading.
        """
        if not self.reading:
            tell("readWhilePaused", size=len(data))
        self.transport.write(data)
        if self.first:
            self.first = self.reading = False
            self.transport.pauseProducing()
            tell("paused")
            whenPermitted(self.reactor, "look", self.look)

    def look(self) -> None:
        """
        Wait a few turns, in which nothing must be read.
        """
        self.reactor.callLater(0.1, tell, "looked")
        whenPermitted(self.reactor, "read", self.readOn)

    def readOn(self) -> None:
        """
        Continue reading.
        """
        self.reading = True
        self.transport.resumeProducing()


def _tellQuiet(reactor: Any, left: Callable[[], int]) -> None:
    """
    Report how much has been produced whenever that stays the same for a while: then the
    buffers on the way to the peer are full.
    """

    def look(before: int, told: int) -> None:
        now = left()
        if now == before != told:
            tell("quiet", produced=PRODUCED - now)
            told = now
        if now:
            reactor.callLater(0.1, look, now, told)

    look(PRODUCED, PRODUCED)


def push(reactor: Any) -> None:
    """
    Serve L{Pushing}.
    """
    listen(reactor, lambda: Pushing(reactor))


def pull(reactor: Any) -> None:
    """
    Serve L{Pulled}.
    """
    listen(reactor, lambda: Pulled(reactor))


def read(reactor: Any) -> None:
    """
    Serve L{Reading}.
    """
    listen(reactor, lambda: Reading(reactor))
