# -*- test-case-name: tests.test_workers -*-
"""
One worker from the side of its parent: a process, its reports and its end.
"""

from __future__ import annotations

import contextlib
import re
import signal
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from iodemo.process.signals import signalName
from iodemo.workers.worker import DRAINING, READY

if TYPE_CHECKING:
    from iodemo.workers.parent import Place

#: Begins messages.
NAME = "iodemo-workers"

# The time at the beginning of a line that twistd logs.
_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\S+ ")
# A longer line is logged in pieces.
_LONGEST_LINE = 1 << 16
# A worker's last output is read for so many seconds after its end, if another process
# has inherited its standard output.
_OUTPUT_AFTER_END = 1.0


class WorkerProcess(ProcessProtocol):
    """
    One process, from its start to its end.

    @ivar place: where it serves.
    @ivar pid: its process id.
    @ivar readySince: when it became ready; C{None} before.
    @ivar isDraining: whether it accepts no more.
    @ivar words: the last line that it has printed.
    @ivar killing: the delayed call that kills it; C{None} if it may live on.
    @ivar becameReady: fires with whether it became ready, or ended before that.
    """

    transport: IProcessTransport
    log = Logger(NAME)

    def __init__(self, place: Place, started: float) -> None:
        self.place = place
        self.started = started
        self.readySince: float | None = None
        self.isDraining = False
        self._isToDrain = False
        self.words = ""
        self.becameReady: Deferred[bool] = Deferred()
        self._partial: dict[int, bytes] = {}
        self._failure: Failure | None = None
        self._reading: IDelayedCall | None = None
        self.killing: IDelayedCall | None = None

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
        It has ended. Its last output may still be unread.
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
            return f"was killed by {signalName(value.signal)}"
        return f"ended with exit status {value.exitCode}"

    def drain(self) -> None:
        """
        Let it drain, unless it does so already: a second SIGTERM would end it at once.
        """
        if not self._isToDrain and not self.isDraining:
            self._isToDrain = True
            self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        """
        Send it a signal, if it has not ended.
        """
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)
