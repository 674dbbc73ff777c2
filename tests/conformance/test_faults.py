"""
Tests for what a server must survive: want of descriptors, peers that vanish, and
signals and child processes while it is busy.
"""

from __future__ import annotations

import contextlib
import os
import signal

from ..children import receive
from .hosting import Host, descriptorsOf, eventually, keepBusy
from .peers import Peer, converse, reset
from .sizes import (
    CHILDREN,
    DROPPED,
    DROPPED_OF_PROCESSES,
    DROPPED_OF_THREADS,
    GIVEN,
    ROOM,
    SIGNALS,
    SIGNALS_ALONE,
    SURPLUS,
    VANISHING,
    VISITS_AT_ONCE,
)
from .stamping import BackendTestCase, sharedState, stamped, stampedFor

# The share of a core that only somebody who never waits takes, however busy the
# machine is.
_SPINNING = 0.2


@stamped
class CrowdTests(BackendTestCase):
    """
    Tests for a server that cannot have as many descriptors as clients come.
    """

    @sharedState
    def test_crowd(self) -> None:
        """
        Those who are in are served; those for whom there is no room are closed or
        wait, and the process does not compute because of them. When somebody
        leaves, somebody else is served.
        """
        with self.host("faults.crowded", room=ROOM, reserved=True) as host:
            empty = host.await_("empty")["share"]
            inside = [host.connect() for _ in range(ROOM)]
            converse([Peer(each, [b"hello"], b"hello") for each in inside])
            most = len(descriptorsOf(host.pid))
            surplus = [host.connect() for _ in range(SURPLUS)]
            for each in surplus:
                with contextlib.suppress(ConnectionError):
                    each.sendall(b"hello")
            converse([Peer(each, [b"still"], b"still") for each in inside])
            host.permit("measure")
            full = host.await_("full")["share"]
            # Busy polling computes all the time, also in an empty room.
            if empty < _SPINNING:
                self.assertLess(full, _SPINNING)
            for each in surplus:
                each.setblocking(False)
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    self.assertEqual(each.recv(1), b"")
                each.close()
            left = inside[ROOM // 2 :]
            for each in inside[: ROOM // 2]:
                each.close()
            eventually(
                lambda: len(descriptorsOf(host.pid)) == most - ROOM + len(left),
                lambda: (most, descriptorsOf(host.pid)),
            )
            left += [host.connect() for _ in range(ROOM - len(left))]
            converse([Peer(each, [b"hello"], b"hello") for each in left])


@stampedFor("proactor", "uring")
class WaitingCrowdTests(BackendTestCase):
    """
    Tests for reactors that do not compute without end, as Twisted's own do, when
    they cannot even get rid of those for whom they have no descriptors.
    """

    def test_crowd(self) -> None:
        """
        Those wait, and are served when others have left.
        """
        with self.host("faults.crowded", room=ROOM, reserved=False) as host:
            inside = [host.connect() for _ in range(ROOM)]
            converse([Peer(each, [b"hello"], b"hello") for each in inside])
            waiting = [host.connect() for _ in range(ROOM)]
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
    Tests for peers that are gone all of a sudden.
    """

    def test_whileSending(self) -> None:
        """
        Those who vanish in the middle of what they are sent, by whom they are sent
        it alike: each end is told once, producers are stopped, others are served,
        and nothing is kept of any.
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
        # As in test_closing: the error may have been told to a write.
        self.assertLessEqual(set(reasons), {"ConnectionLost", "ConnectionDone"})
        self.assertEqual(len(host.told("stopProducing")), 2 * VANISHING)

    def test_atOnce(self) -> None:
        """
        Of many connections that are reset at the same moment, each end is told
        once; their descriptors are given back, and somebody else is served.
        """
        most = DROPPED_OF_THREADS if self.model.blocking else DROPPED
        count = self.room(most, DROPPED_OF_PROCESSES)
        connections = []
        with self.host("visits.serve") as host:
            host.await_("listening")
            descriptors = descriptorsOf(host.pid)
            for _ in range(count // VISITS_AT_ONCE):
                some = [host.connect() for _ in range(VISITS_AT_ONCE)]
                converse([Peer(each, [b"hello"], b"hello") for each in some])
                connections += some
            # It finds all of them when it goes on.
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
    Tests for child processes and signals, while connections are busy.
    """

    def test_processes(self) -> None:
        """
        Processes that are given something get it, say what they have to say, end
        well, and hold no descriptors but their own; no connection loses a byte.
        """
        # Descriptor 3 is the directory that is listed. The pipes are closed a while
        # before the end: only SIGCHLD tells of that then.
        script = "ls /proc/self/fd && cat && exec <&- >&- 2>&- && sleep 0.1"
        with self.host("faults.spawn", script=script, given=GIVEN) as host:
            keepBusy(host, "processEnded", CHILDREN)
        self.assertEnded(host, said="0\n1\n2\n3\n")

    def test_signals(self) -> None:
        """
        Nor do any number of signals do harm, sent by processes that end at once: all
        of these are waited for. Signals that come together may be one; those that
        come alone after that are all noticed.
        """
        # The end of a child is a signal, too, and must be found among many others.
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
        Check that every process has ended, once and well, and has said this.
        """
        ended = {"event": "processEnded", "status": 0, "said": said}
        self.assertEqual(host.told("processEnded"), [ended] * CHILDREN)
