"""
Small programs that are run under the reactor that is tested.

Each is a function that is given the reactor and sets something up. What happens
then is told to the test, a line of JSON a fact: by whatever process or thread it
happens in, so that a model with a process for each connection is asked the same
questions as all others.
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
    Tell the test something.
    """
    # One write, and short: two processes' lines are not mixed.
    os.write(1, json.dumps({"event": event, **details}).encode() + b"\n")


def tellLost(reason: Failure) -> None:
    """
    Tell the test that a connection was lost, and why.
    """
    tell("connectionLost", reason=type(reason.value).__name__)


def listen(reactor: Any, protocol: Callable[[], Any]) -> Any:
    """
    Listen for connections, and tell where.

    @return: the port.
    """
    # At most as many as come at once in any test.
    factory = Factory.forProtocol(protocol)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, backlog=200, interface="127.0.0.1")
    tellListening(reactor, port.getHost().port)
    return port


def tellListening(reactor: Any, port: int) -> None:
    """
    Tell the test where to connect, from the first turn of the reactor: before
    that it cannot be told to stop, and may not have all of its descriptors.
    """
    reactor.callLater(0, tell, "listening", port=port)


def enact(reactor: Any, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """
    Run a script once the reactor runs. If it fails, the reactor ends.
    """

    def fail(failure: Failure) -> None:
        log.err(failure)
        reactor.stop()

    reactor.callWhenRunning(lambda: ensureDeferred(script()).addErrback(fail))


def whenPermitted(reactor: Any, what: str, call: Callable[[], object]) -> None:
    """
    Do something once the test permits it, by a file in the working directory:
    the one thing that reaches any process of any model.
    """
    if Path(what).exists():
        call()
    else:
        reactor.callLater(0.01, whenPermitted, reactor, what, call)
