"""
The plugins for the examples of the book: declarations only, as C{twistd} imports them.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

selectors = Reactor(
    "selectors", "selectorsreactor", "The best multiplexer there is (example)."
)
shout = ServiceMaker("shout", "shout", "Sends every line back in capitals.", "shout")
