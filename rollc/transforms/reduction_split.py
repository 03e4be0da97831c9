"""Splitting of reductions over time and other axes into one at each step and one over time.

The one over time is a sum, a maximum or a minimum, for which an unrolled graph has a variadic
operation (``Operation.combine``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rollc.ir.graph import Edge, Graph, Node, Type, attributes, ordered_axes
from rollc.ir.operations import operation_of

EACH = "'each"
"""The suffix of the reduction at each step; no spec can name it."""


def split_reductions(graph: Graph, axis: str, steps: int) -> Graph:
    """The graph with its reductions along ``axis`` split; ``steps`` is the length of it.

    There is no softmax along it.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.extend(_parts(node, axis, steps))
    return graph.with_nodes(nodes)


def _parts(node: Node, axis: str, steps: int) -> Iterator[Node]:
    over = node.options.get("over")
    if not isinstance(over, tuple) or axis not in over:
        yield node
        return
    operands = node.operands
    if not operation_of(node).combine or over != (axis,):
        rest = tuple(str(other) for other in over if other != axis)
        options = {name: value for name, value in node.attributes if name != "over"}
        if rest:
            options["over"] = rest
        if rest or node.operation != "mean_over":
            axes = ordered_axes((*node.type.axes, axis))
            each = replace(
                node,
                name=node.name + EACH,
                type=replace(node.type, axes=axes),
                attributes=attributes(**options),
                initial=None,
            )
            yield each
            operands = (Edge(each.name),)
    operation = node.operation if operation_of(node).combine else "sum_over"
    total = replace(
        node, operation=operation, operands=operands, attributes=attributes(over=(axis,))
    )
    if node.operation != "mean_over":
        yield total
        return
    yield replace(total, name=f"{node.name}'sum", initial=None)
    factor = Node(f"{node.name}'share", "constant", (), Type("float"), attributes(value=1 / steps))
    yield factor
    mean = (Edge(f"{node.name}'sum"), Edge(factor.name))
    yield replace(node, operation="multiply", operands=mean, attributes=())
