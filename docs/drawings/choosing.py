"""
The drawing of the chapter on choosing a reactor.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import BLANK, PROGRAM, Sheet

_QUESTIONS = (
    ("Is most of the CPU time in your\nown code, or in TLS?", "keep what you have"),
    ("Do you depend on asyncio?", "asyncio"),
    ("Must every test pass,\nand nobody compiles?", "epoll"),
    ("Do kernel and container\nallow io_uring (6.1)?", "uring"),
)


def _decision() -> Figure:
    """
    What to ask, in order, and what each answer leads to.
    """
    sheet = Sheet(12 * len(_QUESTIONS) + 6)
    for number, (question, answer) in enumerate(_QUESTIONS):
        top = 1 + 12 * number
        sheet.box(1, top, 38, 7, question, fill=BLANK)
        sheet.arrow((39, top + 3.5), (46, top + 3.5), "yes")
        sheet.box(46, top + 0.5, 17, 6, answer, fill=PROGRAM, small=True)
        sheet.arrow((20, top + 7), (20, top + 12))
        sheet.text(21.5, top + 9.5, "no", small=True, align="left")
    sheet.box(11, 1 + 12 * len(_QUESTIONS), 18, 4.6, "proactor", fill=PROGRAM)
    return sheet.figure


DRAWINGS = {"choosing": _decision}
