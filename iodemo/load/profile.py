# -*- test-case-name: tests.test_load -*-
"""
The profile of a load, and how it is split among processes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from iodemo.load.address import Address
from iodemo.load.exchanges import Exchange
from iodemo.results.schema import DEFAULTS, Arrivals

#: Each process connects from a 127.0.N.0/24 of its own, so there are this many at most.
MOST_PROCESSES = 255

#: The most connections of each sort.
MOST_CONNECTIONS = 10_000_000

#: The range of a rate, in requests due a second.
LOWEST_RATE, HIGHEST_RATE = 0.00001, 10_000_000

# File descriptors besides connections: in every process, and in it for each process.
_OWN_DESCRIPTORS = 16
_DESCRIPTORS_EACH = 4


class LoadFailed(Exception):
    """The load has no result. The message gives the reason, in one line."""


class TooLate(LoadFailed):
    """An answer took longer than the patience of the profile."""


@dataclass(frozen=True)
class Profile:
    """
    The parameters of a load.

    @ivar active: connections that send requests, at most one in flight on each.
    @ivar idle: further connections that stay open without a request.
    @ivar seconds: length of the measured window.
    @ivar warmup: seconds of the same load before the window, not counted.
    @ivar wait: seconds for which to retry while no server listens.
    @ivar patience: seconds from sending a request to the end of its answer, at most.
    @ivar rate: requests due per second, over all connections; C{None} for a closed
        loop.
    @ivar arrivals: how due times are distributed.
    @ivar churn: whether each request has a connection of its own.
    @ivar process: the number of the process that has this share, from 0.
    @ivar processes: the number of processes.
    @ivar stalled: further connections that send requests until the kernel takes no
        more, and read no answer.
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
    arrivals: Arrivals = DEFAULTS["arrivals"]
    churn: bool = False
    process: int = 0
    processes: int = 1
    stalled: int = 0

    @property
    def connections(self) -> int:
        """The number of all connections."""
        return self.active + self.idle + self.stalled


def split(profile: Profile, processes: int | None = None) -> list[Profile]:
    """
    Raise the limit of open files to its hard limit, for this process and those it
    starts, and split the profile among processes.

    @param processes: how many, or one for each connection if these are fewer; C{None}
        for the fewest whose file limits allow all connections.
    @return: a share for each process. The first has an active connection; others may
        have none.
    @raise LoadFailed: if the limit of open files is too low.
    """
    import resource  # Windows has no such module, but must show the command's help.

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if processes is None:
        numbers = range(1, min(MOST_PROCESSES, profile.connections) + 1)
    else:
        last = min(processes, profile.connections)
        numbers = range(last, last + 1)
    needs: list[tuple[int, int]] = []
    for number in numbers:
        shares = [_share(profile, process, number) for process in range(number)]
        most = max(share.connections for share in shares)
        needed = most + _OWN_DESCRIPTORS + _DESCRIPTORS_EACH * number
        if hard == resource.RLIM_INFINITY or needed <= hard:
            return shares
        needs.append((needed, number))
    needed, number = min(needs)
    among = f" in each of {number} processes" if number > 1 else ""
    raise LoadFailed(
        f"{profile.connections:,} connections need {needed:,} open files{among}, and "
        f"the hard limit is {hard:,}: iodemo doctor says how to raise it"
    )


def _share(profile: Profile, process: int, processes: int) -> Profile:
    def part(total: int) -> int:
        # The first processes take the remainder, one each.
        return total // processes + (process < total % processes)

    active = part(profile.active)
    idle = part(profile.active + profile.idle) - active
    rate = None if profile.rate is None else profile.rate * active / profile.active
    return replace(
        profile,
        active=active,
        idle=idle,
        stalled=part(profile.stalled),
        rate=rate,
        process=process,
        processes=processes,
    )
