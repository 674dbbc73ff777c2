# -*- test-case-name: tests.test_writing -*-
"""
How iodemo writes files: each is written under a temporary name beside its place, and
renamed.

Fact. A folder of results may come from another user and may contain symbolic links: a
program that writes to a link writes to the file that the link's maker chose.

Decision. No existing file is opened for writing. A new file replaces the old one by
C{rename}, so that at any moment there is either the old file or the whole new one; and
a hard link to the old file keeps the old content. A symbolic link is refused, if it is
in the place of a file to be written or of a folder to be made: iodemo makes no links,
so this one came from another program. A directory named on the command line may be a
link, as the user chose it.

Cost. Each write makes a file, and waits for C{fsync}.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import BinaryIO


def writeFile(path: Path, content: bytes) -> None:
    """
    Write a file, in the place of an old one if there is one.

    @raise OSError: if there is a symbolic link or a directory at C{path}, or the
        directory cannot be written to. Then an old file is unchanged.
    """
    _refuseLink(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        # O_EXCL: opens no existing file, and follows no link.
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
        # Name the path that the user knows, instead of the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error


def createFile(path: Path) -> BinaryIO:
    """
    Create an empty file for writing, in the place of any that is there.

    @raise OSError: if there is a symbolic link or a directory at C{path}, or the
        directory cannot be written to.
    """
    _refuseLink(path)
    path.unlink(missing_ok=True)
    return open(path, "xb")


def makeDirectory(path: Path) -> None:
    """
    Make a directory and its parents, unless it exists.

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
