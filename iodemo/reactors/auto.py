# -*- test-case-name: tests.test_auto -*-
"""
The quickest reactor that works here: C{uring}, else C{proactor}, else the one that
Twisted itself chooses.

Facts. Whether the kernel allows io_uring is found by making a ring and entering it: a
seccomp filter is in no file of C{/proc/sys}. The answer may change while a program
starts, when C{twistd} gives up the rights of root (C{--uid}; with
C{kernel.io_uring_disabled=1} root has io_uring and other users do not).

Decisions. C{install} makes a small ring. If the kernel allows that,
L{iodemo.reactors.uringorproactor} makes the real one when the reactor starts. One line
in the log has the name of the reactor, and if it is not C{uring}, the reason and a
remedy. It is written when the reactor starts, because a program has its log by then.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from twisted.logger import Logger

#: The module of each reactor, by the reactor's name: the quickest is the first.
REACTORS = {
    "uring": "iodemo.reactors.uringorproactor",
    "proactor": "iodemo.reactors.proactor",
    "Twisted's default": "twisted.internet.default",
}

_log = Logger()


def install() -> None:
    """
    Make the first of L{REACTORS} that works the reactor of the process.
    """
    installFirst(REACTORS)


def installFirst(modules: Mapping[str, str], *arguments: object) -> None:
    """
    Install the first reactor that works. If it is not the very first one, which logs
    that itself, the choice is logged when it starts.

    @param modules: the module of each reactor, by the reactor's name.
    @param arguments: for C{install} of the module.
    @raise Exception: if the last one does not work.
    """
    *_, last = modules
    refusals: dict[str, str] = {}
    for name, module in modules.items():
        try:
            importlib.import_module(module).install(*arguments)
            break
        except (ImportError, AttributeError, OSError, TypeError) as refusal:
            # AttributeError: the module select lacks epoll or poll. TypeError: the
            # event loop is of a class that the reactor does not accept.
            if name == last:
                raise
            refusals[name] = str(refusal)
    if refusals:
        from twisted.internet import reactor

        reactor.callWhenRunning(logChoice, name, refusals)


def logChoice(name: str, refusals: Mapping[str, str]) -> None:
    """
    Log which reactor was chosen.

    @param name: its name.
    @param refusals: why those before it cannot run, by name.
    """
    if not refusals:
        _log.info("auto chose the reactor {name}", name=name)
        return
    reasons = "; ".join(
        f"not {each}, because {' '.join(reason.split())}"
        for each, reason in refusals.items()
    )
    _log.warn("auto chose the reactor {name}, {reasons}", name=name, reasons=reasons)
