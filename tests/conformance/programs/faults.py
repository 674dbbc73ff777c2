"""
Servers that run out of descriptors, or whose peers disappear.
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

# Seconds over which the CPU time of the process is measured.
_MEASURED = 0.5


def crowded(reactor: Any, admitted: int, reserved: bool) -> None:
    """
    Serve L{Visit}, with descriptors for a number of connections. Report the share of a
    core that the process uses: without connections, and once permitted.

    @param admitted: the number of connections.
    @param reserved: whether Twisted has a descriptor in reserve, which it gives up to
        close connections for which there is none.
    """
    if not reserved:
        # As if another thread had taken it first.
        tcp._reservedFD = tcp._NullFileDescriptorReservation()
    reactor.callLater(0, _limitDescriptors, admitted)
    listen(reactor, Visit)
    reactor.callLater(0, _measure, reactor, "empty")
    whenPermitted(reactor, "measure", lambda: _measure(reactor, "full"))


def _limitDescriptors(spare: int) -> None:
    """
    Let this process open this number of files more than it has open now.
    """
    free = [os.dup(0) for _ in range(spare)]
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
    Executes the commands that it receives: C{write} writes much data; C{push} and
    C{pull} write much data without end, as a producer of that kind. Sends back all
    other data.

    @cvar known: the protocols and transports that exist.
    """

    known: WeakSet[Any] = WeakSet()

    def connectionMade(self) -> None:
        """
        Add it to the known objects.
        """
        self.known.update((self, self.transport))

    def dataReceived(self, data: bytes) -> None:
        """
        Execute the command.
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
        It writes nothing until it is resumed, in any case.
        """

    def resumeProducing(self) -> None:
        """
        Write more.
        """
        self.transport.write(pattern(LAST_WORDS))

    def stopProducing(self) -> None:
        """
        Report it.
        """
        tell("stopProducing")


def send(reactor: Any) -> None:
    """
    Serve L{Sending}. Once permitted, report when all known objects are freed.
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
    Gives a child process its input, and reports its output.
    """

    transport: Any

    def __init__(self, given: bytes, finish: Callable[[], object]) -> None:
        self.given = given
        self.finish = finish
        self.said = b""

    def connectionMade(self) -> None:
        """
        Write the input.
        """
        self.transport.write(self.given)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """
        Keep the output.
        """
        self.said += data

    def errReceived(self, data: bytes) -> None:
        """
        Likewise.
        """
        self.said += data

    def processEnded(self, reason: Failure) -> None:
        """
        Report the end.
        """
        said = self.said.removesuffix(self.given)
        status = getattr(reason.value, "status", None)
        tell("processEnded", status=status, said=said[:100].decode("latin-1"))
        self.finish()


def spawn(reactor: Any, script: str, given: int) -> None:
    """
    Serve L{Echo}, and once permitted run a script in many processes, some at a
    time. Report SIGUSR2, whenever its handler is called.

    @param given: the number of bytes of each process's standard input.
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
                # Twisted forks if it has to change the directory, and else calls
                # posix_spawn.
                path="/" if number % 2 else None,
            )
            return

    def start() -> None:
        for _ in range(CHILDREN_AT_ONCE):
            startNext()

    whenPermitted(reactor, "start", start)
