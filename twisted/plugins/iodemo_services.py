"""
The services, as C{twistd} subcommands. Declarations only: a plugin module is
imported by every C{twistd} on the machine.
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
    "Sends, or swallows, bytes as fast as they go.",
    "iodemo-stream",
)
