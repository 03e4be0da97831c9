"""What a notebook shows of a network: its arrays, its picture and its graph."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from rollc.network.arrays import Spec


def page(title: str, arrays: Mapping[str, Mapping[str, Spec]], picture: str, graph: str) -> str:
    """A table of the arrays, by their sort; the picture, if there is one, and the graph, folded."""
    rows = "".join(
        f"<tr><td>{sort}</td><td>{escape(name)}</td><td>{escape(_described(spec))}</td></tr>"
        for sort, specs in arrays.items()
        for name, spec in specs.items()
    )
    parts = [f"<div><b>{escape(title)}</b><table>{rows}</table></div>"]
    if picture:
        parts.append(_folded("picture", picture))
    parts.append(_folded("graph", f"<pre>{escape(graph)}</pre>"))
    return "".join(parts)


def _described(spec: Spec) -> str:
    return f"{spec.kind} [{', '.join(map(str, spec.dimensions()))}]"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>{body}</details>"
