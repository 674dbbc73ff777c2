"""
What services and reactors may say to each other, without either knowing which
the other is.
"""

from __future__ import annotations

from zope.interface import Interface


class ISharesNothing(Interface):
    """
    A reactor whose accepted connections have nothing in common: what the
    protocol of one writes down, on its factory or elsewhere, no other sees.

    A service whose connections have to do with one another cannot be served so,
    and should say that when it is made.
    """
