# -*- test-case-name: tests.test_report -*-
"""
Reports: tables, figures and the page, made from results and measuring nothing.
"""

from iodemo.report.page import write

__all__ = ["write"]
