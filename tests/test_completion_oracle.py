"""
Tests that hold the reactors on completion queues against Twisted's own on epoll: in the
same random scripts of both ends, each connection is told the same, in the same order,
and each peer hears the same bytes.

L{tests.completion_scripts} makes and runs the scripts, and has the table of the
differences that remain. A short run belongs to the suite. A long one, of so many
seconds for each reactor, of scripts that are others each time::

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

_ROOT = str(Path(__file__).parents[1])
_SECONDS = float(os.environ.get("IODEMO_RANDOM_SECONDS", "0"))
_SCRIPTS = 100
_SHOWN = 5
_TIMEOUT = 600.0

# What is told of the direction in which a protocol writes.
_WRITING = (
    "pauseProducing",
    "resumeProducing",
    "stopProducing",
    "writeConnectionLost",
)


def compared(told: list[str], isContended: bool) -> object:
    """
    What must be the same of what a connection was told: see
    L{tests.completion_scripts.DIFFERENCES}.
    """
    if isContended:
        return told[:1]
    if "readConnectionLost" in told:
        told = [each.replace(" ConnectionLost", " ConnectionDone") for each in told]
    reading: list[str] = []
    for each in told:
        if each.startswith(_WRITING):
            continue
        if each.startswith("dataReceived") and reading[-1].startswith("dataReceived"):
            reading.pop()  # it has nothing between any more
        reading.append(each)
    return [reading, [each for each in told if each.startswith(_WRITING)]]


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """
    Say where two reactors differ in a script.
    """
    said = [f"mistake: {each}" for each in found["mistakes"]]
    for key in ("told", "received", "heard"):
        if len(expected[key]) != len(found[key]):
            said.append(f"{key} of {len(found[key])} connections: {found['told']}")
            continue
        for number, pair in enumerate(zip(expected[key], found[key], strict=True)):
            isContended = expected["contended"][number : number + 1] == [True]
            if key == "told":
                one, other = (compared(each, isContended) for each in pair)
                same = one == other
            else:
                same = isContended or pair[0] == pair[1]
            if not same:
                said.append(f"connection {number}, {key}:\n  {pair[0]}\n  {pair[1]}")
    return said


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
            # Protocols fail on purpose, and nobody reads the log.
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def check(self, reactor: str) -> None:
        """
        Hold it against epoll.
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
        processes = [self.run_(name, first, _SCRIPTS) for name in ("epoll", reactor)]
        expected, found = (
            [
                json.loads(line)
                for line in process.communicate(timeout=_TIMEOUT)[0].splitlines()
            ]
            for process in processes
        )
        self.assertEqual(len(expected), _SCRIPTS)
        wrong = []
        for one, other in zip(expected, found, strict=False):
            said = differences(one, other)
            if said:
                steps = "\n  ".join(one["plan"])
                wrong.append(
                    f"script {one['number']} ({'UNIX' if one['isUNIX'] else 'TCP'}), "
                    f"epoll and {reactor}:\n" + "\n".join(said) + f"\n  {steps}"
                )
        text = "\n\n".join(wrong[:_SHOWN])
        self.assertFalse(wrong, f"{len(wrong)} of {_SCRIPTS} differ\n\n{text}")
        self.assertEqual(len(found), _SCRIPTS, f"{reactor} went no further")

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
