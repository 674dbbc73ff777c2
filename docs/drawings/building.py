"""
The drawings of the chapters on building: a round, the order of rounds, dependencies of
modules, a results file, and the parts of reactors and services.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, BLANK, KERNEL, PROGRAM, Sheet
from iodemo.report.style import QUIET


def aRound() -> Figure:
    """
    One round as a time line: the steps of server and load, and the timed one.
    """
    sheet = Sheet(38)
    sheet.text(9, 2, "server", bold=True)
    sheet.text(9, 3.9, "on a core", small=True)
    sheet.text(34, 2, "load", bold=True)
    sheet.text(34, 3.9, "on another core", small=True)
    server = (
        (5.2, 5, "starts, listens", BLANK),
        (10.4, 21.4, "serves", PROGRAM),
        (32, 4.6, "ends well", BLANK),
    )
    for top, height, text, fill in server:
        sheet.box(1, top, 16, height, text, fill=fill, small=True)
    load = (
        (5.2, 5, "starts, waits", BLANK, False),
        (10.4, 5, "verifies, byte by byte", BLANK, False),
        (15.6, 4, "warms up", BLANK, False),
        (19.8, 6.8, "measured window", PROGRAM, True),
        (26.8, 5, "system calls counted", BLANK, False),
        (32, 4.6, "reports", BLANK, False),
    )
    for top, height, text, fill, bold in load:
        sheet.box(20, top, 28, height, text, fill=fill, small=True, bold=bold)
    sheet.arrow((20, 13), (17, 13), both=True)
    sheet.arrow((20, 23), (17, 23), both=True)
    sheet.arrow((20, 29), (17, 29), both=True)
    for at in (19.8, 26.6):
        sheet.line((48, at), (63, at), dashed=True)
    sheet.text(50, 23.2, "only this\nis timed", small=True, align="left", color=ACCENT)
    sheet.text(50, 29.3, "after the\nlast round", small=True, align="left")
    sheet.text(50, 13, "once wrong:\nno number", small=True, align="left")
    return sheet.figure


def interleaved() -> Figure:
    """
    Rounds of several backends, in an order that is shuffled for each repetition.
    """
    sheet = Sheet(25.5)
    orders = (
        ("1st", ("epoll", "poll", "epoll'", "uring")),
        ("2nd", ("poll", "uring", "epoll", "epoll'")),
        ("3rd", ("epoll'", "epoll", "uring", "poll")),
        ("4th", ("uring", "epoll'", "poll", "epoll")),
    )
    sheet.arrow((9, 1.4), (62, 1.4), "")
    sheet.text(1, 1.4, "time", small=True, align="left")
    for row, (name, order) in enumerate(orders):
        top = 3.4 + 4.6 * row
        sheet.text(1, top + 1.8, name, small=True, align="left", bold=True)
        for column, backend in enumerate(order):
            first = backend.startswith("epoll")
            sheet.box(
                9 + 13.4 * column,
                top,
                12.4,
                3.6,
                backend,
                fill=BLANK if first else PROGRAM,
                small=True,
                dashed=backend.endswith("'"),
            )
    note = "epoll': the baseline, measured a second time"
    sheet.text(1, 23.6, note, small=True, align="left")
    return sheet.figure


def modules() -> Figure:
    """
    The parts of iodemo, and which of them starts, writes or reads another.
    """
    sheet = Sheet(35)
    sheet.region(1, 1, 39, 11, "twistd, a process", KERNEL)
    sheet.box(2.5, 5, 17, 5.4, "a service", fill=PROGRAM)
    sheet.box(21.5, 5, 17, 5.4, "a reactor", fill=PROGRAM)
    sheet.region(47, 1, 16, 11, "a process", KERNEL)
    sheet.box(48.5, 5, 13, 5.4, "the load", fill=PROGRAM)
    sheet.arrow((47, 7.7), (40, 7.7), both=True)
    sheet.box(1, 18, 62, 4.6, "the laboratory", fill=PROGRAM)
    sheet.arrow((20, 18), (20, 12))
    sheet.arrow((55, 18), (55, 12))
    sheet.text(37.5, 15, "starts, reads reports", small=True)
    sheet.arrow((20, 22.6), (20, 28))
    sheet.text(21.5, 25.3, "writes", small=True, align="left")
    sheet.box(9, 28, 22, 5, "results.json", fill=BLANK)
    sheet.box(42, 28, 21, 5, "the report", fill=PROGRAM)
    sheet.arrow((42, 30.5), (31, 30.5), "reads")
    return sheet.figure


def resultsFile() -> Figure:
    """
    The contents of a results file.
    """
    sheet = Sheet(40)
    sheet.region(1, 1, 62, 38, "results.json", KERNEL)
    sheet.box(3, 4.4, 58, 4, "environment, plan", fill=BLANK)
    sheet.box(3, 9.8, 58, 17.4, fill=BLANK)
    sheet.text(4.5, 11.8, "cells", bold=True, align="left")
    sheet.text(15, 11.8, "a backend at a point, each", small=True, align="left")
    for left, name in ((5, "a round"), (17.5, "a round"), (30, "...")):
        sheet.box(left, 14.2, 11.5, 4.2, name, fill=PROGRAM, small=True)
    sheet.arrow((23, 18.4), (23, 21.6))
    sheet.text(24.5, 20, "median, interval", small=True, align="left")
    sheet.box(5, 21.6, 36.5, 4.2, "summary, by metric", fill=PROGRAM, small=True)
    sheet.box(43.5, 14.2, 16, 11.6, "next cell", fill=BLANK, small=True, dashed=True)
    sheet.arrow((23, 27.2), (23, 31))
    sheet.text(24.5, 29.2, "ratio, interval, verdict", small=True, align="left")
    sheet.box(3, 31, 28, 6, "comparisons", fill=PROGRAM)
    sheet.box(33, 31, 28, 6, "noise", fill=PROGRAM)
    return sheet.figure


def reactors() -> Figure:
    """
    The layers of a reactor, on readiness and on completions; the author's own in bold.
    """
    sheet = Sheet(38)
    sheet.text(16, 1.8, "on readiness", bold=True)
    sheet.text(48, 1.8, "on completions", bold=True)
    rows = (
        ("protocol", "protocol", BLANK),
        ("Twisted's\ntransports", "transports\non operations", BLANK),
        ("ReadinessReactor", "CompletionReactor", BLANK),
        ("watch, wait", "ICompletionQueue", PROGRAM),
        ("poll, epoll ...", "io_uring ...", KERNEL),
    )
    tops = (3.6, 10.2, 17.4, 24, 31.6)
    for top, (left, right, fill) in zip(tops, rows, strict=True):
        height = 5.6 if "\n" in left else 5
        yours = fill == PROGRAM
        sheet.box(1, top, 30, height, left, fill=fill, bold=yours)
        sheet.box(33, top, 30, height, right, fill=fill, bold=yours)
    for x in (16, 48):
        for top, bottom in ((8.6, 10.2), (15.8, 17.4), (22.4, 24)):
            sheet.line((x, top), (x, bottom), color=QUIET)
        sheet.arrow((x, 29), (x, 31.6))
    return sheet.figure


def service() -> Figure:
    """
    From the command line to a connection.
    """
    sheet = Sheet(33)
    command = "twistd --reactor=epoll shout --listen tcp:8007"
    sheet.box(1, 1, 62, 4, command, fill=KERNEL, small=True)
    sheet.arrow((12, 5), (12, 9))
    sheet.box(1, 9, 22, 4.6, "Options", fill=PROGRAM)
    sheet.text(12, 15.4, "parsed arguments", small=True)
    sheet.arrow((23, 11.3), (31, 11.3))
    sheet.box(31, 9, 32, 4.6, "makeService", fill=PROGRAM)
    sheet.arrow((47, 13.6), (47, 18.4))
    sheet.text(45.8, 16, "listens, has", small=True, align="right")
    sheet.box(31, 18.4, 32, 4.6, "factory", fill=PROGRAM)
    sheet.arrow((47, 23), (47, 27.4))
    sheet.text(45.8, 25.1, "makes, for each connection", small=True, align="right")
    sheet.box(31, 27.4, 32, 4.6, "protocol", fill=PROGRAM)
    return sheet.figure


DRAWINGS = {
    "round": aRound,
    "interleaved": interleaved,
    "modules": modules,
    "results-file": resultsFile,
    "reactor-parts": reactors,
    "service-parts": service,
}
