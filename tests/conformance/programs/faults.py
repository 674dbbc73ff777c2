"""
Servers that meet with more than they can have, and with what goes away.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from twisted.internet import tcp
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from ..peers import pattern
from ..sizes import CHILDREN, CHILDREN_AT_ONCE, LAST_WORDS
from . import listen, tell, whenPermitted
from .closing import TellingEcho
from .time import Echo
from .visits import Visit

# The share of its time for which a process computes is measured for so long.
_MEASURED = 0.5


def crowded(reactor: Any, room: int, reserved: bool) -> None:
    """
    Serve L{Visit}, with descriptors for so many connections. Tell for how much of
    its time the process computes: with nobody there, and once permitted.

    @param reserved: whether Twisted has one descriptor more, which it gives up to get
        rid of those for whom there is none.
    """
    if not reserved:
        # As when another thread was quicker to take it.
        tcp._reservedFD = tcp._NullFileDescriptorReservation()
    reactor.callLater(0, _leaveRoom, room)
    listen(reactor, Visit)
    reactor.callLater(0, _measure, reactor, "empty")
    whenPermitted(reactor, "measure", lambda: _measure(reactor, "full"))


def _leaveRoom(room: int) -> None:
    """
    Have this process open so many files more than it has open now.
    """
    free = [os.dup(0) for _ in range(room)]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))
    for each in free:
        os.close(each)


def _measure(reactor: Any, event: str) -> None:
    computed, started = time.process_time(), time.monotonic()

    def finish() -> None:
        elapsed = time.monotonic() - started
        tell(event, share=(time.process_time() - computed) / elapsed)

    reactor.callLater(_MEASURED, finish)


@implementer(IPushProducer)
class Sending(TellingEcho):
    """
    Does as it is told: C{write} says a lot, C{push} and C{pull} never end saying a
    lot, as a producer of that kind. Sends back all else.

    @cvar known: the protocols and transports that there are.
    """

    known: WeakSet[Any] = WeakSet()

    def connectionMade(self) -> None:
        """
        Be known.
        """
        self.known.update((self, self.transport))

    def dataReceived(self, data: bytes) -> None:
        """
        Do it.
        """
        if data == b"write":
            self.transport.write(pattern(LAST_WORDS))
        elif data in (b"push", b"pull"):
            self.transport.registerProducer(self, data == b"push")
            if data == b"push":
                self.resumeProducing()
        else:
            super().dataReceived(data)

    def pauseProducing(self) -> None:
        """
        It will not go on before it is resumed anyway.
        """

    def resumeProducing(self) -> None:
        """
        Say more.
        """
        self.transport.write(pattern(LAST_WORDS))

    def stopProducing(self) -> None:
        """
        Tell.
        """
        tell("stopProducing")


def send(reactor: Any) -> None:
    """
    Serve L{Sending}. Once permitted, tell when all of them are forgotten.
    """

    def look() -> None:
        gc.collect()
        if Sending.known:
            reactor.callLater(0.01, look)
        else:
            tell("forgotten")

    listen(reactor, Sending)
    whenPermitted(reactor, "forget", look)


class Child(ProcessProtocol):
    """
    Gives a process something, and tells what it says besides.
    """

    transport: Any

    def __init__(self, given: bytes, finish: Callable[[], object]) -> None:
        self.given = given
        self.finish = finish
        self.said = b""

    def connectionMade(self) -> None:
        """
        Give it.
        """
        self.transport.write(self.given)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """
        Keep what it says.
        """
        self.said += data

    def errReceived(self, data: bytes) -> None:
        """
        Likewise.
        """
        self.said += data

    def processEnded(self, reason: Failure) -> None:
        """
        Tell.
        """
        said = self.said.removesuffix(self.given)
        status = getattr(reason.value, "status", None)
        tell("processEnded", status=status, said=said[:100].decode("latin-1"))
        self.finish()


def spawn(reactor: Any, script: str, given: int) -> None:
    """
    Serve, and once permitted run a script in many processes, some at a time. Tell of
    SIGUSR2, whenever its handler is called.

    @param given: of how many bytes the standard input of each is.
    """
    signal.signal(signal.SIGUSR2, lambda number, frame: tell("signalled"))
    listen(reactor, Echo)
    numbers = iter(range(CHILDREN))

    def startNext() -> None:
        for number in numbers:
            reactor.spawnProcess(
                Child(pattern(given), startNext),
                "/bin/sh",
                ["sh", "-c", script],
                env=None,
                # Twisted forks if it has to change the directory, and else spawns.
                path="/" if number % 2 else None,
            )
            return

    def start() -> None:
        for _ in range(CHILDREN_AT_ONCE):
            startNext()

    whenPermitted(reactor, "start", start)
