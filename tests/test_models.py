"""
Tests for L{iodemo.models}.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

from twisted.application.reactors import Reactor
from twisted.trial.unittest import SynchronousTestCase

from iodemo import models
from tests.children import TIMEOUT


class ModelsTests(SynchronousTestCase):
    """
    Tests for the table and its functions.
    """

    def test_names(self) -> None:
        """
        Each backend has one row.
        """
        names = [model.name for model in models.MODELS]
        self.assertEqual(len(set(names)), len(names))
        for name in names:
            self.assertEqual(models.find(name).name, name)

    def test_unavailable(self) -> None:
        """
        A backend that cannot run here has a one-line reason; twistd finds one that can.
        """
        for model in models.MODELS:
            reason = model.unavailable()
            if reason is not None:
                self.assertTrue(reason.isprintable() and reason, model.name)
        self.assertIn(models.find(models.BASELINE), models.available())

    def test_twistdAgrees(self) -> None:
        """
        twistd can install every available reactor.
        """
        code = (
            "import sys; from twisted.application.reactors import installReactor; "
            "installReactor(sys.argv[1])"
        )
        for model in models.available():
            if model.kind != "reactor":
                continue
            subprocess.run(
                [sys.executable, "-c", code, model.name], check=True, timeout=TIMEOUT
            )

    def test_reason(self) -> None:
        """
        The reason is the import error of the backend's module, in one line, with the
        system that it needs.
        """
        model = models.Model("x", "Reactor", False, True, (), "", needs="a BSD")
        self.assertEqual(model.unavailable(), "not written yet")
        installed: dict[str, Any] = {"x": "tests.no_such_module"}
        self.patch(models, "_installers", lambda: installed)
        self.assertEqual(
            model.unavailable(),
            "needs a BSD (No module named 'tests.no_such_module')",
        )

    def test_refuses(self) -> None:
        """
        Beyond its limit a model is not measured, unless it fails there.
        """
        model = models.Model("x", "Reactor", False, True, (), "")
        self.assertIsNone(model.refuses(10**9))
        model = replace(model, connectionLimit=1000)
        self.assertIsNone(model.refuses(1000))
        self.assertEqual(model.refuses(1001), "at most 1,000 connections")
        model = replace(model, limitReason="it is small")
        self.assertEqual(model.refuses(1001), "it is small (at most 1,000 connections)")
        self.assertIsNone(replace(model, breaks=True).refuses(1001))
        self.assertIsNone(models.find("select").refuses(10_000))

    def test_contradiction(self) -> None:
        """
        The observed system calls are compared with those of the table. A call may have
        any name that the C library uses for it on the architecture. Calls that accept a
        connection, or that are no I/O, do not count.
        """
        for name, seen, said in (
            ("epoll", "epoll_wait recvfrom epoll_ctl sendto", None),
            ("epoll", "epoll_pwait recvfrom epoll_ctl sendto", "x86_64"),
            ("epoll", "epoll_wait recvfrom sendto", "without epoll_ctl"),
            ("c-epoll", "epoll_wait read write", "without recv, send and with read"),
            ("select", "pselect6 recvfrom sendto", None),
            ("threads", "poll recvfrom sendto futex getpid other", None),
            ("threads", "recvfrom sendto poll read write", None),
            ("threads", "recvfrom sendto poll epoll_wait", "with epoll_wait"),
            ("fork", "recvfrom sendto read", "with read"),
            ("uring", "io_uring_enter", None),
            ("uring", "other", None),
        ):
            calls = dict.fromkeys(seen.split(), 1.0)
            model = models.find(name)
            found = model.contradiction(calls, "x86_64")
            elsewhere = model.contradiction(calls, "aarch64")
            if said == "x86_64":
                self.assertEqual(found, "without epoll_wait and with epoll_pwait")
                self.assertIsNone(elsewhere)
            elif said is None:
                self.assertEqual((found, elsewhere), (None, None), name)
            else:
                self.assertIn(said, found or "")
        calls = {"epoll_wait": 0.001, "recvfrom": 1, "sendto": 1, "read": 0.01}
        self.assertIsNone(models.find("c-epoll").contradiction(calls, "x86_64"))

    def test_foreignReactor(self) -> None:
        """
        A reactor from another project is a backend without a row. A plugin without a
        name is none. Of two with the same name, the first counts, as for twistd.
        """
        reactors = [
            Reactor("shiny", "twisted.internet.pollreactor", ""),
            Reactor("shiny", "no.such.module", ""),
            object(),
        ]
        self.patch(models, "getReactorTypes", lambda: reactors)
        shiny = models.find("shiny")
        self.assertEqual((shiny.pattern, shiny.unavailable()), ("unknown", None))
        self.assertNotIn(shiny, models.MODELS)

    def test_unknown(self) -> None:
        """
        For an unknown name, the error lists the known ones.
        """
        error = self.assertRaises(models.UnknownBackend, models.find, "no-such")
        self.assertIn("choose from", str(error))
        self.assertIn("epoll", str(error))
        for name in ("no-such+c-load", "+c-load", "epoll+c-load+c-load"):
            self.assertRaises(models.UnknownBackend, models.find, name)
