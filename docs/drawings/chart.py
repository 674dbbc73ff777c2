"""
The drawing of the chapter on what epoll improves.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, BLANK, KERNEL, PROGRAM, Sheet

_SOCKETS = 8
_READY = 5


def _why() -> Figure:
    """
    The sockets that a call of poll checks, and the list that epoll_wait reads.
    """
    sheet = Sheet(40)
    sheet.region(0, 0, 64, 12, "process", PROGRAM)
    sheet.region(0, 12, 64, 28, "", KERNEL)
    sheet.text(0.8, 38.2, "kernel", small=True, bold=True, align="left")
    for left, name in ((1.5, "poll, all 8"), (34.5, "epoll_wait")):
        sheet.box(left + 4, 4, 20, 5, name, bold=True)
        for number in range(_SOCKETS):
            x = left + 0.4 + 3.5 * number
            isReady = number == _READY
            sheet.box(x, 28, 2.8, 2.8, fill=ACCENT if isReady else BLANK)
    for number in range(_SOCKETS):
        sheet.arrow((15.5, 16.5), (3.3 + 3.5 * number, 27.6))
    sheet.line((15.5, 9), (15.5, 16.5), color="#1c1c1c", zorder=3)
    sheet.text(15.5, 34, "checks every socket,\nevery time", small=True)
    x = 34.5 + 0.4 + 3.5 * _READY + 1.4
    sheet.box(40, 17, 21, 4.6, "list of ready sockets", small=True)
    sheet.arrow((48.5, 9), (48.5, 16.8))
    sheet.arrow((x, 27.8), (x, 21.8), color=ACCENT)
    sheet.text(48.5, 34, "a callback put it there\nwhen data arrived", small=True)
    return sheet.figure


DRAWINGS = {"chart-why": _why}
