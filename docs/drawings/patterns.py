"""
The drawings of the chapter on I/O patterns.
"""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, INK, KERNEL, PROGRAM, Sheet

_LEFT, _RIGHT = 12.0, 62.5
_ARRIVES = 38.0
_PROGRAM, _KERNEL, _HEIGHT = 3.4, 12.0, 3.6
_PANEL = 20.0
_TOP = 4.5


def fourWays() -> Figure:
    """
    The program and the kernel during one receive: with a blocking call, with repeated
    calls, after readiness, and with a completion.
    """
    ways: list[tuple[str, Callable[[_Lanes], None]]] = [
        ("1  block in the call", _blocking),
        ("2  repeat the call", _repeating),
        ("3  wait until ready, then call", _ready),
        ("4  submit, then wait", _completion),
    ]
    bottom = _TOP + _PANEL * (len(ways) - 1) + _KERNEL + _HEIGHT
    sheet = Sheet(bottom + 1.0)
    sheet.line((_ARRIVES, 3.0), (_ARRIVES, bottom), dashed=True, color=ACCENT, zorder=2)
    sheet.text(_ARRIVES, 1.6, "data arrives", small=True, color=ACCENT)
    for number, (title, draw) in enumerate(ways):
        lanes = _Lanes(sheet, _TOP + number * _PANEL, title)
        draw(lanes)
    return sheet.figure


class _Lanes:
    """
    Two time lines: the program's above the kernel's.
    """

    def __init__(self, sheet: Sheet, top: float, title: str) -> None:
        self.sheet = sheet
        self.above = top + _PROGRAM
        self.below = top + _KERNEL
        sheet.text(0.5, top + 1.0, title, bold=True, align="left")
        for name, at in (("program", self.above), ("kernel", self.below)):
            middle = at + _HEIGHT / 2
            sheet.text(0.5, middle, name, small=True, align="left")
            sheet.line((_LEFT, middle), (_RIGHT, middle))

    def runs(self, start: float, end: float) -> None:
        """
        The program runs.
        """
        self.sheet.box(start, self.above, end - start, _HEIGHT, fill=PROGRAM)

    def waits(self, start: float, end: float) -> None:
        """
        The program sleeps.
        """
        self.sheet.waiting(start, self.above, end - start, _HEIGHT)
        self.sheet.box(start, self.above, end - start, _HEIGHT, fill="none")

    def works(self, start: float, end: float) -> None:
        """
        The kernel works for the program.
        """
        self.sheet.box(start, self.below, end - start, _HEIGHT, fill=KERNEL)

    def keeps(self, start: float, end: float) -> None:
        """
        The kernel keeps the request until data arrives.
        """
        self.sheet.box(start, self.below, end - start, _HEIGHT, dashed=True)

    def calls(self, at: float) -> None:
        """
        An arrow for a system call, from the program to the kernel.
        """
        self.sheet.arrow((at, self.above + _HEIGHT), (at, self.below))

    def returns(self, at: float, data: bool = False) -> None:
        """
        An arrow for its return; coloured if it brings data.
        """
        color = ACCENT if data else INK
        self.sheet.arrow((at, self.below), (at, self.above + _HEIGHT), color=color)

    def label(self, at: float, text: str, align: str = "center") -> None:
        """
        A text between the two time lines.
        """
        middle = (self.above + _HEIGHT + self.below) / 2
        self.sheet.text(at, middle, text, small=True, align=align)


def _blocking(lanes: _Lanes) -> None:
    lanes.runs(_LEFT, 15)
    lanes.waits(15, 42)
    lanes.runs(42, _RIGHT)
    lanes.keeps(15, _ARRIVES)
    lanes.works(_ARRIVES, 42)
    lanes.calls(15)
    lanes.label(16, "recv", "left")
    lanes.returns(42, data=True)
    lanes.label(43.2, "data", "left")


def _repeating(lanes: _Lanes) -> None:
    lanes.runs(_LEFT, _RIGHT)
    for at in (14.0, 24.5, 35.0):
        lanes.works(at, at + 1.8)
        lanes.calls(at)
        lanes.returns(at + 1.8)
        if at < 35:
            lanes.label(at + 2.8, "EAGAIN", "left")
    lanes.works(46, 48.5)
    lanes.calls(46)
    lanes.label(45.2, "recv", "right")
    lanes.returns(48.5, data=True)
    lanes.label(49.7, "data", "left")


def _ready(lanes: _Lanes) -> None:
    lanes.runs(_LEFT, 15)
    lanes.waits(15, 39.8)
    lanes.runs(39.8, _RIGHT)
    lanes.keeps(15, _ARRIVES)
    lanes.works(_ARRIVES, 39.8)
    lanes.calls(15)
    lanes.label(16, "poll, for all sockets", "left")
    lanes.returns(39.8)
    lanes.label(40.8, "ready", "left")
    lanes.works(52.5, 55)
    lanes.calls(52.5)
    lanes.label(51.7, "recv", "right")
    lanes.returns(55, data=True)
    lanes.label(56.2, "data", "left")


def _completion(lanes: _Lanes) -> None:
    lanes.runs(_LEFT, 27)
    lanes.waits(27, 42)
    lanes.runs(42, _RIGHT)
    lanes.keeps(14, _ARRIVES)
    lanes.works(_ARRIVES, 42)
    lanes.calls(14)
    lanes.label(15, "receive", "left")
    lanes.calls(27)
    lanes.label(28, "wait", "left")
    lanes.returns(42, data=True)
    lanes.label(43.2, "done, and data", "left")


DRAWINGS = {"four-ways": fourWays}
