"""
The configuration of pydoctor, which makes the API reference in C{scripts/docs}, and a
Sphinx extension for links into it.

pydoctor reads the docstrings, and needs the address of each name from another project.
It would download the inventories of these projects. L{Installed} looks a name up in the
installed packages instead, so that a wrong name is an error without a network too, and
derives the address from the name.

The Sphinx role C{:api:`iodemo.models`} links into the reference. A name that does not
exist is an error.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from pydoctor.model import System
from pydoctor.sphinx import SphinxInventory
from zope.interface.interface import InterfaceClass

#: The modules of short names in docstrings, such as C{IReactorTCP.listenTCP}.
_KNOWN = (
    "twisted.internet.interfaces",
    "twisted.internet.base",
    "twisted.internet.abstract",
)

# Modules of the standard library with a page of their own beside their package's.
_PAGES = ("collections.abc", "concurrent.futures", "importlib.metadata", "os.path")

_ROOT = Path(__file__).parents[1]

_PYTHON = "https://docs.python.org/3/library/"
_TWISTED = "https://docs.twisted.org/en/stable/api/"
_RICH = "https://rich.readthedocs.io/en/stable/reference/"


class Installed(SphinxInventory):
    """
    The addresses of names from installed packages.
    """

    def getLink(self, name: str) -> str | None:
        """
        See L{SphinxInventory.getLink}.
        """
        if hasattr(builtins, name):
            return _builtin(name)
        if (_ROOT / f"{name.replace('.', '/')}.pyx").exists():
            # pydoctor does not read compiled modules: link to the package instead.
            return f"{name.rpartition('.')[0]}.html"
        if name.startswith("asyncio.loop."):
            # The name of the class of event loops there.
            target = name.replace("loop", "AbstractEventLoop", 1)
            return f"{_PYTHON}asyncio-eventloop.html#{name}" if _found(target) else None
        found = _found(name)
        for module in _KNOWN if found is None else ():
            found = found or _found(f"{module}.{name}", own=True)
        return None if found is None else _page(*found)


class Reference(System):
    """
    The pydoctor system of iodemo, with L{Installed} as its inventory.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.intersphinx = Installed(logger=self.msg)


def _found(name: str, own: bool = False) -> tuple[str, list[str]] | None:
    """
    Look a name up in the installed packages.

    @param own: whether the module must define the name, not import it.
    @return: the module, and the parts of the name within it; L{None} if not found.
    """
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        try:
            there: Any = importlib.import_module(module)
        except ImportError:
            continue
        if own and _origin(there, parts[end:]) != module:
            return None
        for part in parts[end:]:
            if isinstance(there, InterfaceClass) and part in there:
                there = there[part]
            elif hasattr(there, part):
                there = getattr(there, part)
            else:
                return None
        return module, parts[end:]
    return None


def _origin(module: Any, parts: list[str]) -> str | None:
    """
    The module that defines a name of another module, if the name is a class.
    """
    return getattr(getattr(module, parts[0], None), "__module__", None)


def _page(module: str, parts: list[str]) -> str | None:
    package = module.partition(".")[0]
    name = ".".join((module, *parts))
    if package == "twisted":
        return _TWISTED + _pydoctors(module, parts)
    if package == "rich":
        return f"{_RICH}{module.rpartition('.')[2]}.html#{name}"
    if package in sys.stdlib_module_names:
        page = f"{_PYTHON}{module if module in _PAGES else package}.html"
        # The names of asyncio are spread over many pages.
        return f"{page}#{name}" if parts and package != "asyncio" else page
    return None


def _pydoctors(module: str, parts: list[str]) -> str:
    """
    The address of a name in a reference by pydoctor: a module and a class have a page,
    their members an anchor on it.
    """
    there = getattr(importlib.import_module(module), parts[0]) if parts else None
    if isinstance(there, (type, InterfaceClass)):
        return "#".join((f"{module}.{parts[0]}.html", *parts[1:]))
    return "#".join((f"{module}.html", *parts))


def _builtin(name: str) -> str | None:
    there = getattr(builtins, name)
    if isinstance(there, type):
        exception = issubclass(there, BaseException)
        return f"{_PYTHON}exceptions.html#{name}" if exception else None
    return f"{_PYTHON}constants.html#{name}" if there in (None, True, False) else None


def setup(app: Any) -> dict[str, Any]:
    """
    Register the role C{api}; Sphinx calls this.
    """

    def api(
        role: str, raw: str, text: str, line: int, inliner: Any, *others: Any
    ) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        found = _found(text)
        if found is None:
            message = inliner.reporter.error(f"there is no {text}", line=line)
            return [inliner.problematic(raw, raw, message)], [message]
        page = _pydoctors(*found)
        link = nodes.reference(raw, "", internal=False, refuri=f"api/{page}")
        link += nodes.literal("", text)
        return [link], []

    app.add_role("api", api)
    return {"parallel_read_safe": True}
