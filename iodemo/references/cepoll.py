# -*- test-case-name: tests.test_references -*-
"""
An echo in C on epoll, compiled on the spot: the floor.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")

# Where it is compiled to; it goes with this process.
_directory = tempfile.TemporaryDirectory(prefix="iodemo-")
_PROGRAM = str(Path(_directory.name) / _SOURCE.stem)


def command(port: int) -> list[str]:
    """
    How to start the server.
    """
    return [_PROGRAM, str(port)]


def _compile() -> None:
    """
    @raise ImportError: if it cannot be.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    try:
        subprocess.run(
            [*compiler, "-O2", "-o", _PROGRAM, str(_SOURCE)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
        )
    except OSError as error:
        raise ImportError(
            f"needs a C compiler ({compiler[0]}: {error.strerror}): install gcc, or "
            "name one as in CC=clang"
        ) from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
        raise ImportError(
            f"the C compiler {compiler[0]} cannot compile it ({said[-1]}): the headers "
            "of the C library may be missing (libc6-dev, glibc-devel)"
        ) from error


_compile()
