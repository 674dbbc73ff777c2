"""
An extension of Sphinx: the keys of a results file, from the classes that are their
documentation (L{iodemo.results.schema}).

C{.. keys:: Round} lists the keys that a class adds to others: what kind of value each
has, and what its comment says, after the docstring. So the page says nothing else than
the source, and a class that is not there any more is an error. C{.. metrics::} lists
the metrics. C{.. cut:: SCENARIO BACKEND} shows one cell of the run that the book draws
on, with one of its rounds; of a reader's own run (the tag C{own}) any cell that is
good, where it has not that one.
"""

from __future__ import annotations

import ast
import re
import tokenize
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from typing_extensions import get_type_hints, is_typeddict

from iodemo.results import judgement, metrics, schema
from iodemo.results.file import FILE_NAME, read

_MODULES = (judgement, schema)
_RUN = Path(__file__).parent / "measured"

_KINDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "null",
}


def shapes() -> dict[str, Any]:
    """
    The classes, by name.
    """
    return {
        name: value
        for module in _MODULES
        for name, value in vars(module).items()
        if is_typeddict(value) or value is schema.Point
    }


def described(name: str) -> list[str]:
    """
    The keys that a class adds, as lines of reStructuredText.

    @raise KeyError: if there is no such class.
    """
    shape = shapes()[name]
    own = _comments(shape)
    hints = get_type_hints(shape)
    lines = [f".. _results-{name}:", "", *_marked(shape.__doc__ or "").split("\n"), ""]
    for key, comment in own.items():
        kind = _kind(hints[key])
        absent = "" if key in _required(shape) else ", or absent"
        said = f": {_marked(comment)}" if comment else ""
        lines.append(f"- ``{key}`` ({kind}{absent}){said}")
    return [*lines, ""]


def _comments(shape: Any) -> dict[str, str]:
    """
    The keys in a class's own body, and the comment behind each.
    """
    if shape is schema.Point:
        return {key: each.description for key, each in schema.PARAMETERS.items()}
    module = schema if shape.__module__ == schema.__name__ else judgement
    path = Path(vars(module)["__file__"])
    with tokenize.open(path) as lines:
        comments = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(lines.readline)
            if token.type == tokenize.COMMENT
        }
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == shape.__name__:
            return {
                each.target.id: comments.get(each.end_lineno or 0, "")
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            }
    # Its keys are no identifiers, so it is no class.
    return dict.fromkeys(shape.__annotations__, "")


def _required(shape: Any) -> set[str]:
    """
    The keys that every file has.
    """
    if is_typeddict(shape):
        return {*shape.__required_keys__}
    fields = msgspec.structs.fields(shape)
    return {field.name for field in fields if field.required}


def listedMetrics() -> list[str]:
    """
    The metrics, as lines of reStructuredText: a line for all percentiles of a latency.
    """
    found: dict[str, list[str]] = {}
    for metric in metrics.METRICS:
        found.setdefault(metric.description, []).append(f"``{metric.key}``")
    return [f"- {', '.join(keys)}: {said}" for said, keys in found.items()]


def _kind(hint: Any) -> str:
    """
    The type of a value, in the words of JSON.
    """
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is Literal:
        *others, last = (f"``{each}``" for each in arguments)
        return f"{', '.join(others)} or {last}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(_kind, arguments))
    if origin is list:
        return f"list of {_many(arguments[0])}"
    if origin is dict:
        return f"object of {_many(arguments[1])}, by name"
    if is_typeddict(hint) or hint is schema.Point:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", hint.__name__).lower()
        return f"object: :ref:`{words} <results-{hint.__name__}>`"
    return _KINDS[hint]


def _many(hint: Any) -> str:
    kind, colon, which = _kind(hint).partition(":")
    return f"{kind}s{colon}{which}"


def _marked(text: str) -> str:
    """
    Epytext as reStructuredText, of what there is of it here.
    """
    for name, word in (("None", "null"), ("False", "false")):
        text = re.sub(rf"C\{{{name}\}}|\b{name}\b", word, text)
    text = re.sub(r"[CL]\{([^{}]*)\}", r"``\1``", text)
    text = re.sub(r"--\w+", r"``\g<0>``", text)
    lines = [line.strip() for line in text.strip().split("\n")]
    return "\n".join(lines)


class Keys(Directive):
    """
    C{.. keys:: NAME}.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """
        Put them in its place.
        """
        (name,) = self.arguments
        if name not in shapes():
            raise self.error(f"no results have a {name}")
        _dependOn(self, *(str(module.__file__) for module in _MODULES), __file__)
        node = nodes.container(classes=["keys"])
        self.state.nested_parse(StringList(described(name), name), 0, node)
        return [node]


class Metrics(Directive):
    """
    C{.. metrics::}.
    """

    def run(self) -> list[nodes.Node]:
        """
        Put them in its place.
        """
        _dependOn(self, str(metrics.__file__), __file__)
        node = nodes.container(classes=["keys"])
        self.state.nested_parse(StringList(listedMetrics(), "metrics"), 0, node)
        return [node]


class Cut(Directive):
    """
    C{.. cut:: SCENARIO BACKEND}.

    @cvar isOwn: whether the run is a reader's own.
    """

    required_arguments = 2
    isOwn = False

    def run(self) -> list[nodes.Node]:
        """
        Put the last of its cells in its place.
        """
        _dependOn(self, str(_RUN / FILE_NAME), __file__)
        good = [cell for cell in read(_RUN)["cells"] if cell["status"] == "ok"]
        cells = [
            cell
            for cell in good
            if [cell["scenario"], cell["backend"]] == self.arguments
        ]
        if not cells and self.isOwn:
            cells = good
        if not cells:
            raise self.error(f"nothing was measured of {' '.join(self.arguments)}")
        cell = {**cells[-1], "rounds": cells[-1]["rounds"][:1]}
        text = msgspec.json.format(msgspec.json.encode(cell), indent=2).decode()
        # An object without objects in it is short enough for a line.
        text = re.sub(r"\{[^{}]*\}", lambda each: " ".join(each[0].split()), text)
        return [nodes.literal_block(text, text, language="json")]


def _dependOn(directive: Directive, *paths: str) -> None:
    """
    Have the page drawn again when one of these files has changed.
    """
    for path in paths:
        directive.state.document.settings.env.note_dependency(path)


def setup(app: Any) -> dict[str, Any]:
    """
    Called by Sphinx.
    """
    app.add_directive("keys", Keys)
    app.add_directive("metrics", Metrics)
    Cut.isOwn = app.tags.has("own")
    app.add_directive("cut", Cut)
    return {"parallel_read_safe": True}
