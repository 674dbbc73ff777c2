"""
The examples of the book, as C{twistd} finds them. Declarations only.
"""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

selectors = Reactor(
    "selectors", "selectorsreactor", "The best multiplexer there is (example)."
)
shout = ServiceMaker("shout", "shout", "Sends every line back in capitals.", "shout")
