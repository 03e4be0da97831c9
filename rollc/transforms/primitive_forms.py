"""Lowering of primitive operations to the forms that kernels are scheduled from.

After :mod:`rollc.ir.decomposition`:
  sum(a * b)                     ->  dot(a, b)           vectors, with no other reader of a * b;
                                                         of pairs of steps the last dimension too
  f(condition)                   ->  f(where(condition, 1, 0))  f takes numbers
  slice(f(a, b))                 ->  f(slice(a), slice(b))   f elementwise, read by slices only

The last one lets the parts of a split fuse with their readers: the gates of a cell become one
loop nest, and no vector of all gates is written.  Left behind: a graph of primitive operations
with the same values.  What it does not do: reassociate a sum.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.decomposition import made_since
from rollc.ir.expressions import call
from rollc.ir.graph import Attribute, Edge, Graph, Node, Type, attributes
from rollc.ir.operations import operation_of
from rollc.ir.traversal import users


def with_dots(graph: Graph) -> Graph:
    """The graph with dot products in place of sums of the products of two vectors."""
    readers = Counter(edge.source for node in graph.nodes for edge in node.reads())
    kept = {*graph.results(), *graph.reach}
    dots: dict[str, tuple[Edge, ...]] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        if node.operation != "sum":
            continue
        product = graph[node.operands[0].source]
        if node.type.shape and not _is_of_pairs(node, product.type):
            continue
        if product.operation != "multiply" or product.name in kept or readers[product.name] > 1:
            continue
        shapes = {graph[edge.source].type.shape for edge in product.operands}
        if shapes == {product.type.shape} and len(product.type.shape) == len(node.type.shape) + 1:
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


def _is_of_pairs(node: Node, product: Type) -> bool:
    """Whether a sum along the last dimension is for each pair of steps, which would be stored."""
    last = node.options.get("axis") in (-1, len(product.shape) - 1)
    return len(node.type.time) > 1 and last


def with_numbers(graph: Graph) -> Graph:
    """The graph with conditions converted to 0 and 1 where an operation takes numbers."""
    build = Builder(graph.nodes, mark="^")
    order: list[Node] = []
    for node in graph.nodes:
        if node.type.kind != "float":
            order.append(node)
            continue
        before = len(build.nodes)
        build.prefix, build.line = node.name, node.line
        operands = []
        for position, edge in enumerate(node.operands):
            value = build.read(edge.source, edge.delay, edge.axis)
            if value.type.kind == "bool" and (node.operation, position) != ("where", 0):
                edge = call("where", value, 1.0, 0.0).edge
            operands.append(edge)
        order.extend(made_since(build, before))
        order.append(replace(node, operands=tuple(operands)))
    return graph.with_nodes(order)


def with_early_slices(graph: Graph) -> Graph:
    """The graph with slices moved before elementwise operations, as far as they go."""
    while True:
        hoisted = _hoist_slices(graph)
        if hoisted is graph:
            return graph
        graph = hoisted


def _hoist_slices(graph: Graph) -> Graph:
    """Move the slices of elementwise nodes to their operands, by one node."""
    kept = {*graph.results(), *graph.reach}
    kept.update(node.initial for node in graph.nodes if node.initial is not None)
    readers = users(graph.nodes, lambda node: node.operands)

    def is_passed(node: Node) -> bool:
        if not operation_of(node).elementwise or len(node.type.shape) != 1:
            return False
        # There are no slices of conditions.
        types = (node.type, *(graph[edge.source].type for edge in node.operands))
        if any(type_.shape and type_.kind != "float" for type_ in types):
            return False
        mine = readers.get(node.name, [])
        if node.name in kept or not mine or any(reader.operation != "slice" for reader, _ in mine):
            return False
        return sum(reader.type.size for reader, _ in mine) <= node.type.size

    passed = {node.name: node for node in graph.nodes if is_passed(node)}
    if not passed:
        return graph
    nodes: list[Node] = []
    slices: dict[tuple[Edge, Attribute, Attribute], str] = {
        (node.operands[0], node.options["start"], node.options["stop"]): node.name
        for node in graph.nodes
        if node.operation == "slice"
        and len(node.type.shape) == 1
        and node.name not in kept
        and node.operands[0].source not in passed
    }
    for node in graph.nodes:
        if node.name in passed:
            continue
        source = passed.get(node.operands[0].source) if node.operation == "slice" else None
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
                axis = edge.axis if len(graph.axes) > 1 else ""
                when = f"^{'past' if edge.delay > 0 else 'next'}{abs(edge.delay)}{axis}"
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
