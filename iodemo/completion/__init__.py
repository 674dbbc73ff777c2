"""
Completion: ask for an operation, be told its result.

L{iodemo.completion.interfaces} has what a queue of completions is. There are two:
L{iodemo.completion.emulated} makes completions from readiness, and
L{iodemo.completion.ring} has the kernel make them. L{iodemo.completion.tcp}
are Twisted's TCP transports on any such queue, and L{iodemo.completion.reactor} is
the reactor.
"""
