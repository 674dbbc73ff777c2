# -*- test-case-name: tests.test_references -*-
"""
Echo servers without Twisted, to compare reactors with. They do the same as
C{iodemo-echo}, and nothing else.

Each is a module with a function C{command} that returns the command to start it. A
module that cannot work on this machine raises C{ImportError} when it is imported.
"""
