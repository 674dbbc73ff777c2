"""
Servers that run out of threads or processes, and one that has to wait in the middle of
a turn.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Any

from twisted.internet.protocol import ClientFactory
from twisted.logger import (
    ILogObserver,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import implementer

from . import listen, tell
from .closing import Telling, TellingEcho


@implementer(ILogObserver)
def _tellWarnings(event: Any) -> None:
    if event["log_level"] in (LogLevel.warn, LogLevel.error):
        tell("warning", text=formatEvent(event))


def confined(reactor: Any, spare: int) -> None:
    """
    Serve L{TellingEcho}, with a limited address space.

    @param spare: how many bytes more than now.
    """
    globalLogPublisher.addObserver(_tellWarnings)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    addressed = pages * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (addressed + spare, hard))
    listen(reactor, TellingEcho)


def unforkable(reactor: Any, spare: int) -> None:
    """
    Serve L{TellingEcho}, with a limited number of processes.

    @param spare: how many more may be forked.
    """
    globalLogPublisher.addObserver(_tellWarnings)
    left = [spare]
    fork = os.fork

    def forkWhileAllowed() -> int:
        if not left[0]:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        left[0] -= 1
        return fork()

    os.fork = forkWhileAllowed
    listen(reactor, TellingEcho)


class Calling(TellingEcho):
    """
    Connects to another server when it receives C{connect}, and reports the result.
    Sends back all other data.
    """

    def __init__(self, reactor: Any, port: int) -> None:
        self.reactor = reactor
        self.port = port

    def dataReceived(self, data: bytes) -> None:
        """
        Execute the command.
        """
        if data == b"connect":
            factory = ClientFactory.forProtocol(Telling)
            factory.noisy = False
            self.reactor.connectTCP("127.0.0.1", self.port, factory)
        else:
            super().dataReceived(data)


def calling(reactor: Any, port: int) -> None:
    """
    Serve L{Calling}.
    """
    globalLogPublisher.addObserver(_tellWarnings)
    listen(reactor, lambda: Calling(reactor, port))


class Waiting(TellingEcho):
    """
    Sends C{later} back when a timer has fired; it runs the reactor itself to wait for
    that. Sends back all other data.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def dataReceived(self, data: bytes) -> None:
        """
        Wait if necessary, and send it back.
        """
        if data == b"later":
            call = self.reactor.callLater(0.2, tell, "fired")
            while call.active():
                self.reactor.iterate(0.01)
        super().dataReceived(data)


def waiting(reactor: Any) -> None:
    """
    Serve L{Waiting}.
    """
    listen(reactor, lambda: Waiting(reactor))
