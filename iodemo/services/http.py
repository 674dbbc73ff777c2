# -*- test-case-name: tests.test_http -*-
"""
C{iodemo-http}: C{twisted.web} with a small page at C{/}, C{/bytes/N} for N bytes
and, with C{--path}, a directory of files at every other address.

C{twisted.web} implements keep-alive and pipelining, and sets TCP_NODELAY.
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

# The largest N of /bytes/N: enough to measure bulk throughput, and not so much that one
# request takes hours.
MOST_BYTES = 2**30

_REFUSAL = b"/bytes/N: N is a whole number from 0 to %d\n" % (MOST_BYTES,)

#: Seconds within which a client must have sent a whole request, and the longest time
#: between two requests on one connection. Twisted's own, and nginx's.
PATIENCE = 60

# One range of bytes (RFC 9110, section 14.1.2): the first and the last offset. Without
# the first, the second is a number of bytes at the end of the file.
_RANGE = re.compile(rb"bytes=([0-9]*)-([0-9]*)")

# Python's replacement for a byte in the name of a file that is not UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")

_CHUNK = bytes(range(256)) * 256


@implementer(IPullProducer)
class Pattern:
    """
    The body of C{/bytes/N}: the byte at offset k is k % 256. A chunk is written each
    time the transport resumes the producer, so the whole body is never in memory.
    """

    def __init__(self, request: server.Request, size: int) -> None:
        self._request = request
        self._left = size

    def resumeProducing(self) -> None:
        """
        Write one chunk, and finish after the last.
        """
        # A slice of a whole bytes object is the object itself, not a copy.
        chunk = _CHUNK[: self._left]
        self._left -= len(chunk)
        self._request.write(chunk)
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def stopProducing(self) -> None:
        """
        Do nothing: the connection has ended, and no more chunks are needed.
        """


class Bytes(Resource):
    """
    C{/bytes/N}.
    """

    isLeaf = True

    def render_GET(self, request: server.Request) -> bytes | int:
        """
        Send N bytes, or only the headers to a C{HEAD}.
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
    Parse the N of C{/bytes/N}.

    @return: C{None} if it is not a whole number up to L{MOST_BYTES}.
    """
    if not text.isdigit() or len(text) > 20:
        return None
    size = int(text)
    return size if size <= MOST_BYTES else None


class Files(File):
    """
    A directory of files.

    C{File} refuses every name that would lead out of the directory. Symbolic links are
    followed: a user who may make one in the directory decides what is served. Only
    files and directories are served: to open a FIFO would block the process, and all
    its connections, until another process opens the FIFO for writing.
    """

    def getChild(self, path: bytes, request: server.Request) -> IResource:
        """
        The file or directory of a name.
        """
        # For such names File logs a traceback, which any client could cause. Answer
        # with 404 instead.
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
        The names that can be requested: of files and directories, in UTF-8.
        """
        return [name for name in super().listNames() if self._isServed(name)]

    def _isServed(self, name: str) -> bool:
        path = os.path.join(self.path, name)
        exists = os.path.isfile(path) or os.path.isdir(path)
        return exists and _SURROGATE.search(name) is None

    def openForReading(self) -> BinaryIO:
        """
        Open the file without blocking.

        @raise OSError: EACCES, if it is not a regular file; C{File} answers with 403.
        """
        descriptor = -1
        try:
            # Check the type before open, as to open a device may have an effect, and
            # again after it, as the file may have been replaced in between.
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
        Make the producer that sends the file, or the requested range of it.

        C{File} does not check the numbers of a range: it fails for a range beyond the
        end of the file, and never ends if the end of a range coincides with the end of
        its buffer. So the C{Range} header is replaced by one with a range inside the
        file; or by a range that begins at the end of the file, which C{File} answers
        with 416. A header with several ranges, or with an invalid one, is removed: the
        answer is then the whole file, as a server may do (RFC 9110, section 14.2).
        """
        headers = request.requestHeaders.getRawHeaders(b"range", [])
        request.requestHeaders.removeHeader(b"range")
        match = _RANGE.fullmatch(headers[0]) if len(headers) == 1 else None
        if match is not None and any(match.groups()):
            inside = _rangeInside(match[1], match[2], self.getFileSize())
            if inside is not None:
                request.requestHeaders.setRawHeaders(b"range", [inside])
        return super().makeProducer(request, fileForReading)


def _rangeInside(first: bytes, last: bytes, size: int) -> bytes | None:
    """
    The value of a C{Range} header, limited to a file of C{size} bytes. A range beyond
    the end of the file becomes one that begins at its end.

    @param first: the first offset, in digits; empty for the last C{last} bytes.
    @param last: the last offset, in digits; empty for the end of the file.
    @return: C{None} if the range ends before it begins.
    """
    # No file has a size of 20 digits, so 10**20 stands for any longer number.
    begin, end = (
        (int(text) if len(text) < 20 else 10**20) if text else None
        for text in (first.lstrip(b"0") or first[:1], last.lstrip(b"0") or last[:1])
    )
    if begin is None:
        assert end is not None
        # A number of bytes at the end of the file.
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
    A connection. A request, head and body, must arrive within L{PATIENCE} seconds of
    its first byte. In C{HTTPChannel} the time begins again with every byte, so a client
    that sends a byte from time to time would keep a connection without limit.

    @ivar _arriving: whether a part of a request has arrived, and not all of it.
    """

    _arriving = False

    def dataReceived(self, data: bytes) -> None:
        """
        Start the timer of a request, if these are its first bytes.
        """
        if not self._arriving:
            self._arriving = True
            super().resetTimeout()
        super().dataReceived(data)

    def resetTimeout(self) -> None:
        """
        Do nothing: C{HTTPChannel} calls this whenever it receives something.
        """

    def allContentReceived(self) -> None:
        """
        A request has arrived as a whole.
        """
        self._arriving = False
        super().allContentReceived()


class Site(server.Site):
    """
    The web site.
    """

    noisy = False
    # Site's own protocol would negotiate HTTP/2 where that is installed, and has
    # another time-out.
    protocol = Channel  # type: ignore[assignment]

    def __init__(self, resource: IResource) -> None:
        super().__init__(resource, timeout=PATIENCE)

    def acceptableProtocols(self) -> list[bytes]:
        """
        Only HTTP/1.1, even where HTTP/2 is installed.
        """
        return [b"http/1.1"]

    def log(self, request: object) -> None:
        """
        Keep no access log. To format a line for each request would be a large part of
        the measured work, and the same under each reactor.
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
        "long between two requests. A client that does not read its answer is not "
        "disconnected."
    )
    optParameters = [["path", None, None, "The directory to serve files from."]]

    def postOptions(self) -> None:
        """
        Check the directory.
        """
        super().postOptions()
        if self["path"] is not None:
            if not os.path.isdir(self["path"]):
                raise usage.UsageError(f"--path {self['path']!r} is not a directory")
            # twistd changes its working directory to --rundir.
            self["path"] = os.path.abspath(self["path"])


def makeService(options: Options) -> IService:
    """
    Make the service C{twistd} runs.
    """
    return listeningService(options, makeSite(options["path"]))
