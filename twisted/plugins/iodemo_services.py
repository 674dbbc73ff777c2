"""
The services, as C{twistd} subcommands. This file only declares them: every C{twistd} on
the machine imports it, whatever it runs.
"""

from twisted.application.service import ServiceMaker

echo = ServiceMaker(
    "iodemo echo", "iodemo.services.echo", "Sends bytes back.", "iodemo-echo"
)
http = ServiceMaker(
    "iodemo http", "iodemo.services.http", "Serves pages and files.", "iodemo-http"
)
chat = ServiceMaker(
    "iodemo chat", "iodemo.services.chat", "Sends every line to all.", "iodemo-chat"
)
stream = ServiceMaker(
    "iodemo stream",
    "iodemo.services.stream",
    "Sends, or discards, bytes as fast as possible.",
    "iodemo-stream",
)
