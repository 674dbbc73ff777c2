"""
Interfaces between services and reactors, so that neither needs to import the other.
"""

from __future__ import annotations

from zope.interface import Interface


class ISharesNothing(Interface):
    """
    A reactor whose accepted connections share no state: a change that one protocol
    makes, to its factory or elsewhere, is invisible to all others.

    A service whose connections depend on each other, such as a chat, cannot work with
    it. Its C{makeService} should raise C{SystemExit} with that reason.
    """

    def connections() -> int:
        """
        How many accepted connections are open, in all processes.
        """
