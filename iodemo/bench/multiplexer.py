# -*- test-case-name: tests.test_multiplexer -*-
"""
The cost of a multiplexer alone: within one process it finds the readable pipes.
This is a program of its own, without reactor or network.

Facts. Multiplexers have been compared by this test since 2000: of N descriptors one, or
a few, are ready at every call, and each is ready as often as any other (Kegel's
Poller_bench; libevent's bench; Kerrisk, The Linux Programming Interface, table 63-9).
On Linux a pipe that is opened for both reading and writing has one descriptor. Most of
the work of C{poll} and C{select} is to enter the process into the wait queue of each
descriptor. A call with a timeout of 0 does not do that, so it would measure too little.
Nor does a call after it has found the first ready descriptor: it costs less when more
are ready.

Decisions. An operation is that of Kegel: a byte is written into each of the chosen
pipes, the multiplexer is called until it has reported all of them, and each is read
when it is reported. Within the operation, the time in the multiplexer is counted
separately. Writing is part of the operation because epoll and io_uring do their work in
the write, by which they are woken, and poll and select do it in the call. Choosing the
pipes and checking the result are not part of it. Every pipe is found once before the
measurement, and every byte differs from the one before. Since each pipe has one
descriptor, select can watch up to a thousand of them.

Costs. The clock adds some 0.1 microseconds to each time. The write and the read, from
Python, take some 1.8 microseconds of an operation. The time of C{proactor} and C{uring}
includes the call of an owner for each descriptor that is ready.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from math import ceil
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from iodemo.results.schema import Round

if TYPE_CHECKING:
    from iodemo.completion.interfaces import ICompletionQueue

_LETTERS = [bytes((number,)) for number in range(256)]

# The number of pipes that are found at a time before the measurement. One by one, poll
# would need longer for ten thousand pipes than for the measurement.
_BATCH = 100

# The size of the ring's completion queue: the default of the reactor.
_RESULTS = 16384


class WrongFind(Exception):
    """A multiplexer reported descriptors that were not ready, or not all that were."""


@dataclass(frozen=True)
class Multiplexer:
    """
    A multiplexer that watches some descriptors for input.

    @ivar wait: the function that waits until one of them, or more, are ready.
    @ivar ready: the function that makes a list of descriptors from the result of
        C{wait}.
    """

    wait: Callable[[], Any]
    ready: Callable[[Any], list[int]]


def _select(descriptors: list[int]) -> Multiplexer:
    return Multiplexer(
        partial(select.select, descriptors, (), ()), lambda answer: answer[0]
    )


def _registered(poller: Any, descriptors: list[int]) -> Multiplexer:
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return Multiplexer(
        poller.poll, lambda answer: [descriptor for descriptor, _ in answer]
    )


def _poll(descriptors: list[int]) -> Multiplexer:
    return _registered(select.poll(), descriptors)


def _epoll(descriptors: list[int]) -> Multiplexer:
    return _registered(select.epoll(), descriptors)


def _queued(queue: ICompletionQueue, descriptors: list[int]) -> Multiplexer:
    polled: list[int] = []

    def ready(answer: None) -> list[int]:
        found = polled.copy()
        polled.clear()
        return found

    for descriptor in descriptors:
        queue.poll(_Owner(descriptor, polled), descriptor, select.POLLIN)
    return Multiplexer(partial(queue.wait, None), ready)


def _proactor(descriptors: list[int]) -> Multiplexer:
    from iodemo.completion.emulated import ReadinessQueue

    return _queued(ReadinessQueue(), descriptors)


def _uring(descriptors: list[int]) -> Multiplexer:
    from iodemo.completion.ring import RingQueue

    # The ring receives nothing here, so one buffer is enough.
    return _queued(RingQueue(1, 4096, _RESULTS), descriptors)


class _Owner:
    """
    The owner of a poll operation: it adds its descriptor to a list.
    """

    __slots__ = ("_descriptor", "_polled")

    def __init__(self, descriptor: int, polled: list[int]) -> None:
        self._descriptor = descriptor
        self._polled = polled

    def polled(self, result: int) -> None:
        """
        The descriptor is readable; the queue calls this.
        """
        self._polled.append(self._descriptor)


#: The multiplexer of each backend that has one of its own.
MULTIPLEXERS: dict[str, Callable[[list[int]], Multiplexer]] = {
    "select": _select,
    "poll": _poll,
    "epoll": _epoll,
    "proactor": _proactor,
    "uring": _uring,
}


@contextmanager
def opened(count: int) -> Iterator[list[int]]:
    """
    Open pipes, each of one descriptor, non-blocking.
    """
    pipes: list[int] = []
    try:
        for _ in range(count):
            reading, writing = os.pipe()
            try:
                both = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
                pipes.append(os.open(f"/proc/self/fd/{reading}", both))
            finally:
                os.close(reading)
                os.close(writing)
        yield pipes
    finally:
        for pipe in pipes:
            os.close(pipe)


def measure(
    multiplexer: Multiplexer, pipes: list[int], active: int, seconds: float
) -> Round:
    """
    Verify a multiplexer, then measure it for C{seconds}, but at least one operation.

    @param pipes: the pipes that it watches.
    @param active: the number of pipes that are ready at a time.
    @return: the round, in which a request is one operation.
    @raise WrongFind: if the multiplexer reports wrong pipes.
    """
    letters = cycle(_LETTERS)
    for first in range(0, len(pipes), _BATCH):
        _operation(multiplexer, pipes[first : first + _BATCH], next(letters))
    whole: list[int] = []
    within: list[int] = []
    until = perf_counter_ns() + int(seconds * 1e9)
    for chosen in _choices(pipes, active):
        spent, waited = _operation(multiplexer, chosen, next(letters))
        whole.append(spent)
        within.append(waited)
        if perf_counter_ns() >= until:
            break
    return _round(whole, within)


def _choices(pipes: list[int], active: int) -> Iterator[list[int]]:
    """
    Choose C{active} pipes again and again. They are taken from a shuffled list; when
    too few are left, it is shuffled anew.
    """
    deck = pipes.copy()
    while True:
        random.shuffle(deck)
        for first in range(0, len(deck) - active + 1, active):
            yield deck[first : first + active]


def _operation(
    multiplexer: Multiplexer, chosen: list[int], letter: bytes
) -> tuple[int, int]:
    """
    Write into some pipes, find them, and read.

    @return: the nanoseconds of the operation, and of those the ones in the multiplexer.
    """
    wait, ready, write, read = multiplexer.wait, multiplexer.ready, os.write, os.read
    clock = perf_counter_ns
    found: list[tuple[int, bytes]] = []
    within = 0
    began = clock()
    for pipe in chosen:
        write(pipe, letter)
    while len(found) < len(chosen):
        called = clock()
        answer = wait()
        within += clock() - called
        named = ready(answer)
        if not named:
            raise WrongFind(f"it named {len(found)} pipes, and {len(chosen)} are ready")
        for pipe in named:
            try:
                found.append((pipe, read(pipe, 2)))
            except BlockingIOError as error:
                raise WrongFind(f"pipe {pipe} is not ready, and was named") from error
    whole = clock() - began
    if sorted(found) != sorted((pipe, letter) for pipe in chosen):
        raise WrongFind(f"it named {sorted(found)} for {letter!r} in {sorted(chosen)}")
    return whole, within


def _round(whole: list[int], within: list[int]) -> Round:
    """
    @param whole: the nanoseconds of each operation.
    @param within: those of them in the multiplexer.
    """
    count, total = len(whole), sum(whole)
    whole.sort()
    within.sort()

    def percentile(percent: float, of: list[int] = whole) -> float:
        return of[ceil(count * percent / 100) - 1] / 1e3

    return {
        "requests": count,
        "seconds": total / 1e9,
        "throughput": count * 1e9 / total,
        "latency_us": {
            "p50": percentile(50),
            "p90": percentile(90),
            "p99": percentile(99),
            "p99.9": percentile(99.9),
            "max": percentile(100),
        },
        "server_cpu_us_per_request": None,
        "server_user_s": None,
        "server_system_s": None,
        "server_rss_kib": None,
        "context_switches": None,
        "syscalls_per_request": None,
        "load_cpu_fraction": 0.0,
        "us_per_call": percentile(50, within),
    }


def main() -> None:
    """
    C{pipes MULTIPLEXER PIPES ACTIVE SECONDS}: print one round, as JSON.
    """
    name, count, active, seconds = sys.argv[1:]
    with opened(int(count)) as pipes:
        multiplexer = MULTIPLEXERS[name](pipes)
        try:
            measured = measure(multiplexer, pipes, int(active), float(seconds))
        except WrongFind as error:
            sys.exit(str(error))
        print(json.dumps(measured), flush=True)
        # The kernel ends all of this at once. Cancelling ten thousand polls of a ring
        # before that takes most of a second.
        os._exit(0)
