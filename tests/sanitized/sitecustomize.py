"""
Python imports this module when it starts (L{site}), in each process of
C{scripts/sanitize}. It forces a garbage collection at every allocation of a container.
In some of the collections it uses the rings of the reactors, as a finalizer may.

Facts. CPython collects garbage during the allocation of a list, a tuple, an exception
or a frame (up to 3.11; later versions only between bytecodes). Finalizers, callbacks of
weak references and C{gc.callbacks} run there, and may call any function. A collection
is due when more objects than a threshold were allocated. If the threshold is below 0, a
collection is always due; 0 turns collection off.
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

MESSAGE = b"read by the kernel"
#: The share of collections in which a ring is used; and of these, the share in which so
#: many operations are added that the table grows.
OFTEN = 0.1
MUCH = 0.01
#: Whether the tests themselves run here. They count the descriptors of the processes
#: that they start, and a queue may have one more.
TESTS = "twisted.trial" in sys.orig_argv
#: A ring is used only if a function of these files is on the stack.
IODEMO = str(Path(__file__).parents[2] / "iodemo")


class _Dying:
    """
    The owner of an operation. Its finalizer adds another one.
    """

    def __init__(self, intruder: Intruder) -> None:
        self.intruder = intruder

    def __del__(self) -> None:
        self.intruder.send()


class Intruder:
    """
    The owner of operations on a queue, which checks their results.

    @ivar polls: operations that wait until C{silent} is readable or C{full} is
        writable, which they never are. C{full} is half-closed: for the kernel's own
        poll it is always ready, so the queue has to park these polls.
    @ivar sending: whether a message is being sent, from C{silent} to C{listener}.
    @ivar attempts: how often it called C{sendNow} for C{broken}, which always fails.
    """

    def __init__(self, queue: RingQueue) -> None:
        self.queue = weakref.proxy(queue)
        self.thread = threading.get_ident()
        self.polls: list[int] = []
        self.sending = False
        self.attempts = 0
        self.silent, self.listener = socket.socketpair()
        self.broken, other = socket.socketpair()
        other.close()
        self.full, self.halfClosing = socket.socketpair()
        self.halfClosing.shutdown(socket.SHUT_WR)
        with suppress(BlockingIOError):
            while True:
                self.full.send(MESSAGE, socket.MSG_DONTWAIT)

    def act(self) -> None:
        """
        Cancel the operations of the last call, and add others.
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
        self.attempts += 1
        self.queue.sendNow(self, self.broken.fileno(), self.attempt(self.attempts))

    def attempt(self, number: int) -> bytes:
        """
        The data of one C{sendNow}.
        """
        return b"%d of %d" % (number, id(self))

    def send(self) -> None:
        """
        Send a message, whose memory the kernel reads, unless one is being sent.
        """
        if not self.sending:
            self.sending = True
            self.queue.send(self, self.silent.fileno(), [MESSAGE])

    def sent(self, result: int) -> None:
        """
        Called by the queue at the end of a send.
        """
        self.sending = False
        heard = self.listener.recv(len(MESSAGE)) if result > 0 else b""
        if result != len(MESSAGE) or heard != MESSAGE:
            report(f"result {result} of a message, which arrived as {heard!r}")

    def sentPart(self, data: bytes, result: int) -> None:
        """
        Called by the queue after a short C{sendNow}.
        """
        number = int(data.split()[0])
        if data != self.attempt(number) or number > self.attempts or result >= 0:
            report(f"result {result} of {data!r}")

    def polled(self, result: int) -> None:
        """
        Called by the queue, which is a mistake.
        """
        report(f"result {result} of a descriptor that is not ready")

    @property
    def inFlight(self) -> int:
        """
        The number of its own operations that have not ended.
        """
        return len(self.polls) + self.sending


def intrude(uring: Any) -> None:
    """
    Give each queue that L{iodemo.reactors.uring} makes an intruder. The queue does not
    count the intruder's operations.
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
    Write a report to the directory that C{scripts/sanitize} checks.
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
