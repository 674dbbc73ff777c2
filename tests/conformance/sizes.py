"""
How much of everything there is in these tests.

Chosen so that all tests take a backend some twenty seconds of one core: enough
connections, bytes and calls for what goes wrong now and then to go wrong.
"""

from __future__ import annotations

import os

KIB = 1024
MIB = 1024 * KIB

#: Connections that talk at once, and how many of them are slow.
CONNECTIONS = 30
#: Messages a connection sends, of a size between 1 byte and this.
MESSAGES = 6
LARGEST_MESSAGE = MIB
#: What slow readers and writers move at a time; how often a reader does before it
#: is slow again; what the kernel keeps for it meanwhile.
SLOW_PIECE = 4 * KIB
SLOW_PIECES = 15
SLOW_BUFFER = 16 * KIB

#: What is written at once just before a connection is closed.
LAST_WORDS = 4 * MIB

#: What a producer has to send. What may be in memory while nobody reads is
#: less by far: a buffer of each kernel socket, and one in the process.
PRODUCED = 32 * MIB
PRODUCED_AT_ONCE = 64 * KIB
MOST_IN_MEMORY = 14 * MIB
#: What a process may have received, and keep, that does not read.
MOST_RECEIVED = 2 * MIB

#: Connections that come and go, this many at a time.
VISITS = 2000
VISITS_AT_ONCE = 100
#: The same where each costs a process.
VISITS_OF_PROCESSES = 500
#: How many come after those, to see that memory does not grow; 0 is as many again.
VISITS_AFTER = int(os.environ.get("IODEMO_VISITS", "0"))
#: By how much it may: what is there by chance, and where a connection has a stack
#: also as deep as the deepest of those that are kept for the next one.
MOST_GROWTH = MIB
MOST_GROWTH_OF_STACKS = 8 * MIB

#: Turns in each of which empty pieces are written.
EMPTY_PIECES = 200

#: Connections that wait to be accepted.
WAITING = 20

#: Connections whose peers read nothing, and bytes of memory for each of them at most:
#: a transport's buffer, what it has received, and what the kernel holds meanwhile.
STALLED = 60
MOST_OF_STALLED = 512 * KIB
#: And what may be left of all of them when they are gone: also stacks of threads.
MOST_LEFT_OF_STALLED = 24 * MIB

#: Connections that are held at once, and the same where each costs a process.
HELD = 2000
HELD_OF_PROCESSES = 500

#: Timers, and the time within which all of them are due, in seconds.
TIMERS = 1000
TIMERS_WITHIN = 0.5

#: Threads that call the reactor, and how often each does.
CALLERS = 4
CALLS = 500

#: Connections that try to catch the reactor in two callbacks at once, and what
#: they send it: bytes one by one, each answered.
INTRUDERS = 50
INTRUSIONS = 30

#: Connections there are descriptors for, and how many come beyond them.
ROOM = 20
SURPLUS = 20

#: Peers that vanish while they are sent something, of each of three kinds.
VANISHING = 10
#: Connections that are reset all at once; and where each costs a thread or a process.
DROPPED = 10_000
DROPPED_OF_THREADS = 2000
DROPPED_OF_PROCESSES = 200

#: Child processes, how many of them at a time, and the bytes each is given: more
#: than a pipe holds.
CHILDREN = 50
CHILDREN_AT_ONCE = 10
GIVEN = 200 * KIB
#: Signals of each kind that all of them send, and how many are sent one by one after
#: that.
SIGNALS = 5000
SIGNALS_ALONE = 20
