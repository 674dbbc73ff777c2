"""
C{iodemo-workers}: hosts any other plugin of C{twistd} in several processes, one for
each core.

Glossary:

  - I{worker}: a process that hosts the plugin (L{iodemo.workers.worker}). It inherits
    listening sockets.
  - I{parent}: the process that opens these sockets and starts the workers
    (L{iodemo.workers.parent}). It has an object for each (L{iodemo.workers.process}).
  - I{place}: one of the N workers that there are to be, with the sockets that it
    inherits. A worker that ends has a successor in its place.
  - I{ready}: a ready worker accepts connections from all its sockets.
  - I{to drain}: to accept no more, and to end with the last open connection, or after
    the I{grace}, a number of seconds.
  - I{to roll}: to replace the workers by new ones, one place after another.
"""
