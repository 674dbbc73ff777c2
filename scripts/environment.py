"""
Make C{.venv}, the virtual environment of all other scripts. C{scripts/setup} calls this
with the extras to install.

If nothing that determines its content has changed, it does nothing and prints nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"

# Two stamp files, each written when its step has ended: an interrupted step is
# repeated, and a finished one is not.
MADE = VENV / "iodemo-made"
INSTALLED = VENV / "iodemo-installed"


def main(extras: set[str]) -> None:
    """
    Bring C{.venv} up to date, under a lock.

    @param extras: the extras to install, as in C{iodemo[dev]}, besides C{lab}. Extras
        that are already installed stay.
    """
    # Every script uses the command iodemo, or parts of it.
    extras = {"lab", *extras}
    # This file serves as the lock: it always exists, while C{.venv} may be made again.
    with open(__file__, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another script that is setting up .venv")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # The file system has no locks: go on without one.
        if read(MADE) != interpreter() or not os.access(PYTHON, os.X_OK):
            make()
        present = read(INSTALLED).split()
        digest = requirements()
        if digest not in present or not extras.issubset(present):
            install(sorted(extras.union(present[1:])), digest)


def interpreter() -> str:
    """
    The identity of C{.venv}: the Python that it was made from, and its own path.
    """
    return f"{sys.version}\n{sys.base_prefix}\n{ROOT}\n"


def requirements() -> str:
    """
    A digest of all that determines what has to be installed: the files that declare it,
    the sources of the extensions, and whether those can be compiled.
    """
    digest = hashlib.sha256()
    # The extensions are compiled during the installation, if a compiler is found.
    headers = Path(sysconfig.get_path("include"), "Python.h")
    compilers = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
    digest.update(f"{compilers} {headers.exists()}\n".encode())
    extensions = ("iodemo/completion/ring.pyx", "iodemo/load/fast.pyx")
    for name in ("setup.cfg", "pyproject.toml", "setup.py", *extensions):
        digest.update(f"{name}\n{read(ROOT / name)}".encode())
    return digest.hexdigest()


def make() -> None:
    """
    Make an empty C{.venv}, in the place of an old one.
    """
    if importlib.util.find_spec("ensurepip") is None:
        fail(
            f"{sys.executable} cannot make virtual environments (it has no "
            "ensurepip): on Debian and Ubuntu, install that with "
            "'apt install python3-venv'"
        )
    say("setting up .venv (once, about a minute)")
    # sys.executable may be in the .venv that is about to be cleared.
    python = getattr(sys, "_base_executable", sys.executable)
    if subprocess.call([python, "-m", "venv", "--clear", str(VENV)]):
        fail("no .venv: Python's venv module failed, see above")
    MADE.write_text(interpreter())


def install(extras: list[str], digest: str) -> None:
    """
    Install this checkout as an editable package, with its dependencies.
    """
    names = f"[{','.join(extras)}]"
    say(f"installing iodemo{names} into .venv")
    # The pip of the first releases of Python 3.10 cannot install an editable package
    # without setup.py.
    pip = [str(PYTHON), "-m", "pip", "-qq", "--disable-pip-version-check", "install"]
    for wanted in (["pip>=21.3"], ["--editable", f"{ROOT}{names}"]):
        if subprocess.call([*pip, *wanted], stdin=subprocess.DEVNULL):
            fail(
                "pip could not install into .venv, see above; it needs the network "
                "(or an index of your own: PIP_INDEX_URL, PIP_FIND_LINKS). "
                "Run the script again to go on from here"
            )
    INSTALLED.write_text(" ".join([digest, *extras]))


def read(path: Path) -> str:
    """
    A file's text; empty if there is no such file.
    """
    try:
        return path.read_text()
    except OSError:
        return ""


def say(text: str) -> None:
    """
    Print a line of progress on standard error, apart from a script's output.
    """
    print(f"iodemo: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> None:
    """
    Exit with a one-line reason.
    """
    sys.exit(f"iodemo: {text}")


if __name__ == "__main__":
    try:
        main(set(sys.argv[1:]))
    except KeyboardInterrupt:
        fail("interrupted: run the script again to go on from here")
    except OSError as error:
        fail(f"cannot set up .venv: {error}")
