# -*- test-case-name: tests.test_fanout -*-
"""
A room full of members: one says a line, and all hear it.

Facts. A line said to N members is N writes of the server, one after the other, and so
N answers to one request. Who connects is in the room some time later, and nobody is
told when; a backlog takes 50 who are not yet.

Decisions. One line is in the room at a time, and when all have heard it the next
member says the next. What counts is a line heard by one member: its latency is from
when it was said, so that the median is that of the median member. How long it takes
until the last one has it is kept beside that. Members come a few at a time, and one of
these speaks and has to hear itself before there are more. When all are there one speaks
until everybody has heard something; from the line after that on everybody must hear
every line, once and whole.

Costs. This is Python, and receives as often as the server sends. All members are in one
process: those of another could not be counted as having heard a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from time import perf_counter_ns

from iodemo.load.driver import Driver, _Connection, _resetWhenClosed
from iodemo.load.part import Part
from iodemo.load.plan import LoadFailed
from iodemo.load.recording import Recording
from iodemo.results.schema import Round

_MOST_KEPT = 1 << 19


class RoomDriver(Driver):
    """
    Has the members of a room speak by turns, and listen.

    @ivar _speakers: those who speak, again and again.
    """

    _speakers: Iterator[_Connection] = iter(())

    def _verify(self) -> None:
        if self._plan.processes > 1:
            raise LoadFailed("the members of a room are in one process, not several")
        names = [f"verifying connection {n + 1}" for n in range(self.VERIFYING)]
        members = self._enter(names)
        for speaker, turn in zip(
            cycle(members), self._plan.exchange.verification(), strict=False
        ):
            speaker.turn = turn
            self._say(speaker)
        for member in members:
            self._drop(member)

    def _notForGreetings(self, error: LoadFailed) -> str:
        """See L{Driver._notForGreetings}: members may be greeted, and must hear."""
        return f"Then a line was said, and not passed on to all ({error})"

    def _connect(self) -> list[_Connection]:
        total = self._plan.connections
        names = [f"connection {n + 1:,} of {total:,}" for n in range(total)]
        return self._enter(names)[: self._plan.active]

    def _enter(self, names: Sequence[str]) -> list[_Connection]:
        """
        Have as many members as there are names, who have heard the same line last.
        """
        members: list[_Connection] = []
        # The last bytes that came to each, as many as a line has.
        heard: dict[_Connection, bytes] = {}
        for name in names:
            members.append(self._add(name, self._openOrFail(name)))
            _resetWhenClosed(members[-1].socket)
            if len(members) % self.RAMP == 0:
                self._call(members[-1], members[-1:], heard)
        patience = self._plan.patience
        end = perf_counter_ns() + patience * 1e9
        while deaf := [each.name for each in members if not heard.get(each)]:
            if perf_counter_ns() > end:
                raise LoadFailed(f"{deaf[0]} heard nobody for {patience:g} s")
            self._call(members[-1], members[-1:], heard)
        self._call(members[-1], members, heard)
        return members

    def _call(
        self,
        speaker: _Connection,
        hearing: Sequence[_Connection],
        heard: dict[_Connection, bytes],
    ) -> None:
        """
        Have something said, and wait until these have heard it, whatever they have
        heard before.
        """
        speaker.turn, _ = self._plan.exchange.turns()
        line = speaker.turn.request
        self._speak(speaker)
        waiting = set(hearing)
        for member in waiting:
            member.sent = speaker.sent
        while waiting:
            for member in self._ready():
                came = heard.get(member, b"") + self._heard(member)
                heard[member] = came[-len(line) :]
                if heard[member] == line:
                    member.sent = 0
                    waiting.discard(member)

    def _say(self, speaker: _Connection) -> list[int]:
        """
        Have the line of a member's turn said, and wait until all have heard it, and
        nothing else.

        @return: the latencies, in the order in which they heard it.
        """
        line = speaker.turn.request
        connections = self._connections
        now = perf_counter_ns()
        for member in connections.values():
            member.turn = speaker.turn
            member.sent = now
        latencies: list[int] = []
        said = self._speak(speaker)
        left = len(connections)
        while left:
            for member in self._ready():
                data = self._heard(member)
                if (data == line and member.sent and member.answer is None) or (
                    data and self._received(member, data)
                ):
                    latencies.append(perf_counter_ns() - said)
                    self._silence(member)
                    left -= 1
        return latencies

    def _speak(self, speaker: _Connection) -> int:
        """
        @return: when.
        """
        line = speaker.turn.request
        speaker.sent = perf_counter_ns()
        try:
            count = speaker.send(line)
        except OSError as error:
            count = self._notSent(speaker, error)
        if count != len(line):
            raise LoadFailed(f"the server takes no line of {speaker.name}")
        return speaker.sent

    def _heard(self, member: _Connection) -> bytes:
        try:
            data = member.recv(self._size)
        except OSError as error:
            self._lost(member, error)
            return b""
        if not data:
            self._ended(member, f"the server closed {member.name}")
        self._hasSpoken = True
        return data

    def _ended(self, connection: _Connection, how: str) -> None:
        """
        A member who has gone may have missed a line.
        """
        raise LoadFailed(f"{how}{self._hint()}")

    def _begin(self, busy: list[_Connection]) -> None:
        self._speakers = cycle(busy)

    def _drain(
        self,
        asked: Sequence[_Connection],
        recording: Recording,
        uncorrected: Recording,
    ) -> None:
        """
        The last line was heard by all.
        """

    def _askSome(self) -> int:
        # Everybody has heard every line.
        return 0

    def _drive(self, length: int, recording: Recording, uncorrected: Recording) -> None:
        """
        Have lines said for C{length} nanoseconds, and until all have heard the last.

        @param recording: of each line heard by each member.
        @param uncorrected: of each line, until the last member had it.
        """
        end = perf_counter_ns() + length
        heard: list[int] = []
        heardByAll: list[int] = []
        while perf_counter_ns() < end and not self._interrupted:
            speaker = next(self._speakers)
            speaker.turn, _ = self._plan.exchange.turns()
            latencies = self._say(speaker)
            heard += latencies
            heardByAll.append(latencies[-1])
            # To record a few at a time would cost as much as to hear them.
            if len(heard) > _MOST_KEPT:
                recording.add(heard)
                uncorrected.add(heardByAll)
                heard.clear()
                heardByAll.clear()
        recording.add(heard)
        uncorrected.add(heardByAll)

    def _measurePart(self, busy: list[_Connection]) -> Part:
        part = super()._measurePart(busy)
        self._last = part.uncorrected
        return part

    def _measure(self, busy: list[_Connection]) -> Round:
        measured = super()._measure(busy)
        measured["latency_last_us"] = self._last.latency()
        return measured
