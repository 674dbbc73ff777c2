# -*- test-case-name: tests.test_conform -*-
"""
Twisted's own tests that L{iodemo.reactors.fork} cannot pass. Each accepts a connection
and waits until its server's protocol or factory changes an object of the test; but
under fork that changes the copy of the object in a child process.
"""

from __future__ import annotations

_PAIR = (
    "the two protocols of the test refer to each other, and the reactor stops when "
    "both have fired a Deferred: the accepted one fires its own copy, in a child"
)
_LOST = (
    "the test waits for a Deferred that the server's protocol fires when its "
    "connection is lost: the protocol fires its own copy, in a child"
)
_MADE = (
    "a Deferred of the factory gives the test the server's protocol, to examine and "
    "use: it fires in a child, and never in the process of the test"
)
_STOPS = (
    "the factory notes an address and stops the reactor: both happen in a child, whose "
    "objects are copies"
)
_CLOSES = (
    "the factory stops listening when it builds a protocol, which ends the test: that "
    "happens in a child, and its parent continues to listen"
)

_TESTS = {
    _PAIR: (
        "test_newtls.ProducerTestsMixin.test_*",
        "test_t*.Abort*ConnectionTests.test_*",
        "test_tcp.TCPConnectionTestsBuilder.test_*",
        "test_t*.*.test_logPrefix",
        "test_unix.UNIXTestsBuilder.test_logPrefix",
        "test_unix.UNIXTestsBuilder.test_addresses",
        "test_unix.UNIXTestsBuilder.test_[as]*FileDescriptor*",
        "test_unix.UNIXTestsBuilder.test_fileDescriptorOverrun",
        "test_unix.UNIXTestsBuilder.test_descriptorDeliveredBeforeBytes",
    ),
    _LOST: (
        "*.test_writeAfterDisconnect",
        "test_tcp.TCP[46]ClientTestsBuilder.test_buildProtocolReturnsNone",
        "test_tls.SSLClientTestsMixin.test_disconnectAfterWriteAfterStartTLS",
    ),
    _MADE: (
        "test_tcp.AdoptStreamConnectionTestsBuilder.test_*",
        "test_tcp.TCPTransportTestsBuilder.test_*",
        "test_unix.UNIXAdoptStreamConnectionTestsBuilder.test_[!b]*",
    ),
    _STOPS: (
        "test_tcp.TCP*PortTestsBuilder.test_buildProtocolIPv*",
        "test_tcp.TCP*PortTestsBuilder.test_serverGet*",
    ),
    _CLOSES: ("test_tcp.TCP[46]ConnectorTestsBuilder.test_reconnect",),
}

CONFORMANCE_EXCEPTIONS = {
    f"twisted.internet.test.{test}": reason
    for reason, tests in _TESTS.items()
    for test in tests
}
