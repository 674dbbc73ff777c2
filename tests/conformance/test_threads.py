"""
Tests for threads that call the reactor, and that protocols do not notice any threads.
"""

from __future__ import annotations

from .peers import Peer, converse, reset
from .sizes import CALLERS, CALLS, INTRUDERS, INTRUSIONS
from .stamping import BackendTestCase, sharedState, stamped


@stamped
class CallFromThreadTests(BackendTestCase):
    """
    Tests for C{callFromThread} and the functions that are built on it.
    """

    def test_storm(self) -> None:
        """
        Several threads make calls at the same time. Each call is made once, one after
        the other, in the order of its thread and in the reactor's thread.
        """
        with self.host("threads.storm") as host:
            host.await_("calls")
        (told,) = host.told("finished")
        finished = (told["inOrder"], told["elsewhere"], told["together"])
        self.assertEqual(finished, (True, 0, 0))
        self.assertEqual(host.await_("calls")["count"], CALLERS * CALLS)

    def test_wake(self) -> None:
        """
        A call wakes a reactor that waits for nothing, not even for a timer.
        """
        with self.host("threads.wake", times=20) as host:
            host.await_("woken", 20)
            host.await_("ended")

    def test_deferToThread(self) -> None:
        """
        Results of work in other threads are delivered in the reactor's thread, errors
        too.
        """
        with self.host("threads.defer", times=50) as host:
            finished = host.await_("finished")
        self.assertTrue(finished["inReactor"])
        expected: list[object] = [[n, False] for n in range(50) if n % 10 != 9]
        results = finished["results"]
        self.assertEqual(results.count("ZeroDivisionError"), 5)
        told = sorted(each for each in results if each != "ZeroDivisionError")
        self.assertEqual(told, expected)


@stamped
class OneAtATimeTests(BackendTestCase):
    """
    Tests that the reactor makes no two calls at the same time.
    """

    @sharedState
    def test_neverTwo(self) -> None:
        """
        No two callbacks of any kind run at the same time: a counter that is read, and
        written later, misses no count.
        """
        with self.host("exclusion.count") as host:
            connections = [host.connect() for _ in range(INTRUDERS)]
            for _ in range(INTRUSIONS):
                converse([Peer(each, [b"."], b".") for each in connections])
            for number, connection in enumerate(connections):
                if number % 2:
                    reset(connection)
                else:
                    connection.close()
            count = host.await_("counted")
        self.assertEqual(count["intrusions"], [])
        self.assertEqual(count["lost"], 0)
        for kind in ("connectionMade", "connectionLost"):
            self.assertEqual(count["kinds"][kind], INTRUDERS)
        self.assertEqual(count["kinds"]["dataReceived"], INTRUDERS * INTRUSIONS)
        for kind in ("callLater", "callFromThread"):
            self.assertGreater(count["kinds"][kind], INTRUSIONS)
