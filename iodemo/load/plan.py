# -*- test-case-name: tests.test_load -*-
"""
What to ask of a server, and how many processes that takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from iodemo.load.address import Address
from iodemo.load.exchanges import Exchange
from iodemo.load.pacing import Arrivals

#: So many processes may have addresses of their own to connect from.
MOST_PROCESSES = 255

#: So many connections a load may have of each sort.
MOST_CONNECTIONS = 10_000_000

# Besides connections: in every process, and for each process that there is.
_OWN_DESCRIPTORS = 16
_DESCRIPTORS_EACH = 4


class LoadFailed(Exception):
    """There is no number. The message says why, in one line."""


class TooLate(LoadFailed):
    """An answer took longer than it may."""


@dataclass(frozen=True)
class Plan:
    """
    What to ask of a server.

    @ivar active: connections with one request in flight each.
    @ivar idle: further connections that stay open and silent.
    @ivar seconds: length of the measured window.
    @ivar warmup: seconds of the same load before it, not counted.
    @ivar wait: seconds to go on trying while nobody listens.
    @ivar patience: seconds within which an answer must be whole, from when it was
        asked for.
    @ivar rate: requests due a second, all connections together; L{None} for as many as
        are answered.
    @ivar arrivals: how they are spread.
    @ivar churn: whether each request has a new connection, in place of the last one.
    @ivar process: which of several processes this is for, from 0.
    @ivar processes: how many there are.
    @ivar stalled: further connections that ask for all they can, and read no answer.
    """

    address: Address
    exchange: Exchange
    active: int
    idle: int
    seconds: float
    warmup: float
    wait: float = 0.0
    patience: float = 10.0
    rate: float | None = None
    arrivals: Arrivals = "constant"
    churn: bool = False
    process: int = 0
    processes: int = 1
    stalled: int = 0

    @property
    def connections(self) -> int:
        """All of them."""
        return self.active + self.idle + self.stalled


def spread(plan: Plan, processes: int | None = None) -> list[Plan]:
    """
    Let this process, and those it starts, open as many files as the hard limit allows,
    and divide the plan among so many processes.

    @param processes: as many, but none without a connection; L{None} for as few as can
        have the connections.
    @return: their shares. The first has a busy connection; others may have none.
    @raise LoadFailed: if the limit does not allow it.
    """
    import resource  # Windows has none, and the command line is to start there.

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if processes is None:
        numbers = range(1, min(MOST_PROCESSES, plan.connections) + 1)
    else:
        last = min(processes, plan.connections)
        numbers = range(last, last + 1)
    needs: list[tuple[int, int]] = []
    for number in numbers:
        shares = [_share(plan, process, number) for process in range(number)]
        most = max(share.connections for share in shares)
        needed = most + _OWN_DESCRIPTORS + _DESCRIPTORS_EACH * number
        if hard == resource.RLIM_INFINITY or needed <= hard:
            return shares
        needs.append((needed, number))
    needed, number = min(needs)
    among = f" in each of {number} processes" if number > 1 else ""
    raise LoadFailed(
        f"{plan.connections:,} connections need {needed:,} open files{among}, and the "
        f"hard limit is {hard:,}: iodemo doctor says how to raise it"
    )


def _share(plan: Plan, process: int, processes: int) -> Plan:
    def part(total: int) -> int:
        # What is left over is with the first ones.
        return total // processes + (process < total % processes)

    active = part(plan.active)
    idle = part(plan.active + plan.idle) - active
    rate = None if plan.rate is None else plan.rate * active / plan.active
    return replace(
        plan,
        active=active,
        idle=idle,
        stalled=part(plan.stalled),
        rate=rate,
        process=process,
        processes=processes,
    )
