"""
What follows from a round of the load (L{iodemo.results.schema.Round}): whether the load
was the limit, and whether the server kept up with the schedule.
"""

from __future__ import annotations

from typing import TypedDict

from iodemo.results.schema import Round

#: A load that uses this much of its core, or of the time, is the limit of what was
#: measured.
LOAD_LIMIT = 0.9

#: The fraction of the requests due that may be unanswered at the end of a round whose
#: server keeps up: some are due at that moment by chance, and the server may have slept
#: for a moment.
LEFT = 0.05


class Judged(TypedDict, total=False):
    """
    What follows from a round. C{iodemo load --json} prints it, and no results file has
    it. The last two keys are of an open loop.
    """

    load_limited: bool  # the load had no time left: the server can do more
    answered_fraction: float  # answered in the window, of those due in it but the last
    kept_up: bool  # but for one, or for what was due just then, all was answered


def loadUse(measured: Round) -> float:
    """
    How much of its time the load was busy: 1 if it never waited for the server.
    """
    return max(measured["load_cpu_fraction"], measured.get("load_busy_fraction", 0.0))


def judged(measured: Round) -> Judged:
    """
    What follows from a round.
    """
    found: Judged = {"load_limited": loadUse(measured) >= LOAD_LIMIT}
    if "backlog" in measured:
        requests, backlog = measured["requests"], measured["backlog"]
        # One may be due at the very end.
        due = measured.get("due", requests + backlog) - min(backlog, 1)
        found["answered_fraction"] = min(1.0, requests / due) if due else 1.0
        found["kept_up"] = backlog <= max(1, LEFT * (requests + backlog))
    return found
