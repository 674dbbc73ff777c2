"""
Tests for L{iodemo.references}: each behaves like C{iodemo-echo}.
"""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo import models
from iodemo.compiler import compiled
from iodemo.process.child import Child
from tests import children

REFERENCES = [model for model in models.MODELS if model.kind == "reference"]


class ReferencesTests(SynchronousTestCase):
    """
    Tests for every reference.
    """

    def serve(self, model: models.Model) -> tuple[str, int]:
        """
        Start a reference.

        @return: its address.
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
        Connect; the connection is closed with the test.
        """
        connected = socket.create_connection(address, children.TIMEOUT)
        self.addCleanup(connected.close)
        return connected

    def echoes(self, model: models.Model) -> None:
        """
        Each connection gets its own bytes back, in both directions at the same time.
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
        # A client that closes without a word does not affect the others.
        connections[0].close()
        self.assertEqual(children.exchange(connections[1], b"x"), b"x")
        self.assertTrue(self.server.stop())
        self.assertIsNone(self.server.failure)

    def waits(self, model: models.Model) -> None:
        """
        A peer that sends and does not read is blocked, and none of its data is lost.
        """
        connection = self.connect(self.serve(model))
        sent = bytearray()
        # As for iodemo-echo, a blocked write is the only visible effect.
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
    The reason of a reference that cannot run says what to do.
    """

    def reason(self, name: str, code: str = "", **variables: str) -> str:
        """
        The reason why a reference cannot run, in a process of its own.

        @param code: runs before the reference is imported.
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
        Without uvloop, the reason says how to install it.
        """
        said = self.reason("uvloop-protocol", "sys.modules['uvloop'] = None")
        self.assertIn("pip install 'iodemo[uvloop]'", said)

    def test_noCompiler(self) -> None:
        """
        Without a compiler, or with one that fails, the reason names it and what may be
        missing.
        """
        for name in ("c-epoll", "epoll+c-load"):
            said = self.reason(name, CC="no-such-compiler -O3")
            self.assertIn("needs a C compiler (no-such-compiler: No such file", said)
        said = self.reason("c-epoll", CC="'gcc")
        self.assertIn("CC is no command line: No closing quotation", said)
        said = self.reason("c-epoll", CC="false")
        self.assertIn("the C compiler false cannot compile it (exit status 1)", said)


class CompiledTests(SynchronousTestCase):
    """
    Tests for L{compiled}.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.source = self.directory / "program.c"
        self.source.write_text("int main(void) { return 3; }")
        self.cache("cache")

    def cache(self, name: str) -> None:
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.directory / name)}
        self.patch(os, "environ", environment)

    def test_kept(self) -> None:
        """
        A program is compiled once, and again if its source changes or the cache is
        removed. A part that a killed process has left does no harm.
        """
        program = Path(compiled(self.source))
        self.assertEqual(subprocess.run([program]).returncode, 3)
        self.assertTrue(program.is_relative_to(self.directory / "cache" / "iodemo"))
        first = program.stat()
        self.assertEqual(compiled(self.source), str(program))
        self.assertEqual(program.stat(), first)
        (program.parent / "part").write_bytes(b"not a program")
        self.source.write_text("int main(void) { return 4; }")
        other = compiled(self.source)
        self.assertNotEqual(other, str(program))
        self.assertEqual(subprocess.run([other]).returncode, 4)
        shutil.rmtree(self.directory / "cache")
        self.assertEqual(compiled(self.source), other)
        self.assertEqual(os.listdir(program.parent), [Path(other).name])

    def test_atOnce(self) -> None:
        """
        Processes that need a program at the same moment all get a whole one.
        """
        code = (
            "import subprocess, sys; from pathlib import Path; "
            "from iodemo.compiler import compiled; "
            "sys.exit(subprocess.run([compiled(Path(sys.argv[1]))]).returncode)"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(self.source)],
                env=os.environ,
                cwd=Path(__file__).parent.parent,
            )
            for _ in range(4)
        ]
        statuses = [each.wait(children.TIMEOUT) for each in processes]
        self.assertEqual(statuses, [3] * 4)

    def test_noPlace(self) -> None:
        """
        If the cache cannot be written to, the reason names the path and the remedy.
        """
        self.cache("program.c")
        error = self.assertRaises(ImportError, compiled, self.source)
        self.assertIn("Not a directory", str(error))
        self.assertIn(str(self.directory / "program.c" / "iodemo"), str(error))
        self.assertIn("XDG_CACHE_HOME", str(error))
