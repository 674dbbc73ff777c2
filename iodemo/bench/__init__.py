"""
Measuring: which scenarios there are, the plan of a comparison, and the runner that
starts a server and a load for each round. L{iodemo.load} is the client side, a process
of its own; this package supervises it.

Words besides those of L{iodemo.results}:

  - B{workload}: a twistd plugin, and the requests that the load sends it. The scenario
    C{multiplexer} has B{pipes} within one process in its place.
  - B{plan}: what a comparison measures: scenarios, points, backends and rounds.
  - B{entrant}: a backend, or the control, at any point of a plan.
  - B{refusal}: why an entrant is not measured at a point.
  - B{capacity}: the throughput of a backend in a closed loop, of which a scenario may
    ask a share.
  - B{record}: what a comparison has measured so far, in memory and on disk.
"""
