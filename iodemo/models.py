# -*- test-case-name: tests.test_models -*-
"""
The table of I/O models: one record a backend.

This table is the only place that lists backends. The command line, the comparisons, the
reports and the tests all read it, so a new reactor appears everywhere with one row here
and one line in C{twisted/plugins/iodemo_reactors.py}. References, which are other
servers in the same comparisons, have a row too, and a module in L{iodemo.references}.

Two questions classify a model. Both are about its system calls:

  - I{blocking}: does the call for one operation wait for the peer? That is a property
    of the call as its caller sees it.
  - I{synchronous}: does the call itself return the result? With readiness (select,
    poll, epoll), the kernel reports that a call will not block, and then the call
    returns the data: non-blocking and synchronous. With completion, the kernel reports
    that it has received the data: non-blocking and asynchronous.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from twisted.application.reactors import getReactorTypes

Kind = Literal["reactor", "reference", "server"]
Pattern = Literal[
    "process per connection",
    "thread per connection",
    "busy polling",
    "Reactor",
    "Reactor on each core",
    "Proactor, emulated",
    "Proactor",
    "unknown",
]


@dataclass(frozen=True)
class Model:
    """
    One way to do network I/O, and the backend that does it.

    @ivar name: the backend's short name, as in C{twistd --reactor=NAME}.
    @ivar blocking: whether the kernel call for one operation waits for the peer.
    @ivar synchronous: whether that call itself brings the result.
    @ivar kernelCalls: the system calls of one exchange, in order.
    @ivar otherCalls: system calls that may come in between, not for a connection but
        for timers or to wake a thread.
    @ivar description: one sentence for a learner.
    @ivar kind: C{"reactor"}; or another kind of server to compare reactors with.
    @ivar module: the module of a reference, in L{iodemo.references}; C{None} for a
        reactor, whose module its Twisted plugin names.
    @ivar needs: the operating system it needs, if that is not Linux.
    @ivar connectionLimit: how many connections the model can hold at most, on any
        machine; C{None} if it sets no limit of its own.
    @ivar limitReason: why there is a limit, for a message when it is reached.
    @ivar breaks: whether a server beyond the limit fails, which a measurement then
        shows. Otherwise it lets further connections wait, and nothing can be measured.
    @ivar quick: whether a comparison with C{--quick} has it, too.
    @ivar onAllCores: whether a comparison lets it run on every core but the load's,
        where others have one core.
    @ivar load: the module of the load that measures it; C{None} for C{iodemo load}.
    """

    name: str
    pattern: Pattern
    blocking: bool
    synchronous: bool
    kernelCalls: tuple[str, ...]
    description: str
    kind: Kind = "reactor"
    module: str | None = None
    needs: str | None = None
    connectionLimit: int | None = None
    limitReason: str | None = None
    breaks: bool = False
    otherCalls: tuple[str, ...] = ()
    quick: bool = True
    onAllCores: bool = False
    load: str | None = None

    @property
    def server(self) -> str:
        """
        The backend's name without that of its load.
        """
        return self.name.removesuffix(C_LOAD)

    def unavailable(self) -> str | None:
        """
        Why this backend cannot run here; C{None} if it can.

        A backend's module raises C{ImportError} with the reason when it is imported;
        C{twistd --help-reactors} shows the same reason.
        """
        module = self.module or _installers().get(self.server)
        if module is None:
            return "not written yet"
        try:
            importlib.import_module(module)
            if self.load is not None:
                importlib.import_module(self.load)
        except ImportError as error:
            reason = " ".join(str(error).split()) or "its module cannot be imported"
            return reason if self.needs is None else f"needs {self.needs} ({reason})"
        return None

    def refuses(self, connections: int) -> str | None:
        """
        Why a measurement with this number of connections is skipped; C{None} if it is
        not, because the model holds them or because its failure is worth showing.
        """
        limit = self.connectionLimit
        if limit is None or connections <= limit or self.breaks:
            return None
        most = f"at most {limit:,} connections"
        return f"{self.limitReason} ({most})" if self.limitReason else most

    def contradiction(
        self, calls: Mapping[str, float], architecture: str
    ) -> str | None:
        """
        Where C{kernelCalls} differs from the system calls that a server was seen to
        make; C{None} if it does not differ, or nothing is known.

        Only I/O on connections counts: the calls that accept a connection are left out,
        and so are calls that are no I/O.

        @param calls: system calls a request, by name, of one server or several.
        @param architecture: the architecture of their machine, as in C{uname -m}.
        """
        seen = {name: each for name, each in calls.items() if name in _IO_CALLS}
        if not self.kernelCalls or not seen:
            return None
        other = _LIBC if architecture == "x86_64" else {**_LIBC, **_LIBC_ELSEWHERE}
        expected = {
            label: {label, other.get(label, label)}
            for label in self.kernelCalls
            if label not in _CONNECTION_CALLS
        }
        unseen = [label for label, names in expected.items() if not names & set(seen)]
        named = set().union(*expected.values())
        unnamed = [
            name
            for name, each in seen.items()
            if name not in named and name not in self.otherCalls and each >= _NOTICED
        ]
        differences = [
            f"without {', '.join(unseen)}" if unseen else "",
            f"with {', '.join(unnamed)}" if unnamed else "",
        ]
        return " and ".join(filter(None, differences)) or None


#: System calls by their purpose. A model lists those of them that it makes.
CALLS = {
    "wait": (
        *("select", "pselect6", "poll", "ppoll", "epoll_wait", "epoll_pwait"),
        *("epoll_pwait2", "io_uring_enter"),
    ),
    "register": ("epoll_ctl",),
    "receive": ("recvfrom", "recvmsg", "read", "readv"),
    "send": ("sendto", "sendmsg", "write", "writev"),
}
_IO_CALLS = frozenset(name for names in CALLS.values() for name in names)
_CONNECTION_CALLS = ("accept", "fork", "clone")

# The system call behind a function of the C library, if it has another name; and on
# architectures that never had the older system call, the newer one in its place.
_LIBC = {"recv": "recvfrom", "send": "sendto", "select": "pselect6"}
_LIBC_ELSEWHERE = {"poll": "ppoll", "epoll_wait": "epoll_pwait"}

# Calls a request below which an unlisted system call is no contradiction.
_NOTICED = 0.05


MODELS: tuple[Model, ...] = (
    Model(
        "fork",
        "process per connection",
        blocking=True,
        synchronous=True,
        kernelCalls=("accept", "fork", "recv", "send"),
        description="A process per connection, as in Apache's prefork: each child "
        "blocks in recv, and the kernel's scheduler is the event loop; children share "
        "no state.",
        otherCalls=("poll",),
        connectionLimit=1_000,
        limitReason="IODEMO_FORK_MAX, 1,000 unless set, bounds the processes",
    ),
    Model(
        "threads",
        "thread per connection",
        blocking=True,
        synchronous=True,
        kernelCalls=("accept", "clone", "poll", "recv", "send"),
        description="A thread per connection, as in Apache's worker: each thread "
        "blocks until its peer has sent something, and protocol code runs under one "
        "lock.",
        otherCalls=("read", "write"),
        connectionLimit=16_000,
        limitReason="IODEMO_THREADS_MAX, 16,000 unless set, bounds the threads",
    ),
    Model(
        "busypoll",
        "busy polling",
        blocking=False,
        synchronous=True,
        kernelCalls=("recv", "send", "poll"),
        description="No multiplexing: the loop calls recv on one socket after another, "
        "without end, and most return EAGAIN; other descriptors get a poll each.",
    ),
    Model(
        "select",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("select", "recv", "send"),
        description="Every call passes three bitmaps of descriptors to the kernel, "
        "which looks at each descriptor.",
        connectionLimit=1024,
        limitReason="select(2) takes bitmaps of FD_SETSIZE = 1024 bits, so a process "
        "cannot watch descriptor 1024 or above",
        breaks=True,
    ),
    Model(
        "poll",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("poll", "recv", "send"),
        description="Every call passes a list of descriptors to the kernel, which "
        "looks at each: no limit, and still linear.",
    ),
    Model(
        "epoll",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_wait", "recv", "epoll_ctl", "send"),
        description="The kernel keeps the list of descriptors, and a call returns only "
        "the ready ones.",
    ),
    Model(
        "kqueue",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("kevent", "recv", "send"),
        description="The BSDs' stateful multiplexer: changes and events in one call.",
        needs="a BSD or macOS",
    ),
    Model(
        "asyncio",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_wait", "recv", "epoll_ctl", "send"),
        description="Twisted on the standard library's event loop, which uses epoll "
        "here: the bookkeeping of two loops.",
    ),
    Model(
        "uvloop",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_pwait", "recv", "epoll_ctl", "send", "io_uring_enter"),
        description="Twisted's asyncio reactor on uvloop, an event loop in C, which "
        "makes some of its epoll_ctl calls through io_uring.",
    ),
    Model(
        "proactor",
        "Proactor, emulated",
        blocking=False,
        synchronous=True,
        kernelCalls=("read", "write", "epoll_wait"),
        description="User space makes completions from readiness: asynchronous for the "
        "program, with synchronous system calls.",
    ),
    Model(
        "uring",
        "Proactor",
        blocking=False,
        synchronous=False,
        kernelCalls=("io_uring_enter",),
        description="The kernel does the operation and reports its result: one system "
        "call submits many operations and collects many results.",
    ),
    Model(
        "proactor-asyncio",
        "Proactor, emulated",
        blocking=False,
        synchronous=True,
        kernelCalls=("read", "write", "epoll_wait"),
        description="Twisted's asyncio reactor, with the connections of proactor: one "
        "wait for them and for what asyncio watches.",
        quick=False,
    ),
    Model(
        "uring-asyncio",
        "Proactor",
        blocking=False,
        synchronous=False,
        kernelCalls=("io_uring_enter",),
        description="Twisted's asyncio reactor, with the connections of uring: one "
        "io_uring_enter waits for them and for what asyncio watches.",
        quick=False,
    ),
    Model(
        "iocp",
        "Proactor",
        blocking=False,
        synchronous=False,
        kernelCalls=("WSARecv", "WSASend", "GetQueuedCompletionStatus"),
        description="Windows completion ports, the Proactor's first home.",
        needs="Windows",
    ),
    Model(
        "asyncio-protocol",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_wait", "recv", "send"),
        description="Not Twisted: a protocol on asyncio's own transports.",
        kind="reference",
        module="iodemo.references.asyncioprotocol",
        quick=False,
    ),
    Model(
        "uvloop-protocol",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_pwait", "read", "write"),
        description="Not Twisted: a protocol on uvloop's transports, which are in C.",
        kind="reference",
        module="iodemo.references.uvloopprotocol",
        quick=False,
    ),
    Model(
        "c-epoll",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_wait", "recv", "send"),
        description="Not Python: three system calls an echo and little else, the "
        "floor.",
        kind="reference",
        module="iodemo.references.cepoll",
    ),
    Model(
        "workers",
        "Reactor on each core",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_wait", "recv", "epoll_ctl", "send"),
        description="A process with an event loop on each core, as nginx has: the "
        "kernel divides the connections among them (SO_REUSEPORT), and they share no "
        "state.",
        kind="reference",
        module="iodemo.references.workers",
        quick=False,
        onAllCores=True,
    ),
)

#: The backend that others are compared with by default: the reactor that Twisted itself
#: chooses on Linux.
BASELINE = "epoll"

#: Ends the name of a backend that the load in C measures.
C_LOAD = "+c-load"


class UnknownBackend(LookupError):
    """There is no backend of this name. The message lists the names that exist."""


def find(name: str) -> Model:
    """
    The model of one backend.

    A reactor without a row here can be measured too if it is installed as a Twisted
    plugin.

    A name with C{+c-load} after it is the same backend, measured by L{the load in C
    <iodemo.load.cload>}.

    @raise UnknownBackend: if there is no such backend.
    """
    served = name.removesuffix(C_LOAD)
    if served != name and not served.endswith(C_LOAD):
        return replace(find(served), name=name, load="iodemo.load.cload")
    for model in MODELS:
        if model.name == name:
            return model
    if name in _installers():
        return Model(
            name,
            "unknown",
            blocking=False,
            synchronous=True,
            kernelCalls=(),
            description="A reactor without a row in this table.",
        )
    names = ", ".join(model.name for model in available())
    raise UnknownBackend(
        f"no backend named {name!r}: choose from {names} (iodemo backends lists all)"
    )


def available() -> Iterable[Model]:
    """
    The models that this machine can run, in the table's order.
    """
    return (model for model in MODELS if model.unavailable() is None)


def _installers() -> dict[str, str]:
    """
    The reactors that are installed as Twisted plugins: module name by short name. If
    two have the same short name, the first counts, as for C{twistd --reactor}.
    """
    modules: dict[str, str] = {}
    for installer in getReactorTypes():
        moduleName = getattr(installer, "moduleName", None)
        if moduleName is not None:
            modules.setdefault(installer.shortName, moduleName)
    return modules
