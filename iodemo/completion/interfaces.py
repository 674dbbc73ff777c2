# -*- test-case-name: tests.test_completion -*-
"""
What a completion queue is.
"""

from __future__ import annotations

from typing import Any

from zope.interface import Attribute, Interface

#: How many pieces can be sent at a time: IOV_MAX of <limits.h>.
MOST_PIECES = 1024


class QueueRefused(OSError):
    """
    The kernel does not serve this queue, and will not. The message says why, and what
    to do.
    """


class ICompletionQueue(Interface):
    """
    Operations asked for, and their results told to the object that asked, its
    owner, when the queue waits.

    An operation is a number. Results are numbers too, as the kernel has them: what
    the system call of that name would return, or C{-errno}.
    """

    current = Attribute("The owner who is being told something; L{None} between.")

    def connect(owner: Any, descriptor: int, address: Any) -> int:
        """
        Connect: C{owner.connectEnded(result)}.

        @param address: as for L{socket.socket.connect}, resolved; of a UNIX socket its
            path.
        """

    def receive(owner: Any, descriptor: int) -> int:
        """
        Receive until the end: C{owner.received(data)} whenever there is some, and
        C{owner.receiveEnded(result)}, where 0 is the peer's orderly end.
        """

    def send(
        owner: Any,
        descriptor: int,
        pieces: list[bytes],
        offset: int = 0,
        passed: int | None = None,
    ) -> int:
        """
        Send pieces in their order, waiting for room as long as it takes:
        C{owner.sent(result)}, which may be less than all though never nothing. Only
        one at a time for a descriptor.

        @param pieces: from one to L{MOST_PIECES}, none of a subclass of C{bytes}; the
            list is the queue's until the result is there.
        @param offset: how much of the first piece to leave out.
        @param passed: a descriptor to pass along, over a UNIX socket. Then there is
            one piece, of one byte.
        """

    def sendNow(owner: Any, descriptor: int, data: bytes) -> None:
        """
        Send what there is room for. Nothing is told if that is everything; if it is
        not, C{owner.sentPart(data, result)}, before anything else is sent.
        """

    def poll(owner: Any, descriptor: int, events: int) -> int:
        """
        Wait for readiness: C{owner.polled(result)}, events as of poll(2), again and
        again for as long as there is any, or C{-errno} once.
        """

    def cancel(operation: int) -> None:
        """
        Stop an operation: nothing more is told of it. A receive takes nothing more from
        its socket; what it had taken already is told yet, or how it had ended.

        Of C{poll} the descriptor may be closed at once, by anybody; of the others by
        L{close}.
        """

    def close(descriptor: int) -> None:
        """
        Close a descriptor, after whatever was asked before. Its operations must have
        been cancelled. When this returns, the number is free. The file is closed, too,
        unless an operation was cancelled since the queue last waited: then it is when
        the queue waits next.
        """

    def wait(timeout: float | None) -> None:
        """
        Wait until an operation has a result, and tell all there are.

        @param timeout: seconds; L{None} waits for ever.
        @raise QueueRefused: if there will be no more results.
        """

    def wake() -> None:
        """
        Have the wait that is under way end, or the next one. Alone of all this it may
        be called in any thread, and when a signal has come.
        """
