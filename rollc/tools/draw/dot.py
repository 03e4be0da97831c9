"""A graph in the language of Graphviz's ``dot``, drawn from top to bottom.

A graph is its circuit diagram: a delay is a chain of black squares on an edge, one for each step,
and a value that is read with several delays has one chain with a tap for each; reads of the future
are marked by ``+``.  An unrolled graph has a column for each step, from left to right, and the
copies of a value are in one row.  An adjoint is red, below its primal.
"""

from __future__ import annotations

from collections.abc import Iterator

import networkx

from rollc.ir.graph import LEAVES, Graph
from rollc.ir.traversal import cycles, in_order
from rollc.tools.draw.folding import Delays, Read, Value, folded, unfolded
from rollc.transforms.unroll import covering

_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "negate": "-",
    "matmul": "@",
    "sum_of": "Σ",
    "sum_over": "Σ",
    "mean_over": "mean",
}
_SQUARES = 4  # a longer stretch is one square with the number of steps
_BENT = 120  # values, at most, whose arrows are led around others
_ADJOINT = "#b03030"
_APART, _BELOW, _GAP = 1.1, 0.9, 0.5  # inches between values side by side, rows and columns


def draw_dot(graph: Graph, every_node: bool = False) -> str:
    """The graph in DOT: UTF-8 text, the same for equal graphs.

    The values with names, or every operation by itself.
    """
    values = unfolded(graph) if every_node else folded(graph)
    return "\n".join(_Picture(graph, values).lines()) + "\n"


class _Picture:
    def __init__(self, graph: Graph, values: tuple[Value, ...]) -> None:
        self.graph = graph
        self.values = values
        copies = covering(graph) if graph.steps is not None else {}
        self.copies = {name: copy for name, copy in copies.items() if copy is not None}
        self.places = self._grid()
        self.loops = cycles(
            (read.source, value.node.name) for value in values for read in value.reads
        )

    def lines(self) -> Iterator[str]:
        yield f"digraph {_quoted(self.graph.name)} {{"
        # Graphviz arranges a circuit; the places of a DAG's values are given.
        # To lead arrows around many boxes would take it minutes.
        bent = "true" if len(self.values) <= _BENT else "line"
        layout = f"layout=neato; splines={bent};" if self.copies else "rankdir=TB;"
        yield f"  {layout} nodesep=0.3; ranksep=0.35;"
        yield (
            '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica",'
            " fontsize=11, margin=0.08, height=0.3, width=0.4];"
        )
        yield '  edge [fontname="Helvetica", fontsize=9, arrowsize=0.6];'
        results = set(self.graph.results())
        for value in self.values:
            name = value.node.name
            look = _look(value, not results.isdisjoint(value.names))
            yield f"  {_quoted(name)} [{look}{_place(self.places.get(name))}];"
        for step in sorted({step for _, step in self.copies.values()}):
            look = f"shape=plaintext, fillcolor=none{_place(self.places.get(_head(step)))}"
            yield f"  {_quoted(_head(step))} [{look}];"
        yield from self._squares()
        for value in self.values:
            for read in value.reads:
                yield self._arrow(read, value.node.name)
        yield "}"

    # Steps

    def _grid(self) -> dict[str, tuple[float, float]]:
        """Where each value of a DAG stands, in inches, rightwards and upwards: a column a step.

        What does not change with time stands to the right, beside the last values that it
        reads, or to the left if it reads none.
        """
        if not self.copies:
            return {}
        rows: dict[str, dict[int, str]] = {}
        for value in self.values:
            if value.node.name in self.copies:
                of, step = self.copies[value.node.name]
                rows.setdefault(of, {})[step] = value.node.name
        levels = self._levels(list(rows))
        steps = sorted({step for row in rows.values() for step in row})
        apart = max(_APART, *(_width(value) for value in self.values))
        width = apart * max(map(len, levels), default=1) + _GAP
        places = {_head(step): (place * width, _BELOW) for place, step in enumerate(steps)}
        for level, names in enumerate(levels):
            for order, of in enumerate(names):
                for place, step in enumerate(steps):
                    if step in rows[of]:
                        beside = (order - (len(names) - 1) / 2) * apart
                        places[rows[of][step]] = (place * width + beside, -level * _BELOW)
        right = len(steps) * width - width / 2 + apart / 2
        taken = set(places.values())
        for value in self.values:
            if value.node.name not in places:
                reads = [places[read.source] for read in value.reads if read.source in places]
                x, y = right if reads else -width, min((y for _, y in reads), default=0.0)
                while (x, y) in taken:
                    x += apart if reads else -apart
                places[value.node.name] = (x, y)
                taken.add((x, y))
        return places

    def _levels(self, rows: list[str]) -> list[list[str]]:
        """Which values stand side by side: each below what it reads at its step, and an adjoint
        below the whole network.  What reads nothing stands right above its first reader.
        """
        below: networkx.DiGraph[str] = networkx.DiGraph()
        below.add_nodes_from(rows)
        for value in self.values:
            for read in value.reads:
                if self._same_step(read.source, value.node.name):
                    below.add_edge(self.copies[read.source][0], self.copies[value.node.name][0])
        order = in_order(rows, below.predecessors)
        depth: dict[str, int] = {}
        lowest = -1
        for of in sorted(order, key=_is_adjoint):  # stable: still in order
            start = lowest + 1 if _is_adjoint(of) else 0
            depth[of] = max([start, *(depth[source] + 1 for source in below.predecessors(of))])
            if not _is_adjoint(of):
                lowest = max(lowest, depth[of])
        for of in order:
            if not below.in_degree(of) and not _is_adjoint(of):
                readers = [depth[reader] for reader in below.successors(of)]
                depth[of] = max(min(readers, default=lowest + 1) - 1, 0)
        found: dict[int, list[str]] = {}
        for of in rows:
            found.setdefault(depth[of], []).append(of)
        return [found[level] for level in sorted(found)]

    def _same_step(self, source: str, reader: str) -> bool:
        at, here = self.copies.get(source), self.copies.get(reader)
        return at is not None and here is not None and at[1] == here[1]

    # Arrows

    def _arrow(self, read: Read, reader: str) -> str:
        source = read.source
        look = ["style=dotted"] if read.initial else []
        if read.delays:
            ends = (_square(source, read.delays), reader)
            if self._looped(source, reader):  # the squares stand beside the way from the reader
                return f"  {_quoted(reader)} -> {_quoted(ends[0])} [dir=back];"
        else:
            ends = (source, reader)
            if _is_adjoint(reader) and not _is_adjoint(source):
                look.append('color="#999999"')
        shown = f" [{', '.join(look)}]" if look else ""
        return f"  {_quoted(ends[0])} -> {_quoted(ends[1])}{shown};"

    def _looped(self, source: str, reader: str) -> bool:
        return source in self.loops and self.loops[source] == self.loops.get(reader)

    def _squares(self) -> Iterator[str]:
        """The lines of squares: from each value to its longest delay, with all taps between."""
        lines: dict[tuple[str, tuple[tuple[str, bool], ...]], dict[Delays, bool]] = {}
        for value in self.values:
            for read in value.reads:
                if read.delays:
                    way = tuple((axis, delay > 0) for axis, delay in read.delays)
                    taps = lines.setdefault((read.source, way), {})
                    loop = self._looped(read.source, value.node.name)
                    taps[read.delays] = taps.get(read.delays, False) or loop
        for (source, _), taps in lines.items():
            before, last = 0, source
            loop = any(taps.values())
            for delays in sorted(taps, key=_length):
                for place, (square, label) in enumerate(_stretch(source, delays, before)):
                    look = ["shape=square, style=filled, fillcolor=black, fixedsize=true"]
                    look += ['width=0.16, height=0.16, label=""']
                    mark = label + ("+" if delays[0][1] < 0 and not (before or place) else "")
                    look += [f"xlabel={_quoted(mark)}"] if mark else []
                    yield f"  {_quoted(square)} [{', '.join(look)}];"
                    ends = (square, last) if loop else (last, square)
                    yield f"  {_quoted(ends[0])} -> {_quoted(ends[1])} [dir=none];"
                    last = square
                before = _length(delays)


def _stretch(source: str, delays: Delays, before: int) -> Iterator[tuple[str, str]]:
    """The squares of a line from one tap to the next, and what stands beside each."""
    count = _length(delays) - before
    if count <= _SQUARES:
        for left in range(count - 1, 0, -1):
            yield f"{_square(source, delays)} {left}", ""
    yield _square(source, delays), "" if count <= _SQUARES else str(count)


def _square(source: str, delays: Delays) -> str:
    """The name of the last square of a delay, such as ``h[t-1]``."""
    steps = ", ".join(f"{axis}{-delay:+d}" for axis, delay in delays)
    return f"{source}[{steps}]"


def _length(delays: Delays) -> int:
    return sum(abs(delay) for _, delay in delays)


def _head(step: int) -> str:
    return f"step {step}"


def _place(place: tuple[float, float] | None) -> str:
    return f', pos="{place[0]:g},{place[1]:g}!"' if place else ""


def _is_adjoint(name: str) -> bool:
    return name.startswith("~")


def _label(value: Value) -> str:
    node = value.node
    if node.operation == "constant":
        return f"{node.options['value']:g}"
    if node.operation in LEAVES:
        sizes = f"[{', '.join(map(str, node.type.shape))}]" if node.type.shape else ""
        return f"{node.name}\n{f'index({node.type.bound})' if node.type.bound else sizes}".strip()
    lines = [" ".join(value.names), _SYMBOLS.get(node.operation, node.operation)]
    return "\n".join([*lines, *([f"({' '.join(value.parameters)})"] if value.parameters else [])])


def _width(value: Value) -> float:
    """The room that a value takes, in inches, with some beside it."""
    return 0.09 * max(map(len, _label(value).splitlines()), default=1) + 0.5


def _look(value: Value, result: bool) -> str:
    node = value.node
    look = [f"label={_quoted(_label(value))}"]
    if node.operation in LEAVES:
        look.append("shape=plaintext" if node.operation == "constant" else "shape=ellipse")
        look.append('style=filled, fillcolor="#eef3fb"' if node.operation != "constant" else "")
    if result:
        look.append("penwidth=2")
    if _is_adjoint(node.name):
        look.append(f'color="{_ADJOINT}"')
    return ", ".join(filter(None, look))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
