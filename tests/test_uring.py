"""
Tests for L{iodemo.reactors.uring}: what is its own. What it has in common with
other reactors is tested in L{tests.conformance}, and its queue in
L{tests.test_completion}.
"""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.models import find

from .children import TIMEOUT


class UringTests(SynchronousTestCase):
    """
    Tests for how the reactor C{uring} meets a machine that does not give what it
    needs.
    """

    def run_(self, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """
        Run a program in a new Python.
        """
        reason = find("uring").unavailable()
        if reason is not None:
            raise SkipTest(reason)
        return subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def test_sizes(self) -> None:
        """
        A size that cannot be is refused, by its name and with what it can be.
        """
        for value in ("0", "3", "65536", "x"):
            ended = self.run_(
                "from twisted.application.reactors import installReactor\n"
                "installReactor('uring')",
                IODEMO_URING_BUFFERS=value,
            )
            last = ended.stderr.splitlines()[-1]
            self.assertIn("IODEMO_URING_BUFFERS", last)
            self.assertIn("power of two", last)

    def test_lockedMemory(self) -> None:
        """
        Where no memory may be locked it works, if the kernel counts it otherwise,
        or says in one line what to do.
        """
        ended = self.run_(
            "import resource\n"
            "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
            "from twisted.application.reactors import installReactor\n"
            "reactor = installReactor('uring')\n"
            "reactor.callWhenRunning(reactor.stop)\n"
            "reactor.run()\n"
            "print('ran')"
        )
        if ended.stdout != "ran\n":
            self.assertIn("ulimit -l", ended.stderr.splitlines()[-1])

    def test_forbidden(self) -> None:
        """
        Where a filter forbids io_uring the reactor is not there, with the reason.
        """
        ended = self.run_(FORBID + "import iodemo.reactors.uring")
        last = ended.stderr.splitlines()[-1]
        self.assertIn("io_uring_setup says EPERM", last)
        self.assertIn("seccomp", last)

    def test_forbiddenLater(self) -> None:
        """
        Where it is forbidden only after the reactor was installed, the program ends
        with the reason, and does not go on without.
        """
        ended = self.run_(
            "from twisted.application.reactors import installReactor\n"
            "reactor = installReactor('uring')\n" + FORBID + "reactor.run()"
        )
        self.assertEqual(ended.returncode, 1)
        self.assertIn("io_uring_setup says EPERM", ended.stderr.splitlines()[-1])


# A filter (seccomp(2)) that has io_uring_setup, number 425, fail with EPERM, and
# allows all else.
FORBID = """
import ctypes, struct
program = b"".join(struct.pack("=HBBI", *instruction) for instruction in (
    (0x20, 0, 0, 0),           # load the number of the call
    (0x15, 0, 1, 425),         # if it is this one
    (0x06, 0, 0, 0x00050001),  # fail with errno 1
    (0x06, 0, 0, 0x7FFF0000),  # else allow
))
memory = ctypes.create_string_buffer(program, len(program))
prepared = struct.pack("HP", 4, ctypes.addressof(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0            # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, prepared, 0, 0) == 0     # PR_SET_SECCOMP, a filter
"""
