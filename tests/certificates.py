"""
Clients of servers with certificates to throw away.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from iodemo.lab.certificate import tlsEndpoint, writeCertificate

__all__ = ["startTLS", "tlsEndpoint", "writeCertificate"]


def startTLS(connection: socket.socket, certificate: Path) -> ssl.SSLSocket:
    """
    Start TLS as a client who trusts nothing but this certificate.
    """
    context = ssl.create_default_context(cafile=str(certificate))
    return context.wrap_socket(connection, server_hostname="127.0.0.1")
