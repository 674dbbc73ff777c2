"""
Temporary certificates for servers, and clients that trust them.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from iodemo.bench.certificate import makeCertificate, tlsEndpoint

__all__ = ["startTLS", "tlsEndpoint", "writeCertificate"]


def writeCertificate(directory: Path) -> Path:
    """
    Write a key and its certificate to one file.
    """
    path = directory / "certificate.pem"
    path.write_bytes(makeCertificate())
    return path


def startTLS(connection: socket.socket, certificate: Path) -> ssl.SSLSocket:
    """
    Start TLS as a client that trusts only this certificate.
    """
    context = ssl.create_default_context(cafile=str(certificate))
    return context.wrap_socket(connection, server_hostname="127.0.0.1")
