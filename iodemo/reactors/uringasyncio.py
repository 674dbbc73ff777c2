# -*- test-case-name: tests.test_eventloop -*-
"""
Twisted's asyncio reactor on io_uring: the connections of L{iodemo.reactors.uring}, in
an event loop of asyncio.

L{iodemo.completion.eventloop} has the facts, the decisions and the costs.
L{iodemo.reactors.uring} says what is needed, and which environment variables bound its
memory.

A program that runs the loop itself makes it with L{UringEventLoop}, and installs the
reactor on it, or within it. C{docs/examples/asyncioprogram.py} is such a program.
"""

from __future__ import annotations

import asyncio

from iodemo.completion.eventloop import (
    AsyncioCompletionReactor,
    QueueEventLoop,
    QueueSelector,
)
from iodemo.reactors.uring import UringMixin, makeQueue


class UringEventLoop(QueueEventLoop):
    """
    An event loop of asyncio on io_uring.
    """

    @staticmethod
    def makeSelector() -> QueueSelector:
        """See L{QueueEventLoop.makeSelector}."""
        return QueueSelector(makeQueue())


class UringAsyncioReactor(UringMixin, AsyncioCompletionReactor):
    """
    Twisted's asyncio reactor on io_uring's completions.
    """

    loopClass = UringEventLoop


def install(eventloop: asyncio.AbstractEventLoop | None = None) -> None:
    """
    Make this the reactor of the process.

    @param eventloop: a L{UringEventLoop}. C{None} is the running loop, or else a new
        one, which becomes the current loop of asyncio.
    @raise TypeError: if it is a loop of another kind.
    """
    UringAsyncioReactor.install(eventloop)
