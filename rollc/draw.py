"""A graph as a picture, in the language of Graphviz's ``dot``.

A graph is its circuit diagram: a delay is a black square on the edge, one for each step,
with ``+`` beside it where the read is of the future.  An unrolled graph has a column a
step.  ``dot -Tsvg`` makes the picture.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollc.graph.graph import LEAVES, Edge, Graph, Node
from rollc.graph.unroll import covering

_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "negate": "-",
    "matmul": "@",
    "sum_of": "Σ",
    "sum_over": "Σ",
}
_SQUARES = 4  # a longer delay is one square with the number of steps


def draw_dot(graph: Graph) -> str:
    """The graph in DOT: UTF-8 text, the same for equal graphs."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield f"digraph {_quoted(graph.name)} {{"
    yield f"  rankdir={'LR' if graph.steps is not None else 'BT'};"
    yield '  node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];'
    yield '  edge [fontname="Helvetica", fontsize=9, arrowsize=0.6];'
    results = set(graph.results())
    for node in graph.nodes:
        yield f"  {_quoted(node.name)} [{_look(node, node.name in results)}];"
    yield from _columns(graph)
    for node in graph.nodes:
        for edge in dict.fromkeys(node.operands):
            yield from _edge(edge, node.name)
        if node.initial is not None:
            ends = f"{_quoted(node.initial)} -> {_quoted(node.name)}"
            yield f'  {ends} [style=dotted, label="init"];'
    yield "}"


def _look(node: Node, result: bool) -> str:
    if node.operation == "constant":
        label = f"{node.options['value']:g}"
    elif node.operation in LEAVES:
        label = f"{node.name}\n{node.type}"
    else:
        label = f"{node.name}\n{_SYMBOLS.get(node.operation, node.operation)}"
    look = [f"label={_quoted(label)}"]
    if node.operation in LEAVES:
        look.append("shape=plaintext" if node.operation == "constant" else "shape=ellipse")
    if result:
        look.append("penwidth=2")
    if node.name.startswith("~"):
        look.append('color="#b03030"')
    return ", ".join(look)


def _columns(graph: Graph) -> Iterator[str]:
    """The copies of one step stand above each other, and the steps beside each other."""
    if graph.steps is None:
        return
    steps: dict[int, list[str]] = {}
    for name, copy in covering(graph).items():
        if copy is not None:
            steps.setdefault(copy[1], []).append(name)
    for step, names in sorted(steps.items()):
        yield f'  "step {step}" [shape=plaintext];'
        members = " ".join(f"{_quoted(name)};" for name in names)
        yield f'  {{ rank=same; "step {step}"; {members} }}'
    marks = [f'"step {step}"' for step in sorted(steps)]
    if len(marks) > 1:
        yield f"  {' -> '.join(marks)} [style=invis, weight=100];"


def _edge(edge: Edge, reader: str) -> Iterator[str]:
    """One arrow; a delay is drawn as black squares on the way."""
    if edge.delay == 0:
        yield f"  {_quoted(edge.source)} -> {_quoted(reader)};"
        return
    count = abs(edge.delay)
    square = f"{edge} -> {reader}"
    squares = "■" * count if count <= _SQUARES else f"■ {count}"
    label = squares if edge.delay > 0 else f"+{squares}"
    yield f"  {_quoted(square)} [shape=plaintext, label={_quoted(label)}];"
    back = "constraint=false"
    yield f"  {_quoted(edge.source)} -> {_quoted(square)} [arrowhead=none, {back}];"
    yield f"  {_quoted(square)} -> {_quoted(reader)} [{back}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
