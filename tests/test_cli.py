"""
Tests for L{iodemo.cli}: its commands, run as a user runs them, with right and wrong
arguments.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import io
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import psutil
from click.testing import CliRunner
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from iodemo import models
from iodemo.bench import plan as planning
from iodemo.bench import runner
from iodemo.bench.plan import Plan
from iodemo.bench.scenarios import SCENARIOS, findScenario
from iodemo.cli import compare
from iodemo.cli.load import _roundTable
from iodemo.cli.main import main
from iodemo.load.driver import Driver
from iodemo.process.cores import runDelay
from iodemo.results import file, journal
from iodemo.results.judgement import judged
from iodemo.results.metrics import METRICS
from iodemo.results.schema import Entry, Point, Results, Round
from tests.children import TIMEOUT
from tests.results_examples import (
    environment,
    jsonOf,
    okCell,
    parameters,
    planned,
)
from tests.results_examples import results as example
from tests.test_bench import faultyPath


class CommandTestCase(SynchronousTestCase):
    """
    A test case that runs the command, in a directory of its own.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        # Every process that a command starts inherits this variable, and can be found
        # by it.
        self.mark = uuid.uuid4().hex
        self.environment = {
            **os.environ,
            "PYTHONPATH": faultyPath(),
            "IODEMO_TEST_MARK": self.mark,
            "COLUMNS": "100",
        }
        self.environment.pop("FORCE_COLOR", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """
        Start C{iodemo}. The end of the test kills it if it still runs.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "iodemo", *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def end() -> None:
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def run_(self, *arguments: str) -> tuple[int, str, str]:
        """
        Run C{iodemo}.

        @return: exit status, standard output, standard error.
        """
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=TIMEOUT)
        self.assertNotIn("Traceback", output + errors)
        return process.returncode, output, errors

    def succeeds(self, *arguments: str) -> str:
        """
        Run C{iodemo}, which must succeed.

        @return: its standard output.
        """
        status, output, errors = self.run_(*arguments)
        self.assertEqual((status, errors), (0, ""))
        return output

    def marked(self) -> list[psutil.Process]:
        """
        The processes that a command of this test has started, directly or not.
        """
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("IODEMO_TEST_MARK") == self.mark:
                    found.append(process)
            except psutil.Error:
                pass  # it has ended, or is of another user
        return found

    def seeAllEnd(self) -> None:
        """
        Check that every process that a command has started ends too. The guard kills
        them after the command has ended, which may take a moment.
        """
        _, left = psutil.wait_procs(self.marked(), TIMEOUT)
        self.assertEqual(left, [])

    def refuses(self, arguments: Sequence[str], option: str) -> None:
        """
        Check that a command refuses a value of an option.
        """
        # In this process, since there are many values.
        result = CliRunner().invoke(main, arguments)
        self.assertEqual(result.exit_code, 2, arguments)
        self.assertIsInstance(result.exception, SystemExit, arguments)
        self.assertIn(f"Invalid value for '{option}'", result.output)


class OutputTests(CommandTestCase):
    """
    Tests for a standard output that cannot be written.
    """

    def fails(self, stdout: int, reason: str, *prefix: str) -> None:
        """
        Check that commands fail with one line about standard output.

        @param stdout: their standard output.
        @param prefix: a command that runs the commands.
        """
        (self.directory / "old").mkdir(exist_ok=True)
        run = example([okCell("idle", "epoll", parameters(10), 1000)])
        file.write(run, self.directory / "old" / file.FILE_NAME)
        # Written by rich, by click, and by click before a command is chosen.
        for command in (("diff", "old", "old"), ("backends", "--json"), ("--help",)):
            result = subprocess.run(
                [*prefix, sys.executable, "-m", "iodemo", *command],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                timeout=TIMEOUT,
            )
            self.assertEqual((result.returncode, result.stderr), (1, f"{reason}\n"))

    def test_brokenPipe(self) -> None:
        """
        The reader of the pipe has ended.
        """
        reading, writing = os.pipe()
        os.close(reading)
        self.addCleanup(os.close, writing)
        self.fails(writing, "Error: cannot write to standard output: Broken pipe")

    def test_fullDisk(self) -> None:
        """
        The disk is full.
        """
        reason = "Error: cannot write to standard output: No space left on device"
        with open("/dev/full", "wb") as full:
            self.fails(full.fileno(), reason)

    def test_controlCAtStart(self) -> None:
        """
        SIGINT during the import of the command's modules ends it with one line.
        """
        for module in ("click", "iodemo.cli", "iodemo.cli.compare"):
            # The signal arrives when the import of this module begins.
            program = f"""
import os, signal, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
from iodemo.__main__ import main
main()
"""
            ended = subprocess.run(
                [sys.executable, "-c", program, "backends"],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
            self.assertEqual(
                (ended.returncode, ended.stdout, ended.stderr),
                (130, "", "Interrupted\n"),
            )

    def test_closed(self) -> None:
        """
        Standard output was closed before the command began.
        """
        reason = "iodemo: standard output is closed"
        self.fails(subprocess.DEVNULL, reason, "sh", "-c", 'exec "$@" >&-', "sh")


class ShowTests(CommandTestCase):
    """
    Tests for the commands that only print.
    """

    def test_backends(self) -> None:
        """
        The list has every row of the table, as text and as JSON.
        """
        text = self.succeeds("backends")
        records = json.loads(self.succeeds("backends", "--json"))
        self.assertEqual(
            [record["name"] for record in records],
            [model.name for model in models.MODELS],
        )
        for record in records:
            self.assertIn(record["name"], text)
            self.assertEqual(
                set(record),
                {"name", "kind", "model", "available", "reason", "description"},
            )
            self.assertEqual(
                set(record["model"]),
                {"pattern", "blocking", "synchronous", "kernel_calls"},
            )
            self.assertEqual(record["available"], record["reason"] is None)

    def test_doctor(self) -> None:
        """
        The doctor prints findings, and succeeds for all of them.
        """
        output = self.succeeds("doctor")
        for word in ("kernel", "io_uring", "strace", "fine"):
            self.assertIn(word, output)

    def test_help(self) -> None:
        """
        Each command has a help text.
        """
        for command in ("backends", "doctor", "compare", "load", "report", "diff"):
            self.assertIn("Usage:", self.succeeds(command, "--help"))
            self.assertIn(f"  {command} ", self.succeeds("--help"))


class LoadTests(CommandTestCase):
    """
    Tests for C{iodemo load}.
    """

    def serve(self) -> tuple[str, int]:
        """
        Start the echo service on epoll.

        @return: its address, and its process id.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [
                *(sys.executable, "-c"),
                "from twisted.scripts.twistd import run; run()",
                *("-n", "--pidfile=", "--reactor=epoll", "iodemo-echo"),
                f"--listen=tcp:{port}:interface=127.0.0.1",
            ],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        return f"tcp:127.0.0.1:{port}", server.pid

    def test_load(self) -> None:
        """
        A load prints its round, as text and as JSON.
        """
        endpoint, pid = self.serve()
        arguments = (
            *("load", endpoint, "--connections=3", "--idle=5", "--seconds=0.1"),
            *("--warmup=0", "--wait=60", f"--watch={pid}"),
        )
        measured = json.loads(self.succeeds(*arguments, "--json"))
        self.assertEqual(
            set(measured),
            {
                *("requests", "seconds", "throughput", "latency_us"),
                *("server_cpu_us_per_request", "server_user_s", "server_system_s"),
                *("server_rss_kib", "context_switches", "syscalls_per_request"),
                *("load_cpu_fraction", "sampled", "load_limited"),
                *("late", "unanswered", "reconnects", "resent"),
                *("involuntary_switches", "page_faults"),
                *["load_busy_fraction"] * (runDelay() is not None),
            },
        )
        self.assertGreater(measured["throughput"], 0)
        self.assertGreater(measured["server_rss_kib"], 0)
        self.assertRegex(self.succeeds(*arguments), r"throughput +[\d,]+ a second")

    def test_timeout(self) -> None:
        """
        If an answer does not become whole, the load fails, and the message has the
        option that waits longer.
        """
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            status, _, said = self.run_(
                "load", f"tcp:127.0.0.1:{port}", "--timeout=0.2"
            )
        self.assertEqual(status, 1)
        self.assertIn("no answer for 0.2 s on verifying connection", said)
        self.assertIn("--timeout SECONDS waits longer", said)

    def test_heads(self) -> None:
        """
        Fields of the head that change are listed, or compared if an option names them.
        """
        port = self.serveHttp()
        arguments = (
            *("load", f"tcp:127.0.0.1:{port}", "--kind=http:/", "--connections=2"),
            *("--seconds=0.1", "--warmup=0"),
        )
        measured = json.loads(self.succeeds(*arguments, "--json"))
        self.assertEqual(measured["fields_left_out"], ["date", "x-request-id"])
        self.assertIn("date, x-request-id: fields of the", self.succeeds(*arguments))
        self.succeeds(*arguments, "--compare-field=Content-Type")
        status, _, said = self.run_(*arguments, "--compare-field=X-Request-Id")
        self.assertEqual(status, 1)
        self.assertIn("the head changed: x-request-id is '", said)
        status, _, said = self.run_(
            "load", "127.0.0.1:1", "--compare-field=Server", "--kind=echo"
        )
        self.assertEqual(status, 2)
        self.assertIn("--compare-field is for HTTP", said)

    def serveHttp(self) -> int:
        """
        Serve a page with another head every time, to the end of the test.

        @return: the port.
        """
        requests = itertools.count()

        class Page(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                number = next(requests)
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: {number}\r\n"
                    f"X-Request-Id: {number}\r\nContent-Length: 5\r\n\r\nhello"
                )
                self.wfile.write(head.encode())

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the load closes by reset

        server = Server(("127.0.0.1", 0), Page)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        self.addCleanup(server.server_close)
        self.addCleanup(serving.join)
        self.addCleanup(server.shutdown)
        return server.server_address[1]

    def test_rate(self) -> None:
        """
        In an open loop there are two distributions of latency, and a backlog.
        """
        endpoint, _ = self.serve()
        arguments = ("load", endpoint, "--rate=500", "--seconds=0.1", "--wait=60")
        for arrivals in ((), ("--arrivals=constant",)):
            measured = json.loads(self.succeeds(*arguments, *arrivals, "--json"))
            self.assertEqual(
                set(measured["latency_us"]), set(measured["latency_uncorrected_us"])
            )
            self.assertGreaterEqual(measured["backlog"], 0)
        self.assertIn("from sending p99", self.succeeds(*arguments))

    def test_overload(self) -> None:
        """
        If the server cannot answer all requests due, the fraction answered is printed,
        and whether the load was the limit.
        """
        endpoint, _ = self.serve()
        arguments = ("load", endpoint, "--rate=5e6", "--seconds=0.1", "--wait=60")
        measured = json.loads(self.succeeds(*arguments, "--json"))
        self.assertFalse(measured["kept_up"])
        self.assertLess(measured["answered_fraction"], 0.5)
        self.assertIn("load_limited", measured)
        output = self.succeeds(*arguments)
        self.assertRegex(output, r"due +5,000,000 a second")
        self.assertRegex(
            output,
            r"answered +[\d.]+ % of the [\d,]+ due in the window: the server did",
        )
        self.assertRegex(output, r"limit +(not the load: |the load, which had no time)")

    def test_processes(self) -> None:
        """
        Several processes make one round.
        """
        endpoint, _ = self.serve()
        arguments = ("load", endpoint, "--seconds=0.1", "--wait=60", "--json")
        measured = json.loads(self.succeeds(*arguments, "--processes=2"))
        self.assertEqual(set(measured), set(json.loads(self.succeeds(*arguments))))
        self.assertGreater(measured["requests"], 0)

    def serveHere(self, serve: Callable[[socket.socket], None]) -> str:
        """
        Echo in threads of this process, to the end of the test. Connections of the
        load, after those that wait for the server and verify, are first served by
        C{serve}.

        @return: the address.
        """
        listening = socket.create_server(("127.0.0.1", 0))

        def run(connection: socket.socket, number: int) -> None:
            with connection, contextlib.suppress(OSError):  # the load may reset
                if number >= 1 + Driver.VERIFYING:
                    serve(connection)
                while data := connection.recv(65536):
                    connection.sendall(data)

        def accept() -> None:
            with contextlib.suppress(OSError):  # the test has ended
                for number in itertools.count():
                    connection, _ = listening.accept()
                    threading.Thread(
                        target=run, args=(connection, number), daemon=True
                    ).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        self.addCleanup(listening.close)
        self.addCleanup(accepting.join)
        self.addCleanup(listening.shutdown, socket.SHUT_RDWR)
        return f"tcp:127.0.0.1:{listening.getsockname()[1]}"

    def started(
        self, *options: str, then: Callable[[socket.socket], None] = lambda peer: None
    ) -> subprocess.Popen[str]:
        """
        Start a long load, and wait until its window has begun: one of its connections
        has sent many requests.

        @param then: serves that connection from then on.
        """
        measuring = threading.Event()

        def serve(connection: socket.socket) -> None:
            for _ in range(100):
                connection.sendall(connection.recv(65536))
            measuring.set()
            then(connection)

        load = self.start(
            "load", self.serveHere(serve), "--warmup=0", "--seconds=600", *options
        )
        self.assertTrue(measuring.wait(TIMEOUT))
        return load

    def interrupt(self, load: subprocess.Popen[str]) -> tuple[str, str]:
        """
        Interrupt a load, which must end with the exit status for SIGINT.

        @return: standard output, standard error.
        """
        load.send_signal(signal.SIGINT)
        output, errors = load.communicate(timeout=TIMEOUT)
        self.assertNotIn("Traceback", output + errors)
        self.assertEqual(load.returncode, 130)
        return output, errors

    def test_processesEnd(self) -> None:
        """
        In whatever way the first of several processes ends, the others end too, also a
        stopped one; and standard output reaches its end with the first.
        """
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            load = self.started("--connections=3", "--processes=3")
            companions = psutil.Process(load.pid).children()
            self.assertEqual(len(companions), 2)
            companions[0].suspend()
            load.send_signal(number)
            load.communicate(timeout=TIMEOUT)
            self.assertEqual(load.returncode, -number)
            _, left = psutil.wait_procs(companions, TIMEOUT)
            self.assertEqual(left, [])

    def test_controlC(self) -> None:
        """
        Ctrl-C ends the window of a load, in all its processes, and the load prints the
        numbers so far.
        """
        for options in (
            (),
            ("--processes=2",),
            ("--rate=2000",),
            ("--idle=2", "--rate=2000", "--processes=2"),
        ):
            load = self.started("--connections=2", "--json", *options)
            output, errors = self.interrupt(load)
            self.assertEqual(errors, "")
            measured = json.loads(output)
            self.assertTrue(measured["interrupted"])
            self.assertGreater(measured["requests"], 0)
            self.assertLess(measured["seconds"], 600)
        output, errors = self.interrupt(self.started())
        self.assertEqual(errors, "")
        self.assertRegex(output, r"interrupted +after [\d.]+ s")
        self.assertRegex(output, r"latency p99 +[\d.]+ ")

    def test_controlCAfterwards(self) -> None:
        """
        Ctrl-C after the window, while the load closes connections or prints the
        numbers, loses nothing; the second one ends the load with one line.
        """
        for name, times, expected in (
            ("Driver._close", 1, 0),
            ("judged", 1, 0),
            ("_roundTable", 1, 0),
            ("Driver._close", 2, 130),
            ("_roundTable", 2, 130),
        ):
            # The signal arrives when this function is called.
            program = f"""
import os, signal, sys
from iodemo.cli.main import run
def called(frame, event, argument):
    if event == "call" and frame.f_code.co_name == {name.rpartition(".")[2]!r}:
        sys.setprofile(None)
        for _ in range({times}):
            os.kill(os.getpid(), signal.SIGINT)
sys.setprofile(called)
run()
"""
            load = subprocess.run(
                [
                    *(sys.executable, "-c", program, "load"),
                    *(self.serveHere(lambda peer: None), "--seconds=0.1", "--warmup=0"),
                    "--connections=2",
                ],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
            self.assertEqual(load.returncode, expected, (name, load.stderr))
            if times == 1:
                self.assertEqual(load.stderr, "")
                self.assertRegex(load.stdout, r"throughput +[\d,]+ ")
            else:
                self.assertEqual((load.stdout, load.stderr), ("", "Interrupted\n"))

    def test_controlCOfSilence(self) -> None:
        """
        Ctrl-C ends the window also if the server has just stopped answering.
        """
        silent = threading.Event()

        def fallSilent(connection: socket.socket) -> None:
            connection.recv(65536)
            silent.set()
            connection.recv(65536)

        load = self.started("--connections=1", "--json", then=fallSilent)
        self.assertTrue(silent.wait(TIMEOUT))
        output, _ = self.interrupt(load)
        self.assertTrue(json.loads(output)["interrupted"])

    def test_controlCEarly(self) -> None:
        """
        Ctrl-C before the window ends a load without numbers.
        """
        for options in ((), ("--json",), ("--processes=2",)):
            # One server for each load: a late connection of the last load does not
            # count.
            asked = threading.Event()

            def beSilent(
                connection: socket.socket, asked: threading.Event = asked
            ) -> None:
                connection.recv(65536)
                asked.set()
                connection.recv(65536)

            load = self.start("load", self.serveHere(beSilent), *options)
            self.assertTrue(asked.wait(TIMEOUT))
            output, errors = self.interrupt(load)
            self.assertEqual(output, "")
            self.assertEqual(errors, "Interrupted: nothing was measured yet.\n")

    def test_request(self) -> None:
        """
        The user may give the request.
        """
        endpoint, _ = self.serve()
        arguments = ("load", endpoint, "--seconds=0.1", "--wait=60")
        for kind in (r"until:\x3a\n:a:\n", "length:5:hello"):
            output = self.succeeds(*arguments, "--kind", kind)
            self.assertRegex(output, r"throughput +[\d,]+ a second")

    def test_calls(self) -> None:
        """
        The load also prints the system calls of the server, or why it cannot count
        them.
        """
        endpoint, pid = self.serve()
        arguments = ("load", endpoint, "--seconds=0.1", "--wait=60", f"--watch={pid}")
        measured = json.loads(self.succeeds(*arguments, "--calls", "--json"))
        output = self.succeeds(*arguments, "--calls")
        if "syscalls_reason" in measured:
            self.assertIn("unknown: ", output)
        else:
            self.assertAlmostEqual(
                measured["syscalls_by_name"]["recvfrom"], 1, places=1
            )
            self.assertIn("1 recvfrom", output)
        # The PATH has neither perf nor strace.
        self.environment["PATH"] = ""
        measured = json.loads(self.succeeds(*arguments, "--calls", "--json"))
        self.assertIn("strace: No such file", measured["syscalls_reason"])
        self.assertIn("unknown: perf: No such", self.succeeds(*arguments, "--calls"))
        status, _, errors = self.run_("load", endpoint, "--calls")
        self.assertEqual(status, 2)
        self.assertIn("--calls goes with --watch", errors)

    def test_badInput(self) -> None:
        """
        Each mistake makes one line, which names it.
        """
        with socket.create_server(("127.0.0.1", 0)) as listening:
            free = f"tcp:127.0.0.1:{listening.getsockname()[1]}"
        for arguments, reason in (
            (("nonsense",), "'nonsense' is not an address"),
            ((free,), f"nothing listens at {free}"),
            (("unix:/no/such/socket",), "there is no unix:/no/such/socket"),
            ((free, "--kind=gopher"), "no load of kind 'gopher'"),
            ((free, "--kind=http:x"), "begin with a slash"),
            ((free, r"--kind=until:\q:x"), r"\q is no escape"),
            ((free, "--watch=999999999"), "there is no process 999999999"),
            ((free, "--connections=900000", "--processes=1"), "connections need"),
            ((free, "--kind=http", "--server-name=h"), f"nothing listens at {free}"),
        ):
            status, output, errors = self.run_("load", *arguments)
            self.assertEqual((status, output), (1, ""), arguments)
            self.assertEqual(errors.count("\n"), 1, errors)
            self.assertIn(reason, errors)
        numbers = ("nan", "inf", "-inf", "-1", "-0.0", "1e-300", "1e300", "", "x", "٣x")
        counts = ("nan", "inf", "-1", "1e3", "", "x", "9" * 30, "9" * 5000)
        for options, values in (
            (("--rate",), (*numbers, "0", "1e-10", "10000001")),
            (("--seconds", "--timeout"), (*numbers, "0", "1e-9", "0.0009", "86401")),
            (("--warmup", "--wait"), set(numbers) - {"-0.0", "1e-300"}),
            (("--connections", "--processes"), (*counts, "0")),
            (("--payload",), (*counts, "0", "268435456")),
            (("--idle", "--stalled"), counts),
            (("--watch",), set(counts) - {"9" * 30} | {"0"}),
        ):
            for option, value in itertools.product(options, values):
                self.refuses(("load", free, f"{option}={value}"), option)
        for option, value in itertools.product(
            ("--rounds", "--seconds", "--connections"), (*counts, "0")
        ):
            if (option, value) != ("--seconds", "1e3"):
                self.refuses(("compare", f"{option}={value}"), option)
        status, output, errors = self.run_("load", free, "--arrivals=poisson")
        self.assertEqual(status, 2)
        self.assertIn("give it a --rate", errors)


class CompareTests(CommandTestCase):
    """
    Tests for C{iodemo compare} and C{iodemo report}.
    """

    # In a shorter window, a busy machine may answer no request.
    tiny = ("compare", "--rounds=1", "--seconds=0.5")

    def test_compareAndReport(self) -> None:
        """
        A comparison writes results and a report. The report can be written again from
        the results alone, and no run overwrites an earlier one.
        """
        self.succeeds(
            *(*self.tiny, "--scenarios=active", "--backends=epoll,poll", "--quick"),
            "--output=out",
        )
        written = file.read(self.directory / "out")
        self.assertTrue(written["complete"])
        self.assertEqual(
            {(cell["backend"], cell["status"]) for cell in written["cells"]},
            {("epoll", "ok"), ("poll", "ok")},
        )
        page = (self.directory / "out" / "report.html").read_bytes()
        output = self.succeeds("report", "out", "--output", "again")
        self.assertEqual((self.directory / "again" / "report.html").read_bytes(), page)
        self.assertIn("epoll", output)

        plugin = "web --listen={endpoint} --path=."
        (self.directory / "index.html").write_text("hello")
        self.succeeds(
            # One second: a thousand requests may take half of it.
            *("compare", "--rounds=1", "--seconds=1", "--scenarios=active", "--quick"),
            *("--backends=poll", "--plugin", plugin, "--load", "http:/"),
            "--output=out",
        )
        (*_, cell) = file.read(self.directory / "out")["cells"]
        self.assertEqual((cell["service"], cell["status"]), ("web", "ok"))
        (previous,) = (self.directory / "out").glob("results.*T*.json")
        self.assertEqual(file.read(previous), written)

    def test_require(self) -> None:
        """
        The exit status reports whether claims hold, for a comparison and for later
        reports on it.
        """
        command = (
            *("compare", "--quick", "--seconds=0.5", "--scenarios=active"),
            *("--backends=epoll,poll", "--output=out"),
        )
        status, output, _ = self.run_(
            *(*command, "--require", "active=1: poll/epoll >= 1000"),
            *("--require", "active=1: poll/epoll <= 1000"),
        )
        self.assertEqual(status, 1)
        self.assertIn("required: active=1: poll/epoll >= 1000\nrefuted ", output)
        self.assertIn("required: active=1: poll/epoll <= 1000\nheld ", output)
        for claim, expected in (
            ("echo: poll/epoll <= 1000", 0),
            ("echo: poll/epoll >= 1000", 1),
            ("server_cpu_us_per_request: poll/epoll <= 1000", 0),
        ):
            status, output, errors = self.run_("report", "out", "--require", claim)
            self.assertEqual((status, errors), (expected, ""), claim)
        run = file.read(self.directory / "out")
        for cell in run["cells"]:
            del cell["rounds"][2:]
        file.write(run, self.directory / "few.json")
        status, output, _ = self.run_(
            "report", "few.json", "--require", "echo: poll/epoll <= 1000"
        )
        self.assertEqual(status, 3)
        self.assertIn("undecided at 3 of 3 points", output)

    def test_claims(self) -> None:
        """
        The points that the statements of a file need are measured, and no others. The
        exit status reports whether the statements hold, here and in later reports.
        """
        (self.directory / "claims.toml").write_text(
            "[[statements]]\n"
            'text = "poll is no thousand times as fast"\n'
            'claims = ["active active=10: poll/epoll < 99", "idle idle=3: epoll > 0"]\n'
            "[[statements]]\n"
            'text = "a load in C is"\n'
            'claims = ["active active=10: poll+c-load/poll >= 1000"]\n'
            "[points]\n"
            "idle = [{active = 2, idle = 3}]\n"
        )
        claims = ("--claims", "claims.toml")
        status, output, _ = self.run_(
            *("compare", "--rounds=3", "--seconds=0.5", "--output=out", *claims)
        )
        self.assertIn("3 backends, 2 points, 3 rounds of 0.5 s each", output)
        self.assertEqual(status, 1)
        self.assertRegex(output, "poll is no thousand times as fast\nheld ")
        self.assertRegex(output, "a load in C is\nrefuted ")
        run = file.read(self.directory / "out")
        self.assertEqual(
            [(each["scenario"], each["backend"]) for each in run["cells"]],
            [
                ("active", "poll"),
                ("active", "epoll"),
                ("active", "poll+c-load"),
                ("idle", "epoll"),
            ],
        )
        self.assertEqual(run["controls"], [])
        for about, expected in (("no thousand", 0), ("in C", 1), ("is", 1)):
            arguments = ("report", "out", *claims, "--about", about)
            status, _, errors = self.run_(*arguments)
            self.assertEqual((status, errors), (expected, ""), about)

    def test_realtime(self) -> None:
        """
        C{--realtime} is refused to a process that may not have real-time priority.
        """

        def refuse(*arguments: object) -> None:
            raise PermissionError

        self.patch(os, "sched_setscheduler", refuse)
        outcome = CliRunner().invoke(main, ["compare", "--realtime"])
        self.assertEqual(outcome.exit_code, 1)
        self.assertIn("--realtime takes the right to run under", outcome.output)

    def test_quickIsQuick(self) -> None:
        """
        A quick comparison of all backends for Linux ends within four minutes, even on a
        machine that is a quarter slower.
        """
        # The test must not depend on this machine's missing backends or file limit.
        self.patch(models.Model, "unavailable", lambda self: self.needs)
        self.patch(planning, "descriptors", lambda: 20_000.0)
        effort = (None, None, None, None, None, compare._QUICK, None, None)
        plan = compare._plan(*effort)
        references = [each.name for each in plan.backends if each.kind == "reference"]
        self.assertEqual(references, ["c-epoll"])
        web = compare._usual(False, "web --listen={endpoint}")
        self.assertEqual({each.kind for each in web}, {"reactor"})
        self.assertGreater(plan.estimate(), 60)
        self.assertLess(plan.estimate(1.25), 240)

    def test_connections(self) -> None:
        """
        By default the scenario holds as many connections as C{idle}, which takes no
        extra time; an option gives another number.
        """

        def plan(names: str, connections: int | None = None) -> Plan:
            effort = (names, None, None, None, compare._FULL, None, None)
            return compare._plan("epoll", *effort, connections)

        self.assertEqual(plan("idle,connections").estimate(), plan("idle").estimate())
        ((_, (point,)),) = plan("connections", 100_000).scenarios
        self.assertEqual(point.connections, 100_000)
        self.assertGreater(
            plan("connections", 100_000).estimate(), plan("connections").estimate()
        )

    def test_pluginHasNoPipes(self) -> None:
        """
        A comparison of a user's plugin measures servers alone.
        """
        plan = compare._plan(
            None, None, None, "x {endpoint}", "echo", compare._QUICK, None, None
        )
        self.assertEqual(
            [scenario.name for scenario, _ in plan.scenarios],
            ["active", "idle"],
        )

    def test_scenarios(self) -> None:
        """
        Only a full comparison has all scenarios; others leave out the slow ones, unless
        an option names them.
        """

        def scenarios(
            effort: compare._Effort, names: str | None = None
        ) -> dict[str, tuple[Point, ...]]:
            plan = compare._plan("epoll", names, None, None, None, effort, None, None)
            return {scenario.name: points for scenario, points in plan.scenarios}

        full = scenarios(compare._FULL)
        self.assertEqual(list(full), [each.name for each in SCENARIOS])
        for effort in (compare._USUAL, compare._QUICK):
            self.assertEqual(list(scenarios(effort)), ["active", "idle", "multiplexer"])
        active, http = findScenario("active"), findScenario("http")
        self.assertEqual(
            scenarios(compare._QUICK, "http,active"),
            {"http": http.points[:1], "active": active.quick},
        )
        self.assertEqual(scenarios(compare._USUAL, "http"), {"http": http.points})

    def test_fullIsNotEndless(self) -> None:
        """
        A full comparison ends within an hour.
        """
        self.patch(models.Model, "unavailable", lambda self: self.needs)
        effort = (None, None, None, None, None, compare._FULL, None, None)
        self.assertLess(compare._plan(*effort).estimate(), 60 * 60)

    def test_duration(self) -> None:
        """
        A length of time is printed as precisely as it is known.
        """
        for seconds, said in (
            (4.4, "4 s"),
            (89, "89 s"),
            (94, "1 min 30 s"),
            (179, "3 min"),
            (599, "10 min"),
            (640, "11 min"),
        ):
            self.assertEqual(compare._duration(seconds), said)

    def test_oneAtATime(self) -> None:
        """
        Two comparisons do not disturb each other: the second waits.
        """
        with open(models.__file__, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            process = self.start(*self.tiny, "--backends=epoll", "--output=out")
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(3)]
            self.assertIn("Another comparison is running", said[-1])
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual((process.returncode, errors), (130, ""))
        self.assertIn("Interrupted. 0 cells finished", output)

    def test_nothingMeasured(self) -> None:
        """
        A comparison without any number fails, and ends early: after the backend and its
        control have failed at the first point.
        """
        status, output, errors = self.run_(
            *(*self.tiny, "--scenarios=active", "--backends=epoll"),
            *("--plugin", "no-such {endpoint}", "--load", "echo", "--output=out"),
        )
        self.assertEqual(status, 1)
        self.assertEqual(output.count("failed: "), 2)
        self.assertRegex(errors, r"\AError: nothing could be measured: .*no-such\n\Z")

    def test_badInput(self) -> None:
        """
        Each mistake makes one line, before any server starts.
        """
        (self.directory / "file").write_text("")
        for name, claim in (
            ("poll", "active: poll > 0"),
            ("none", "active: none > 0"),
            ("point", "active active=7: poll > 0"),
        ):
            (self.directory / f"{name}.toml").write_text(
                f'[[statements]]\ntext = ""\nclaims = ["{claim}"]\n'
            )
        for arguments, reason in (
            (("--backends=no-such",), "no backend named 'no-such'"),
            (("--backends=iocp",), "iocp cannot run here: needs Windows"),
            (("--scenarios=no-such",), "no scenario named 'no-such'"),
            (
                ("--backends=poll", "--baseline=epoll"),
                "the baseline 'epoll' is not among the backends: poll",
            ),
            (("--plugin=web", "--load=http:/"), "put {endpoint}"),
            (("--plugin='web", "--load=http:/"), "plugin's command line: No closing"),
            (
                (
                    "--plugin=x {endpoint}",
                    "--load=echo",
                    "--scenarios=idle,multiplexer",
                ),
                "the scenario multiplexer hosts no plugin",
            ),
            (
                ("--scenarios=multiplexer", "--backends=asyncio,threads"),
                "none of them is among the backends: asyncio, threads",
            ),
            (("--plugin=web {endpoint}", "--load=x"), "no load of kind 'x'"),
            (("--output=file/out",), "cannot write to file/out"),
        ):
            status, output, errors = self.run_(*self.tiny, *arguments)
            self.assertEqual((status, output), (1, ""), arguments)
            self.assertEqual(errors.count("\n"), 1, errors)
            self.assertIn(reason, errors)
        for arguments, reason in (
            (
                ("--backends=poll", "--require", "echo: poll/epoll > 1"),
                "'epoll' is not measured, but poll",
            ),
            (
                ("--require", "no-such: poll/epoll > 1"),
                "'no-such' is not measured, but active, idle, multiplexer, echo",
            ),
            (
                ("--require", "latency_us.p98: poll/epoll > 1"),
                "the metric 'latency_us.p98' is not measured, but throughput, ",
            ),
            (("--backends=no", "--require", "poll/epoll > 1"), "no backend named 'no'"),
            (("--backends=",), "--backends has an empty name in it"),
            (
                ("--scenarios=idle", "--connections=20000"),
                "--connections goes with --scenarios connections",
            ),
            (("--quick", "--connections=20000"), "--connections goes with"),
            (("--plugin=web {endpoint}",), "--plugin and --load go together"),
            (("--quick", "--full"), "exclude each other"),
            (("--seconds=nan",), "'nan' is not a number of seconds"),
            (("--seconds=inf",), "not in the range"),
            (("--require=nonsense",), "'nonsense' is no claim such as"),
            (("--about=nonsense",), "--about goes with --claims"),
            (("--claims=no-such",), "no-such: No such file or directory"),
            (("--claims=poll.toml", "--backends=poll"), "goes without --backends"),
            (("--claims=none.toml",), "no backend named 'none'"),
            (("--claims=point.toml",), "active=7 is not measured, but active=1, acti"),
        ):
            status, output, errors = self.run_(*self.tiny, *arguments)
            self.assertEqual((status, output), (2, ""), arguments)
            self.assertIn(reason, errors)

    def test_badResults(self) -> None:
        """
        A file without results is refused with one line.
        """
        file = self.directory / "results.json"
        good = jsonOf(example([okCell("idle", "epoll", parameters(10), 1000)]))
        hostile = good.replace('"backend": "epoll"', '"backend": "<script>"')
        for text, reason in (
            (good[:-50], "not a whole JSON file"),
            (good.replace("iodemo-results", "other"), "its format is not"),
            (good.replace('"version": 1', '"version": 7'), "version 7"),
            (hostile, "matching regex"),
        ):
            self.assertNotEqual(text, good)
            file.write_text(text)
            status, output, errors = self.run_("report", "results.json")
            self.assertEqual((status, output), (1, ""))
            self.assertEqual(errors.count("\n"), 1, errors)
            self.assertIn(reason, errors)
        # The current directory, which an empty path would mean.
        file.write_text(good)
        for command in (
            ("report", ""),
            ("report", "results.json", "--output="),
            ("diff", "", "results.json"),
            ("diff", "results.json", ""),
            ("compare", "--output="),
        ):
            status, output, errors = self.run_(*command)
            self.assertEqual((status, output), (2, ""), command)
            self.assertIn("an empty path: write . for the current direc", errors)
        self.assertFalse((self.directory / "report.html").exists())
        status, _, errors = self.run_("report", "no-such")
        self.assertEqual(status, 1)
        self.assertIn("no-such: No such file or directory", errors)

    def test_plainTerminal(self) -> None:
        """
        A terminal that cannot show every character does not prevent the report.
        """
        file.write(
            example([okCell("idle", "epoll", parameters(10), 1000)]),
            self.directory / "results.json",
        )
        self.environment["PYTHONIOENCODING"] = "ascii"
        self.assertIn("requests/s", self.succeeds("report", "."))
        self.assertTrue((self.directory / "report.html").exists())

    def test_hostileText(self) -> None:
        """
        Markup in free text is printed as it is.
        """
        run = example([okCell("idle", "epoll", parameters(10), 1000)])
        run["environment"] = {**environment(), "command": "<script>[bold]$x$"}
        file.write(run, self.directory / "results.json")
        self.succeeds("report", ".")
        page = (self.directory / "report.html").read_text()
        self.assertNotIn("<script>", page)
        self.assertIn("&lt;script&gt;[bold]$x$", page)


class DiffTests(CommandTestCase):
    """
    Tests for C{iodemo diff}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.written = example([okCell("idle", "epoll", parameters(10), 1000)])
        for name in ("old", "new"):
            (self.directory / name).mkdir()
            file.write(self.written, self.directory / name / file.FILE_NAME)

    def other(self, **fields: Any) -> None:
        """
        Change the environment in the file of the new run.
        """
        run = {**self.written, "environment": {**environment(), **fields}}
        (self.directory / "new" / "results.json").write_text(jsonOf(run))

    def test_diff(self) -> None:
        """
        Two runs are compared, by their directories or files, as text and as JSON.
        """
        self.assertIn("1 = indistinguishable", self.succeeds("diff", "old", "new"))
        found = json.loads(
            self.succeeds("diff", "--json", "old/results.json", "new/results.json")
        )
        self.assertEqual(set(found), {"old", "new", "different", "changes", "unpaired"})
        self.assertEqual(found["different"], [])
        self.assertEqual(
            set(found["changes"][0]),
            {
                *("scenario", "service", "parameters", "backend", "metric"),
                *("ratio", "low", "high", "verdict"),
            },
        )

    def test_differentMachines(self) -> None:
        """
        Runs of different machines are refused with a line that lists the differences,
        and compared with an option.
        """
        self.other(cpu="Other CPU", kernel="Linux 7.0")
        status, output, errors = self.run_("diff", "old", "new")
        self.assertEqual((status, output, errors.count("\n")), (1, "", 1))
        self.assertIn("cpu Example CPU @ 2.60GHz, now Other CPU", errors)
        self.assertIn("kernel Linux 6.18.5, now Linux 7.0", errors)
        output = self.succeeds("diff", "old", "new", "--different-machines")
        self.assertIn("different: cpu", output)
        self.assertIn("indistinguishable", output)

    def test_differentCores(self) -> None:
        """
        Runs on different cores count as different machines, even more so if one run had
        server and load on one core.
        """
        for pinning, said in (
            (None, "none"),
            ({"server": 0, "load": 3}, "server 0, load 3"),
        ):
            self.other(pinning=pinning)
            status, output, errors = self.run_("diff", "old", "new", "--json")
            self.assertEqual((status, output, errors.count("\n")), (1, "", 1))
            self.assertIn(f"pinning server 0, load 1, now {said}", errors)
            found = json.loads(
                self.succeeds("diff", "old", "new", "--json", "--different-machines")
            )
            self.assertEqual(
                found["different"], [f"pinning server 0, load 1, now {said}"]
            )

    def test_differentPlans(self) -> None:
        """
        Runs of different plans are refused, and so are runs whose plan is unknown; the
        line has the reason.
        """
        run = {**self.written, "plan": planned()}
        (self.directory / "old" / "results.json").write_text(jsonOf(run))
        output = self.succeeds("diff", "old", "new")
        self.assertIn("different: plan, which is not in new", output)
        for key, value, said in (
            ("seconds", 2.0, "seconds 1.0, now 2.0"),
            ("warmup", 0.25, "warmup 0.5, now 0.25"),
        ):
            run["plan"] = {**planned(), key: value}
            (self.directory / "new" / "results.json").write_text(jsonOf(run))
            status, output, errors = self.run_("diff", "old", "new")
            self.assertEqual((status, output, errors.count("\n")), (1, "", 1))
            self.assertIn(f"measured by different plans ({said})", errors)
            self.assertIn("--different-plans", errors)
            output = self.succeeds("diff", "old", "new", "--different-plans")
            self.assertIn(f"different: {said}", output)

    def test_versions(self) -> None:
        """
        Different versions on the same machine are compared, and listed.
        """
        self.other(twisted="99.1")
        self.assertIn(
            "different: twisted 26.10.0, now 99.1", self.succeeds("diff", "old", "new")
        )

    def test_badInput(self) -> None:
        """
        A file without results is refused with one line.
        """
        (self.directory / "file").write_text("{}")
        for arguments, reason in (
            (("old", "no-such"), "no-such: No such file or directory"),
            (("file", "new"), "file: not a results file"),
            (("old", "."), "results.json: No such file"),
        ):
            status, output, errors = self.run_("diff", *arguments)
            self.assertEqual((status, output, errors.count("\n")), (1, "", 1))
            self.assertIn(reason, errors)


class InterruptTests(CommandTestCase):
    """
    Tests for a comparison that is interrupted, and continued.
    """

    command = (
        *("compare", "--rounds=1", "--seconds=0.2", "--backends=epoll"),
        *("--scenarios=active", "--quick"),
    )

    def interrupt(
        self, number: signal.Signals, children: int, *options: str
    ) -> tuple[int, str]:
        """
        End a comparison by a signal, as soon as one of its cells is finished and it has
        so many children again.

        @return: its exit status, and its standard error.
        """
        process = self.start(*self.command, *options)
        assert process.stdout is not None
        line = process.stdout.readline()
        while not re.match("active: 1 busy.*epoll again.* a second", line):
            self.assertTrue(line, "the comparison ended too early")
            line = process.stdout.readline()
        comparison = psutil.Process(process.pid)
        deadline = time.monotonic() + TIMEOUT
        while len(comparison.children()) < children:
            self.assertLess(time.monotonic(), deadline)
        process.send_signal(number)
        output, errors = process.communicate(timeout=TIMEOUT)
        self.assertNotIn("Traceback", errors)
        self.seeAllEnd()
        return process.returncode, output

    def kept(self, directory: str) -> Results:
        """
        The results that are on disk.
        """
        run = file.read(self.directory / directory)
        self.assertFalse(run["complete"])
        self.assertGreaterEqual(len(run["cells"]), 1)
        for cell in run["cells"]:
            self.assertEqual((cell["status"], len(cell["rounds"])), ("ok", 1))
        return run

    def test_controlC(self) -> None:
        """
        Ctrl-C leaves the finished cells, and no process.
        """
        status, output = self.interrupt(signal.SIGINT, 2, "--output=out")
        self.assertEqual(status, 130)
        self.kept("out")
        self.assertIn("Interrupted. 2 cells finished, in out/results.json", output)
        self.assertEqual(self.hint(output), [*self.command, "--output=out"])
        self.assertEqual(self.hint(output, "To see"), ["report", "out"])

    def test_terminated(self) -> None:
        """
        SIGTERM leaves the finished cells, also between the starts of two processes. The
        command in its message continues the comparison, in the same directory.
        """
        status, output = self.interrupt(signal.SIGTERM, 1)
        self.assertEqual(status, 143)
        self.goOn(*self.hint(output))

    def test_killed(self) -> None:
        """
        SIGKILL leaves the finished cells, and the same command continues.
        """
        status, _ = self.interrupt(signal.SIGKILL, 2, "--output=out")
        self.assertEqual(status, -9)
        self.goOn(*self.command, "--output=out")

    def test_noKeyIsLeft(self) -> None:
        """
        SIGKILL leaves no private key behind: while a server has one, it is not on a
        disk.
        """
        temporary = self.directory / "temporary"
        temporary.mkdir()
        self.environment["TMPDIR"] = str(temporary)
        process = self.start(
            *("compare", "--rounds=9", "--seconds=0.2", "--backends=epoll"),
            *("--scenarios=tls", "--output=out"),
        )
        assert process.stdout is not None
        self.assertIn("about", process.stdout.readline())
        # A server and a load: all files of the server exist by then.
        comparison = psutil.Process(process.pid)
        deadline = time.monotonic() + TIMEOUT
        while len(comparison.children()) < 2:
            self.assertLess(time.monotonic(), deadline)
        process.kill()
        process.communicate(timeout=TIMEOUT)
        for path in self.directory.rglob("*"):
            if path.is_file():
                self.assertNotIn(b"PRIVATE KEY", path.read_bytes(), path)

    def hint(self, said: str, purpose: str = "To go on") -> list[str]:
        """
        The arguments of the command in the hint about continuing, or another hint.
        """
        (line,) = (each for each in said.split("\n") if each.startswith(f"{purpose}: "))
        python, option, name, *arguments = shlex.split(line.removeprefix(purpose + ":"))
        # By its name alone where PATH leads to it.
        self.assertEqual(shutil.which(python), sys.executable)
        self.assertEqual((option, name), ("-m", "iodemo"))
        return arguments

    def test_fullDisk(self) -> None:
        """
        If results cannot be written any more, the message has the reason and the
        command that continues; the file written before is whole.
        """
        arguments = (
            *("compare", "--scenarios=multiplexer", "--quick", "--backends=epoll"),
            *("--rounds=9", "--output=out"),
        )
        # The size of a few rounds, which no other file reaches.
        limiting = "import resource, sys; from iodemo.cli.main import run; "
        limiting += "resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000)); run()"
        process = subprocess.Popen(
            [sys.executable, "-c", limiting, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(errors, r"\AError: cannot go on: File too large")
        self.assertNotIn("Traceback", errors)
        self.assertEqual(self.hint(errors), [*arguments])
        run, _ = journal.read(self.directory / "out")
        self.assertFalse(run["complete"])
        self.assertNotEqual(run.get("unfinished"), [])
        # The journal has rounds that could not be written to the results.
        found = sorted(os.listdir(self.directory / "out"))
        self.assertEqual(found, ["journal.jsonl", "results.json"])
        self.seeAllEnd()

    def test_unforeseen(self) -> None:
        """
        After an unexpected error the message also has the command that continues. The
        traceback is printed, and the exit status is not that of a refuted claim.
        """
        begun: list[object] = []

        def breaks(*arguments: Any) -> Round:
            begun.append(arguments)
            if len(begun) > 2:
                raise ZeroDivisionError("this was not foreseen")
            return real(*arguments)

        real = runner._measureRound
        self.patch(runner, "_measureRound", breaks)
        output = self.directory / "out"
        arguments = [*self.command, f"--output={output}"]
        arguments += ["--backends=epoll,poll", "--require", "poll/epoll > 0"]
        self.patch(sys, "argv", ["iodemo", *arguments])
        outcome = CliRunner().invoke(main, arguments)
        self.assertEqual(outcome.exit_code, 2)
        self.assertIn("ZeroDivisionError: this was not foreseen", outcome.output)
        self.assertIn("\nError: cannot go on: ZeroDivisionError\n", outcome.output)
        self.assertIn(f"2 cells finished, in {output}", outcome.output)
        self.assertEqual(self.hint(outcome.output), arguments)
        self.assertFalse(file.read(output)["complete"])

    def goOn(self, *arguments: str, printing: str = "") -> None:
        """
        Check that a command continues with the results in its directory.

        @param printing: a part of its output.
        """
        directory = arguments[-1].removeprefix("--output=")
        earlier = self.kept(directory)
        output = self.succeeds(*arguments)
        self.assertIn(" to go.", output)
        self.assertIn("Going on after 2 cells and ", output)
        self.assertIn(printing, output)
        run = file.read(self.directory / directory)
        self.assertTrue(run["complete"])
        self.assertEqual(run["cells"][0], earlier["cells"][0])
        self.assertEqual(len(run["cells"]), 3)
        self.assertEqual(len(run["resumed"]), 1)
        page = (self.directory / directory / "report.html").read_text()
        self.assertIn("interrupted, and resumed", page)

    def test_badJournal(self) -> None:
        """
        A run whose journal cannot be read goes on from its results. The journal is
        kept, and the reason is printed.
        """
        self.interrupt(signal.SIGINT, 2, "--output=out")
        (self.directory / "out" / "journal.jsonl").write_text("nonsense\n")
        reason = "out/journal.jsonl: line 1: not a whole JSON file"
        _, output, errors = self.run_("report", "out")
        self.assertIn("This run is not complete", output)
        self.assertIn(f"lost: {reason}", errors)
        self.goOn(*self.command, "--output=out", printing=reason)
        (rounds,) = (self.directory / "out").glob("journal.*T*.jsonl")
        self.assertEqual(rounds.read_text(), "nonsense\n")

    def test_onlyJournal(self) -> None:
        """
        Rounds that only the journal has can be gone on with, and the hint says how.
        """
        run = example([okCell("idle", "epoll", parameters(1), 1000.0)])
        (cell,) = run["cells"]
        run["complete"], run["cells"], run["plan"] = False, [], planned()
        path = self.directory / file.FILE_NAME
        file.write(run, path)
        kept = journal.Journal(self.directory, run)
        self.addCleanup(kept.remove)
        again = ["iodemo", "compare"]
        said = compare._left(path, self.directory, again)
        self.assertEqual(said, "0 cells finished")
        entry: Entry = {
            "scenario": "idle",
            "service": "echo",
            "parameters": parameters(1),
            "backend": "epoll",
            "control": False,
        }
        kept.add(entry, 0, cell["rounds"][0])
        said = compare._left(path, self.directory, again)
        self.assertEqual(said, f"0 cells finished, in {path}\nTo go on: iodemo compare")

    def test_somethingElse(self) -> None:
        """
        The results of an interrupted comparison are kept, and not continued, if the
        command would measure something else.
        """
        self.interrupt(signal.SIGINT, 2, "--output=out")
        earlier = self.kept("out")
        output = self.succeeds(*self.command, "--seconds=0.1", "--output=out")
        (kept,) = (self.directory / "out").glob("results.*T*.json")
        self.assertIn(f"is kept as {kept.name}: it was to measure something", output)
        self.assertEqual(file.read(kept), earlier)
        self.assertTrue(file.read(self.directory / "out")["complete"])


class ProgramTests(SynchronousTestCase):
    """
    Tests for the name of this program in a hint.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / "bin").mkdir(parents=True)
        self.script = self.directory / "bin" / "iodemo"
        self.script.write_text("#!/bin/sh\necho this one\n")
        self.script.chmod(0o755)

    def says(self, started: str, path: str, expected: list[str]) -> None:
        """
        Check the name for a program with this C{sys.argv[0]}, and that a shell with
        this PATH starts it by that name.
        """
        self.patch(sys, "argv", [started])
        self.patch(os, "environ", {**os.environ, "PATH": path})
        before = os.getcwd()
        os.chdir(self.directory)
        try:
            said = compare._program()
            self.assertEqual(said, expected)
            if said[1:]:
                return
            output = subprocess.run(
                ["/bin/sh", "-c", shlex.join(said)],
                env={"PATH": path},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        finally:
            os.chdir(before)
        self.assertEqual((output.stdout, output.stderr), ("this one\n", ""))

    def test_script(self) -> None:
        """
        A script has its file name if a shell finds it on the PATH; otherwise its path,
        which is relative if it is below the current directory.
        """
        script = str(self.script)
        usual = "/usr/bin:/bin"
        other = self.directory / "other"
        other.mkdir()
        self.says(script, f"{self.script.parent}:{usual}", ["iodemo"])
        self.says(script, usual, ["bin/iodemo"])
        self.says("bin/iodemo", usual, ["bin/iodemo"])
        self.says(f"{self.directory}/other/../bin/iodemo", usual, ["bin/iodemo"])
        # A shell finds another script by that name.
        (other / "iodemo").write_text("#!/bin/sh\necho another\n")
        (other / "iodemo").chmod(0o755)
        self.says(script, f"{other}:{usual}", ["bin/iodemo"])
        self.directory = other
        self.says(script, usual, [script])
        self.directory = self.script.parent
        self.says(script, usual, ["./iodemo"])

    def test_module(self) -> None:
        """
        A program that was started as a module has the interpreter's path, and the
        module.
        """
        there = str(self.directory / "__main__.py")
        Path(there).write_text("")
        for started in (there, "-c"):
            self.says(started, "/bin", [sys.executable, "-m", "iodemo"])
        python = Path(sys.executable)
        self.says(there, str(python.parent), [python.name, "-m", "iodemo"])


class RoundTableTests(SynchronousTestCase):
    """
    Tests for the table that C{iodemo load} prints of a round.
    """

    def shown(self, **others: Any) -> str:
        """
        The table as text, as on a terminal.
        """
        (measured, *_) = okCell("idle", "epoll", parameters(10), 5e4)["rounds"]
        measured = cast(Round, {**measured, **others})
        stream = io.StringIO()
        Console(file=stream, width=120).print(_roundTable(measured, judged(measured)))
        return stream.getvalue()

    def test_watched(self) -> None:
        """
        The counters of the server are shown.
        """
        said = self.shown()
        self.assertRegex(said, r"server memory +37\.2 MiB")
        self.assertRegex(said, r"context switches per request +0\.00099")

    def test_metrics(self) -> None:
        """
        Every metric that the round has is shown under its name.
        """
        (measured, *_) = okCell("idle", "epoll", parameters(10), 5e4)["rounds"]
        said = self.shown()
        for metric in METRICS:
            has = metric.value(measured) is not None
            self.assertEqual(f"{metric.name} " in said, has, metric.key)

    def test_end(self) -> None:
        """
        Requests without a latency are shown beside the percentiles, and so are
        connections that the server closed.
        """
        said = self.shown(late=10, unanswered=0, reconnects=0)
        for word in ("unanswered", "again", "server closed", "retransmitted"):
            self.assertNotIn(word, said)
        said = self.shown(
            unanswered=1200,
            unsent=1000,
            unanswered_oldest_us=12_345_678.0,
            reconnects=57,
            resent=12,
            retransmitted=4,
            idle_closed=3,
        )
        self.assertRegex(
            said,
            r"unanswered +1,200 requests in flight or due at the end, the oldest for "
            r"12\.3 s; 1,000 found",
        )
        self.assertRegex(said, "sent again +12 requests in flight when the")
        self.assertRegex(said, "retransmitted +4 connections waited for a retransm")
        self.assertRegex(said, r"made again +57 connections")
        self.assertRegex(said, r"server closed +3 idle connections")

    def test_limit(self) -> None:
        """
        If the load was the limit, the table advises more processes, unless the load had
        to wait for a core.
        """
        said = self.shown(load_cpu_fraction=0.99, load_busy_fraction=0.99)
        self.assertRegex(said, r"limit +the load, which had no time left: use more")
        said = self.shown(load_cpu_fraction=0.4, load_busy_fraction=0.99)
        self.assertRegex(
            said, "limit +the load, which had to wait for a core: see iode"
        )
        self.assertNotIn("--processes", said)

    def test_anotherUsers(self) -> None:
        """
        Counters that another user's server does not reveal are shown as unknown.
        """
        said = self.shown(server_rss_kib=None, context_switches=None)
        unknown = "memory and context switches: the process is another user's"
        self.assertRegex(said, f"unknown +{unknown}")
