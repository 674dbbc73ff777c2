"""
The reactors of iodemo: one file an I/O model, each with a class and C{install()}.

A module that cannot work here raises L{ImportError} on import, with the reason
and what to do: C{twistd --help-reactors} and C{iodemo backends} show that text.
"""
