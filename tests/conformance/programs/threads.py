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
    Have several threads call the reactor as fast as they can. Tell what was
    called.
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
        # Whatever is called once more shows up in what is told then.
        reactor.callLater(0.05, end)

    def end() -> None:
        tell("calls", count=sum(map(len, called)))

    for caller in range(CALLERS):
        reactor.callWhenRunning(threading.Thread(target=call, args=(caller,)).start)


def wake(reactor: Any, times: int) -> None:
    """
    Have a thread wake a reactor that has nothing to do, so many times: each
    time only once it has gone back to sleep, as far as a thread can tell.
    """

    def poke() -> None:
        for number in range(times):
            # It waits for an answer: the reactor has nothing else left then.
            blockingCallFromThread(reactor, tell, "woken", number=number)
        reactor.callFromThread(reactor.stop)

    reactor.callWhenRunning(threading.Thread(target=poke).start)


def defer(reactor: Any, times: int) -> None:
    """
    Have work done by the thread pool, some of which fails.
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
