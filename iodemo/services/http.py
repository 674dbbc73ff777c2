# -*- test-case-name: tests.test_http -*-
"""
C{iodemo-http}: C{twisted.web} with a small page at C{/}, C{/bytes/N} for N bytes
and, with C{--path}, a directory of files at every other address.

C{twisted.web} takes care of keep-alive, pipelining and TCP_NODELAY.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import BinaryIO

from twisted.application.service import IService
from twisted.internet.interfaces import IPullProducer
from twisted.python import usage
from twisted.web import server
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.static import Data, File, StaticProducer
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

#: Seconds within which a client must have sent a whole request, and the longest time
#: between two requests on one connection. Twisted's own, and nginx's.
PATIENCE = 60

# One range of bytes (RFC 9110, section 14.1.2): from, to; or the last so many.
_RANGE = re.compile(rb"bytes=([0-9]*)-([0-9]*)")

# What Python makes of bytes in the name of a file that are no UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")

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
    followed: whoever may put one there decides what is served. What is neither a file
    nor a directory is not served: to open a FIFO is to wait for somebody to write into
    it, and everybody else would wait too.
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
        if "\0" in name:
            return self.childNotFound
        try:
            return super().getChild(path, request)
        except PermissionError:
            return self.forbidden

    def listNames(self) -> list[str]:
        """
        The names that can be asked for: those of files and directories, in UTF-8.
        """
        return [name for name in super().listNames() if self._isServed(name)]

    def _isServed(self, name: str) -> bool:
        path = os.path.join(self.path, name)
        isThere = os.path.isfile(path) or os.path.isdir(path)
        return isThere and _SURROGATE.search(name) is None

    def openForReading(self) -> BinaryIO:
        """
        Open the file, without waiting for anything.

        @raise OSError: EACCES, which L{File} answers with 403, if it is no file.
        """
        descriptor = -1
        try:
            # A look before opening, as opening a device may do something; and one
            # after it, as another may be there by now.
            if stat.S_ISREG(os.stat(self.path).st_mode):
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(self.path, flags)
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return os.fdopen(descriptor, "rb")
        except FileNotFoundError:
            pass
        if descriptor >= 0:
            os.close(descriptor)
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), self.path)

    def makeProducer(
        self, request: server.Request, fileForReading: BinaryIO
    ) -> StaticProducer:
        """
        Make what sends the file, or the part of it that was asked for.

        L{File} takes numbers from a client as they are: it fails beyond the size of the
        file, and never ends where the edge of a part meets that of its buffer. So it is
        given one part that exists, or one that does not, which it answers with 416. A
        request for several parts, or for what is no part, is answered with the whole
        file, as a server may (RFC 9110, section 14.2).
        """
        asked = request.requestHeaders.getRawHeaders(b"range", [])
        request.requestHeaders.removeHeader(b"range")
        # A longer one is of several parts, or of numbers beyond any file's size.
        match = _RANGE.fullmatch(asked[0]) if len(asked) == 1 else None
        if match is not None and any(match.groups()):
            part = _part(match[1], match[2], self.getFileSize())
            if part is not None:
                request.requestHeaders.setRawHeaders(b"range", [part])
        return super().makeProducer(request, fileForReading)


def _part(first: bytes, last: bytes, size: int) -> bytes | None:
    """
    A part of a file of C{size} bytes, as a header that is within it, or begins at its
    end if the part is beyond it.

    @return: L{None} if it ends before it begins, which is no part.
    """
    # The most digits that the size of a file has; more are a number as good as this.
    begin, end = (
        (int(text) if len(text) < 20 else 10**20) if text else None
        for text in (first.lstrip(b"0") or first[:1], last.lstrip(b"0") or last[:1])
    )
    if begin is None:
        assert end is not None
        # The last so many.
        begin, end = size - min(end, size), size - 1
    elif end is None:
        end = size - 1
    elif end < begin:
        return None
    if begin >= size:
        return b"bytes=%d-" % (size,)
    return b"bytes=%d-%d" % (begin, min(end, size - 1))


class Channel(HTTPChannel):
    """
    A connection. The time that a request may take to arrive, head and body, begins with
    its first byte. In L{HTTPChannel} it begins anew with every byte, so that a client
    that sends one from time to time keeps a connection for ever.
    """

    _arriving = False

    def dataReceived(self, data: bytes) -> None:
        """
        Begin the time of a request, if these are its first bytes.
        """
        if not self._arriving:
            self._arriving = True
            super().resetTimeout()
        super().dataReceived(data)

    def resetTimeout(self) -> None:
        """
        Do nothing: L{HTTPChannel} calls this for all that it receives.
        """

    def allContentReceived(self) -> None:
        """
        A request is there.
        """
        self._arriving = False
        super().allContentReceived()


class Site(server.Site):
    """
    The web site.
    """

    noisy = False
    # Not what server.Site has, which becomes HTTP/2 where that is installed, with
    # another time-out.
    protocol = Channel  # type: ignore[assignment]

    def __init__(self, resource: IResource) -> None:
        super().__init__(resource, timeout=PATIENCE)

    def acceptableProtocols(self) -> list[bytes]:
        """
        HTTP/1.1 alone, whatever is installed.
        """
        return [b"http/1.1"]

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
        "with --path, a directory of files. A client has "
        f"{PATIENCE} seconds for each request, head and body, and may be silent for as "
        "long between two. A client that does not read its answer is not disconnected."
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
