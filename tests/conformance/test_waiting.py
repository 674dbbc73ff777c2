"""
Tests for connections in the backlog: none is lost, nor any data sent on it in the
meantime.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

from ..children import TIMEOUT
from .hosting import Host
from .peers import reset
from .sizes import WAITING
from .stamping import BackendTestCase, sharedState, stamped

# By description: the data that a peer sends, and how it closes, before it is accepted.
_LEAVING = {
    "says something and resets": (b"hello", reset),
    "says something and closes": (b"hello", socket.socket.close),
    "resets": (b"", reset),
    "closes": (b"", socket.socket.close),
}


@contextlib.contextmanager
def _stopped(host: Host) -> Iterator[None]:
    """
    Stop the processes of a host for a while.
    """
    os.kill(host.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, host.pid, os.WSTOPPED)
    try:
        yield
    finally:
        os.kill(host.pid, signal.SIGCONT)


@stamped
class GoneTests(BackendTestCase):
    """
    Tests for peers that close before they are accepted.
    """

    def connect(self, host: Host, transport: str) -> socket.socket:
        """
        Connect by one of the transports.
        """
        if transport == "tcp":
            return host.connect()
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(TIMEOUT)
        client.connect(str(host.directory / "socket"))
        return client

    def check(self, transport: str) -> None:
        """
        Each is reported like any other connection, with its data; and another client is
        served afterwards.
        """
        with self.host("waiting.tellAll", transport=transport) as host:
            host.await_("listening")
            for count, (how, (said, leave)) in enumerate(_LEAVING.items(), 1):
                before = len(host.events)
                with _stopped(host):
                    client = self.connect(host, transport)
                    client.sendall(said)
                    leave(client)
                host.await_("connectionLost", count)
                told = host.events[before:]
                expected = ["connectionMade", "connectionLost"]
                if said:
                    expected.insert(1, "dataReceived")
                self.assertEqual([each["event"] for each in told], expected, how)
                if said:
                    self.assertEqual(told[1]["data"], said.decode(), how)
            self.connect(host, transport)
            host.await_("connectionMade", len(_LEAVING) + 1)

    def test_tcp(self) -> None:
        """
        On a TCP port.
        """
        self.check("tcp")

    def test_unix(self) -> None:
        """
        On a UNIX socket.
        """
        self.check("unix")


@stamped
class PortTests(BackendTestCase):
    """
    Tests for ports that stop or pause while connections wait.
    """

    def checkStop(self, transport: str) -> None:
        """
        Waiting connections are served, or stay for the other process that has the
        socket.
        """
        with self.host("waiting.stop", transport=transport) as host:
            counted = host.await_("counted")
            host.await_("ended")
        self.assertEqual(counted["came"], 2 * WAITING)
        self.assertEqual(counted["served"] + counted["left"], counted["came"])

    def checkPause(self, how: str) -> None:
        """
        All waiting connections are served in the end.
        """
        for transport in ("tcp", "unix"):
            with self.host("waiting.pause", transport=transport, how=how) as host:
                self.assertEqual(host.await_("served")["count"], WAITING, transport)

    @sharedState
    def test_stop(self) -> None:
        """
        Two TCP ports stop, because the reactor does.
        """
        self.checkStop("tcp")

    @sharedState
    def test_stopUNIX(self) -> None:
        """
        Two ports on UNIX sockets stop, because the reactor does.
        """
        self.checkStop("unix")

    @sharedState
    def test_pause(self) -> None:
        """
        A port pauses in the turn in which connections come, and resumes.
        """
        self.checkPause("pause")

    @sharedState
    def test_stopOne(self) -> None:
        """
        One of two ports on the same socket stops in the turn in which connections come.
        """
        self.checkPause("stop")

    @sharedState
    def test_oneAtATime(self) -> None:
        """
        A port pauses when a connection is made, and resumes when it is lost.
        """
        self.checkPause("one")
