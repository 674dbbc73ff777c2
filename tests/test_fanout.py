"""
Tests for L{iodemo.load.fanout}.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from iodemo.load.exchanges import Chat, UnknownKind, exchangeOf
from iodemo.load.profile import LoadFailed
from tests.test_flow import FlowTestCase


class Room:
    """
    A chat service like C{iodemo-chat}, in threads.

    @ivar say: returns the text that a member receives, given the number of a line and
        the line.
    """

    def __init__(
        self, say: Callable[[int, bytes], bytes] = lambda number, line: line
    ) -> None:
        self.say = say
        self.lines = 0
        self.members: list[socket.socket] = []
        self.lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """
        Pass on the lines of a member, until it leaves.
        """
        with self.lock:
            self.members.append(connection)
        try:
            with connection.makefile("rb") as said:
                for line in said:
                    with self.lock:
                        self.lines += 1
                        for member in self.members:
                            self.tell(member, self.say(self.lines, line))
        finally:
            with self.lock:
                self.members.remove(connection)

    def tell(self, member: socket.socket, line: bytes) -> None:
        """
        Send a line to a member.
        """
        with contextlib.suppress(OSError):  # it has left, and is about to be removed
            member.sendall(line)


class ChatTests(FlowTestCase):
    """
    Tests for L{Chat} and the loop that drives it.
    """

    def test_lines(self) -> None:
        """
        Lines have the given length, end with a newline, and are all different.
        """
        exchange = exchangeOf("chat", 64, "h")
        lines = [turn.request for _ in range(100) for turn in exchange.turns()]
        lines += [turn.request for turn in exchange.verification()]
        self.assertEqual(len(set(lines)), len(lines))
        self.assertEqual({len(line) for line in lines[:200]}, {64})
        self.assertEqual({line.find(b"\n") + 1 - len(line) for line in lines}, {0})
        for size in (17, 18, 4096, 4097):
            turn, _ = Chat(size).turns()
            self.assertEqual(len(turn.request), size)
        heard = sum(len(turn.request) for turn in exchange.verification())
        self.assertGreater(heard, 4_000_000)
        error = self.assertRaises(UnknownKind, exchangeOf, "chat", 16, "h")
        self.assertIn("17 bytes at least", str(error))

    def test_measured(self) -> None:
        """
        A line counts once for each member that receives it, and its latency ends with
        the last.
        """
        self.patch(Chat, "VERIFIED", 40_000)
        # More members than connect at once, and some that never send.
        measured = self.load("chat", Room().serve, active=30, idle=10)
        self.assertGreater(measured["requests"], 0)
        self.assertEqual(measured["requests"] % 40, 0)
        last, each = measured["latency_last_us"], measured["latency_us"]
        self.assertGreaterEqual(last["p50"], each["p50"])
        self.assertEqual(last["max"], each["max"])

    def test_pieces(self) -> None:
        """
        A line may be received in pieces.
        """
        self.patch(Chat, "VERIFIED", 40_000)

        class Slow(Room):
            def tell(self, member: socket.socket, line: bytes) -> None:
                for byte in range(0, len(line), 9):
                    super().tell(member, line[byte : byte + 9])

        measured = self.load("chat", Slow().serve, active=3)
        self.assertGreater(measured["requests"], 0)

    def test_greeting(self) -> None:
        """
        A server that greets its clients and passes no line on is no chat service. A
        chat service may greet its members.
        """

        def greet(connection: socket.socket) -> None:
            connection.sendall(b"220 mail.example.com ESMTP\r\n")
            while connection.recv(65536):
                connection.sendall(b"500 unknown command\r\n")

        self.patch(Chat, "VERIFIED", 40_000)
        error = self.assertRaises(LoadFailed, self.load, "chat", greet)
        self.assertIn("the server speaks first: it sent '220 mail.ex", str(error))
        self.assertIn("sent a line, which did not reach all members (", str(error))
        room = Room()

        def welcome(connection: socket.socket) -> None:
            connection.sendall(b"welcome\n")
            room.serve(connection)

        measured = self.load("chat", welcome, active=3)
        self.assertGreater(measured["requests"], 0)

    def test_wrong(self) -> None:
        """
        A line that is changed, repeated or missing fails the load.
        """
        self.patch(Chat, "VERIFIED", 40_000)
        for say, reason in (
            (lambda number, line: line[:-2] + b"x\n", "came back as 0x78"),
            (lambda number, line: line + line, "wrong answer on "),
            (lambda number, line: b"", "no answer for 0.5 s on "),
        ):
            for after in (10, 200):

                def spoil(
                    number: int,
                    line: bytes,
                    say: Callable[[int, bytes], bytes] = say,
                    after: int = after,
                ) -> bytes:
                    return say(number, line) if number > after else line

                said = self.refused("chat", Room(spoil).serve, seconds=60, patience=0.5)
                self.assertIn(reason, said)

    def test_notARoom(self) -> None:
        """
        A server that closes the connection is no chat service, nor is one in which each
        member receives only its own lines.
        """

        def alone(connection: socket.socket) -> None:
            while data := connection.recv(65536):
                connection.sendall(data)

        said = self.refused("chat", alone, patience=0.1)
        self.assertIn("verifying connection 1 received no line for 0.1 s", said)
        said = self.refused("chat", lambda connection: None)
        self.assertRegex(said, "the server (closed|dropped) verifying connection")

    def test_oneProcess(self) -> None:
        """
        A load with members in several processes is refused.
        """
        address = self.listen(Room().serve)
        error = self.assertRaises(LoadFailed, self.loadAt, "chat", address, processes=2)
        self.assertIn("in one process", str(error))
