# -*- test-case-name: tests.test_services -*-
"""
Tests for the parts that the services share: options, ports and error messages.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from typing import Any

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import ITCPTransport, IUNIXTransport
from twisted.plugin import getPlugins
from twisted.plugins import iodemo_services
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import alsoProvides

from iodemo.services import CannotListen, Options, echo, noDelay, wholeNumber

from .children import TIMEOUT, Child, makeDirectory, quoted, receive, runTwistd

MAKERS = [
    maker for maker in vars(iodemo_services).values() if isinstance(maker, ServiceMaker)
]
COMMANDS = tuple(sorted(maker.tapname for maker in MAKERS))


class OptionsTests(SynchronousTestCase):
    """
    Tests for L{Options} and L{wholeNumber}.
    """

    def test_listen(self) -> None:
        """
        C{--listen} may be given several times, in its long and its short form.
        """
        options = Options()
        options.parseOptions(["--listen", "tcp:1", "-l", "tcp:2", "--listen=tcp:3"])
        self.assertEqual(options["listen"], ["tcp:1", "tcp:2", "tcp:3"])

    def test_listenOfEach(self) -> None:
        """
        Each parsed command line has its own list of endpoints.
        """
        Options().parseOptions(["-l", "tcp:1"])
        other = Options()
        other.parseOptions(["-l", "tcp:2"])
        self.assertEqual(other["listen"], ["tcp:2"])

    def test_numbers(self) -> None:
        """
        Numbers are accepted up to the largest that makes sense.
        """
        parse = wholeNumber("size", most=1000)
        self.assertEqual([parse(text) for text in ("1", "07", "1000")], [1, 7, 1000])

    def test_badNumbers(self) -> None:
        """
        A value that is not a whole number from 1 on is refused, and the message names
        the option.
        """
        for text in (
            "0",
            "-1",
            "1001",
            "1.5",
            "1_0",
            "",
            "x",
            "\u0663",
            "0" * 19 + "19999",
        ):
            options = _Sized()
            refusal = self.assertRaises(
                SystemExit, options.parseOptions, ["-l", "tcp:1", "--size", text]
            )
            self.assertIn("iodemo: --size is a whole number from 1", str(refusal))


class _Sized(Options):
    optParameters = [["size", None, 1, "A size.", wholeNumber("size", most=1000)]]


class NoDelayTests(SynchronousTestCase):
    """
    Tests for L{noDelay}.
    """

    def test_tcp(self) -> None:
        """
        Nagle's algorithm is off for TCP.
        """
        self.assertEqual(self._told(ITCPTransport), [True])

    def test_unix(self) -> None:
        """
        A UNIX transport is left alone, although Twisted's declares that it is TCP.
        """
        self.assertEqual(self._told(ITCPTransport, IUNIXTransport), [])

    def test_neither(self) -> None:
        """
        A transport of neither kind is left alone.
        """
        self.assertEqual(self._told(), [])

    def _told(self, *interfaces: Any) -> list[bool]:
        told: list[bool] = []

        class Transport:
            def setTcpNoDelay(self, enabled: bool) -> None:
                told.append(enabled)

        transport: Any = Transport()
        alsoProvides(transport, *interfaces)
        noDelay(transport)
        return told


class ListeningServiceTests(TestCase):
    """
    Tests for L{iodemo.services.ListeningService}.
    """

    async def test_privileged(self) -> None:
        """
        Ports are open before C{twistd} gives up its privileges, and can be opened again
        when the service has stopped.
        """
        path = makeDirectory(self) / "socket"
        for _ in range(2):
            service = echo.makeService(self._options(f"unix:{quoted(path)}"))
            service.privilegedStartService()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
            service.startService()
            await maybeDeferred(service.stopService)

    def test_cannotListen(self) -> None:
        """
        A port that cannot be opened is an L{Exception} for C{twistd}, and a
        L{SystemExit} for the interpreter.
        """
        self.patch(sys, "stderr", sys.stderr)
        missing = makeDirectory(self) / "missing" / "socket"
        endpoint = f"unix:{quoted(missing)}:lockfile=0"
        service = echo.makeService(self._options(endpoint))
        failure = self.assertRaises(CannotListen, service.privilegedStartService)
        self.assertIsInstance(failure, Exception)
        self.assertIsInstance(failure, SystemExit)
        self.assertIn("iodemo-echo: cannot listen: ", failure.code)
        self.assertIn(repr(endpoint), failure.code)

    def _options(self, endpoint: str) -> echo.Options:
        options = echo.Options()
        options.parseOptions(["--listen", endpoint])
        return options


class PluginTests(SynchronousTestCase):
    """
    Tests for the declarations of the services as C{twistd} plugins.
    """

    def test_commands(self) -> None:
        """
        Every service is a subcommand of its own name.
        """
        found = {maker.tapname for maker in getPlugins(IServiceMaker)}
        self.assertLessEqual({"iodemo-echo", "iodemo-http"}, set(COMMANDS))
        self.assertLessEqual(set(COMMANDS), found)
        for maker in MAKERS:
            self.assertEqual(maker.options.command, maker.tapname)

    def test_noReactor(self) -> None:
        """
        The import of a service does not choose a reactor.
        """
        program = (
            "import sys\n"
            "from iodemo.services import chat, echo, http, stream\n"
            "print('twisted.internet.reactor' in sys.modules)"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual((answer.stdout, answer.stderr), ("False\n", ""))

    def test_help(self) -> None:
        """
        C{--help} explains the options, with an example on a line of its own.
        """
        directory = makeDirectory(self)
        for command in COMMANDS:
            answer = runTwistd(command, "--help", directory=directory)
            self.assertEqual((answer.returncode, answer.stderr), (0, ""))
            self.assertIn(f"{command} --listen ENDPOINT [options]\n", answer.stdout)
            self.assertIn(f"\n  twistd -n {command} --listen tcp:80", answer.stdout)


class MistakeTests(SynchronousTestCase):
    """
    Tests for users' mistakes, each with a real C{twistd}.
    """

    def setUp(self) -> None:
        """
        Make a directory to run in.
        """
        self.directory = makeDirectory(self)

    def assertRefused(self, reason: str, *arguments: str) -> None:
        """
        Check that C{twistd} prints one line with the reason, and ends.
        """
        answer = runTwistd("-n", *arguments, directory=self.directory)
        command = next(word for word in arguments if word.startswith("iodemo-"))
        self.assertEqual(answer.returncode, 1, answer)
        self.assertEqual(answer.stderr.count("\n"), 1, answer.stderr)
        self.assertTrue(answer.stderr.startswith(f"{command}: "), answer.stderr)
        self.assertIn(reason, answer.stderr)
        self.assertNotIn("Usage:", answer.stdout)
        self.assertNotIn("Traceback", answer.stdout)
        self.assertEqual(os.listdir(self.directory), [])

    def test_noListen(self) -> None:
        """
        Without C{--listen}, the message explains it.
        """
        for command in COMMANDS:
            self.assertRefused("--listen tcp:8007:interface=127.0.0.1", command)

    def test_options(self) -> None:
        """
        Unknown options, options without a value, and arguments that are no options.
        """
        for command in COMMANDS:
            self.assertRefused("--bogus", command, "--listen", "tcp:0", "--bogus")
        self.assertRefused("--listen requires", "iodemo-echo", "--listen")
        self.assertRefused("Wrong number", "iodemo-echo", "-l", "tcp:0", "more")

    def test_values(self) -> None:
        """
        Values that are not accepted.
        """
        listen = ("--listen", "tcp:0")
        self.assertRefused("--size", "iodemo-stream", *listen, "--size", "0")
        self.assertRefused("--size", "iodemo-stream", *listen, "--size", "many")
        self.assertRefused("--line-limit", "iodemo-chat", *listen, "--line-limit=0")
        self.assertRefused("--backlog", "iodemo-chat", *listen, "--backlog=-1")
        for path in ("missing", "", __file__):
            self.assertRefused(
                "is not a directory", "iodemo-http", *listen, "--path", path
            )

    def test_endpoints(self) -> None:
        """
        Invalid endpoints: the line contains the endpoint.
        """
        left = "something is left out: 'port' (for example, "
        self.assertRefused(left, "iodemo-echo", "--listen", "tcp")
        for endpoint in (
            "nonsense",
            "",
            "tcp",
            "tcp:notaport",
            "tcp:0:bogus=1",
            "ssl:0:privateKey=missing.pem",
            "systemd:domain=INET:index=0",
        ):
            self.assertRefused(repr(endpoint), "iodemo-echo", "--listen", endpoint)
        # The second of two endpoints, too.
        self.assertRefused("'nonsense'", "iodemo-echo", "-l", "tcp:0", "-l", "nonsense")

    def test_ports(self) -> None:
        """
        Ports that cannot be opened.
        """
        missing = f"unix:{quoted(self.directory / 'missing' / 'socket')}"
        for endpoint in ("tcp:99999", missing):
            self.assertRefused(f"({endpoint!r})", "iodemo-echo", "-l", endpoint)

    def test_portInUse(self) -> None:
        """
        A port that another process uses.
        """
        for command in COMMANDS:
            endpoint = _occupied(self)
            self.assertRefused("Address already in use", command, "-l", endpoint)
            self.assertRefused(endpoint, command, "-l", "tcp:0", "-l", endpoint)

    def test_portInUseDaemon(self) -> None:
        """
        If the port of a daemon is in use, the parent process prints the error, the log
        has it, and no pid file is left.
        """
        # If a process has not ended, it still has the other end of this pipe.
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        try:
            answer = runTwistd(
                "iodemo-echo",
                "--listen",
                _occupied(self),
                directory=self.directory,
                passing=(theirs,),
            )
        finally:
            os.close(theirs)
        if not answer.returncode:
            os.kill(int((self.directory / "twistd.pid").read_text()), signal.SIGKILL)
        self.assertEqual(select.select([ours], [], [], TIMEOUT)[0], [ours])
        log = (self.directory / "twistd.log").read_text()
        self.assertEqual(answer.returncode, 1, answer)
        self.assertIn("Address already in use", answer.stderr)
        self.assertNotIn("Traceback", answer.stderr)
        self.assertIn("iodemo-echo: cannot listen: ", log)
        self.assertNotIn("Traceback", log)
        self.assertEqual(os.listdir(self.directory), ["twistd.log"])


class ChildTests(SynchronousTestCase):
    """
    Tests for a service in a process of its own.
    """

    def test_stop(self) -> None:
        """
        After SIGTERM, a service closes its connections, ends by the signal, and leaves
        no files.
        """
        for command in COMMANDS:
            child = Child(self, command)
            with child.connect() as client:
                self.assertEqual(os.listdir(child.directory), ["twistd.pid"])
                self.assertEqual(child.stop(), -signal.SIGTERM)
                # Receive to the end, as a stream has sent data. A connection that was
                # not accepted yet is reset.
                with contextlib.suppress(ConnectionResetError):
                    while client.recv(65536):
                        pass
            self.assertEqual(os.listdir(child.directory), [])
            self.assertNotIn(b"Traceback", child.log)

    def test_twoEndpoints(self) -> None:
        """
        A service listens on each endpoint it is given.
        """
        child = Child(self, "iodemo-echo", "--listen", "tcp:0:interface=127.0.0.1")
        self.assertEqual(len(set(child.ports)), 2)
        for port in child.ports:
            address = ("127.0.0.1", port)
            with socket.create_connection(address, TIMEOUT) as client:
                client.sendall(b"hello")
                self.assertEqual(receive(client, 5), b"hello")


def _occupied(test: SynchronousTestCase) -> str:
    """
    The endpoint string of a port that is in use.
    """
    occupant = socket.create_server(("127.0.0.1", 0))
    test.addCleanup(occupant.close)
    return f"tcp:{occupant.getsockname()[1]}:interface=127.0.0.1"
