# -*- test-case-name: tests.test_fork -*-
"""
One log for a process and its children.

Facts. A forked process inherits its parent's log observers. With them it has the
parent's log file, and a copy of what the parent knows of the file's size and name. If
each process rotated the file, one would rename it while another writes; if only the
parent does, a child keeps writing to the old file.

Decision. Only the parent has a log. A child sends each event to the parent as one
record of a SOCK_SEQPACKET socket, which keeps records apart however many processes
write to it. The child formats the event, as most values in an event cannot be sent to
another process. A failure is sent as an object if it can be pickled, so that observers
can examine it; otherwise as text.

Costs. A child that logs faster than its parent reads is blocked until the parent has
read.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
    globalLogPublisher,
)
from twisted.python import log
from zope.interface import implementer

#: Bytes of the largest record. The kernel accepts some 200 KiB.
_LARGEST = 1 << 17
#: Characters of the longest text that is sent whole. A character takes up to four
#: bytes.
_LONGEST = _LARGEST // 8
#: Records that are read in one call of doRead, so that other readers are served too.
_RECORDS = 1000

_PLAIN = ("log_namespace", "log_system", "log_time", "isError", "system", "time")


@implementer(IReadDescriptor)
class SharedLog:
    """
    The parent's end: reads the events that children have logged.
    """

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        self._reading.setblocking(False)

    def fileno(self) -> int:
        """See C{IReadDescriptor.fileno}."""
        return self._reading.fileno()

    def logPrefix(self) -> str:
        """See C{twisted.internet.interfaces.ILoggingContext.logPrefix}."""
        return "children"

    def doRead(self) -> None:
        """
        Log the events that children have sent.
        """
        with contextlib.suppress(BlockingIOError):
            for _ in range(_RECORDS):
                globalLogPublisher(_unpacked(self._reading.recv(_LARGEST)))

    def connectionLost(self, reason: object) -> None:
        """
        Close both ends.
        """
        self._reading.close()
        self._writing.close()

    def leaveToParent(self) -> None:
        """
        In a child: send events to the parent from now on, and log none here.
        """
        self._reading.close()
        # A thread of the parent may have held this lock; it does not exist in the child
        # and cannot release it.
        vars(log.theLogPublisher).pop("_threadable_lock", None)
        # There is no public way to remove observers that others have added.
        globalLogPublisher._observers[:] = [_ParentObserver(self._writing)]


@implementer(ILogObserver)
class _ParentObserver:
    """
    A child's only observer: sends each event to the parent.
    """

    def __init__(self, writing: socket.socket) -> None:
        self._writing = writing

    def __call__(self, event: LogEvent) -> None:
        # If the parent has ended, the kernel ends this process too.
        with contextlib.suppress(ConnectionError):
            self._writing.send(_packed(event))


def _packed(event: LogEvent) -> bytes:
    facts: dict[str, Any] = {
        key: value if isinstance(value, (int, float)) else str(value)
        for key, value in event.items()
        if key in _PLAIN
    }
    facts["log_level"] = getattr(event.get("log_level"), "name", "info")
    facts["log_text"] = _shortened(formatEvent(event))
    whole = _shortened(eventAsText(event, includeTimestamp=False, includeSystem=False))
    for key in ("log_failure", "failure"):
        if key in event:
            # Pickling calls methods of the exception, which may raise anything.
            with contextlib.suppress(Exception):
                failure = pickle.dumps(event[key])
                record = pickle.dumps((facts, whole, key, failure))
                if len(record) <= _LARGEST:
                    return record
    facts["log_text"] = whole
    return pickle.dumps((facts, "", "", b""))


def _shortened(text: str) -> str:
    """
    The beginning and the end of a text that is too long: the last lines of a traceback
    name the error.
    """
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} [...] {text[-half:]}"


def _unpacked(record: bytes) -> LogEvent:
    event, whole, key, failure = pickle.loads(record)
    event["log_level"] = LogLevel.levelWithName(event["log_level"])
    event["log_format"] = "{log_text}"
    if key:
        try:
            event[key] = pickle.loads(failure)
        except Exception:
            # The parent cannot import the exception's class.
            event["log_text"] = whole
    return dict(event)
