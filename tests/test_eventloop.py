"""
Tests for L{iodemo.completion.eventloop} where it differs from asyncio's own loop and
Twisted's reactor on it. L{tests.conformance.test_mixing} tests what they have in
common.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

from .children import TIMEOUT
from .conformance.stamping import BackendTestCase, stampedFor
from .refusing import CALLS, TWISTD, refusing

_ROOT = Path(__file__).resolve().parents[1]
_NAMES = ("proactor-asyncio", "uring-asyncio")

#: A program without the reactor, and one that installs it. Both have the module of the
#: reactor as C{module}, and its loop's class as C{Loop}.
_MODULE = """\
import asyncio, importlib, sys
module = importlib.import_module(sys.argv[1])
(Loop,) = (
    value for name, value in vars(module).items()
    if name.endswith("EventLoop") and value.__module__ == module.__name__
)
"""
_INSTALLED = f"{_MODULE}module.install()\nfrom twisted.internet import reactor\n"


class _ProgramTestCase(BackendTestCase):
    """
    Base of tests that run a program in a new Python.
    """

    def run_(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """
        Run it.
        """
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def check(self, program: str) -> None:
        """
        Run a program that gets the reactor's module as its argument. It must end well,
        and print nothing.
        """
        name = self.model.name.replace("-", "")
        ended = self.run_(program, f"iodemo.reactors.{name}")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))


@stampedFor(*_NAMES)
class InstallTests(_ProgramTestCase):
    """
    Tests for C{install}.
    """

    def test_ownLoop(self) -> None:
        """
        It accepts a loop of its own class, which stays what it is for asyncio.
        """
        self.check(
            f"{_MODULE}"
            "loop = Loop()\n"
            "module.install(loop)\n"
            "from twisted.internet import reactor\n"
            "assert reactor._asyncioEventloop is loop\n"
            "assert asyncio._get_running_loop() is None\n"
            "reactor.callLater(0, reactor.stop)\n"
            "reactor.run()\n"
            "loop.close()\n"
        )

    def test_running(self) -> None:
        """
        Within a running loop of its class it takes that one.
        """
        self.check(
            f"{_MODULE}"
            "async def main():\n"
            "    module.install()\n"
            "    from twisted.internet import reactor\n"
            "    assert reactor._asyncioEventloop is asyncio.get_running_loop()\n"
            "loop = Loop()\n"
            "loop.run_until_complete(main())\n"
            "loop.close()\n"
        )

    def test_foreign(self) -> None:
        """
        Another loop is refused, given or running, with the way to make the right one.
        """
        self.check(
            f"{_MODULE}"
            "def refused(*arguments):\n"
            "    try:\n"
            "        module.install(*arguments)\n"
            "    except TypeError as error:\n"
            "        assert f'{module.__name__}.{Loop.__name__}()' in str(error)\n"
            "    else:\n"
            "        raise AssertionError('it was accepted')\n"
            "async def running():\n"
            "    refused()\n"
            "asyncio.run(running())\n"
            "loop = asyncio.new_event_loop()\n"
            "refused(loop)\n"
            "loop.close()\n"
            "assert 'twisted.internet.reactor' not in sys.modules\n"
        )

    def test_twice(self) -> None:
        """
        A second installation is refused, and asyncio's current loop stays that of the
        first. A second reactor on the same loop is refused, too.
        """
        self.check(
            f"{_INSTALLED}"
            "from twisted.internet.error import ReactorAlreadyInstalledError\n"
            "try:\n"
            "    module.install()\n"
            "except ReactorAlreadyInstalledError:\n"
            "    pass\n"
            "assert asyncio.get_event_loop() is reactor._asyncioEventloop\n"
            "try:\n"
            "    type(reactor)(reactor._asyncioEventloop)\n"
            "except RuntimeError as error:\n"
            "    assert 'has a reactor' in str(error)\n"
            "else:\n"
            "    raise AssertionError('it was accepted')\n"
        )

    def test_alone(self) -> None:
        """
        The loop runs without a reactor, several times, and closes.
        """
        self.check(
            f"{_MODULE}"
            "loop = Loop()\n"
            "for _ in range(2):\n"
            "    assert loop.run_until_complete(asyncio.sleep(0.001, 7)) == 7\n"
            "loop.close()\n"
            "assert loop.is_closed()\n"
        )


@stampedFor(*_NAMES)
class LoopTests(_ProgramTestCase):
    """
    Tests for what happens below the loop.
    """

    def test_selector(self) -> None:
        """
        The selector can be used alone. A timeout below 0 is 0.
        """
        self.check(
            f"{_MODULE}"
            "import selectors, socket\n"
            "loop = Loop()\n"
            "selector = loop.selector\n"
            "assert selector.select(-1) == []\n"
            "ours, theirs = socket.socketpair()\n"
            "key = selector.register(ours, selectors.EVENT_READ, 'data')\n"
            "assert selector.get_key(ours) == key\n"
            "assert selector.select(0) == []\n"
            "theirs.send(b'x')\n"
            "for _ in range(2):\n"
            "    assert selector.select() == [(key, selectors.EVENT_READ)]\n"
            "key = selector.modify(ours, selectors.EVENT_WRITE)\n"
            "assert selector.select() == [(key, selectors.EVENT_WRITE)]\n"
            "selector.unregister(ours)\n"
            "assert selector.select(0) == []\n"
            "loop.close()\n"
            "ours.close()\n"
            "theirs.close()\n"
        )

    def test_forked(self) -> None:
        """
        A process that was forked in a call of the loop goes on to be called by what is
        registered.
        """
        self.check(
            f"{_INSTALLED}"
            "import os\n"
            # In a child process asyncio forgets which loop is running.
            "loop = reactor._asyncioEventloop\n"
            "def fork():\n"
            "    child = os.fork()\n"
            "    if child:\n"
            "        assert os.waitpid(child, 0)[1] == 0\n"
            "    loop.call_later(0, write)\n"
            "def write():\n"
            "    reading, writing = os.pipe()\n"
            "    loop.add_reader(reading, read, reading)\n"
            "    os.write(writing, b'x')\n"
            "def read(reading):\n"
            "    loop.remove_reader(reading)\n"
            "    reactor.stop()\n"
            "reactor.callWhenRunning(reactor.callLater, 0, fork)\n"
            "reactor.run()\n"
        )

    def test_daemon(self) -> None:
        """
        A reactor that was installed before the process became a daemon serves.
        """
        child = self.twistd("iodemo-echo")
        with socket.create_connection(("127.0.0.1", child.ports[0])) as client:
            client.sendall(b"hello")
            self.assertEqual(client.recv(5, socket.MSG_WAITALL), b"hello")

    def test_elsewhere(self) -> None:
        """
        A loop that was made in one thread runs in another.
        """
        self.check(
            f"{_MODULE}"
            "import threading\n"
            "loop = Loop()\n"
            "def run():\n"
            "    loop.run_until_complete(asyncio.sleep(0))\n"
            "    ran.append(True)\n"
            "ran = []\n"
            "thread = threading.Thread(target=run)\n"
            "thread.start()\n"
            "thread.join()\n"
            "assert ran\n"
            "loop.close()\n"
        )


@stampedFor("uring-asyncio")
class ExampleTests(_ProgramTestCase):
    """
    Tests for the example of the book.
    """

    def test_example(self) -> None:
        """
        A program that runs the loop itself serves a client of asyncio.
        """
        ended = self.run_(Path(_ROOT, "docs/examples/asyncioprogram.py").read_text())
        self.assertEqual((ended.stdout, ended.stderr), ("hello\n", ""))


@stampedFor("uring-asyncio")
class RefusedTests(_ProgramTestCase):
    """
    Tests for a system that refuses io_uring after the reactor was installed.
    """

    def test_forbidden(self) -> None:
        """
        The program ends with the reason, which is also in the log.
        """
        for call, name in CALLS.items():
            forbid = refusing(call, errno.EPERM)
            install = (
                "from twisted.application.reactors import installReactor\n"
                f"reactor = installReactor({self.model.name!r})\n{forbid}"
            )
            ended = self.run_(f"{install}reactor.run()\nprint('ran')")
            self.assertEqual((ended.returncode, ended.stdout), (1, ""))
            self.assertIn(f"{name} says EPERM", ended.stderr.splitlines()[-1])
            log = Path(self.mktemp())
            self.run_(
                install + TWISTD,
                *("-n", "--pidfile=", f"--logfile={log}"),
                *("iodemo-echo", "--listen=tcp:0:interface=127.0.0.1"),
            )
            (said,) = (
                line for line in log.read_text().splitlines() if "says EPERM" in line
            )
            self.assertIn(f"the reactor ends: [Errno 1] io_uring: {name}", said)

    def test_alone(self) -> None:
        """
        A program that runs the loop without a reactor ends with the reason, too.
        """
        ended = self.run_(
            "import asyncio\n"
            "from iodemo.reactors.uringasyncio import UringEventLoop\n"
            "loop = UringEventLoop()\n"
            + refusing(min(CALLS), errno.EPERM)
            + "loop.run_until_complete(asyncio.sleep(0))"
        )
        self.assertIn("says EPERM", ended.stderr)
        self.assertEqual(ended.returncode, 1)

    def test_sizes(self) -> None:
        """
        An impossible size is refused as by C{uring}.
        """
        with mock.patch.dict(os.environ, IODEMO_URING_BUFFERS="3"):
            ended = self.run_(
                "from iodemo.reactors import uringasyncio; uringasyncio.install()"
            )
        last = ended.stderr.splitlines()[-1]
        self.assertIn("IODEMO_URING_BUFFERS", last)
