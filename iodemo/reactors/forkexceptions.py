# -*- test-case-name: tests.test_conform -*-
"""
Twisted's own tests that L{iodemo.reactors.fork} cannot pass. Each accepts a
connection and waits for what its server's protocol or factory does to an object
of the test; but it does so in a child, to the child's copy.
"""

from __future__ import annotations

_PAIR = (
    "the two protocols of the test hold each other, and the reactor stops when both "
    "have fired a Deferred: the one that was accepted has its own copy, in a child"
)
_LOST = (
    "the test waits for a Deferred that the server's protocol fires when its "
    "connection is lost: it fires its copy, in a child"
)
_MADE = (
    "the test is given the server's protocol by a Deferred of its factory, to look at "
    "it and to use it: that is fired in a child, and so is none here"
)
_STOPS = (
    "the factory notes an address and stops the reactor: its copy, in a child, and "
    "the reactor of the child"
)
_CLOSES = (
    "the factory stops listening when it builds a protocol, which ends the test: it "
    "does so in a child, whose parent goes on listening"
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
