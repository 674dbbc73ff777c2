"""
A server whose callbacks all count in one counter, in a way that fails as soon as two
run at the same time.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from ..sizes import INTRUDERS
from . import listen, tell


class Count:
    """
    @ivar total: the counter, which two callbacks at the same time would corrupt.
    @ivar kinds: the number of calls of each kind of callback.
    @ivar inside: the kind of the callback that is counting now.
    @ivar intrusions: the kinds that began to count while another callback was counting.
    """

    def __init__(self) -> None:
        self.total = 0
        self.kinds: Counter[str] = Counter()
        self.inside: str | None = None
        self.intrusions: list[str] = []

    def enter(self, kind: str) -> None:
        """
        Count, and let any other thread run in the middle of it.
        """
        if self.inside is not None:
            self.intrusions.append(f"{kind} in {self.inside}")
        self.inside = kind
        total = self.total
        self.kinds[kind] += 1
        # This releases the interpreter lock: any thread that can run does.
        time.sleep(0)
        self.total = total + 1
        self.inside = None


class Counting(Protocol):
    """
    Counts each of its callbacks.
    """

    transport: Any

    def __init__(self, count: Count, finish: Any) -> None:
        self.count = count
        self.finish = finish

    def connectionMade(self) -> None:
        """
        Count.
        """
        self.count.enter("connectionMade")

    def dataReceived(self, data: bytes) -> None:
        """
        Count, and answer.
        """
        self.count.enter("dataReceived")
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Count.
        """
        self.count.enter("connectionLost")
        if self.count.kinds["connectionLost"] == INTRUDERS:
            self.finish()


def count(reactor: Any) -> None:
    """
    Serve L{Counting}, with a timer and a thread that count too, until the expected
    number of connections have ended.
    """
    sys.setswitchinterval(1e-5)
    shared = Count()
    over = threading.Event()
    made = threading.Semaphore(0)

    def tick() -> None:
        shared.enter("callLater")
        if not over.is_set():
            reactor.callLater(0, tick)

    def called() -> None:
        shared.enter("callFromThread")
        made.release()

    def call() -> None:
        while not over.is_set():
            reactor.callFromThread(called)
            made.acquire()

    def finish() -> None:
        over.set()
        # In a turn of its own, after all connections have ended.
        reactor.callLater(0.05, end)

    def end() -> None:
        lost = sum(shared.kinds.values()) - shared.total
        kinds = dict(shared.kinds)
        tell("counted", intrusions=shared.intrusions[:5], lost=lost, kinds=kinds)

    listen(reactor, lambda: Counting(shared, finish))
    reactor.callWhenRunning(tick)
    reactor.callWhenRunning(threading.Thread(target=call, daemon=True).start)
