"""
Programs that use asyncio and Twisted in one process. Each is a script of asyncio, which
reports what it has done, and then stops the reactor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ClientFactory, Factory, ProcessProtocol, Protocol
from twisted.internet.threads import deferToThread
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import implementer

from . import tell

_HELLO = b"hello"
_tasks: list[asyncio.Task[None]] = []


class Echo(Protocol):
    """
    Sends back what it receives.
    """

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        self.transport.write(data)


class Asking(Protocol):
    """
    A client that collects what it receives.

    @ivar _awaited: a future of the next received bytes, if there is one.
    """

    transport: Any
    lost = False

    def __init__(self) -> None:
        self._data = b""
        self._awaited: asyncio.Future[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Keep it, and wake the task that waits for it.
        """
        self._data += data
        self._wake()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Wake the task that waits for data.
        """
        self.lost = True
        self._wake()

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    async def receive(self, length: int) -> bytes:
        """
        Receive this number of bytes, or less at the end.
        """
        while len(self._data) < length and not self.lost:
            self._awaited = asyncio.get_running_loop().create_future()
            await self._awaited
        taken, self._data = self._data[:length], self._data[length:]
        return taken


def play(reactor: Any, script: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """
    Run a script when the reactor runs, and stop the reactor when the script has ended.
    """

    def begin() -> None:
        task = asyncio.ensure_future(script(reactor))
        # The loop has only weak references to tasks.
        _tasks.append(task)
        played = Deferred.fromFuture(task)
        played.addErrback(_log).addCallback(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)


def _log(failure: Failure) -> None:
    log.err(failure)


def listen(reactor: Any, protocol: Callable[[], Any] = Echo) -> int:
    """
    Listen with a port of Twisted.

    @return: its number.
    """
    factory = Factory.forProtocol(protocol)
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    number: int = port.getHost().port
    return number


async def connect(reactor: Any, port: int) -> Asking:
    """
    Connect with a client of Twisted.
    """
    connected: Deferred[Asking] = Deferred()

    class Connecting(Asking):
        def connectionMade(self) -> None:
            connected.callback(self)

    factory = ClientFactory.forProtocol(Connecting)
    factory.noisy = False
    reactor.connectTCP("127.0.0.1", port, factory)
    return await connected.asFuture(asyncio.get_running_loop())


# Streams


def streams(reactor: Any) -> None:
    """
    Clients and servers of both worlds talk to each other.
    """
    play(reactor, _streams)


async def _streams(reactor: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()

    served = await asyncio.start_server(serve, "127.0.0.1", 0)
    for number in (listen(reactor), served.sockets[0].getsockname()[1]):
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        asking = await connect(reactor, number)
        for size in (1, 5000, 300_000):
            said = os.urandom(size)
            writer.write(said)
            asking.transport.write(said)
            tell(
                "talked",
                same=await reader.readexactly(size) == await asking.receive(size),
            )
        writer.close()
        await writer.wait_closed()
        asking.transport.loseConnection()
    served.close()
    await served.wait_closed()


def datagrams(reactor: Any) -> None:
    """
    An endpoint of asyncio sends datagrams to another.
    """
    play(reactor, _datagrams)


async def _datagrams(reactor: Any) -> None:
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Receiving(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: object) -> None:
            received.put_nowait(data)

    here, _ = await loop.create_datagram_endpoint(
        Receiving, local_addr=("127.0.0.1", 0)
    )
    there, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=here.get_extra_info("sockname")
    )
    for said in (_HELLO, b"again"):
        there.sendto(said)
        tell("received", data=(await received.get()).decode())
    here.close()
    there.close()


# Descriptors


def descriptors(reactor: Any) -> None:
    """
    Watches descriptors in usual and unusual ways.
    """
    play(reactor, _descriptors)


async def _descriptors(reactor: Any) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    happened: asyncio.Queue[str] = asyncio.Queue()

    def readable() -> None:
        happened.put_nowait(f"read {ours.recv(10).decode()}")

    def writable() -> None:
        happened.put_nowait("writable")
        loop.remove_writer(ours)

    loop.add_reader(ours, readable)
    loop.add_writer(ours, writable)
    tell("happened", what=await happened.get())
    theirs.send(b"one")
    tell("happened", what=await happened.get())
    loop.add_writer(ours, writable)
    tell("happened", what=await happened.get())
    # Closed without being removed. The next file gets its number.
    number = ours.fileno()
    ours.close()
    theirs.close()
    ours, theirs = socket.socketpair()
    tell("happened", what=f"same number: {ours.fileno() == number}")
    loop.remove_reader(number)
    ours.setblocking(False)
    loop.add_reader(ours, readable)
    theirs.send(b"two")
    tell("happened", what=await happened.get())
    loop.remove_reader(ours)
    theirs.send(b"never")
    for each in (ours, theirs):
        each.close()
    with tempfile.TemporaryFile() as file:
        for watch in (loop.add_reader, loop.add_writer):
            try:
                watch(file, lambda: None)
            except PermissionError:
                tell("happened", what="a regular file is refused")
    try:
        loop.add_reader(number, lambda: None)
    except OSError:
        tell("happened", what="a closed descriptor is refused")


def removing(reactor: Any) -> None:
    """
    The callback of a connection removes a reader that is ready in the same turn, and
    gives its number to another file.
    """
    play(reactor, _removing)


async def _removing(reactor: Any) -> None:
    loop = asyncio.get_running_loop()
    happened: asyncio.Queue[str] = asyncio.Queue()
    sockets = list(socket.socketpair())
    ours, theirs = sockets
    number = ours.fileno()

    class Removing(Protocol):
        def dataReceived(self, data: bytes) -> None:
            loop.remove_reader(ours)
            ours.close()
            new, peer = socket.socketpair()
            sockets.extend((new, peer))
            assert new.fileno() == number
            loop.add_reader(new, lambda: happened.put_nowait(new.recv(9).decode()))
            loop.call_later(0.01, peer.send, b"new")

    loop.add_reader(ours, lambda: happened.put_nowait("old"))
    asking = await connect(reactor, listen(reactor, Removing))
    # Both are ready before the loop waits.
    with socket.socket(fileno=os.dup(asking.transport.fileno())) as same:
        same.send(b"x")
    theirs.send(b"x")
    happens = await happened.get()
    while happens == "old":
        # The loop has called the reader before the connection.
        happens = await happened.get()
    tell("happened", what=happens)
    loop.remove_reader(number)
    asking.transport.loseConnection()
    for each in sockets:
        each.close()


# Processes and signals


def processes(reactor: Any) -> None:
    """
    Runs processes by both worlds.
    """
    play(reactor, _processes)


async def _processes(reactor: Any) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Queue[int] = asyncio.Queue()

    class Ending(ProcessProtocol):
        def processEnded(self, reason: Failure) -> None:
            ended.put_nowait(reason.value.exitCode)  # type: ignore[union-attr]

    exits = "import sys; sys.stdout.write(sys.stdin.read()); sys.exit(3)"
    reactor.spawnProcess(Ending(), sys.executable, [sys.executable, "-c", exits])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        exits,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(_HELLO)
    tell("ran", output=output.decode(), status=process.returncode)
    signalled = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, signalled.set_result, None)
    os.kill(os.getpid(), signal.SIGUSR1)
    await signalled
    loop.remove_signal_handler(signal.SIGUSR1)
    tell("signalled")


# Threads


def threads(reactor: Any) -> None:
    """
    Threads wake the loop in each way, while nothing else happens.
    """
    play(reactor, _threads)


async def _threads(reactor: Any) -> None:
    loop = asyncio.get_running_loop()
    here = threading.get_ident()

    def elsewhere() -> bool:
        return threading.get_ident() != here

    tell("did", what="to_thread", right=await asyncio.to_thread(elsewhere))
    tell("did", what="executor", right=await loop.run_in_executor(None, elsewhere))
    deferred = deferToThread(elsewhere)
    tell("did", what="deferToThread", right=await deferred.asFuture(loop))
    for what, call in (
        ("call_soon_threadsafe", loop.call_soon_threadsafe),
        ("callFromThread", reactor.callFromThread),
    ):
        called = asyncio.Event()
        thread = threading.Thread(target=call, args=(called.set,))
        thread.start()
        await called.wait()
        thread.join()
        tell("did", what=what, right=True)


# Calls that callbacks make


def calls(reactor: Any) -> None:
    """
    The callbacks of connections make calls of both worlds, which are made at once,
    though nothing else happens.
    """
    play(reactor, _calls)


async def _calls(reactor: Any) -> None:
    loop = asyncio.get_running_loop()
    called: asyncio.Queue[str] = asyncio.Queue()

    class Calling(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            what = data.decode()
            if what == "soon":
                loop.call_soon(called.put_nowait, what)
            elif what == "later":
                loop.call_later(0.001, called.put_nowait, what)
            elif what == "task":
                self.task = asyncio.ensure_future(called.put(what))
            elif what == "reactor":
                reactor.callLater(0, called.put_nowait, what)
            elif what == "producer":
                self.transport.registerProducer(_Resumed(self.resumed), True)
                self.transport.write(b"x" * 1_000_000)

        def resumed(self) -> None:
            self.transport.unregisterProducer()
            loop.call_soon(called.put_nowait, "producer")

    asking = await connect(reactor, listen(reactor, Calling))
    for what in ("soon", "later", "task", "reactor", "producer"):
        asking.transport.write(what.encode())
        tell("called", what=await called.get())
    asking.transport.loseConnection()


@implementer(IPushProducer)
class _Resumed:
    """
    A producer that has nothing more to write when it is resumed.
    """

    def __init__(self, resumed: Callable[[], object]) -> None:
        self._resumed = resumed

    def resumeProducing(self) -> None:
        """
        Call that.
        """
        self._resumed()

    def pauseProducing(self) -> None:
        """
        Do nothing.
        """

    stopProducing = pauseProducing


# Writing


def writes(reactor: Any) -> None:
    """
    Each kind of call writes to one connection, in an order that must be kept.
    """
    play(reactor, _writes)


async def _writes(reactor: Any) -> None:
    loop = asyncio.get_running_loop()
    pieces = [bytes([number]) * size for number, size in enumerate((1, 400_000) * 6)]
    done = asyncio.Event()

    class Writing(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            left = iter(pieces)

            def write(ways: list[Callable[[Callable[[], None]], object]]) -> None:
                piece = next(left, None)
                if piece is None:
                    done.set()
                    return
                self.transport.write(piece)
                way = ways.pop(0)
                way(lambda: write([*ways, way]))

            async def task(call: Callable[[], None]) -> None:
                await asyncio.sleep(0)
                call()

            self.tasks: list[Any] = []
            write(
                [
                    lambda call: call(),
                    loop.call_soon,
                    lambda call: self.tasks.append(asyncio.ensure_future(task(call))),
                    lambda call: reactor.callLater(0, call),
                    lambda call: loop.call_later(0.001, call),
                    reactor.callFromThread,
                ]
            )

    asking = await connect(reactor, listen(reactor, Writing))
    asking.transport.write(b"begin")
    received = await asking.receive(sum(map(len, pieces)))
    await done.wait()
    tell("received", same=received == b"".join(pieces))
    asking.transport.loseConnection()


# Errors


def errors(reactor: Any) -> None:
    """
    Protocols raise errors, which are logged, and the loop goes on.
    """
    play(reactor, _errors)


async def _errors(reactor: Any) -> None:
    class Raising(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            self.transport.abortConnection()
            raise {b"v": ValueError, b"s": SystemExit}[data]("deliberate")

    port = listen(reactor, Raising)
    for what in (b"v", b"s"):
        asking = await connect(reactor, port)
        asking.transport.write(what)
        await asking.receive(1)
        tell("lost")


def stopping(reactor: Any) -> None:
    """
    A callback of a connection stops the reactor.
    """

    class Stopping(Protocol):
        def dataReceived(self, data: bytes) -> None:
            reactor.stop()

    async def ask(reactor: Any) -> None:
        asking = await connect(reactor, listen(reactor, Stopping))
        asking.transport.write(b"stop")

    reactor.callWhenRunning(
        lambda: Deferred.fromFuture(asyncio.ensure_future(ask(reactor)))
    )
    reactor.addSystemEventTrigger("during", "shutdown", tell, "shutdown")


# Libraries


def libraries(reactor: Any) -> None:
    """
    Services of Twisted use libraries for asyncio: a server of aiohttp, its client,
    httpx, and anyio.
    """
    play(reactor, _libraries)


async def _libraries(reactor: Any) -> None:
    import aiohttp
    import anyio
    import httpx
    from aiohttp import web
    from twisted.web.resource import Resource
    from twisted.web.server import NOT_DONE_YET, Site

    body = os.urandom(300_000)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await request.read() or body)

    application = web.Application()
    application.router.add_route("*", "/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    backend = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    class Proxying(Resource):
        """
        Asks the server of aiohttp by one of the clients.
        """

        isLeaf = True

        def render_GET(self, request: Any) -> int:
            async def respond() -> None:
                if request.path == b"/aiohttp":
                    async with (
                        aiohttp.ClientSession() as session,
                        session.get(backend) as response,
                    ):
                        request.write(await response.read())
                elif request.path == b"/httpx":
                    async with httpx.AsyncClient(trust_env=False) as client:
                        request.write((await client.get(backend)).content)
                else:
                    await byAnyio(request)
                request.finish()

            Deferred.fromFuture(asyncio.ensure_future(respond())).addErrback(_log)
            return NOT_DONE_YET

    async def byAnyio(request: Any) -> None:
        pieces: list[bytes] = []

        async def ask() -> None:
            stream = await anyio.connect_tcp("127.0.0.1", listening)
            async with stream:
                await stream.send(_HELLO)
                pieces.append(await stream.receive())

        listening = listen(reactor)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                group.start_soon(ask)
        pieces.append(await anyio.to_thread.run_sync(lambda: b"thread"))
        request.write(b" ".join(pieces))

    port = reactor.listenTCP(0, Site(Proxying()), interface="127.0.0.1")
    frontend = f"http://127.0.0.1:{port.getHost().port}/"
    async with aiohttp.ClientSession() as session:
        for name in ("aiohttp", "httpx", "anyio"):
            # Several at the same time.
            responses = await asyncio.gather(
                *(session.get(frontend + name) for _ in range(5))
            )
            for response in responses:
                got = await response.read()
                right = got == (b"hello hello thread" if name == "anyio" else body)
                tell("answered", by=name, right=right)
    await runner.cleanup()
