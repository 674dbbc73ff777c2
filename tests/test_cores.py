# -*- test-case-name: tests.test_cores -*-
"""
Tests for L{iodemo.process.cores}: on imitated machines, made of a few files, and on
this one.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.process.cores import Delay, Quota, quota, runDelay

V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
# The mounts of a container that sees the path of its group, but not the groups above.
V1_BELOW = (
    "33 31 0:30 /docker/c1 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup "
    "rw,cpu,cpuacct\n"
)
NONE = "max 100000\n"


class QuotaTests(SynchronousTestCase):
    """
    Tests for L{quota}.
    """

    def look(self, group: str | None, mounts: str | None, **files: str) -> Quota:
        """
        Look for quotas in these control groups.

        @param files: the contents by path below C{/sys/fs/cgroup}, with C{__} for a
            slash.
        """
        root = Path(self.mktemp())
        paths = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
        for path, text in (
            ("proc/self/cgroup", group),
            ("proc/self/mountinfo", mounts),
            *paths.items(),
        ):
            if text is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
        return quota(root)

    def test_none(self) -> None:
        """
        If no group up to the real root has a quota, there is none.
        """
        for mounts in (V2, None):
            self.assertEqual(
                self.look("0::/a/b\n", mounts, **{"a/cpu.max": NONE, "a/b/x": ""}),
                Quota(None, hidden=False),
            )
        self.assertEqual(
            self.look("0::/\n", V2, **{"cgroup.procs": ""}), Quota(None, hidden=False)
        )

    def test_nested(self) -> None:
        """
        The strictest of nested quotas counts, at whatever level; a group may have none.
        """
        for above, below in (("50000 100000", NONE), ("150000 100000", "5000 10000")):
            found = self.look(
                "0::/a/b/c\n",
                V2,
                **{"a/cpu.max": above, "a/b/x": "", "a/b/c/cpu.max": below},
            )
            self.assertEqual(found, Quota(0.5, hidden=False))

    def test_version1(self) -> None:
        """
        The same holds in version 1, where the CPU controller has a hierarchy of its
        own.
        """
        group = "9:name=systemd:/x\n4:cpu,cpuacct:/a/b\n3:cpuset:/\n0::/x\n"
        top, cpu = "cpu,cpuacct/release_agent", "cpu,cpuacct/a/cpu.cfs_"
        period = {f"{cpu}period_us": "100000\n", "cpu,cpuacct/a/b/tasks": ""}
        for mounts in (V1, None):
            for text, cores in (("-1\n", None), ("150000\n", 1.5)):
                files = {f"{cpu}quota_us": text, top: "", **period}
                self.assertEqual(
                    self.look(group, mounts, **files), Quota(cores, hidden=False)
                )

    def test_hidden(self) -> None:
        """
        A group above the uppermost visible group may have a quota, too.
        """
        hidden = Quota(None, hidden=True)
        # The view of a container, with its own group as the root.
        inside = {"cgroup.events": "populated 1\n", "cpu.max": NONE}
        self.assertEqual(self.look("0::/\n", V2, **inside), hidden)
        inside["cpu.max"] = "75000 100000\n"
        self.assertEqual(self.look("0::/\n", V2, **inside), Quota(0.75, hidden=True))
        # A group outside of the mount, a group without a folder, and no mount.
        self.assertEqual(self.look("0::/../b\n", V2, x=""), hidden)
        self.assertEqual(self.look("0::/a\n", V2, x=""), hidden)
        self.assertEqual(self.look("0::/\n", "nothing\n"), hidden)
        # Version 1, with the path of the host and a mount that begins there.
        group = "4:cpu,cpuacct:/docker/c1\n"
        cpu = "cpu,cpuacct/cpu.cfs_"
        files = {f"{cpu}quota_us": "20000\n", f"{cpu}period_us": "100000\n"}
        self.assertEqual(self.look(group, V1_BELOW, **files), Quota(0.2, hidden=True))
        files[f"{cpu}quota_us"] = "-1\n"
        self.assertEqual(self.look(group, V1_BELOW, **files), hidden)
        self.assertEqual(self.look(None, None), hidden)

    def test_garbage(self) -> None:
        """
        A file without a valid quota leaves the quota unknown.
        """
        for text in ("", "x y", "100000", "0 0", "1 2 3", "-5 100000"):
            found = self.look("0::/\n", V2, **{"cpu.max": text})
            self.assertEqual(found, Quota(None, hidden=True), text)


class DelayTests(SynchronousTestCase):
    """
    Tests for L{runDelay}.
    """

    def test_contended(self) -> None:
        """
        A process that shares its core has run delay.
        """
        before = runDelay()
        if before is None:
            raise SkipTest("the kernel does not say")
        cores = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, {min(cores)})
        other = os.fork()
        if other == 0:
            signal.alarm(60)
            while True:
                pass
        self.addCleanup(os.waitpid, other, 0)
        self.addCleanup(os.kill, other, signal.SIGKILL)
        delay = before
        while delay.since(before) < delay.ran - before.ran + 0.01:
            delay = runDelay() or before
        self.assertGreater(delay.waited, before.waited)

    def test_waking(self) -> None:
        """
        The time that a core takes to wake up does not count as waiting.
        """
        before, after = Delay(1.0, 1.0, 0), Delay(1.5, 1.1, 10_000)
        self.assertEqual(after.since(before), 0.5)
        self.assertAlmostEqual(Delay(1.5, 1.3, 10_000).since(before), 0.6)

    def test_unknown(self) -> None:
        """
        If the kernel does not count run delay, or hides it, it is unknown.
        """
        for text in (None, "0 0 0\n", "1 2\n", "x y z\n"):
            root = Path(self.mktemp())
            (root / "proc/self").mkdir(parents=True)
            if text is not None:
                (root / "proc/self/schedstat").write_text(text)
            self.assertIsNone(runDelay(root))
