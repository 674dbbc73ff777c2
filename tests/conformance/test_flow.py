"""
Tests for flow control: producers, and peers that do not read.
"""

from __future__ import annotations

import select

from ..children import exchange, receive
from .hosting import Host, memoryOf
from .peers import Peer, converse, pattern, receiveAll, reset
from .sizes import MOST_IN_MEMORY, MOST_RECEIVED, PRODUCED, PRODUCED_AT_ONCE
from .stamping import BackendTestCase, stamped

# Seconds without progress after which no more data is accepted.
_FULL = 0.5

_PRODUCT = pattern(PRODUCED_AT_ONCE) * (PRODUCED // PRODUCED_AT_ONCE)


@stamped
class ProducerTests(BackendTestCase):
    """
    Tests for producers whose peer does not read at first.
    """

    def test_push(self) -> None:
        """
        A push producer is paused while the peer does not read, so that little is in
        memory, and resumed later. All data arrives, in order.
        """
        with self.host("flow.push") as host:
            self.assertBounded(host)
            host.await_("connectionLost", 2)
        for produced in host.told("produced"):
            self.assertGreater(produced["pauses"], 1)
            # The last pause may be followed by the end of the connection instead.
            self.assertIn(produced["pauses"] - produced["resumes"], (0, 1))

    def test_pull(self) -> None:
        """
        A pull producer is called once for each piece that is sent, not more.
        """
        with self.host("flow.pull") as host:
            self.assertBounded(host)
            host.await_("connectionLost", 2)
        for produced in host.told("produced"):
            self.assertEqual(produced["asked"], PRODUCED // PRODUCED_AT_ONCE)

    def test_stopped(self) -> None:
        """
        A producer whose peer disappears is stopped, once, before its protocol loses the
        connection.
        """
        for program in ("flow.push", "flow.pull"):
            with self.host(program) as host:
                client = host.connect(receiveBuffer=4096)
                host.await_("quiet")
                reset(client)
                host.await_("connectionLost")
            names = [event["event"] for event in host.events]
            self.assertEqual(
                names,
                ["listening", "quiet", "stopProducing", "connectionLost", "ended"],
            )

    def assertBounded(self, host: Host) -> None:
        """
        Check that little is produced and kept as long as the peer does not read, and
        that all of it arrives when the peer reads.
        """
        host.await_("listening")
        before = memoryOf(host.pid)
        clients = [host.connect(receiveBuffer=4096) for _ in range(2)]
        quiet = [host.await_("quiet", count)["produced"] for count in (1, 2)]
        self.assertLess(max(quiet), MOST_IN_MEMORY)
        self.assertLess(memoryOf(host.pid) - before, MOST_IN_MEMORY)
        # Nor is more produced than a peer reads, when it does.
        half = PRODUCED // 2
        received = [receive(clients[0], half), b""]
        while (produced := host.told("quiet")[-1]["produced"]) < half:
            host.await_("quiet", len(host.told("quiet")) + 1)
        self.assertLess(produced - half, MOST_IN_MEMORY)
        self.assertLess(memoryOf(host.pid) - before, MOST_IN_MEMORY)
        for client, first in zip(clients, received, strict=True):
            self.assertTrue(first + receiveAll(client) == _PRODUCT)


@stamped
class ReadingTests(BackendTestCase):
    """
    Tests for a protocol that does not read.
    """

    def test_paused(self) -> None:
        """
        A paused transport receives nothing, so that its peer can send no more than the
        kernel's buffers hold, and delivers nothing until it is resumed. Then it
        delivers all data of the meantime, in order.
        """
        said = pattern(PRODUCED)
        with self.host("flow.read") as host:
            client = host.connect()
            self.assertEqual(exchange(client, b"first"), b"first")
            host.await_("paused")
            before = memoryOf(host.pid)
            client.setblocking(False)
            sent = 0
            while sent < PRODUCED and select.select((), (client,), (), _FULL)[1]:
                sent += client.send(said[sent:])
            self.assertLess(sent, MOST_IN_MEMORY)
            self.assertLess(memoryOf(host.pid) - before, MOST_RECEIVED)
            host.permit("look")
            host.await_("looked")
            self.assertEqual(host.told("readWhilePaused"), [])
            host.permit("read")
            converse([Peer(client, [said[sent:]], said)])
