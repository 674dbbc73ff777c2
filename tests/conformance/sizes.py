"""
The sizes of everything in these tests.

With these sizes, all tests together take some twenty seconds of one core for a backend.
There are enough connections, bytes and calls to meet failures that happen only now and
then.
"""

from __future__ import annotations

import os

KIB = 1024
MIB = 1024 * KIB

#: Connections that exchange data at the same time; some of them are slow.
CONNECTIONS = 30
#: Messages that a connection sends, and the size of the largest in bytes.
MESSAGES = 6
LARGEST_MESSAGE = MIB
#: Bytes that slow readers and writers move at a time; how often a reader reads before
#: it is slow again; and the size of its kernel's receive buffer.
SLOW_PIECE = 4 * KIB
SLOW_PIECES = 15
SLOW_BUFFER = 16 * KIB

#: Bytes that are written at once just before a connection is closed.
LAST_WORDS = 4 * MIB

#: Bytes that a producer has to send. Far fewer may be in memory while the peer does not
#: read: a buffer of each kernel socket, and one in the process.
PRODUCED = 32 * MIB
PRODUCED_AT_ONCE = 64 * KIB
MOST_IN_MEMORY = 14 * MIB
#: Bytes that a process that does not read may have received and kept.
MOST_RECEIVED = 2 * MIB

#: Connections that are made and closed, and how many at a time.
VISITS = 2000
VISITS_AT_ONCE = 100
#: The same where each connection costs a process.
VISITS_OF_PROCESSES = 500
#: How many are made after those, to see that memory does not grow; 0 is the same number
#: again.
VISITS_AFTER = int(os.environ.get("IODEMO_VISITS", "0"))
#: By how many bytes memory may grow: a random part, and where each connection has a
#: stack, the depth of the deepest of the stacks that are kept for later connections.
MOST_GROWTH = MIB
MOST_GROWTH_OF_STACKS = 8 * MIB

#: Turns in each of which empty pieces are written.
EMPTY_PIECES = 200

#: Connections that wait to be accepted.
WAITING = 20

#: Connections whose peers read nothing, and the most bytes of memory for each: a
#: transport's buffer, the received data, and the kernel's buffers.
STALLED = 60
MOST_OF_STALLED = 512 * KIB
#: The most bytes that may remain of all of them when they are closed, including stacks
#: of threads.
MOST_LEFT_OF_STALLED = 24 * MIB

#: Connections that are open at the same time, and the same where each costs a process.
HELD = 2000
HELD_OF_PROCESSES = 500

#: Timers, and the time within which all of them are due, in seconds.
TIMERS = 1000
TIMERS_WITHIN = 0.5

#: Threads that call the reactor, and how many calls each makes.
CALLERS = 4
CALLS = 500

#: Connections that try to make the reactor run two callbacks at the same time, and the
#: bytes that each sends: one by one, each answered.
INTRUDERS = 50
INTRUSIONS = 30

#: Connections for which there are descriptors, and how many more connect.
ADMITTED = 20
SURPLUS = 20

#: Peers that disappear while they receive data, for each of three kinds.
VANISHING = 10
#: Connections that are reset at the same moment; and where each costs a thread or a
#: process.
DROPPED = 10_000
DROPPED_OF_THREADS = 2000
DROPPED_OF_PROCESSES = 200

#: Child processes, how many of them run at a time, and the bytes on each one's standard
#: input: more than a pipe holds.
CHILDREN = 50
CHILDREN_AT_ONCE = 10
GIVEN = 200 * KIB
#: Signals of each kind that all of them send together, and how many are sent one by one
#: afterwards.
SIGNALS = 5000
SIGNALS_ALONE = 20
