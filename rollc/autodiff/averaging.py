"""Gradient averaging: those of a parameter are means over the steps at which it is read.

    a read of p at every step  ->  a read of identity(p), one node for all reads over an axis
    ~identity(p)               ->  the same, divided by the number of steps

where p is a parameter, or a value of parameters alone.  The unrolled network has N copies of p,
one for each step of the nodes that read it, and their contributions to the gradient are averaged
instead of summed.  A read once for the whole sequence, such as that of an initial value, is one
copy, whose contribution is added; so it is in ragged batches, where a choice by the length takes
the initial value at the end of each sequence.  The number of steps is that of the call, for
ragged batches too.  Values, the loss and all other gradients are unchanged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from rollc.autodiff.adjoint import PREFIX, adjoint
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value
from rollc.ir.graph import LEAVES, Edge, Graph, Node
from rollc.ir.names import lengths_leaves
from rollc.ir.operations import operation_of
from rollc.ir.traversal import dependents, in_step_order, reachable


def mean_adjoint(graph: Graph, of: Literal["loss", "outputs"] = "loss") -> Graph:
    """The adjoint whose gradients of parameters are means over the steps."""
    marked, copies = _marked(graph)
    derived = adjoint(marked, of)
    build = Builder(derived.nodes, mark=":")
    for name, axes in copies.items():
        whole = derived.by_name.get(PREFIX + name)
        if whole is None:  # no gradient passes there
            continue
        build.prefix, build.line = whole.name, whole.line
        total = f"{whole.name}:sum"
        build.nodes[total] = replace(whole, name=total)
        mean: Value = build.read(total)
        for axis in axes[:-1]:
            mean = mean / build.make("extent", (), axis=axis)
        last = build.make("extent", (), axis=axes[-1])
        build.define(whole.name, "divide", (mean, last))
    return replace(derived, nodes=tuple(build.nodes.values()))


def _marked(graph: Graph) -> tuple[Graph, dict[str, tuple[str, ...]]]:
    """The graph with a node for the copies of each parameter, and the axes of the copies."""
    weights, starts = weight_nodes(graph), _starts(graph)
    copies: dict[str, tuple[str, ...]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        operands = []
        for edge in node.operands:
            source = graph[edge.source]
            once = node.name in starts or _by_length(graph, node)
            if source.name not in weights or not node.type.time or once:
                operands.append(edge)
                continue
            axes = node.type.time
            name = f"{source.name}'over_{'_'.join(axes)}"
            if name not in copies:
                copies[name] = axes
                nodes.append(Node(name, "identity", (edge,), source.type, line=source.line))
            operands.append(Edge(name))
        nodes.append(replace(node, operands=tuple(operands)))
    return graph.with_nodes(nodes), copies


def _starts(graph: Graph) -> set[str]:
    """What only spreads an initial value over the other axis: it is one copy there, too.

    In ragged batches it is also chosen by the length, and read by what no gradient passes.
    """
    spread: set[str] = set()
    for node in in_step_order(graph.nodes):
        entry = operation_of(node)
        copies = entry.moves and entry.elementwise and node.operands[0].source in spread
        if entry.broadcasts or copies:
            spread.add(node.name)

    def read(name: str) -> list[str]:
        node = graph[name]
        if operation_of(node).adjoint is None:
            return []
        past = spread if _by_length(graph, node) else set()
        return [edge.source for edge in node.operands if edge.source not in past]

    ends = [name for _, name in graph.outputs]
    ends += [] if graph.loss is None else [graph.loss]
    return spread - {*reachable(ends, read)}


def _by_length(graph: Graph, node: Node) -> bool:
    """Whether a node reads a length, or chooses by one, as ragged batches read initial values."""
    lengths = lengths_leaves(graph.axes).values()
    sources = [graph[edge.source] for edge in node.operands]
    conditions = [source for source in sources if source.type.kind == "bool"]
    read = [*node.operands, *(edge for condition in conditions for edge in condition.operands)]
    return any(edge.source in lengths for edge in read)


def weight_nodes(graph: Graph) -> set[str]:
    """The parameters, and the values of parameters and constants alone."""
    parameters = (node.name for node in graph.leaves("param"))
    others = (
        node.name
        for node in graph.nodes
        if node.operation not in ("param", "constant") and (node.type.axes or _given(node))
    )
    return dependents(graph.nodes, parameters) - dependents(graph.nodes, others)


def _given(node: Node) -> bool:
    """Whether a node comes with a call: a leaf, or the number of steps."""
    return node.operation in LEAVES or operation_of(node).counts
