"""
Transports in memory that do what Twisted's own test transport does not.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProducer
from twisted.internet.testing import StringTransport


class OverTransport(StringTransport):
    """
    A transport that, as TLS does when the peer has closed it, stops whatever
    producer is registered once that is so.
    """

    over = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Take the producer, or stop it.
        """
        if self.over:
            producer.stopProducing()
        else:
            super().registerProducer(producer, streaming)
