"""
The extension, which setup.cfg cannot describe; all else is there.
"""

import sys

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "iodemo.completion.ring",
            ["iodemo/completion/ring.pyx"],
            # Without a compiler all else is installed, and the reactor says why it
            # is missing.
            optional=True,
        )
    ]
    if sys.platform == "linux"
    else []
)
