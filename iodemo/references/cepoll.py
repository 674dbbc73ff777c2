# -*- test-case-name: tests.test_references -*-
"""
An echo server in C on epoll: the least work that an echo takes. It is compiled when
this module is imported.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")

# The directory of the compiled program; it is removed when this process ends.
_directory = tempfile.TemporaryDirectory(prefix="iodemo-")
_PROGRAM = str(Path(_directory.name) / _SOURCE.stem)


def command(port: int) -> list[str]:
    """
    The command that starts the server.
    """
    return [_PROGRAM, str(port)]


def _compile() -> None:
    """
    Compile the server.

    @raise ImportError: if there is no compiler, or it fails.
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
        lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
        raise ImportError(
            f"the C compiler {compiler[0]} cannot compile it ({lines[-1]}): the "
            "headers of the C library may be missing (libc6-dev, glibc-devel)"
        ) from error


_compile()
