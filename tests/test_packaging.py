# -*- test-case-name: tests.test_packaging -*-
"""
Tests for the installed files, and for side effects of imports.

The wheel, the source distribution and both kinds of installation are made from a copy
of the checkout, so that no files are left in it, and without the network: the build
uses the packages that are installed here, and a new environment links to the
dependencies of the one that runs the tests, or has copies of Twisted and of what that
needs.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path
from unittest import mock

from packaging.requirements import Requirement
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo.cli.main import main
from iodemo.kernel import ioUringRefusal
from iodemo.models import MODELS

from .children import TIMEOUT, Child, exchange

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("iodemo-echo", "iodemo-http", "iodemo-chat", "iodemo-stream")
EXTENSIONS = (
    ["iodemo/completion/ring", "iodemo/load/fast"] if sys.platform == "linux" else []
)
TWISTD = "from twisted.scripts.twistd import run; run()"
SHIPPED = (".py", ".pyi", ".xhtml", ".css", ".c")
# Suffixes of files that are made from others, and only during an installation.
MADE = (".so", *(f"{name}.c" for name in EXTENSIONS))
# Modules that no import of a declaration or of a service may load. twistd chooses the
# reactor, and every twistd of a user imports the declarations.
REACTORS = "[m for m in sys.modules if re.fullmatch(r'twisted.*reactor', m)]"
HEAVY = "[m for m in sys.modules if m in ('matplotlib', 'numpy', 'rich', 'click')]"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """
    Run a command to its end, as from a user's shell. There is no time-out: a compiler
    may take long.

    @param variables: environment variables, besides the existing ones.
    @return: its output.
    @raise AssertionError: with its output, if it failed.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "TRIAL_PYTHONPATH")
    }
    environment.update(PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    environment.update(variables)
    result = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        raise AssertionError(f"{command} failed:\n{result.stdout}")
    return result.stdout


def temporary() -> Path:
    """
    Make a new directory below trial's.
    """
    return Path(tempfile.mkdtemp(dir=os.getcwd()))


def copyCheckout() -> Path:
    """
    Copy the files that a commit of the checkout would have, and the caches that twistd
    leaves in it.
    """
    copy = temporary()
    sources = [path for path in ROOT.iterdir() if path.is_file()]
    for directory in ("iodemo", "twisted", "tests", "scripts"):
        sources.extend((ROOT / directory).rglob("*"))
    for source in sources:
        if source.is_file() and not (
            "__pycache__" in source.parts or str(source).endswith(MADE)
        ):
            target = copy / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (copy / "twisted" / "plugins" / "dropin.cache").write_bytes(b"")
    return copy


@functools.cache
def build() -> tuple[Path, Path]:
    """
    Make the distributions of the checkout, as C{scripts/wheel} does.

    @return: the wheel and the source distribution.
    """
    output = temporary()
    script = copyCheckout() / "scripts" / "distributions.py"
    run(sys.executable, script, output, cwd=output)
    (wheel,) = output.glob("*.whl")
    (source,) = output.glob("*.tar.gz")
    return wheel, source


def shipped(checkout: Path) -> set[str]:
    """
    The files of a checkout that an installation needs.
    """
    return {
        str(path.relative_to(checkout))
        for directory in ("iodemo", "twisted")
        for path in (checkout / directory).rglob("*")
        if path.suffix in SHIPPED and not str(path).endswith(MADE)
    }


class Environment:
    """
    A new virtual environment, with iodemo's dependencies but not iodemo.

    @ivar directory: where it is.
    @ivar sitePackages: where it installs.
    """

    def __init__(self) -> None:
        self.directory = temporary()
        # Symbolic links, as "python -m venv" makes: a copy of Python may not run.
        venv.create(self.directory, with_pip=False, symlinks=True)
        purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.sitePackages = Path(self.python("-c", purelib).strip()).resolve()
        self.addDependencies()

    def addDependencies(self) -> None:
        """
        Have it find all packages that are installed here.
        """
        # Python searches a directory that a .pth file names, but does not read the .pth
        # files in it: an editable iodemo there is not found.
        borrowed = [path for path in sys.path if path.endswith("-packages")]
        (self.sitePackages / "borrowed.pth").write_text("\n".join(borrowed))

    def python(self, *arguments: str | Path, **variables: str) -> str:
        """
        Run its Python, in a directory outside of the checkout.
        """
        python = self.directory / "bin" / "python"
        return run(python, *arguments, cwd=self.directory, **variables)

    def install(self, *what: str | Path, **variables: str) -> None:
        """
        Install a package without its dependencies.
        """
        options = ["--no-deps", "--ignore-installed", "--no-build-isolation"]
        self.python("-m", "pip", "install", *options, *what, **variables)

    def script(self, name: str, *arguments: str) -> str:
        """
        Run a script that was installed in this environment.
        """
        script = self.directory / "bin" / name
        return run(script, *arguments, cwd=self.directory)


class Server(Environment):
    """
    A new virtual environment, as on a machine that only serves: it has Twisted, what
    that needs, and iodemo from the wheel, and there is no program on its C{PATH}.

    @ivar twistd: the command C{twistd}, for L{Child}.
    """

    def __init__(self) -> None:
        super().__init__()
        self.twistd = [str(self.directory / "bin" / "python"), "-I", "-c", TWISTD]
        wheel, _ = build()
        # Not the pip of this environment, which has none. It may use no index, so that
        # it fails if the wheel needs anything else.
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.directory / "bin" / "python",
        )
        options = ("--only-binary=:all:", wheel)
        run(*pip, "install", *options, cwd=self.directory, PATH=self.nothing)

    @property
    def nothing(self) -> str:
        """
        A C{PATH} on which no program is found, so no compiler either.
        """
        return str(self.directory / "include")

    def addDependencies(self) -> None:
        """See L{Environment.addDependencies}."""
        found: set[str] = set()
        wanted = ["twisted"]
        while wanted:
            name = wanted.pop()
            if name in found:
                continue
            found.add(name)
            distribution = importlib.metadata.distribution(name)
            for line in distribution.requires or ():
                requirement = Requirement(line)
                if requirement.marker is None or requirement.marker.evaluate(
                    {"extra": ""}
                ):
                    wanted.append(requirement.name)
            for file in distribution.files or ():
                # Scripts are outside of site-packages.
                if ".." not in file.parts and file.suffix != ".pyc":
                    target = self.sitePackages / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(str(file.locate()), target)


@functools.cache
def server() -> Server:
    """
    The environment of a machine that only serves.
    """
    return Server()


class DistributionTests(SynchronousTestCase):
    """
    Tests for the content of distributions.
    """

    def test_wheel(self) -> None:
        """
        The wheel holds the package with its data, the plugins and the extensions. It
        holds no C{twisted/__init__.py}, which would break Twisted, no tests, no
        cache and no sources of the extensions.
        """
        wheel, _ = build()
        self.assertIn("manylinux", wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            # auditwheel adds entries for directories.
            names = [
                name
                for name in archive.namelist()
                if ".dist-info/" not in name and not name.endswith("/")
            ]
        self.assertIn("twisted/plugins/iodemo_services.py", names)
        compiled = [name for name in names if name.endswith(".so")]
        self.assertEqual(sorted(name.split(".")[0] for name in compiled), EXTENSIONS)
        self.assertEqual(sorted(set(names) - set(compiled)), sorted(shipped(ROOT)))

    def test_source(self) -> None:
        """
        The source distribution has all files from which the wheel is built, and the
        licence.
        """
        _, source = build()
        with tarfile.open(source) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        metadata = {"LICENSE", "setup.cfg", "setup.py", "pyproject.toml"}
        metadata.update(f"{name}.pyx" for name in EXTENSIONS)
        self.assertEqual((shipped(ROOT) | metadata) - names, set())
        self.assertEqual([name for name in names if name.endswith(MADE)], [])
        self.assertNotIn("twisted/plugins/dropin.cache", names)

    def test_namespace(self) -> None:
        """
        The checkout's C{twisted} is not a package: it would hide Twisted in the
        checkout.
        """
        self.assertTrue((ROOT / "twisted" / "plugins").is_dir())
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class InstallationTests(SynchronousTestCase):
    """
    Tests for installations: the services are subcommands of C{twistd}.
    """

    def check(self, environment: Environment, place: Path) -> None:
        """
        Check that everything works, and is imported from the place of the installation.
        """
        where = (
            "import iodemo, twisted.plugins.iodemo_services as plugin\n"
            "print(iodemo.__file__, plugin.__file__, sep='\\n')"
        )
        files = environment.python("-c", where).splitlines()
        plugins = place / "twisted" / "plugins"
        self.assertEqual(
            [Path(file).resolve() for file in files],
            [place / "iodemo" / "__init__.py", plugins / "iodemo_services.py"],
        )
        help = environment.python("-c", TWISTD, "--help")
        listed = {line.split()[0] for line in help.splitlines() if line.strip()}
        self.assertEqual(set(SERVICES) - listed, set())
        for service in SERVICES:
            options = environment.python("-c", TWISTD, service, "--help")
            self.assertIn("--listen", options)
        self.assertIn("compare", environment.script("iodemo", "--help"))

    def test_wheel(self) -> None:
        """
        The services are found after an installation of the wheel.
        """
        wheel, _ = build()
        environment = Environment()
        environment.install(wheel)
        self.check(environment, environment.sitePackages)

    def test_editable(self) -> None:
        """
        The services are found in a checkout that was installed as editable.
        """
        checkout = copyCheckout()
        environment = Environment()
        environment.install("--editable", checkout)
        self.check(environment, checkout.resolve())

    def test_noCompiler(self) -> None:
        """
        Without a compiler, the source distribution can be installed: the reactor that
        needs its extension gives the reason and what to do, and the load runs in
        Python.
        """
        environment = Environment()
        _, source = build()
        nothing = str(environment.directory / "include")
        environment.install(source, CC="cc", PATH=nothing)
        listed = environment.script("iodemo", "backends", "--json")
        backends = {backend["name"]: backend for backend in json.loads(listed)}
        self.assertTrue(backends["epoll"]["available"])
        self.assertFalse(backends["uring"]["available"])
        if ioUringRefusal() is None:
            self.assertIn("C compiler", backends["uring"]["reason"])
        where = (
            "import iodemo.load.driver as driver; print(driver.fastest().__module__)"
        )
        self.assertEqual(environment.python("-c", where).strip(), "iodemo.load.driver")


class ServerTests(SynchronousTestCase):
    """
    Tests for a machine that only serves.
    """

    def serve(self, reactor: str, command: str = "iodemo-echo") -> Child:
        """
        Start a service.
        """
        with mock.patch.dict(os.environ, {"PATH": server().nothing}):
            return Child(self, command, reactor=reactor, twistd=server().twistd)

    def test_wheel(self) -> None:
        """
        The compiled reactor serves, from a wheel that was installed where there is no
        compiler.
        """
        if (refusal := ioUringRefusal()) is not None:
            raise SkipTest(refusal)
        where = "import iodemo.completion.ring as ring; print(ring.__file__)"
        file = Path(server().python("-I", "-c", where).strip()).resolve()
        self.assertEqual(file.parents[2], server().sitePackages)
        child = self.serve("uring")
        with child.connect() as connection:
            self.assertEqual(exchange(connection, b"Hello"), b"Hello")
        self.assertEqual(child.stop(), -signal.SIGTERM)

    def test_reactors(self) -> None:
        """
        Every reactor that can run here serves without further packages.
        """
        for model in MODELS:
            # uvloop is a package that Twisted does not need.
            if model.kind != "reactor" or model.name == "uvloop" or model.unavailable():
                continue
            child = self.serve(model.name)
            with child.connect() as connection:
                self.assertEqual(exchange(connection, b"Hello"), b"Hello", model.name)
            self.assertEqual(child.stop(), -signal.SIGTERM, model.name)

    def test_services(self) -> None:
        """
        Every service starts without further packages.
        """
        for service in SERVICES:
            child = self.serve("proactor", service)
            child.connect().close()
            self.assertEqual(child.stop(), -signal.SIGTERM, service)

    def test_tls(self) -> None:
        """
        A service says in one line which package TLS needs.
        """
        for endpoint in ("ssl:0:privateKey=key.pem", "tls:0"):
            done = subprocess.run(
                [*server().twistd, "-n", "iodemo-echo", "--listen", endpoint],
                cwd=server().directory,
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"\A.*: pip install 'twisted\[tls\]'.*\n\Z")

    def test_listed(self) -> None:
        """
        C{twistd --help-reactors} lists the reactors.
        """
        listed = server().python("-I", "-c", TWISTD, "--help-reactors")
        for name in ("threads", "busypoll", "proactor", "uring"):
            self.assertRegex(listed, rf"(?m)^\s+!?{name}\b")

    def test_commands(self) -> None:
        """
        Each command says in one line that it needs further packages, and how to install
        them.
        """
        python = server().directory / "bin" / "python"
        said = "iodemo: the command needs click: pip install 'iodemo[lab]'\n"
        for command in ("", "--help", *main.commands):
            done = subprocess.run(
                [python, "-I", "-m", "iodemo", *command.split()],
                cwd=server().directory,
                capture_output=True,
                text=True,
            )
            self.assertEqual((done.returncode, done.stderr), (1, said), command)

    def test_program(self) -> None:
        """
        A program that is no plugin of C{twistd} installs the reactor itself.
        """
        if (refusal := ioUringRefusal()) is not None:
            raise SkipTest(refusal)
        program = ROOT / "docs" / "examples" / "uringprogram.py"
        process = subprocess.Popen(
            [server().directory / "bin" / "python", "-I", program],
            cwd=server().directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        listening = re.fullmatch(
            r"UringReactor listens on IPv4Address\(.* port=(\d+)\)\n",
            process.stdout.readline(),
        )
        assert listening is not None
        address = ("127.0.0.1", int(listening[1]))
        with socket.create_connection(address, TIMEOUT) as connection:
            self.assertEqual(exchange(connection, b"Hello"), b"Hello")


class ImportTests(SynchronousTestCase):
    """
    Tests for side effects of imports.
    """

    def imported(self, module: str, what: str) -> str:
        """
        The modules that a new Python has loaded after an import.

        @param what: an expression over C{sys.modules}.
        """
        code = f"import re, sys, {module}; print({what})"
        return run(sys.executable, "-c", code, cwd=ROOT).strip()

    def test_services(self) -> None:
        """
        No service chooses a reactor on import.
        """
        files = (ROOT / "iodemo" / "services").glob("[!_]*.py")
        modules = [f"iodemo.services.{file.stem}" for file in files]
        self.assertGreaterEqual(len(modules), len(SERVICES))
        loaded = {module: self.imported(module, REACTORS) for module in modules}
        self.assertEqual(loaded, dict.fromkeys(modules, "[]"))

    def test_plugins(self) -> None:
        """
        The declarations load neither a reactor nor a slow module, as each C{twistd} on
        the machine imports them.
        """
        files = (ROOT / "twisted" / "plugins").glob("*.py")
        modules = [f"twisted.plugins.{file.stem}" for file in files]
        self.assertIn("twisted.plugins.iodemo_services", modules)
        what = f"{REACTORS} + {HEAVY}"
        loaded = {module: self.imported(module, what) for module in modules}
        self.assertEqual(loaded, dict.fromkeys(modules, "[]"))

    def test_reactorSeen(self) -> None:
        """
        The tests above would notice a reactor.
        """
        loaded = self.imported("twisted.internet.reactor", REACTORS)
        self.assertIn("'twisted.internet.reactor'", loaded)
