# -*- test-case-name: tests.test_report -*-
"""
Numbers as text: in which unit, and with how many digits.

The noise of a run leaves three significant digits. This module imports nothing of
iodemo, so that every package can show numbers the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal


def count(value: float) -> str:
    """
    A number of things, to three significant digits or, when whole, in full.
    """
    if value >= 1e12:
        return f"{value:.2e}"
    if value != int(value):
        value = float(f"{value:.3g}")
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    # Without an exponent, as long as the zeros can be counted.
    said = f"{value:.3g}"
    return f"{Decimal(said):f}" if abs(value) >= 1e-7 else said


def rate(value: float) -> str:
    """
    A measured rate, to three significant digits.
    """
    return count(float(f"{value:.3g}"))


def duration(microseconds: float) -> str:
    """
    A time, in the unit that keeps it short.
    """
    return _scaled(microseconds, ((1.0, "µs"), (1e3, "ms"), (1e6, "s")))


def memory(kib: float) -> str:
    """
    A size in KiB, in the unit that keeps it short.
    """
    return _scaled(kib, ((1.0, "KiB"), (2.0**10, "MiB"), (2.0**20, "GiB")))


def size(bytes: float) -> str:
    """
    A size in bytes, in the unit that keeps it short.
    """
    return _scaled(bytes, ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB")))


def few(value: float) -> str:
    """
    A small number of things, which is seldom whole, to two significant digits.
    """
    return count(float(f"{value:.2g}"))


def percent(fraction: float) -> str:
    """
    A fraction, in full percents.
    """
    return f"{count(round(100 * min(fraction, 1e12)))} %"


def ratio(value: float) -> str:
    """
    A ratio: two decimals from 0.1 to 99.5, otherwise two significant digits.
    """
    return f"{value:.2f}" if 0.1 <= value < 99.5 else few(value)


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    # 999.6 would be said with four digits: it is one of the next unit.
    fitting = [unit for unit in units if value / unit[0] < 999.5]
    scale, unit = fitting[0] if fitting else units[-1]
    scaled = value / scale
    if scaled >= 999.5:
        return f"{count(scaled)} {unit}"
    digits = f"{scaled:#.3g}".rstrip(".") if scaled >= 0.01 else f"{scaled:.1g}"
    return f"{digits} {unit}"
