"""
A program that runs its own event loop, on io_uring, with a port of Twisted in it.
"""

import asyncio

from iodemo.reactors import uringasyncio


async def main() -> None:
    """Serve one client of asyncio by a protocol of Twisted."""
    uringasyncio.install()  # on the running loop
    from twisted.internet import endpoints, reactor
    from twisted.internet.protocol import Factory
    from twisted.protocols.wire import Echo

    reactor.startRunning(False)  # type: ignore[attr-defined]  # no interface has it
    endpoint = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port = await endpoint.listen(Factory.forProtocol(Echo)).asFuture(
        asyncio.get_running_loop()
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port.getHost().port)
    writer.write(b"hello\n")
    print((await reader.readline()).decode(), end="")
    writer.close()
    await port.stopListening().asFuture(asyncio.get_running_loop())


loop = uringasyncio.UringEventLoop()
try:
    loop.run_until_complete(main())
finally:
    loop.close()
