"""
The plugin that hosts other plugins in several processes, and the one that it starts for
each. This file only declares them: every C{twistd} on the machine imports it, whatever
it runs.
"""

from twisted.application.service import ServiceMaker

workers = ServiceMaker(
    "iodemo workers",
    "iodemo.workers.options",
    "Hosts any other plugin in several processes, on all cores.",
    "iodemo-workers",
)
worker = ServiceMaker(
    "iodemo worker",
    "iodemo.workers.worker",
    "Internal: iodemo-workers starts it.",
    "iodemo-worker",
)
