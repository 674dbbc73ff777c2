"""
The drawing of the chapter on the paper.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, KERNEL, PROGRAM, Sheet


def mechanisms() -> Figure:
    """
    The mechanism of the paper beside that of epoll.
    """
    sheet = Sheet(58)
    for left, title, declare, waiting, belongs, interest, queue, kept in (
        (
            1.0,
            "the paper, 1999",
            "declare_\ninterest(fd)",
            "get_next_\nevent()",
            "of a thread",
            "interested in:\n1, 2, … 2000",
            "event queue:\n“3 got data”",
            "(reported once)",
        ),
        (
            33.0,
            "epoll, 2002",
            "epoll_ctl\n(ep, fd)",
            "epoll_wait\n(ep)",
            "of a descriptor, ep",
            "interest list:\n1, 2, … 2000",
            "ready list: 3",
            "(level: kept while ready;\nedge: reported once)",
        ),
    ):
        sheet.text(left + 15, 1.9, title, bold=True)
        sheet.box(left, 4, 14.4, 7.2, declare, fill=PROGRAM, small=True)
        sheet.box(left + 15.6, 4, 14.4, 7.2, waiting, fill=PROGRAM, small=True)
        sheet.region(left, 16, 30, 34.5, "kernel, " + belongs, KERNEL)
        sheet.arrow((left + 2.5, 11.2), (left + 2.5, 40.5))
        sheet.text(left + 3.8, 13.6, "once", small=True, align="left")
        sheet.arrow((left + 27.5, 20.5), (left + 27.5, 11.2))
        sheet.text(left + 26.4, 13.6, "each time", small=True, align="right")
        sheet.box(left + 4.5, 20.5, 24.5, 9.5, queue + "\n" + kept, small=True)
        sheet.box(left + 1, 40.5, 28, 7, interest, small=True)
        sheet.arrow((left + 10, 40.5), (left + 10, 30), color=ACCENT)
        sheet.text(left + 11.3, 35.3, "3 becomes ready", small=True, align="left")
    sheet.text(
        32,
        54.4,
        "Both keep the watched set in the kernel,\nand check no idle descriptor.",
        small=True,
    )
    return sheet.figure


DRAWINGS = {"paper-mechanisms": mechanisms}
