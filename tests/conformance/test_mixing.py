"""
Tests for programs that use asyncio and Twisted in one process, under the reactors that
run on an event loop of asyncio.
"""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import mock

from ..children import TIMEOUT
from .stamping import BackendTestCase, stampedFor

_NAMES = ("asyncio", "proactor-asyncio", "uring-asyncio")


@stampedFor(*_NAMES)
class MixingTests(BackendTestCase):
    """
    Tests for asyncio in a program of Twisted.
    """

    def test_streams(self) -> None:
        """
        Clients and servers of asyncio and of Twisted talk to each other.
        """
        self.assertEqual(self.told("streams", "talked", "same"), [True] * 6)

    def test_datagrams(self) -> None:
        """
        Datagrams of asyncio arrive.
        """
        self.assertEqual(self.told("datagrams", "received", "data"), ["hello", "again"])

    def test_descriptors(self) -> None:
        """
        A descriptor can be watched for reading and writing, closed without being
        removed, and replaced; a regular file and a closed descriptor are refused.
        """
        self.assertEqual(
            self.told("descriptors", "happened", "what"),
            [
                "writable",
                "read one",
                "writable",
                "same number: True",
                "read two",
                "a regular file is refused",
                "a regular file is refused",
                "a closed descriptor is refused",
            ],
        )

    def test_removing(self) -> None:
        """
        If the callback of a connection removes a reader and reuses its number, the new
        reader is called for the new file, and the old one no more.
        """
        self.assertEqual(self.told("removing", "happened", "what"), ["new"])

    def test_processes(self) -> None:
        """
        Processes of both worlds and signal handlers of asyncio work side by side.
        """
        with self.host("mixing.processes") as host:
            host.await_("ended")
        (ran,) = host.told("ran")
        self.assertEqual((ran["output"], ran["status"]), ("hello", 3))
        self.assertEqual(len(host.told("signalled")), 1)

    def test_threads(self) -> None:
        """
        A thread can wake the loop, and asyncio and Twisted can call functions in
        threads.
        """
        self.assertEqual(self.told("threads", "did", "right"), [True] * 5)

    def test_calls(self) -> None:
        """
        Calls that the callbacks of a connection make are made though nothing else
        happens.
        """
        self.assertEqual(
            self.told("calls", "called", "what"),
            ["soon", "later", "task", "reactor", "producer"],
        )

    def test_writes(self) -> None:
        """
        The order is kept, in whatever kind of call the program writes.
        """
        self.assertEqual(self.told("writes", "received", "same"), [True])

    def test_debug(self) -> None:
        """
        The same is true in asyncio's debug mode.
        """
        with mock.patch.dict(os.environ, PYTHONASYNCIODEBUG="1"):
            self.test_calls()
            self.test_writes()
            self.test_streams()

    def test_errors(self) -> None:
        """
        An error of a protocol is logged, also C{SystemExit}, and the loop goes on.
        """
        with self.host("mixing.errors", expecting=("ValueError", "SystemExit")) as host:
            host.await_("ended")
        self.assertEqual(len(host.told("lost")), 2)

    def test_stopping(self) -> None:
        """
        The callback of a connection can stop the reactor.
        """
        with self.host("mixing.stopping") as host:
            host.await_("shutdown")
            host.await_("ended")

    def test_libraries(self) -> None:
        """
        A service of Twisted that uses aiohttp, httpx and anyio gives right answers.
        """
        self.assertEqual(self.told("libraries", "answered", "right"), [True] * 15)

    def told(self, program: str, event: str, key: str) -> list[object]:
        """
        Run a program to its end.

        @return: what its events of one kind have under one key.
        """
        with self.host(f"mixing.{program}") as host:
            host.await_("ended")
        return [each[key] for each in host.told(event)]


@stampedFor(*_NAMES)
class RunningTests(BackendTestCase):
    """
    Tests for the ways to run such a reactor.
    """

    def test_loop(self) -> None:
        """
        After the installation its loop is asyncio's current one, and it is an asyncio
        reactor of Twisted.
        """
        self.run_(
            "from twisted.internet.asyncioreactor import AsyncioSelectorReactor\n"
            "assert isinstance(reactor, AsyncioSelectorReactor)\n"
            "assert asyncio.get_event_loop() is reactor._asyncioEventloop\n"
            "async def running():\n"
            "    assert asyncio.get_running_loop() is reactor._asyncioEventloop\n"
            "    reactor.stop()\n"
            "reactor.callWhenRunning(asyncio.ensure_future, running())\n"
            "reactor.run()\n"
        )

    def test_iterate(self) -> None:
        """
        C{iterate} makes what is due, and the reactor can run afterwards, twice if it is
        made to crash.
        """
        self.run_(
            "called = []\n"
            "reactor.callLater(0, called.append, 1)\n"
            "while not called:\n"
            "    reactor.iterate(0)\n"
            "reactor.callWhenRunning(reactor.callLater, 0, reactor.crash)\n"
            "reactor.run()\n"
            "reactor.callLater(0, called.append, 2)\n"
            "reactor.callLater(0.01, reactor.stop)\n"
            "reactor.run()\n"
            "assert called == [1, 2], called\n"
        )

    def test_ownLoop(self) -> None:
        """
        A program can run the loop itself, and start the reactor within it.
        """
        self.run_(
            "from twisted.internet.protocol import Factory, Protocol\n"
            "class Echo(Protocol):\n"
            "    def dataReceived(self, data):\n"
            "        self.transport.write(data)\n"
            "async def main():\n"
            "    reactor.startRunning(False)\n"
            "    port = reactor.listenTCP(\n"
            "        0, Factory.forProtocol(Echo), interface='127.0.0.1')\n"
            "    reader, writer = await asyncio.open_connection(\n"
            "        '127.0.0.1', port.getHost().port)\n"
            "    writer.write(b'hello')\n"
            "    assert await reader.readexactly(5) == b'hello'\n"
            "    writer.close()\n"
            "    reactor.callLater(0, reactor.stop)\n"
            "loop = reactor._asyncioEventloop\n"
            "loop.create_task(main())\n"
            "loop.run_forever()\n"
            "assert not loop.is_running()\n"
            "loop.close()\n"
        )

    def test_interrupt(self) -> None:
        """
        C{KeyboardInterrupt} ends C{run}, as with any loop of asyncio.
        """
        self.run_(
            "def interrupt():\n"
            "    raise KeyboardInterrupt\n"
            "reactor._asyncioEventloop.call_soon(interrupt)\n"
            "try:\n"
            "    reactor.run()\n"
            "except KeyboardInterrupt:\n"
            "    pass\n"
            "else:\n"
            "    raise AssertionError\n"
        )

    def run_(self, program: str) -> None:
        """
        Run a program in a new Python in which the reactor is installed. It must end
        well, and print nothing.
        """
        install = (
            "import asyncio, sys\n"
            "from twisted.application.reactors import installReactor\n"
            "reactor = installReactor(sys.argv[1])\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", install + program, self.model.name],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))
