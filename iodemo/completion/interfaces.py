# -*- test-case-name: tests.test_completion -*-
"""
The interface of a completion queue. L{iodemo.completion} defines the terms.
"""

from __future__ import annotations

from typing import Any

from zope.interface import Attribute, Interface

#: How many pieces one send can have: IOV_MAX of <limits.h>.
MOST_PIECES = 1024


class QueueRefused(OSError):
    """
    The kernel refuses a system call that the queue needs, and will refuse it again. The
    message has the reason, and a remedy.
    """


class ICompletionQueue(Interface):
    """
    A queue of operations. Each operation has an owner; while the queue waits, it calls
    the owner with the operation's results.

    An operation is a number. A result is a number, too: what the system call of that
    name would return, or C{-errno}.
    """

    current = Attribute("The owner whose callback is running; C{None} between.")

    def connect(owner: Any, descriptor: int, address: Any) -> int:
        """
        Connect. The queue calls C{owner.connectEnded(result)}.

        @param address: as for C{socket.socket.connect}, resolved; for a UNIX socket its
            path.
        """

    def receive(owner: Any, descriptor: int) -> int:
        """
        Receive until the end. The queue calls C{owner.received(data)} for all data that
        arrives, and finally C{owner.receiveEnded(result)}, where 0 means that the peer
        has shut down its sending side.
        """

    def send(
        owner: Any,
        descriptor: int,
        pieces: list[bytes],
        offset: int = 0,
        passed: int | None = None,
    ) -> int:
        """
        Send pieces in their order. If the socket has no space, the operation waits for
        some. The queue calls C{owner.sent(result)}. The result is the number of bytes
        sent, at least 1 and perhaps fewer than given, or C{-errno}. A socket can have
        one send at a time.

        @param pieces: one to L{MOST_PIECES} objects, each exactly of type C{bytes},
            not of a subclass. The caller must not change the list before the operation
            ends.
        @param offset: how many bytes of the first piece to leave out.
        @param passed: an open descriptor to pass to the peer, over a UNIX socket. Then
            there is one piece, of one byte.
        """

    def sendNow(owner: Any, descriptor: int, data: bytes) -> None:
        """
        Send as much as the socket has space for. Only if that is not all, the queue
        calls C{owner.sentPart(data, result)}, before anything else is sent.
        """

    def poll(owner: Any, descriptor: int, events: int) -> int:
        """
        Wait for readiness. The queue calls C{owner.polled(result)}, with events of
        poll(2), in each wait in which the descriptor is ready; or once with C{-errno},
        which ends the operation.
        """

    def cancel(operation: int) -> None:
        """
        Cancel an operation: its owner gets no more results. A cancelled receive takes
        nothing more from its socket, but its owner still gets data that was already
        received, or the end.

        After cancelling a C{poll} the descriptor may be closed at once, in any way;
        after the others, by L{close}.
        """

    def close(descriptor: int) -> None:
        """
        Close a descriptor, after all operations that were added before. Those on this
        descriptor must have been cancelled. On return the number is free. The file is
        closed, too, unless an operation was cancelled since the last wait: then the
        next wait closes it.
        """

    def wait(timeout: float | None) -> None:
        """
        Wait until there are results, and call their owners.

        @param timeout: seconds; C{None} waits without limit.
        @raise QueueRefused: if there will be no more results.
        """

    def wake() -> None:
        """
        End the wait that is in progress. If there is none, the next one returns at
        once. This method alone may be called in any thread, and from a signal handler.
        """

    def statistics() -> dict[str, int | None]:
        """
        Count. C{operations} is the number of operations that have not ended; each queue
        has other numbers, too.

        @return: the numbers, by name. A number is C{None} if the kernel cannot tell it.
        """
