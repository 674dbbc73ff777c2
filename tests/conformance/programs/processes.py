"""
Servers for a reactor with a process for each connection.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import (
    ClientFactory,
    DatagramProtocol,
    Factory,
    ProcessProtocol,
    Protocol,
)
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutput
from twisted.logger import ILogObserver, Logger, formatEvent, globalLogPublisher
from twisted.python import log
from zope.interface import implementer

from iodemo.reactors import fork

from . import listen, tell
from .closing import Telling


def parent(reactor: Any) -> None:
    """
    Serve L{Later}, with a timer, a reader, a trigger, a signal handler and a thread of
    this process; report it if one of them runs in another process.
    """
    pid = os.getpid()

    def check(what: str) -> None:
        if os.getpid() != pid:
            tell("stray", what=what)

    def tick() -> None:
        check("timer")
        reactor.callLater(0.01, tick)

    class Datagrams(DatagramProtocol):
        transport: Any

        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            check("reader")
            self.transport.write(datagram, addr)

    def handle(*_: object) -> None:
        check("signal handler")

    signal.signal(signal.SIGUSR1, handle)
    for phase in ("before", "during", "after"):
        reactor.addSystemEventTrigger(phase, "shutdown", check, phase)
    udp = reactor.listenUDP(0, Datagrams(), interface="127.0.0.1")
    reactor.callWhenRunning(tick)
    reactor.callWhenRunning(deferToThread, check, "thread")
    reactor.callWhenRunning(tell, "datagrams", port=udp.getHost().port)
    listen(reactor, lambda: Later(reactor))


class Later(Telling):
    """
    Sends back what it receives, after a delay.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back when all of the parent's timers are due.
        """
        self.reactor.callLater(0.05, self.transport.write, data)


class Able(Protocol):
    """
    Answers a question, by means of some part of the reactor.
    """

    transport: Any

    def __init__(self, reactor: Any, port: int) -> None:
        self.answers: dict[bytes, Callable[[], Deferred[bytes]]] = {
            b"thread": lambda: deferToThread(_work, b"thread"),
            b"process": self.spawn,
            b"output": lambda: getProcessOutput(
                sys.executable, ("-Sc", "print(end='output')"), reactor=reactor
            ),
            b"outgoing": self.askElsewhere,
            b"listening": self.askHere,
            b"name": self.resolve,
            b"call": self.callBack,
        }
        self.reactor = reactor
        self.port = port

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        answer = self.answers.get(data)
        if answer is None:
            self.transport.write(data)
        else:
            answer().addCallbacks(self.transport.write, log.err)

    def spawn(self) -> Deferred[bytes]:
        """
        Answer when a child process has ended, without any other output.
        """
        answer: Deferred[bytes] = Deferred()
        waiting = Waiting(answer)
        command = (sys.executable, "-Sc", "")
        self.reactor.spawnProcess(waiting, sys.executable, command, childFDs={})
        return answer

    def askElsewhere(self, port: int | None = None) -> Deferred[bytes]:
        """
        Get the answer from a server in another process.
        """
        answer: Deferred[bytes] = Deferred()
        factory = ClientFactory.forProtocol(lambda: Asking(answer))
        factory.noisy = False
        self.reactor.connectTCP("127.0.0.1", port or self.port, factory)
        return answer

    def askHere(self) -> Deferred[bytes]:
        """
        Get the answer from a server in this process.
        """
        factory = Factory.forProtocol(lambda: Saying(os.getpid()))
        factory.noisy = False
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        return self.askElsewhere(port.getHost().port)

    def resolve(self) -> Deferred[bytes]:
        """
        Resolve a name, which is done in a thread.
        """
        address: Deferred[str] = self.reactor.resolve("localhost")
        return address.addCallback(lambda text: b"name" if text else b"")

    def callBack(self) -> Deferred[bytes]:
        """
        Get the answer by callFromThread, from this thread.
        """
        answer: Deferred[bytes] = Deferred()
        self.reactor.callLater(0, self.reactor.callFromThread, answer.callback, b"call")
        return answer


def _work(result: bytes) -> bytes:
    """
    Sleep a while, so that the reactor has nothing else to do.
    """
    threading.Event().wait(0.05)
    return result


class Waiting(ProcessProtocol):
    """
    Waits for a process to end.
    """

    def __init__(self, answer: Deferred[bytes]) -> None:
        self.answer = answer

    def processEnded(self, reason: object) -> None:
        """
        Answer.
        """
        self.answer.callback(b"process")


class Asking(Protocol):
    """
    Receives an answer.
    """

    def __init__(self, answer: Deferred[bytes]) -> None:
        self.answer = answer

    def dataReceived(self, data: bytes) -> None:
        """
        Pass it on.
        """
        assert self.transport is not None
        self.transport.loseConnection()
        self.answer.callback(data)


class Saying(Protocol):
    """
    Sends a text as soon as it is connected.
    """

    def __init__(self, pid: int) -> None:
        self.here = os.getpid() == pid

    def connectionMade(self) -> None:
        """
        Send it.
        """
        assert self.transport is not None
        self.transport.write(b"listening" if self.here else b"elsewhere")


def able(reactor: Any, port: int) -> None:
    """
    Serve L{Able}.

    @param port: the port of a server that sends C{outgoing}.
    """
    listen(reactor, lambda: Able(reactor, port))


class Rude(Telling):
    """
    Does to its process whatever it receives.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def dataReceived(self, data: bytes) -> None:
        """
        Do it.
        """
        if data == b"exit":
            os._exit(3)
        elif data == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif data == b"stop":
            self.reactor.stop()
        elif data == b"hang":
            tell("hanging")
            threading.Event().wait()
        else:
            self.transport.write(data)


def rude(reactor: Any, grace: float = fork.GRACE) -> None:
    """
    Serve L{Rude}.
    """
    fork.GRACE = grace
    listen(reactor, lambda: Rude(reactor))


class Closing(Protocol):
    """
    Stops listening, and sends back what it receives.

    @cvar port: the port on which it listens.
    """

    transport: Any
    port: IListeningPort

    def connectionMade(self) -> None:
        """
        Stop listening.
        """
        self.port.stopListening()

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


def closing(reactor: Any, path: str) -> None:
    """
    Serve L{Closing} on a UNIX socket.
    """
    Closing.port = reactor.listenUNIX(path, Factory.forProtocol(Closing))
    reactor.callLater(0, tell, "listening")


class UnpicklableError(Exception):
    """
    An error that cannot be sent to another process.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, lambda: text)


class Logging(Protocol):
    """
    Logs what it receives, in every way.
    """

    transport: Any
    log = Logger()

    def connectionMade(self) -> None:
        """
        Log a text.
        """
        log.msg("made")

    def dataReceived(self, data: bytes) -> None:
        """
        Log it, and send it back.
        """
        text = data.decode()
        log.msg(f"old {text}")
        self.log.info("new {text}", text=text, something=object())
        for kind in (ZeroDivisionError, UnpicklableError):
            try:
                raise kind(text)
            except Exception:
                log.err(None, f"old failure {text}")
                self.log.failure("new failure {text}", text=text)
        self.log.info("long {text}", text=text * 1_000_000)
        self.transport.write(data)


def logging(reactor: Any) -> None:
    """
    Serve L{Logging}, and report each logged event and its process, while a thread logs
    too.
    """

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        if "chatter" in event:
            return
        failure = event.get("log_failure") or event.get("failure")
        tell(
            "logged",
            pid=os.getpid(),
            text=(formatEvent(event) or "")[:1000],
            failure=None if failure is None else failure.type.__name__,
        )

    over = threading.Event()

    def chatter() -> None:
        while not over.is_set():
            log.msg("chatter", chatter=True)

    globalLogPublisher.addObserver(observe)
    reactor.addSystemEventTrigger("during", "shutdown", over.set)
    reactor.callWhenRunning(threading.Thread(target=chatter).start)
    listen(reactor, Logging)


class Printing(Protocol):
    """
    Prints a text when it is connected.
    """

    transport: Any

    def connectionMade(self) -> None:
        """
        Print it.
        """
        _print()

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


def printing(reactor: Any) -> None:
    """
    Serve L{Printing}, and print too.
    """
    _print()
    listen(reactor, Printing)


def _print() -> None:
    """
    Print the process id, through the buffer of standard output.
    """
    print(json.dumps({"event": "printed", "pid": os.getpid()}))
