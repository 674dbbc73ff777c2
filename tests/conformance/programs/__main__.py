"""
Run one program under one reactor: C{NAME PROGRAM ARGUMENTS}, with the arguments in
JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

from twisted.application.reactors import installReactor
from twisted.logger import ILogObserver, LogLevel, globalLogBeginner
from twisted.python.reflect import namedAny
from zope.interface import provider

from . import tell


@provider(ILogObserver)
def tellErrors(event: dict[str, Any]) -> None:
    """
    Report each logged error to the test, also from objects that are left open.
    """
    if event["log_level"] >= LogLevel.error or "ResourceWarning" in str(
        event.get("category")
    ):
        # Errors that are logged by twisted.python.log, as reactors do, have the second
        # key.
        failure = event.get("log_failure") or event.get("failure")
        kind = "log" if failure is None else type(failure.value).__name__
        text = event.get("log_text") if failure is None else failure.getTraceback()
        tell("error", type=kind, text=(text or str(event.get("log_format")))[-2000:])


def main(backend: str, program: str, arguments: str) -> None:
    """
    Run the program.
    """
    warnings.simplefilter("always", ResourceWarning)
    reactor = installReactor(backend)
    globalLogBeginner.beginLoggingTo([tellErrors], redirectStandardIO=False)
    namedAny(f"tests.conformance.programs.{program}")(reactor, **json.loads(arguments))
    reactor.run()
    tell("ended")


main(*sys.argv[1:])
