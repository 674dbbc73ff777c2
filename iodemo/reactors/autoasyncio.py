# -*- test-case-name: tests.test_auto -*-
"""
The quickest asyncio reactor that works here: C{uring-asyncio}, else
C{proactor-asyncio}, else Twisted's own. L{iodemo.reactors.auto} has the facts and the
decisions.

A program that has a loop of its own makes it with L{newEventLoop}, and installs the
reactor on it::

    with asyncio.Runner(loop_factory=newEventLoop) as runner:
        install(runner.get_loop())
"""

from __future__ import annotations

import asyncio

from iodemo.reactors.auto import installFirst

#: As in L{iodemo.reactors.auto}.
REACTORS = {
    "uring-asyncio": "iodemo.reactors.uringorproactorasyncio",
    "proactor-asyncio": "iodemo.reactors.proactorasyncio",
    "asyncio": "twisted.internet.asyncioreactor",
}


def install(eventloop: asyncio.AbstractEventLoop | None = None) -> None:
    """
    Make the first of L{REACTORS} that works the reactor of the process.

    @param eventloop: a loop of L{newEventLoop}; on another loop only Twisted's own
        reactor works. C{None} is the running loop, or else a new one, which becomes the
        current loop of asyncio.
    """
    installFirst(REACTORS, eventloop)


def newEventLoop() -> asyncio.AbstractEventLoop:
    """
    Make an event loop for the first of these reactors that works.
    """
    try:
        from iodemo.reactors.uringorproactorasyncio import UringOrProactorEventLoop

        return UringOrProactorEventLoop()
    except (ImportError, OSError):
        from iodemo.reactors.proactorasyncio import ProactorEventLoop

        return ProactorEventLoop()
