"""
Tests for the files that C{docs/production.rst} shows.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from .children import TIMEOUT, Child, exchange, makeDirectory

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


class ProductionTests(SynchronousTestCase):
    """
    Tests for a unit of systemd, for a seccomp profile, and for the command that has the
    statistics logged.
    """

    def test_unit(self) -> None:
        """
        The service serves on the socket that its socket unit names, over IPv4 and IPv6.
        """
        service, listening = (
            configparser.RawConfigParser(strict=False, interpolation=None)
            for _ in range(2)
        )
        service.optionxform = listening.optionxform = str  # type: ignore[assignment,method-assign]
        service.read(EXAMPLES / "echo.service")
        listening.read(EXAMPLES / "echo.socket")
        self.assertTrue(listening["Socket"]["ListenStream"].isdigit())
        _, *options = shlex.split(service["Service"]["ExecStart"])
        before, (listen,) = options[:-2], options[-1:]
        self.assertEqual(before, ["-n", "--pidfile=", "--reactor=auto"])
        try:
            port = socket.create_server(
                ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
            )
        except OSError as error:
            raise SkipTest(f"no socket for IPv4 and IPv6: {error}") from error
        with port:
            child = Child(
                self,
                options[-2],
                listen=listen.removeprefix("--listen="),
                systemdSocket=port,
                reactor="auto",
            )
            number = port.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, number), TIMEOUT) as connection:
                self.assertEqual(exchange(connection, b"hello"), b"hello")
        self.assertEqual(child.stop(), -signal.SIGTERM)

    def test_profile(self) -> None:
        """
        The command makes a profile from a default one: without conditions, and with the
        system calls of io_uring.
        """
        if shutil.which("jq") is None:
            raise SkipTest("jq is not installed")
        allow = "SCMP_ACT_ALLOW"
        default = {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "archMap": [],
            "syscalls": [
                {"names": ["read"], "action": allow},
                {"names": ["old"], "action": allow, "includes": {"minKernel": "4.8"}},
                {"names": ["x"], "action": allow, "includes": {"arches": ["amd64"]}},
                {"names": ["arm"], "action": allow, "includes": {"arches": ["arm64"]}},
                {"names": ["bpf"], "action": allow, "includes": {"caps": ["CAP_BPF"]}},
                {"names": ["clone"], "action": allow, "excludes": {"caps": ["CAP_X"]}},
                {"names": ["s"], "action": allow, "excludes": {"arches": ["amd64"]}},
            ],
        }
        directory = makeDirectory(self)
        (directory / "default.json").write_text(json.dumps(default))
        curl = directory / "curl"
        curl.write_text(f"#!/bin/sh\nexec cat {directory}/default.json\n")
        curl.chmod(0o755)
        subprocess.run(
            ["sh", "-e", EXAMPLES / "seccomp-profile.sh"],
            cwd=directory,
            env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
            timeout=TIMEOUT,
            check=True,
        )
        profile = json.loads((directory / "profile.json").read_text())
        self.assertEqual(
            set(profile),
            {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"},
        )
        calls = ["io_uring_setup", "io_uring_enter", "io_uring_register"]
        self.assertEqual(
            [rule["names"] for rule in profile["syscalls"]],
            [["read"], ["old"], ["x"], ["clone"], calls],
        )
        for rule in profile["syscalls"]:
            self.assertEqual(set(rule), {"names", "action"})

    def test_statistics(self) -> None:
        """
        The command has the statistics logged where a process handles SIGUSR2, and ends
        no process that does not.
        """
        for reactor, status in (("proactor", 0), ("auto", 0), ("epoll", 1)):
            child = Child(self, "iodemo-echo", reactor=reactor)
            with child.connect() as connection:
                # The reactor handles signals by the time at which it serves.
                self.assertEqual(exchange(connection, b"hello"), b"hello")
                ended = subprocess.run(
                    ["sh", EXAMPLES / "statistics.sh"],
                    env={**os.environ, "PID": str(child.pid)},
                    timeout=TIMEOUT,
                )
                self.assertEqual(ended.returncode, status, reactor)
                if status == 0:
                    child.await_(b"Queue: connections=1 ")
                self.assertEqual(exchange(connection, b"still"), b"still")
            self.assertEqual(child.stop(), -signal.SIGTERM)
