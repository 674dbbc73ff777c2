"""
Tests for L{iodemo.references}: each is held to what C{iodemo-echo} is.
"""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo import models
from iodemo.process.child import Child
from tests import children

REFERENCES = [model for model in models.MODELS if model.kind == "reference"]


class ReferencesTests(SynchronousTestCase):
    """
    What every reference does.
    """

    def serve(self, model: models.Model) -> tuple[str, int]:
        """
        Start a reference.

        @return: where it listens.
        """
        reason = model.unavailable()
        if reason is not None:
            raise SkipTest(reason)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        assert model.module is not None
        command = importlib.import_module(model.module).command(port)
        server = Child(command, None).__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        self.server = server
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                self.assertFalse(server.ended, server.lastWords())
            else:
                return "127.0.0.1", port

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """
        Connect, until the end of the test.
        """
        connected = socket.create_connection(address, children.TIMEOUT)
        self.addCleanup(connected.close)
        return connected

    def echoes(self, model: models.Model) -> None:
        """
        Bytes come back, of every connection its own, in both directions at once.
        """
        address = self.serve(model)
        connections = [self.connect(address) for _ in range(20)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%d\n" % number)
        for number, connection in enumerate(connections):
            said = b"%d\n" % number
            self.assertEqual(children.receive(connection, len(said)), said)
        much = os.urandom(4 << 20)
        self.assertEqual(children.exchange(connections[0], much), much)
        # Somebody who goes without a word is no harm to the others.
        connections[0].close()
        self.assertEqual(children.exchange(connections[1], b"x"), b"x")
        self.assertTrue(self.server.stop())
        self.assertIsNone(self.server.failure)

    def waits(self, model: models.Model) -> None:
        """
        Who sends and does not read is made to wait, and nothing is lost of what they
        sent.
        """
        connection = self.connect(self.serve(model))
        sent = bytearray()
        # As of iodemo-echo, that a write waits is all there is to be seen.
        connection.settimeout(2)
        with self.assertRaises(TimeoutError):
            while len(sent) < 1 << 28:
                piece = os.urandom(65536)
                sent += piece[: connection.send(piece)]
        connection.settimeout(children.TIMEOUT)
        connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        while piece := connection.recv(65536):
            received += piece
        self.assertTrue(received == sent)


for each in REFERENCES:
    name = each.name.title().replace("-", "")
    for what in ("echoes", "waits"):

        def stamped(
            self: ReferencesTests, what: str = what, model: models.Model = each
        ) -> None:
            getattr(self, what)(model)

        stamped.__doc__ = getattr(ReferencesTests, what).__doc__
        setattr(ReferencesTests, f"test_{what}{name}", stamped)


class UnavailableTests(SynchronousTestCase):
    """
    What cannot run has a reason that says what to do.
    """

    def reason(self, name: str, code: str = "", **variables: str) -> str:
        """
        Why a reference cannot run in a process of its own.

        @param code: run before the question is asked.
        """
        ask = f"from iodemo import models; print(models.find({name!r}).unavailable())"
        return subprocess.run(
            [sys.executable, "-c", f"import sys; {code}\n{ask}"],
            env={**os.environ, **variables},
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=children.TIMEOUT,
        ).stdout

    def test_noUvloop(self) -> None:
        """
        Without uvloop, how to have it.
        """
        said = self.reason("uvloop-protocol", "sys.modules['uvloop'] = None")
        self.assertIn("pip install 'iodemo[uvloop]'", said)

    def test_noCompiler(self) -> None:
        """
        Without a compiler, or with one that cannot compile, which, and what is
        missing.
        """
        said = self.reason("c-epoll", CC="no-such-compiler -O3")
        self.assertIn("needs a C compiler (no-such-compiler: No such file", said)
        said = self.reason("c-epoll", CC="false")
        self.assertIn("the C compiler false cannot compile it (exit status 1)", said)
