"""
A server whose peers meddle with the reactor's run.
"""

from __future__ import annotations

from typing import Any

from . import listen, tell
from .closing import Telling


class Meddling(Telling):
    """
    Does as it is told: C{run} runs the reactor once more, C{crash} has it return
    from that. Sends back all else.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def dataReceived(self, data: bytes) -> None:
        """
        Do it.
        """
        if data == b"run":
            self.reactor.run()
        elif data == b"crash":
            self.reactor.crash()
        else:
            self.transport.write(data)


def serve(reactor: Any) -> None:
    """
    Serve L{Meddling}.
    """
    listen(reactor, lambda: Meddling(reactor))


def again(reactor: Any) -> None:
    """
    Serve L{Meddling} until the reactor is told to crash, and then again.
    """
    serve(reactor)
    reactor.run()
    tell("crashed")
