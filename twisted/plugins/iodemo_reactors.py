"""
The reactors, for C{twistd --reactor}. Declarations only: a plugin module is
imported by every C{twistd} on the machine.
"""

from twisted.application.reactors import Reactor

fork = Reactor("fork", "iodemo.reactors.fork", "A process per connection (iodemo).")
threads = Reactor(
    "threads", "iodemo.reactors.threads", "A thread per connection (iodemo)."
)
busypoll = Reactor(
    "busypoll", "iodemo.reactors.busypoll", "Every socket asked in turn (iodemo)."
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
