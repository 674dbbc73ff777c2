# -*- test-case-name: tests.test_load -*-
"""
Judgements on a round (L{iodemo.results.schema.Round}): whether the load was the limit,
and whether the server kept up with the schedule.
"""

from __future__ import annotations

from typing import TypedDict

from iodemo.results.schema import Round

#: A load that is busy for this fraction of the window limits the throughput measured.
LOAD_LIMIT = 0.9

#: A server keeps up if no more than this fraction of the requests due is unanswered at
#: the end of the window: some are due just then, or the server paused briefly.
LEFT = 0.05


class Judged(TypedDict, total=False):
    """
    Judgements on a round. C{iodemo load --json} prints them; a results file does not
    contain them. The last two keys exist in an open loop only.
    """

    load_limited: bool  # the load had no time left: the server can do more
    answered_fraction: float  # answered in the window, of those due in it but the last
    kept_up: bool  # whether the backlog is one request, or a fraction of LEFT, at most


def loadUse(measured: Round) -> float:
    """
    The fraction of the window in which the load was busy: 1 if it never waited for the
    server.
    """
    return max(measured["load_cpu_fraction"], measured.get("load_busy_fraction", 0.0))


def judged(measured: Round) -> Judged:
    """
    The judgements on a round.
    """
    found: Judged = {"load_limited": loadUse(measured) >= LOAD_LIMIT}
    if "backlog" in measured:
        requests, backlog = measured["requests"], measured["backlog"]
        # One request may be due at the very end.
        due = measured.get("due", requests + backlog) - min(backlog, 1)
        found["answered_fraction"] = min(1.0, requests / due) if due else 1.0
        found["kept_up"] = backlog <= max(1, LEFT * (requests + backlog))
    return found
