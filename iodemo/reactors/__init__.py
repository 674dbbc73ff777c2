"""
The reactors of iodemo: a file for each I/O model, with a class and C{install()}.

A module that cannot work on this machine raises C{ImportError} when it is imported. The
text of the error is the reason and what to do about it, which
C{twistd --help-reactors} and C{iodemo backends} show.

Glossary:

  - I{reader}, I{writer}: an object that Twisted has given to C{addReader} or
    C{addWriter}, such as a connection or a port: it wants to be called when its
    descriptor can be read or written. I{Selectable} is either.
  - I{bound}: how many connections a blocking model serves at once. Beyond it, listening
    ports are I{paused}: new connections wait in the backlog of C{listen}
    (L{iodemo.reactors.polling.BoundedReactor}).
  - I{turn}: in L{iodemo.reactors.threads}, the time for which one thread holds the lock
    and runs protocol code.
  - I{served connection}: in L{iodemo.reactors.fork}, the one connection for which a
    child process exists.
"""
