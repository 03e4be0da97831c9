"""Graph to graph: the form that kernels are planned from.

Rewrites:
  layer_norm(x, gain, bias)      ->  normalise(x) * gain + bias
  mse(a, b)                      ->  mean((a - b) * (a - b))
  binary_cross_entropy(s, y)     ->  mean(logistic_loss(s, y))
  mean_over(x)                   ->  sum_over(x) / extent
  softmax_over(x)                ->  e / sum_over(e)  with  e = exp(x - max_over(x)), of finite x
  inverse(a), log_det(a)         ->  parts of gauss_jordan(a), which they share
  sum(a * b)                     ->  dot(a, b)           vectors, the product read here alone
  f(condition)                   ->  f(where(condition, 1, 0))  f takes numbers
  slice(f(a, b))                 ->  f(slice(a), slice(b))   f elementwise, read by slices only

The last one lets the parts of a split be fused with what reads them: the gates of a cell
become one nest, and no vector of all gates is written.  Left behind: a graph of primitive
operations with the same values.  What it does not do: change the order of any sum.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

from rollc.graph.build import Builder
from rollc.graph.expression import Value, call
from rollc.graph.graph import Attribute, Edge, Graph, Node, attributes
from rollc.graph.operations import OPERATIONS
from rollc.graph.operations.linear import over_axes
from rollc.graph.operations.sequence import call_extent, softmax_parts

_COMPOSITES = frozenset(
    {
        *("layer_norm", "mse", "binary_cross_entropy"),
        *("mean_over", "softmax_over", "inverse", "log_det"),
    }
)


def lower(graph: Graph) -> Graph:
    """The graph in primitive operations, with slices as early as they can be."""
    graph = _numbers(_dots(_expand(graph)))
    while True:
        sunk = _sink_slices(graph)
        if sunk is graph:
            return graph
        graph = sunk


def _expand(graph: Graph) -> Graph:
    build = Builder(graph.nodes, mark="^")
    order: list[Node] = []
    for node in graph.nodes:
        if node.operation not in _COMPOSITES:
            order.append(node)
            continue
        before = len(build.nodes)
        build.prefix, build.line = node.name, node.line
        values = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
        final = _composite(node, values)
        made = _since(build, before)
        last = build.nodes[final.edge.source]
        order.extend(other for other in made if other.name != last.name)
        order.append(replace(last, name=node.name, initial=node.initial, line=node.line))
    return graph.with_nodes(order)


def _since(build: Builder, before: int) -> list[Node]:
    """The nodes that were made since there were so many."""
    made = islice(reversed(build.nodes.values()), len(build.nodes) - before)
    return list(made)[::-1]


def _dots(graph: Graph) -> Graph:
    """The sum of the products of two vectors in one."""
    readers = Counter(edge.source for node in graph.nodes for edge in node.reads())
    kept = {*graph.results(), *graph.reach}
    dots: dict[str, tuple[Edge, ...]] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        if node.operation != "sum" or node.type.shape:
            continue
        product = graph[node.operands[0].source]
        if product.operation != "multiply" or product.name in kept or readers[product.name] > 1:
            continue
        shapes = {graph[edge.source].type.shape for edge in product.operands}
        if shapes == {product.type.shape} and len(product.type.shape) == 1:
            dots[node.name] = product.operands
            gone.add(product.name)
    if not dots:
        return graph
    return graph.with_nodes(
        replace(node, operation="dot", operands=dots[node.name], attributes=())
        if node.name in dots
        else node
        for node in graph.nodes
        if node.name not in gone
    )


def _numbers(graph: Graph) -> Graph:
    """Conditions as the numbers 0 and 1, where an operation reads them as numbers."""
    build = Builder(graph.nodes, mark="^")
    order: list[Node] = []
    for node in graph.nodes:
        if node.type.kind != "float":
            order.append(node)
            continue
        before = len(build.nodes)
        build.prefix, build.line = node.name, node.line
        operands = []
        for place, edge in enumerate(node.operands):
            value = build.read(edge.source, edge.delay, edge.axis)
            if value.type.kind == "bool" and (node.operation, place) != ("where", 0):
                edge = call("where", value, 1.0, 0.0).edge
            operands.append(edge)
        order.extend(_since(build, before))
        order.append(replace(node, operands=tuple(operands)))
    return graph.with_nodes(order)


def _composite(node: Node, values: list[Value]) -> Value:
    if node.operation == "layer_norm":
        x, gain, bias = values
        return call("normalise", x, **node.options) * gain + bias
    if node.operation == "mean_over":
        (x,) = values
        total = call("sum_over", x, **node.options)
        for axis in over_axes(node.options):
            total = total / call_extent(total, axis)
        return total
    if node.operation == "softmax_over":
        e, total = softmax_parts(values[0], over_axes(node.options))
        return e / total
    if node.operation in ("inverse", "log_det"):
        found = call("gauss_jordan", *values)
        size = values[0].type.shape[0]
        if node.operation == "inverse":
            return call("slice", found, start=0, stop=size)
        return call("sum", call("slice", found, start=size, stop=size + 1))
    a, b = values
    if node.operation == "mse":
        difference = a - b
        loss = difference * difference
    else:
        loss = call("logistic_loss", a, b)
    return call("mean", loss, axis=-1) if loss.type.shape else call("identity", loss)


def _sink_slices(graph: Graph) -> Graph:
    """Move the slices of elementwise nodes to their operands, once for each such node."""
    kept = {*graph.results(), *graph.reach}
    kept.update(node.initial for node in graph.nodes if node.initial is not None)
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for edge in node.operands:
            readers.setdefault(edge.source, []).append(node)

    def sinks(node: Node) -> bool:
        entry = OPERATIONS.get(node.operation)
        if entry is None or not entry.elementwise or len(node.type.shape) != 1:
            return False
        mine = readers.get(node.name, [])
        if node.name in kept or not mine or any(reader.operation != "slice" for reader in mine):
            return False
        return sum(reader.type.size for reader in mine) <= node.type.size

    sinking = {node.name: node for node in graph.nodes if sinks(node)}
    if not sinking:
        return graph
    nodes: list[Node] = []
    slices: dict[tuple[Edge, Attribute, Attribute], str] = {
        (node.operands[0], node.options["start"], node.options["stop"]): node.name
        for node in graph.nodes
        if node.operation == "slice"
        and len(node.type.shape) == 1
        and node.name not in kept
        and node.operands[0].source not in sinking
    }
    for node in graph.nodes:
        if node.name in sinking:
            continue
        source = sinking.get(node.operands[0].source) if node.operation == "slice" else None
        if source is None:
            nodes.append(node)
            continue
        start, stop = node.options["start"], node.options["stop"]
        assert isinstance(start, int) and isinstance(stop, int)
        operands = []
        for edge in source.operands:
            if not graph[edge.source].type.shape:
                operands.append(edge)
                continue
            key = (edge, start, stop)
            if key not in slices:
                when = f"^{'past' if edge.delay > 0 else 'next'}{abs(edge.delay)}"
                slices[key] = f"{edge.source}^{start}to{stop}{when if edge.delay else ''}"
                nodes.append(_slice(graph[edge.source], edge, start, stop, slices[key]))
            operands.append(Edge(slices[key]))
        shaped = source.attributes
        if source.operation == "fill":
            shaped = attributes(shape=node.type.shape)
        nodes.append(
            replace(
                node,
                operation=source.operation,
                operands=tuple(operands),
                attributes=shaped,
                line=source.line,
            )
        )
    return graph.with_nodes(nodes)


def _slice(source: Node, edge: Edge, start: int, stop: int, name: str) -> Node:
    type_ = replace(source.type, kind="float", shape=(stop - start,), bound=None)
    options = attributes(axis=0, start=start, stop=stop)
    return Node(name, "slice", (edge,), type_, options, line=source.line)
