"""Per-sequence gradients: the loss of every sequence of a batch, and its gradients.

    a parameter p                           ->  p'own, a copy of it for each sequence
    the loss, a mean of l over the batch    ->  the sum of l

The cotangent of ``p'own`` is then the gradient of each sequence's own loss, and that of a leaf
with a batch is so anyway.  Values of parameters alone have copies too.  After differentiation,
nodes whose other operands run over the batch read the parameter itself in place of its copies.
"""

from __future__ import annotations

from dataclasses import replace

from rollc.autodiff.adjoint import PREFIX, adjoint, differentiable
from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import BATCH, Graph, Node, ordered_axes
from rollc.ir.names import STATE
from rollc.ir.operations import OPERATIONS, operation_of
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.traversal import dependents, needed


def why_not_by_sequence(graph: Graph) -> str | None:
    """Why the loss of a graph is not a mean of one loss for each sequence, in words."""
    if graph.loss is None:
        return "it has no loss"
    loss = graph[graph.loss]
    if operation_of(loss).reduces != "mean" or BATCH not in over_axes(loss.options):
        return "its loss is not a mean over the sequences"
    for node in needed(graph, [loss.name]).nodes:
        if node.name != loss.name and BATCH in over_axes(node.options):
            return f"`{node.name}` mixes the sequences"
    return None


def gradient_name(leaf: str) -> str:
    """The label of the output that holds the gradients of a leaf."""
    return PREFIX + leaf


def by_sequence(graph: Graph) -> Graph:
    """The graph whose outputs are the loss of each sequence, ``loss``, and its gradients.

    Those have the labels of :func:`gradient_name`; of the network's outputs the state remains.
    Takes a graph before the adjoint for which :func:`why_not_by_sequence` is None.
    """
    assert graph.loss is not None
    copied, loss, own = _with_copies(graph)
    derived = adjoint(copied)
    build = Builder(derived.nodes, mark=":")
    outputs = [("loss", loss)]
    for leaf, gradient in derived.gradients:
        name = gradient
        if leaf in own:
            name = PREFIX + own[leaf]
            if name not in build.nodes:  # no gradient passes there
                build.prefix, build.line = name, derived[leaf].line
                build.define(name, "spread", (build.read(gradient),), axis=BATCH)
        outputs.append((gradient_name(leaf), name))
    outputs += [(label, name) for label, name in graph.outputs if label.startswith(STATE)]
    leaves = {name: leaf for leaf, name in own.items()}
    return replace(
        derived,
        nodes=tuple(_reading(leaves, node, build) for node in build.nodes.values()),
        outputs=tuple(outputs),
        loss=None,
        gradients=(),
    )


def _reading(leaves: dict[str, str], node: Node, build: Builder) -> Node:
    """A node that reads leaves in place of their copies, where its type stays the same."""
    if not any(edge.source in leaves for edge in node.operands):
        return node
    operands = tuple(
        replace(edge, source=leaves.get(edge.source, edge.source)) for edge in node.operands
    )
    types = [build.type_of(edge) for edge in operands]
    found = OPERATIONS[node.operation].infer(types, node.options)
    return replace(node, operands=operands) if found == node.type else node


def _with_copies(graph: Graph) -> tuple[Graph, str, dict[str, str]]:
    """The graph with copies of leaves for each sequence, the node of the losses, and the copies.

    The copies are named by their leaves.
    """
    shared = [n.name for n in graph.nodes if differentiable(n) and BATCH not in n.type.axes]
    own = {name: f"{name}'own" for name in shared}
    found = dependents(graph.nodes, shared) - {graph.loss}
    build = Builder(graph.nodes)
    for name in shared:
        build.line = graph[name].line
        build.define(own[name], "spread", (build.read(name),), axis=BATCH)
    for node in graph.nodes:
        if node.name in found and node.name not in own:
            build.nodes[node.name] = _batched(node, own)
    assert graph.loss is not None
    node = graph[graph.loss]
    build.prefix, build.line = node.name, node.line
    (edge,) = node.operands
    loss = build.read(own.get(edge.source, edge.source), edge.delay, edge.axis)
    for axis in over_axes(node.options):
        loss = loss if axis == BATCH else call("mean_over", loss, over=(axis,))
    each = build.define(f"{node.name}'each", "identity", (loss,)).edge.source
    build.define(node.name, "sum_over", (build.read(each),), over=(BATCH,))
    return replace(graph, nodes=tuple(build.nodes.values())), each, own


def _batched(node: Node, own: dict[str, str]) -> Node:
    """A node that runs over the batch, and reads copies in place of leaves."""
    operands = tuple(
        replace(edge, source=own.get(edge.source, edge.source)) for edge in node.operands
    )
    initial = None if node.initial is None else own.get(node.initial, node.initial)
    type_ = replace(node.type, axes=ordered_axes((*node.type.axes, BATCH)))
    node = replace(node, operands=operands, initial=initial, type=type_)
    broadcast = operation_of(node).broadcasts and node.options.get("axis") == BATCH
    return replace(node, operation="identity", attributes=()) if broadcast else node
