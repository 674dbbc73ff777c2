"""
One Twisted service under every I/O model that an operating system offers, measured.
"""

__version__ = "0.1.0.dev0"
