"""
The drawing of the chapter on C10K, Reactor and Proactor.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, KERNEL, Sequence, Sheet

# The kernel has a life in both diagrams, and a sequence needs two different names.
_KERNEL = "kernel "


def reactorAndProactor() -> Figure:
    """
    The messages of one receive in the two patterns, side by side.
    """
    lives = {
        "handler": 5.2,
        "reactor": 16.4,
        "kernel": 27.2,
        "owner": 36.8,
        "proactor": 47.6,
        _KERNEL: 58.8,
    }
    sequence = Sequence(50, lives, top=4.2)
    sheet = sequence.sheet
    sheet.text(16.4, 2.0, "Reactor", bold=True)
    sheet.text(47.6, 2.0, "Proactor", bold=True)
    sheet.line((32.0, 0.5), (32.0, 49.5))
    for kernel in ("kernel", _KERNEL):
        _dataArrives(sheet, lives[kernel], 25)

    sequence.busy("handler", 11.5, 14)
    sequence.message(12.5, "handler", "reactor", "watch")
    sequence.busy("reactor", 19.5, 30.5, waiting=True)
    sequence.message(20.5, "reactor", "kernel", "wait")
    sequence.message(30, "kernel", "reactor", "ready", returning=True)
    sequence.busy("handler", 34.5, 48)
    sequence.message(35.5, "reactor", "handler", "ready")
    _works(sheet, lives["kernel"], 40, 46)
    sequence.message(40.5, "handler", "kernel", "")
    sequence.message(45.5, "kernel", "handler", "", returning=True)
    # Beside the middle of the arrow, where the line of the reactor's life is.
    sheet.text(21.8, 39.1, "recv", small=True)
    sheet.text(21.8, 44.1, "data", small=True)

    sequence.busy("owner", 11.5, 14)
    sequence.message(12.5, "owner", "proactor", "receive")
    sequence.message(16.5, "proactor", _KERNEL, "receive")
    sequence.busy("proactor", 19.5, 33, waiting=True)
    sequence.message(20.5, "proactor", _KERNEL, "wait")
    _works(sheet, lives[_KERNEL], 25, 33)
    sequence.message(32.5, _KERNEL, "proactor", "data", returning=True)
    sequence.busy("owner", 36.5, 48)
    sequence.message(37.5, "proactor", "owner", "data")
    return sheet.figure


def _dataArrives(sheet: Sheet, x: float, at: float) -> None:
    sheet.arrow((x + 4.2, at), (x + 0.9, at), color=ACCENT)
    sheet.text(x - 1.4, at, "arrives", small=True, align="right", color=ACCENT)


def _works(sheet: Sheet, x: float, top: float, bottom: float) -> None:
    sheet.box(x - 0.8, top, 1.6, bottom - top, fill=KERNEL)


DRAWINGS = {"reactor-and-proactor": reactorAndProactor}
