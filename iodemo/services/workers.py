# -*- test-case-name: tests.test_workers -*-
"""
C{iodemo-workers}: hosts any other plugin in several processes, one for each core.

Glossary:

  - I{worker}: a process that hosts the plugin (L{iodemo.services.worker}). It inherits
    listening sockets.
  - I{place}: one of the N workers that there are to be, with the sockets that it
    inherits. A worker that ends has a successor in its place.
  - I{ready}: of a worker, that it accepts connections.
  - I{to drain}: to accept no more, and to end with the last connection, or after the
    grace.
  - I{to roll}: to replace the workers by new ones, one place after another.

Facts. Those about listening sockets are in L{iodemo.process.listening}. A worker that
has become ready accepts from the same queue as the one before it, so between the two no
connection is refused or reset.

Decision. This process opens the sockets and serves nothing. A new worker is ready
before the old one in its place drains. SIGTERM and SIGINT end everything: the workers
drain, then the sockets stop to listen. SIGHUP rolls. A worker that drains although it
was not to, because somebody sent it a SIGTERM, has a successor at once, as has one that
dies. The pause before a successor starts grows with each worker of the place that ends
within L{STEADY} seconds after it was ready. If a worker ends before it was ready while
the workers start for the first time, everything ends, because the next one would do the
same.

What workers print is logged here, line by line, with the number of their place.

Costs. This process logs a line for each of a worker's, so a plugin that logs each
request makes it work. If it is killed by SIGKILL, the kernel kills the workers with it.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import re
import signal
import sys
from typing import Any, cast

from twisted.application.service import IService, IServiceMaker, Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessTransport,
    IReactorCore,
    IReactorFromThreads,
    IReactorProcess,
    IReactorTime,
)
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.python.failure import Failure

from iodemo.process import cores
from iodemo.process.listening import (
    FIRST_DESCRIPTOR,
    Address,
    BadEndpoint,
    Listening,
    endpoint,
    environment,
    opened,
    parsed,
)
from iodemo.process.notify import notify, reloading
from iodemo.services import CannotListen, wholeNumber
from iodemo.services import Options as BaseOptions
from iodemo.services.worker import DRAINING, READY

#: Seconds that a worker has to be ready for, so that its successor starts at once.
STEADY = 1.0
#: Seconds before a successor starts: the shortest pause, which doubles, and the
#: longest. SIGKILL comes from outside, so a successor may well live longer.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LONGEST_AFTER_KILL = 0.4
#: Seconds that a worker has to end in, beyond the grace, before it is killed.
KILLED_AFTER = 10.0

_MOST = 1024
_NAME = "iodemo-workers"

# Of the environment, the variables that concern this process alone.
_OWN = re.compile("LISTEN_|NOTIFY_|WATCHDOG_|MAINPID")
# The time at the beginning of a line that twistd logs.
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\S+ ")
# A longer line is logged in pieces.
_LONGEST_LINE = 1 << 16
# A worker's last output is read for so many seconds after its end, if another process
# has inherited its standard output.
_OUTPUT_AFTER_END = 1.0

# The plugin directory of the user is found like this process's own.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; sys.argv[0] = 'twistd'; "
    "from iodemo.process.heir import run; run()"
)


class _Reactor(
    IReactorCore, IReactorFromThreads, IReactorProcess, IReactorTime
):  # pragma: no cover
    """The interfaces that are used here."""


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e9:
        raise usage.UsageError(f"--grace is a number of seconds, not {text!r}")
    return seconds


class Options(BaseOptions):
    """
    C{twistd iodemo-workers}.
    """

    command = _NAME
    example = "--listen tcp:8007 -- web --listen={endpoint} --path=."
    synopsis = "[options] --listen ENDPOINT -- PLUGIN [options of PLUGIN]"
    optFlags = [
        ["share", None, "All workers accept from one socket."],
    ]
    optParameters = [
        [
            "processes",
            "p",
            None,
            "Number of workers.  [default: the cores that this process may use]",
            wholeNumber("processes", _MOST),
        ],
        [
            "grace",
            "g",
            30.0,
            "Seconds that open connections have to end in, before they are closed.",
            _seconds,
        ],
    ]
    longdesc = (
        "Hosts PLUGIN in several processes (workers), each a twistd with the reactor "
        "of this one. This process opens the listening sockets, hands them to the "
        "workers as systemd does, and serves nothing itself. In the options of PLUGIN, "
        "{endpoint} stands for the endpoint that adopts the socket ({endpoint2} for "
        "that of the second --listen, and so on). The kernel divides connections among "
        "the workers by a hash (SO_REUSEPORT). With --share, and at a UNIX socket, "
        "workers accept from one socket, whoever comes first. "
        "A worker that dies is replaced, and connections wait meanwhile. "
        "SIGTERM and SIGINT drain: no more connections are accepted, and each worker "
        "ends with its last connection, or after the grace; a second signal ends them "
        "at once. SIGHUP replaces the workers one after another: the new one accepts "
        "before the old one drains. Under systemd use Type=notify-reload and "
        "KillMode=mixed."
    )

    def opt_listen(self, endpoint: str) -> None:
        """
        Where to listen: tcp:PORT, tcp6:PORT or unix:PATH. Repeatable.
        """
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def parseArgs(self, *plugin: str) -> None:
        """
        Keep the name and the arguments of the plugin.
        """
        self["plugin"] = plugin

    def postOptions(self) -> None:
        """
        Check the options together.
        """
        super().postOptions()
        if self["processes"] is None:
            self["processes"] = cores.usable()
        if not self["plugin"]:
            raise usage.UsageError(f"no plugin to host: for example, {self.example}")
        name, *arguments = self["plugin"]
        if name in (_NAME, "iodemo-worker"):
            raise usage.UsageError(f"{name} cannot be hosted: name another plugin")
        if all(each.tapname != name for each in getPlugins(IServiceMaker)):
            raise usage.UsageError(
                f"there is no plugin {name!r}: twistd --help lists all"
            )
        self["addresses"] = addresses = []
        for text in self["listen"]:
            try:
                addresses.append(parsed(text))
            except BadEndpoint as error:
                raise usage.UsageError(
                    f"cannot use --listen {text!r}: {error} (for example, tcp:8007)"
                ) from None
        for index, address in enumerate(addresses):
            word = "{endpoint%s}" % (index + 1 if index else "")
            if not any(word in each for each in arguments):
                raise usage.UsageError(
                    f"the options of {name} lack {word}, which stands for the socket "
                    f"of --listen {address.text}: for example, --listen={word}"
                )
            arguments = [
                each.replace(word, endpoint(address, index)) for each in arguments
            ]
        self["hosted"] = [name, *arguments]


class Worker(ProcessProtocol):
    """
    One process, from its start to its end.

    @ivar place: where it serves.
    @ivar pid: its process id.
    @ivar readySince: when it became ready; L{None} before.
    @ivar isDraining: whether it accepts no more.
    @ivar words: the last line that it has printed.
    @ivar becameReady: fires with whether it became ready, or ended before that.
    """

    transport: IProcessTransport
    log = Logger(_NAME)

    def __init__(self, place: Place, started: float) -> None:
        self.place = place
        self.started = started
        self.readySince: float | None = None
        self.isDraining = False
        self.words = ""
        self.becameReady: Deferred[bool] = Deferred()
        self._partial: dict[int, bytes] = {}
        self._failure: Failure | None = None
        self._reading: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        The process has started.
        """
        # The transport forgets it when the process has ended.
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        It has printed or reported something.
        """
        *lines, rest = (self._partial.pop(childFD, b"") + data).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            lines.append(rest)
            rest = b""
        self._partial[childFD] = rest
        for line in lines:
            if childFD in (1, 2):
                self._print(line)
            elif line == READY:
                self.place.workers.workerReady(self)
            elif line == DRAINING:
                self.place.workers.workerDraining(self)

    def _print(self, line: bytes) -> None:
        text = _TIME.sub(b"", line, count=1).decode("utf-8", "replace")
        if text.strip():
            self.words = text.strip()
        self.log.info("{line}", line=text, log_system=f"worker {self.place.number}")

    def processExited(self, reason: Failure) -> None:
        """
        It has ended. What it printed last may still be unread.
        """
        self._failure = reason
        self._reading = self.place.workers.reactor.callLater(
            _OUTPUT_AFTER_END, self._ended
        )

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended, and all its output is read.
        """
        self._failure = reason
        if self._reading is not None and self._reading.active():
            self._reading.cancel()
            self._ended()

    def _ended(self) -> None:
        for descriptor in (1, 2):
            if self._partial.get(descriptor):
                self.childDataReceived(descriptor, b"\n")
        self.place.workers.workerEnded(self)

    @property
    def wasKilled(self) -> bool:
        """
        Whether SIGKILL has ended it, which is no fault of its own.
        """
        value: Any = self._failure.value if self._failure else None
        return value is not None and value.signal == signal.SIGKILL

    def how(self) -> str:
        """
        How it has ended.
        """
        value: Any = self._failure.value if self._failure else None
        if value.signal is not None:
            return f"was killed by {signal.Signals(value.signal).name}"
        return f"ended with exit status {value.exitCode}"

    def send(self, number: int) -> None:
        """
        Send it a signal, if it has not ended.
        """
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)


class Place:
    """
    @ivar number: from 1.
    @ivar serving: the worker that accepts here; L{None} while there is none.
    @ivar starting: the one that is to follow it; L{None} if there is none.
    @ivar pause: seconds before the successor starts, if a worker ends too soon.
    @ivar restart: the delayed call that starts a successor; L{None} if none is due.
    """

    def __init__(self, workers: Workers, number: int) -> None:
        self.workers = workers
        self.number = number
        self.serving: Worker | None = None
        self.starting: Worker | None = None
        self.pause = 0.0
        self.restart: IDelayedCall | None = None


class Workers(Service):
    """
    The parent of all workers.

    @ivar alive: the workers that have not ended.
    """

    log = Logger(_NAME)

    def __init__(
        self,
        addresses: list[Address],
        processes: int,
        share: bool,
        grace: float,
        command: list[str],
    ) -> None:
        """
        @param command: the command line of a worker, as far as it is the same for all.
        """
        from twisted.internet import reactor

        self.reactor = cast("_Reactor", reactor)
        self.alive: set[Worker] = set()
        self._addresses = addresses
        self._sockets = 1 if share else processes
        self._grace = grace
        self._command = command
        self._places = [Place(self, number + 1) for number in range(processes)]
        self._listening: list[Listening] = []
        self._hasServed = False
        self._stopping = False
        self._refusing = False
        self._rolling = False
        self._rollAgain = False
        self._allEnded: Deferred[None] = Deferred()

    def privilegedStartService(self) -> None:
        """
        Open the sockets.

        @raise CannotListen: if one cannot be opened: in use, or not permitted.
        """
        for address in self._addresses:
            try:
                self._listening.append(opened(address, self._sockets))
            except OSError as error:
                self._close()
                message = (
                    f"{_NAME}: cannot listen: {error.strerror or error} "
                    f"({address.text!r})"
                )
                # See ListeningService.privilegedStartService.
                self.log.critical("{message}", message=message)
                sys.stderr = sys.__stderr__
                raise CannotListen(message) from None

    def startService(self) -> None:
        """
        Start the workers, as soon as the reactor runs.
        """
        super().startService()
        self.reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        signal.signal(signal.SIGHUP, self._hungUp)
        for place in self._places:
            self._start(place)

    def stopService(self) -> Deferred[None] | None:
        """
        Let all workers drain, and end.

        @return: a Deferred that fires when the last has ended.
        """
        super().stopService()
        self._stopping = True
        self._tell("STOPPING=1")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalledAgain)
        for place in self._places:
            if place.restart is not None:
                place.restart.cancel()
                place.restart = None
        self._signal(signal.SIGTERM)
        killing = self.reactor.callLater(
            self._grace + KILLED_AFTER, self._signal, signal.SIGKILL
        )

        def ended(result: None) -> None:
            if killing.active():
                killing.cancel()
            self._close()

        self._allEnded.addCallback(ended)
        self._stopFurther()
        return self._allEnded

    def _stopFurther(self) -> None:
        """
        While stopping: refuse connections when no worker accepts any more, and finish
        when no worker is left.
        """
        if not self._refusing and all(each.isDraining for each in self.alive):
            self._refusing = True
            for listening in self._listening:
                listening.refuse()
        if not self.alive and not self._allEnded.called:
            self._allEnded.callback(None)

    def _close(self) -> None:
        for listening in self._listening:
            listening.close()
        self._listening.clear()

    def _signal(self, number: int) -> None:
        for worker in self.alive:
            worker.send(number)

    # Signals

    def _hungUp(self, number: int, frame: object) -> None:
        self.reactor.callFromThread(self.roll)

    def _signalledAgain(self, number: int, frame: object) -> None:
        self.reactor.callFromThread(self._signal, signal.SIGKILL)

    # Workers

    def _start(self, place: Place) -> Worker:
        place.restart = None
        sockets = [each.of(place.number - 1) for each in self._listening]
        report = FIRST_DESCRIPTOR + len(sockets)
        worker = Worker(place, self.reactor.seconds())
        place.starting = worker
        self.alive.add(worker)
        inherited = {key: os.environ[key] for key in os.environ if not _OWN.match(key)}
        null = os.open(os.devnull, os.O_RDONLY)
        descriptors: dict[int, Any] = {0: null, 1: "r", 2: "r", report: "r"}
        for index, each in enumerate(sockets):
            descriptors[FIRST_DESCRIPTOR + index] = each.fileno()
        program = _PROGRAM.format(path=sys.path)
        try:
            self.reactor.spawnProcess(
                worker,
                sys.executable,
                [sys.executable, "-c", program, str(os.getpid()), *self._command],
                env={**inherited, **environment(len(sockets))},
                childFDs=descriptors,
            )
        finally:
            os.close(null)
        return worker

    def workerReady(self, worker: Worker) -> None:
        """
        A worker accepts: let the one before it drain.
        """
        place = worker.place
        worker.readySince = self.reactor.seconds()
        if worker is not place.starting:
            return
        before, place.serving, place.starting = place.serving, worker, None
        self.log.info(
            "worker {number} (process {pid}) serves",
            number=place.number,
            pid=worker.pid,
        )
        if before is not None:
            self._drain(before)
        if not self._hasServed and all(each.serving for each in self._places):
            self._hasServed = True
            where = ", ".join(each.text for each in self._listening)
            self.log.info(
                "iodemo-workers listens on {where}, with {count} workers",
                where=where,
                count=len(self._places),
            )
            self._tellReady()
        worker.becameReady.callback(True)

    def workerDraining(self, worker: Worker) -> None:
        """
        A worker accepts no more.
        """
        worker.isDraining = True
        if self._stopping:
            self._stopFurther()
        elif worker is worker.place.serving:
            self.log.info(
                "worker {number} (process {pid}) drains, but not at SIGHUP: a new one "
                "starts",
                number=worker.place.number,
                pid=worker.pid,
            )
            worker.place.serving = None
            self._kill(worker)
            if worker.place.starting is None:
                self._start(worker.place)

    def _drain(self, worker: Worker) -> None:
        worker.send(signal.SIGTERM)
        self._kill(worker)

    def _kill(self, worker: Worker) -> None:
        """
        Kill a worker, if it has not ended when it should.
        """
        self.reactor.callLater(self._grace + KILLED_AFTER, worker.send, signal.SIGKILL)

    def workerEnded(self, worker: Worker) -> None:
        """
        A worker has ended: start its successor, unless it has one.
        """
        place = worker.place
        self.alive.discard(worker)
        now = self.reactor.seconds()
        was = place.serving is worker, place.starting is worker
        if place.serving is worker:
            place.serving = None
        if place.starting is worker:
            place.starting = None
        line = (
            f"worker {place.number} (process {worker.pid}) {worker.how()} after "
            f"{now - worker.started:.1f} s"
        )
        if self._stopping or not any(was):
            self.log.info("{line}", line=line)
        elif not (self._hasServed or worker.readySince or worker.wasKilled):
            self._fail(
                f"{line}, before it served: {worker.words or 'it printed nothing'}"
            )
        elif place.serving is not None:
            self.log.error(
                "{line}, before it served: the one before it stays", line=line
            )
        else:
            self._succeed(place, worker, line)
        if not worker.becameReady.called:
            worker.becameReady.callback(False)
        if self._stopping:
            self._stopFurther()

    def _succeed(self, place: Place, worker: Worker, line: str) -> None:
        """
        Start the successor of a worker that has died, soon.
        """
        longest = LONGEST_AFTER_KILL if worker.wasKilled else LONGEST_PAUSE
        if worker.readySince is not None and (
            self.reactor.seconds() - worker.readySince >= STEADY
        ):
            place.pause = 0.0
        pause = min(place.pause, longest)
        place.pause = max(FIRST_PAUSE, 2 * pause)
        if place.starting is not None:
            self.log.error("{line}; a new one starts already", line=line)
            return
        self.log.error(
            "{line}; a new one starts {when}",
            line=line,
            when=f"in {pause:g} s" if pause else "now",
        )
        if pause:
            place.restart = self.reactor.callLater(pause, self._start, place)
        else:
            self._start(place)

    def _fail(self, why: str) -> None:
        """
        End everything, with an exit status that is not 0.
        """
        message = f"{_NAME}: {why}"
        self.log.critical("{message}", message=message)
        # twistd has replaced standard error by the log.
        print(message, file=sys.__stderr__)
        atexit.register(_exit)
        self._stopping = True
        self._signal(signal.SIGKILL)
        self.reactor.stop()

    # SIGHUP

    def roll(self) -> None:
        """
        Replace all workers, one after another.
        """
        if self._stopping or not self._hasServed:
            return
        if self._rolling:
            self._rollAgain = True
            return
        self._rolling = True
        ensureDeferred(self._roll()).addErrback(
            lambda failure: self.log.failure("", failure)
        )

    async def _roll(self) -> None:
        self.log.info("SIGHUP: replacing all workers")
        self._tell(*reloading())
        again = True
        while again:
            self._rollAgain = False
            for place in self._places:
                if place.starting is not None:
                    # It was started before the signal.
                    await place.starting.becameReady
                if self._stopping:
                    return
                if place.restart is not None:
                    place.restart.cancel()
                if not await self._start(place).becameReady:
                    break
            again = self._rollAgain
        self._rolling = False
        if not self._stopping:
            self._tellReady()

    # The supervisor

    def _tellReady(self) -> None:
        self._tell("READY=1", f"STATUS={len(self._places)} workers serve")

    def _tell(self, *assignments: str) -> None:
        try:
            notify(*assignments)
        except OSError as error:
            self.log.warn("NOTIFY_SOCKET: {error}", error=error)


def _exit() -> None:
    """
    End the interpreter with status 1: C{twistd} itself would return 0.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(1)


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    reactorName = options.parent.get("reactor") if options.parent else None
    command = ["--nodaemon", "--pidfile=", "--logfile=-"]
    if reactorName:
        command.append(f"--reactor={reactorName}")
    count = len(options["addresses"])
    command += [
        "iodemo-worker",
        f"--sockets={count}",
        f"--report={FIRST_DESCRIPTOR + count}",
        f"--grace={options['grace']}",
        *options["hosted"],
    ]
    return Workers(
        options["addresses"],
        options["processes"],
        options["share"],
        options["grace"],
        command,
    )
