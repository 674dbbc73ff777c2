# -*- test-case-name: tests.test_chat -*-
"""
Tests for L{iodemo.services.chat}.
"""

from __future__ import annotations

import contextlib
import socket

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from iodemo.services.chat import Member, Room

from .certificates import startTLS, tlsEndpoint, writeCertificate
from .children import TIMEOUT, Child, exchange, makeDirectory, receive
from .transports import OverTransport


class ChatTransport(StringTransport):
    """
    A transport that distinguishes an abort from a close, and can pause its producer
    after some number of writes.

    @ivar aborted: whether it has been aborted.
    @ivar pauseAfter: how many more writes it accepts before it pauses.
    """

    aborted = False
    pauseAfter: int | None = None

    def write(self, data: bytes) -> None:
        """
        Accept the data.
        """
        super().write(data)
        if self.pauseAfter is not None:
            self.pauseAfter -= 1
            if self.pauseAfter == 0:
                assert self.producer is not None
                self.producer.pauseProducing()

    def abortConnection(self) -> None:
        """
        Note the abort.
        """
        self.aborted = True


class RoomTests(SynchronousTestCase):
    """
    Tests for L{Room} and L{Member}.
    """

    def setUp(self) -> None:
        """
        Make a room with three members.
        """
        self.room = Room(lineLimit=10, backlog=100)
        self.ann, self.bob, self.cem = (self.enter() for _ in range(3))

    def enter(self) -> Member:
        """
        Add a member to the room.
        """
        member = self.room.buildProtocol(None)
        member.makeConnection(ChatTransport())
        return member

    def heard(self, member: Member) -> bytes:
        """
        The data that was sent to a member.
        """
        return _transport(member).value()

    def test_interface(self) -> None:
        """
        A member is a push producer, and registers as one.
        """
        verifyObject(IPushProducer, self.ann)
        self.assertIs(_transport(self.ann).producer, self.ann)
        self.assertTrue(_transport(self.ann).streaming)

    def test_everyone(self) -> None:
        """
        A line goes unchanged to all members, its sender included.
        """
        self.ann.dataReceived(b"hi\r\n\n\xff\0\n")
        for member in (self.ann, self.bob, self.cem):
            self.assertEqual(self.heard(member), b"hi\r\n\n\xff\0\n")

    def test_pieces(self) -> None:
        """
        A line is sent on when its end has arrived, and not mixed with a line of another
        member.
        """
        self.ann.dataReceived(b"he")
        self.bob.dataReceived(b"bob\n")
        self.ann.dataReceived(b"llo\nrest")
        self.assertEqual(self.heard(self.cem), b"bob\nhello\n")

    def test_leaves(self) -> None:
        """
        A member that has left receives nothing, and its unfinished line is not sent.
        """
        self.ann.dataReceived(b"what I wa")
        self.ann.connectionLost(Failure(ConnectionDone()))
        self.bob.dataReceived(b"bob\n")
        self.assertEqual(self.heard(self.ann), b"")
        self.assertEqual(self.heard(self.cem), b"bob\n")
        self.assertEqual(self.room.members, {self.bob, self.cem})

    def test_lineLimit(self) -> None:
        """
        A line may have as many bytes as the limit allows.
        """
        self.ann.dataReceived(b"0123456789\n")
        self.assertEqual(self.heard(self.bob), b"0123456789\n")
        self.assertFalse(_transport(self.ann).aborted)

    def test_lineTooLong(self) -> None:
        """
        A member that sends a longer line is dropped, and no other.
        """
        with capturedLogs() as events:
            self.ann.dataReceived(b"before\n0123456789X\nafter\n")
        self.assertDropped(self.ann, events, "line")
        self.bob.dataReceived(b"bob\n")
        self.assertEqual(self.heard(self.cem), b"before\nbob\n")

    def test_endlessLine(self) -> None:
        """
        A member whose line does not end is dropped, too.
        """
        with capturedLogs() as events:
            self.ann.dataReceived(b"0123456789")
            self.assertEqual(events, [])
            self.ann.dataReceived(b"X")
        self.assertDropped(self.ann, events, "line")

    def test_paused(self) -> None:
        """
        A paused member is sent nothing; after it is resumed, it is sent everything, in
        order.
        """
        self.bob.pauseProducing()
        for line in (b"one\n", b"two\n"):
            self.ann.dataReceived(line)
        self.assertEqual(self.heard(self.bob), b"")
        self.assertEqual(self.heard(self.cem), b"one\ntwo\n")
        self.bob.resumeProducing()
        self.ann.dataReceived(b"three\n")
        self.assertEqual(self.heard(self.bob), b"one\ntwo\nthree\n")
        self.assertEqual(self.bob.pending, b"")

    def test_pausedAgain(self) -> None:
        """
        If a member is paused again while its pending data is written, the rest stays
        pending.
        """
        bob = Room(lineLimit=10, backlog=2**20).buildProtocol(None)
        transport = ChatTransport()
        bob.makeConnection(transport)
        said = bytes(range(251)) * 1000
        bob.pauseProducing()
        for start in range(0, len(said), 1000):
            bob.deliver(said[start : start + 1000])
        heard = []
        for pauseAfter in (1, 2, 2):
            transport.pauseAfter = pauseAfter
            bob.resumeProducing()
            heard.append(len(transport.value()))
            self.assertEqual(transport.value() + bob.pending, said)
        self.assertEqual(heard, [65536, 3 * 65536, len(said)])

    def test_over(self) -> None:
        """
        A member that is resumed by a closed transport unregisters, and is sent none of
        its pending data.
        """
        dan = self.room.buildProtocol(None)
        transport = OverTransport()
        dan.makeConnection(transport)
        dan.pauseProducing()
        self.ann.dataReceived(b"one\n")
        transport.over = True
        dan.resumeProducing()
        self.assertIsNone(transport.producer)
        self.assertEqual(transport.value(), b"")

    def test_order(self) -> None:
        """
        A line that is sent while pending data is written comes after that data.
        """
        self.bob.pauseProducing()
        self.ann.dataReceived(b"one\n")
        # Imitates a transport that lets other members send within a write.
        self.bob.paused = False
        self.ann.dataReceived(b"two\n")
        self.bob.resumeProducing()
        self.assertEqual(self.heard(self.bob), b"one\ntwo\n")

    def test_tooFarBehind(self) -> None:
        """
        A member with more pending data than the backlog allows is dropped, once, and
        its pending data is discarded. The others are not affected.
        """
        self.bob.pauseProducing()
        with capturedLogs() as events:
            for _ in range(10):
                self.ann.dataReceived(b"123456789\n")
            self.assertEqual((len(self.bob.pending), events), (100, []))
            for _ in range(3):
                self.ann.dataReceived(b"\n")
        self.assertDropped(self.bob, events, "slowly")
        self.assertEqual(self.bob.pending, b"")
        self.assertEqual(self.heard(self.cem), b"123456789\n" * 10 + b"\n" * 3)
        # The transport calls the producer once more.
        self.bob.stopProducing()
        self.bob.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.room.members, {self.ann, self.cem})

    def assertDropped(self, member: Member, events: object, reason: str) -> None:
        """
        Check that a member has left, and that one line in the log has the reason.
        """
        assert isinstance(events, list)
        self.assertTrue(_transport(member).aborted)
        self.assertNotIn(member, self.room.members)
        self.assertEqual(len(self.room.members), 2)
        (text,) = map(formatEvent, events)
        self.assertIn("dropped", text)
        self.assertIn("192.168.1.1", text)
        self.assertIn(reason, text)


def _transport(member: Member) -> ChatTransport:
    transport = member.transport
    assert isinstance(transport, ChatTransport)
    return transport


class ChatChildTests(SynchronousTestCase):
    """
    Tests for C{iodemo-chat} in a process of its own.
    """

    def test_twoEndpoints(self) -> None:
        """
        TCP and TLS clients are in the same room.
        """
        certificate = writeCertificate(makeDirectory(self))
        child = Child(self, "iodemo-chat", "--listen", tlsEndpoint(certificate))
        plainPort, tlsPort = child.ports
        with socket.create_connection(("127.0.0.1", plainPort), TIMEOUT) as plain:
            # Each client that has received its own line is in the room.
            self.assertEqual(exchange(plain, b"plain\r\n"), b"plain\r\n")
            connection = socket.create_connection(("127.0.0.1", tlsPort), TIMEOUT)
            with startTLS(connection, certificate) as tls:
                for speaker in (tls, plain):
                    speaker.sendall(b"to all\r\n")
                    for listener in (plain, tls):
                        self.assertEqual(receive(listener, 8), b"to all\r\n")

    def test_lineTooLong(self) -> None:
        """
        A client that sends an endless line is disconnected; the others stay connected.
        """
        child = Child(self, "iodemo-chat", "--line-limit", "100")
        with child.connect() as one, child.connect() as other:
            self.assertEqual(exchange(other, b"hi\n"), b"hi\n")
            with contextlib.suppress(ConnectionError):
                one.sendall(b"x" * 101)
                while one.recv(100):
                    pass
            child.await_(b"a line over 100 bytes")
            self.assertEqual(exchange(other, b"still\n"), b"still\n")

    def test_slowReader(self) -> None:
        """
        A client that does not read is dropped, with a line in the log; the others
        receive every line.
        """
        child = Child(self, "iodemo-chat", "--backlog", "65536")
        with child.connect() as slow:
            # Each client that has received its own line is in the room.
            self.assertEqual(exchange(slow, b"slow\n"), b"slow\n")
            lines = (b"x" * 4000 + b"\n") * 8
            with child.connect() as other:
                # Fewer bytes at a time than the backlog: this client reads.
                for _ in range(2**28 // len(lines)):
                    if b"reads too slowly" in child.log:
                        break
                    self.assertEqual(exchange(other, lines), lines)
                    child.readLog()
                child.await_(b"reads too slowly, over 65536 bytes behind")
                self.assertEqual(child.log.count(b"dropped"), 1)
                self.assertEqual(exchange(other, b"still\n"), b"still\n")
            with contextlib.suppress(ConnectionError):
                while slow.recv(65536):
                    pass
