"""Streaming: the state of a recurrence as inputs and outputs of the graph.

The state of a node that is read d steps back is its last d values.  ``expose_state`` gives
each such node a leaf ``state.NAME`` as its initial value (one dimension more in front: the
steps, the oldest first), and adds an output of the same name and shape with the values after
the last step, the ``tail`` of the sequence.  A graph with a read from the future has no state:
a window of it depends on later ones.  With two time axes the state is that of the delays along
one of them, and may run over the other; what runs over the other alone belongs to each window,
as what does not change with time does.
"""

from __future__ import annotations

from dataclasses import replace

from rollc.ir.builder import Builder
from rollc.ir.graph import Graph, Node, Type, delayed
from rollc.ir.names import STATE
from rollc.ir.operations import operation_of


def state_type(graph: Graph, name: str) -> Type:
    """The type of a node's state: as many rows as its longest delay."""
    node = graph[name]
    axis = graph.reach[name].axis
    axes = tuple(other for other in node.type.axes if other != axis)
    return replace(node.type, shape=(graph.reach[name].past, *node.type.shape), axes=axes)


def final_name(name: str) -> str:
    """The name of the node that holds the state of a node after the last step."""
    return f"{STATE}{name}'final"


def expose_state(graph: Graph, axis: str | None = None) -> Graph:
    """The graph with its state as leaves and outputs, for delays along one axis or along all.

    Raises ``ValueError`` for a read from the future.
    """
    found = delayed(graph, axis)
    if not all(reach.future == 0 for reach in found.values()):
        raise ValueError("a delay reaches into the future")
    leaves: list[Node] = []
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in found:
            leaf = STATE + node.name
            leaves.append(Node(leaf, "state", (), state_type(graph, node.name), line=node.line))
            nodes.append(replace(node, initial=leaf))
        else:
            nodes.append(node)
    build = Builder((*leaves, *nodes), mark="^")
    outputs = list(graph.outputs)
    for name, reach in found.items():
        build.line = graph[name].line
        rows = (build.read(name), build.read(STATE + name))
        final = build.define(final_name(name), "tail", rows, axis=reach.axis)
        outputs.append((STATE + name, final.edge.source))
    return replace(graph, nodes=tuple(build.nodes.values()), outputs=tuple(outputs))


def why_no_state(graph: Graph, axis: str | None = None) -> str | None:
    """Why a graph cannot run in windows that carry its state, in words; None if it can.

    The windows are along an axis, the only one if none is named.
    """
    if axis is None and len(graph.axes) > 1:
        return "it has more than one time axis; windows are along one of them"
    for name, reach in delayed(graph, axis).items():
        if reach.future:
            return f"`{name}` is read from the future"
    for node in graph.nodes:
        if operation_of(node).renames:
            one, other = node.options["axis"], node.options["to"]
            return f"`{node.name}` needs all steps of {one}, which it reads along {other}"
    return None
