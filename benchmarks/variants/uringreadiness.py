"""
io_uring that only polls: Twisted's own transports receive and send.
"""

from __future__ import annotations

from twisted.internet.main import installReactor
from twisted.internet.posixbase import PosixReactorBase

from iodemo.reactors.uring import UringReactor


class _Reactor(UringReactor):
    listenTCP = PosixReactorBase.listenTCP


def install() -> None:
    """
    Make it the reactor of the process.
    """
    installReactor(_Reactor())
