"""
Tests for an exception of one owner among many in a turn of the reactor: the others are
served, in this turn and later.

An owner is any object that the reactor calls: a protocol, a reader, a delayed call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .hosting import Host
from .programs.owners import OTHERS
from .programs.turns import CLIENTS, ERRORS, STREAMS, Named
from .programs.writes import WAYS, WRITES
from .stamping import BackendTestCase, sharedState, stamped

# Twisted's reactor on asyncio drops a connection whose owner raises an Exception, and
# keeps it after any other error.
_ONLY_EXCEPTIONS = ("asyncio", "uvloop")

# Errors from Twisted's own transport when it could not connect and its owner raised.
_ALSO_LOGGED = "AlreadyCalledError"


@stamped
class TurnTests(BackendTestCase):
    """
    Tests for owners of every kind, each of which raises in every callback.
    """

    maxDiff = None

    def assertHarmless(
        self, program: str, cases: Sequence[Named], **arguments: Any
    ) -> None:
        """
        Check that no case does harm, and that the raised errors are in the log.
        """
        host = Host(self, self.model.name, program, arguments)
        host.await_("case", len(cases) * len(ERRORS))
        host.finish()
        wrong = {
            each["name"]: each["wrong"] for each in host.told("case") if each["wrong"]
        }
        self.assertEqual(wrong, {})
        logged = [str(error["text"]).rstrip() for error in host.told("error")]
        for case in host.told("case"):
            said = [text for text in logged if text.endswith(f": {case['name']}")]
            self.assertNotEqual(said, [], f"{case['name']} is not in the log")
        others = set(host.errors) - {error.__name__ for error in ERRORS}
        self.assertLessEqual(others, {_ALSO_LOGGED}, host.told("error"))

    def checkStreams(self, transport: str) -> None:
        """
        Of connections that were accepted.
        """
        self.assertHarmless(
            "turns.streams",
            STREAMS,
            transport=transport,
            onlyExceptions=self.model.name in _ONLY_EXCEPTIONS,
        )

    def checkClients(self, transport: str) -> None:
        """
        Of connections that were made.
        """
        self.assertHarmless(
            "turns.clients",
            CLIENTS,
            transport=transport,
            onlyExceptions=self.model.name in _ONLY_EXCEPTIONS,
        )

    @sharedState
    def test_streams(self) -> None:
        """
        Owners of TCP connections that were accepted.
        """
        self.checkStreams("tcp")

    @sharedState
    def test_unixStreams(self) -> None:
        """
        Owners of UNIX connections that were accepted.
        """
        self.checkStreams("unix")

    @sharedState
    def test_clients(self) -> None:
        """
        Owners of TCP connections that were made.
        """
        self.checkClients("tcp")

    @sharedState
    def test_unixClients(self) -> None:
        """
        Owners of UNIX connections that were made.
        """
        self.checkClients("unix")

    def test_others(self) -> None:
        """
        Owners of descriptors, calls, datagrams, ports and processes.
        """
        self.assertHarmless("owners.others", OTHERS)


@stamped
class WriteTests(BackendTestCase):
    """
    Tests for writes of other types than C{bytes}.
    """

    maxDiff = None

    def check(self, transport: str) -> None:
        """
        Each value is sent or refused as by Twisted's own transports, its connection
        stays open, and other connections are not affected.
        """
        with self.host("writes.writes", transport=transport) as host:
            host.await_("case", len(WAYS) * len(WRITES))
            wrong = {
                each["name"]: each["wrong"]
                for each in host.told("case")
                if each["wrong"]
            }
            self.assertEqual(wrong, {})

    @sharedState
    def test_tcp(self) -> None:
        """
        Over TCP.
        """
        self.check("tcp")

    @sharedState
    def test_unix(self) -> None:
        """
        Over a UNIX socket.
        """
        self.check("unix")

    @sharedState
    def test_tls(self) -> None:
        """
        Over TLS.
        """
        self.check("tls")
