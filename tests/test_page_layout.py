"""
Tests that every column of a report can be seen, on a wide page, a narrow one and a
phone.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from iodemo import report
from iodemo.report import figures
from iodemo.results.schema import Results
from tests.results_examples import (
    controlled,
    fivePipes,
    okCell,
    parameters,
    ratedCells,
    results,
    sweep,
)

#: Seconds after which a browser that has not ended is a failure.
PATIENCE = 120

_WIDTHS = (1400, 1024, 961, 800, 390, 320)

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Script that measures how many pixels of each table, and of the page, are out of sight.
_MEASURING = """
<html><body><pre></pre><script>
const page = %s, widths = %s, found = {};
function measure(index) {
  if (index === widths.length) {
    document.querySelector("pre").textContent = JSON.stringify(found);
    return;
  }
  const frame = document.createElement("iframe");
  frame.style.width = widths[index] + "px";
  frame.srcdoc = page;
  frame.onload = () => {
    const there = frame.contentDocument, whole = there.documentElement;
    found[widths[index]] = {
      page: whole.scrollWidth - whole.clientWidth,
      tables: [...there.querySelectorAll("table")].map(table => [
        table.className,
        table.closest(".scroll").scrollWidth - table.closest(".scroll").clientWidth,
      ]),
    };
    frame.remove();
    measure(index + 1);
  };
  document.body.append(frame);
}
measure(0);
</script></body></html>
"""


def wide() -> Results:
    """
    A run with the most points that any has in a table, and with long names and numbers.
    """
    cells = [*sweep(), *fivePipes(), *ratedCells()]
    for index, idle in enumerate((0, 5, 50, 500, 5000, 50_000, 500_000)):
        for backend, rate in (("epoll", 1e5), ("uvloop-protocol", 1e5), ("odd", 300.0)):
            point = parameters(10, idle)
            cells.append(okCell("many", backend, point, rate + index))
    return controlled(results(cells), 1.4)


class LayoutTests(SynchronousTestCase):
    """
    The tables of a report.
    """

    def setUp(self) -> None:
        # Only tables are tested here.
        self.patch(figures, "drawn", lambda results: [])
        self.directory = Path(self.mktemp()).absolute()
        self.text = report.write([wide()], self.directory).read_text(encoding="utf-8")
        self.root = ElementTree.fromstring(self.text.split("\n", 1)[1])

    def test_scrolls(self) -> None:
        """
        Every table is in an element that scrolls, and that the keyboard can reach.
        """
        scrolling = [
            each for each in self.root.iter("div") if each.get("class") == "scroll"
        ]
        tables = [table for each in scrolling for table in each.findall("table")]
        self.assertEqual(len(tables), len(list(self.root.iter("table"))))
        self.assertGreater(len(tables), 10)
        for each in scrolling:
            self.assertEqual(each.get("tabindex"), "0")

    def test_cards(self) -> None:
        """
        Where a row is shown as a card, each value has the heading of its column beside
        it.
        """
        cards = 0
        for table in self.root.iter("table"):
            if "cards" not in (table.get("class") or ""):
                continue
            cards += 1
            _, *titles = ["".join(each.itertext()) for each in table.iter("th")][
                : len(next(table.iter("tr")))
            ]
            for row in table.findall("tbody/tr"):
                values = row.findall("td")
                if len(values) == len(titles):
                    self.assertEqual([v.get("data-label") for v in values], titles)
                else:
                    (only,) = values
                    self.assertEqual(only.get("colspan"), str(len(titles)))
        self.assertGreater(cards, 5)

    def test_browser(self) -> None:
        """
        In a browser, no verdict is out of sight at any width, and no page is wider than
        its window: only the tables of all numbers scroll.
        """
        browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
        if browser is None:
            raise SkipTest(f"needs a browser: {', '.join(_BROWSERS)}")
        page = re.sub(r"<meta http-equiv.*?/>", "", self.text, flags=re.DOTALL)
        page = page.replace("<details>", "<details open>")
        script = json.dumps(page).replace("</", "<\\/")
        measuring = self.directory / "measuring.html"
        measuring.write_text(_MEASURING % (script, json.dumps(_WIDTHS)))
        browsing = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
                *("--disable-quic", "--no-first-run", "--disable-sync"),
                *("--disable-background-networking", "--disable-component-update"),
                f"--user-data-dir={self.directory / 'browser'}",
                *("--window-size=1500,1000", "--virtual-time-budget=60000"),
                *("--dump-dom", measuring.as_uri()),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        measured = re.search(r"<pre>(\{.*?\})</pre>", browsing.stdout, re.DOTALL)
        assert measured is not None, browsing.stderr[-2000:]
        found: dict[str, Any] = json.loads(html.unescape(measured[1]))
        self.assertEqual(set(found), {str(width) for width in _WIDTHS})
        for width, each in found.items():
            self.assertLessEqual(each["page"], 0, width)
            for name, beyond in each["tables"]:
                if "cards" in name:
                    self.assertLessEqual(beyond, 0, (width, name))
