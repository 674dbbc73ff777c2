"""
The client side, in a process of its own: what is asked, how fast, what came back.

The load must cost less than the server, or its own limit is what gets measured.
So it is not Twisted: L{driver} is one epoll loop over raw non-blocking sockets,
with one comparison, one clock reading and two system calls a request.

It knows no service and no reactor: it connects to an address, speaks one of the
protocols in L{exchanges}, and can watch the counters of any process.
"""
