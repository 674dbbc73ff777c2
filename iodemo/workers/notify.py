# -*- test-case-name: tests.test_workers -*-
"""
Messages of a service to systemd, or to another supervisor, about its state, as in
sd_notify(3).

The supervisor receives datagrams at the UNIX socket that NOTIFY_SOCKET names: a path
or, after an C{@}, an abstract name.
"""

from __future__ import annotations

import os
import socket
import time


def notify(*assignments: str) -> None:
    """
    Send a datagram, if this process has a supervisor that wants any.

    @param assignments: such as C{READY=1}.
    @raise OSError: if the supervisor's socket cannot be reached.
    """
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        # A supervisor that does not read must not stop the service.
        sending.setblocking(False)
        address = "\0" + name[1:] if name.startswith("@") else name
        sending.sendto("\n".join(assignments).encode(), address)


def reloading() -> tuple[str, str]:
    """
    The two assignments that begin a reload. The second is the time, as systemd compares
    it with that of its request (C{Type=notify-reload}).
    """
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return "RELOADING=1", f"MONOTONIC_USEC={microseconds}"
