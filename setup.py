"""
The extensions, which setup.cfg cannot describe; all else is there.
"""

import sys

from setuptools import Extension, setup

EXTENSIONS = ["iodemo/completion/ring.pyx", "iodemo/load/fast.pyx"]

setup(
    ext_modules=[
        Extension(
            source.removesuffix(".pyx").replace("/", "."),
            [source],
            # Without a compiler all else is installed, the reactor says why it is
            # missing, and the load is driven in Python.
            optional=True,
        )
        for source in EXTENSIONS
    ]
    if sys.platform == "linux"
    else []
)
