"""
Timers, while a server is busy.
"""

from __future__ import annotations

import random
from typing import Any

from ..sizes import TIMERS, TIMERS_WITHIN
from . import listen, tell, whenPermitted
from .closing import TellingEcho

# How often each of several things happens before a chain of calls ends.
_TURNS = 1000


class Echo(TellingEcho):
    """
    Sends back what it receives, and reports nothing.
    """

    def connectionMade(self) -> None:
        """
        Report nothing.
        """

    def connectionLost(self, reason: object = None) -> None:
        """
        Report nothing.
        """


def many(reactor: Any, seed: int) -> None:
    """
    Once permitted, start many timers, and cancel, postpone or move forward some: some
    at once, and some from within another. Report those that fired, and when.
    """
    listen(reactor, Echo)
    source = random.Random(seed)
    fired: list[tuple[int, float]] = []
    calls: list[Any] = []
    early: list[float] = []

    def fire(number: int) -> None:
        now = reactor.seconds()
        # During the call, a delayed call still has the time at which it was due.
        due = calls[number].getTime()
        if now < due:
            early.append(due - now)
        fired.append((number, due))
        if number % 100 == 0:
            meddle()

    def meddle() -> None:
        number = source.randrange(TIMERS)
        call = calls[number]
        if not call.active():
            return
        if number % 3 == 0:
            call.cancel()
            cancelled.add(number)
        elif number % 3 == 1:
            call.delay(source.random() * TIMERS_WITHIN)
        else:
            call.reset(source.random() * TIMERS_WITHIN)

    cancelled: set[int] = set()

    def start() -> None:
        for number in range(TIMERS):
            delay = source.random() * TIMERS_WITHIN
            calls.append(reactor.callLater(delay, fire, number))
        for _ in range(TIMERS // 2):
            meddle()
        finish()

    def finish() -> None:
        if any(call.active() for call in calls):
            reactor.callLater(TIMERS_WITHIN, finish)
            return
        numbers = [number for number, _ in fired]
        times = [due for _, due in fired]
        tell(
            "finished",
            fired=len(numbers),
            twice=len(numbers) - len(set(numbers)),
            cancelled=len(cancelled),
            firedAndCancelled=len(cancelled.intersection(numbers)),
            early=early[:3],
            inOrder=times == sorted(times),
        )

    whenPermitted(reactor, "start", start)


def chain(reactor: Any) -> None:
    """
    Serve, with a call that always schedules itself again at once. Report its progress
    every so many turns.
    """
    listen(reactor, Echo)

    def turn(count: int) -> None:
        if count % _TURNS == 0:
            tell("turned")
        reactor.callLater(0, turn, count + 1)

    whenPermitted(reactor, "start", lambda: turn(0))


def idle(reactor: Any) -> None:
    """
    Make one call at once and one later, and nothing else.
    """
    reactor.callLater(0, tell, "soon")
    started = reactor.seconds()

    def late() -> None:
        tell("late", early=reactor.seconds() < started + 0.3)

    reactor.callLater(0.3, late)
