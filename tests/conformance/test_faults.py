"""
Tests for faults that a server must survive: a lack of descriptors, peers that
disappear, and signals and child processes while it is busy.
"""

from __future__ import annotations

import contextlib
import os
import signal

from ..children import receive
from .hosting import Host, descriptorsOf, eventually, keepBusy
from .peers import Peer, converse, reset
from .sizes import (
    ADMITTED,
    CHILDREN,
    DROPPED,
    DROPPED_OF_PROCESSES,
    DROPPED_OF_THREADS,
    GIVEN,
    SIGNALS,
    SIGNALS_ALONE,
    SURPLUS,
    VANISHING,
    VISITS_AT_ONCE,
)
from .stamping import BackendTestCase, sharedState, stamped, stampedFor

# The share of a core that only a process that never waits uses, however busy the
# machine is.
_SPINNING = 0.2


@stamped
class CrowdTests(BackendTestCase):
    """
    Tests for a server with fewer descriptors than clients.
    """

    @sharedState
    def test_crowd(self) -> None:
        """
        Connected clients are served. Further ones are closed or wait, and do not cause
        the process to spin. When a client leaves, another is served.
        """
        with self.host("faults.crowded", admitted=ADMITTED, reserved=True) as host:
            empty = host.await_("empty")["share"]
            inside = [host.connect() for _ in range(ADMITTED)]
            converse([Peer(each, [b"hello"], b"hello") for each in inside])
            most = len(descriptorsOf(host.pid))
            surplus = [host.connect() for _ in range(SURPLUS)]
            for each in surplus:
                with contextlib.suppress(ConnectionError):
                    each.sendall(b"hello")
            converse([Peer(each, [b"still"], b"still") for each in inside])
            host.permit("measure")
            full = host.await_("full")["share"]
            # Busy polling always spins, even without any connection.
            if empty < _SPINNING:
                self.assertLess(full, _SPINNING)
            for each in surplus:
                each.setblocking(False)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    self.assertEqual(each.recv(1), b"")
                each.close()
            left = inside[ADMITTED // 2 :]
            for each in inside[: ADMITTED // 2]:
                each.close()
            eventually(
                lambda: len(descriptorsOf(host.pid)) == most - ADMITTED + len(left),
                lambda: (most, descriptorsOf(host.pid)),
            )
            left += [host.connect() for _ in range(ADMITTED - len(left))]
            converse([Peer(each, [b"hello"], b"hello") for each in left])


@stampedFor("proactor", "uring", "proactor-asyncio", "uring-asyncio")
class WaitingCrowdTests(BackendTestCase):
    """
    Tests for reactors that do not spin, as Twisted's own do, when they have no
    descriptor even to refuse a connection.
    """

    def test_crowd(self) -> None:
        """
        The further clients wait, and are served when others have left.
        """
        with self.host("faults.crowded", admitted=ADMITTED, reserved=False) as host:
            inside = [host.connect() for _ in range(ADMITTED)]
            converse([Peer(each, [b"hello"], b"hello") for each in inside])
            waiting = [host.connect() for _ in range(ADMITTED)]
            for each in waiting:
                each.sendall(b"hello")
            converse([Peer(each, [b"still"], b"still") for each in inside])
            host.permit("measure")
            self.assertLess(host.await_("full")["share"], _SPINNING)
            for each in inside:
                each.close()
            converse([Peer(each, [b" there"], b"hello there") for each in waiting])


@stamped
class VanishingTests(BackendTestCase):
    """
    Tests for peers that disappear suddenly.
    """

    def test_whileSending(self) -> None:
        """
        Peers disappear while they receive data, from each kind of sender. Each loss is
        reported once, producers are stopped, other connections are served, and nothing
        of the lost ones is kept.
        """
        with self.host("faults.send") as host:
            host.await_("listening")
            descriptors = descriptorsOf(host.pid)
            other = host.connect()
            clients = []
            for ask in (b"write", b"push", b"pull") * VANISHING:
                client = host.connect(receiveBuffer=4096)
                client.sendall(ask)
                receive(client, 1000)
                clients.append(client)
            for client in clients:
                reset(client)
            converse([Peer(other, [b"hello"], b"hello")])
            host.await_("connectionLost", len(clients))
            converse([Peer(other, [b"still"], b"still")])
            other.close()
            host.permit("forget")
            host.await_("forgotten")
            eventually(
                lambda: len(descriptorsOf(host.pid)) == len(descriptors),
                lambda: (descriptors, descriptorsOf(host.pid)),
            )
        reasons = [event["reason"] for event in host.told("connectionLost")]
        self.assertEqual(len(reasons), len(clients) + 1)
        # As in test_closing: a write may have got the error.
        self.assertLessEqual(set(reasons), {"ConnectionLost", "ConnectionDone"})
        self.assertEqual(len(host.told("stopProducing")), 2 * VANISHING)

    def test_atOnce(self) -> None:
        """
        Of many connections that are reset at the same moment, each is lost once; their
        descriptors are closed, and another client is served.
        """
        most = DROPPED_OF_THREADS if self.model.blocking else DROPPED
        count = self.capacity(most, DROPPED_OF_PROCESSES)
        connections = []
        with self.host("visits.serve") as host:
            host.await_("listening")
            descriptors = descriptorsOf(host.pid)
            for _ in range(count // VISITS_AT_ONCE):
                some = [host.connect() for _ in range(VISITS_AT_ONCE)]
                converse([Peer(each, [b"hello"], b"hello") for each in some])
                connections += some
            # It finds all of them when it is continued.
            os.kill(host.pid, signal.SIGSTOP)
            for each in connections:
                reset(each)
            os.kill(host.pid, signal.SIGCONT)
            host.await_("gone", count)
            eventually(
                lambda: len(descriptorsOf(host.pid)) == len(descriptors),
                lambda: (descriptors, descriptorsOf(host.pid)),
            )
            converse([Peer(host.connect(), [b"hello"], b"hello")])
        self.assertEqual(len(host.told("gone")), count + 1)


@stamped
class SpawningTests(BackendTestCase):
    """
    Tests for child processes and signals while connections are busy.
    """

    def test_processes(self) -> None:
        """
        Child processes get their input, their output is complete, they end well, and
        they have no inherited descriptors; no connection loses a byte.
        """
        # Descriptor 3 is the directory that is listed. The pipes are closed some time
        # before the process ends: then only SIGCHLD shows its end.
        script = "ls /proc/self/fd && cat && exec <&- >&- 2>&- && sleep 0.1"
        with self.host("faults.spawn", script=script, given=GIVEN) as host:
            keepBusy(host, "processEnded", CHILDREN)
        self.assertEnded(host, said="0\n1\n2\n3\n")

    def test_signals(self) -> None:
        """
        Nor do many signals do harm, sent by processes that end at once: all of these
        are reaped. Signals that come together may be merged; those that come one by one
        afterwards are all handled.
        """
        # The end of a child is a signal, too, and must be handled among many others.
        script = "kill -USR2 $PPID; kill -CHLD $PPID\n" * (SIGNALS // CHILDREN)
        with self.host("faults.spawn", script=script, given=0) as host:
            keepBusy(host, "processEnded", CHILDREN)
            for _ in range(SIGNALS_ALONE):
                noticed = len(host.told("signalled"))
                os.kill(host.pid, signal.SIGUSR2)
                host.await_("signalled", noticed + 1)
        self.assertEnded(host, said="")

    def assertEnded(self, host: Host, said: str) -> None:
        """
        Check that every process has ended, once and with status 0, and with this
        output.
        """
        ended = {"event": "processEnded", "status": 0, "said": said}
        self.assertEqual(host.told("processEnded"), [ended] * CHILDREN)
