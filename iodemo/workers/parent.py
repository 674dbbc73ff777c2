# -*- test-case-name: tests.test_workers -*-
"""
The parent of the workers: it starts, replaces and ends them.

Facts. Those about listening sockets are in L{iodemo.process.listening}. A worker that
has become ready accepts from the same queue as the one before it, so between the two no
connection is refused or reset. When a worker dies, the kernel resets the connections
that it had accepted, and keeps those in the queue. When a terminal is closed, the
kernel sends SIGHUP, too.

Decision. The parent opens the sockets and serves nothing. A new worker is ready before
the old one in its place drains. SIGTERM and SIGINT end everything: the workers drain,
and when none of them accepts any more, the sockets stop listening. SIGHUP rolls. A
worker that drains although the parent did not begin it, as after a SIGTERM from
elsewhere, has a successor at once; so has one that dies, unless workers of that place
have just died before: then the successor starts after a pause, which doubles until a
worker has been ready for L{STEADY} seconds. If, while the workers start for the first
time, one ends before it is ready, everything ends, because the next one would do the
same.

The lines that workers print are logged here, with the number of their place.

Costs. The parent logs a line for each of a worker's, so a plugin that logs each request
makes it work, and a worker waits if the parent does not keep up. If the parent is
killed by SIGKILL, the kernel kills the workers.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorCore,
    IReactorFromThreads,
    IReactorProcess,
    IReactorTime,
)
from twisted.logger import Logger

from iodemo.process.listening import (
    FIRST_DESCRIPTOR,
    Address,
    Listening,
    environment,
    opened,
)
from iodemo.services import CannotListen
from iodemo.workers.notify import notify, reloading
from iodemo.workers.process import NAME, WorkerProcess

#: Seconds that a worker has to be ready for, so that its successor starts at once.
STEADY = 1.0
#: Seconds before a successor starts: the shortest pause, which doubles, and the
#: longest. SIGKILL comes from outside, so a successor may well live longer.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LONGEST_AFTER_KILL = 0.4
#: Seconds that a worker has to end in, beyond the grace, before it is killed.
KILLED_AFTER = 10.0

# Of the environment, the variables that concern this process alone.
_OWN = frozenset(
    (
        *("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"),
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "MAINPID"),
    )
)

# The plugin directory of the user is found like this process's own.
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; sys.argv[0] = 'twistd'; "
    "from iodemo.workers.starting import run; run()"
)


class _Reactor(IReactorCore, IReactorFromThreads, IReactorProcess, IReactorTime):
    """The interfaces that are used here."""


class Place:
    """
    @ivar number: from 1.
    @ivar serving: the worker that accepts here; C{None} while there is none.
    @ivar starting: the one that is to follow it; C{None} if there is none.
    @ivar pause: seconds before the successor starts, if a worker ends too soon.
    @ivar restart: the delayed call that starts a successor; C{None} if none is due.
    """

    def __init__(self, workers: Workers, number: int) -> None:
        self.workers = workers
        self.number = number
        self.serving: WorkerProcess | None = None
        self.starting: WorkerProcess | None = None
        self.pause = 0.0
        self.restart: IDelayedCall | None = None


class Workers(Service):
    """
    The parent of all workers.

    @ivar alive: the workers that have not ended.
    """

    log = Logger(NAME)

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
        self.alive: set[WorkerProcess] = set()
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
                    f"{NAME}: cannot listen: {error.strerror or error} "
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
        # With nohup(1) the workers outlive the terminal.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._endsWithTerminal = _hasTerminal() and not ignored
        self._outlivesTerminal = _hasTerminal() and ignored
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
        for worker in self.alive:
            worker.drain()
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
        self.reactor.callFromThread(self._hangUp)

    def _hangUp(self) -> None:
        if self._stopping:
            return
        if self._outlivesTerminal and not _hasTerminal():
            # The kernel sent this one. The next comes from somebody.
            self._outlivesTerminal = False
        elif self._endsWithTerminal and not _hasTerminal():
            self.log.info("the terminal was closed")
            self.reactor.stop()
        else:
            self.roll()

    def _signalledAgain(self, number: int, frame: object) -> None:
        self.reactor.callFromThread(self._signal, signal.SIGKILL)

    # Workers

    def _start(self, place: Place) -> WorkerProcess:
        place.restart = None
        sockets = [each.of(place.number - 1) for each in self._listening]
        report = FIRST_DESCRIPTOR + len(sockets)
        worker = WorkerProcess(place, self.reactor.seconds())
        place.starting = worker
        self.alive.add(worker)
        inherited = {key: os.environ[key] for key in os.environ if key not in _OWN}
        program = _PROGRAM.format(path=sys.path)
        try:
            # This may fail: no free descriptor, or no memory for fork(2).
            with open(os.devnull, "rb") as null:
                descriptors: dict[int, Any] = {1: "r", 2: "r", report: "r"}
                descriptors[0] = null.fileno()
                for index, each in enumerate(sockets):
                    descriptors[FIRST_DESCRIPTOR + index] = each.fileno()
                self.reactor.spawnProcess(
                    worker,
                    sys.executable,
                    [sys.executable, "-c", program, str(os.getpid()), *self._command],
                    env={**inherited, **environment(len(sockets))},
                    childFDs=descriptors,
                )
        except OSError as error:
            self._startFailed(worker, error)
        return worker

    def _startFailed(self, worker: WorkerProcess, error: OSError) -> None:
        place = worker.place
        self.alive.discard(worker)
        place.starting = None
        line = f"worker {place.number} cannot be started: {error}"
        if not self._hasServed:
            self._fail(line)
        else:
            self.log.error(
                "{line}; next attempt in {pause:g} s", line=line, pause=LONGEST_PAUSE
            )
            place.restart = self.reactor.callLater(LONGEST_PAUSE, self._start, place)
        worker.becameReady.callback(False)

    def workerReady(self, worker: WorkerProcess) -> None:
        """
        A worker accepts: let the one before it drain.
        """
        place = worker.place
        worker.readySince = self.reactor.seconds()
        if self._stopping or worker is not place.starting:
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
                "iodemo-workers listens on {where}; workers: {count}",
                where=where,
                count=len(self._places),
            )
            self._tellReady()
        worker.becameReady.callback(True)

    def workerDraining(self, worker: WorkerProcess) -> None:
        """
        A worker accepts no more.
        """
        worker.isDraining = True
        self.log.info(
            "worker {number} (process {pid}) drains",
            number=worker.place.number,
            pid=worker.pid,
        )
        if self._stopping:
            self._stopFurther()
        elif worker is worker.place.serving:
            worker.place.serving = None
            self._kill(worker)
            if worker.place.starting is None:
                self._start(worker.place)

    def _drain(self, worker: WorkerProcess) -> None:
        worker.drain()
        self._kill(worker)

    def _kill(self, worker: WorkerProcess) -> None:
        """
        Kill a worker, if it has not ended when it should.
        """
        worker.killing = self.reactor.callLater(
            self._grace + KILLED_AFTER, worker.send, signal.SIGKILL
        )

    def workerEnded(self, worker: WorkerProcess) -> None:
        """
        A worker has ended: start its successor, unless it has one.
        """
        place = worker.place
        self.alive.discard(worker)
        if worker.killing is not None and worker.killing.active():
            worker.killing.cancel()
        hadLeft = worker not in (place.serving, place.starting)
        if place.serving is worker:
            place.serving = None
        if place.starting is worker:
            place.starting = None
        line = (
            f"worker {place.number} (process {worker.pid}) {worker.how()} after "
            f"{self.reactor.seconds() - worker.started:.1f} s"
        )
        if self._stopping or hadLeft:
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

    def _succeed(self, place: Place, worker: WorkerProcess, line: str) -> None:
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
        if self._stopping:
            return
        message = f"{NAME}: {why}"
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
        self.log.info("SIGHUP: replacing all workers")
        self._tell(*reloading())
        if self._rolling:
            self._rollAgain = True
            return
        self._rolling = True
        ensureDeferred(self._roll()).addErrback(
            lambda failure: self.log.failure("SIGHUP", failure)
        )

    async def _roll(self) -> None:
        again = True
        while again:
            self._rollAgain = False
            for place in self._places:
                while place.starting is not None and not self._stopping:
                    # It was started before the signal. If it ends, the next one may
                    # have been started by now.
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


def _hasTerminal() -> bool:
    """
    Whether this process has a controlling terminal.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def _exit() -> None:
    """
    End the interpreter with status 1: C{twistd} itself would return 0.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(1)
