"""
The numbers of a comparison: their shape, their file, and what is computed from them.
Every other package may import this one; it imports only L{iodemo.models} and
L{iodemo.writing}.

Words, in the order in which they build on each other:

  - B{backend}: a reactor, or a reference server without one.
  - B{point}: one choice of all parameters, such as ten busy and a hundred idle
    connections.
  - B{scenario}: a question, and the points at which it is measured.
  - B{place}: a point of a scenario, with the service that is measured there.
  - B{round}: a fresh server, measured once for some seconds.
  - B{cell}: one backend at one place, with all its rounds.
  - B{metric}: a number that each round of a cell has; a row of
    L{iodemo.results.metrics}.
  - B{summary}: the median of each metric over the rounds of a cell, with its interval.
  - B{baseline}: the backend that the others are compared with.
  - B{comparison}: the ratio of a backend's median to the baseline's, with its interval.
  - B{control}: a second cell of the baseline. Its comparison with the first is the
    B{noise} of a metric at that point.
  - B{band}: the factor around 1 within which a ratio is no difference, given the noise.
  - B{verdict}: whether a backend is faster, slower or indistinguishable.
  - B{claim}: an inequality about a comparison, which a run decides.
"""
