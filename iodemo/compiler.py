# -*- test-case-name: tests.test_references -*-
"""
Programs in C that are compiled when they are first needed, and kept in the user's cache
(C{$XDG_CACHE_HOME/iodemo}, by default C{~/.cache/iodemo}).

The name of a compiled program contains a hash of its source and of its compiler, so
that a change of either compiles it again. A program is complete when it has its name:
only one process compiles at a time, under another name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def compiled(source: Path) -> str:
    """
    Compile a program, unless the cache has it.

    @return: the path of the executable.
    @raise ImportError: if it cannot be compiled, or not be kept. The message says what
        is missing.
    """
    try:
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        raise ImportError(
            f"needs a C compiler, and CC is no command line: {error}"
        ) from error
    try:
        directory = _cache()
        directory.mkdir(parents=True, exist_ok=True)
        program = directory / f"{source.stem}-{_hash(source, compiler)}"
        lock = os.open(directory, os.O_RDONLY)
        try:
            # Closing the descriptor releases the lock, as does the end of the process.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                part = directory / "part"
                part.write_bytes(b"")
                _compile(compiler, source, part)
                part.replace(program)
        finally:
            os.close(lock)
    except (OSError, RuntimeError) as error:
        raise ImportError(
            f"has no place for its compiled program ({error}): name a directory for it "
            "by XDG_CACHE_HOME=DIRECTORY"
        ) from error
    return str(program)


def _cache() -> Path:
    """
    @raise RuntimeError: if this user has no home directory.
    """
    # The XDG Base Directory Specification ignores a relative path.
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "iodemo"


def _hash(source: Path, compiler: Sequence[str]) -> str:
    """
    A hash of all that decides how a program is compiled.
    """
    path = shutil.which(compiler[0])
    found = os.stat(path) if path else None
    version = (path, found.st_size, found.st_mtime_ns) if found else ()
    content = repr((source.read_bytes(), compiler, version))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _compile(compiler: Sequence[str], source: Path, program: Path) -> None:
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
