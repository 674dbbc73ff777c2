"""
Tests for L{iodemo.completion}: each queue is tested against the interface, with real
sockets, and the ring in addition against what only it does.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from iodemo import models
from iodemo.completion.emulated import ReadinessQueue
from iodemo.completion.interfaces import MOST_PIECES, ICompletionQueue

from .children import TIMEOUT, makeDirectory
from .conformance.hosting import eventually

if TYPE_CHECKING:
    from iodemo.completion.ring import RingQueue

MIB = 1024 * 1024


def makeRing(
    buffers: int = 64, bufferBytes: int = 4096, results: int = 1024
) -> RingQueue:
    """
    A ring, of a size for tests.
    """
    reason = models.find("uring").unavailable()
    if reason is not None:
        raise SkipTest(reason)
    from iodemo.completion.ring import RingQueue

    return RingQueue(buffers, bufferBytes, results)


class Owner:
    """
    The owner of operations, which records its callbacks.

    @ivar calls: name and arguments of each callback but C{received}, in order.
    @ivar data: all that was received.
    @ivar whenCalled: called with the name of each callback.
    """

    def __init__(self, whenCalled: Callable[[str], object] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.data = b""
        self.whenCalled = whenCalled or (lambda name: None)

    def received(self, data: bytes) -> None:
        """See L{ICompletionQueue.receive}."""
        self.data += data
        self.whenCalled("received")

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)

        def record(*arguments: Any) -> None:
            self.calls.append((name, *arguments))
            self.whenCalled(name)

        return record


def listening() -> socket.socket:
    """
    A port of the loopback interface.
    """
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind(("127.0.0.1", 0))
    port.listen(200)
    port.setblocking(False)
    return port


class QueueTestsMixin:
    """
    Tests for the interface.
    """

    queue: Any
    addCleanup: Any
    assertEqual: Any
    assertTrue: Any
    assertRaises: Any
    assertIn: Any
    flushLoggedErrors: Any

    def makeQueue(self) -> Any:
        """
        The queue under test.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        """
        Make the queue.
        """
        self.queue = self.makeQueue()

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """
        Two ends of a TCP connection: the queue's, and the peer's.
        """
        with listening() as port:
            peer = socket.create_connection(port.getsockname(), TIMEOUT)
            port.setblocking(True)
            ours, _ = port.accept()
        ours.setblocking(False)
        for end in (ours, peer):
            self.addCleanup(end.close)
        return ours, peer

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Wait until a condition is true.
        """
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            self.queue.wait(TIMEOUT)
            if time.monotonic() > deadline:
                raise AssertionError("it never came")

    def untilCalled(self, owner: Owner) -> None:
        """
        Wait until an owner was called with something other than data.
        """
        self.until(lambda: bool(owner.calls))

    def untilReceived(self, owner: Owner, data: bytes) -> None:
        """
        Wait until an owner has received exactly this data.
        """
        self.until(lambda: len(owner.data) >= len(data))
        self.assertEqual(owner.data, data)

    def drainResults(self) -> None:
        """
        Let the queue dispatch all results that it can get now.
        """
        for _ in range(5):
            self.queue.wait(0)

    def test_statistics(self) -> None:
        """
        The statistics count operations until they end.
        """
        ours, _ = self.pair()
        operation = self.queue.receive(Owner(), ours.fileno())
        self.assertEqual(self.queue.statistics()["operations"], 1)
        self.queue.wait(0)
        self.assertEqual(self.queue.statistics()["operations"], 1)
        self.queue.cancel(operation)
        self.queue.wait(0)
        self.assertEqual(self.queue.statistics()["operations"], 0)

    def test_interface(self) -> None:
        """
        It is a completion queue.
        """
        self.assertTrue(verifyObject(ICompletionQueue, self.queue))

    def test_receive(self) -> None:
        """
        The owner is called with all data that arrives, and then with the end.
        """
        ours, peer = self.pair()
        owner = Owner()
        self.queue.receive(owner, ours.fileno())
        for said in (b"one", b"two" * 10000):
            expected = owner.data + said
            peer.sendall(said)
            self.untilReceived(owner, expected)
        peer.shutdown(socket.SHUT_WR)
        self.untilCalled(owner)
        self.assertEqual(owner.data, b"one" + b"two" * 10000)
        self.assertEqual(owner.calls, [("receiveEnded", 0)])

    def test_receiveReset(self) -> None:
        """
        A reset is reported as the kernel's error.
        """
        ours, peer = self.pair()
        owner = Owner()
        self.queue.receive(owner, ours.fileno())
        self.drainResults()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        self.untilCalled(owner)
        self.assertEqual(owner.calls, [("receiveEnded", -errno.ECONNRESET)])

    def test_receiveCancelled(self) -> None:
        """
        The owner of a cancelled receive is not called, whether the receive was
        submitted or not. The receive takes nothing: later data stays in the socket.
        """
        for submitted in (False, True):
            ours, peer = self.pair()
            owner, heir = Owner(), Owner()
            operation = self.queue.receive(owner, ours.fileno())
            if submitted:
                peer.sendall(b"mine")
                self.untilReceived(owner, b"mine")
                self.drainResults()
            peer.sendall(b"yours")
            select.select([ours], [], [], TIMEOUT)
            self.queue.cancel(operation)
            self.queue.cancel(operation)
            self.drainResults()
            self.assertEqual(ours.recv(100), b"yours")
            self.queue.receive(heir, ours.fileno())
            peer.sendall(b"and yours")
            self.untilReceived(heir, b"and yours")
            self.assertEqual(owner.calls, [])

    def test_receiveCancelledWithin(self) -> None:
        """
        An owner that cancels a receive in a callback leaves the rest in the socket,
        however much there is; and it may receive again at once.
        """
        ours, peer = self.pair()
        data = os.urandom(MIB // 4)
        peer.settimeout(TIMEOUT)
        sending = threading.Thread(target=peer.sendall, args=(data,))
        sending.start()
        owner = Owner()
        operations: list[int] = []

        def once(name: str) -> None:
            self.queue.cancel(operations.pop())

        def again(name: str) -> None:
            self.queue.cancel(operations.pop())
            operations.append(self.queue.receive(owner, ours.fileno()))

        owner.whenCalled = again
        operations.append(self.queue.receive(owner, ours.fileno()))
        self.until(lambda: len(owner.data) > MIB // 16)
        owner.whenCalled = once
        self.until(lambda: not operations)
        self.drainResults()
        before = len(owner.data)
        received = owner.data
        ours.settimeout(TIMEOUT)
        while len(received) < len(data):
            received += ours.recv(MIB)
        sending.join()
        self.assertTrue(received == data)
        self.assertEqual((len(owner.data), owner.calls), (before, []))

    def test_send(self) -> None:
        """
        Data that does not fit is sent when there is space; the result counts all.
        """
        ours, peer = self.pair()
        owner = Owner()
        data = os.urandom(8 * MIB)
        self.queue.send(owner, ours.fileno(), [b"xx" + data], 2)
        self.drainResults()
        self.assertEqual(owner.calls, [])
        received = self.drain(peer, len(data), owner)
        self.assertTrue(received == data)
        self.assertEqual(owner.calls, [("sent", len(data))])

    def test_sendPieces(self) -> None:
        """
        The maximum number of pieces is sent in order, though the socket has space for
        only a few of their bytes at a time.
        """
        ours, peer = self.pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        owner = Owner()
        pieces = [os.urandom(number * 16 % 16001) for number in range(MOST_PIECES)]
        data = b"".join(pieces)
        self.queue.send(owner, ours.fileno(), [b"xx", *pieces[1:]], 2)
        self.drainResults()
        self.assertEqual(owner.calls, [])
        received = self.drain(peer, len(data), owner)
        self.assertTrue(received == data)
        self.assertEqual(owner.calls, [("sent", len(data))])

    def drain(self, peer: socket.socket, count: int, owner: Owner) -> bytes:
        """
        Read so many bytes at the peer's end while the queue works, and until the owner
        was called.
        """
        peer.setblocking(False)
        received = bytearray()
        deadline = time.monotonic() + TIMEOUT
        while len(received) < count or not owner.calls:
            self.queue.wait(0)
            if select.select([peer], [], [], 0.01)[0]:
                received += peer.recv(MIB)
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(received)} of {count}, {owner.calls}")
        return bytes(received)

    def test_sendFails(self) -> None:
        """
        A send that fails has the kernel's error as its result.
        """
        ours, _peer = self.pair()
        ours.shutdown(socket.SHUT_WR)
        owner = Owner()
        self.queue.send(owner, ours.fileno(), [b"hello"])
        self.untilCalled(owner)
        self.assertEqual(owner.calls, [("sent", -errno.EPIPE)])

    def test_sendCancelled(self) -> None:
        """
        The owner of a send that was cancelled while it was blocked is not called, and
        nothing more is sent.
        """
        ours, peer = self.pair()
        owner = Owner()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        operation = self.queue.send(owner, ours.fileno(), [bytes(32 * MIB)])
        self.drainResults()
        self.queue.cancel(operation)
        self.drainResults()
        ours.shutdown(socket.SHUT_WR)
        received = 0
        while part := peer.recv(MIB):
            received += len(part)
            self.queue.wait(0)
        self.assertTrue(0 < received < 32 * MIB, received)
        self.assertEqual(owner.calls, [])

    def test_sendPassing(self) -> None:
        """
        A descriptor is passed with a byte, when the socket has space for it.
        """
        ours, peer = socket.socketpair()
        for end in (ours, peer):
            self.addCleanup(end.close)
            end.setblocking(False)
        full = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                full += ours.send(bytes(1024))
        owner = Owner()
        with open(__file__, "rb") as passed:
            self.queue.send(owner, ours.fileno(), [b"x"], 0, passed.fileno())
            self.drainResults()
            self.assertEqual(owner.calls, [])
            data = b""
            while len(data) < full:
                data += peer.recv(full - len(data))
            self.untilCalled(owner)
            self.assertEqual(owner.calls, [("sent", 1)])
            data, (received,), _, _ = socket.recv_fds(peer, 10, 10)
            self.addCleanup(os.close, received)
            self.assertEqual(data, b"x")
            self.assertTrue(
                os.path.samestat(os.fstat(received), os.fstat(passed.fileno()))
            )
            gone = passed.fileno()
        owner.calls.clear()
        self.queue.send(owner, ours.fileno(), [b"x"], 0, gone)
        self.untilCalled(owner)
        self.assertEqual(owner.calls, [("sent", -errno.EBADF)])

    def test_sendNow(self) -> None:
        """
        The owner of a sendNow that sent all is not called.
        """
        ours, peer = self.pair()
        owner = Owner()
        for number in range(10):
            self.queue.sendNow(owner, ours.fileno(), b"%d" % number)
        self.drainResults()
        self.assertEqual(peer.recv(100), b"0123456789")
        self.assertEqual(owner.calls, [])

    def test_sendNowPart(self) -> None:
        """
        A short sendNow is reported within the same wait, with the data, so that the
        rest can be sent.
        """
        ours, peer = self.pair()
        owner = Owner()
        data = os.urandom(8 * MIB)
        self.queue.sendNow(owner, ours.fileno(), data)
        self.queue.wait(0)
        ((name, unsent, count),) = owner.calls
        self.assertTrue((name, unsent) == ("sentPart", data))
        self.assertTrue(0 < count < len(data), count)
        self.queue.sendNow(owner, ours.fileno(), b"more")
        self.queue.wait(0)
        self.assertEqual(owner.calls[1:], [("sentPart", b"more", -errno.EAGAIN)])
        owner.calls.clear()
        self.queue.send(owner, ours.fileno(), [data], count)
        self.assertTrue(self.drain(peer, len(data), owner) == data)

    def test_connect(self) -> None:
        """
        The result of connecting is 0, or the kernel's error.
        """
        with listening() as port:
            address = port.getsockname()
            for result in (0, -errno.ECONNREFUSED):
                owner = Owner()
                with socket.socket() as connecting:
                    connecting.setblocking(False)
                    self.queue.connect(owner, connecting.fileno(), address)
                    self.untilCalled(owner)
                self.assertEqual(owner.calls, [("connectEnded", result)])
                port.close()

    def test_connectIPv6(self) -> None:
        """
        Addresses of IPv6 have four parts.
        """
        with socket.socket(socket.AF_INET6) as port:
            try:
                port.bind(("::1", 0))
            except OSError as error:
                raise SkipTest(f"no IPv6 here: {error}") from error
            port.listen()
            owner = Owner()
            with socket.socket(socket.AF_INET6) as connecting:
                connecting.setblocking(False)
                address = port.getsockname()
                self.queue.connect(owner, connecting.fileno(), address)
                self.untilCalled(owner)
            self.assertEqual(owner.calls, [("connectEnded", 0)])

    def test_connectUNIX(self) -> None:
        """
        An address of a UNIX socket is a path, or an abstract name. If the backlog is
        full, the result is EAGAIN, at once.
        """
        directory = makeDirectory(cast(SynchronousTestCase, self))
        paths = str(directory / "socket"), b"\0" + os.urandom(8).hex().encode()
        for path in paths:
            with socket.socket(socket.AF_UNIX) as port:
                port.bind(path)
                port.listen(0)
                connections = []
                for result in (0, -errno.EAGAIN):
                    connections.append(socket.socket(socket.AF_UNIX))
                    self.addCleanup(connections[-1].close)
                    connections[-1].setblocking(False)
                    owner = Owner()
                    self.queue.connect(owner, connections[-1].fileno(), path)
                    self.untilCalled(owner)
                    self.assertEqual(owner.calls, [("connectEnded", result)])
        with socket.socket(socket.AF_UNIX) as connecting:
            connecting.setblocking(False)
            owner = Owner()
            self.queue.connect(owner, connecting.fileno(), paths[0])
            self.untilCalled(owner)
            self.assertEqual(owner.calls, [("connectEnded", -errno.ECONNREFUSED)])
            for path in ("x" * 108, b"\0" + b"x" * 108):
                self.assertRaises(
                    OSError, self.queue.connect, owner, connecting.fileno(), path
                )

    def test_connectCancelled(self) -> None:
        """
        The owner of a cancelled connect is not called.
        """
        owner = Owner()
        with socket.socket() as full:
            # Nothing accepts, and the backlog holds one: the next gets no answer.
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            with socket.create_connection(full.getsockname(), TIMEOUT):
                connecting = socket.socket()
                connecting.setblocking(False)
                operation = self.queue.connect(
                    owner, connecting.fileno(), full.getsockname()
                )
                self.drainResults()
                self.queue.cancel(operation)
                connecting.close()
                self.drainResults()
        self.assertEqual(owner.calls, [])

    def test_connectNowhere(self) -> None:
        """
        An impossible port raises an exception.
        """
        with socket.socket() as connecting:
            self.assertRaises(
                OverflowError,
                self.queue.connect,
                Owner(),
                connecting.fileno(),
                ("127.0.0.1", 65536),
            )

    def test_poll(self) -> None:
        """
        Readiness is reported in each wait, as long as it lasts.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        self.addCleanup(os.close, reading)
        owner = Owner()
        operation = self.queue.poll(owner, reading, select.POLLIN)
        self.drainResults()
        self.assertEqual(owner.calls, [])
        os.write(writing, b"x")
        self.until(lambda: len(owner.calls) == 3)
        self.assertEqual(set(owner.calls), {("polled", select.POLLIN)})
        os.read(reading, 1)
        self.drainResults()
        owner.calls.clear()
        self.drainResults()
        self.assertEqual(owner.calls, [])
        os.write(writing, b"x")
        self.queue.cancel(operation)
        self.drainResults()
        self.assertEqual(owner.calls, [])

    def halfClosedAndFull(self) -> tuple[socket.socket, socket.socket]:
        """
        Two ends of a connection that is half-closed by the peer, and whose send buffer
        is full.
        """
        ours, peer = self.pair()
        owner = Owner()
        self.queue.receive(owner, ours.fileno())
        peer.shutdown(socket.SHUT_WR)
        self.untilCalled(owner)
        self.assertEqual(owner.calls, [("receiveEnded", 0)])
        # Buffers of a size that is set grow no more.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB // 16)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB // 16)
        full = False
        while not full:
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(bytes(MIB))
            # The kernel may still be moving data, which frees space once more.
            full = not select.select([], [ours], [], 0.1)[1]
        return ours, peer

    def test_sendHalfClosed(self) -> None:
        """
        A send on a half-closed socket waits for space, and takes no thread.
        """
        ours, peer = self.halfClosedAndFull()
        threads = os.listdir("/proc/self/task")
        owner = Owner()
        data = os.urandom(4 * MIB)
        sent = 0
        self.queue.send(owner, ours.fileno(), [data])
        self.drainResults()
        self.assertEqual(owner.calls, [])
        peer.setblocking(False)
        received = b""

        def served() -> bool:
            nonlocal sent, received
            if owner.calls:
                ((_, result),) = owner.calls
                owner.calls.clear()
                self.assertTrue(result > 0, result)
                sent += result
                if sent < len(data):
                    self.queue.send(owner, ours.fileno(), [data], sent)
            self.queue.wait(0)
            with contextlib.suppress(BlockingIOError):
                received = received[-len(data) :] + peer.recv(MIB)
            return sent == len(data) and received.endswith(data[-MIB:])

        eventually(served, lambda: (sent, len(received)))
        self.assertTrue(received.endswith(data))
        self.assertEqual(os.listdir("/proc/self/task"), threads)

    def test_pollHalfClosed(self) -> None:
        """
        A half-closed socket whose send buffer is full is not ready to be written.
        """
        ours, peer = self.halfClosedAndFull()
        owner, other = Owner(), Owner()
        operation = self.queue.poll(owner, ours.fileno(), select.POLLOUT)
        duplicate = ours.dup()
        self.addCleanup(duplicate.close)
        cancelled = self.queue.poll(other, duplicate.fileno(), select.POLLOUT)
        self.drainResults()
        self.assertEqual(owner.calls, [])
        self.queue.cancel(cancelled)
        peer.setblocking(False)

        def reported() -> bool:
            self.queue.wait(0)
            with contextlib.suppress(BlockingIOError):
                peer.recv(MIB)
            return bool(owner.calls)

        eventually(reported, lambda: owner.calls)
        self.assertEqual(set(owner.calls), {("polled", select.POLLOUT)})
        self.queue.cancel(operation)
        self.drainResults()
        self.assertEqual(other.calls, [])

    def test_cancelHalfClosed(self) -> None:
        """
        A send that is blocked on a half-closed socket can be cancelled.
        """
        ours, peer = self.halfClosedAndFull()
        owner = Owner()
        operation = self.queue.send(owner, ours.fileno(), [bytes(MIB)])
        self.drainResults()
        self.queue.cancel(operation)
        self.drainResults()
        peer.setblocking(False)

        def emptied() -> bool:
            self.queue.wait(0)
            with contextlib.suppress(BlockingIOError):
                while peer.recv(MIB):
                    pass
            # The send buffer is empty only if the cancelled send does not fill it.
            return bool(select.select([], [ours], [], 0.1)[1])

        eventually(emptied, lambda: owner.calls)
        self.assertEqual(owner.calls, [])

    def test_pollFile(self) -> None:
        """
        A regular file is always ready.
        """
        owner = Owner()
        with open(__file__, "rb") as file:
            operation = self.queue.poll(owner, file.fileno(), select.POLLIN)
            self.until(lambda: len(owner.calls) >= 2)
            self.queue.cancel(operation)
        self.assertTrue(all(result & select.POLLIN for _, result in owner.calls))

    def test_close(self) -> None:
        """
        A descriptor is closed after the operations on it, and when C{close} returns.
        """
        ours, peer = self.pair()
        owner = Owner()
        self.queue.wait(0)
        self.queue.sendNow(owner, ours.fileno(), b"goodbye")
        self.queue.close(ours.detach())
        self.assertEqual(peer.recv(100), b"goodbye")
        self.assertEqual(peer.recv(100), b"")

    def test_closeReceiving(self) -> None:
        """
        A descriptor with a receive is closed, though the operation held the file open,
        and the next file with that number gets no data of the old one.
        """
        old = Owner()
        for number in range(200):
            ours, peer = self.pair()
            new = Owner()
            descriptor = ours.detach()
            operation = self.queue.receive(new, descriptor)
            peer.sendall(b"%d" % number)
            self.untilReceived(new, b"%d" % number)
            self.assertEqual((new.data, old.data[3:]), (b"%d" % number, b""))
            peer.sendall(b"late")
            self.queue.cancel(operation)
            self.queue.close(descriptor)
            self.drainResults()
            # Reset, as not all was read.
            self.assertRaises(ConnectionResetError, peer.recv, 100)
            peer.close()
            self.assertEqual(new.calls, [])
            old = new
            old.data = b"old"

    def test_closeSending(self) -> None:
        """
        A descriptor with a blocked send is closed.
        """
        ours, peer = self.pair()
        owner = Owner()
        operation = self.queue.send(owner, ours.fileno(), [bytes(32 * MIB)])
        self.drainResults()
        self.queue.cancel(operation)
        self.queue.close(ours.detach())
        self.drainResults()
        while peer.recv(MIB):
            pass
        self.assertEqual(owner.calls, [])

    def test_timeout(self) -> None:
        """
        A wait ends at its timeout, though there are no results.
        """
        before = time.monotonic()
        self.queue.wait(0.05)
        self.queue.wait(0)
        self.assertTrue(time.monotonic() - before >= 0.05)

    def test_wake(self) -> None:
        """
        C{wake} ends the wait that is in progress, or else the next one; and only that
        one, however often it is called.
        """
        for _ in range(3):
            self.queue.wake()
            self.queue.wake()
            # It would never end.
            self.queue.wait(None)
        waking = threading.Timer(0.05, self.queue.wake)
        waking.start()
        self.queue.wait(None)
        waking.join()
        self.drainResults()
        ours, peer = self.pair()
        owner = Owner()
        self.queue.receive(owner, ours.fileno())
        saying = threading.Timer(0.05, peer.sendall, (b"x",))
        saying.start()
        self.queue.wait(None)
        saying.join()
        self.assertEqual(owner.data, b"x")

    def test_wakeOften(self) -> None:
        """
        No call of C{wake} in another thread is lost.
        """
        calls = 0
        done = 0

        def ask() -> None:
            nonlocal calls
            for _ in range(2000):
                calls += 1
                self.queue.wake()

        asking = threading.Thread(target=ask)
        asking.start()
        while done < 2000:
            if done == calls:
                self.queue.wait(None)
            done = calls
        asking.join()

    def test_current(self) -> None:
        """
        The owner whose callback is running is known.
        """
        ours, peer = self.pair()
        owner = Owner()
        seen = []
        owner.whenCalled = lambda name: seen.append(self.queue.current is owner)
        self.queue.receive(owner, ours.fileno())
        peer.sendall(b"x")
        self.until(lambda: bool(seen))
        self.assertEqual(seen, [True])
        self.assertEqual(self.queue.current, None)

    def test_error(self) -> None:
        """
        An exception of a callback is logged, and other owners are still called.
        """
        owners = []
        for _ in range(10):
            ours, peer = self.pair()
            owners.append(Owner(lambda name: 1 // 0))
            self.queue.receive(owners[-1], ours.fileno())
            peer.sendall(b"x")
        self.until(lambda: all(owner.data for owner in owners))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 10)

    def test_waitWithin(self) -> None:
        """
        A callback may call C{wait}; each owner is still called once.
        """
        owners = []
        for _ in range(20):
            ours, peer = self.pair()
            owners.append(Owner(lambda name: self.queue.wait(0)))
            self.queue.receive(owners[-1], ours.fileno())
            peer.sendall(b"x")
        self.until(lambda: all(owner.data for owner in owners))
        self.drainResults()
        self.assertEqual([owner.data for owner in owners], [b"x"] * 20)

    def test_manyOperations(self) -> None:
        """
        There may be more operations than the submission queue holds.
        """
        owners = []
        # A ring of ours takes 256; and an ordinary user may open 1,024 files.
        for _ in range(300):
            ours, peer = socket.socketpair()
            for end in (ours, peer):
                self.addCleanup(end.close)
                end.setblocking(False)
            owners.append(Owner())
            self.queue.receive(owners[-1], ours.fileno())
            peer.sendall(b"hello")
        self.until(lambda: all(owner.data == b"hello" for owner in owners))


class ReadinessQueueTests(QueueTestsMixin, SynchronousTestCase):
    """
    Tests for L{ReadinessQueue}.
    """

    def makeQueue(self) -> Any:
        """
        A queue on epoll.
        """
        return ReadinessQueue()


class PollQueueTests(QueueTestsMixin, SynchronousTestCase):
    """
    Tests for L{ReadinessQueue} where there is no epoll.
    """

    def makeQueue(self) -> Any:
        """
        A queue made where the module select has only poll.
        """
        epoll = select.epoll
        del select.epoll
        try:
            return ReadinessQueue()
        finally:
            select.epoll = epoll  # type: ignore[misc]


class RingQueueTests(QueueTestsMixin, SynchronousTestCase):
    """
    Tests for L{RingQueue}.
    """

    def makeQueue(self) -> Any:
        """
        A small ring.
        """
        return makeRing()

    def test_counted(self) -> None:
        """
        Operations are counted until they end.
        """
        ours, peer = self.pair()
        owner = Owner()
        operations = [
            self.queue.receive(owner, ours.fileno()),
            self.queue.poll(owner, peer.fileno(), select.POLLIN),
        ]
        self.assertEqual(self.queue.inFlight, 2)
        for operation in operations:
            self.queue.cancel(operation)
        self.drainResults()
        self.assertEqual(self.queue.inFlight, 0)

    def test_buffersExhausted(self) -> None:
        """
        With more data than the buffer ring holds, each owner receives all of its data.
        """
        queue = self.queue = makeRing(buffers=2, bufferBytes=1024)
        conversations = []
        for number in range(50):
            ours, peer = self.pair()
            owner = Owner()
            data = bytes([number]) * 20000
            queue.receive(owner, ours.fileno())
            peer.sendall(data)
            conversations.append((owner, data))
        self.until(lambda: all(owner.data == data for owner, data in conversations))
        self.assertIn(queue.buffersOut, (0, None))
        said = cast("dict[str, int]", queue.statistics())
        self.assertEqual(said["buffers"], 2)
        self.assertTrue(said["starvations"], said)

    def test_starvedCancelled(self) -> None:
        """
        A starved receive can be cancelled like any other.
        """
        queue = self.queue = makeRing(buffers=1, bufferBytes=1024)
        owners = []
        operations: list[int] = []

        def cancelAll(name: str) -> None:
            for operation in operations:
                queue.cancel(operation)

        for _ in range(20):
            ours, peer = self.pair()
            owners.append(Owner(cancelAll))
            operations.append(queue.receive(owners[-1], ours.fileno()))
            peer.sendall(bytes(5000))
        self.until(lambda: any(owner.data for owner in owners))
        self.drainResults()
        self.assertEqual(queue.inFlight, 0)
        self.assertIn(queue.buffersOut, (0, None))
        self.assertEqual([owner.calls for owner in owners], [[]] * 20)

    def test_starvedSilent(self) -> None:
        """
        A starved receive whose socket has no data does not delay those after it.
        """
        queue = self.queue = makeRing(buffers=1, bufferBytes=1024)
        owners = []
        for said in (b"x", b"", b"x"):
            ours, peer = self.pair()
            owners.append(Owner())
            queue.receive(owners[-1], ours.fileno())
            peer.sendall(said)
        self.untilReceived(owners[2], b"x")
        self.assertEqual([owner.data for owner in owners], [b"x", b"", b"x"])

    def test_resultsOverflow(self) -> None:
        """
        With more results than the completion queue holds, none is lost.
        """
        queue = self.queue = makeRing(results=2048)
        # The kernel makes the completion queue twice as large as the other, or larger.
        owner = Owner()
        # epoll refuses a regular file, so each poll of it has a CQE of its own.
        file = open(__file__, "rb")  # noqa: SIM115
        self.addCleanup(file.close)
        operations = []

        def more(name: str) -> None:
            # As many results at once as the rings do not hold, and again.
            if len(owner.calls) == 1:
                for _ in range(5000):
                    operations.append(queue.poll(owner, file.fileno(), select.POLLIN))

        owner.whenCalled = more
        operations.append(queue.poll(owner, file.fileno(), select.POLLIN))
        self.until(lambda: len(owner.calls) > 15000)
        for operation in operations:
            queue.cancel(operation)
        self.drainResults()
        self.assertEqual(queue.inFlight, 0)
        said = cast("dict[str, int]", queue.statistics())
        self.assertTrue(said["completionEntries"] >= 2048, said)
        self.assertTrue(said["overflows"], said)

    def test_fork(self) -> None:
        """
        A child process has no operations, and can make a ring of its own. The parent's
        ring goes on.
        """
        ours, peer = self.pair()
        owner = Owner()
        self.queue.receive(owner, ours.fileno())
        self.drainResults()
        child = os.fork()
        if not child:
            status = 1
            try:
                if self.queue.inFlight == 0:
                    heir = Owner()
                    self.queue.poll(heir, ours.fileno(), select.POLLOUT)
                    self.queue.wait(TIMEOUT)
                    status = 0 if heir.calls else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        peer.sendall(b"still here")
        self.until(lambda: owner.data == b"still here")

    def test_forkWithin(self) -> None:
        """
        After a fork in a callback, the child goes on in the wait that called it, and
        can use the queue; so can the parent.
        """
        ours, peer = self.pair()
        children: list[int] = []
        owner = Owner(lambda name: children.append(os.fork()))
        self.queue.receive(owner, ours.fileno())
        others = []
        for _ in range(10):
            pair = self.pair()
            others.append(Owner())
            self.queue.receive(others[-1], pair[0].fileno())
            pair[1].sendall(b"x")
        peer.sendall(b"fork")
        self.until(lambda: bool(children))
        if not children[0]:
            status = 1
            try:
                heir = Owner()
                self.queue.receive(heir, ours.fileno())
                self.queue.wait(TIMEOUT)
                # The other operations are the parent's.
                status = 0 if heir.data == b"child" else 2
            finally:
                os._exit(status)
        peer.sendall(b"child")
        self.assertEqual(os.waitpid(children[0], 0)[1], 0)
        self.until(lambda: all(other.data for other in others))

    def test_finalizers(self) -> None:
        """
        A finalizer may use the queue wherever the garbage collector runs it, also
        while the table of operations grows: no operation is lost or mistaken for
        another.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        self.addCleanup(os.close, reading)
        queue = self.queue
        owners: list[Owner] = []
        operations: list[int] = []

        def poll(owner: Owner) -> None:
            owners.append(owner)
            operations.append(queue.poll(owner, writing, select.POLLOUT))

        class Garbage:
            def __init__(self) -> None:
                self.cycle = self

            def __del__(self) -> None:
                poll(Owner())
                queue.cancel(operations[len(operations) // 2])

        threshold = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *threshold)
        gc.set_threshold(0)
        for _ in range(3000):
            # These use up the lists that the interpreter keeps for reuse.
            _keep: list[list[int]] = [[] for _ in range(120)]
            Garbage()
            owner = Owner()
            # The next object is created by the queue, and starts a collection.
            gc.set_threshold(1)
            poll(owner)
            gc.set_threshold(0)
        self.assertTrue(len(owners) > 3000, len(owners))
        inFlight = queue.inFlight
        self.drainResults()
        self.assertEqual(sum(bool(owner.calls) for owner in owners), inFlight)

    def test_returned(self) -> None:
        """
        A ring that is gone leaves neither memory nor descriptors behind.
        """
        # Garbage of other tests must not be freed in between.
        gc.collect()
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[0])
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(20):
            queue = makeRing(buffers=1024, bufferBytes=8192)
            queue.wait(0)
            queue.receive(Owner(), 0)
            del queue
        self.assertEqual(set(os.listdir("/proc/self/fd")), before)
        with open("/proc/self/statm") as statm:
            grown = int(statm.read().split()[0]) - pages
        # One of these rings has 2,000 pages.
        self.assertTrue(grown < 4000, grown)
