"""
The drawing of the chapter on a thread or a process per connection.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, BLANK, KERNEL, PROGRAM, Sheet

_THREADS = (21.4, 35.5, 49.6)
_WIDTH = 13.2
_RUNNING = 1


def threadPerConnection() -> Figure:
    """
    One thread accepts; one for each connection waits in recv; the kernel's scheduler
    wakes the one whose socket has data.
    """
    sheet = Sheet(57)
    sheet.region(0, 0, 64, 27, "program", PROGRAM)
    sheet.region(0, 29, 64, 21.5, "kernel", KERNEL)

    sheet.box(1.5, 4, 12, 7, "accept", fill=BLANK)
    sheet.box(1.5, 33, 12, 15.5, "listening\nsocket", fill=BLANK)
    sheet.arrow((7.5, 33), (7.5, 11))
    sheet.text(8.3, 22, "a new\none", small=True, align="left")
    sheet.arrow((13.5, 7.5), (_THREADS[0], 7.5), "starts")

    for number, left in enumerate(_THREADS):
        runs = number == _RUNNING
        middle = left + _WIDTH / 2
        sheet.box(left, 4, _WIDTH, 21, fill=BLANK)
        sheet.text(middle, 6.5, f"thread {number + 1}", bold=True)
        sheet.text(middle, 10.5, "its stack", small=True)
        if not runs:
            sheet.waiting(left + 1, 13.5, _WIDTH - 2, 10)
        fill = PROGRAM if runs else "none"
        sheet.box(left + 1, 13.5, _WIDTH - 2, 10, fill=fill)
        if runs:
            sheet.text(middle, 18.5, "runs", small=True)
        else:
            sheet.box(left + 2.2, 15.3, _WIDTH - 4.4, 6.4, fill=BLANK)
            sheet.text(middle, 18.5, "sleeps\nin recv", small=True)
        sheet.box(left, 42.5, _WIDTH, 6, f"socket {number + 1}", fill=BLANK)
        if runs:
            sheet.arrow((middle, 33), (middle, 25), color=ACCENT)
            sheet.text(middle + 1, 31, "wakes", small=True, align="left", color=ACCENT)
            sheet.arrow((middle, 42.5), (middle, 37.5), color=ACCENT)
            sheet.arrow((middle, 53), (middle, 48.5), color=ACCENT)
            sheet.text(middle, 54.7, "data arrives", small=True, color=ACCENT)
        else:
            sheet.line((middle, 25), (middle, 33), dashed=True, zorder=2)
    left, right = _THREADS[0], _THREADS[-1] + _WIDTH
    sheet.box(left, 33, right - left, 4.5, "scheduler: select a thread", fill=BLANK)
    return sheet.figure


DRAWINGS = {"thread-per-connection": threadPerConnection}
