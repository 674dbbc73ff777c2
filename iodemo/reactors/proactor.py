# -*- test-case-name: tests.test_completion -*-
"""
An emulated proactor: the program sees completions, made from the kernel's readiness.

Most frameworks that call themselves asynchronous work in this way.
L{iodemo.completion.emulated} has the facts, the decisions and the costs. It works
wherever epoll or poll does.
"""

from __future__ import annotations

from twisted.internet.main import installReactor

from iodemo.completion.emulated import ReadinessQueue
from iodemo.completion.reactor import CompletionReactor


class ProactorReactor(CompletionReactor):
    """
    A reactor on completions made from readiness.
    """

    def __init__(self) -> None:
        super().__init__(ReadinessQueue())


def install() -> None:
    """
    Make this the reactor of the process.
    """
    installReactor(ProactorReactor())
