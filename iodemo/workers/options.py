# -*- test-case-name: tests.test_workers -*-
"""
The plugin C{iodemo-workers}: its options and its service.
"""

from __future__ import annotations

import math

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import getPlugins
from twisted.python import usage

from iodemo.process import cores
from iodemo.process.listening import (
    FIRST_DESCRIPTOR,
    BadEndpoint,
    endpoint,
    parsed,
)
from iodemo.services import Options as BaseOptions
from iodemo.services import wholeNumber
from iodemo.workers.parent import Workers
from iodemo.workers.process import NAME

_MOST = 1024

_MORE = """
Endpoints:
  tcp:PORT[:interface=ADDRESS][:backlog=N], and tcp6: likewise
  unix:PATH[:mode=660][:lockfile=0]

Signals:
  SIGTERM, SIGINT  drain: accept no more; each worker ends with its last open
                   connection, or after the grace. A second one ends all at once.
  SIGHUP           replace the workers one after another. The new one accepts
                   before the old one drains: no connection is refused.

Under systemd: Type=notify-reload, KillMode=mixed, TimeoutStopSec= longer
than the grace and 10 s, and TimeoutStartSec= longer than all workers take to
start, one after another. The output of the workers is in the log of this
process.
"""


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

    command = NAME
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
        "{endpoint} stands for the endpoint that adopts the socket of --listen "
        "({endpoint2} for that of the second --listen, and so on). Each worker has a "
        "socket of its own, and the kernel divides connections among them by a hash "
        "(SO_REUSEPORT). With --share, and with unix:, all workers accept from one "
        "socket. A worker that dies is replaced; new connections wait meanwhile, and "
        "none is refused."
    )

    def opt_listen(self, endpoint: str) -> None:
        """
        Endpoint to listen on: tcp:, tcp6: or unix:. Repeatable.
        """
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def getUsage(self, width: int | None = None) -> str:
        """
        Describe the options, the endpoints and the signals.
        """
        return super().getUsage(width) + _MORE

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
        if name in (NAME, "iodemo-worker"):
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
