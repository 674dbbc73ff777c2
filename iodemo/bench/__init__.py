"""
Measuring: which scenarios there are, the plan of a comparison, and the runner that
starts a server and a load for each round. L{iodemo.load} is the client side, a process
of its own; this package supervises it.

Words besides those of L{iodemo.results}:

  - B{workload}: a twistd plugin, and the requests that the load sends it. The workload
    of the scenario C{multiplexer} is B{pipes} in one process, with no plugin.
  - B{plan}: the scenarios, points, backends and rounds of a comparison.
  - B{entrant}: a backend, or the control, at any point of a plan.
  - B{refusal}: the reason for which an entrant is not measured at a point.
  - B{capacity}: the throughput of a backend in a closed loop. The rate of a point may
    be a share of it.
  - B{pace}: the CPU time of starting a server here, divided by that time on the machine
    of L{iodemo.bench.plan}: at 2, this machine is half as fast.
  - B{record}: the rounds and cells of a comparison so far, in memory and on disk.
  - B{statement}: a sentence with one or more claims, from a file. It holds if they all
    do.
"""
