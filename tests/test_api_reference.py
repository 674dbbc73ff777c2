"""
Tests for C{docs/api_reference.py}: where the API reference finds what others document.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

_DOCS = Path(__file__).parents[1] / "docs"
_PYTHON = "https://docs.python.org/3/library/"
_TWISTED = "https://docs.twisted.org/en/stable/api/"


class InstalledTests(SynchronousTestCase):
    """
    Tests for C{Installed.getLink}.
    """

    if importlib.util.find_spec("pydoctor") is None:
        skip = "pydoctor is not here: scripts/docs installs it"

    def setUp(self) -> None:
        """
        Import it as Sphinx and pydoctor do.
        """
        self.patch(sys, "path", [str(_DOCS), *sys.path])
        module: Any = importlib.import_module("api_reference")
        self.link = module.Installed(logger=lambda *a, **k: None).getLink

    def test_twisted(self) -> None:
        """
        A class or an interface of Twisted's has a page, what it has a place on that,
        and a function one on the page of its module.
        """
        for name, expected in (
            ("twisted.internet.tcp.Port", "twisted.internet.tcp.Port.html"),
            (
                "twisted.internet.interfaces.IReactorFDSet.addReader",
                "twisted.internet.interfaces.IReactorFDSet.html#addReader",
            ),
            (
                "twisted.internet.main.installReactor",
                "twisted.internet.main.html#installReactor",
            ),
            ("twisted.web.template", "twisted.web.template.html"),
        ):
            self.assertEqual(self.link(name), _TWISTED + expected)

    def test_short(self) -> None:
        """
        A docstring may leave out the module of Twisted's commonest names.
        """
        self.assertEqual(
            self.link("IReactorTCP.listenTCP"),
            f"{_TWISTED}twisted.internet.interfaces.IReactorTCP.html#listenTCP",
        )

    def test_python(self) -> None:
        """
        What is Python's is in its library's pages.
        """
        for name, expected in (
            ("socket.socket.send", "socket.html#socket.socket.send"),
            (
                "collections.abc.Callable",
                "collections.abc.html#collections.abc.Callable",
            ),
            ("ImportError", "exceptions.html#ImportError"),
            ("None", "constants.html#None"),
            (
                "asyncio.loop.add_reader",
                "asyncio-eventloop.html#asyncio.loop.add_reader",
            ),
        ):
            self.assertEqual(self.link(name), _PYTHON + expected)

    def test_compiled(self) -> None:
        """
        A module that is compiled has the page of its package.
        """
        self.assertEqual(self.link("iodemo.completion.ring"), "iodemo.completion.html")

    def test_nothing(self) -> None:
        """
        What is not there, or has come there from elsewhere, has no page: pydoctor
        warns, and warnings are errors.
        """
        for name in ("socket.socket.sned", "IReactorTCP.listenUDP", "implementer"):
            self.assertIs(self.link(name), None, name)
