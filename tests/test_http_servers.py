"""
Tests for a load against installed servers: nginx, Apache, HAProxy and Redis. A test is
skipped if its server is not installed. Answers of these servers are in
L{tests.test_http_answers} too.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.load.address import parseAddress
from iodemo.load.exchanges import exchangeOf
from iodemo.load.flow import driverOf
from iodemo.load.profile import LoadFailed, Profile
from iodemo.results.schema import Round

_ZIPPED = r"Host: localhost\r\nAccept-Encoding: gzip\r\n\r\n"

_NGINX = """
daemon off;
master_process off;
pid {here}/pid;
error_log {here}/errors;
events {{}}
http {{
    access_log off;
    gzip on;
    gzip_types *;
    keepalive_requests 100;
    client_body_temp_path {here}/temporary;
    proxy_temp_path {here}/temporary;
    fastcgi_temp_path {here}/temporary;
    uwsgi_temp_path {here}/temporary;
    scgi_temp_path {here}/temporary;
    server {{
        listen 127.0.0.1:{port};
        root {here}/pages;
        location / {{
            expires 1h;
            add_header X-Request-Id $request_id;
        }}
        location /nothing {{
            return 204;
        }}
        location /moved {{
            return 302 /;
        }}
    }}
}}
"""

_APACHE = """
ServerRoot {here}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {here}/pid
ErrorLog {here}/errors
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
DocumentRoot {here}/pages
DirectoryIndex index.html
SetOutputFilter DEFLATE
"""

_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string hello
"""


class ServersTestCase(SynchronousTestCase):
    """
    Tests against a server that is installed on this machine. It runs in a directory
    with its configuration and a page.
    """

    def setUp(self) -> None:
        """
        Make the directory.
        """
        self.here = Path(self.mktemp()).resolve()
        (self.here / "pages").mkdir(parents=True)
        (self.here / "pages" / "index.html").write_text("0123456789" * 1000)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def find(self, *names: str) -> str:
        """
        The path of the first of these programs that is installed.
        """
        # The PATH of a user may not contain servers.
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
        for name in names:
            found = shutil.which(name, path=path)
            if found is not None:
                return found
        raise SkipTest(f"there is no {names[0]}")

    def configured(self, text: str, **more: str) -> str:
        """
        Write a configuration file.

        @return: its path.
        """
        path = self.here / "configuration"
        path.write_text(text.format(here=self.here, port=self.port, **more))
        return str(path)

    def start(self, *command: str) -> None:
        """
        Run a server, to the end of the test.
        """
        with open(self.here / "output", "wb") as output:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)

    def load(self, kind: str, compared: Sequence[str] = (), **options: Any) -> Round:
        """
        Connect to the server, which may need a moment to listen.
        """
        address = parseAddress(f"tcp:127.0.0.1:{self.port}")
        exchange = exchangeOf(kind, 1, "localhost", compared)
        self.patch(type(exchange), "SECONDS", 0.1)
        profile = Profile(address, exchange, 3, 2, 0.2, 0.0, wait=30, **options)
        return driverOf(exchange)(profile).run()

    def taken(self, kind: str, **options: Any) -> Round:
        """
        Check that a load of this kind gives a result: every answer is right.
        """
        measured = self.load(kind, **options)
        self.assertGreater(measured["requests"], 0, kind)
        self.assertEqual(measured["unanswered"], 0, kind)
        return measured

    def refused(self, kind: str, **options: Any) -> str:
        """
        The reason for which a load gives no result.
        """
        return str(self.assertRaises(LoadFailed, self.load, kind, **options))

    def takenAnyhow(self) -> None:
        """
        The page is a right answer, for every form of request.
        """
        self.taken("http:/")
        self.taken("http:/", churn=True)
        self.taken("http:/", rate=200)
        self.taken(f"http-request:GET / HTTP/1.1\\r\\n{_ZIPPED}")
        self.taken(r"http-request:HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        # Each answer is the last on its connection.
        for request in (
            r"http-request:GET / HTTP/1.0\r\n\r\n",
            r"http-request:GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close"
            r"\r\n\r\n",
        ):
            measured = self.taken(request)
            self.assertGreaterEqual(measured["reconnects"], measured["requests"] - 3)


class NginxTests(ServersTestCase):
    """
    Loads against nginx.
    """

    def test_taken(self) -> None:
        """
        A load succeeds, although nginx closes connections after some answers, and many
        fields change.
        """
        nginx = self.find("nginx")
        self.start(nginx, "-c", self.configured(_NGINX), "-e", f"{self.here}/errors")
        self.takenAnyhow()
        self.taken("http:/nothing")
        measured = self.taken("http:/", compared=["ETag", "Server"])
        self.assertIn("x-request-id", measured["fields_left_out"])
        self.assertIn("302 Moved Temporarily (at 'http:", self.refused("http:/moved"))
        self.assertIn("404 Not Found", self.refused("http:/none"))
        said = self.refused("http:/", compared=["X-Request-Id"])
        self.assertIn("the head changed: x-request-id is", said)


class ApacheTests(ServersTestCase):
    """
    Loads against Apache.
    """

    def test_taken(self) -> None:
        """
        A load succeeds, although Apache closes connections after a hundred answers.
        """
        apache = self.find("apache2", "httpd")
        places = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")
        modules = next(filter(os.path.isdir, places), None)
        if modules is None:
            raise SkipTest("there are no modules of Apache's")
        configuration = self.configured(_APACHE, modules=modules)
        self.start(apache, "-f", configuration, "-D", "FOREGROUND")
        self.takenAnyhow()


class HAProxyTests(ServersTestCase):
    """
    Loads against HAProxy.
    """

    def test_taken(self) -> None:
        """
        An answer that HAProxy itself makes is accepted.
        """
        haproxy = self.find("haproxy")
        self.start(haproxy, "-db", "-f", self.configured(_HAPROXY))
        self.takenAnyhow()


class RedisTests(ServersTestCase):
    """
    Loads against Redis, which does not speak HTTP.
    """

    def test_taken(self) -> None:
        """
        A load may send any command whose answer is the same every time.
        """
        redis = self.find("redis-server")
        options = ("--bind", "127.0.0.1", "--save", "", "--dir", str(self.here))
        self.start(redis, "--port", str(self.port), *options)
        self.taken(r"until:\r\n:PING\r\n")
        self.taken(r"length:7:PING\r\n")
        self.taken(r"length:14:PING\r\nPING\r\n")
        said = self.refused(r"until:\r\n:PING\r\nPING\r\n")
        self.assertIn(r"more came than the 7 bytes that an answer has: 14", said)
        said = self.refused(r"http-request:ECHO x\r\n\r\n")
        self.assertIn(r"not an answer of HTTP/1.1 or 1.0: it begins '$1\r\nx\r\n", said)
