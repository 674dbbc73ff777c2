"""
Tests for a reactor that is run several times, and for the end of its process.
"""

from __future__ import annotations

import subprocess
import sys

from ..children import TIMEOUT, exchange
from .stamping import BackendTestCase, sharedState, stamped

# Ends after an error was logged, with a connection that is still open and garbage that
# is not collected.
_ENDING = """\
import io, sys
from twisted.application.reactors import installReactor
reactor = installReactor(sys.argv[1])
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory
from twisted.python import log
log.startLogging(io.StringIO(), setStdout=False)
class Failing(Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
    def dataReceived(self, data):
        reactor.callLater(0, reactor.stop)
        raise ZeroDivisionError("deliberate")
port = reactor.listenTCP(0, ServerFactory.forProtocol(Failing), interface="127.0.0.1")
for protocol in (Protocol, Failing):
    factory = ClientFactory.forProtocol(protocol)
    reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
reactor.callLater(0, lambda: 1 / 0)
reactor.run()
"""


@stamped
class ExitTests(BackendTestCase):
    """
    Tests for the end of the process.
    """

    def test_silent(self) -> None:
        """
        It prints nothing when it ends, whatever was logged before.
        """
        ended = subprocess.run(
            [sys.executable, "-c", _ENDING, self.model.name],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "", ""))


@stamped
class RunTests(BackendTestCase):
    """
    Tests for C{run}.
    """

    @sharedState
    def test_again(self) -> None:
        """
        A reactor that has crashed can be run again, and its connections are still open.
        """
        with self.host("running.again") as host:
            client = host.connect()
            self.assertEqual(exchange(client, b"hello"), b"hello")
            client.sendall(b"crash")
            host.await_("crashed")
            for each in (client, host.connect()):
                self.assertEqual(exchange(each, b"still"), b"still")

    def test_nested(self) -> None:
        """
        If a protocol runs the running reactor, it loses its connection, and other
        connections are not affected.
        """
        expecting = ("ReactorAlreadyRunning",)
        with self.host("running.serve", expecting) as host:
            other, client = host.connect(), host.connect()
            for each in (other, client):
                self.assertEqual(exchange(each, b"hello"), b"hello")
            client.sendall(b"run")
            self.assertEqual(client.recv(1), b"")
            self.assertEqual(exchange(other, b"still"), b"still")
