"""
Transports in memory with behaviour that Twisted's own test transport lacks.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProducer
from twisted.internet.testing import StringTransport


class OverTransport(StringTransport):
    """
    A transport that stops any producer that is registered after its end, as TLS does
    when the peer has closed it.
    """

    over = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Keep the producer, or stop it.
        """
        if self.over:
            producer.stopProducing()
        else:
            super().registerProducer(producer, streaming)
