"""
Supervision: how processes are started, pinned to cores, guarded and ended.

Glossary:

  - I{child}: a process that iodemo starts and ends, such as a server or a load, with
    all that it starts in turn (L{iodemo.process.child}).
  - I{guard}: a small process in the process group of a child. It kills that group as
    soon as iodemo has ended, even by SIGKILL (L{iodemo.process.guard}).
  - I{guard pipe}: a pipe that iodemo never writes to. The kernel closes its writing end
    with iodemo, and each guard, which reads from it, then gets an end of file.
"""
