# -*- test-case-name: tests.test_references -*-
"""
Servers without Twisted that do what C{iodemo-echo} does, and no more: what a reactor
is held against. A module for each, which raises L{ImportError} on import where it
cannot run, and has the command that starts it.
"""
