# -*- test-case-name: tests.test_chat -*-
"""
C{iodemo-chat}: every line goes to everyone in the room, its sender included.

One writer times many readers is where memory goes: a reader who stops reading
is owed everything the others say. So what a member is owed is bounded.
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

# How much of what a member is owed is written at once. Enough to fill a
# transport's buffer, after which it says whether it wants more.
_PIECE = 65536


@implementer(IPushProducer)
class Member(LineOnlyReceiver):
    """
    Somebody in the room, who is also the producer of what is sent to them: that
    is how their transport says whether they are reading.

    @ivar room: where they are.
    @ivar paused: whether the transport has asked for no more.
    @ivar owed: what has been said since, at most the room's C{backlog} bytes.
    """

    delimiter = b"\n"
    transport: IStreamTransport
    log = Logger()

    def __init__(self, room: Room) -> None:
        self.room = room
        self.MAX_LENGTH = room.lineLimit
        self.paused = False
        self.owed = bytearray()

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
        self.owed.clear()

    def lineReceived(self, line: bytes) -> None:
        """
        Say it to everyone.
        """
        self.room.say(line + self.delimiter)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        Drop whoever sends a line that is too long, or one that never ends.
        """
        self.drop(f"a line over {self.MAX_LENGTH} bytes")

    def hear(self, message: bytes) -> None:
        """
        Be told something, now or when the transport can take it.
        """
        # What is owed goes first, even if the pause is over.
        if not self.paused and not self.owed:
            self.transport.write(message)
        elif len(self.owed) + len(message) <= self.room.backlog:
            self.owed += message
        else:
            self.drop(f"reads too slowly, over {self.room.backlog} bytes behind")

    def drop(self, why: str) -> None:
        """
        Disconnect at once. To close in an orderly way would be to wait for
        somebody who does not read.
        """
        self.log.info("dropped {peer}: {why}", peer=self.transport.getPeer(), why=why)
        # Not later, when the connection is lost: nothing more is for them, and
        # they are dropped, and logged, once.
        self.room.members.discard(self)
        self.owed.clear()
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """
        The transport has enough: from now on, keep what is said.
        """
        self.paused = True

    def resumeProducing(self) -> None:
        """
        The transport wants more: hand over what is owed, until it has enough.
        """
        self.paused = False
        renewProducer(self.transport, self)
        while self.owed and not self.paused:
            piece = bytes(self.owed[:_PIECE])
            del self.owed[:_PIECE]
            self.transport.write(piece)

    def stopProducing(self) -> None:
        """
        The connection is gone, as L{connectionLost} is about to say.
        """
        self.paused = True


class Room(protocol.ServerFactory):
    """
    Everyone who is connected.

    @ivar lineLimit: how many bytes a line may have, its end not counted.
    @ivar backlog: how many bytes a member may be behind.
    """

    noisy = False

    def __init__(self, lineLimit: int, backlog: int) -> None:
        self.lineLimit = lineLimit
        self.backlog = backlog
        self.members: set[Member] = set()

    def buildProtocol(self, addr: object) -> Member:
        """
        Somebody is at the door.
        """
        return Member(self)

    def say(self, message: bytes) -> None:
        """
        Have everyone hear it.
        """
        # A copy, since hearing it may be what drops a member.
        for member in tuple(self.members):
            member.hear(message)


class Options(BaseOptions):
    """
    C{twistd iodemo-chat}.
    """

    command = "iodemo-chat"
    longdesc = (
        "Sends every line to everyone who is connected. There is no time-out: a client "
        "that is silent keeps its connection for as long as it likes."
    )
    optParameters = [
        [
            "line-limit",
            None,
            4096,
            "Longest line, in bytes. Whoever sends a longer one is dropped.",
            wholeNumber("line-limit", most=2**20),
        ],
        [
            "backlog",
            None,
            2**20,
            "How many bytes a slow reader may be behind before being dropped.",
            wholeNumber("backlog", most=2**30),
        ],
    ]


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.

    @raise SystemExit: with one line to print, if nobody could hear anybody.
    """
    from twisted.internet import reactor

    if ISharesNothing.providedBy(reactor):
        raise SystemExit(
            f"{options.command}: this reactor's connections share no state, so nobody "
            "would hear anybody: choose another one (see twistd --help-reactors)"
        )
    return listeningService(options, Room(options["line-limit"], options["backlog"]))
