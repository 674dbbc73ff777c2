# -*- test-case-name: tests.test_uring -*-
"""
A proactor on io_uring: the kernel performs the operations, and returns their results.

C{iodemo.completion.ring} has the facts, the decisions and the costs. It is an extension
module, compiled when iodemo is installed. It needs Linux 6.1. Where it
cannot run, importing this module fails with the reason.

Environment variables bound its memory, each a power of two:

  - IODEMO_URING_BUFFERS: the buffers that all connections share to receive.
  - IODEMO_URING_BUFFER_KIB: the size of each.
  - IODEMO_URING_RESULTS: the entries of the completion queue. The kernel keeps further
    ones in its overflow list, which costs more.
"""

from __future__ import annotations

import os

from twisted.internet import unix
from twisted.internet.main import installReactor

from iodemo.completion.interfaces import QueueRefused
from iodemo.completion.reactor import CompletionReactor
from iodemo.completion.tcp import Client as StreamClient
from iodemo.completion.tcp import ClientMixin, ServerMixin
from iodemo.completion.tcp import Server as StreamServer
from iodemo.completion.unix import UNIXClientMixin, UNIXMixin
from iodemo.kernel import ioUringRefusal

_refusal = ioUringRefusal()
if _refusal is not None:
    raise ImportError(_refusal)

try:
    from iodemo.completion.ring import RingQueue, RingStream
except ModuleNotFoundError as error:
    raise ImportError(
        f"its extension is not compiled ({error}): install the wheel for this "
        "version of Python; or install a C compiler and the headers of Python (on "
        "Debian and Ubuntu, gcc and python3-dev), then iodemo again as before, with "
        "pip install --force-reinstall --no-deps --no-cache-dir, or in a checkout "
        "with scripts/setup"
    ) from error

#: The defaults of the environment variables.
BUFFERS, BUFFER_KIB, RESULTS = 256, 32, 16384

_MOST = 32768


def setting(name: str, default: int) -> int:
    """
    A size from an environment variable.

    @raise ImportError: if it is not a power of two that the kernel accepts.
    """
    text = os.environ.get(name) or str(default)
    if text.isascii() and text.isdigit():
        size = int(text)
        if 0 < size <= _MOST and size & (size - 1) == 0:
            return size
    raise ImportError(
        f"{name} is {text!r}, but must be a power of two up to {_MOST}; the default "
        f"is {default}"
    )


def makeQueue() -> RingQueue:
    """
    A queue of the size that the environment variables set. Its ring is made later, in
    the thread that waits.

    @raise ImportError: as L{setting} does.
    """
    buffers = setting("IODEMO_URING_BUFFERS", BUFFERS)
    return RingQueue(
        buffers,
        setting("IODEMO_URING_BUFFER_KIB", BUFFER_KIB) * 1024,
        # The CQEs of all buffers must fit.
        max(setting("IODEMO_URING_RESULTS", RESULTS), 2 * buffers),
    )


class Server(RingStream, StreamServer):
    """
    A connection that was accepted.
    """

    # The attributes that Twisted's server transport always sets. RingStream declares
    # the others, so an idle connection has no dictionary.
    __slots__ = (
        "client",
        "fileno",
        "hostname",
        "logstr",
        "repstr",
        "server",
        "sessionno",
        "socket",
    )


class Client(RingStream, StreamClient):
    """
    A connection that this process makes.
    """


class UNIXServer(UNIXMixin, RingStream, ServerMixin, unix.Server):
    """
    A UNIX connection that was accepted.
    """


class UNIXClient(UNIXClientMixin, RingStream, ClientMixin, unix.Client):
    """
    A UNIX connection that this process makes.
    """


class UringMixin:
    """
    The transports of a reactor on io_uring's completions.
    """

    serverTransport = Server
    clientTransport = Client
    unixServerTransport = UNIXServer
    unixClientTransport = UNIXClient


class UringReactor(UringMixin, CompletionReactor):
    """
    A reactor on io_uring's completions.
    """

    def __init__(self) -> None:
        self.ring = makeQueue()
        super().__init__(self.ring)

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """
        See C{ReactorBase.startRunning}.

        The ring is made here: in the thread that will run the reactor, and after the
        process has changed its user. A refusal ends the program.
        """
        super().startRunning(installSignalHandlers)
        try:
            self.ring.open()
        except QueueRefused as refusal:
            self.refused(refusal)
            raise


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(UringReactor())
