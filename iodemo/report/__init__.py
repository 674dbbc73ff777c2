# -*- test-case-name: tests.test_report -*-
"""
Reports: tables, figures and the page, made from results and measuring nothing.
"""

import logging

# That a home directory cannot be written to is said by matplotlib, at length, when it
# is imported, and does not matter to a report.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

from iodemo.report.page import write  # noqa: E402

__all__ = ["write"]
