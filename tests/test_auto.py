"""
Tests for L{iodemo.reactors.auto} and L{iodemo.reactors.autoasyncio}: the reactor that
is chosen works, wherever and whenever the kernel refuses io_uring.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import re
import select
import signal
import socket
import subprocess
import sys
from textwrap import indent
from typing import ClassVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.models import find

from .children import TIMEOUT, exchange, makeDirectory
from .conformance.hosting import eventually
from .refusing import CALLS, ENTER, REGISTER, SETUP, TWISTD, killing, refusing

#: The lines of a log that name the chosen reactor.
CHOICE = re.compile(r"auto chose the reactor (.*)")

#: The number of no system call.
_UNUSED = 100_000

#: System calls that the kernel refuses, each with its error and a part of the log.
REFUSALS = (
    (SETUP, errno.EPERM, "io_uring_setup says EPERM: a seccomp filter refuses it"),
    (SETUP, errno.ENOSYS, "io_uring_setup says ENOSYS"),
    (ENTER, errno.EPERM, "io_uring_enter says EPERM"),
    (ENTER, errno.ENOSYS, "io_uring_enter says ENOSYS"),
    (REGISTER, errno.EPERM, "io_uring_register says EPERM"),
    (SETUP, errno.ENOMEM, "raise the limit with 'ulimit -l'"),
    (SETUP, errno.EMFILE, "raise 'ulimit -n'"),
    (REGISTER, errno.ENOMEM, "raise the limit with 'ulimit -l'"),
)


class AutoTestCase(SynchronousTestCase):
    """
    Base of tests of C{auto} in a new Python.

    @cvar reactor: the name of the reactor.
    @cvar names: the names of the reactors between which it chooses.
    @cvar classes: the names of the last two classes of these.
    @cvar proactor: the name of the second one's module.
    """

    reactor: ClassVar = "auto"
    names: ClassVar = ("uring", "proactor", "Twisted's default")
    classes: ClassVar = ("ProactorReactor", "EPollReactor")
    proactor: ClassVar = "proactor"

    def setUp(self) -> None:
        """
        Skip the test where C{auto} can only choose C{proactor}.
        """
        reason = find("uring").unavailable()
        if reason is not None:
            raise SkipTest(reason)

    def run_(self, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """
        Run a program that ends by itself, and well.
        """
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        return ended

    def installing(self) -> str:
        """
        Program text that installs the reactor.
        """
        return (
            "from twisted.application.reactors import installReactor\n"
            f"reactor = installReactor({self.reactor!r})\n"
        )

    def assertChose(self, log: str, number: int, *reasons: str) -> None:
        """
        Check that one line of a log says which reactor was chosen, and why.

        @param number: of the reactor in C{names}.
        """
        (choice,) = CHOICE.findall(log)
        chosen, *_ = choice.split(", not ")
        self.assertEqual(chosen, self.names[number])
        for reason in reasons:
            self.assertIn(reason, choice)


class InstallTests(AutoTestCase):
    """
    Tests for the choice at the time of L{iodemo.reactors.auto.install}.
    """

    def choose(self, before: str = "", **variables: str) -> str:
        """
        Install and run the reactor.

        @param before: program text that is run before.
        @return: the name of its class, the name of the class of its queue, and its log.
        """
        return self.run_(before + self.installing() + LOG + RUN, **variables).stdout

    def test_uring(self) -> None:
        """
        Where the kernel refuses nothing, C{auto} is C{uring}.
        """
        said = self.choose()
        self.assertIn("RingQueue\n", said)
        self.assertChose(said, 0)

    def test_refused(self) -> None:
        """
        Where the kernel refuses a system call, C{auto} is C{proactor}; the log has the
        reason and a remedy.
        """
        for call, error, reason in REFUSALS:
            said = self.choose(refusing(call, error))
            self.assertIn(f"{self.classes[0]} ReadinessQueue\n", said)
            self.assertChose(said, 1, reason, "; ")

    def test_killed(self) -> None:
        """
        Where a filter kills a process that makes the system call, as systemd's does,
        the program goes on with C{proactor}.
        """
        for call in CALLS:
            said = self.choose(killing(call))
            self.assertChose(said, 1, "add @aio to SystemCallFilter")

    def test_filtered(self) -> None:
        """
        A filter that allows io_uring is no obstacle, even if the program ignores the
        end of its children.
        """
        ignoring = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        said = self.choose(ignoring + refusing(_UNUSED, errno.EPERM))
        self.assertChose(said, 0)

    def test_notCompiled(self) -> None:
        """
        Without the extension, C{auto} is C{proactor}.
        """
        said = self.choose("import sys; sys.modules['iodemo.completion.ring'] = None\n")
        self.assertIn(f"{self.classes[0]} ReadinessQueue\n", said)
        self.assertChose(said, 1, "its extension is not compiled")

    def test_wrongSetting(self) -> None:
        """
        With an impossible size of the ring, C{auto} is C{proactor}.
        """
        said = self.choose(IODEMO_URING_BUFFERS="3")
        self.assertChose(said, 1, "IODEMO_URING_BUFFERS is '3', but must be")

    def test_default(self) -> None:
        """
        Where C{proactor} cannot run either, C{auto} is the reactor that Twisted
        chooses; the log has both reasons.
        """
        said = self.choose(
            refusing(SETUP, errno.EPERM)
            + "import sys; "
            + f"sys.modules['iodemo.reactors.{self.proactor}'] = None\n"
        )
        self.assertIn(f"{self.classes[1]} NoneType\n", said)
        self.assertChose(said, 2, "says EPERM", f"iodemo.reactors.{self.proactor}")

    def test_listed(self) -> None:
        """
        C{twistd --help-reactors} lists it as available, also where io_uring is refused.
        """
        for before in ("", refusing(SETUP, errno.EPERM)):
            said = self.run_(
                "import sys; sys.argv.append('--help-reactors')\n" + before + TWISTD
            )
            (line,) = re.findall(
                rf"^ +{self.reactor}\s+(.*)$", said.stdout, re.MULTILINE
            )
            self.assertIn(f"{self.names[0]}, else {self.names[1]}, else ", line)


class LaterTests(AutoTestCase):
    """
    Tests for a kernel that refuses io_uring after the reactor was installed.
    """

    def check(self, forbid: str, queue: str, *reasons: str, before: str = "") -> None:
        """
        Run a program that uses everything before it runs the reactor.

        @param forbid: program text that is run between.
        @param queue: the class of the queue that the reactor must have.
        @param reasons: see L{assertChose}.
        @param before: program text after the reactor was installed.
        """
        said = self.run_(
            self.installing()
            + LOG
            + before
            + EVERYTHING
            + forbid
            + "reactor.run()\nreport()"
        ).stdout
        last = json.loads(said.splitlines()[-1])
        self.assertEqual(last, {**EXPECTED, "queue": queue})
        self.assertChose(said, 1 if reasons else 0, *reasons)

    def test_allowed(self) -> None:
        """
        Where the kernel refuses nothing, all that was begun before works on the ring.
        """
        self.check("", "RingQueue")

    def test_refused(self) -> None:
        """
        Where the kernel refuses a system call, all that was begun before works without
        a ring.
        """
        for call, error, reason in REFUSALS:
            self.check(refusing(call, error), "ReadinessQueue", reason, "; ")

    def test_littleMemory(self) -> None:
        """
        Where there is memory only for a small ring, C{auto} makes a small one.
        """
        self.check(refusing(SETUP, errno.ENOMEM, above=100), "RingQueue")

    def test_onlySmall(self) -> None:
        """
        Where there is memory only for a ring that is too small, C{auto} is
        C{proactor}.
        """
        self.check(
            refusing(SETUP, errno.ENOMEM, above=2),
            "ReadinessQueue",
            "io_uring_setup says ENOMEM",
            "set IODEMO_URING_BUFFERS",
        )

    def test_lockedMemory(self) -> None:
        """
        Where no memory may be locked, the program runs. It depends on the kernel
        whether it counts rings as locked memory.
        """
        said = self.run_(
            self.installing()
            + LOG
            + EVERYTHING
            + "import resource\n"
            + "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
            + "reactor.run()\nreport()"
        ).stdout
        last = json.loads(said.splitlines()[-1])
        self.assertEqual({**last, "queue": ""}, {**EXPECTED, "queue": ""})

    def test_iterate(self) -> None:
        """
        C{iterate} before C{run} chooses, too.
        """
        for forbid, queue, reasons in (
            ("", "RingQueue", ()),
            (refusing(ENTER, errno.EPERM), "ReadinessQueue", ("says EPERM",)),
        ):
            self.check(
                forbid + "for _ in range(10): reactor.iterate(0)\n", queue, *reasons
            )

    def test_fork(self) -> None:
        """
        A process that was forked after C{iterate} makes a ring of its own; if it is
        refused, all that is watched works without a ring.
        """
        for forbid, name in (
            ("", self.names[0]),
            (refusing(SETUP, errno.EPERM), self.names[1]),
        ):
            said = self.run_(
                self.installing() + LOG + FORK.format(forbid=forbid)
            ).stdout
            self.assertIn("b'hello'\n", said)
            first, second = CHOICE.findall(said)
            self.assertEqual(first, self.names[0])
            self.assertEqual(second.split(", not ")[0], name)

    def test_noDescriptor(self) -> None:
        """
        If the process has too few descriptors left for a ring when it starts, C{auto}
        is C{proactor}.
        """
        for left, number in ((0, 1), (1, 0)):
            said = self.run_(self.installing() + LOG + FULL.format(left=left)).stdout
            self.assertIn("b'hello'\n", said)
            self.assertChose(said, number, *(["ulimit -n"] if left == 0 else []))

    def test_again(self) -> None:
        """
        A reactor that runs again has chosen for good.
        """
        said = self.run_(
            self.installing()
            + LOG
            + "for _ in range(2):\n"
            + "    reactor.callWhenRunning(reactor.crash)\n"
            + "    reactor.run()\n"
        ).stdout
        self.assertChose(said, 0)


class AsyncioMixin:
    """
    The names of C{auto-asyncio}.
    """

    reactor: ClassVar = "auto-asyncio"
    names: ClassVar = ("uring-asyncio", "proactor-asyncio", "asyncio")
    classes: ClassVar = ("ProactorAsyncioReactor", "AsyncioSelectorReactor")
    proactor: ClassVar = "proactorasyncio"


class InstallAsyncioTests(AsyncioMixin, InstallTests):
    """
    The same for C{auto-asyncio}, and tests for a program with a loop of its own.
    """

    def test_loop(self) -> None:
        """
        On a loop of L{iodemo.reactors.autoasyncio.newEventLoop} the reactor runs, and
        asyncio runs on it, where the kernel allows io_uring and where it does not.
        """
        for forbid, number in (
            ("", 0),
            ("import sys; sys.modules['iodemo.completion.ring'] = None\n", 1),
            (refusing(SETUP, errno.EPERM), 1),
        ):
            said = self.run_(forbid + LOG + OWN_LOOP.format(forbid="")).stdout
            self.assertIn("b'hello'\n", said)
            self.assertChose(said, number)
        said = self.run_(
            LOG + OWN_LOOP.format(forbid=refusing(ENTER, errno.EPERM))
        ).stdout
        self.assertIn("b'hello'\n", said)
        self.assertChose(said, 1, "io_uring_enter says EPERM")

    def test_anotherLoop(self) -> None:
        """
        On a loop of asyncio's own, it is Twisted's asyncio reactor; the log has the
        reason.
        """
        said = self.run_(
            "import asyncio\n"
            "from iodemo.reactors import autoasyncio\n"
            "autoasyncio.install(asyncio.SelectorEventLoop())\n"
            "from twisted.internet import reactor\n" + LOG + RUN
        ).stdout
        self.assertIn("AsyncioSelectorReactor NoneType\n", said)
        self.assertChose(said, 2, "make the loop with")


class LaterAsyncioTests(AsyncioMixin, LaterTests):
    """
    The same for C{auto-asyncio}.
    """


class TwistdTests(AutoTestCase):
    """
    Tests for C{auto} under C{twistd}.
    """

    def setUp(self) -> None:
        """
        Make a directory for the server.
        """
        super().setUp()
        self.directory = makeDirectory(self)
        os.chmod(self.directory, 0o777)

    def serve(self, program: str, *options: str) -> str:
        """
        Run C{iodemo-echo}, and exchange bytes with it.

        @param program: text that is run before C{twistd}.
        @return: its log.
        """
        log, pidFile = self.directory / "its.log", self.directory / "its.pid"
        log.unlink(missing_ok=True)
        listen = "--listen=tcp:0:interface=127.0.0.1"
        files = ("--pidfile=its.pid", "--logfile=its.log")
        started = subprocess.Popen(
            [
                *(sys.executable, "-c", program + TWISTD, f"--reactor={self.reactor}"),
                *(*files, *options, "iodemo-echo", listen),
            ],
            cwd=self.directory,
        )

        def isListening() -> bool:
            # Also the process that starts a daemon ends with 0.
            self.assertIn(started.poll(), (None, 0))
            return log.exists() and " listens on " in log.read_text()

        eventually(isListening, lambda: log.exists() and log.read_text())
        server = os.pidfd_open(int(pidFile.read_text()))
        try:
            (port,) = re.findall(r" starting on (\d+)\n", log.read_text())
            with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT) as peer:
                self.assertEqual(exchange(peer, b"hello"), b"hello")
            signal.pidfd_send_signal(server, signal.SIGTERM)
            ended = select.select([server], [], [], TIMEOUT)[0]
            self.assertEqual(ended, [server], "it has not ended")
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(server, signal.SIGKILL)
            os.close(server)
            started.wait(TIMEOUT)
        text = log.read_text()
        self.assertNotIn("Traceback", text)
        return text

    def test_foreground(self) -> None:
        """
        In the foreground it serves, and its log has the choice.
        """
        self.assertChose(self.serve("", "-n"), 0)
        for call, error, reason in REFUSALS[:3]:
            log = self.serve(refusing(call, error), "-n")
            self.assertChose(log, 1, reason)

    def test_unprivileged(self) -> None:
        """
        For an unprivileged user the choice is the same.
        """
        self.assertChose(self.serve(unprivileged(), "-n"), 0)
        for error in (errno.EPERM, errno.ENOSYS):
            log = self.serve(unprivileged() + refusing(SETUP, error), "-n")
            self.assertChose(log, 1, errno.errorcode[error])
        # It depends on the kernel whether it counts a ring as locked memory.
        limit = "import resource\nresource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        log = self.serve(limit + unprivileged(), "-n")
        if self.names[1] in log:
            self.assertChose(log, 1, "raise the limit with 'ulimit -l'")
        else:
            self.assertChose(log, 0)

    def test_daemon(self) -> None:
        """
        As a daemon it serves, and its log has the choice: also if io_uring is refused
        from the time at which it becomes a daemon.
        """
        self.assertChose(self.serve(""), 0)
        for call, error, reason in REFUSALS[:3]:
            forbid = refusing(call, error)
            self.assertChose(self.serve(forbid), 1, reason)
            self.assertChose(self.serve(after("setsid", forbid)), 1, reason)

    def test_anotherUser(self) -> None:
        """
        If io_uring is refused from the time at which root becomes another user, as by
        kernel.io_uring_disabled=1, it serves without a ring.
        """
        if os.geteuid() != 0:
            raise SkipTest("only root can become another user")
        nobody = pwd.getpwnam("nobody")
        user = (f"--uid={nobody.pw_uid}", f"--gid={nobody.pw_gid}")
        for options in (user, ("-n", *user)):
            self.assertChose(self.serve("", *options), 0)
            forbid = after("setuid", refusing(SETUP, errno.EPERM))
            log = self.serve(forbid, *options)
            self.assertChose(log, 1, "io_uring_setup says EPERM")


class TwistdAsyncioTests(AsyncioMixin, TwistdTests):
    """
    The same for C{auto-asyncio}.
    """


def unprivileged() -> str:
    """
    Program text that makes root another user.
    """
    if os.geteuid() != 0:
        return ""
    nobody = pwd.getpwnam("nobody")
    # The user may not be able to read the files of the modules.
    return (
        "import twisted.scripts.twistd, twisted.plugin, twisted.scripts._twistd_unix\n"
        "from twisted.application import app, reactors, service\n"
        "list(reactors.getReactorTypes())\n"
        "list(twisted.plugin.getPlugins(service.IServiceMaker))\n"
        "import iodemo.reactors.uringorproactorasyncio, iodemo.services.echo\n"
        "import os\n"
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n"
    )


def after(call: str, program: str) -> str:
    """
    Program text that runs a program when a function of C{os} has returned.
    """
    return (
        "import os\n"
        f"real = os.{call}\n"
        "def replacement(*arguments):\n"
        "    real(*arguments)\n"
        f"{indent(program, '    ')}\n"
        f"os.{call} = replacement\n"
    )


#: Text of a program that prints the log, and of one that then runs.
LOG = """
import sys
from twisted.logger import globalLogBeginner, textFileLogObserver
globalLogBeginner.beginLoggingTo(
    [textFileLogObserver(sys.stdout)], redirectStandardIO=False
)
"""
RUN = """
def say():
    queue = getattr(reactor, "queue", None)
    print(type(reactor).__name__, type(queue).__name__, flush=True)
    reactor.stop()
reactor.callLater(0, say)
reactor.run()
"""

#: A program of asyncio that runs the reactor within its loop.
OWN_LOOP = """
import asyncio
from iodemo.reactors import autoasyncio
from twisted.internet import protocol

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

async def main(reactor):
    factory = protocol.Factory.forProtocol(Echo)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.getHost().port)
    writer.write(b"hello")
    print(await reader.readexactly(5), flush=True)
    writer.close()

loop = autoasyncio.newEventLoop()
autoasyncio.install(loop)
from twisted.internet import reactor
{forbid}
reactor.startRunning()
loop.run_until_complete(main(reactor))
"""

#: The report of the program C{EVERYTHING}.
EXPECTED = {
    "adopted tcp": "yes",
    "adopted unix": "yes",
    "adopted, paused": "later",
    "called from thread": True,
    "delayed": True,
    "process": "out",
    "reader": "r",
    "tcp": "x" * 300_000,
    "tcp, later": "later",
    "udp": "datagram",
    "unix": "x" * 300_000,
    "writer": True,
    "written before the end": "all",
}

#: A program that begins something of every kind before the reactor runs.
EVERYTHING = """
import json, os, socket, sys, tempfile, threading
from twisted.internet import protocol

seen = {}
expected = 13

def saw(name, value):
    seen[name] = value
    if len(seen) == expected:
        seen["queue"] = type(reactor.queue).__name__
        reactor.stop()

def report():
    print(json.dumps(seen))

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Ask(protocol.Protocol):
    def __init__(self, name, text):
        self.name, self.text, self.got = name, text, b""
    def connectionMade(self):
        self.transport.write(self.text)
    def dataReceived(self, data):
        self.got += data
        if len(self.got) == len(self.text):
            saw(self.name, self.got.decode())

def asking(*arguments):
    factory = protocol.ClientFactory()
    factory.protocol = lambda: Ask(*arguments)
    factory.clientConnectionFailed = lambda _, why: saw(arguments[0], str(why))
    return factory

# Ports and clients, over TCP and UNIX.
tcp = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
number = tcp.getHost().port
reactor.connectTCP("127.0.0.1", number, asking("tcp", b"x" * 300000))
path = tempfile.mkdtemp() + "/socket"
reactor.listenUNIX(path, protocol.Factory.forProtocol(Echo))
reactor.connectUNIX(path, asking("unix", b"x" * 300000))
reactor.callWhenRunning(
    reactor.connectTCP, "127.0.0.1", number, asking("tcp, later", b"later")
)

# Connections that the program had: one writes at once, and its peer answers.
def pair(family):
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname()), server.accept()[0]

class Adopted(protocol.Protocol):
    def __init__(self, name, paused):
        self.name, self.paused = name, paused
    def connectionMade(self):
        self.transport.write(b"question")
        if self.paused:
            self.transport.pauseProducing()
            reactor.callLater(0.01, self.transport.resumeProducing)
    def dataReceived(self, data):
        saw(self.name, data.decode())

class Peer:
    def __init__(self, socket, answer):
        self.socket, self.answer = socket, answer
        self.fileno = socket.fileno
        reactor.addReader(self)
    def logPrefix(self):
        return "peer"
    def doRead(self):
        reactor.removeReader(self)
        assert self.socket.recv(100) == b"question"
        self.socket.sendall(self.answer)
    def connectionLost(self, reason):
        pass

kept = []
for name, family, answer in (
    ("adopted tcp", socket.AF_INET, b"yes"),
    ("adopted unix", socket.AF_UNIX, b"yes"),
    ("adopted, paused", socket.AF_INET, b"later"),
):
    ours, theirs = pair(family)
    kept.append(Peer(theirs, answer))
    factory = protocol.Factory()
    factory.buildProtocol = lambda _: Adopted(name, answer == b"later")
    reactor.adoptStreamConnection(ours.fileno(), family, factory)
    ours.close()

# A connection that writes much and ends, before the reactor runs.
class Parting(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"x" * 3000000)
        self.transport.loseConnection()

ours, theirs = pair(socket.AF_INET)
reactor.adoptStreamConnection(
    ours.fileno(), socket.AF_INET, protocol.Factory.forProtocol(Parting)
)
ours.close()
def receiveAll():
    left = 3000000
    while left and (data := theirs.recv(65536)):
        left -= len(data)
    ended = not left and not theirs.recv(1)
    reactor.callFromThread(saw, "written before the end", "all" if ended else str(left))
threading.Thread(target=receiveAll, daemon=True).start()

# Descriptors, delayed calls, threads, processes, datagrams.
class Pipe:
    def __init__(self, descriptor):
        self.fileno = lambda: descriptor
    def logPrefix(self):
        return "pipe"
    def doRead(self):
        reactor.removeReader(self)
        saw("reader", os.read(self.fileno(), 1).decode())
    def doWrite(self):
        reactor.removeWriter(self)
        saw("writer", os.write(self.fileno(), b"w") == 1)
    def connectionLost(self, reason):
        saw("lost", str(reason))

readEnd, writeEnd = os.pipe()
os.write(writeEnd, b"r")
reactor.addReader(Pipe(readEnd))
reactor.addWriter(Pipe(os.pipe()[1]))
reactor.callLater(0, saw, "delayed", True)
calling = threading.Thread(
    target=reactor.callFromThread, args=(saw, "called from thread", True)
)
calling.start()
calling.join()

class Output(protocol.ProcessProtocol):
    out = b""
    def outReceived(self, data):
        self.out += data
    def processEnded(self, reason):
        saw("process", self.out.decode())

reactor.spawnProcess(Output(), "/bin/sh", ["sh", "-c", "printf out"])

class Datagram(protocol.DatagramProtocol):
    def datagramReceived(self, data, address):
        saw("udp", data.decode())

udp = reactor.listenUDP(0, Datagram(), interface="127.0.0.1")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
    b"datagram", ("127.0.0.1", udp.getHost().port)
)
"""

#: A program that iterates, becomes another process, and serves there.
FORK = """
import os, socket
from twisted.internet import protocol

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)
    def connectionLost(self, reason):
        reactor.stop()

port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
reactor.iterate(0)
sys.stdout.flush()
child = os.fork()
if child:
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as peer:
        peer.sendall(b"hello")
        print(peer.recv(5), flush=True)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
{forbid}
reactor.run()
"""

#: A program whose descriptors are used up when its reactor starts.
FULL = """
import os, resource, socket
from twisted.internet import protocol

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Ask(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
    def dataReceived(self, data):
        print(data, flush=True)
        reactor.stop()

port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
factory = protocol.ClientFactory.forProtocol(Ask)
reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
taken = []
while True:
    try:
        taken.append(os.dup(0))
    except OSError:
        break
for _ in range({left}):
    os.close(taken.pop())

def release():
    while taken:
        os.close(taken.pop())

reactor.callLater(0, release)
# The handling of signals would need descriptors of its own.
reactor.run(installSignalHandlers=False)
"""
