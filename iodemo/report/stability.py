# -*- test-case-name: tests.test_report -*-
"""
How far a run can be trusted: the noise it measured, and what in it is unstable.
"""

from __future__ import annotations

from collections.abc import Iterable

from iodemo.doctor import STEAL_ALLOWED
from iodemo.report import select
from iodemo.results import quantities, statistics
from iodemo.results.schema import Cell, Comparison, Located, Results, Where, placeOf
from iodemo.results.statistics import VARIATION_ALLOWED

Noise = dict[tuple[Where, str], Comparison]


def noiseTable(results: Results) -> Noise:
    """
    The noise of a run, for L{at}.
    """
    return {(placeOf(each), each["metric"]): each for each in results.get("noise", [])}


def at(noise: Noise, located: Located, metric: str) -> Comparison | None:
    """
    The noise in one metric at one point.
    """
    return noise.get((placeOf(located), metric))


def factor(found: Comparison) -> float:
    """
    The noise band: a ratio that is below this factor and above its inverse is no
    difference.
    """
    return statistics.band(found["low"], found["high"])


def noiseSaid(found: Comparison) -> tuple[str, str]:
    """
    The band, and the ratio of the baseline to itself, from which it is computed.
    """
    low, high = map(quantities.ratio, select.between(found))
    said = f"×{quantities.ratio(found['ratio'])} ({low}–{high})"  # noqa: RUF001
    return (
        f"×{quantities.ratio(factor(found))}",  # noqa: RUF001
        f"{said}, which is a difference" if differs(found) else said,
    )


def differs(found: Comparison) -> bool:
    """
    Whether the two measurements of the baseline are called different.
    """
    return found["verdict"] != "indistinguishable"


def unstable(cells: Iterable[Cell]) -> list[str]:
    """
    The backends whose rounds differ too much, and how much.
    """
    spreads = {
        cell["backend"]: statistics.variation(_throughputs(cell))
        for cell in cells
        if cell["status"] == "ok"
    }
    return [
        f"{name} {_percent(spread)}"
        for name, spread in spreads.items()
        if spread > VARIATION_ALLOWED
    ]


def noiseNote(results: Results) -> str | None:
    """
    The meaning of noise, if it was measured.
    """
    for each in results.get("noise", []):
        return (
            f"Noise: {each['backend']} was measured twice. A ratio that is nearer to 1 "
            "than what it differs from itself is not called a difference."
        )
    return None


def fewRounds(*runs: Results) -> str | None:
    """
    A remark for runs with too few rounds for any difference.
    """
    fewest = statistics.FEWEST_ROUNDS
    if any(
        cell["status"] == "ok" and len(cell["rounds"]) < fewest
        for run in runs
        for cell in run["cells"]
    ):
        return (
            f"Fewer than {fewest} rounds decide nothing: the verdict is "
            "indistinguishable, whatever the ratio (--rounds N measures more)."
        )
    return None


def instability(results: Results) -> list[str]:
    """
    A sentence for each disturbance of the whole run, with its number and the threshold,
    and at the end a remedy. Empty if there was no disturbance.
    """
    said = []
    ok = [cell for cell in results["cells"] if cell["status"] == "ok"]
    spreads = [statistics.variation(_throughputs(cell)) for cell in ok]
    those = [spread for spread in spreads if spread > VARIATION_ALLOWED]
    if those:
        said.append(
            f"Unstable: in {len(those)} of {len(ok)} cells the throughput of the "
            "rounds has a standard deviation above "
            f"{_percent(VARIATION_ALLOWED)} of its mean, at most "
            f"{_percent(max(those))}."
        )
    throughput = [
        each for each in results.get("noise", []) if each["metric"] == "throughput"
    ]
    apart = [each for each in throughput if differs(each)]
    if apart:
        said.append(
            f"Unstable: {apart[0]['backend']} differs from itself at {len(apart)} of "
            f"{len(throughput)} points, where it should at none."
        )
    stolen = results["environment"]["steal_fraction"] or 0.0
    if stolen > STEAL_ALLOWED:
        said.append(
            f"Unstable: the hypervisor took {100 * stolen:.1f} % of the CPU time for "
            f"others, more than {_percent(STEAL_ALLOWED)}."
        )
    if said:
        said.append(
            "A remedy: iodemo doctor names what disturbs measuring here; more rounds "
            "(--rounds) narrow the intervals, longer ones (--seconds) steady them."
        )
    return said


def _throughputs(cell: Cell) -> list[float]:
    return [each["throughput"] for each in cell["rounds"]]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
