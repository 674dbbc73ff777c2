# -*- test-case-name: tests.test_chat -*-
"""
C{iodemo-chat}: sends every line to all members of the room, also to its sender.

Memory is used where one writer has many readers: for a member that stops reading, the
server keeps all lines of the others. So the bytes that are kept for a member are
bounded.
"""

from __future__ import annotations

from twisted.application.service import IService
from twisted.internet import protocol
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from iodemo.interfaces import ISharesNothing

from . import IStreamTransport, listeningService, noDelay, renewProducer, wholeNumber
from . import Options as BaseOptions

# Bytes of a member's pending data that are written at a time. They fill a transport's
# buffer, after which the transport pauses the member or not.
_PIECE = 65536


@implementer(IPushProducer)
class Member(LineOnlyReceiver):
    """
    A connection in the room. It is also the producer of the data that is sent on it, so
    that its transport pauses it while the peer does not read.

    @ivar room: its room.
    @ivar paused: whether the transport has paused it.
    @ivar pending: the bytes that are not written yet, at most the room's C{backlog}.
    """

    delimiter = b"\n"
    transport: IStreamTransport
    log = Logger()

    def __init__(self, room: Room) -> None:
        self.room = room
        self.MAX_LENGTH = room.lineLimit
        self.paused = False
        self.pending = bytearray()

    def connectionMade(self) -> None:
        """
        Enter the room.
        """
        noDelay(self.transport)
        self.transport.registerProducer(self, True)
        self.room.members.add(self)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """
        Leave the room.
        """
        self.room.members.discard(self)
        self.pending.clear()

    def lineReceived(self, line: bytes) -> None:
        """
        Send the line to all members.
        """
        self.room.broadcast(line + self.delimiter)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Drop this member: its line is too long, or never ends.
        """
        self.drop(f"a line over {self.MAX_LENGTH} bytes")

    def deliver(self, message: bytes) -> None:
        """
        Send a message to this member, now or when the transport resumes it.
        """
        # Pending data goes first, even if the transport has resumed this member.
        if not self.paused and not self.pending:
            self.transport.write(message)
        elif len(self.pending) + len(message) <= self.room.backlog:
            self.pending += message
        else:
            self.drop(f"reads too slowly, over {self.room.backlog} bytes behind")

    def drop(self, why: str) -> None:
        """
        Disconnect at once. An orderly close would wait until the peer has read the
        data, which it may never do.
        """
        self.log.info("dropped {peer}: {why}", peer=self.transport.getPeer(), why=why)
        # Leave the room now instead of in connectionLost, so that no further message
        # drops, and logs, this member again.
        self.room.members.discard(self)
        self.pending.clear()
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """
        The transport's buffer is full: keep messages from now on.
        """
        self.paused = True

    def resumeProducing(self) -> None:
        """
        The transport takes data again: write the pending data until it pauses.
        """
        self.paused = False
        renewProducer(self.transport, self)
        while self.pending and not self.paused:
            piece = bytes(self.pending[:_PIECE])
            del self.pending[:_PIECE]
            self.transport.write(piece)

    def stopProducing(self) -> None:
        """
        The connection has ended; L{connectionLost} follows.
        """
        self.paused = True


class Room(protocol.ServerFactory):
    """
    All connected members.

    @ivar lineLimit: the longest line in bytes, without its end.
    @ivar backlog: the most bytes that are kept for a member that does not read.
    """

    noisy = False

    def __init__(self, lineLimit: int, backlog: int) -> None:
        self.lineLimit = lineLimit
        self.backlog = backlog
        self.members: set[Member] = set()

    def buildProtocol(self, addr: object) -> Member:
        """
        Make the member of a new connection.
        """
        return Member(self)

    def broadcast(self, message: bytes) -> None:
        """
        Send a message to all members.
        """
        # A copy, since the delivery may drop a member.
        for member in tuple(self.members):
            member.deliver(message)


class Options(BaseOptions):
    """
    C{twistd iodemo-chat}.
    """

    command = "iodemo-chat"
    longdesc = (
        "Sends every line to all connected clients. There is no time-out: a silent "
        "client keeps its connection for as long as it likes."
    )
    optParameters = [
        [
            "line-limit",
            None,
            4096,
            "Longest line, in bytes. A client that sends a longer one is dropped.",
            wholeNumber("line-limit", most=2**20),
        ],
        [
            "backlog",
            None,
            2**20,
            "How many bytes a slow client may be behind before it is dropped.",
            wholeNumber("backlog", most=2**30),
        ],
    ]


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.

    @raise SystemExit: with one line to print, if the reactor's connections share no
        state, so that no member would receive the lines of another.
    """
    from twisted.internet import reactor

    if ISharesNothing.providedBy(reactor):
        raise SystemExit(
            f"{options.command}: this reactor's connections share no state, so no "
            "client would receive the lines of another: choose another reactor (see "
            "twistd --help-reactors)"
        )
    return listeningService(options, Room(options["line-limit"], options["backlog"]))
