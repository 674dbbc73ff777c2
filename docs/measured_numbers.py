"""
A Sphinx extension that puts measured numbers into the text, from the results that
C{iodemo report --book} has written to C{docs/measured}.

C{:measured:`idle idle=10000: uring/epoll`} is a ratio with its interval, and
C{:measured:`idle idle=10000 server_rss_kib: epoll`} a value: L{iodemo.report.book}.
C{|measured on|} is the date and the machine. A number that was not measured is an
error; with the tag C{own}, for a reader's own results, a note appears in its place.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes

from iodemo.report import book
from iodemo.results.claims import BadClaim
from iodemo.results.file import read

_PAGES = Path(__file__).parent
_RESULTS = _PAGES / "measured"
_INCLUDED = re.compile(r"^\.\. include:: measured/(.+)$", re.MULTILINE)
_MISSING = "(not measured in this run)"


def setup(app: Any) -> dict[str, Any]:
    """
    Register the role C{measured} and the substitution; Sphinx calls this.
    """
    results = read(_RESULTS)
    isOwn = app.tags.has("own")
    if isOwn:
        for page in _PAGES.glob("*.rst"):
            for name in _INCLUDED.findall(page.read_text()):
                if not (_RESULTS / name).exists():
                    (_RESULTS / name).write_text(f"*{_MISSING}*\n")

    def measured(
        role: str, raw: str, text: str, line: int, inliner: Any, *others: Any
    ) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            number = book.quoted(results, text)
        except BadClaim as error:
            if isOwn:
                return [nodes.inline(raw, _MISSING)], []
            message = inliner.reporter.error(str(error), line=line)
            return [inliner.problematic(raw, raw, message)], [message]
        return [nodes.inline(raw, number, classes=["measured"])], []

    app.add_role("measured", measured)
    app.config.rst_epilog = f".. |measured on| replace:: {book.machine(results)}\n"
    return {"parallel_read_safe": True}
