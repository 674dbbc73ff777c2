# -*- test-case-name: tests.test_references -*-
"""
Programs in C that are compiled when they are first needed.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    # It goes with this process.
    return tempfile.TemporaryDirectory(prefix="iodemo-")


def compiled(source: Path) -> str:
    """
    Compile a program.

    @return: the path of the executable, which is deleted when this process ends.
    @raise ImportError: if it cannot be compiled. The message says what is missing.
    """
    try:
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        raise ImportError(
            f"needs a C compiler, and CC is no command line: {error}"
        ) from error
    program = Path(_directory().name) / source.stem
    try:
        subprocess.run(
            [*compiler, "-O2", "-o", str(program), str(source)],
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
    return str(program)
