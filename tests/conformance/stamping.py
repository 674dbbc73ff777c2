"""
Make a test class for each backend from one test class.
"""

from __future__ import annotations

import functools
import os
import random
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.models import MODELS, Model, find

from ..children import TIMEOUT, Child, exchange
from .hosting import Host, descriptorsOf, eventually

_Test = TypeVar("_Test", bound=SynchronousTestCase)


class BackendTestCase(SynchronousTestCase):
    """
    Base of tests under a backend; a subclass is stamped for each.

    @cvar model: the backend.
    """

    model: ClassVar[Model]

    def twistd(
        self,
        command: str,
        *options: str,
        listen: str | None = None,
        systemdSocket: socket.socket | None = None,
    ) -> Child:
        """
        Run one of the services under the backend, by C{twistd}.
        """
        return Child(
            self,
            command,
            *options,
            listen=listen,
            systemdSocket=systemdSocket,
            reactor=self.model.name,
        )

    @contextmanager
    def host(
        self, program: str, expecting: tuple[str, ...] = (), **arguments: Any
    ) -> Iterator[Host]:
        """
        Run one of the programs under the backend, in a child process that is ended
        afterwards, and must end well.

        @param program: as in C{"closing.serveHalfClose"}.
        @param expecting: the types of the errors that must be in its log.
        """
        host = Host(self, self.model.name, program, arguments)
        yield host
        host.finish()
        self.assertEqual(sorted(host.errors), sorted(expecting), host.events)

    def refusesOthers(self, host: Host, lost: str) -> list[socket.socket]:
        """
        Make as many connections as a host serves, which are two, and more. The others
        are refused, nothing is left of them, and the two are not affected.

        @param lost: the event of a refused connection.
        @return: the two connections.
        """
        inside = [host.connect() for _ in range(2)]
        for each in inside:
            self.assertEqual(exchange(each, b"hello"), b"hello")
        descriptors = descriptorsOf(host.pid)
        for count in range(1, 4):
            self.assertEqual(host.connect().recv(1), b"")
            host.await_(lost, count)
        for each in inside:
            self.assertEqual(exchange(each, b"still"), b"still")
        eventually(
            lambda: len(descriptorsOf(host.pid)) == len(descriptors),
            lambda: (descriptors, descriptorsOf(host.pid)),
        )
        return inside

    def capacity(self, most: int, mostProcesses: int) -> int:
        """
        How many connections a test can have at the same time, a multiple of 100.

        @param most: the number that the test wants.
        @param mostProcesses: the number where each costs a process.
        """
        if sharesNothing(self.model):
            return mostProcesses
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        limit = self.model.connectionLimit or hard
        return min(most, (min(limit, hard) // 100 - 1) * 100)

    @contextmanager
    def randomness(self) -> Iterator[random.Random]:
        """
        A source of random numbers. If the test fails, its seed is printed.
        """
        seed = int(
            os.environ.get("IODEMO_SEED") or random.SystemRandom().getrandbits(32)
        )
        try:
            yield random.Random(seed)
        except self.failureException as failure:
            raise self.failureException(f"{failure} (IODEMO_SEED={seed})") from failure


def stamped(builder: type[_Test]) -> None:
    """
    Decorate a test class: its module gets a class for each backend instead.

    The class itself is removed, so that trial does not run it as a test.
    """
    _stamp(builder, _chosen())


def stampedFor(*names: str) -> Callable[[type[_Test]], None]:
    """
    Like L{stamped}, for some backends that have a property in common.
    """
    models = [model for model in _chosen() if model.name in names]
    return functools.partial(_stamp, models=models)


def _stamp(builder: type[_Test], models: list[Model]) -> None:
    namespace = vars(sys.modules[builder.__module__])
    for model in models:
        name = f"{builder.__name__}_{model.name}"
        contents = {
            "__doc__": builder.__doc__,
            "__module__": builder.__module__,
            "__qualname__": name,
            "model": model,
        }
        reason = model.unavailable()
        if reason is not None:
            contents["skip"] = f"{model.name}: {reason}"
        namespace[name] = type(name, (builder,), contents)


def sharedState(test: Callable[[_Test], None]) -> Callable[[_Test], None]:
    """
    Decorate a test in which one connection affects another within the process: it is
    skipped for a model whose connections share no state.
    """

    @functools.wraps(test)
    def perhaps(case: _Test) -> None:
        model: Model = vars(type(case))["model"]
        if sharesNothing(model):
            raise SkipTest(f"connections share no state under {model.name}")
        test(case)

    return perhaps


@functools.cache
def sharesNothing(model: Model) -> bool:
    """
    Whether the connections of a model share no state. Its reactor declares that, which
    is found in a process in which the reactor may be installed.
    """
    program = (
        "import sys\n"
        "from twisted.application.reactors import installReactor\n"
        "from iodemo.interfaces import ISharesNothing\n"
        "print(ISharesNothing.providedBy(installReactor(sys.argv[1])))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, model.name],
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return answer.stdout == "True\n"


def _chosen() -> list[Model]:
    names = os.environ.get("IODEMO_BACKENDS")
    if names:
        return [find(name) for name in names.split(",")]
    return [model for model in MODELS if model.kind == "reactor"]
