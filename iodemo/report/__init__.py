# -*- test-case-name: tests.test_report -*-
"""
Reports: tables, figures and the page, made from results alone. Nothing here measures.

Words besides those of L{iodemo.results}:

  - B{chart}: a figure, with its caption and the same numbers in words (C{alt}).
  - B{series}: the values of one backend in a chart, joined by a line unless the axis
    has words. Its B{span} at a position is low, median and high.
  - B{row}: one backend in a chart of bars or dots.
  - B{look}: the colour, marker and line of a backend, the same in every figure.
  - B{conditions}: what all points of a table or chart have in common.
  - B{label} of a point: what differs between them, such as the connections.
"""

import logging

# matplotlib warns at length, when it is imported, that it cannot write to a home
# directory. A report needs none.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

from iodemo.report.page import write  # noqa: E402

__all__ = ["write"]
