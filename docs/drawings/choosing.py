"""
The drawing of the chapter on choosing a reactor.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import PROGRAM, Sheet

_QUESTIONS = (
    ("Does a request cost ten times\nthe CPU time of an echo?", "keep yours"),
    ("Does the program need asyncio?", "uring-asyncio"),
    ("Is the traffic something else\nthan TCP or UNIX connections?", "epoll"),
    ("Do kernel, container and your\nown rules allow io_uring?", "uring"),
)


def _decision() -> Figure:
    """
    The questions, in order, and the reactor for each answer.
    """
    step = 11.5
    sheet = Sheet(step * len(_QUESTIONS) + 6)
    for number, (question, answer) in enumerate(_QUESTIONS):
        top = 0.6 + step * number
        sheet.box(0.6, top, 40, 7, question)
        sheet.arrow((40.6, top + 3.5), (47, top + 3.5), "yes")
        sheet.box(47, top + 1, 16.4, 5, answer, fill=PROGRAM, bold=True)
        sheet.arrow((20.6, top + 7), (20.6, top + step))
        sheet.text(22, top + 9.2, "no", small=True, align="left")
    last = 0.6 + step * len(_QUESTIONS)
    sheet.box(12.4, last, 16.4, 5, "proactor", fill=PROGRAM, bold=True)
    return sheet.figure


DRAWINGS = {"choosing": _decision}
