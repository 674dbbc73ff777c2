# -*- test-case-name: tests.test_workers -*-
"""
Tests for C{iodemo-workers}, most of them with real processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from iodemo.cli.options import INTERRUPTED
from iodemo.load.driver import Driver
from iodemo.process.listening import BadEndpoint, parsed
from iodemo.workers.notify import notify
from iodemo.workers.options import Options
from iodemo.workers.parent import (
    FIRST_PAUSE,
    KILLED_AFTER,
    LONGEST_AFTER_KILL,
    LONGEST_PAUSE,
    STEADY,
    Workers,
)
from iodemo.workers.process import WorkerProcess

from .children import (
    TIMEOUT,
    TWISTD,
    Child,
    exchange,
    makeDirectory,
    quoted,
    runTwistd,
)
from .conformance.hosting import childrenOf, descriptorsOf, eventually

ECHO = ("--", "iodemo-echo", "--listen={endpoint}")
_SERVES = re.compile(rb"worker (\d+) \(process (\d+)\) serves")


class Parent(Child):
    """
    C{twistd iodemo-workers} with its workers, in a child process.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        *options: str,
        listen: str | None = None,
        reactor: str | None = None,
    ) -> None:
        super().__init__(
            test, "iodemo-workers", *options, listen=listen, reactor=reactor
        )
        self._test = test
        self.await_(b"iodemo-workers listens on")

    @property
    def ports(self) -> list[int]:
        """
        The TCP ports it listens on, in the order of its options.
        """
        (endpoints,) = re.findall(rb"iodemo-workers listens on (.*); workers", self.log)
        return [int(port) for port in re.findall(rb"tcp6?:(\d+)", endpoints)]

    def workers(self) -> list[int]:
        """
        The process ids of the workers that became ready, in that order.
        """
        self.readLog()
        return [int(pid) for _, pid in _SERVES.findall(self.log)]

    def awaitWorkers(self, count: int) -> list[int]:
        """
        Wait until so many workers have become ready, since the beginning.
        """
        while len(self.workers()) < count:
            if not self.readLog(TIMEOUT):
                raise AssertionError(f"{count} workers are not in {self.log!r}")
        return self.workers()

    def connected(self, hello: bytes = b"hello") -> socket.socket:
        """
        Make a connection that a worker has accepted. It is closed with the test.
        """
        connection = self.connect()
        self._test.addCleanup(connection.close)
        assert exchange(connection, hello) == hello
        return connection

    def send(self, number: int) -> None:
        """
        Send it a signal.
        """
        os.kill(self.pid, number)

    def refuses(self) -> bool:
        """
        Whether it refuses a connection.
        """
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass
        return False

    def load(self, *options: str) -> subprocess.Popen[str]:
        """
        Start a load of echoes, and wait until each of its connections has an answer.
        """
        before = self._sockets()
        load = subprocess.Popen(
            [
                *(sys.executable, "-m", "iodemo", "load"),
                f"tcp:127.0.0.1:{self.ports[0]}",
                *("--warmup=0", "--json", "--timeout=60", f"--seconds={TIMEOUT}"),
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert load.stdout is not None
        for cleanUp in (load.stdout.close, load.wait, load.kill):
            self._test.addCleanup(cleanUp)
        verified = before + Driver.VERIFYING
        eventually(lambda: self._sockets() > verified, lambda: self.log)
        # In this CPU time it can send thousands of requests.
        times = psutil.Process(load.pid).cpu_times
        enough = times().user + 0.3
        eventually(lambda: times().user > enough, times)
        return load

    def _sockets(self) -> int:
        """
        How many sockets its workers have open.
        """
        names = [name for pid in childrenOf(self.pid) for name in descriptorsOf(pid)]
        return sum("socket:" in name for name in names)


def measuredBy(load: subprocess.Popen[str]) -> dict[str, Any]:
    """
    End a load, and read what it has measured.
    """
    load.send_signal(signal.SIGINT)
    output, _ = load.communicate(timeout=TIMEOUT)
    assert load.returncode == INTERRUPTED, output
    measured: dict[str, Any] = json.loads(output)
    return measured


class ReplacingTests(SynchronousTestCase):
    """
    Tests for workers that are replaced under load.
    """

    def test_killed(self) -> None:
        """
        While workers are killed one by one, no connection is refused, and each worker
        has a successor.
        """
        parent = Parent(self, "-p", "3", *ECHO)
        load = parent.load("--connections=30")
        # Until each of the first workers has been killed.
        for count in range(3, 6):
            os.kill(parent.awaitWorkers(count)[count - 3], signal.SIGKILL)
        parent.awaitWorkers(6)
        measured = measuredBy(load)
        self.assertGreater(measured["reconnects"], 0)
        self.assertEqual(measured["unanswered"], 0)
        parent.stop()
        killed = rb"worker \d \(process \d+\) was killed by SIGKILL after \d+\.\d s; "
        self.assertEqual(len(re.findall(killed, parent.log)), 3)
        self.assertNotIn(b"Traceback", parent.log)

    def test_rolled(self) -> None:
        """
        While workers are replaced at SIGHUP, no request fails, although each has a
        connection of its own.
        """
        parent = Parent(self, "-p", "2", *ECHO)
        self.roll(parent)

    def test_rolledShared(self) -> None:
        """
        The same where all workers accept from one socket.
        """
        parent = Parent(self, "-p", "2", "--share", *ECHO)
        self.roll(parent)

    def roll(self, parent: Parent) -> None:
        """
        Replace all workers twice, under a load.
        """
        load = parent.load("--connections=20", "--churn")
        for count in (2, 4):
            parent.awaitWorkers(count)
            parent.send(signal.SIGHUP)
        parent.awaitWorkers(6)
        measured = measuredBy(load)
        self.assertGreater(measured["requests"], 0)
        for failure in ("reconnects", "resent", "unanswered"):
            self.assertEqual(measured[failure], 0, measured)
        parent.stop()
        self.assertNotIn(b"Traceback", parent.log)
        self.assertNotIn(b"killed", parent.log)

    def test_rollFails(self) -> None:
        """
        If a new worker cannot start, the one before it stays.
        """
        path = makeDirectory(self) / "pages"
        path.mkdir()
        parent = Parent(
            *(self, "-p", "1", "--", "iodemo-http", "--listen={endpoint}"),
            f"--path={path}",
        )
        path.rmdir()
        parent.send(signal.SIGHUP)
        parent.await_(b", before it served: the one before it stays")
        self.assertIn(b"is not a directory", parent.log)
        with parent.connect() as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertTrue(connection.recv(1))
        parent.stop()

    def test_terminated(self) -> None:
        """
        A worker that gets a SIGTERM drains, and has a successor before it has ended.
        """
        parent = Parent(self, "-p", "1", *ECHO)
        connection = parent.connected()
        os.kill(parent.awaitWorkers(1)[0], signal.SIGTERM)
        parent.awaitWorkers(2)
        parent.connected().close()
        self.assertEqual(exchange(connection, b"still"), b"still")
        connection.close()
        parent.await_(b"ended with exit status 0")
        parent.stop()


class EndingTests(SynchronousTestCase):
    """
    Tests for the end of all workers.
    """

    def test_drains(self) -> None:
        """
        After SIGTERM, an open connection is served until it ends, further ones are
        refused, and everything ends with the last connection.
        """
        parent = Parent(self, "-p", "2", "--grace=1000", *ECHO)
        connection = parent.connected()
        parent.send(signal.SIGTERM)
        eventually(parent.refuses, lambda: parent.log)
        self.assertEqual(exchange(connection, b"still"), b"still")
        connection.close()
        self.assertEqual(parent.wait(), -signal.SIGTERM)
        self.assertNotIn(b"Traceback", parent.log)

    def test_grace(self) -> None:
        """
        When the grace is over, an open connection is closed.
        """
        parent = Parent(self, "-p", "2", "--grace=0.2", *ECHO)
        connection = parent.connected()
        parent.send(signal.SIGTERM)
        self.assertEqual(connection.recv(1), b"")
        self.assertEqual(parent.wait(), -signal.SIGTERM)
        self.assertIn(b"0.2 s are over: closing connections", parent.log)

    def test_secondSignal(self) -> None:
        """
        A second signal ends everything at once.
        """
        parent = Parent(self, "-p", "2", "--grace=1000", *ECHO)
        connection = parent.connected()
        parent.send(signal.SIGINT)
        eventually(parent.refuses, lambda: parent.log)
        parent.send(signal.SIGINT)
        with contextlib.suppress(ConnectionResetError):
            self.assertEqual(connection.recv(1), b"")
        self.assertEqual(parent.wait(), -signal.SIGINT)

    def test_parentKilled(self) -> None:
        """
        If the parent is killed, no worker is left.
        """
        parent = Parent(self, "-p", "2", *ECHO)
        watched = [os.pidfd_open(pid) for pid in childrenOf(parent.pid)]
        self.assertEqual(len(watched), 2)
        parent.send(signal.SIGKILL)
        for descriptor in watched:
            self.addCleanup(os.close, descriptor)
            ended = select.select([descriptor], [], [], TIMEOUT)[0]
            self.assertEqual(ended, [descriptor])

    def test_daemon(self) -> None:
        """
        As a daemon it writes the lines of its workers to its log, and leaves nothing
        when it has ended. Started by root, all its processes run as the given user.
        """
        directory = makeDirectory(self)
        options = ["--pidfile=its.pid", "--logfile=its.log"]
        user = os.geteuid()
        if user == 0 and _allowed("nobody"):
            user = pwd.getpwnam("nobody").pw_uid
            os.chown(directory, user, -1)
            options.append(f"--uid={user}")
        arguments = ("iodemo-workers", "-p", "2", "-l", "tcp:0:interface=127.0.0.1")
        answer = runTwistd(*options, *arguments, *ECHO, directory=directory)
        self.assertEqual((answer.returncode, answer.stderr), (0, ""))
        log = directory / "its.log"
        pid = int((directory / "its.pid").read_text())
        self.addCleanup(_killed, os.pidfd_open(pid))
        eventually(lambda: "workers listens on" in log.read_text(), log.read_text)
        watched = []
        for each in (pid, *childrenOf(pid)):
            self.assertEqual(os.stat(f"/proc/{each}").st_uid, user)
            watched.append(os.pidfd_open(each))
        starting = re.findall(r"\[worker [12]\].* starting on (\d+)", log.read_text())
        (port,) = set(starting)
        with socket.create_connection(("127.0.0.1", int(port))) as connection:
            self.assertEqual(exchange(connection, b"hello"), b"hello")
        os.kill(pid, signal.SIGTERM)
        for descriptor in watched:
            self.addCleanup(os.close, descriptor)
            self.assertTrue(select.select([descriptor], [], [], TIMEOUT)[0])
        self.assertEqual(os.listdir(directory), ["its.log"])
        self.assertNotIn("Traceback", log.read_text())


def _killed(descriptor: int) -> None:
    """
    Kill the process of a pidfd, if it has not ended.
    """
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)


def _allowed(user: str) -> bool:
    """
    Whether a user may run this interpreter.
    """
    try:
        subprocess.run([sys.executable, "-c", ""], user=user, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


class SocketTests(SynchronousTestCase):
    """
    Tests for other sockets than those of TCP over IPv4.
    """

    def test_unix(self) -> None:
        """
        A UNIX socket has the permissions of C{--listen}, keeps its path when a
        worker is replaced, keeps an open connection meanwhile, and leaves nothing.
        """
        path = makeDirectory(self) / "socket"
        parent = Parent(self, "-p", "1", *ECHO, listen=f"unix:{quoted(path)}:mode=600")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(path))
            self.assertEqual(exchange(first, b"hello"), b"hello")
            parent.send(signal.SIGHUP)
            parent.awaitWorkers(2)
            parent.await_(b" drains")
            with socket.socket(socket.AF_UNIX) as second:
                second.connect(str(path))
                self.assertEqual(exchange(second, b"hello"), b"hello")
            self.assertEqual(exchange(first, b"still"), b"still")
        parent.await_(b"ended with exit status 0")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        parent.stop()
        self.assertEqual(os.listdir(path.parent), [])
        self.assertNotIn(b"Traceback", parent.log)

    def test_unixLeft(self) -> None:
        """
        A UNIX socket that a killed process has left is replaced; one that is in use is
        not.
        """
        path = makeDirectory(self) / "socket"
        endpoint = f"unix:{quoted(path)}"
        parent = Parent(self, "-p", "1", *ECHO, listen=endpoint)
        answer = runTwistd(
            *("-n", "iodemo-workers", "-l", endpoint, *ECHO), directory=path.parent
        )
        self.assertEqual(answer.returncode, 1)
        self.assertIn("Address already in use", answer.stderr)
        parent.kill()
        parent = Parent(self, "-p", "1", *ECHO, listen=endpoint)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            self.assertEqual(exchange(connection, b"hello"), b"hello")
        parent.stop()

    def test_several(self) -> None:
        """
        Each C{--listen} has an endpoint of its own. An open connection over IPv6 keeps
        a worker from its end.
        """
        parent = Parent(
            *(self, "-p", "1", "-l", "tcp6:0:interface=\\:\\:1", "--grace=1000"),
            *("--", "iodemo-echo", "-l", "{endpoint}", "-l", "{endpoint2}"),
        )
        parent.connected().close()
        address = ("::1", parent.ports[1])
        with socket.create_connection(address, TIMEOUT) as connection:
            self.assertEqual(exchange(connection, b"hello"), b"hello")
            parent.send(signal.SIGTERM)
            eventually(parent.refuses, lambda: parent.log)
            self.assertEqual(exchange(connection, b"still"), b"still")
        parent.wait()


class SupervisorTests(SynchronousTestCase):
    """
    Tests for the messages to systemd.
    """

    def test_messages(self) -> None:
        """
        The parent sends READY, RELOADING with the time, READY again, and STOPPING; its
        workers do not have the variable, but all variables of the plugin.
        """
        received = self.supervise(str(makeDirectory(self) / "notify"))
        os.environ["NOTIFY_EMAIL"] = "on"
        self.addCleanup(os.environ.pop, "NOTIFY_EMAIL")
        parent = Parent(self, "-p", "1", *ECHO)
        self.assertIn("READY=1", self.next(received))
        (pid,) = parent.workers()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        self.assertNotIn(b"NOTIFY_SOCKET", environment)
        self.assertIn(b"NOTIFY_EMAIL", environment)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        parent.send(signal.SIGHUP)
        reloading = self.next(received)
        self.assertEqual(reloading[0], "RELOADING=1")
        name, _, value = reloading[1].partition("=")
        self.assertEqual(name, "MONOTONIC_USEC")
        self.assertGreaterEqual(int(value), before)
        self.assertIn("READY=1", self.next(received))
        parent.send(signal.SIGTERM)
        self.assertEqual(self.next(received), ["STOPPING=1"])
        parent.wait()

    def test_abstract(self) -> None:
        """
        The supervisor's socket may be in the abstract namespace.
        """
        received = self.supervise(f"@iodemo-{os.getpid()}")
        notify("READY=1", "STATUS=fine")
        self.assertEqual(self.next(received), ["READY=1", "STATUS=fine"])

    def supervise(self, name: str) -> socket.socket:
        """
        Bind the socket of a supervisor.
        """
        receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiving.close)
        receiving.bind("\0" + name[1:] if name[0] == "@" else name)
        receiving.settimeout(TIMEOUT)
        os.environ["NOTIFY_SOCKET"] = name
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
        return receiving

    def next(self, receiving: socket.socket) -> list[str]:
        """
        Receive a message.
        """
        return receiving.recv(4096).decode().split("\n")


class MistakeTests(SynchronousTestCase):
    """
    Tests for users' mistakes.
    """

    def refusal(self, *arguments: str) -> str:
        """
        Run it with options that it refuses.

        @return: its only line on standard error.
        """
        answer = runTwistd(
            "-n", "iodemo-workers", *arguments, directory=makeDirectory(self)
        )
        self.assertEqual(answer.returncode, 1, answer)
        self.assertEqual(answer.stderr.count("\n"), 1, answer)
        self.assertNotIn("Traceback", answer.stdout)
        return answer.stderr.removeprefix("iodemo-workers: ")

    def test_options(self) -> None:
        """
        Options that cannot be used are refused, each with its reason.
        """
        for arguments, reason in (
            (["-p", "0", "-l", "tcp:1", *ECHO], "--processes is a whole number from 1"),
            (["-g", "-1", "-l", "tcp:1", *ECHO], "--grace is a number of seconds"),
            (["-g", "nan", "-l", "tcp:1", *ECHO], "--grace is a number of seconds"),
            (["-l", "tcp:1", "--", "nothing"], "there is no plugin 'nothing'"),
            (["-l", "tcp:1", "iodemo-workers"], "iodemo-workers cannot be hosted"),
            (["-l", "tcp:1"], "no plugin to host: for example, "),
            (ECHO, "no --listen: for example, "),
            (["-l", "tcp:1", "--", "web"], "the options of web lack {endpoint}"),
            (["-l", "tcp:1", "-l", "tcp:2", *ECHO], "lack {endpoint2}"),
            (["-l", "ssl:1", *ECHO], "cannot use --listen 'ssl:1'"),
        ):
            with self.assertRaises(SystemExit) as refused:
                Options().parseOptions(list(arguments))
            self.assertIn(reason, str(refused.exception.code))
        self.assertIn("whole number", self.refusal("-p", "0", "-l", "tcp:1", *ECHO))

    def test_endpoints(self) -> None:
        """
        So are endpoints.
        """
        for text, reason in (
            ("", "'' is none of tcp, tcp6, unix"),
            ("tcp", "the port is left out"),
            ("tcp:http", "a port is a number up to 65535"),
            ("tcp:65536", "a port is a number up to 65535"),
            ("tcp:1:bogus=1", "tcp: has no place for 'bogus=1'"),
            ("tcp:1:2", "tcp: has no place for '2'"),
            ("tcp:1:address=x", "tcp: has no place for 'address=x'"),
            ("unix:/x:port=1", "unix: has no place for 'port=1'"),
            ("unix", "the path is left out"),
            ("unix:a:mode=999", "a mode is an octal number"),
            ("tcp:1:backlog=x", "a backlog is a number"),
        ):
            refused = self.assertRaises(BadEndpoint, parsed, text)
            self.assertIn(reason, str(refused))
        self.assertEqual(parsed("unix:a\\:b").host, "a:b")
        self.assertEqual(parsed("tcp:interface=\\:\\:1:port=7").domain, "INET6")

    def test_portInUse(self) -> None:
        """
        A port in use is refused, also if it is that of another group of sockets.
        """
        parent = Parent(self, "-p", "2", *ECHO)
        endpoint = f"tcp:{parent.ports[0]}:interface=127.0.0.1"
        refusal = self.refusal("-p", "2", "-l", endpoint, *ECHO)
        self.assertEqual(
            refusal, f"cannot listen: Address already in use ({endpoint!r})\n"
        )

    def test_pluginOptions(self) -> None:
        """
        If the workers cannot start, everything ends, and the last line names the
        reason.
        """
        refusal = self.refusal("-p", "2", "-l", "tcp:0", *ECHO, "--bogus")
        self.assertIn("ended with exit status 1 after ", refusal)
        self.assertIn(
            " s, before it served: iodemo-echo: option --bogus not recognized", refusal
        )

    def test_worker(self) -> None:
        """
        The internal plugin, started by hand, names the other one.
        """
        answer = runTwistd("-n", "iodemo-worker", directory=makeDirectory(self))
        self.assertEqual(answer.returncode, 1)
        self.assertIn("only iodemo-workers starts it", answer.stderr)

    def test_help(self) -> None:
        """
        C{--help} explains the options, the endpoints and the signals.
        """
        answer = subprocess.run(
            [TWISTD, "iodemo-workers", "--help"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual((answer.returncode, answer.stderr), (0, ""))
        for text in ("--processes=", "--grace=", "--share", "{endpoint}", "SIGHUP"):
            self.assertIn(text, answer.stdout)


class _Transport:
    """
    The transport of a process that is not there.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.signals: list[int] = []

    def signalProcess(self, number: int) -> None:
        self.signals.append(number)


class _Reactor(MemoryReactorClock):
    """
    A reactor that starts no process, but keeps those that were to start.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started: list[WorkerProcess] = []

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> None:
        self.started.append(protocol)
        protocol.makeConnection(_Transport(len(self.started)))


class PauseTests(SynchronousTestCase):
    """
    Tests for L{Workers}, without processes.
    """

    def setUp(self) -> None:
        """
        Start workers, two of them.
        """
        self.reactor = _Reactor()
        self.workers = Workers([], 2, share=False, grace=5.0, command=[])
        self.workers.reactor = self.reactor  # type: ignore[assignment]
        self.lines: list[str] = []
        observer: Any = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.workers.startService()
        for function, arguments, options in self.reactor.whenRunningHooks:
            function(*arguments, **options)

    def observe(self, event: dict[str, Any]) -> None:
        """
        Keep the lines of the log that tell how a worker has ended.
        """
        if "line" in event:
            self.lines.append(event["line"] + f" {event.get('when', '')}")

    def say(self, worker: WorkerProcess, word: bytes) -> None:
        """
        Let a worker report.
        """
        worker.childDataReceived(3, word + b"\n")

    def end(self, worker: WorkerProcess, number: int | None = None) -> None:
        """
        Let a worker end by a signal, or with exit status 1.
        """
        reason = (
            ProcessTerminated(1) if number is None else ProcessTerminated(signal=number)
        )
        worker.processExited(Failure(reason))
        worker.processEnded(Failure(reason))

    def pauses(self, count: int, number: int | None, ready: bool) -> list[float]:
        """
        Let a worker and its successors end, one after the other.

        @return: the seconds before each successor is started.
        """
        pauses = []
        for _ in range(count):
            worker = self.reactor.started[-1]
            if ready:
                self.say(worker, b"ready")
            before = self.reactor.seconds()
            self.end(worker, number)
            while self.reactor.started[-1] is worker:
                (due,) = {call.getTime() for call in self.reactor.getDelayedCalls()}
                self.reactor.advance(due - self.reactor.seconds())
            pauses.append(self.reactor.seconds() - before)
        return pauses

    def serve(self) -> None:
        """
        Let both workers become ready.
        """
        for worker in list(self.reactor.started):
            self.say(worker, b"ready")

    def test_pausesGrow(self) -> None:
        """
        The first successor starts at once. If it also ends soon, the next one starts
        after a pause, which doubles up to a limit.
        """
        self.serve()
        for each in (signal.SIGSEGV, None):
            pauses = self.pauses(9, each, ready=False)
            expected = [FIRST_PAUSE * 2**power for power in range(6)]
            expected = [0.0, *expected, LONGEST_PAUSE, LONGEST_PAUSE]
            for pause, due in zip(pauses, expected, strict=True):
                self.assertAlmostEqual(pause, due)
            self.reset()

    def reset(self) -> None:
        """
        Let the last worker be ready for long enough.
        """
        self.say(self.reactor.started[-1], b"ready")
        self.reactor.advance(STEADY)

    def test_killed(self) -> None:
        """
        After SIGKILL, the pauses stay short.
        """
        self.serve()
        pauses = self.pauses(5, signal.SIGKILL, ready=True)
        self.assertAlmostEqual(pauses[0], 0.0)
        self.assertAlmostEqual(pauses[-1], LONGEST_AFTER_KILL)

    def test_steady(self) -> None:
        """
        A worker that has been ready for a while has a successor at once.
        """
        self.serve()
        self.pauses(4, signal.SIGSEGV, ready=True)
        self.reset()
        self.assertEqual(self.pauses(1, signal.SIGSEGV, ready=False), [0.0])

    def test_how(self) -> None:
        """
        The log states how a worker has ended, after how long, and when its successor
        starts.
        """
        self.serve()
        self.reactor.advance(2.5)
        self.end(self.reactor.started[1], signal.SIGSEGV)
        self.end(self.reactor.started[2])
        self.assertEqual(
            self.lines,
            [
                "worker 2 (process 2) was killed by SIGSEGV after 2.5 s now",
                "worker 2 (process 3) ended with exit status 1 after 0.0 s in 0.1 s",
            ],
        )

    def test_signalWithoutName(self) -> None:
        """
        A worker that a real-time signal has ended has a successor, too.
        """
        self.serve()
        self.end(self.reactor.started[1], 40)
        self.assertEqual(
            self.lines, ["worker 2 (process 2) was killed by signal 40 after 0.0 s now"]
        )
        self.assertEqual(len(self.reactor.started), 3)

    def test_rollWhileStarting(self) -> None:
        """
        If a SIGHUP comes while a successor starts, and that ends before it is ready,
        one worker is started in its place, not two.
        """
        self.serve()
        self.say(self.reactor.started[0], b"draining")
        self.assertEqual(len(self.reactor.started), 3)
        self.workers.roll()
        self.end(self.reactor.started[2])
        self.assertEqual(len(self.reactor.started), 4)
        self.say(self.reactor.started[3], b"ready")
        # The roll goes on with that place.
        self.assertEqual(len(self.reactor.started), 5)

    def test_hangs(self) -> None:
        """
        A worker that does not end in time, when it is replaced, is killed.
        """
        self.serve()
        self.workers.roll()
        self.say(self.reactor.started[2], b"ready")
        old: Any = self.reactor.started[0].transport
        self.assertEqual(old.signals, [signal.SIGTERM])
        self.reactor.advance(5.0 + KILLED_AFTER)
        self.assertEqual(old.signals, [signal.SIGTERM, signal.SIGKILL])

    def test_stopWhileDraining(self) -> None:
        """
        A worker that drains when the service is stopped gets no second SIGTERM, which
        would end it at once.
        """
        self.serve()
        self.workers.roll()
        self.say(self.reactor.started[2], b"ready")
        self.workers.stopService()
        for worker in self.reactor.started[:3]:
            transport: Any = worker.transport
            self.assertEqual(transport.signals, [signal.SIGTERM])

    def test_rollAgain(self) -> None:
        """
        If a SIGHUP comes while workers are replaced, all are replaced once more.
        """
        self.serve()
        self.workers.roll()
        self.workers.roll()
        for number in range(2, 6):
            self.assertEqual(len(self.reactor.started), number + 1)
            self.say(self.reactor.started[number], b"ready")
        self.assertEqual(len(self.reactor.started), 6)

    def test_rollEnds(self) -> None:
        """
        If a new worker ends before it is ready, the one before it stays, and no other
        is replaced.
        """
        self.serve()
        self.workers.roll()
        self.end(self.reactor.started[2])
        old: Any = self.reactor.started[0].transport
        self.assertEqual((len(self.reactor.started), old.signals), (3, []))
        self.workers.roll()
        self.assertEqual(len(self.reactor.started), 4)

    def test_stop(self) -> None:
        """
        The service has stopped when the last worker has ended.
        """
        self.serve()
        stopped = self.workers.stopService()
        for worker in self.reactor.started:
            transport: Any = worker.transport
            self.assertEqual(transport.signals, [signal.SIGTERM])
            self.assertNoResult(stopped)
            worker.processExited(Failure(ProcessDone(0)))
            worker.processEnded(Failure(ProcessDone(0)))
        assert stopped is not None
        self.successResultOf(stopped)
        self.assertEqual(len(self.reactor.started), 2)

    def test_outputAfterEnd(self) -> None:
        """
        If another process has inherited the standard output of a worker that has ended,
        the successor of the worker does not wait for its end.
        """
        self.serve()
        self.reactor.started[1].processExited(Failure(ProcessTerminated(1)))
        self.reactor.advance(1.0)
        self.assertEqual(len(self.reactor.started), 3)
