"""
The drawings of the chapter on multiplexing.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, BLANK, KERNEL, PROGRAM, Sheet

_READY = "#f7c9a0"


def _sockets(sheet: Sheet, top: float, ready: tuple[int, ...]) -> list[float]:
    """
    A row of eight sockets, some of them with data.

    @param ready: the numbers of those with data, from 1.
    @return: the horizontal middle of each, in units.
    """
    middles = []
    for number in range(1, 9):
        left = 3.4 + (number - 1) * 7.3
        has = number in ready
        sheet.box(
            left,
            top,
            6.1,
            4.2,
            f"{number} ■" if has else str(number),
            fill=_READY if has else BLANK,
            bold=has,
        )
        middles.append(left + 3.05)
    return middles


def idea() -> Figure:
    """
    One thread waits for all of its connections in one call.
    """
    sheet = Sheet(36.5)
    sheet.region(1, 0.6, 62, 14.2, "program, one thread", PROGRAM)
    sheet.box(2.6, 4.2, 17.5, 8.6, "wait for any\nof 1 to 8", bold=True)
    sheet.box(25.2, 4.2, 13.6, 8.6, "returns\n3 and 6")
    sheet.box(43.9, 4.2, 17.5, 8.6, "receive from 3,\nreceive from 6")
    sheet.arrow((20.1, 8.5), (25.2, 8.5))
    sheet.arrow((38.8, 8.5), (43.9, 8.5))
    sheet.region(1, 19, 62, 10.6, "kernel: a buffer for each connection", KERNEL)
    middles = _sockets(sheet, 23.6, (3, 6))
    sheet.arrow((11.3, 12.8), (11.3, 19))
    sheet.text(12.6, 16.9, "one call, which may sleep", small=True, align="left")
    for middle in (middles[2], middles[5]):
        sheet.arrow((middle, 34.4), (middle, 27.8), color=ACCENT)
    sheet.text(32, 33.2, "data\narrives", small=True)
    return sheet.figure


def scan() -> Figure:
    """
    The kernel's work in a call of select or poll, and in a call of epoll_wait.
    """
    sheet = Sheet(75)
    sheet.text(1, 1.8, "select, poll: each call checks all", bold=True, align="left")
    sheet.box(1, 4, 62, 5, "the list of all, in every call", fill=PROGRAM)
    sheet.arrow((10, 9), (10, 15))
    sheet.text(11.3, 12, "copied in", small=True, align="left")
    sheet.arrow((42, 15), (42, 9))
    sheet.text(43.3, 12, "a result for each", small=True, align="left")
    sheet.region(1, 15, 62, 16, "kernel", KERNEL)
    middles = _sockets(sheet, 25, (3, 6))
    sheet.arrow((3.4, 22.6), (60.6, 22.6), "ready? ready? ready? …", 1.5, color=ACCENT)
    for middle in middles:
        sheet.line((middle, 22.6), (middle, 25), color=ACCENT, width=1.3, zorder=3)

    top = 36
    sheet.text(
        1,
        top + 1.8,
        "epoll: a callback records each ready one",
        bold=True,
        align="left",
    )
    sheet.box(1, top + 4, 29.5, 5, "epoll_ctl, once for each", fill=PROGRAM)
    sheet.box(33.5, top + 4, 29.5, 5, "epoll_wait", fill=PROGRAM)
    sheet.arrow((10, top + 9), (10, top + 15))
    sheet.text(11.3, top + 12, "watch this", small=True, align="left")
    sheet.arrow((53, top + 18.2), (53, top + 9))
    sheet.text(51.8, top + 12, "only these", small=True, align="right")
    sheet.region(1, top + 15, 62, 23.5, "kernel", KERNEL)
    sheet.box(43, top + 18.2, 17.6, 4.6, "ready: 3, 6", fill=_READY, bold=True)
    sheet.text(41.6, top + 20.5, "ready list", small=True, align="right")
    middles = _sockets(sheet, top + 30.3, (3, 6))
    sheet.arrow((middles[2], top + 30.3), (47, top + 22.8), color=ACCENT)
    sheet.arrow((middles[5], top + 30.3), (52, top + 22.8), color=ACCENT)
    sheet.text(16, top + 25.6, "data arrives:\na callback", small=True, color=ACCENT)
    sheet.text(3.4, top + 36.6, "the interest list", small=True, align="left")
    return sheet.figure


def triggers() -> Figure:
    """
    The calls of epoll_wait that report a level, and those that report an edge.
    """
    sheet = Sheet(39)
    columns = (18.2, 29.9, 41.6, 53.3)
    steps = ("2 bytes\narrive", "1 is\nread", "1 more\narrives", "2 are\nread")
    buffered = (2, 1, 2, 0)
    level = (True, True, True, False)
    edge = (True, False, True, False)
    for left, step, count in zip(columns, steps, buffered, strict=True):
        sheet.text(left + 4.8, 2.8, step, small=True)
        sheet.box(left, 6, 9.6, 7.6, fill=KERNEL)
        for number in range(count):
            sheet.box(left + 1.6, 10.2 - number * 3.4, 6.4, 2.6, fill=_READY)
    sheet.text(1, 9.8, "in the\nbuffer", align="left", small=True)
    sheet.text(1, 17.6, "Then epoll_wait is called:", align="left", small=True)
    for top, name, reported in (
        (21, "level-\ntriggered", level),
        (30.5, "edge-\ntriggered", edge),
    ):
        sheet.text(1, top + 3.8, name, align="left", small=True, bold=True)
        for left, isReady in zip(columns, reported, strict=True):
            sheet.box(
                left,
                top,
                9.6,
                7.6,
                "ready" if isReady else "silent",
                fill=PROGRAM if isReady else BLANK,
                bold=isReady,
                dashed=not isReady,
            )
    return sheet.figure


DRAWINGS = {
    "multiplexing-idea": idea,
    "multiplexing-scan": scan,
    "multiplexing-triggers": triggers,
}
