"""Operations over time and more, divided into a part at each step and one over time.

What is left over time is a sum, a maximum or a minimum of values of the steps: an unrolled
graph has an operation for that (``Operation.combine``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rollc.ir.decomposition import decomposed_over
from rollc.ir.graph import Edge, Graph, Node, Type, attributes, ordered_axes
from rollc.ir.operations import operation_of

EACH = "'each"
"""What is behind the name of a part at each step; no spec can write it."""


def divided(graph: Graph, axis: str, steps: int) -> Graph:
    """Operations over time and more, divided into a part at each step and one over time."""
    nodes: list[Node] = []
    for node in decomposed_over(graph, [axis]).nodes:
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
    share = Node(f"{node.name}'share", "constant", (), Type("float"), attributes(value=1 / steps))
    yield share
    mean = (Edge(f"{node.name}'sum"), Edge(share.name))
    yield replace(node, operation="multiply", operands=mean, attributes=())
