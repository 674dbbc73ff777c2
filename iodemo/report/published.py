# -*- test-case-name: tests.test_report -*-
"""
Published measurements of multiplexers, for the figure of pipes. The numbers are those
of the sources. Only the unit differs: seconds for 100,000 operations are given here as
microseconds for one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """
    One multiplexer in one publication.

    @ivar call: the multiplexer, named as the backend that uses it.
    @ivar year: of publication; L{SOURCES} has the source by it.
    @ivar microseconds: the time of an operation that finds one ready descriptor, by the
        number of descriptors that are watched.
    """

    call: str
    year: int
    microseconds: dict[int, float]


WHO = "Kegel 2001, Kerrisk 2006 and 2010"

#: Where and how, by year.
SOURCES = {
    2001: "D. Kegel, linux-kernel, 6 January 2001, "
    "<3A579508.CF755874@alumni.caltech.edu> (Poller_bench: write, find, read; Linux "
    "2.4.0, 650 MHz dual Pentium III)",
    2006: "M. Kerrisk, Linux 2.6 changes, linux.conf.au 2006, "
    "man7.org/conf/lca2006/Linux_2.6_changes/epoll_2d.html (100,000 operations)",
    2010: "M. Kerrisk, The Linux Programming Interface, table 63-9 (CPU time of "
    "100,000 operations; Linux 2.6.25)",
}

CURVES = (
    Curve("poll", 2001, {100: 48, 1000: 1162, 10_000: 14_702}),
    Curve("poll", 2006, {10: 11.2, 100: 68, 1000: 1570, 10_000: 17_500}),
    Curve("select", 2006, {10: 12.8, 100: 71, 1000: 1510, 10_000: 10_870}),
    Curve("epoll", 2006, {10: 6.5, 100: 6.8, 1000: 8.9, 10_000: 9.7}),
    Curve("poll", 2010, {10: 6.1, 100: 29, 1000: 350, 10_000: 9900}),
    Curve("select", 2010, {10: 7.3, 100: 30, 1000: 350, 10_000: 9300}),
    Curve("epoll", 2010, {10: 4.1, 100: 4.2, 1000: 5.3, 10_000: 6.6}),
)
