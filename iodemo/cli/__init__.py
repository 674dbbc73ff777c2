"""
The command line: a file a command.

Glossary:

  - I{effort}: the number and length of rounds, and the points, that C{--quick},
    C{--full} or neither of them stands for.
  - I{requirements}: the claims that a command must decide. Its exit status reports the
    decision.
"""
