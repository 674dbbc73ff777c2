"""
Tests for L{iodemo.reactors.uring} where it differs from other reactors.
L{tests.conformance} tests their common behaviour, L{tests.test_completion} the queue.

L{tests.conformance} can be run with the smallest buffer ring and completion queue::

    IODEMO_URING_BUFFERS=1 IODEMO_URING_BUFFER_KIB=1 IODEMO_URING_RESULTS=1 \
        IODEMO_BACKENDS=uring scripts/test tests.conformance
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.kernel import ioUringRefusal
from iodemo.models import find

from .children import TIMEOUT
from .conformance.hosting import descriptorsOf, eventually
from .conformance.peers import Peer, connectTo, converse, pattern, reset
from .conformance.sizes import LAST_WORDS, SLOW_BUFFER
from .conformance.stamping import BackendTestCase, stampedFor
from .refusing import CALLS, REGISTER, SETUP, TWISTD, refusing

#: How many connections send at the same moment; how many of them send more than one
#: receive returns; and how many bytes the others send.
CROWD = 300
SLOW = 10
SAID = 5000


class InterpreterLockTests(SynchronousTestCase):
    """
    Tests for a CPython without the interpreter lock.
    """

    def test_refused(self) -> None:
        """
        The reactor refuses to be imported where the lock is off, with the reason. (An
        interpreter that can be run without it is imitated.)
        """
        if (refusal := ioUringRefusal()) is not None:
            raise SkipTest(refusal)
        program = (
            "import sys; sys._is_gil_enabled = lambda: False\n"
            "try: import iodemo.reactors.uring\n"
            "except ImportError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        self.assertIn("PYTHON_GIL=0", done.stdout)
        self.assertIn("--reactor=proactor", done.stdout)


@stampedFor("uring", "uring-asyncio")
class ScarcityTests(BackendTestCase):
    """
    Tests for a server that has fewer buffers or entries than its connections need.
    """

    def test_buffers(self) -> None:
        """
        With two buffers for all connections, each is served.
        """
        self.checkCrowd(IODEMO_URING_BUFFERS="2", IODEMO_URING_BUFFER_KIB="1")

    def test_results(self) -> None:
        """
        With the smallest completion queue no result is lost.
        """
        self.checkCrowd(IODEMO_URING_RESULTS="2")

    def checkCrowd(self, **sizes: str) -> None:
        """
        Have many connections send, and be reset, at the same moment.
        """
        with mock.patch.dict(os.environ, sizes), self.host("visits.serve") as host:
            host.await_("listening")
            descriptors = descriptorsOf(host.pid)
            peers = []
            for number in range(CROWD):
                isSlow = number < SLOW
                connection = connectTo(host.port, SLOW_BUFFER if isSlow else None)
                self.addCleanup(connection.close)
                said = pattern(LAST_WORDS if isSlow else SAID)
                peers.append(Peer(connection, [said], said, slowReader=isSlow))
            # A server that is stopped finds all data at once when it continues.
            os.kill(host.pid, signal.SIGSTOP)
            for peer in peers:
                peer.write()
            os.kill(host.pid, signal.SIGCONT)
            converse(peers)
            os.kill(host.pid, signal.SIGSTOP)
            for peer in peers:
                reset(peer.connection)
            os.kill(host.pid, signal.SIGCONT)
            host.await_("gone", CROWD)
            eventually(
                lambda: len(descriptorsOf(host.pid)) == len(descriptors),
                lambda: (descriptors, descriptorsOf(host.pid)),
            )
            converse([Peer(host.connect(), [b"hello"], b"hello")])


@stampedFor("uring", "uring-asyncio")
class DifferencesTests(BackendTestCase):
    """
    Tests for the documented differences from other reactors.
    """

    def test_closedBehindItsBack(self) -> None:
        """
        A connection whose socket is closed, but not by its transport, goes on, because
        the receive in the kernel holds the file open; the transport can end it.
        """
        with self.host("closing.behindItsBack") as host:
            client = host.connect()
            for number, order in enumerate((b"x", b"c", b"l")):
                client.sendall(order)
                did = host.await_("did", number + 1)
                self.assertEqual(did["what"], order.decode())
            self.assertEqual(client.recv(1), b"")
            host.await_("connectionLost")

    def test_killed(self) -> None:
        """
        The port of a server that was killed can be bound again at once. An operation of
        the ring would hold it for some milliseconds more.
        """
        for _ in range(5):
            child = self.twistd("iodemo-echo")
            child.kill()
            socket.create_server(("127.0.0.1", child.ports[0])).close()


class UringTests(SynchronousTestCase):
    """
    Tests for the reactor C{uring} on a system that refuses what it needs.
    """

    def run_(
        self, program: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """
        Run a program in a new Python.
        """
        reason = find("uring").unavailable()
        if reason is not None:
            raise SkipTest(reason)
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def test_sizes(self) -> None:
        """
        An impossible size is refused; the message has the variable's name and the
        sizes that are possible.
        """
        for value in ("0", "3", "65536", "x"):
            ended = self.run_(INSTALL, IODEMO_URING_BUFFERS=value)
            last = ended.stderr.splitlines()[-1]
            self.assertIn("IODEMO_URING_BUFFERS", last)
            self.assertIn("power of two", last)

    def test_least(self) -> None:
        """
        The smallest sizes are enough to run.
        """
        ended = self.run_(
            INSTALL + RUN,
            IODEMO_URING_BUFFERS="1",
            IODEMO_URING_BUFFER_KIB="1",
            IODEMO_URING_RESULTS="1",
        )
        self.assertEqual((ended.stdout, ended.stderr), ("ran\n", ""))

    def test_lockedMemory(self) -> None:
        """
        Where no memory may be locked, the reactor runs if the kernel does not count the
        rings as locked memory; otherwise it ends with a remedy in one line.
        """
        ended = self.run_(
            "import resource\n"
            "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n" + INSTALL + RUN
        )
        if ended.stdout != "ran\n":
            self.assertIn("ulimit -l", ended.stderr.splitlines()[-1])

    def test_littleMemory(self) -> None:
        """
        Where there is memory only for a small ring, the reactor runs with a small one.
        """
        ended = self.run_(INSTALL + refusing(SETUP, errno.ENOMEM, above=100) + RUN)
        self.assertEqual((ended.stdout, ended.stderr), ("ran\n", ""))

    def test_noMemory(self) -> None:
        """
        Without memory for the ring or its buffers, the import fails, or the program
        ends if there was some memory then, with a remedy in one line.
        """
        for program in (
            refusing(SETUP, errno.ENOMEM) + "import iodemo.reactors.uring",
            INSTALL + refusing(SETUP, errno.ENOMEM) + RUN,
            INSTALL + refusing(REGISTER, errno.ENOMEM) + RUN,
        ):
            ended = self.run_(program)
            self.assertEqual((ended.returncode, ended.stdout), (1, ""))
            last = ended.stderr.splitlines()[-1]
            self.assertIn("says ENOMEM", last)
            self.assertIn("ulimit -l", last)

    def test_forbidden(self) -> None:
        """
        Where a seccomp filter forbids one of the system calls, the reactor is not
        available, and the reason is shown.
        """
        for call, name in CALLS.items():
            forbid = refusing(call, errno.EPERM)
            ended = self.run_(forbid + "import iodemo.reactors.uring")
            last = ended.stderr.splitlines()[-1]
            self.assertIn(f"{name} says EPERM", last)
            self.assertIn("seccomp", last)
            ended = self.run_(forbid + TWISTD, "-n", "--reactor=uring", "iodemo-echo")
            self.assertEqual(ended.returncode, 1)
            self.assertIn(last.partition(": ")[2], ended.stderr + ended.stdout)
            ended = self.run_(forbid + TWISTD, "--help-reactors")
            self.assertIn(f"{name} says EPERM", ended.stdout)

    def test_forbiddenLater(self) -> None:
        """
        If a filter forbids a system call after the reactor was installed, the program
        ends with the reason, which is also in the log.
        """
        for call, name in CALLS.items():
            forbid = refusing(call, errno.EPERM)
            ended = self.run_(INSTALL + forbid + RUN)
            self.assertEqual((ended.returncode, ended.stdout), (1, ""))
            self.assertIn(f"{name} says EPERM", ended.stderr.splitlines()[-1])
            log = Path(self.mktemp())
            self.run_(
                INSTALL + forbid + TWISTD,
                *("-n", "--pidfile=", f"--logfile={log}"),
                *("iodemo-echo", "--listen=tcp:0:interface=127.0.0.1"),
            )
            (said,) = (
                line for line in log.read_text().splitlines() if "says EPERM" in line
            )
            self.assertIn(f"the reactor ends: [Errno 1] io_uring: {name}", said)

    def test_anotherThread(self) -> None:
        """
        A reactor that ran in one thread and is run again in another ends with the
        reason: the kernel serves only the thread that made the ring.
        """
        ended = self.run_(
            INSTALL + "import threading\n"
            "reactor.callWhenRunning(reactor.crash)\n"
            "reactor.run()\n"
            "thread = threading.Thread(target=reactor.run, args=(False,))\n"
            "thread.start()\n"
            "thread.join()\n"
            "print('over')"
        )
        self.assertEqual((ended.returncode, ended.stdout), (0, "over\n"))
        self.assertIn("runs in another thread", ended.stderr.splitlines()[-1])


#: A program that installs the reactor, and one that then runs it.
INSTALL = """
from twisted.application.reactors import installReactor
reactor = installReactor("uring")
"""
RUN = """
reactor.callWhenRunning(reactor.stop)
reactor.run()
print("ran")
"""
