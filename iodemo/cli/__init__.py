"""
The command line: a file a command.

Glossary:

  - I{effort}: how many rounds are made, how long each is, and at which points.
    C{--quick} and C{--full} each choose an effort; without them there is a usual one.
  - I{requirements}: the claims that a command must decide. Its exit status reports the
    decision.
"""
