"""Folding of a graph to the values that have names in the spec.

    h = tanh(W @ x + U @ h[t-1])   ->   h reads x, and itself one step ago; it has W and U

Nodes without a name of the spec are folded into the value that depends on them, and delays along a
path add up.  Parameters are part of their readers.  In an adjoint the gradients of parameters that
come from the same values are one value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.traversal import cycles, in_order
from rollc.transforms.unroll import covering

# How many steps ago along each axis: no entry where it is the same step.
Delays = tuple[tuple[str, int], ...]
_SILENT = frozenset({"constant", "noise"})


@dataclass(frozen=True, slots=True)
class Read:
    """A read of a value, maybe with a delay; an ``initial`` one is for before the sequence."""

    source: str
    delays: Delays = ()
    initial: bool = False


@dataclass(frozen=True)
class Value:
    """A value of a picture: its last operation, the parameters it is made with, its reads.

    ``names`` are more than one where it stands for several nodes that read the same.
    """

    node: Node
    names: tuple[str, ...]
    parameters: tuple[str, ...]
    reads: tuple[Read, ...]


def unfolded(graph: Graph) -> tuple[Value, ...]:
    """Every node of a graph as a value."""
    return tuple(
        Value(node, (node.name,), (), tuple(dict.fromkeys(_direct(node)))) for node in graph.nodes
    )


def folded(graph: Graph) -> tuple[Value, ...]:
    """The named values of a graph, in its order."""
    return _Folding(graph).values()


def _direct(node: Node) -> Iterable[Read]:
    for edge in node.operands:
        yield Read(edge.source, ((edge.axis, edge.delay),) if edge.delay else ())
    if node.initial is not None:
        yield Read(node.initial, initial=True)


@dataclass
class _Behind:
    """What lies behind a node: the values that it reads, and parameters."""

    reads: dict[Read, None] = field(default_factory=dict)
    parameters: dict[str, None] = field(default_factory=dict)


class _Folding:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.weights = {node.name for node in graph.leaves("param")}
        self.slopes = {f"~{name}" for name in self.weights}
        copies = covering(graph) if graph.steps is not None else {}
        self.copied = {name: copy[0] for name, copy in copies.items() if copy is not None}
        self.shown = {node.name for node in graph.nodes if self._has_name(node)}
        self.behind: dict[str, _Behind] = {}
        for name in self._hidden_in_order():
            self.behind[name] = self._look_behind(graph[name])

    def _has_name(self, node: Node) -> bool:
        if node.name in self.weights or node.operation in _SILENT:
            return False
        name = self.copied.get(node.name, node.name)
        if node.name in self.copied and name in self.slopes:
            return False  # the share of one step
        return not any(mark in name for mark in "':") or node.name in self.graph.results()

    def _hidden_in_order(self) -> list[str]:
        """Operands first.  What is on a cycle of such nodes alone cannot be folded: it is shown."""
        reads = {
            node.name: [edge.source for edge in node.reads()]
            for node in self.graph.nodes
            if node.name not in self.shown
        }
        self.shown.update(cycles((e, name) for name, sources in reads.items() for e in sources))
        return in_order((name for name in reads if name not in self.shown), reads.__getitem__)

    def _look_behind(self, node: Node) -> _Behind:
        found = _Behind()
        for edge in node.operands:
            self._add(found, edge, initial=False)
        if node.initial is not None:
            self._add(found, Edge(node.initial), initial=True)
        return found

    def _add(self, found: _Behind, edge: Edge, *, initial: bool) -> None:
        if edge.source in self.weights:
            found.parameters[edge.source] = None
        elif edge.source in self.shown:
            found.reads[Read(edge.source, _sum((), edge), initial)] = None
        else:
            behind = self.behind[edge.source]
            found.parameters |= behind.parameters
            for read in behind.reads:
                delays = _sum(read.delays, edge)
                found.reads[Read(read.source, delays, initial or read.initial)] = None

    def values(self) -> tuple[Value, ...]:
        found: dict[object, Value] = {}
        for node in self.graph.nodes:
            if node.name not in self.shown:
                continue
            behind = self._look_behind(node)
            reads, parameters = tuple(behind.reads), tuple(behind.parameters)
            key: object = node.name
            if node.name in self.slopes:
                # The other factors of a product are read by what is above it too.
                reads = tuple(read for read in reads if read.source.startswith("~")) or reads
                key, parameters = frozenset(reads), ()
            if key in found:
                value = found[key]
                found[key] = replace(value, names=(*value.names, node.name))
            else:
                found[key] = Value(node, (node.name,), parameters, reads)
        return tuple(found.values())


def _sum(delays: Delays, edge: Edge) -> Delays:
    total = Counter(dict(delays))
    if edge.delay:
        total[edge.axis] += edge.delay
    return tuple(sorted((axis, delay) for axis, delay in total.items() if delay))
