# -*- test-case-name: tests.test_eventloop -*-
"""
Twisted's asyncio reactor on an emulated proactor: the connections of
L{iodemo.reactors.proactor}, in an event loop of asyncio.

L{iodemo.completion.eventloop} has the facts, the decisions and the costs, and
L{iodemo.reactors.uringasyncio} names an example of a program that runs the loop itself.
"""

from __future__ import annotations

import asyncio

from iodemo.completion.emulated import ReadinessQueue
from iodemo.completion.eventloop import (
    AsyncioCompletionReactor,
    QueueEventLoop,
    QueueSelector,
)


class ProactorEventLoop(QueueEventLoop):
    """
    An event loop of asyncio on completions made from readiness.
    """

    @staticmethod
    def makeSelector() -> QueueSelector:
        """See L{QueueEventLoop.makeSelector}."""
        return QueueSelector(ReadinessQueue())


class ProactorAsyncioReactor(AsyncioCompletionReactor):
    """
    Twisted's asyncio reactor on completions made from readiness.
    """

    loopClass = ProactorEventLoop


def install(eventloop: asyncio.AbstractEventLoop | None = None) -> None:
    """
    Make this the reactor of the process.

    @param eventloop: a L{ProactorEventLoop}. C{None} is the running loop, or else a new
        one, which becomes the current loop of asyncio.
    @raise TypeError: if it is a loop of another kind.
    """
    ProactorAsyncioReactor.install(eventloop)
