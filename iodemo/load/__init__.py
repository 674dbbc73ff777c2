"""
The load: a client that sends requests to a server, checks every answer, and measures
how long each took. It runs in a process of its own.

The load must cost less than the server, or the measurement shows the limit of the load.
So the load does not use Twisted: L{driver} is one epoll loop over raw non-blocking
sockets. For each request it makes one comparison, two clock readings at most and two
system calls.

The load knows no service and no reactor: it connects to an address, speaks one of the
protocols in L{exchanges}, and can read the counters of any process.

Words, in the order in which they build on each other:

  - B{exchange}: a protocol as the load sees it: which requests it has, and which
    answers are right.
  - B{turn}: one request, and the answer expected. A connection alternates between two
    turns.
  - B{profile}: the parameters of a load: address, exchange, numbers of connections,
    rate and times.
  - B{driver}: the object that makes the load of a profile. Its B{phases}: it waits for
    the server, verifies it, connects, warms up, measures, and drains.
  - B{verification}: turns made before the measurement, to see that the server answers
    rightly.
  - B{window}: the seconds that are measured, after the warm-up.
  - B{to drain}: to wait, after the window, for the answers to the requests in flight.
  - B{closed loop}: a connection sends its next request when its last is answered.
  - B{open loop}: requests are due on a schedule, at a rate, whether or not earlier ones
    are answered. The B{backlog} is the number of requests due and not answered.
  - B{churn}: every request has a connection of its own.
  - B{active}, B{idle} and B{stalled} connections: an active one sends requests in the
    window (texts for users call it B{busy}), an idle one stays open without a request,
    and a stalled one has sent requests and reads no answer.
  - B{silent}: a connection without a request in flight, at this moment.
  - B{spent}: a connection that its server has closed, or will close, after an answer;
    the next request needs a new socket.
  - B{patience}: the longest time that an answer may take, in seconds.
  - B{share}: the part of a profile that one process of the load has. The first process
    forks the others, the B{workers}.
  - B{part}: the measurements of one process in the window. Their sum makes a B{round}
    (L{iodemo.results}).
  - B{flow}: bytes that go one way, as B{pieces} of 64 KiB: from the server (stream) or
    to it (sink).
  - B{fan-out}: one request with many answers, as in a chat: a B{member} is a
    connection, the B{speaker} is the member that sends the line, and all members
    receive it.
  - B{to watch}: to read the CPU time, memory and context switches of a server, by its
    process number.
"""
