# -*- test-case-name: tests.test_bench -*-
"""
A throw-away certificate, for a server with TLS.

Its key is never on a disk. It is in a file in memory (memfd_create(2)), which the
kernel removes when no process has it open. A temporary file would stay if SIGKILL ended
the comparison.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def makeCertificate() -> bytes:
    """
    Make a key and its self-signed certificate for 127.0.0.1, both in PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


@contextmanager
def certificateInMemory() -> Iterator[int]:
    """
    A certificate in a file in memory.

    @return: its descriptor, which a child can inherit.
    """
    descriptor = os.memfd_create("iodemo-certificate")
    try:
        os.write(descriptor, makeCertificate())
        yield descriptor
    finally:
        os.close(descriptor)


def inherited(descriptor: int) -> Path:
    """
    The path by which a process opens a file that it has inherited as a descriptor.
    """
    return Path(f"/proc/self/fd/{descriptor}")


def tlsEndpoint(certificate: Path, port: int = 0) -> str:
    """
    The endpoint string of a server with this certificate, on any port or this one.
    """
    path = str(certificate).replace("\\", r"\\").replace(":", r"\:")
    return f"ssl:{port}:interface=127.0.0.1:privateKey={path}:certKey={path}"
