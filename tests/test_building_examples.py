"""
The examples of the book, C{docs/examples}, run in the way of a reader.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .children import TIMEOUT, Child, exchange, receive

_EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"

# Watch a regular file, which epoll refuses, and then stop watching it.
_FILE = """\
import tempfile
from iodemo.reactors.polling import READABLE
from selectorsreactor import SelectorsReactor
reactor = SelectorsReactor()
with tempfile.TemporaryFile() as file:
    reactor.watch(file.fileno(), READABLE)
    assert reactor.wait(None) == [(file.fileno(), READABLE)]
    reactor.watch(file.fileno(), 0)
    assert reactor.wait(0) == []
"""

# Close a descriptor while it is watched, and watch another of the same number.
_AGAIN = """\
import os
import signal
from iodemo.reactors.polling import READABLE
from selectorsreactor import SelectorsReactor
reactor = SelectorsReactor()
first = os.pipe()
reactor.watch(first[0], READABLE)
os.close(first[0])
second = os.pipe()
assert second[0] == first[0]
reactor.watch(second[0], READABLE)
os.write(second[1], b"x")
assert reactor.wait(None) == [(second[0], READABLE)]
"""


class ExampleTestCase(SynchronousTestCase):
    """
    Child processes can import the examples and their plugins.
    """

    def setUp(self) -> None:
        """
        Put the examples on the module path of child processes.
        """
        earlier = os.environ.get("PYTHONPATH")
        if earlier is None:
            self.addCleanup(os.environ.pop, "PYTHONPATH")
        else:
            self.addCleanup(os.environ.__setitem__, "PYTHONPATH", earlier)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(_EXAMPLES), earlier])
        )


class SelectorsReactorTests(ExampleTestCase):
    """
    Tests for the reactor.
    """

    def test_echo(self) -> None:
        """
        It serves several connections at the same time, on real sockets, and ends well.
        """
        child = Child(self, "iodemo-echo", reactor="selectors")
        sent = os.urandom(1 << 20)
        with child.connect() as silent, child.connect() as busy:
            self.assertEqual(exchange(busy, sent, shutdown=True), sent)
            self.assertEqual(exchange(silent, b"at last"), b"at last")
        self.assertEqual(child.stop(), -signal.SIGTERM)

    def test_regularFile(self) -> None:
        """
        A descriptor that the kernel refuses to watch counts as always ready, until it
        is removed.
        """
        self._execute(_FILE)

    def test_numberInUseAgain(self) -> None:
        """
        A descriptor is watched even if it has the number of one that was closed
        meanwhile.
        """
        self._execute(_AGAIN)

    def _execute(self, program: str) -> None:
        subprocess.run([sys.executable, "-c", program], timeout=TIMEOUT, check=True)


class ShoutTests(ExampleTestCase):
    """
    Tests for the service.
    """

    def test_lines(self) -> None:
        """
        It sends back every line in capitals, whatever the pieces in which it was
        received.
        """
        child = Child(self, "shout")
        with child.connect() as connection:
            connection.sendall(b"one\ntw")
            self.assertEqual(receive(connection, 4), b"ONE\n")
            connection.sendall(b"o\nthree\n")
            self.assertEqual(receive(connection, 10), b"TWO\nTHREE\n")
        self.assertEqual(child.stop(), -signal.SIGTERM)
