# -*- test-case-name: tests.test_http -*-
"""
C{iodemo-http}: C{twisted.web} with a small page at C{/}, C{/bytes/N} for N bytes
and, with C{--path}, a directory of files at every other address.

C{twisted.web} takes care of keep-alive, pipelining and TCP_NODELAY.
"""

from __future__ import annotations

import os

from twisted.application.service import IService
from twisted.internet.interfaces import IPullProducer
from twisted.python import usage
from twisted.web import server
from twisted.web.resource import IResource, Resource
from twisted.web.static import Data, File
from zope.interface import implementer

from . import Options as BaseOptions
from . import listeningService

PAGE = (
    b"<!DOCTYPE html>\n"
    b'<html lang="en"><head><title>iodemo</title></head>'
    b"<body><p>One service, every I/O model.</p></body></html>\n"
)

# The most that /bytes/N gives: enough to measure bulk throughput with, and not
# so much that one request occupies the line for hours.
MOST_BYTES = 2**30

_REFUSAL = b"/bytes/N: N is a whole number from 0 to %d\n" % (MOST_BYTES,)

_CHUNK = bytes(range(256)) * 256


@implementer(IPullProducer)
class Pattern:
    """
    The body of C{/bytes/N}: the byte at offset k is k % 256. A chunk is written
    when the connection has room for one, so that the body is never in memory.
    """

    def __init__(self, request: server.Request, size: int) -> None:
        self._request = request
        self._left = size

    def resumeProducing(self) -> None:
        """
        Write one chunk, and finish after the last.
        """
        # Slicing off nothing copies nothing.
        chunk = _CHUNK[: self._left]
        self._left -= len(chunk)
        self._request.write(chunk)
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """
        The connection is gone: nobody will ask for more.
        """


class Bytes(Resource):
    """
    C{/bytes/N}.
    """

    isLeaf = True

    def render_GET(self, request: server.Request) -> bytes | int:
        """
        Send N bytes, or none of them to a C{HEAD}.
        """
        head = request.method == b"HEAD"
        size = _size(b"/".join(request.postpath or ()))
        if size is None:
            request.setResponseCode(400)
            request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
            request.setHeader(b"Content-Length", b"%d" % (len(_REFUSAL),))
            return b"" if head else _REFUSAL
        request.setHeader(b"Content-Type", b"application/octet-stream")
        request.setHeader(b"Content-Length", b"%d" % (size,))
        if head or size == 0:
            return b""
        request.registerProducer(Pattern(request, size), False)
        return server.NOT_DONE_YET

    render_HEAD = render_GET


def _size(text: bytes) -> int | None:
    """
    Read the N of C{/bytes/N}: L{None} if it is not one.
    """
    if not text.isdigit() or len(text) > 20:
        return None
    size = int(text)
    return size if size <= MOST_BYTES else None


class Files(File):
    """
    A directory of files.

    L{File} refuses every name that would lead out of the directory. Links are
    followed: whoever may put one there decides what is served.
    """

    def getChild(self, path: bytes, request: server.Request) -> IResource:
        """
        The file of a name, if it is the name of a file.
        """
        # Not found, where File logs a traceback, which anybody could ask for.
        try:
            name = path.decode("utf-8")
        except UnicodeDecodeError:
            return self.childNotFound
        return self.childNotFound if "\0" in name else super().getChild(path, request)


class Site(server.Site):
    """
    The web site.
    """

    noisy = False

    def log(self, request: object) -> None:
        """
        Keep no access log. A formatted line for each request would be a good
        part of the work that is measured here, and the same under each reactor.
        """


def makeSite(path: str | None) -> Site:
    """
    Make the site.

    @param path: the directory to serve, if any.
    """
    root = Resource() if path is None else Files(path)
    root.putChild(b"", Data(PAGE, "text/html; charset=utf-8"))
    root.putChild(b"bytes", Bytes())
    return Site(root)


class Options(BaseOptions):
    """
    C{twistd iodemo-http}.
    """

    command = "iodemo-http"
    example = "--listen tcp:8080:interface=127.0.0.1 --path=public"
    longdesc = (
        f"Serves a small page at /, N bytes at /bytes/N (N up to {MOST_BYTES}) and, "
        "with --path, a directory of files."
    )
    optParameters = [["path", None, None, "The directory to serve files from."]]

    def postOptions(self) -> None:
        """
        Look at the directory.
        """
        super().postOptions()
        if self["path"] is not None:
            if not os.path.isdir(self["path"]):
                raise usage.UsageError(f"--path {self['path']!r} is not a directory")
            # twistd changes its directory, to --rundir.
            self["path"] = os.path.abspath(self["path"])


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    return listeningService(options, makeSite(options["path"]))
