"""
An echo service on io_uring, as a program of its own instead of a plugin of twistd.
"""

from iodemo.reactors import uring

# Before anything imports twisted.internet.reactor: that import installs the default.
uring.install()

from twisted.internet import reactor  # noqa: E402
from twisted.internet.protocol import Protocol, ServerFactory  # noqa: E402


class Echo(Protocol):
    """
    Sends back the bytes it receives.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have arrived.
        """
        assert self.transport is not None
        self.transport.write(data)


class EchoFactory(ServerFactory):
    """
    Makes an L{Echo} for each connection.
    """

    protocol = Echo


port = reactor.listenTCP(0, EchoFactory(), interface="127.0.0.1")
print(f"{type(reactor).__name__} listens on {port.getHost()}", flush=True)
reactor.run()
