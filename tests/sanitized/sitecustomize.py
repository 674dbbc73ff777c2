"""
Python imports this module when it starts (L{site}), in each process of
C{scripts/sanitize}. It forces a garbage collection at every allocation of a container.
In some of the collections it uses the rings that reactors have, as a finalizer may.

Facts. CPython collects garbage within the allocation of a list, a tuple, an exception
or a frame (up to 3.11; later only between bytecodes). Finalizers, callbacks of weak
references and C{gc.callbacks} run there, and may call anything. A collection is due
when more objects than the threshold were allocated: below zero it always is; zero turns
collection off.
"""

from __future__ import annotations

import gc
import os
import random
import select
import socket
import sys
import threading
import traceback
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iodemo.completion.interfaces import QueueRefused

if TYPE_CHECKING:
    from iodemo.completion.ring import RingQueue

MESSAGE = b"lent to the kernel"
#: The share of collections in which a ring is used; and of these, the share in which so
#: many operations begin that the table grows.
OFTEN = 0.1
MUCH = 0.01
#: Whether the tests themselves run here. They count the descriptors of the processes
#: that they start, and a queue has one more once it has put something aside.
TESTS = "twisted.trial" in sys.orig_argv
#: The ring runs below code of these files, and only below it.
IODEMO = str(Path(__file__).parents[2] / "iodemo")


class _Dying:
    """
    The owner of an operation, whose finalizer begins another one.
    """

    def __init__(self, intruder: Intruder) -> None:
        self.intruder = intruder

    def __del__(self) -> None:
        self.intruder.send()


class Intruder:
    """
    It has operations of its own on a queue, and checks what becomes of them.

    @ivar polls: operations that wait until C{silent} is readable or C{full} is
        writable, which they never are. The peer of C{full} will send no more: for the
        kernel's poll it is always ready, and the queue has to put it aside.
    @ivar sending: whether a message is being sent, from C{silent} to C{listener}.
    @ivar tried: how often it tried to send to C{broken}, which always fails.
    """

    def __init__(self, queue: RingQueue) -> None:
        self.queue = weakref.proxy(queue)
        self.thread = threading.get_ident()
        self.polls: list[int] = []
        self.sending = False
        self.tried = 0
        self.silent, self.listener = socket.socketpair()
        self.broken, other = socket.socketpair()
        other.close()
        self.full, self.ended = socket.socketpair()
        self.ended.shutdown(socket.SHUT_WR)
        with suppress(BlockingIOError):
            while True:
                self.full.send(MESSAGE, socket.MSG_DONTWAIT)

    def act(self) -> None:
        """
        Cancel the operations of the last time, and begin others.
        """
        polls, self.polls = self.polls, []
        for operation in polls:
            self.queue.cancel(operation)
        silent, full = self.silent.fileno(), self.full.fileno()
        self.queue.cancel(self.queue.poll(_Dying(self), silent, select.POLLIN))
        for _ in range(100 if chance.random() < MUCH else 1):
            self.polls.append(self.queue.poll(self, silent, select.POLLIN))
            if TESTS:
                self.polls.append(self.queue.poll(self, full, select.POLLOUT))
        self.tried += 1
        self.queue.sendNow(self, self.broken.fileno(), self.attempt(self.tried))

    def attempt(self, number: int) -> bytes:
        """
        The data of one try.
        """
        return b"%d of %d" % (number, id(self))

    def send(self) -> None:
        """
        Begin to send, which lends memory to the kernel, unless a message is under way.
        """
        if not self.sending:
            self.sending = True
            self.queue.send(self, self.silent.fileno(), [MESSAGE])

    def sent(self, result: int) -> None:
        """
        Told by the queue.
        """
        self.sending = False
        heard = self.listener.recv(len(MESSAGE)) if result > 0 else b""
        if result != len(MESSAGE) or heard != MESSAGE:
            report(f"told {result} of a message, which came as {heard!r}")

    def sentPart(self, data: bytes, result: int) -> None:
        """
        Told by the queue.
        """
        number = int(data.split()[0])
        if data != self.attempt(number) or number > self.tried or result >= 0:
            report(f"told {result} of {data!r}")

    def polled(self, result: int) -> None:
        """
        Told by the queue, and should not be.
        """
        report(f"told {result} of a descriptor that is silent")

    @property
    def inFlight(self) -> int:
        """
        How many operations of its own are not over.
        """
        return len(self.polls) + self.sending


def intrude(uring: Any) -> None:
    """
    Give the queues that L{iodemo.reactors.uring} makes an intruder each, whose
    operations they do not count.
    """
    queue: Any = uring.RingQueue

    class IntrudedQueue(queue):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            self.intruder = Intruder(self)
            intruders.add(self.intruder)

        @property
        def inFlight(self) -> int:
            return int(super().inFlight) - self.intruder.inFlight

    intruded.append(queue)
    uring.RingQueue = IntrudedQueue


def report(wrong: str) -> None:
    """
    Write a report where C{scripts/sanitize} looks for reports.
    """
    name = f"intruder.{os.getpid()}"
    with Path(os.environ["IODEMO_REPORTS"], name).open("a") as file:
        file.write(f"iodemo: in a collection: {wrong}\n")


def collected(phase: str, info: object) -> None:
    """
    Called by the garbage collector.
    """
    uring = sys.modules.get("iodemo.reactors.uring")
    if not intruded and hasattr(uring, "RingQueue"):
        intrude(uring)
    caller = sys._getframe().f_back
    if phase != "start" or caller is None:
        return
    if caller.f_code.co_filename.startswith(IODEMO) and chance.random() < OFTEN:
        for intruder in list(intruders):
            if intruder.thread == threading.get_ident():
                try:
                    intruder.act()
                except QueueRefused:
                    pass
                except BaseException:
                    report(traceback.format_exc())


chance = random.Random()
intruded: list[Any] = []
intruders: weakref.WeakSet[Intruder] = weakref.WeakSet()
gc.callbacks.append(collected)
gc.set_threshold(-1)
