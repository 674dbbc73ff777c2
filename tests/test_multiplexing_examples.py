"""
Tests for C{docs/examples/multiplexing.py}, the code of the chapter on multiplexing, and
for the chapter's statements about the kernel.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import select
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from .children import TIMEOUT

_DOCS = Path(__file__).parent.parent / "docs"


def _example() -> ModuleType:
    """
    The module, which belongs to no package.
    """
    path = _DOCS / "examples" / "multiplexing.py"
    if not path.exists():
        raise SkipTest("the pages are not here")
    if not hasattr(select, "epoll"):
        raise SkipTest("it takes epoll")
    spec = importlib.util.spec_from_file_location("multiplexing", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ExampleTests(SynchronousTestCase):
    """
    Tests for the code.
    """

    def setUp(self) -> None:
        """
        Load the module.
        """
        self.example: Any = _example()

    def test_loops(self) -> None:
        """
        Each loop returns the data of every socket, and ends when all sockets have
        ended.
        """
        for loop in ("withSelect", "withPoll", "withEpoll"):
            pairs = [socket.socketpair() for _ in range(5)]
            for end in (end for pair in pairs for end in pair):
                self.addCleanup(end.close)
            ours = {ours: number for number, (ours, _) in enumerate(pairs)}
            arrived = [b""] * len(pairs)
            pairs[0][1].sendall(b"first")
            for each, data in getattr(self.example, loop)(list(ours)):
                arrived[ours[each]] += data
                following = ours[each] + 1
                # Data is sent on one socket after the other, so that the loop waits for
                # each.
                if following < len(pairs) and not arrived[following]:
                    pairs[following][1].sendall(b"%d" % following)
                pairs[ours[each]][1].close()
            self.assertEqual(arrived, [b"first", b"1", b"2", b"3", b"4"], loop)

    def test_readyForNothing(self) -> None:
        """
        A loop continues if a socket that was ready has no data any more. Here two
        descriptors share one socket: both are ready, and the receive on the first takes
        the data of the second. More data comes on them only after another socket has
        been served.
        """
        for loop in ("withSelect", "withPoll", "withEpoll"):
            ours, peer = socket.socketpair()
            other, others = socket.socketpair()
            watched = [ours, ours.dup(), other]
            for each in (*watched, peer, others):
                self.addCleanup(each.close)
                # A blocking receive would end in a TimeoutError.
                each.settimeout(TIMEOUT)
            peer.sendall(b"once")
            brought = []
            for _, data in getattr(self.example, loop)(watched):
                brought.append(data)
                if data == b"once":
                    others.sendall(b"other")
                elif data == b"other":
                    peer.sendall(b"again")
                    peer.close()
                    others.close()
            self.assertEqual(brought, [b"once", b"other", b"again"], loop)
            self.assertEqual([each.getblocking() for each in watched], [False] * 3)

    def test_triggers(self) -> None:
        """
        A level-triggered descriptor is reported as long as there is data, an
        edge-triggered one once.
        """
        self.assertEqual(self.example.timesReported(0), 2)
        self.assertEqual(self.example.timesReported(select.EPOLLET), 1)

    def test_duplicate(self) -> None:
        """
        epoll still reports a closed descriptor if its file is still open.
        """
        self.assertTrue(self.example.reportsClosed())


class TrapTests(SynchronousTestCase):
    """
    Tests for the statements about the kernel and CPython.
    """

    def setUp(self) -> None:
        """
        Skip on a system without epoll.
        """
        _example()

    def test_descriptorOutOfRange(self) -> None:
        """
        CPython's select refuses descriptor 1,024.
        """
        error = self.assertRaises(ValueError, select.select, [1024], (), ())
        self.assertEqual(str(error), "filedescriptor out of range in select()")

    def test_regularFile(self) -> None:
        """
        epoll refuses a regular file, which poll reports as ready at once.
        """
        with open(__file__) as file, select.epoll() as poller:
            error = self.assertRaises(OSError, poller.register, file, select.EPOLLIN)
            self.assertEqual(error.errno, errno.EPERM)
            both = select.POLLIN | select.POLLOUT
            plain = select.poll()
            plain.register(file, both)
            self.assertEqual(plain.poll(0), [(file.fileno(), both)])

    def test_closedDescriptor(self) -> None:
        """
        poll reports a descriptor that is not open, while epoll cannot remove it.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        duplicate = os.dup(reading)
        self.addCleanup(os.close, duplicate)
        plain = select.poll()
        plain.register(reading, select.POLLIN)
        with select.epoll() as poller:
            poller.register(reading, select.EPOLLIN)
            os.close(reading)
            self.assertEqual(plain.poll(0), [(reading, select.POLLNVAL)])
            error = self.assertRaises(OSError, poller.unregister, reading)
            self.assertEqual(error.errno, errno.EBADF)

    def test_hangUp(self) -> None:
        """
        epoll reports a hang-up even if EPOLLHUP is not registered.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        with select.epoll() as poller:
            poller.register(reading, 0)
            self.assertEqual(poller.poll(0), [])
            os.close(writing)
            self.assertEqual(poller.poll(0), [(reading, select.EPOLLHUP)])

    def test_registeringAsksNoKernel(self) -> None:
        """
        Python's poll object keeps its list itself, without a system call: it registers
        a descriptor that cannot be open without an error, and epoll refuses it.
        """
        select.poll().register(10**6, select.POLLIN)
        with select.epoll() as poller:
            error = self.assertRaises(OSError, poller.register, 10**6, select.EPOLLIN)
            self.assertEqual(error.errno, errno.EBADF)
