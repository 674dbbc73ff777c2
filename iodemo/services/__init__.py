# -*- test-case-name: tests.test_services -*-
"""
The measured services: one file each, with a protocol, its factory, C{Options} and
C{makeService}. This module has the parts that they share: the option C{--listen}, and
the way in which errors are reported.

A service depends on no particular reactor: it uses only the interfaces of
C{twisted.internet.interfaces}.

Glossary:

  - I{room}, I{member}: in C{iodemo-chat}, all connected clients, and one of them.
  - I{chunk}: in C{iodemo-stream}, the bytes that are written at a time.
  - I{turn}: the chunks that one connection writes before the reactor serves the others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.util import find_spec

from twisted.application import strports
from twisted.application.service import MultiService
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IConsumer,
    IProtocolFactory,
    IPushProducer,
    IReactorCore,
    ITCPTransport,
    ITransport,
    IUNIXTransport,
)
from twisted.logger import Logger
from twisted.python import usage

EXAMPLE = "--listen tcp:8007:interface=127.0.0.1"

# An endpoint's parser raises this TypeError if a part of the endpoint is missing.
_LEFT_OUT = re.compile(r"missing \d+ required positional arguments?: (.+)")


class IStreamTransport(ITransport, IConsumer, IPushProducer):
    """
    The transport of a connection of any kind (TCP, UNIX, TLS), as a protocol uses it.
    Twisted has the three interfaces but no name for their sum, which the type checker
    needs.
    """

    def abortConnection() -> None:
        """
        Close at once, without sending the data that is not sent yet.
        """


class CannotListen(SystemExit, Exception):
    """
    A service could not listen on one of its ports.

    This is both an C{Exception} and a C{SystemExit}. C{twistd} treats an C{Exception}
    from a starting service as a failed start: it removes its pid file, notifies the
    process that waits for the daemon, and lets the exception propagate. The interpreter
    then treats a C{SystemExit} as usual: it prints the message on standard error, no
    traceback, and exits with status 1.
    """


class Options(usage.Options):
    """
    The options of every service.

    @cvar command: the service's name as a C{twistd} subcommand.
    @cvar example: options for an example in the usage message.
    """

    command = "iodemo"
    example = EXAMPLE
    synopsis = "--listen ENDPOINT [options]"

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """
        Twisted endpoint to listen on: tcp:, ssl:, unix:, systemd:... Repeatable.
        """
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def parseOptions(self, options: list[str] | None = None) -> None:
        """
        Parse the command line.

        @raise SystemExit: with one line to print, if the command line has an error.
            (For a C{usage.UsageError}, C{twistd} prints its whole usage message, in
            which the line with the error is hard to find.)
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(
                f"{self.command}: {_oneLine(error)} (see twistd {self.command} --help)"
            ) from None

    def getUsage(self, width: int | None = None) -> str:
        """
        Describe the options, followed by an example on a line of its own.
        """
        usage = super().getUsage(width)
        return f"{usage}\nFor example:\n  twistd -n {self.command} {self.example}\n"

    def postOptions(self) -> None:
        """
        Check the options together, after all of them are parsed.
        """
        if not self["listen"]:
            raise usage.UsageError(f"no --listen: for example, {EXAMPLE}")


def wholeNumber(option: str, most: int) -> Callable[[str], int]:
    """
    Make the function that parses the value of one option, a whole number.

    @param option: its name, for the error message.
    @param most: the largest number that is accepted; the smallest is 1.
    """

    def parse(text: str) -> int:
        # Not by ValueError: usage.Options would then not name the option.
        digits = text.isascii() and text.isdigit() and len(text) <= 20
        if digits and 1 <= int(text) <= most:
            return int(text)
        raise usage.UsageError(
            f"--{option} is a whole number from 1 to {most}, not {text!r}"
        )

    return parse


class ListeningService(MultiService):
    """
    The ports of one service. They are opened while C{twistd} still has the privileges
    with which it was started. When the service stops, it stops to listen; the reactor
    closes the connections when it shuts down.

    @ivar command: the name that begins error messages.
    @ivar endpoints: the ports, as the user wrote them.
    """

    log = Logger()

    def __init__(self, command: str, endpoints: list[str]) -> None:
        super().__init__()
        self.command = command
        self.endpoints = endpoints

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise CannotListen: if a port cannot be opened: in use, or not permitted.
        """
        for endpoint, port in zip(self.endpoints, self, strict=True):
            try:
                port.privilegedStartService()
            # Endpoint types are plugins, and may raise any exception.
            except Exception as error:
                why = (
                    error.socketError if isinstance(error, CannotListenError) else error
                )
                message = (
                    f"{self.command}: cannot listen: {_oneLine(why)} ({endpoint!r})"
                )
                # A daemon's standard error is closed by now, so log the message. Also
                # print it on the original standard error, which twistd has replaced by
                # the log.
                self.log.critical("{message}", message=message)
                sys.stderr = sys.__stderr__
                raise CannotListen(message) from None

    def startService(self) -> None:
        """
        Log that the service listens, as soon as the reactor runs. Twisted logs a line
        of its own for a port, but before the reactor serves clients and handles
        signals.
        """
        super().startService()
        from twisted.internet import reactor

        IReactorCore(reactor).callWhenRunning(
            self.log.info,
            "{command} listens on {endpoints}",
            command=self.command,
            endpoints=", ".join(self.endpoints),
        )


def listeningService(options: Options, factory: IProtocolFactory) -> ListeningService:
    """
    Make the service that listens with a factory on the endpoints of the options.

    @raise SystemExit: with one line to print, if an endpoint cannot be parsed.
    """
    service = ListeningService(options.command, options["listen"])
    for endpoint in options["listen"]:
        try:
            port = strports.service(endpoint, factory)
        # Parsers are plugins and may raise any exception, also on bad certificates.
        except Exception as error:
            raise SystemExit(
                f"{options.command}: cannot use --listen {endpoint!r}: "
                f"{_endpointSaid(endpoint, error)} (for example, {EXAMPLE})"
            ) from None
        port.setServiceParent(service)
    return service


def noDelay(transport: ITransport) -> None:
    """
    Set TCP_NODELAY, if the connection is TCP, so that small writes are sent at once.

    Round trips are measured, and Nagle's algorithm would add the peer's delayed
    acknowledgement to them.
    """
    # Twisted's UNIX transports declare ITCPTransport by inheritance, but have no
    # TCP_NODELAY.
    if ITCPTransport.providedBy(transport) and not IUNIXTransport.providedBy(transport):
        transport.setTcpNoDelay(True)


def renewProducer(transport: IStreamTransport, producer: IPushProducer) -> None:
    """
    Unregister a producer and register it again. Each producer here does that in
    C{resumeProducing}.

    When a peer closes TLS, Twisted drops all data that is written afterwards, and waits
    for the producer to finish before it closes the connection. But it does not notify
    the producer: a producer that is paused at that moment is resumed, and never
    stopped. The connection then stays open for good, and an endless producer spins. To
    unregister counts as finishing; and when a producer is registered with a TLS
    transport that has ended, Twisted calls its C{stopProducing}.
    """
    transport.unregisterProducer()
    transport.registerProducer(producer, True)


def _endpointSaid(endpoint: str, error: Exception) -> str:
    # Of the errors of Twisted's parsers one is a NameError.
    if endpoint.startswith(("ssl:", "tls:")) and find_spec("OpenSSL") is None:
        return "TLS needs pyOpenSSL: pip install 'twisted[tls]'"
    message = _oneLine(error)
    missing = _LEFT_OUT.search(message)
    return message if missing is None else f"something is left out: {missing[1]}"


def _oneLine(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
