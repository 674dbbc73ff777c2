"""
Services with faults, for tests that run with this directory's parent as theirs.
"""

from twisted.application.service import ServiceMaker

faulty = ServiceMaker(
    "iodemo faulty", "tests.faulty.service", "Fails as told.", "iodemo-faulty"
)
