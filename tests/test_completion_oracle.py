"""
Tests that compare the reactors on completion queues with Twisted's own on epoll: in the
same random scripts of both ends, each protocol gets the same calls, in the same order,
and each peer receives the same bytes.

L{tests.completion_scripts} makes and runs the scripts, and has the table of the
differences that remain. A short run belongs to the suite. A long one takes so many
seconds for each reactor, with other scripts each time::

    IODEMO_RANDOM_SECONDS=3600 scripts/test tests.test_completion_oracle
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo import models

from .completion_scripts import SENDING_FIRST

_ROOT = str(Path(__file__).parents[1])
_SECONDS = float(os.environ.get("IODEMO_RANDOM_SECONDS", "0"))
_SCRIPTS = 100
_SHOWN = 5
# At most so many of all connections may differ after a race.
_MOST_FREE = 0.02
_TIMEOUT = 600.0


def isSame(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    """
    Whether the calls to a protocol, and what its peer received, are the same, but for
    the reason in L{tests.completion_scripts.DIFFERENCES}.
    """
    told = expected["told"]
    if "readConnectionLost" in told and told != found["told"]:
        told = [each.replace(" ConnectionLost", " ConnectionDone") for each in told]
    return bool(told == found["told"] and expected["heard"] == found["heard"])


def differences(
    expected: dict[str, Any], sendingFirst: dict[str, Any], found: dict[str, Any]
) -> tuple[list[str], int]:
    """
    Compare a script under a reactor with both orders of epoll.

    @return: where they differ, and how many connections were only compared up to a
        race.
    """
    scripts = (expected, sendingFirst, found)
    said = [f"mistake: {each}" for script in scripts for each in script["mistakes"]]
    if len(expected["all"]) != len(found["all"]):
        return [*said, f"{len(found['all'])} connections"], 0
    free = 0
    for number, ends in enumerate(zip(*(each["all"] for each in scripts), strict=True)):
        if isSame(ends[0], ends[2]) or isSame(ends[1], ends[2]):
            continue
        certain = expected["certain"][number], found["certain"][number]
        if None not in certain and isSame(*certain):
            free += 1
            continue
        shown = "\n  ".join(map(str, (*ends, *certain)))
        said.append(f"connection {number}:\n  {shown}")
    return said, free


class OracleTests(SynchronousTestCase):
    """
    Tests for both reactors.
    """

    def run_(self, reactor: str, first: int, count: int) -> subprocess.Popen[str]:
        """
        Run scripts under a reactor.
        """
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.completion_scripts",
                reactor,
                str(first),
                str(count),
            ],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Protocols fail on purpose, so the log is full of tracebacks.
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def check(self, reactor: str) -> None:
        """
        Compare it with epoll.
        """
        reason = models.find(reactor).unavailable()
        if reason is not None:
            raise SkipTest(reason)
        deadline = time.monotonic() + _SECONDS
        first = random.SystemRandom().randrange(1 << 32) if _SECONDS else 0
        while True:
            self.compare(reactor, first)
            first += _SCRIPTS
            if time.monotonic() >= deadline:
                break

    def compare(self, reactor: str, first: int) -> None:
        """
        Compare some scripts.
        """
        names = ("epoll", SENDING_FIRST, reactor)
        processes = [self.run_(name, first, _SCRIPTS) for name in names]
        expected, sendingFirst, found = (
            [
                json.loads(line)
                for line in process.communicate(timeout=_TIMEOUT)[0].splitlines()
            ]
            for process in processes
        )
        self.assertEqual(len(expected), _SCRIPTS)
        self.assertEqual(len(sendingFirst), _SCRIPTS)
        wrong, free, connections = [], 0, 0
        for one, two, other in zip(expected, sendingFirst, found, strict=False):
            said, more = differences(one, two, other)
            free += more
            connections += len(one["all"])
            if said:
                steps = "\n  ".join(one["plan"])
                wrong.append(
                    f"script {one['number']} ({'UNIX' if one['isUNIX'] else 'TCP'}), "
                    f"epoll, {SENDING_FIRST}, {reactor}:\n"
                    + "\n".join(said)
                    + f"\n  {steps}"
                )
        text = "\n\n".join(wrong[:_SHOWN])
        self.assertFalse(wrong, f"{len(wrong)} of {_SCRIPTS} differ\n\n{text}")
        self.assertEqual(len(found), _SCRIPTS, f"{reactor} went no further")
        self.assertLess(free, _MOST_FREE * connections, "differ after a race")

    def test_proactor(self) -> None:
        """
        On readiness.
        """
        self.check("proactor")

    def test_uring(self) -> None:
        """
        On the ring.
        """
        self.check("uring")
