# -*- test-case-name: tests.test_conform -*-
"""
Find the class of a reactor by its name.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

from twisted.application.reactors import getReactorTypes
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorCore
from twisted.python.reflect import namedAny
from zope.interface import implementedBy

from iodemo import models


class UnknownReactor(LookupError):
    """There is no such reactor, or it cannot be used here. The message says why."""


@dataclass(frozen=True)
class Subject:
    """
    A reactor to be judged.

    @ivar name: its name, as the user wrote it.
    @ivar dottedName: its class, with the module.
    @ivar interfaces: the names of the interfaces that the class declares, sorted.
    @ivar exceptions: its documented exceptions: the reason by name of a test, or by
        pattern.
    """

    name: str
    dottedName: str
    interfaces: tuple[str, ...]
    exceptions: dict[str, str]


def findReactor(name: str) -> Subject:
    """
    Find a reactor.

    @param name: a short name, as in C{twistd --reactor}, or a class, as in
        C{package.module.ClassReactor}.
    @raise UnknownReactor: if there is none, or it cannot be used here.
    """
    reactor = _named(name) if "." in name else _installed(name)
    module = sys.modules[reactor.__module__]
    return Subject(
        name=name,
        dottedName=f"{reactor.__module__}.{reactor.__qualname__}",
        interfaces=tuple(
            sorted(
                interface.__name__
                for interface in implementedBy(reactor).flattened()
                if interface.__name__.startswith("IReactor")
            )
        ),
        exceptions=dict(getattr(module, "CONFORMANCE_EXCEPTIONS", {})),
    )


def _named(name: str) -> type[Any]:
    # twistd does the same, so that a reactor in the working directory is found.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        reactor = namedAny(name)
    except Exception as error:
        # The import ran code from outside, which may raise any exception.
        raise UnknownReactor(
            f"no class {name!r}: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(reactor, type) or not IReactorCore.implementedBy(reactor):
        raise UnknownReactor(f"{name} is not the class of a reactor")
    return reactor


def _installed(name: str) -> type[Any]:
    try:
        model = models.find(name)
    except models.UnknownBackend as error:
        known = [each.name for each in models.available() if each.kind == "reactor"]
        raise UnknownReactor(
            f"no reactor named {name!r}: choose from {', '.join(known)}, or name a "
            "class by its module, as in package.module.ClassReactor"
        ) from error
    if model.kind != "reactor":
        raise UnknownReactor(f"{name} is a {model.kind}, not a reactor")
    reason = model.unavailable()
    if reason is not None:
        raise UnknownReactor(f"{name} cannot run here: {reason}")
    moduleName = moduleOf(name)
    module = importlib.import_module(moduleName)
    reactors = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, ReactorBase)
        and value.__module__ == moduleName
    ]
    if len(reactors) != 1:
        found = ", ".join(each.__name__ for each in reactors) or "none"
        raise UnknownReactor(
            f"{moduleName} should define one reactor class and defines {found}: "
            "name the class, as in package.module.ClassReactor"
        )
    return reactors[0]


def moduleOf(name: str) -> str:
    """
    The module of a reactor that is installed as a plugin. If two have the same name,
    the first counts, as for C{twistd --reactor}.
    """
    return next(
        installer.moduleName
        for installer in getReactorTypes()
        if installer.shortName == name and hasattr(installer, "moduleName")
    )
