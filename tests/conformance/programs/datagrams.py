"""
A server of datagrams.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import DatagramProtocol

from . import tellListening


class Echo(DatagramProtocol):
    """
    Sends back what it receives.
    """

    transport: Any

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Send it back.
        """
        self.transport.write(datagram, addr)


def echo(reactor: Any) -> None:
    """
    Serve L{Echo}.
    """
    port = reactor.listenUDP(0, Echo(), interface="127.0.0.1", maxPacketSize=65536)
    tellListening(reactor, port.getHost().port)
