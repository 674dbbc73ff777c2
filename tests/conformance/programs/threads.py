"""
Threads that call the reactor.
"""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.python.threadable import isInIOThread

from ..sizes import CALLERS, CALLS
from . import tell


def storm(reactor: Any) -> None:
    """
    Let several threads call the reactor as fast as they can. Report the calls.
    """
    called: list[list[int]] = [[] for _ in range(CALLERS)]
    elsewhere: list[int] = []
    inside: list[int] = []
    together: list[int] = []

    def record(caller: int, number: int) -> None:
        if inside:
            together.append(number)
        inside.append(number)
        if not isInIOThread():
            elsewhere.append(number)
        called[caller].append(number)
        inside.pop()
        if sum(map(len, called)) == CALLERS * CALLS:
            finish()

    def call(caller: int) -> None:
        for number in range(CALLS):
            reactor.callFromThread(record, caller, number)

    def finish() -> None:
        tell(
            "finished",
            inOrder=all(numbers == list(range(CALLS)) for numbers in called),
            elsewhere=len(elsewhere),
            together=len(together),
        )
        # A call that is made twice shows up in the events that follow.
        reactor.callLater(0.05, end)

    def end() -> None:
        tell("calls", count=sum(map(len, called)))

    for caller in range(CALLERS):
        reactor.callWhenRunning(threading.Thread(target=call, args=(caller,)).start)


def wake(reactor: Any, times: int) -> None:
    """
    Let a thread wake an idle reactor, a number of times: each time only when the
    reactor waits again, as far as a thread can know.
    """

    def poke() -> None:
        for number in range(times):
            # The thread waits for an answer: then the reactor has nothing else to do.
            blockingCallFromThread(reactor, tell, "woken", number=number)
        reactor.callFromThread(reactor.stop)

    reactor.callWhenRunning(threading.Thread(target=poke).start)


def defer(reactor: Any, times: int) -> None:
    """
    Run work in the thread pool, some of which fails.
    """
    results: list[Any] = []

    def work(number: int) -> tuple[int, bool]:
        if number % 10 == 9:
            raise ZeroDivisionError(number)
        return number, isInIOThread()

    def finish(result: Any) -> None:
        kind = getattr(result, "type", None)
        results.append(kind.__name__ if kind else list(result))
        inReactor.append(isInIOThread())
        if len(results) == times:
            tell("finished", results=results, inReactor=all(inReactor))

    inReactor: list[bool] = []

    def start() -> None:
        for number in range(times):
            deferToThread(work, number).addBoth(finish)

    reactor.callWhenRunning(start)
