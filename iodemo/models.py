# -*- test-case-name: tests.test_models -*-
"""
The table of I/O models: one record a backend.

This table is the only place that lists backends. The command line, the
laboratory, the reports and the tests all go through it, so that a new reactor
appears everywhere by one row here and one line in
C{twisted/plugins/iodemo_reactors.py}. References, which are no reactors but stand in
the same comparisons, have a row too, and a module in L{iodemo.references}.

Two questions classify a model, and both are about a layer, here the kernel's:

  - I{blocking}: does the call the program makes wait for the peer? It is a
    property of the call as its caller sees it.
  - I{synchronous}: does the call itself bring the result? With readiness
    (select, poll, epoll) the program is told that it may call, and the call
    brings the data: non-blocking and synchronous. With completion the program
    is told that the data is there: non-blocking and asynchronous.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from twisted.application.reactors import getReactorTypes

Kind = Literal["reactor", "reference", "server"]
Pattern = Literal[
    "process per connection",
    "thread per connection",
    "busy polling",
    "Reactor",
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
    @ivar kernelCalls: what the kernel is asked, in the order of one exchange.
    @ivar otherCalls: what it may ask besides, for what is no connection: timers, and
        threads that are told something.
    @ivar description: one sentence for a learner.
    @ivar kind: C{"reactor"}, or a yardstick that is not one.
    @ivar module: a reference's, in L{iodemo.references}; that of a reactor is known
        to Twisted.
    @ivar needs: the operating system it takes, where that is not Linux.
    @ivar connectionLimit: how many connections the model can hold at the very
        most, whatever the machine; L{None} if it sets no limit of its own.
    @ivar limitReason: why there is such a limit, for somebody who meets it.
    @ivar breaks: whether a server breaks beyond the limit, which is there to be
        seen then. Otherwise it lets connections wait, and nothing happens.
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

    def unavailable(self) -> str | None:
        """
        Say why this backend cannot run here, or L{None} if it can.

        A backend's module raises L{ImportError} with the reason on import,
        which is also what C{twistd --help-reactors} goes by.
        """
        module = self.module or _installers().get(self.name)
        if module is None:
            return "not written yet"
        try:
            importlib.import_module(module)
        except ImportError as error:
            reason = " ".join(str(error).split()) or "its module cannot be imported"
            return reason if self.needs is None else f"needs {self.needs} ({reason})"
        return None

    def refuses(self, connections: int) -> str | None:
        """
        Say why so many connections need not be tried, or L{None} if they may be:
        because the model holds them, or because it breaks for all to see.
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
        Say where C{kernelCalls} is not what a server was seen to ask of the kernel, or
        L{None} if it is, as far as is known.

        Calls that are made for a connection are not looked for, and neither are those
        that are no I/O.

        @param calls: system calls a request, by name, of one server or more.
        @param architecture: of their machine, as in C{uname -m}.
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
        said = [
            f"without {', '.join(unseen)}" if unseen else "",
            f"with {', '.join(unnamed)}" if unnamed else "",
        ]
        return " and ".join(filter(None, said)) or None


#: Of these a model says something: waiting, receiving, sending, and who waits for what.
_IO_CALLS = frozenset(
    (
        *("select", "pselect6", "poll", "ppoll", "epoll_wait", "epoll_pwait"),
        *("epoll_pwait2", "epoll_ctl", "io_uring_enter", "recvfrom", "recvmsg", "read"),
        *("readv", "sendto", "sendmsg", "write", "writev"),
    )
)
_CONNECTION_CALLS = ("accept", "fork", "clone")

# What a function of the C library asks of the kernel, where that has another name; and
# what it does where the kernel is too young to have kept the first of the kind.
_LIBC = {"recv": "recvfrom", "send": "sendto", "select": "pselect6"}
_LIBC_ELSEWHERE = {"poll": "ppoll", "epoll_wait": "epoll_pwait"}

# A call that is made less often than this, of all requests, needs no mention.
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
        "blocks until its peer has said something, and protocol code runs under one "
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
        description="No multiplexing: every socket is asked in turn, for ever, "
        "until one does not say EAGAIN; whatever else there is, by a poll of it alone.",
    ),
    Model(
        "select",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("select", "recv", "send"),
        description="The kernel is handed three bitmaps of descriptors at every "
        "call and looks at each.",
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
        description="The kernel is handed a list of descriptors at every call and "
        "looks at each: no limit, and still linear.",
    ),
    Model(
        "epoll",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_wait", "recv", "epoll_ctl", "send"),
        description="The kernel keeps the list and hands out only what is ready.",
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
        description="Twisted on the standard library's event loop, which is on "
        "epoll here: two loops' bookkeeping for one.",
    ),
    Model(
        "uvloop",
        "Reactor",
        blocking=False,
        synchronous=True,
        kernelCalls=("epoll_pwait", "recv", "epoll_ctl", "send", "io_uring_enter"),
        description="Twisted's asyncio reactor on uvloop, an event loop in C, which "
        "hands some of its epoll_ctl calls to the kernel through io_uring.",
    ),
    Model(
        "proactor",
        "Proactor, emulated",
        blocking=False,
        synchronous=True,
        kernelCalls=("read", "write", "epoll_wait"),
        description="Completions made in user space from readiness: asynchronous to "
        "the program, synchronous to the kernel.",
    ),
    Model(
        "uring",
        "Proactor",
        blocking=False,
        synchronous=False,
        kernelCalls=("io_uring_enter",),
        description="The kernel does the operation and reports its result: one "
        "call submits and collects many.",
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
)

#: What the others are compared with unless somebody says otherwise: the reactor
#: that Twisted itself chooses on Linux.
BASELINE = "epoll"

#: The reference that does least.
FLOOR = "c-epoll"


class UnknownBackend(LookupError):
    """No backend of this name. The message lists those there are."""


def find(name: str) -> Model:
    """
    The model of one backend.

    A reactor that is in no row here but is installed as a Twisted plugin can be
    measured too: somebody who writes one need not ask us for a row.

    @raise UnknownBackend: if there is no such backend.
    """
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
            description="A reactor from another project.",
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
    The reactors installed as Twisted plugins: module name by short name. The
    first of a name wins, as it does for C{twistd --reactor}.
    """
    modules: dict[str, str] = {}
    for installer in getReactorTypes():
        moduleName = getattr(installer, "moduleName", None)
        if moduleName is not None:
            modules.setdefault(installer.shortName, moduleName)
    return modules
