"""
The reactors, for C{twistd --reactor}. This file only declares them: every C{twistd} on
the machine imports it, whatever it runs.
"""

from twisted.application.reactors import Reactor

fork = Reactor("fork", "iodemo.reactors.fork", "A process per connection (iodemo).")
threads = Reactor(
    "threads", "iodemo.reactors.threads", "A thread per connection (iodemo)."
)
busypoll = Reactor(
    "busypoll", "iodemo.reactors.busypoll", "A recv on every socket in turn (iodemo)."
)
uvloop = Reactor(
    "uvloop", "iodemo.reactors.uvloop", "asyncio reactor on uvloop (iodemo)."
)
proactor = Reactor(
    "proactor",
    "iodemo.reactors.proactor",
    "Completions made from readiness (iodemo).",
)
uring = Reactor("uring", "iodemo.reactors.uring", "Completions by io_uring (iodemo).")
proactorAsyncio = Reactor(
    "proactor-asyncio",
    "iodemo.reactors.proactorasyncio",
    "asyncio reactor on completions made from readiness (iodemo).",
)
uringAsyncio = Reactor(
    "uring-asyncio",
    "iodemo.reactors.uringasyncio",
    "asyncio reactor on io_uring (iodemo).",
)
auto = Reactor(
    "auto", "iodemo.reactors.auto", "uring, else proactor, else Twisted's (iodemo)."
)
autoAsyncio = Reactor(
    "auto-asyncio",
    "iodemo.reactors.autoasyncio",
    "uring-asyncio, else proactor-asyncio, else asyncio (iodemo).",
)
