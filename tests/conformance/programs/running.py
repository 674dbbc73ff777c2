"""
A server whose peers run and crash the reactor.
"""

from __future__ import annotations

from typing import Any

from . import listen, tell
from .closing import Telling


class Meddling(Telling):
    """
    Executes the commands that it receives: C{run} runs the reactor once more, C{crash}
    makes C{run} return. Sends back all other data.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def dataReceived(self, data: bytes) -> None:
        """
        Execute the command.
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
    Serve L{Meddling} until the reactor crashes, and then run it again.
    """
    serve(reactor)
    reactor.run()
    tell("crashed")
