"""
Small programs that run under the reactor to be tested.

Each is a function that gets the reactor and sets something up. It reports events to the
test by L{tell}, one line of JSON each, from any process or thread. So a model with a
process for each connection is tested in the same way as all others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Factory
from twisted.python import log
from twisted.python.failure import Failure


def tell(event: str, **details: Any) -> None:
    """
    Report an event to the test.
    """
    # A short text in one write: the lines of two processes are never mixed.
    os.write(1, json.dumps({"event": event, **details}).encode() + b"\n")


def tellLost(reason: Failure) -> None:
    """
    Report that a connection was lost, and the reason.
    """
    tell("connectionLost", reason=type(reason.value).__name__)


def listen(reactor: Any, protocol: Callable[[], Any]) -> Any:
    """
    Listen for connections, and report the port.

    @return: the port.
    """
    # At least the number of clients that connect at once in any test.
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, backlog=200, interface="127.0.0.1")
    tellListening(reactor, port.getHost().port)
    return port


def tellListening(reactor: Any, port: int) -> None:
    """
    Report the port to the test in the first turn of the reactor: before that the
    process would not handle SIGTERM, and may not have opened all its descriptors.
    """
    reactor.callLater(0, tell, "listening", port=port)


def enact(reactor: Any, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """
    Run a coroutine when the reactor runs. If it fails, the reactor is stopped.
    """

    def fail(failure: Failure) -> None:
        log.err(failure)
        reactor.stop()

    reactor.callWhenRunning(lambda: ensureDeferred(script()).addErrback(fail))


def whenPermitted(reactor: Any, what: str, call: Callable[[], object]) -> None:
    """
    Call a function when the test permits it, by a file in the working directory: every
    process of every model can see that.
    """
    if Path(what).exists():
        call()
    else:
        reactor.callLater(0.01, whenPermitted, reactor, what, call)
