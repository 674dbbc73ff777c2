"""
One Twisted service under the I/O models of Linux, measured side by side.
"""

__version__ = "0.1.0.dev0"
