# -*- test-case-name: tests.test_references -*-
"""
References: echo servers to compare reactors with, most of them without Twisted. They do
the same as C{iodemo-echo}, and nothing else.

Each reference is a module with a function C{command}, which returns the command that
starts the server. The import of a module raises C{ImportError} if its server cannot run
on this machine.
"""
