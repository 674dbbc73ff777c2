"""
Make C{.venv}, the environment all other scripts run in: C{scripts/setup} calls
this with the extras to install.

When nothing that decides its content has changed since, it does nothing and
says nothing.
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

# Two stamps, each written when its step is over, so that an interrupted step is
# done again and a finished one is not.
MADE = VENV / "iodemo-made"
INSTALLED = VENV / "iodemo-installed"


def main(extras: set[str]) -> None:
    """
    Bring C{.venv} up to date, alone.

    @param extras: what to install beside the base, as in C{iodemo[dev]}. What is
        installed already stays.
    """
    # This file is the lock: it is always there, and C{.venv} may be remade.
    with open(__file__, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another script that is setting up .venv")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass  # A file system without locks: nothing worse than no lock.
        if read(MADE) != interpreter() or not os.access(PYTHON, os.X_OK):
            make()
        present = read(INSTALLED).split()
        digest = requirements()
        if digest not in present or not extras.issubset(present):
            install(sorted(extras.union(present[1:])), digest)


def interpreter() -> str:
    """
    What C{.venv} is tied to: the Python it was made from, and its own place.
    """
    return f"{sys.version}\n{sys.base_prefix}\n{ROOT}\n"


def requirements() -> str:
    """
    A digest of the files that say what has to be installed, and of what else decides
    that.
    """
    digest = hashlib.sha256()
    # The last two are compiled when it is installed, if that can be done here.
    headers = Path(sysconfig.get_path("include"), "Python.h")
    compilers = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
    digest.update(f"{compilers} {headers.exists()}\n".encode())
    extensions = ("iodemo/completion/ring.pyx", "iodemo/load/fast.pyx")
    for name in ("setup.cfg", "pyproject.toml", "setup.py", *extensions):
        digest.update(f"{name}\n{read(ROOT / name)}".encode())
    return digest.hexdigest()


def make() -> None:
    """
    Make an empty C{.venv} in the place of whatever is there.
    """
    if importlib.util.find_spec("ensurepip") is None:
        fail(
            f"{sys.executable} cannot make virtual environments (it has no "
            "ensurepip): install what it lacks, on Debian and Ubuntu with "
            "'apt install python3-venv'"
        )
    say("setting up .venv (once, about a minute)")
    # Not sys.executable: that may be the one in the .venv about to be cleared.
    python = getattr(sys, "_base_executable", sys.executable)
    if subprocess.call([python, "-m", "venv", "--clear", str(VENV)]):
        fail("no .venv: Python's venv module failed, see above")
    MADE.write_text(interpreter())


def install(extras: list[str], digest: str) -> None:
    """
    Install this checkout, editable, and all it needs.
    """
    names = f"[{','.join(extras)}]" if extras else ""
    say(f"installing iodemo{names} into .venv")
    # The pip that comes with the first releases of Python 3.10 cannot install a
    # package editable that has no setup.py.
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
    A file's text, or none if there is no such file.
    """
    try:
        return path.read_text()
    except OSError:
        return ""


def say(text: str) -> None:
    """
    Tell whoever waits what is going on, out of the way of a script's output.
    """
    print(f"iodemo: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> None:
    """
    Give up, with one line why.
    """
    sys.exit(f"iodemo: {text}")


if __name__ == "__main__":
    try:
        main(set(sys.argv[1:]))
    except KeyboardInterrupt:
        fail("interrupted: run the script again to go on from here")
    except OSError as error:
        fail(f"cannot set up .venv: {error}")
