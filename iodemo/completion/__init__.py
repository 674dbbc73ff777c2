"""
A reactor of Twisted on completions: the program submits operations, and a queue calls
it back with their results.

L{iodemo.completion.interfaces} defines a completion queue. There are two:
C{iodemo.completion.ring} passes operations to the kernel (io_uring), and
L{iodemo.completion.emulated} waits for readiness and performs them itself.
L{iodemo.completion.tcp} and L{iodemo.completion.unix} have Twisted's transports on
either queue, and L{iodemo.completion.reactor} has the reactor.
L{iodemo.completion.eventloop} has an event loop of asyncio on either queue, and the
reactor that runs on it.

Here is the event loop. It is Twisted's C{mainLoop}, with the parts of the package that
it reaches::

    while running:
        reactor.runUntilCurrent()      # delayed calls; then sendWritten() of each
                                       # connection in reactor.unsent
        reactor.doIteration(timeout)   # queue.wait(timeout): submit what was added,
                                       # wait, and call the owners of the results

Each word has one meaning in this package:

  - I{Operation}: a connect, receive, send or poll that was added to a queue, until it
    ends. The queue returns its number, which cancels it.
  - I{Owner}: the object that added an operation, often a transport. The queue calls its
    methods with the results: the I{callbacks}.
  - I{Result}: a number, as the kernel returns it: a count of bytes, 0 or C{-errno}.
  - I{To dispatch}: to call an owner with a result.
  - I{Wait}: one call of the queue's C{wait}. It dispatches all results there are.
  - I{Turn}: one wait of an event loop, and the calls that the loop makes after it.
  - I{To pause}: to stop reading, as a protocol does with C{pauseProducing}. I{Paused
    input} is data that the queue had received before that, and has to deliver later.
  - I{Short}: a short send has sent less than all of its data.
  - I{Half-closed}: the peer of a half-closed socket has shut down its sending side.

In the ring:

  - I{SQE}, I{CQE}: entries of the submission queue and of the completion queue, which
    the process shares with the kernel. C{user_data} is a number in an SQE that the
    kernel copies to the CQEs of its operation.
  - I{Pending}: a pending SQE is in memory of the process, not yet submitted.
  - I{Buffer ring}: the list of buffers from which the kernel takes one for a receive.
  - I{Slot}: an entry in the table of operations. Its I{generation} is counted up each
    time an operation in it ends, so that the numbers of two operations differ.
  - I{To issue}: to add the SQE of the operation in a slot.
  - I{Starved}: a starved receive ended with ENOBUFS, because the buffer ring was empty.
    It is issued again.
  - I{Parked}: a parked operation is not submitted to the ring. An epoll object watches
    its descriptor instead, and the ring polls the epoll object.
"""
