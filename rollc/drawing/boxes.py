"""The boxes of values: what they say, and how they look."""

from __future__ import annotations

from rollc.drawing.diagram import Box, BoxLook, Line, fits, wrapped
from rollc.drawing.folding.equations import applied_name, equation, full_text
from rollc.drawing.folding.folding import INITIAL, Folded, Value, is_adjoint, is_named, said_name
from rollc.ir.graph import LEAVES, Node

_MOST_NAMES = 30  # characters of the names of what is inside a cell


def value_box(folded: Folded, value: Value, frames: tuple[str, ...] = (), short: str = "") -> Box:
    """The box of a value; ``short`` is what it is called there, without its cell and step."""
    node = value.node
    base = folded.copies.get(node.name, (node.name, 0))[0]
    look: BoxLook = "value"
    if value.closed:
        look, lines = "cell", _cell_lines(folded, value)
    elif node.operation in LEAVES:
        look = "target" if node.operation == "target" else "input"
        lines = _leaf_lines(node, short or base)
    elif len(value.names) > 1:
        look = "gradient"
        lines = [Line(text) for text in wrapped(", ".join(map(said_name, value.names)))]
        lines.append(Line("summed over all steps", "equation"))
    else:
        lines = _lines(folded, value, short or base)
    results = frozenset(folded.graph.results())
    return Box(
        value.name,
        look,
        tuple(lines),
        full_text(folded, value),
        is_adjoint(node.name),
        not results.isdisjoint(value.names),
        frames,
    )


def _lines(folded: Folded, value: Value, short: str) -> list[Line]:
    lines: list[Line] = []
    function = applied_name(folded, value)
    if folded.every or is_named(short):
        name = said_name(short)
        lines.append(Line(f"{function}({name})" if function else name))
    text = equation(folded, value, fits)
    lines += [Line(part, "equation") for part in wrapped(text) if part]
    return lines or [Line(short)]


def _leaf_lines(node: Node, short: str) -> list[Line]:
    if node.operation == "constant":
        value = node.options["value"]
        return [Line(f"{value:g}" if isinstance(value, (int, float)) else str(value))]
    size = f"index({node.type.bound})" if node.type.bound else ""
    if node.type.shape:
        size = f"[{', '.join(map(str, node.type.shape))}]"
    return [Line(said_name(short)), *([Line(size, "parameters")] if size else [])]


def _cell_lines(folded: Folded, value: Value) -> list[Line]:
    base = value.closed.removesuffix(INITIAL)
    if value.node.name in folded.copies:
        base = base.rpartition(".")[0]
    inside = []
    for name in value.names:
        of = folded.copies.get(name, (name, 0))[0]
        inner = of.removeprefix("~").removeprefix(f"{base.removeprefix('~')}.")
        if is_named(inner):
            inside.append("~" + inner if is_adjoint(of) else inner)
    text = ", ".join(dict.fromkeys(inside))
    if len(text) > _MOST_NAMES:
        text = text[: text.rfind(",", 0, _MOST_NAMES)] + ", …"
    return [Line(base), Line(text, "equation")]


def parameters_box(folded: Folded) -> Box | None:
    """A table of the parameters with their shapes, beside the network."""
    nodes = folded.graph.leaves("param")
    if not nodes:
        return None
    texts = [f"{said_name(node.name)} [{', '.join(map(str, node.type.shape))}]" for node in nodes]
    # As high as wide, about: many stand several to a line.
    columns = max(1, round((len(texts) / 8) ** 0.5))
    rows = [texts[start : start + columns] for start in range(0, len(texts), columns)]
    lines = [Line("parameters", "equation")]
    lines += [Line("   ".join(row).replace(" []", ""), "parameters") for row in rows]
    title = "\n".join(f"{node.name}: {node.type}, line {node.line}" for node in nodes)
    return Box("'parameters", "parameters", tuple(lines), title)
