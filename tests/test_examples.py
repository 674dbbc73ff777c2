"""
Tests for C{docs/examples}, the examples of the book.
"""

from __future__ import annotations

import importlib.util
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from iodemo.models import MODELS, Model

from .children import TIMEOUT

_EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


def example(name: str) -> Any:
    """
    The module of an example.
    """
    path = _EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"examples_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Contended(socket.socket):
    """
    A socket that another reader uses, too. That reader is faster once: the data for the
    first receive is gone when it is made.

    @ivar afterwards: called when that receive has found nothing.
    """

    afterwards: Callable[[], None] | None = None

    def recv(self, *arguments: Any) -> bytes:
        """
        Receive, unless the other reader has taken the data.
        """
        afterwards, self.afterwards = self.afterwards, None
        if afterwards is None:
            return super().recv(*arguments)
        super().recv(*arguments)
        if self.getblocking():
            raise AssertionError("the receive would wait")
        try:
            return super().recv(*arguments)
        except BlockingIOError:
            afterwards()
            raise


class PatternsTests(SynchronousTestCase):
    """
    Tests for C{patterns.py}: the same receive in four ways.
    """

    def setUp(self) -> None:
        """
        Connect two sockets.
        """
        self.patterns = example("patterns")
        self.ours, self.peer = socket.socketpair()
        for end in (self.ours, self.peer):
            self.addCleanup(end.close)

    def inAThread(self, receive: Callable[[socket.socket], bytes]) -> bytes:
        """
        Receive in a thread, and send once the thread runs.

        @return: the received data.
        """
        received: list[bytes] = []
        runs = threading.Event()

        def run() -> None:
            runs.set()
            received.append(receive(self.ours))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.assertTrue(runs.wait(TIMEOUT))
        self.assertEqual(received, [])
        self.peer.sendall(b"said")
        thread.join(TIMEOUT)
        self.assertFalse(thread.is_alive())
        return b"".join(received)

    def test_blockInCall(self) -> None:
        """
        The blocking call returns when data comes, and not before.
        """
        self.assertEqual(self.inAThread(self.patterns.blockInCall), b"said")
        self.assertTrue(self.ours.getblocking())

    def test_repeatCall(self) -> None:
        """
        The program goes on between the calls, and repeats them until data arrives.
        """
        calls: list[int] = []

        def meanwhile() -> None:
            calls.append(len(calls))
            if len(calls) == 3:
                self.peer.sendall(b"said")

        self.assertEqual(self.patterns.repeatCall(self.ours, meanwhile), b"said")
        self.assertEqual(calls, [0, 1, 2])

    def test_waitUntilReady(self) -> None:
        """
        It waits until a non-blocking socket is ready.
        """
        self.assertEqual(self.inAThread(self.patterns.waitUntilReady), b"said")
        self.assertFalse(self.ours.getblocking())

    def test_readyForNothing(self) -> None:
        """
        It waits again if another reader has taken the data.
        """
        self.peer.sendall(b"taken")
        ours = _Contended(fileno=self.ours.detach())
        self.addCleanup(ours.close)
        ours.afterwards = lambda: self.peer.sendall(b"said")
        self.assertEqual(self.patterns.waitUntilReady(ours), b"said")

    def test_submitAndWait(self) -> None:
        """
        A receive that is submitted before data arrives completes with the data.
        """
        data = self.patterns.submitAndWait(
            self.ours, lambda: self.peer.sendall(b"said")
        )
        self.assertEqual(data, b"said")

    def test_submitAndEnd(self) -> None:
        """
        A receive completes without data when the peer closes.
        """
        self.assertEqual(self.patterns.submitAndWait(self.ours, self.peer.close), b"")

    def test_main(self) -> None:
        """
        The program runs by itself, as the page describes.
        """
        said = subprocess.run(
            [sys.executable, str(_EXAMPLES / "patterns.py")],
            capture_output=True,
            check=True,
            text=True,
            timeout=TIMEOUT,
        ).stdout
        self.assertEqual(said.count("b'hello'"), 4)


class ThreadsTests(SynchronousTestCase):
    """
    Tests for C{threads.py}: a thread for each connection.
    """

    def test_reset(self) -> None:
        """
        A connection that its peer resets ends without output.
        """
        with socket.create_server(("127.0.0.1", 0)) as port:
            peer = socket.create_connection(port.getsockname(), TIMEOUT)
            connection, _ = port.accept()
        linger = struct.pack("ii", 1, 0)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        peer.close()
        example("threads").echo(connection)
        self.assertEqual(connection.fileno(), -1)

    def test_serve(self) -> None:
        """
        Each connection is served independently of the others, and the server ends with
        its port.
        """
        port = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(port.close)
        server = threading.Thread(target=example("threads").serve, args=[port])
        server.start()
        try:
            address = port.getsockname()
            with (
                socket.create_connection(address, TIMEOUT) as silent,
                socket.create_connection(address, TIMEOUT) as busy,
            ):
                for asked in (b"one", b"two"):
                    busy.sendall(asked)
                    self.assertEqual(busy.recv(64), asked)
                silent.shutdown(socket.SHUT_WR)
                self.assertEqual(silent.recv(64), b"")
        finally:
            port.shutdown(socket.SHUT_RDWR)
            server.join(TIMEOUT)
        self.assertFalse(server.is_alive())


class LayersTests(SynchronousTestCase):
    """
    Tests for the table of layers in C{docs/patterns.rst}.
    """

    def test_kernel(self) -> None:
        """
        The table agrees with the table of models about each reactor's system calls.
        """
        page = (_EXAMPLES.parent / "patterns.rst").read_text()
        rows = re.findall(r"\* - Twisted: ([\w, -]+)\n +- (\d)", page)
        said = {name: int(way) for names, way in rows for name in names.split(", ")}
        ways = {model.name: _way(model) for model in MODELS if model.kind == "reactor"}
        self.assertEqual(said, ways)


def _way(model: Model) -> int:
    """
    The number of the way, from 1 to 4, in which a model makes its system calls.
    """
    if model.blocking:
        return 1
    if not model.synchronous:
        return 4
    return 2 if model.pattern == "busy polling" else 3
