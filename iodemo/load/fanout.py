# -*- test-case-name: tests.test_fanout -*-
"""
The load of a chat: one member sends a line, and all members receive it.

Facts. To pass a line on to N members the server makes N writes, one after the other: N
answers to one request. A connection is a member some time after it is accepted, and no
message reports it. The backlog of a listening socket takes 50 connections that are not
accepted yet.

Decisions. One line is in flight at a time; when all members have received it, the next
member sends the next line. A request, in the numbers, is a line received by one member,
and its latency counts from the sending of the line: so the median is that of the median
member. The latency of the last member is recorded too. Connections are made a few at a
time; then one of these sends a line and must receive it, before there are more. When
all are connected, one member sends lines until every member has received something. It
then sends one more line, and from that one on every member must receive every line,
once and whole.

Costs. The loop is Python, and calls C{recv} for every line of every member. All members
are in one process, since it must know when all have received a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from time import perf_counter_ns

from iodemo.load.driver import Driver, _Connection, _resetWhenClosed
from iodemo.load.part import Part
from iodemo.load.profile import LoadFailed
from iodemo.load.recording import Recording
from iodemo.results.schema import Round

_MOST_KEPT = 1 << 19


class FanoutDriver(Driver):
    """
    A driver in which members send a line in turn, and all members receive it.

    @ivar _speakers: the members that send, in an endless cycle.
    """

    _speakers: Iterator[_Connection] = iter(())

    def _verify(self) -> None:
        if self._profile.processes > 1:
            raise LoadFailed("the members of a chat are in one process, not several")
        names = [f"verifying connection {n + 1}" for n in range(self.VERIFYING)]
        members = self._join(names)
        for speaker, turn in zip(
            cycle(members), self._profile.exchange.verification(), strict=False
        ):
            speaker.turn = turn
            self._sendAndAwait(speaker)
        for member in members:
            self._drop(member)

    def _notForGreetings(self, error: LoadFailed) -> str:
        """
        See L{Driver._notForGreetings}. A chat server may send a greeting, so the reason
        is another one.
        """
        return f"Then a member sent a line, which did not reach all members ({error})"

    def _connect(self) -> list[_Connection]:
        total = self._profile.connections
        names = [f"connection {n + 1:,} of {total:,}" for n in range(total)]
        return self._join(names)[: self._profile.active]

    def _join(self, names: Sequence[str]) -> list[_Connection]:
        """
        Connect a member for each name, and wait until all have received the same line
        last.
        """
        members: list[_Connection] = []
        # The last bytes that each has received, as many as a line has.
        tails: dict[_Connection, bytes] = {}
        for name in names:
            members.append(self._add(name, self._openOrFail(name)))
            _resetWhenClosed(members[-1].socket)
            if len(members) % self.RAMP == 0:
                self._sendUntilReceived(members[-1], members[-1:], tails)
        patience = self._profile.patience
        end = perf_counter_ns() + patience * 1e9
        while missing := [each.name for each in members if not tails.get(each)]:
            if perf_counter_ns() > end:
                raise LoadFailed(f"{missing[0]} received no line for {patience:g} s")
            self._sendUntilReceived(members[-1], members[-1:], tails)
        self._sendUntilReceived(members[-1], members, tails)
        return members

    def _sendUntilReceived(
        self,
        speaker: _Connection,
        receivers: Sequence[_Connection],
        tails: dict[_Connection, bytes],
    ) -> None:
        """
        Send a new line, and wait until some members have received it. They may receive
        other bytes before it.

        @param receivers: the members that must receive the line.
        @param tails: the last bytes that each member has received; updated.
        """
        speaker.turn, _ = self._profile.exchange.turns()
        line = speaker.turn.request
        self._sendLine(speaker)
        waiting = set(receivers)
        for member in waiting:
            member.sent = speaker.sent
        while waiting:
            for member in self._ready():
                came = tails.get(member, b"") + self._receiveSome(member)
                tails[member] = came[-len(line) :]
                if tails[member] == line:
                    member.sent = 0
                    waiting.discard(member)

    def _sendAndAwait(self, speaker: _Connection) -> list[int]:
        """
        Send the line of the speaker's turn, and wait until all members have received
        it, and nothing else.

        @return: the latencies, in the order in which the members received it.
        """
        line = speaker.turn.request
        connections = self._connections
        now = perf_counter_ns()
        for member in connections.values():
            member.turn = speaker.turn
            member.sent = now
        latencies: list[int] = []
        began = self._sendLine(speaker)
        left = len(connections)
        while left:
            for member in self._ready():
                data = self._receiveSome(member)
                if (data == line and member.sent and member.answer is None) or (
                    data and self._received(member, data)
                ):
                    latencies.append(perf_counter_ns() - began)
                    self._silence(member)
                    left -= 1
        return latencies

    def _sendLine(self, speaker: _Connection) -> int:
        """
        Send the line of the speaker's turn.

        @return: the time before it was sent.
        """
        line = speaker.turn.request
        speaker.sent = perf_counter_ns()
        try:
            count = speaker.send(line)
        except OSError as error:
            count = self._notSent(speaker, error)
        if count != len(line):
            raise LoadFailed(
                f"the kernel does not take a line of {speaker.name}: the server does "
                "not read"
            )
        return speaker.sent

    def _receiveSome(self, member: _Connection) -> bytes:
        try:
            data = member.recv(self._size)
        except OSError as error:
            self._lost(member, error)
            return b""
        if not data:
            self._ended(member, f"the server closed {member.name}")
        self._hasReceived = True
        return data

    def _ended(self, connection: _Connection, how: str) -> None:
        """
        Fail: a member that reconnected could miss a line.
        """
        raise LoadFailed(f"{how}{self._hint()}")

    def _begin(self, busy: list[_Connection]) -> None:
        self._speakers = cycle(busy)

    def _drain(
        self,
        chosen: Sequence[_Connection],
        recording: Recording,
        uncorrected: Recording,
    ) -> None:
        """
        There is nothing to wait for: all members have received the last line.
        """

    def _sampleShare(self) -> int:
        # All members have received every line.
        return 0

    def _drive(self, length: int, recording: Recording, uncorrected: Recording) -> None:
        """
        Send lines for C{length} nanoseconds, and wait until all members have received
        the last one.

        @param recording: gets the latency of each line at each member.
        @param uncorrected: gets the latency of each line at its last member.
        """
        end = perf_counter_ns() + length
        recorded: list[int] = []
        latest: list[int] = []
        while perf_counter_ns() < end and not self._interrupted:
            speaker = next(self._speakers)
            speaker.turn, _ = self._profile.exchange.turns()
            latencies = self._sendAndAwait(speaker)
            recorded += latencies
            latest.append(latencies[-1])
            # To record a few at a time would cost as much as to receive them.
            if len(recorded) > _MOST_KEPT:
                recording.add(recorded)
                uncorrected.add(latest)
                recorded.clear()
                latest.clear()
        recording.add(recorded)
        uncorrected.add(latest)

    def _measurePart(self, busy: list[_Connection]) -> Part:
        part = super()._measurePart(busy)
        self._last = part.uncorrected
        return part

    def _measure(self, busy: list[_Connection]) -> Round:
        measured = super()._measure(busy)
        measured["latency_last_us"] = self._last.latency()
        return measured
