"""
The drawings of the chapter on asynchronous I/O.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from drawings.shapes import ACCENT, INK, KERNEL, PROGRAM, Sequence, Sheet


def _who() -> Figure:
    """
    Where an operation waits, in the three asynchronous interfaces of Linux.
    """
    sheet = Sheet(42)
    sheet.region(0, 0, 64, 21, "process", PROGRAM)
    sheet.region(0, 21, 64, 21, "", KERNEL)
    sheet.text(0.8, 40.4, "kernel", small=True, bold=True, align="left")
    for left, name in ((1, "POSIX AIO"), (22.3, "kernel AIO"), (43.6, "io_uring")):
        sheet.text(left + 9.7, 4.6, name, bold=True)
    # POSIX AIO: threads of glibc.
    sheet.box(2, 7, 17.4, 4, "aio_read, 3 times", small=True)
    for number in range(3):
        x = 5 + 5.7 * number
        sheet.arrow((x, 11), (x, 13.6))
        sheet.waiting(x - 1.4, 13.6, 2.8, 15)
        sheet.box(x - 1.4, 13.6, 2.8, 15, fill="none")
        sheet.line((x, 28.6), (x, 31), color=INK, zorder=2)
    sheet.box(2, 31, 17.4, 3.6, "3 sockets", small=True)
    sheet.text(10.7, 36.6, "a thread waits\nfor each", small=True)
    # Kernel AIO: a disk.
    sheet.box(23.3, 7, 17.4, 4, "io_submit", small=True)
    sheet.arrow((28, 11), (28, 30.6))
    sheet.arrow((36, 30.6), (36, 11))
    sheet.box(24.3, 31, 15.4, 3.6, "file, O_DIRECT", small=True)
    sheet.text(32, 36.6, "the disk works,\nno thread waits", small=True)
    # io_uring: rings between program and kernel.
    sheet.box(44.6, 7, 17.4, 4, "io_uring_enter", small=True)
    sheet.box(45.2, 15, 7.4, 11.6, "entries", small=True)
    sheet.box(54, 15, 7.4, 11.6, "results", small=True)
    sheet.arrow((48.9, 11), (48.9, 14.7))
    sheet.arrow((48.9, 26.8), (48.9, 30.6))
    sheet.arrow((57.7, 30.6), (57.7, 26.8))
    sheet.arrow((57.7, 14.7), (57.7, 11))
    sheet.box(44.6, 31, 17.4, 3.6, "sockets and files", small=True)
    sheet.text(53.3, 36.6, "the kernel watches\nall of them", small=True)
    return sheet.figure


def _iteration() -> Figure:
    """
    An iteration of the reactor, with three connections.
    """
    drawn = Sequence(66, {"protocols": 8, "ring": 34, "kernel": 57})
    drawn.sheet.text(10, 7.6, "written before:", small=True, align="left")
    drawn.message(12, "protocols", "ring", "A: write, B: write")
    drawn.busy("protocols", 6, 13)
    drawn.message(18, "ring", "kernel", "2 entries")
    drawn.sheet.text(45, 20, "io_uring_enter", small=True, code=True, color=ACCENT)
    drawn.busy("kernel", 18, 26)
    drawn.note(24, "kernel", "sends A, sends B", right=False)
    drawn.busy("kernel", 26, 32, waiting=True)
    drawn.note(29, "kernel", "waits, if there\nis no result", right=False)
    drawn.busy("kernel", 32, 43)
    drawn.note(36, "kernel", "receives A, B into\nbuffers; C has ended", right=False)
    drawn.message(43, "kernel", "ring", "3 results", returning=True)
    drawn.message(49, "ring", "protocols", "A: dataReceived", returning=True)
    drawn.message(53, "ring", "protocols", "B: dataReceived", returning=True)
    drawn.message(57, "ring", "protocols", "C: connectionLost", returning=True)
    drawn.busy("protocols", 49, 61)
    drawn.message(63, "protocols", "ring", "A: write, B: write")
    return drawn.sheet.figure


DRAWINGS = {"aio-who": _who, "aio-iteration": _iteration}
