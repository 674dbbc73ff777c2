# -*- test-case-name: tests.test_writing -*-
"""
How iodemo writes files: each is made anew beside its place and renamed.

Fact. A folder of results may come from somebody else, and may hold links: to write
through one is to write wherever its maker chose.

Decision. Nothing is opened for writing that is already there. A new file takes the
place of an old one, so that at every moment the old one is there, or the whole of the
new one, and so that a second name of the old file (a hard link) keeps its content. A
symbolic link in that place, or in the place of a folder that iodemo makes, is refused:
iodemo makes no links, so that somebody else made this one. A directory that the command
line names may be a link: the user chose it.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path


def writeFile(path: Path, content: bytes) -> None:
    """
    Put a file where there is none, or in the place of another.

    @raise OSError: if there is a symbolic link or a directory at C{path}, or the
        directory cannot be written to. What was there is there then.
    """
    _refuseLink(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        # Exclusive, so that this opens nothing that is there, nor follows a link.
        with open(temporary, "xb") as stream:
            try:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        # The name that the user knows.
        raise OSError(error.errno, error.strerror, str(path)) from error


def makeDirectory(path: Path) -> None:
    """
    Make a directory, and those above it, unless it is there.

    @raise OSError: if there is a symbolic link or a file at C{path}, or it cannot be
        made.
    """
    _refuseLink(path)
    path.mkdir(parents=True, exist_ok=True)


def _refuseLink(path: Path) -> None:
    if path.is_symlink():
        raise OSError(
            errno.ELOOP, "it is a link: remove it, or write elsewhere", str(path)
        )
