# -*- test-case-name: tests.test_services -*-
"""
The services that are measured: one file each, with a protocol, its factory,
C{Options} and C{makeService}. Here is what they share: C{--listen}, and how a
mistake is reported.

A service knows no reactor and no backend: it keeps to what
L{twisted.internet.interfaces} promises of any of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

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

# What an endpoint's parser says where something is left out is of its own code.
_LEFT_OUT = re.compile(r"missing \d+ required positional arguments?: (.+)")


class IStreamTransport(ITransport, IConsumer, IPushProducer):
    """
    What a connection of any kind (TCP, UNIX, TLS) is to a protocol. Twisted has
    the three interfaces and no name for their sum, which the type checker needs.
    """

    def abortConnection() -> None:
        """
        Close at once, without sending what is still to be sent.
        """


class CannotListen(SystemExit, Exception):
    """
    A service could not have one of its ports.

    C{twistd} takes an L{Exception} from a service that starts for a failure to
    start: it removes its pid file, tells the process that waits for the daemon,
    and lets the exception go on. The interpreter then takes a L{SystemExit} for
    what it is: the message on standard error, no traceback, exit status 1. So
    this is both.
    """


class Options(usage.Options):
    """
    The options of every service.

    @cvar command: the service's name as a C{twistd} subcommand.
    @cvar example: options that make sense together.
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

        @raise SystemExit: with one line to print, if it is not a good one.
            C{twistd} answers a L{usage.UsageError} with the whole of its usage,
            in which nobody finds the line that says what is wrong.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise SystemExit(
                f"{self.command}: {_oneLine(error)} (see twistd {self.command} --help)"
            ) from None

    def getUsage(self, width: int | None = None) -> str:
        """
        Describe the options, with an example on a line that can be copied.
        """
        usage = super().getUsage(width)
        return f"{usage}\nFor example:\n  twistd -n {self.command} {self.example}\n"

    def postOptions(self) -> None:
        """
        Look at the options together, once all are there.
        """
        if not self["listen"]:
            raise usage.UsageError(f"no --listen: for example, {EXAMPLE}")


def wholeNumber(option: str, most: int) -> Callable[[str], int]:
    """
    Make the function that reads the value of one option, a number from 1 on.

    @param most: the largest number that makes sense.
    """

    def parse(text: str) -> int:
        # ValueError is not for us: Options would not name the option then.
        digits = text.isascii() and text.isdigit() and len(text) <= 20
        if digits and 1 <= int(text) <= most:
            return int(text)
        raise usage.UsageError(
            f"--{option} is a whole number from 1 to {most}, not {text!r}"
        )

    return parse


class ListeningService(MultiService):
    """
    Every port of one service, opened while C{twistd} still has the privileges it
    was started with. To stop is to listen no more: the connections there are get
    closed by the reactor as it shuts down.

    @ivar command: the name under which mistakes are reported.
    @ivar endpoints: what the ports are, in the user's words.
    """

    log = Logger()

    def __init__(self, command: str, endpoints: list[str]) -> None:
        super().__init__()
        self.command = command
        self.endpoints = endpoints

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise CannotListen: if a port cannot be had: in use, not permitted.
        """
        for endpoint, port in zip(self.endpoints, self, strict=True):
            try:
                port.privilegedStartService()
            # An endpoint type may come from anywhere and fail in any way.
            except Exception as error:
                why = (
                    error.socketError if isinstance(error, CannotListenError) else error
                )
                message = (
                    f"{self.command}: cannot listen: {_oneLine(why)} ({endpoint!r})"
                )
                # In the log for a daemon, whose standard error is closed by now;
                # and on standard error, which twistd has made a part of the log.
                self.log.critical("{message}", message=message)
                sys.stderr = sys.__stderr__
                raise CannotListen(message) from None

    def startService(self) -> None:
        """
        Say so, once it is so. Twisted's own line for a port comes before clients
        can connect, and before the reactor takes signals.
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
    Make the service that has a factory listen where the options say.

    @raise SystemExit: with one line to print, if an endpoint makes no sense.
    """
    service = ListeningService(options.command, options["listen"])
    for endpoint in options["listen"]:
        try:
            port = strports.service(endpoint, factory)
        # Parsers are plugins and raise what they like, on bad certificates too.
        except Exception as error:
            raise SystemExit(
                f"{options.command}: cannot use --listen {endpoint!r}: "
                f"{_endpointSaid(error)} (for example, {EXAMPLE})"
            ) from None
        port.setServiceParent(service)
    return service


def noDelay(transport: ITransport) -> None:
    """
    Have small writes sent at once, where the connection is TCP.

    What is measured here is round trips, and Nagle's algorithm would add the
    peer's delayed acknowledgement to them.
    """
    # Twisted's UNIX transports inherit ITCPTransport, which does not suit them.
    if ITCPTransport.providedBy(transport) and not IUNIXTransport.providedBy(transport):
        transport.setTcpNoDelay(True)


def renewProducer(transport: IStreamTransport, producer: IPushProducer) -> None:
    """
    Register a producer again, as each does that is told to resume.

    When a peer closes TLS, Twisted drops what is written from then on, and waits
    for the producer to finish before it closes the connection. But it does not
    tell the producer, and one that is paused at that moment is resumed and never
    stopped: the connection stays for good, and a producer with no end spins. To
    unregister is to finish; to register with a TLS that is over is to be stopped.
    """
    transport.unregisterProducer()
    transport.registerProducer(producer, True)


def _endpointSaid(error: Exception) -> str:
    said = _oneLine(error)
    missing = _LEFT_OUT.search(said)
    return said if missing is None else f"something is left out: {missing[1]}"


def _oneLine(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
