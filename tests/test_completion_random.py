"""
Random lives of connections under L{CompletionReactor}, on both queues. Each life is
compared with a model of its two byte streams.

The reactor is not installed; the tests call C{iterate}. Its peers are sockets of the
tests. The connection and the position determine every byte of a stream, so a byte that
is lost, duplicated, late or of another connection is detected.

A short run belongs to the suite. A long one takes so many seconds for each queue::

    IODEMO_RANDOM_SECONDS=3600 scripts/test tests.test_completion_random
"""

from __future__ import annotations

import itertools
import os
import random
import socket
import struct
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer

from iodemo import models
from iodemo.completion.tcp import StreamMixin

from .children import TIMEOUT
from .conformance.peers import connectTo

KIB = 1024
SECONDS = float(os.environ.get("IODEMO_RANDOM_SECONDS", "0"))
_PATTERN = random.Random(4).randbytes(1_000_003)
MOST = 512 * KIB
_PIECES = 100_000
SIZES = st.sampled_from([1, 100, 10 * KIB, 100 * KIB, MOST])
# Which of the connections, of as many as there are.
WHICH = st.integers(0, 5)


def stream(number: int, start: int, size: int) -> bytes:
    """
    A piece of the byte stream of a connection's one direction.
    """
    start = (start + number * 7919) % len(_PATTERN)
    times = (start + size) // len(_PATTERN) + 1
    return (_PATTERN * times)[start : start + size]


@implementer(IHalfCloseableProtocol)
class Told(Protocol):
    """
    A protocol that checks the data and the order of its callbacks.

    @ivar received: how many bytes it has received.
    @ivar paused: whether it has paused.
    @ivar inputEnded: whether the peer has shut down its sending side.
    @ivar lost: the reason of C{connectionLost}, or C{None}.
    """

    transport: Any
    number = -1

    def __init__(self) -> None:
        self.received = 0
        self.paused = False
        self.inputEnded = False
        self.lost: Failure | None = None
        self.mistakes: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        """
        Check the data.
        """
        if self.number < 0:
            self.number = struct.unpack("!H", data[:2])[0]
            data = data[2:]
        if self.paused or self.inputEnded or self.lost is not None:
            self.mistakes.append("data after a pause or the end")
        if data != stream(2 * self.number, self.received, len(data)):
            self.mistakes.append(f"other bytes from {self.received} on")
        self.received += len(data)

    def readConnectionLost(self) -> None:
        """
        Record the end of the input.
        """
        if self.inputEnded:
            self.mistakes.append("two ends")
        self.inputEnded = True

    def writeConnectionLost(self) -> None:
        """
        Nothing to record: the peer sees it.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Record the reason.
        """
        if self.lost is not None:
            self.mistakes.append("lost twice")
        self.lost = reason


class Life:
    """
    One connection: the protocol's end, the peer's end, and the model.

    @ivar isUNIX: whether it is over a UNIX socket, so that descriptors can be passed.
    @ivar peer: the test's socket; C{None} when it is closed.
    @ivar said: how many bytes the protocol has written.
    @ivar asked: how many bytes the peer has sent.
    @ivar heard: how many of the protocol's bytes the peer has read.
    @ivar saying: whether the protocol may still write.
    @ivar asking: whether the peer may still send.
    @ivar closing: whether C{loseConnection} was called.
    @ivar aborted: whether C{abortConnection} was called.
    @ivar broken: whether one end was closed early, so that bytes may be lost.
    """

    def __init__(self, number: int, peer: socket.socket, protocol: Told) -> None:
        self.number = number
        self.isUNIX = peer.family == socket.AF_UNIX
        self.peer: socket.socket | None = peer
        self.protocol = protocol
        self.said = self.asked = self.heard = 0
        self.asking = self.saying = True
        self.closing = self.aborted = self.broken = False

    def read(self, most: int) -> bool:
        """
        Read at the peer's end, and check.

        @return: whether that was the end of the stream.
        """
        assert self.peer is not None
        try:
            data = self.peer.recv(most)
        except BlockingIOError:
            return False
        except ConnectionError:
            assert self.broken, "an unexpected reset"
            return True
        if not data:
            assert not self.saying or self.closing or self.broken, "an early end"
            if not self.broken:
                assert self.heard == self.said, f"{self.said - self.heard} bytes lost"
            return True
        expected = stream(2 * self.number + 1, self.heard, len(data))
        assert data == expected, f"other bytes from {self.heard} on"
        self.heard += len(data)
        assert self.heard <= self.said
        return False


def machineFor(makeReactor: Callable[[], Any]) -> type[RuleBasedStateMachine]:
    """
    The state machine for one reactor.
    """

    class Lives(RuleBasedStateMachine):
        """
        The events of a few connections.
        """

        reactor: Any

        def __init__(self) -> None:
            super().__init__()
            self.lives: list[Life] = []
            self.count = 0
            self.timers: list[list[bool]] = []

        @initialize()
        def listen(self) -> None:
            """
            Make the reactor and its port.
            """
            self.reactor = makeReactor()
            self.reactor.startRunning(False)
            self.protocols: list[Told] = []

            def build() -> Told:
                self.protocols.append(Told())
                return self.protocols[-1]

            factory = Factory.forProtocol(build)
            factory.noisy = False
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
            # An abstract name, in no file system.
            self.name = b"\0iodemo-" + os.urandom(8).hex().encode()
            self.other = self.reactor.listenUNIX(self.name, factory)
            # Connections inherit it from the port.
            port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * KIB)
            self.address = ("127.0.0.1", port.getHost().port)
            # The descriptor to pass. A socket would stay open while it is in transit.
            self.cargo = open(os.devnull)  # noqa: SIM115
            self.port = port

        # Events

        # Hypothesis wants the same draws whenever it repeats events. When a connection
        # ends is the kernel's choice, so no draw depends on that.

        @rule(isUNIX=st.booleans())
        def connect(self, isUNIX: bool) -> None:
            """
            A peer connects, and sends its number; but not a fourth one.
            """
            if sum(map(self.lasts, self.lives)) >= 3:
                return
            # Its buffer is small, so that sends block.
            if isUNIX:
                peer = socket.socket(socket.AF_UNIX)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * KIB)
                peer.connect(self.name)
            else:
                peer = connectTo(self.address[1], 8 * KIB)
            peer.setblocking(False)
            self.until(lambda: len(self.protocols) == self.count + 1)
            protocol = self.protocols[-1]
            self.count += 1
            peer.send(struct.pack("!H", self.count))
            self.lives.append(Life(self.count, peer, protocol))

        def some(self, which: int, that: Callable[[Life], bool]) -> Life | None:
            lives = [life for life in self.lives if that(life)]
            return lives[which % len(lives)] if lives else None

        @rule(which=WHICH, size=SIZES, passing=st.booleans())
        def peerAsks(self, which: int, size: int, passing: bool) -> None:
            """
            The peer sends what fits, perhaps with a descriptor, which is ignored.
            """
            life = self.some(which, lambda each: each.peer is not None and each.asking)
            if life is not None and life.peer is not None:
                piece = stream(2 * life.number, life.asked, size)
                try:
                    if life.isUNIX and passing:
                        passed = [self.cargo.fileno()]
                        life.asked += socket.send_fds(life.peer, [piece], passed)
                    else:
                        life.asked += life.peer.send(piece)
                except BlockingIOError:
                    pass
                except ConnectionError:
                    assert life.broken or life.closing or life.aborted
                    life.asking = False

        @rule(which=WHICH, size=SIZES)
        def peerReads(self, which: int, size: int) -> None:
            """
            The peer reads.
            """
            life = self.some(which, lambda each: each.peer is not None)
            if life is not None and life.read(size):
                self.forget(life)

        @rule(which=WHICH)
        def peerEnds(self, which: int) -> None:
            """
            The peer shuts down its sending side.
            """
            life = self.some(which, lambda each: each.peer is not None and each.asking)
            if life is not None and life.peer is not None:
                life.asking = False
                try:
                    life.peer.shutdown(socket.SHUT_WR)
                except OSError:
                    assert life.broken or life.closing or life.aborted

        @rule(which=WHICH, abruptly=st.booleans())
        def peerLeaves(self, which: int, abruptly: bool) -> None:
            """
            The peer closes, though data is unread or unsent, or resets.
            """
            life = self.some(which, lambda each: each.peer is not None)
            if life is not None and life.peer is not None:
                if abruptly:
                    life.peer.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                life.broken = True
                life.peer.close()
                life.peer = None

        @rule(
            which=WHICH,
            size=SIZES,
            pieces=st.integers(1, 4),
            passing=st.integers(0, 2),
        )
        def say(self, which: int, size: int, pieces: int, passing: int) -> None:
            """
            The protocol writes, and passes no more descriptors than bytes.
            """
            life = self.some(which, lambda each: self.lasts(each) and each.saying)
            if life is not None:
                sequence = []
                for _ in range(min(passing, pieces) if life.isUNIX else 0):
                    life.protocol.transport.sendFileDescriptor(self.cargo.fileno())
                for _ in range(pieces):
                    piece = stream(2 * life.number + 1, life.said, size // pieces + 1)
                    sequence.append(piece)
                    life.said += len(piece)
                if pieces == 2:
                    life.protocol.transport.writeSequence(sequence)
                else:
                    for piece in sequence:
                        life.protocol.transport.write(piece)

        @rule(which=WHICH)
        def pause(self, which: int) -> None:
            """
            The protocol pauses.
            """
            life = self.some(which, self.lasts)
            if life is not None:
                life.protocol.transport.pauseProducing()
                life.protocol.paused = True

        @rule(which=WHICH)
        def resume(self, which: int) -> None:
            """
            The protocol resumes.
            """
            life = self.some(which, lambda each: each.protocol.paused)
            if life is not None:
                life.protocol.paused = False
                if self.lasts(life):
                    life.protocol.transport.resumeProducing()

        @rule(which=WHICH)
        def sayNoMore(self, which: int) -> None:
            """
            The protocol closes its sending side when all is written.
            """
            life = self.some(which, lambda each: self.lasts(each) and each.saying)
            if life is not None:
                life.saying = False
                life.protocol.transport.loseWriteConnection()

        @rule(which=WHICH)
        def close(self, which: int) -> None:
            """
            The protocol closes when all is written. If the peer sends to a closed
            socket, data that was written may be lost.
            """
            life = self.some(which, self.lasts)
            if life is not None:
                life.saying = False
                life.closing = True
                heard = life.protocol.number >= 0  # even its number
                heard = heard and life.asked == life.protocol.received
                life.broken = life.broken or not heard
                life.protocol.transport.loseConnection()
                life.asking = False

        @rule(which=WHICH)
        def abort(self, which: int) -> None:
            """
            The protocol aborts.
            """
            life = self.some(which, self.lasts)
            if life is not None:
                life.saying = False
                life.aborted = life.broken = True
                life.protocol.transport.abortConnection()

        @rule(delay=st.sampled_from([0, 0.001]))
        def time(self, delay: float) -> None:
            """
            A timer is set.
            """
            fired: list[bool] = []
            self.timers.append(fired)
            self.reactor.callLater(delay, fired.append, True)

        @rule(times=st.integers(1, 3))
        def turn(self, times: int) -> None:
            """
            The reactor runs some iterations.
            """
            for _ in range(times):
                self.reactor.iterate(0)

        @rule(which=WHICH)
        def settle(self, which: int) -> None:
            """
            One connection goes on until all data has arrived.
            """
            life = self.some(which, self.lasts)
            if life is not None:
                self.conclude(life)

        def conclude(self, life: Life) -> None:
            """
            Check that all data arrives at both ends, if neither was closed early.
            """
            protocol = life.protocol
            if life.broken or life.peer is None or protocol.paused:
                return

            def settled() -> bool:
                over = life.heard < life.said and life.read(MOST)
                assert not over, "it ended though all is well"
                return life.heard == life.said and protocol.received == life.asked

            self.until(settled)
            if not life.asking:
                self.until(lambda: protocol.inputEnded)

        # Invariants

        @invariant()
        def isRight(self) -> None:
            """
            No protocol has found a mistake.
            """
            for life in self.lives:
                assert not life.protocol.mistakes, life.protocol.mistakes
                assert life.protocol.received <= life.asked

        def lasts(self, life: Life) -> bool:
            """
            Whether the protocol's end can be used.
            """
            return life.protocol.lost is None and not life.closing and not life.aborted

        def forget(self, life: Life) -> None:
            """
            Close the peer's end.
            """
            if life.peer is not None:
                life.broken = True
                life.peer.close()
                life.peer = None

        def until(self, condition: Callable[[], bool]) -> None:
            """
            Run the reactor until a condition is true.
            """
            deadline = time.monotonic() + TIMEOUT
            while not condition():
                self.reactor.iterate(0.001)
                assert time.monotonic() < deadline, "it never came"

        def teardown(self) -> None:
            """
            At the end every connection ends, every timer has fired, and the queue has
            no operations but the polls of the reactor itself.
            """
            if not hasattr(self, "reactor"):
                return
            try:
                self.isRight()
                for life in self.lives:
                    if self.lasts(life):
                        life.protocol.paused = False
                        life.protocol.transport.resumeProducing()
                        self.conclude(life)
                    if life.closing and not life.broken and life.peer:
                        # All written data arrives, and then the end.
                        self.until(partial(life.read, MOST))
                    self.forget(life)
                    if self.lasts(life):
                        life.protocol.transport.abortConnection()
                protocols = self.protocols
                self.until(lambda: all(each.lost is not None for each in protocols))
                self.until(lambda: all(self.timers))
                self.isRight()
                self.port.stopListening()
                self.other.stopListening()
                self.until(lambda: not self.reactor.streams)
                # A cancelled operation ends some time later.
                queue, watches = self.reactor.queue, self.reactor._watches
                if hasattr(queue, "inFlight"):
                    self.until(lambda: queue.inFlight == len(watches))
                if hasattr(queue, "buffersOut"):
                    self.until(lambda: queue.buffersOut in (0, None))
            finally:
                self.cargo.close()
                for life in self.lives:
                    if life.peer is not None:
                        life.peer.close()
                self.reactor.stop()
                self.reactor.iterate(0)
                # A long run has thousands of reactors, so their descriptors are
                # closed here and not by the garbage collector.
                for reader in list(self.reactor._internalReaders):
                    self.reactor.removeReader(reader)
                    reader.connectionLost(None)
                vars(self.reactor).clear()

    return Lives


def reactorOf(name: str) -> Callable[[], Any]:
    """
    The class of one of the two reactors.
    """
    if name == "uring":
        from iodemo.reactors.uring import UringReactor

        return UringReactor
    from iodemo.reactors.proactor import ProactorReactor

    return ProactorReactor


class RandomTests(SynchronousTestCase):
    """
    Tests for both reactors.
    """

    def check(self, name: str) -> None:
        """
        Search for a life that breaks the model.
        """
        reason = models.find(name).unavailable()
        if reason is not None:
            raise SkipTest(reason)
        deadline = time.monotonic() + SECONDS
        while True:
            self.lead(machineFor(reactorOf(name)))
            if time.monotonic() >= deadline:
                break

    def lead(self, machine: type[RuleBasedStateMachine]) -> None:
        """
        Run some hundreds of lives. Report one that fails, even if its failure cannot be
        reproduced.
        """
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=250 if not SECONDS else 500,
                    stateful_step_count=100 if not SECONDS else 200,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    phases=(Phase.generate, Phase.shrink),
                    suppress_health_check=list(HealthCheck),
                ),
            )
        except Flaky as flaky:
            # trial does not show the exceptions within a group.
            raise self.failureException(
                "".join(traceback.format_exception(flaky))
            ) from None

    def test_everyTurn(self) -> None:
        """
        If a protocol writes in every iteration, more than the peer reads meanwhile, all
        is sent in order.
        """
        for name in ("proactor", "uring"):
            if models.find(name).unavailable() is None:
                for isUNIX in (False, True):
                    self.checkEveryTurn(name, isUNIX)

    def checkEveryTurn(self, name: str, isUNIX: bool) -> None:
        lives: Any = machineFor(reactorOf(name))()
        lives.listen()
        try:
            lives.connect(isUNIX)
            (life,) = lives.lives
            lives.turn(3)
            for size in itertools.islice(itertools.cycle([30, 1, 20, 20, 1]), 600):
                piece = stream(2 * life.number + 1, life.said, size * KIB)
                life.said += len(piece)
                life.protocol.transport.write(piece)
                lives.turn(1)
                for _ in range(3):
                    life.read(16 * KIB)
            lives.conclude(life)
        finally:
            lives.teardown()

    def test_smallPieces(self) -> None:
        """
        Many small pieces that are written at once are sent in few operations, so the
        time is proportional to their number.
        """
        for name in ("proactor", "uring"):
            if models.find(name).unavailable() is None:
                for isUNIX in (False, True):
                    self.checkSmallPieces(name, isUNIX)

    def checkSmallPieces(self, name: str, isUNIX: bool) -> None:
        send, sends = StreamMixin._send, itertools.count()

        def counted(*args: Any) -> None:
            next(sends)
            send(*args)

        self.patch(StreamMixin, "_send", counted)
        lives: Any = machineFor(reactorOf(name))()
        lives.listen()
        try:
            lives.connect(isUNIX)
            (life,) = lives.lives
            lives.turn(3)
            for _ in range(_PIECES):
                piece = stream(2 * life.number + 1, life.said, 8)
                life.said += len(piece)
                life.protocol.transport.write(piece)
            lives.conclude(life)
            self.assertLess(next(sends), _PIECES // 5000)
        finally:
            lives.teardown()

    def test_proactor(self) -> None:
        """
        Lives on the emulated queue.
        """
        self.check("proactor")

    def test_uring(self) -> None:
        """
        Lives on the ring.
        """
        self.check("uring")
