# -*- test-case-name: tests.test_fork -*-
"""
One log for a process and its children.

Facts. A process that was forked has its parent's log observers, and with them
the parent's file, and the parent's idea of its size and of its name. If each
process rotated it, files would be renamed under each other's hands; if only the
parent does, a child goes on writing to a file that is an old one.

Decision. Only the parent has a log. What a child logs goes to the parent, an
event a record, by a socket that keeps records apart however many write to it.
It is formatted where it was logged, since most of what is in an event can leave
no process. A failure goes along as an object if it can be pickled, so that
observers that look at it do so; else it is text as well.

Costs. A child that logs more than its parent reads waits for it.
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

#: Bytes of a record. The kernel takes some 200 KiB.
_LARGEST = 1 << 17
#: How many characters of a text are kept if that is too large. Four bytes each.
_LONGEST = _LARGEST // 8
#: How many records are read before others have their turn.
_RECORDS = 1000

_PLAIN = ("log_namespace", "log_system", "log_time", "isError", "system", "time")


@implementer(IReadDescriptor)
class SharedLog:
    """
    What children log, as the parent reads it.
    """

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        self._reading.setblocking(False)

    def fileno(self) -> int:
        """See L{IReadDescriptor.fileno}."""
        return self._reading.fileno()

    def logPrefix(self) -> str:
        """See L{twisted.internet.interfaces.ILoggingContext.logPrefix}."""
        return "children"

    def doRead(self) -> None:
        """
        Log what children have logged.
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
        In a child: log nothing any more, and tell the parent instead.
        """
        self._reading.close()
        # A thread may have had it, which is not here to give it back.
        vars(log.theLogPublisher).pop("_threadable_lock", None)
        # There is no public way to be rid of observers that one has not added.
        globalLogPublisher._observers[:] = [_Teller(self._writing)]


@implementer(ILogObserver)
class _Teller:
    """
    A child's only observer.
    """

    def __init__(self, writing: socket.socket) -> None:
        self._writing = writing

    def __call__(self, event: LogEvent) -> None:
        # If the parent is no more, this process will not be for long.
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
            # Whatever an exception's own methods raise.
            with contextlib.suppress(Exception):
                failure = pickle.dumps(event[key])
                record = pickle.dumps((facts, whole, key, failure))
                if len(record) <= _LARGEST:
                    return record
    facts["log_text"] = whole
    return pickle.dumps((facts, "", "", b""))


def _shortened(text: str) -> str:
    """
    What is bearable of a text. A traceback says at its end what went wrong.
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
            # Its class is not to be found here.
            event["log_text"] = whole
    return dict(event)
