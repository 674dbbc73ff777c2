"""
Tests for C{docs/api_reference.py}: links from the API reference to the documentation of
other projects.
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
        Import it in the way of Sphinx and pydoctor.
        """
        self.patch(sys, "path", [str(_DOCS), *sys.path])
        module: Any = importlib.import_module("api_reference")
        self.link = module.Installed(logger=lambda *a, **k: None).getLink

    def test_twisted(self) -> None:
        """
        A class or an interface of Twisted has a page, an attribute has a place on the
        page of its class, and a function has one on the page of its module.
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
        A docstring may name the most common classes of Twisted without their module.
        """
        self.assertEqual(
            self.link("IReactorTCP.listenTCP"),
            f"{_TWISTED}twisted.internet.interfaces.IReactorTCP.html#listenTCP",
        )

    def test_python(self) -> None:
        """
        A name of the standard library has a place on a page of its documentation.
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
        A compiled module has the page of its package.
        """
        self.assertEqual(self.link("iodemo.completion.ring"), "iodemo.completion.html")

    def test_nothing(self) -> None:
        """
        A name that does not exist, or was imported from elsewhere, has no page:
        pydoctor warns, and warnings are errors.
        """
        for name in ("socket.socket.sned", "IReactorTCP.listenUDP", "implementer"):
            self.assertIs(self.link(name), None, name)
