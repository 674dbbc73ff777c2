"""
A reactor on the standard library's C{selectors}: epoll, kqueue or poll, depending on
the system.

Facts. C{selectors.DefaultSelector} wraps the best multiplexer of the system in one
interface. It keeps a map of the watched descriptors, and forgets a closed descriptor
only when C{unregister} is called. epoll refuses a regular file (EPERM); poll(2) always
reports one as ready.

Decision. C{watch} unregisters a descriptor before it registers it again. So a
descriptor that was closed, and whose number belongs to another file now, needs no
special case. A file that cannot be watched is always reported as ready.

Costs. Two system calls instead of one at each change of interest; and the selector
makes a tuple for each ready descriptor.
"""

from __future__ import annotations

import selectors

from twisted.internet.main import installReactor

from iodemo.reactors.polling import READABLE, WRITABLE, ReadinessReactor


class SelectorsReactor(ReadinessReactor):
    """
    A reactor on C{selectors}.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._always: dict[int, int] = {}
        super().__init__()

    def watch(self, descriptor: int, mask: int) -> None:
        """
        See L{ReadinessReactor.watch}.
        """
        self._always.pop(descriptor, None)
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
        wanted = selectors.EVENT_READ if mask & READABLE else 0
        wanted |= selectors.EVENT_WRITE if mask & WRITABLE else 0
        if wanted:
            try:
                self._selector.register(descriptor, wanted)
            except PermissionError:
                self._always[descriptor] = mask

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """
        See L{ReadinessReactor.wait}.
        """
        if self._always:
            timeout = 0
        ready = list(self._always.items())
        for key, events in self._selector.select(timeout):
            readable = READABLE if events & selectors.EVENT_READ else 0
            writable = WRITABLE if events & selectors.EVENT_WRITE else 0
            ready.append((key.fd, readable | writable))
        return ready


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(SelectorsReactor())
