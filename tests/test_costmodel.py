"""
Tests for L{iodemo.results.costmodel}.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from iodemo.results import costmodel
from iodemo.results.schema import Cell
from tests.results_examples import failedCell, okCell, parameters

POINTS = ((1, 0), (2, 0), (5, 0), (10, 0), (100, 0), (10, 100), (10, 1000))


def cell(
    active: int,
    idle: int,
    cpu: float,
    calls: dict[str, float],
    backend: str = "poll",
) -> Cell:
    """
    A cell whose server took this CPU time and made these system calls for a request.
    """
    made = okCell("x", backend, parameters(active, idle), 1000.0, calls=calls)
    made["summary"]["server_cpu_us_per_request"]["median"] = cpu
    return made


def cells(a: float, b: float, c: float, backend: str = "poll") -> list[Cell]:
    """
    The cells of a server to which the model applies exactly.
    """
    found = []
    for active, idle in POINTS:
        waits = 1 / active
        calls = {"recvfrom": 1.0, "sendto": 1.0}
        if backend != "threads":
            calls["poll"] = waits
        else:
            calls["futex"] = waits
        watched = (active + idle) * waits
        cpu = a + b * watched + c * sum(calls.values())
        found.append(cell(active, idle, cpu, calls, backend))
    return found


class FitTests(SynchronousTestCase):
    """
    Tests for L{costmodel.fit}.
    """

    def assertTerms(self, fit: costmodel.Fit, **terms: float) -> None:
        """
        Check the coefficients, and that each lies in its range.
        """
        self.assertEqual(set(fit.terms), set(terms))
        for name, value in terms.items():
            found = fit.terms[name]
            self.assertAlmostEqual(found.value, value, places=6, msg=name)
            self.assertTrue(found.low <= found.value <= found.high, name)

    def test_exact(self) -> None:
        """
        If the model applies exactly, the fit finds the coefficients without error.
        """
        fit = costmodel.fit(cells(10, 0.2, 3))
        self.assertTerms(fit, a=10, b=0.2, c=3)
        self.assertIsNone(fit.unknown)
        self.assertAlmostEqual(fit.worst, 0)
        self.assertEqual(len(fit.cells), len(POINTS))
        for term in fit.terms.values():
            self.assertAlmostEqual(term.high - term.low, 0)

    def test_noise(self) -> None:
        """
        With noise the fit is approximate, and the error shows the amount of noise.
        """
        noisy = cells(10, 0.2, 3)
        chance = random.Random(3)
        for each in noisy:
            each["summary"]["server_cpu_us_per_request"]["median"] *= chance.uniform(
                0.98, 1.02
            )
        fit = costmodel.fit(noisy)
        for name, value in (("a", 10), ("b", 0.2), ("c", 3)):
            self.assertLess(abs(fit.terms[name].value / value - 1), 0.2, name)
            self.assertLess(fit.terms[name].low, fit.terms[name].high)
        self.assertTrue(0 < fit.error <= fit.worst < 0.02)

    def test_whatCannotBe(self) -> None:
        """
        A server with a thread for each connection watches none, so it has no cost a
        watched connection; a server that polls connections one by one has that cost in
        its calls.
        """
        for backend in ("threads", "busypoll"):
            fit = costmodel.fit(cells(10, 0, 3, backend))
            self.assertTerms(fit, a=10, c=3)

    def test_sameCalls(self) -> None:
        """
        If a request takes the same number of calls at all points, the cost of a call is
        unknown.
        """
        same = [
            cell(active, idle, 20.0, {"recvfrom": 1.0, "sendto": 1.0}, "fork")
            for active, idle in POINTS
        ]
        fit = costmodel.fit(same)
        self.assertTerms(fit, a=20)
        self.assertIn("same number of system calls at every point", fit.unknown or "")

    def test_dependsOnOne(self) -> None:
        """
        If a single point determines the cost of a call, that point and the cost are
        left out.
        """
        several = [each for each in cells(10, 0.2, 0) if each["parameters"].active > 1]
        sleeping = {"recvfrom": 1.0, "sendto": 1.0, "poll": 2.0}
        for number, each in enumerate(several):
            wobble = 1 + 0.02 * (-1) ** number
            each["summary"]["server_cpu_us_per_request"]["median"] *= wobble
        fit = costmodel.fit([cell(1, 0, 60.0, sleeping), *several])
        self.assertEqual(set(fit.terms), {"a", "b"})
        self.assertIn("1 busy and 0 idle connections", fit.unknown or "")
        self.assertEqual(list(fit.cells), several)
        self.assertLess(fit.worst, 0.05)

    def test_lessThanNothing(self) -> None:
        """
        A cost is never negative: the cost of calls is then not separated from the rest.
        """
        fit = costmodel.fit(cells(50, 0.2, -3))
        self.assertNotIn("c", fit.terms)
        self.assertIn("cost of system calls from other costs", fit.unknown or "")

    def test_tooFew(self) -> None:
        """
        Too few points give no fit. Points without numbers do not count, and a point
        that two scenarios have in common counts once.
        """
        few = cells(10, 0.2, 3)[: costmodel.FEWEST_CELLS - 1]
        uncounted = okCell("x", "poll", parameters(77), 1.0)
        failed = failedCell("x", "poll", parameters(78))
        error = self.assertRaises(
            costmodel.Underdetermined, costmodel.fit, [*few, *few, uncounted, failed]
        )
        self.assertIn("known at 4 points, and a fit needs 5", str(error))
        self.assertRaises(costmodel.Underdetermined, costmodel.fit, [])
