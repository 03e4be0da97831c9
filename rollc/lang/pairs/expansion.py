"""Complex values as pairs of reals: the graph of a spec with its complex values in parts.

The parts of ``z`` are the nodes ``z're`` and ``z'im``; what a graph takes, gives or keeps has those
names too, and :mod:`rollc.network.pairs.network` joins them for its user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.expressions import Value
from rollc.ir.graph import LEAVES, Graph, Node, Type
from rollc.ir.names import IMAGINARY, REAL
from rollc.lang.pairs.kinds import Kinds, complex_values, reads_of_nodes
from rollc.lang.pairs.rules import Pair, parts_of
from rollc.lang.symbols.operations import COMPLEX
from rollc.lang.symbols.untyped_node import Complex


def in_parts(names: Iterable[str], whole: Iterable[str]) -> list[str]:
    """Names, with those of the parts in the place of complex values."""
    known = frozenset(whole)
    return [
        part
        for name in names
        for part in ((name + REAL, name + IMAGINARY) if name in known else (name,))
    ]


def expanded(graph: Graph, declared: Mapping[str, Complex]) -> Graph:
    """The graph on real numbers; ``declared`` are the values that the spec says to be complex."""
    nodes = reads_of_nodes(graph.nodes)
    found = complex_values(nodes, declared)
    if not found and not any(node.operation in COMPLEX for node in graph.nodes):
        return graph
    return _Expansion(graph, nodes, found, declared).graph()


class _Expansion:
    def __init__(
        self,
        whole: Graph,
        nodes: Kinds,
        found: set[str],
        declared: Mapping[str, Complex],
    ) -> None:
        self.whole, self.nodes, self.found, self.declared = whole, nodes, found, declared
        self.build = Builder(mark="'part")
        self.names: dict[str, str] = {}  # the names of nodes that are made, where they are parts
        for node in whole.nodes:
            for name in in_parts([node.name], found):
                self.build.promise(name, node.type)

    def graph(self) -> Graph:
        for node in self.whole.nodes:
            self._node(node)
        outputs = tuple(
            (label, name)
            for own, source in self.whole.outputs
            for label, name in zip(
                in_parts([own], {own} if source in self.found else ()),
                in_parts([source], self.found),
                strict=True,
            )
        )
        found = replace(self.whole, nodes=tuple(self.build.nodes.values()), outputs=outputs)
        found = found.renamed(self.names)
        named = [node.name for node in self.whole.nodes if "'" not in node.name]
        return found.with_nodes(_by_part(found, in_parts(named, self.found)))

    def _node(self, node: Node) -> None:
        whole = node.name in self.found
        if node.operation in LEAVES and whole:
            for part, options in zip(
                (REAL, IMAGINARY), self.declared[node.name].parts, strict=True
            ):
                name = node.name + part
                self.build.nodes[name] = replace(node, name=name, attributes=options)
            return
        reads = {edge.source for edge in node.operands}
        if not whole and node.operation not in COMPLEX and self.found.isdisjoint(reads):
            self.build.nodes[node.name] = node
            return
        self.build.prefix, self.build.line = node.name, node.line
        operands = [self._pair(edge.source, edge.delay, edge.axis) for edge in node.operands]
        power = self.nodes[node.name].power
        if self.found.isdisjoint(reads) and node.operation not in COMPLEX:
            real = self.build.make(
                node.operation, tuple(pair.real for pair in operands), **node.options
            )
            pair = Pair(real)  # declared as complex, and computed from real numbers
        else:
            pair = parts_of(node.operation, operands, node.options, power)
        if not whole:
            self._named(node, node.name, pair.real, node.initial)
            return
        real, imaginary = pair.parts
        start = node.initial
        parts = in_parts([start], self.found) if start is not None else []
        real, imaginary = self._like(real, imaginary, node), self._like(imaginary, real, node)
        self._named(node, node.name + REAL, real, parts[0] if parts else None)
        self._named(node, node.name + IMAGINARY, imaginary, parts[1] if parts[1:] else None)

    def _pair(self, name: str, delay: int, axis: str) -> Pair:
        if name not in self.found:
            return Pair(self.build.read(name, delay, axis))
        first, second = in_parts([name], self.found)
        return Pair(self.build.read(first, delay, axis), self.build.read(second, delay, axis))

    def _like(self, part: Value, other: Value, node: Node) -> Value:
        """A part over the axes and in the shape of the value, which the other part can have."""
        return part if _same(part.type, node.type) else part + other * 0.0

    def _named(self, node: Node, name: str, value: Value, initial: str | None) -> None:
        """A value under the name of a part, or of a real value."""
        made = value.edge.source
        if value.edge.delay or made in self.names or not self._is_new(made):
            made = self.build.make("identity", (value,)).edge.source
            if made in self.names:
                made = self.build.define(self.build.fresh(), "identity", (value,)).edge.source
        self.names[made] = name
        assert _same(self.build.nodes[made].type, node.type), (name, node.type)
        self.build.nodes[made] = replace(self.build.nodes[made], initial=initial)

    def _is_new(self, name: str) -> bool:
        known = self.build.nodes.get(name)
        return known is not None and self.build.mark in name and known.operation not in LEAVES


def _by_part(graph: Graph, named: Iterable[str]) -> Iterator[Node]:
    """The nodes, with what a named value reads at the same step before it: part after part.

    That is the order of equations which say the parts one by one.
    """
    left, opened = dict(graph.by_name), set[str]()
    for name in (*named, *graph.by_name):
        pending = [name]
        while pending:
            node = left.get(pending[-1])
            reads = () if node is None else node.operands
            before = [edge.source for edge in reads if not edge.delay and edge.source in left]
            if node is not None and before and node.name not in opened:
                opened.add(node.name)
                pending.extend(reversed(before))
            elif left.pop(pending.pop(), None) is not None and node is not None:
                yield node


def _same(type_: Type, other: Type) -> bool:
    return (type_.shape, type_.axes) == (other.shape, other.axes)
