# -*- test-case-name: tests.test_doctor -*-
"""
Tests for L{iodemo.doctor}: on imitated machines, made of a few files, and on this one.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo import doctor, kernel
from iodemo.doctor import Check, Finding
from tests.children import TIMEOUT

ROOT = Path(__file__).resolve().parent.parent

# The files of a machine on which every check is satisfied.
HEALTHY = {
    "proc/sys/kernel/osrelease": "6.1.0-37-amd64\n",
    "proc/sys/kernel/io_uring_disabled": "0\n",
    "proc/sys/kernel/perf_event_paranoid": "1\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "proc/sys/net/core/somaxconn": "4096\n",
    "proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu vme\n",
    "proc/meminfo": "MemTotal: 2048000 kB\nMemAvailable:    1024000 kB\n",
    "proc/stat": "cpu  400 0 100 499 0 0 0 1 0 0\ncpu0 400 0 100 499 0 0 0 1 0 0\n",
    "proc/loadavg": "0.10 0.20 0.30 1/90 4242\n",
    "proc/net/sockstat": "sockets: used 9\nTCP: inuse 1 orphan 0 tw 100 alloc 2\n",
    "proc/self/cgroup": "0::/\n",
    "proc/self/schedstat": "400000000 9000000 90\n",
    "proc/self/status": "Name:\tpython\nSeccomp:\t0\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
}


class MachineTests(SynchronousTestCase):
    """
    Base of tests with imitated machines.
    """

    def machine(self, files: dict[str, str] | None = None) -> Path:
        """
        Make a machine on which every check is satisfied, except for some files of its
        own.
        """
        root = Path(self.mktemp())
        for name, text in (HEALTHY | (files or {})).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    def assertFine(self, finding: Finding) -> None:
        """
        Check that there is no advice.
        """
        self.assertIsNone(finding.advice, finding)

    def assertAdvice(self, finding: Finding, *parts: str) -> None:
        """
        Check that there is advice, and that it contains each of these texts.
        """
        for part in parts:
            self.assertIn(part, finding.advice or "", finding)


class FileTests(MachineTests):
    """
    Tests for checks that read one or two files.
    """

    def look(self, check: Check, name: str, text: str) -> Finding:
        """
        Make a check on a machine with one file of its own.
        """
        self.assertFine(check(self.machine()))
        return check(self.machine({name: text}))

    def test_oldKernel(self) -> None:
        """
        A kernel before 6.1 is too old for C{uring}; 6.1 is not.
        """
        name = "proc/sys/kernel/osrelease"
        finding = self.look(doctor.checkKernel, name, "5.15.0-91-generic\n")
        self.assertEqual(finding.value, "Linux 5.15.0-91-generic")
        self.assertAdvice(finding, "uring", "6.1")

    def test_minorIsNumber(self) -> None:
        """
        Kernel versions are compared as numbers: 4.18 is older than 6.1 and 6.18
        is not.
        """
        check = doctor.checkKernel
        self.assertAdvice(self.look(check, "proc/sys/kernel/osrelease", "4.18"), "6.1")
        self.assertFine(self.look(check, "proc/sys/kernel/osrelease", "6.18.4-x"))

    def test_fewPorts(self) -> None:
        """
        A narrow range of ports is reported, with the setting that widens it.
        """
        name = "proc/sys/net/ipv4/ip_local_port_range"
        finding = self.look(doctor.checkPorts, name, "40000\t50000\n")
        self.assertEqual(finding.value, "10,001 (40000 to 50000)")
        self.assertAdvice(finding, "sysctl -w net.ipv4.ip_local_port_range")

    def test_portsInUse(self) -> None:
        """
        Ports that closed connections still hold are not available.
        """
        text = "TCP: inuse 1 orphan 0 tw 20000 alloc 2 mem 1\n"
        finding = self.look(doctor.checkPorts, "proc/net/sockstat", text)
        self.assertIn("20,000 of closed connections", finding.value)
        self.assertAdvice(finding, "wait")

    def test_shortBacklog(self) -> None:
        """
        Linux's old limit of 128 waiting connections is too low.
        """
        name = "proc/sys/net/core/somaxconn"
        finding = self.look(doctor.checkBacklog, name, "128\n")
        self.assertAdvice(finding, "sysctl -w net.core.somaxconn")

    def test_littleMemory(self) -> None:
        """
        The available memory counts, not the total.
        """
        text = "MemTotal: 16000000 kB\nMemAvailable: 102400 kB\n"
        finding = self.look(doctor.checkMemory, "proc/meminfo", text)
        self.assertEqual(finding.value, "100 MiB available")
        self.assertAdvice(finding, "swaps")

    def test_quota(self) -> None:
        """
        A quota of less than two cores stops server or load; two do not.
        """
        name = "sys/fs/cgroup/cpu.max"
        finding = self.look(doctor.checkQuota, name, "150000 100000\n")
        self.assertEqual(finding.value, "1.5 cores")
        self.assertAdvice(finding, "--cpus=2")
        self.assertFine(self.look(doctor.checkQuota, name, "200000 100000\n"))

    def test_hiddenQuota(self) -> None:
        """
        A container that sees no quota may have one; the run delay of this process shows
        it.
        """
        name = "sys/fs/cgroup/cgroup.events"
        finding = self.look(doctor.checkQuota, name, "populated 1\n")
        self.assertEqual(finding.value, "unknown")
        name = "proc/self/schedstat"
        finding = self.look(doctor.checkRunDelay, name, "200000000 600000000 9\n")
        self.assertEqual(finding.value, "75% of the time since it was started")
        self.assertAdvice(finding, "quota", "other programs")
        finding = self.look(doctor.checkRunDelay, name, "0 0 0\n")
        self.assertEqual(finding.value, "unknown")

    def test_governor(self) -> None:
        """
        One core with a changing clock rate is enough for advice.
        """
        name = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor"
        finding = self.look(doctor.checkGovernor, name, "powersave\n")
        self.assertEqual(finding.value, "performance, powersave")
        self.assertAdvice(finding, "cpupower frequency-set")

    def test_steal(self) -> None:
        """
        More than one per cent of stolen time is too much. The time of guests is
        contained in the user's time, and is not counted twice.
        """
        text = "cpu  400 0 100 480 0 0 0 20 400 0\n"
        finding = self.look(doctor.checkSteal, "proc/stat", text)
        self.assertEqual(finding.value, "2.00% since boot")
        self.assertAdvice(finding, "--rounds")

    def test_stealOnOldKernel(self) -> None:
        """
        A kernel that counts no steal leaves it unknown.
        """
        finding = self.look(doctor.checkSteal, "proc/stat", "cpu  400 0 100 500\n")
        self.assertEqual(finding.value, "unknown")

    def test_load(self) -> None:
        """
        On a busy machine there is advice.
        """
        self.patch(doctor, "usable", lambda: 2)
        text = "1.50 0.20 0.30 1/90 4242\n"
        finding = self.look(doctor.checkLoad, "proc/loadavg", text)
        self.assertEqual(finding.value, "1.5 over the last minute")
        self.assertAdvice(finding, "top")

    def test_virtual(self) -> None:
        """
        A virtual machine is reported, without advice.
        """
        text = "processor\t: 0\nflags\t\t: fpu hypervisor vme\n"
        finding = self.look(doctor.checkMachine, "proc/cpuinfo", text)
        self.assertEqual(finding.value, "virtual")
        self.assertFine(finding)
        metal = doctor.checkMachine(self.machine())
        self.assertIn("metal", metal.value)

    def test_garbage(self) -> None:
        """
        If a file has unexpected content, the answer is unknown.
        """
        machine = self.machine()
        for name in HEALTHY:
            (machine / name).write_bytes(b"\xff\x00? 1 2 x\n\n")
        findings = {finding.name: finding for finding in doctor.examine(machine)}
        for name in ("local ports", "memory", "CPU quota", "CPU steal", "machine"):
            self.assertEqual(findings[name].value, "unknown", name)


class ProcessTests(MachineTests):
    """
    Checks that ask the operating system about this process.
    """

    def limits(self, soft: int, hard: int) -> Finding:
        """
        The finding about limits on file descriptors.
        """
        import resource

        self.patch(resource, "getrlimit", lambda which: (soft, hard))
        return doctor.checkDescriptors(self.machine())

    def test_fewDescriptors(self) -> None:
        """
        If the hard limit is too low, the advice has a way to raise it for each kind of
        login.
        """
        finding = self.limits(1024, 4096)
        self.assertEqual(finding.value, "soft 1,024, hard 4,096")
        self.assertAdvice(finding, "ulimit -n", "limits.conf", "LimitNOFILE")

    def test_enoughDescriptors(self) -> None:
        """
        The hard limit decides whether comparisons can run.
        """
        import resource

        self.assertFine(self.limits(20_000, 20_000))
        unlimited = self.limits(20_000, resource.RLIM_INFINITY)
        self.assertFine(unlimited)
        self.assertEqual(unlimited.value, "soft 20,000, hard unlimited")

    def test_lowSoftLimit(self) -> None:
        """
        The soft limit applies to a server that is started by hand.
        """
        finding = self.limits(1024, 20_000)
        self.assertAdvice(finding, "enough for comparisons", "1,024", "ulimit -n")

    def test_oneCore(self) -> None:
        """
        With one core, server and load cannot be separated.
        """
        self.patch(os, "sched_getaffinity", lambda process: {3})
        finding = doctor.checkCores(self.machine())
        self.assertRegex(finding.value, r"^1 of \d+ usable$")
        self.assertAdvice(finding, "two")

    def test_twoCores(self) -> None:
        """
        Two cores are enough: there is no advice.
        """
        self.patch(os, "sched_getaffinity", lambda process: {0, 3})
        self.assertFine(doctor.checkCores(self.machine()))

    def test_noLoopback(self) -> None:
        """
        Without 127.0.0.1, nothing can be measured.
        """

        def refuse(*args: Any, **options: Any) -> socket.socket:
            raise OSError(errno.EADDRNOTAVAIL, "no such address")

        self.patch(socket, "create_server", refuse)
        finding = doctor.checkLoopback(self.machine())
        self.assertEqual(finding.value, "unreachable")
        self.assertAdvice(finding, "ip link set lo up")

    def test_onlyOldLoopback(self) -> None:
        """
        IPv6 is not needed.
        """
        create = socket.create_server

        def onlyOld(address: Any, *, family: socket.AddressFamily) -> socket.socket:
            if family != socket.AF_INET:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6")
            return create(address, family=family)

        self.patch(socket, "create_server", onlyOld)
        finding = doctor.checkLoopback(self.machine())
        self.assertEqual(finding, Finding("loopback", "127.0.0.1"))

    def test_noTools(self) -> None:
        """
        For each missing tool, the advice says what it is for and how to install it.
        """
        self.patch(shutil, "which", lambda command: None)
        for check, package in (
            (doctor.checkStrace, "strace"),
            (doctor.checkPerf, "linux-perf"),
            (doctor.checkWrk, "wrk"),
            (doctor.checkCompiler, "gcc"),
        ):
            finding = check(self.machine())
            self.assertEqual(finding.value, "not installed")
            self.assertAdvice(finding, "optional (", f"'apt install {package}'")

    def test_tools(self) -> None:
        """
        For an installed tool there is no advice; a compiler may have any of its names.
        """
        self.patch(
            shutil,
            "which",
            lambda command: None if command == "cc" else f"/opt/{command}",
        )
        wrk = doctor.checkWrk(self.machine())
        compiler = doctor.checkCompiler(self.machine())
        self.assertEqual(wrk, Finding("wrk", "/opt/wrk"))
        self.assertEqual(compiler, Finding("C compiler", "/opt/gcc"))

    def test_driver(self) -> None:
        """
        A load that is not compiled works; the advice says how to compile it.
        """
        self.patch(doctor, "find_spec", lambda name: None)
        finding = doctor.checkDriver(self.machine())
        self.assertEqual(finding.value, "in Python")
        self.assertAdvice(finding, "install a C compiler")
        self.patch(doctor, "find_spec", lambda name: name == "iodemo.load.fast")
        self.assertEqual(
            doctor.checkDriver(self.machine()), Finding("load", "compiled")
        )

    def test_straceForbidden(self) -> None:
        """
        C{strace} may be installed but not allowed to trace programs that others have
        started, unless root runs it.
        """
        self.patch(shutil, "which", lambda command: f"/opt/{command}")
        self.assertEqual(
            doctor.checkStrace(self.machine()), Finding("strace", "/opt/strace")
        )
        machine = self.machine({"proc/sys/kernel/yama/ptrace_scope": "1\n"})
        self.patch(os, "geteuid", lambda: 1000)
        self.assertAdvice(
            doctor.checkStrace(machine), "sysctl -w kernel.yama.ptrace_scope=0"
        )
        self.patch(os, "geteuid", lambda: 0)
        self.assertFine(doctor.checkStrace(machine))

    def test_perfForbidden(self) -> None:
        """
        C{perf} may be installed but not allowed to count in the kernel, unless root
        runs it.
        """
        self.patch(shutil, "which", lambda command: f"/opt/{command}")
        machine = self.machine({"proc/sys/kernel/perf_event_paranoid": "2\n"})
        self.patch(os, "geteuid", lambda: 1000)
        self.assertAdvice(
            doctor.checkPerf(machine), "sysctl -w kernel.perf_event_paranoid=1"
        )
        self.assertFine(doctor.checkPerf(self.machine()))
        self.patch(os, "geteuid", lambda: 0)
        self.assertFine(doctor.checkPerf(machine))


class IoUringTests(MachineTests):
    """
    Tests for the advice about io_uring, for each error of the kernel.
    """

    def refusal(self, code: int, files: dict[str, str] | None = None) -> str:
        """
        The advice for an C{errno}.
        """
        failed = ("io_uring_setup", code) if code else None
        self.patch(kernel, "_tryRing", lambda: failed)
        refusal = kernel.ioUringRefusal(self.machine(files))
        assert refusal is not None
        return refusal

    def assertSaid(self, text: str, *parts: str) -> None:
        """
        Check that a text contains each of these.
        """
        for part in parts:
            self.assertIn(part, text)

    def test_usable(self) -> None:
        """
        If a ring can be made and the kernel is new enough, there is no advice.
        """
        self.patch(kernel, "_tryRing", lambda: None)
        self.assertIsNone(kernel.ioUringRefusal(self.machine()))

    def test_tooOld(self) -> None:
        """
        An old kernel makes a ring, but lacks features that the backend needs.
        """
        files = {"proc/sys/kernel/osrelease": "5.10.0-28-amd64\n"}
        self.assertSaid(self.refusal(0, files), "Linux 5.10.0-28-amd64", "6.1")

    def test_missing(self) -> None:
        """
        ENOSYS has different causes on an old kernel and on a new one.
        """
        old = {"proc/sys/kernel/osrelease": "4.19.0\n"}
        self.assertSaid(self.refusal(errno.ENOSYS, old), "ENOSYS", "4.19.0 is too old")
        new = self.refusal(errno.ENOSYS)
        self.assertSaid(new, "ENOSYS", "CONFIG_IO_URING", "seccomp=unconfined")

    def test_disabled(self) -> None:
        """
        For EPERM by the administrator's switch, the advice has its value and how to
        change it.
        """
        for value, who in (("1", "kernel.io_uring_group"), ("2", "all users")):
            files = {"proc/sys/kernel/io_uring_disabled": f"{value}\n"}
            self.assertSaid(
                self.refusal(errno.EPERM, files),
                f"kernel.io_uring_disabled={value}",
                who,
                "sysctl -w kernel.io_uring_disabled=0",
            )

    def test_forbidden(self) -> None:
        """
        For EPERM with the switch open, a filter is the cause. It is named if it is
        known to exist.
        """
        filtered = self.refusal(errno.EPERM, {"proc/self/status": "Seccomp:\t2\n"})
        self.assertSaid(
            filtered, "EPERM: a seccomp filter refuses it", "io_uring_setup"
        )
        unknown = self.refusal(errno.EPERM)
        self.assertSaid(unknown, "EPERM", "or a security module", "seccomp=unconfined")

    def test_others(self) -> None:
        """
        For every other error, the advice has its name and something to do or to check.
        """
        for code, part in (
            (errno.EACCES, "SELinux"),
            (errno.EINVAL, "not Linux's own"),
            (errno.ENOMEM, "ulimit -l"),
            (errno.EMFILE, "ulimit -n"),
            (errno.EIO, os.strerror(errno.EIO)),
        ):
            self.assertSaid(self.refusal(code), errno.errorcode[code], part)

    def test_finding(self) -> None:
        """
        The finding has the refusal as its advice.
        """
        refusal = self.refusal(errno.EACCES)
        self.assertEqual(
            doctor.checkIoUring(self.machine()),
            Finding("io_uring", "not usable", refusal),
        )

    @skipUnless(platform.system() == "Linux", "there is io_uring on Linux only")
    def test_returned(self) -> None:
        """
        The check on the real kernel leaves no ring open.
        """
        before = os.listdir("/proc/self/fd")
        for _ in range(3):
            kernel.ioUringRefusal()
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))

    @skipUnless(platform.machine() == "x86_64", "the filter is one for x86-64")
    @skipUnless(platform.system() == "Linux", "there is seccomp on Linux only")
    def test_realFilter(self) -> None:
        """
        Under a seccomp filter like that of a container, the advice names the filter.
        """
        code = """
import ctypes, struct
from iodemo import kernel
# A = the number; if A == io_uring_setup: errno EPERM; else: allowed.
program = b"".join(struct.pack("HBBI", *instruction) for instruction in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)
))
code = ctypes.create_string_buffer(program, len(program))
head = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
print(libc.prctl(22, 2, ctypes.create_string_buffer(head, len(head))))
print(kernel.ioUringRefusal())
"""
        installed, refusal = runPython(code).splitlines()
        if installed != "0":
            raise SkipTest("no seccomp filter can be installed here")
        if "io_uring_disabled" in refusal:
            raise SkipTest("kernel.io_uring_disabled refuses before the filter does")
        self.assertSaid(refusal, "EPERM: a seccomp filter refuses it")


def runPython(code: str) -> str:
    """
    Run code in a process of its own.

    @return: its output.
    """
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return result.stdout


class ExamineTests(MachineTests):
    """
    Tests for all checks together, on any machine.
    """

    def assertWhole(self, findings: list[Finding]) -> None:
        """
        Check that each check has a finding with a name and a value.
        """
        self.assertEqual(len(findings), len(doctor.CHECKS))
        self.assertEqual(len({finding.name for finding in findings}), len(findings))
        for finding in findings:
            self.assertNotEqual(finding.name.strip(), "", finding)
            self.assertNotEqual(finding.value.strip(), "", finding)
            self.assertNotEqual(finding.advice, "", finding)
            self.assertNotIn("\n", finding.value + (finding.advice or ""), finding)

    def test_here(self) -> None:
        """
        It works on this machine.
        """
        self.assertWhole(doctor.examine())

    def test_nothingToSee(self) -> None:
        """
        Without C{/proc} and C{/sys}, the checks work, and report what is unknown.
        """
        root = Path(self.mktemp())
        findings = doctor.examine(root)
        self.assertWhole(findings)
        unknown = {finding.name for finding in findings if finding.value == "unknown"}
        self.assertEqual(
            unknown,
            {
                "machine",
                "local ports",
                "listen backlog",
                "memory",
                "CPU quota",
                "run delay",
                "CPU steal",
                "load average",
            },
        )

    def test_elsewhere(self) -> None:
        """
        On another operating system, the checks work, and make no Linux system call.
        """

        def missing(process: int) -> set[int]:
            raise AttributeError("sched_getaffinity")

        self.patch(platform, "system", lambda: "Darwin")
        self.patch(platform, "release", lambda: "23.1.0")
        self.patch(os, "sched_getaffinity", missing)
        self.patch(kernel, "_tryRing", lambda: self.fail("a system call of Linux"))
        findings = doctor.examine(Path(self.mktemp()))
        self.assertWhole(findings)
        byName = {finding.name: finding for finding in findings}
        self.assertEqual(byName["kernel"].value, "Darwin 23.1.0")
        self.assertAdvice(byName["kernel"], "Linux")
        self.assertAdvice(byName["io_uring"], "Darwin")

    def test_unprivileged(self) -> None:
        """
        The checks work for a user without any privilege.
        """
        code = """
import dataclasses, json, os, pwd
from iodemo import doctor
if os.getuid() == 0:
    # The user below may not be allowed to read Python's files: load all modules now.
    doctor.examine()
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
assert os.geteuid() != 0
print(json.dumps([dataclasses.astuple(finding) for finding in doctor.examine()]))
"""
        self.assertWhole([Finding(*row) for row in json.loads(runPython(code))])
