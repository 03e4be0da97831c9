"""Split of a network for windows of steps (checkpointing): the loop, its start and its end.

A loss depends on the steps by reductions only: sums, means, extremes, the first or last step.
``split`` cuts a graph there.  The *window* holds all nodes that change with time; its outputs
are the reductions over its own steps (a mean as a sum).  The *head* computes the loss from the
reductions of the whole sequence, its inputs.  The *start* holds the initial values.

With the state carried from window to window, the partial reductions of all windows combine to
those of the whole sequence.  Of an extreme the window also counts the steps that have it: equal
ones share the gradient, in whichever windows they are.  All three are graphs, and are
differentiated as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rollc.ir.builder import Builder
from rollc.ir.graph import BATCH, Graph, Node
from rollc.ir.operations import operation_of
from rollc.ir.operations.elementwise.arithmetic import extremes
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.traversal import dependents, needed


class CannotSplit(ValueError):
    """A graph that cannot run in windows, and why."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """A node that reduces the sequence; ``how`` combines the results of windows.

    Of an extreme, ``taken`` is the output of a window that counts the steps that have its own.
    """

    node: str
    how: str  # sum, mean, max, min, first, last
    taken: str = ""


@dataclass(frozen=True)
class Split:
    """The three graphs of a network in windows.

    The window's outputs are labelled with the names of the reductions (and of the counts of
    extremes), and the head has static inputs of the names of reductions.  The start's outputs are
    the initial values, labelled with the nodes that they belong to.
    """

    window: Graph
    head: Graph
    start: Graph
    reductions: tuple[Reduction, ...]


def split(graph: Graph) -> Split:
    """Split a checked graph with a loss; raises :class:`CannotSplit`."""
    if graph.loss is None:
        raise CannotSplit("it has no loss")
    if not graph.axes:
        raise CannotSplit("it has no time axis")
    if len(graph.axes) > 1:
        axes = " and ".join(f"`{axis}`" for axis in graph.axes)
        raise CannotSplit(
            f"it has two time axes, {axes}, and windows are along the only one; what one call needs"
            " goes by the batch: run fewer sequences at once, and add their gradients"
        )
    future = [name for name, reach in graph.reach.items() if reach.future]
    if future:
        raise CannotSplit(f"`{future[0]}` is read from the future")
    counting = [node.line for node in graph.nodes if node.operation == "step"]
    if counting:  # a window would count from its own beginning
        raise CannotSplit(f"line {counting[0]} counts the steps of the whole sequence")
    found = [node for node in graph.nodes if reduces(graph, node)]
    late = dependents(graph.nodes, (node.name for node in found))
    for node in graph.nodes:
        if node.name in late and node.type.time:
            raise CannotSplit(f"`{node.name}` needs a value of the whole sequence at every step")
    reductions = tuple(map(reduction_of, found))
    early = [node for node in graph.nodes if node.name not in late]
    parts = [part for node in found for part in of_window(graph, node)]
    names = outputs_of(reductions)
    window = replace(
        graph,
        nodes=(*early, *parts),
        outputs=tuple((name, name) for name in names),
        loss=None,
    )
    for node in needed(window, names).nodes:
        if operation_of(node).counts and node.options["axis"] != BATCH:
            raise CannotSplit(f"`{node.name}` counts the steps of the whole sequence")
    given = {node.name for node in found}
    head_nodes = [
        Node(node.name, "input", (), node.type, line=node.line) if node.name in given else node
        for node in graph.nodes
        if node.type.static
    ]
    head = needed(replace(graph, nodes=tuple(head_nodes), outputs=()), [graph.loss])
    initials = {
        name: graph[name].initial for name in graph.reach if graph[name].initial is not None
    }
    start = needed(
        replace(
            graph,
            outputs=tuple((name, initial) for name, initial in initials.items() if initial),
            loss=None,
        ),
        [initial for initial in initials.values() if initial],
    )
    return Split(window, head, start, reductions)


def reduces(graph: Graph, node: Node) -> bool:
    """Whether a node reduces a sequence to one value.

    Raises :class:`CannotSplit` where a step needs all steps, or where results of windows do not
    combine.
    """
    entry = operation_of(node)
    if entry.renames:
        axis, to = node.options["axis"], node.options["to"]
        raise CannotSplit(f"`{node.name}` reads the steps of {axis} along {to}, which needs all")
    whole = not set(node.type.time).isdisjoint(over_axes(node.options))
    if whole or (entry.sees_end and node.type.time):
        raise CannotSplit(f"`{node.name}` needs the whole sequence at every step")
    if not node.type.static or not node.operands:
        return False
    timed = any(graph[edge.source].type.time for edge in node.operands)
    if timed and not entry.reduces and not entry.end:
        raise CannotSplit(f"`{node.name}` reduces a sequence in a way of its own")
    return timed


def reduction_of(node: Node) -> Reduction:
    """A reduction, with the way in which the results of windows combine."""
    how = operation_of(node).reduces or node.operation
    return Reduction(node.name, how, f"{node.name}'taken" if how in ("max", "min") else "")


def outputs_of(reductions: Iterable[Reduction]) -> list[str]:
    """The outputs of a window with some reductions."""
    return [name for each in reductions for name in (each.node, each.taken) if name]


def of_window(graph: Graph, node: Node) -> tuple[Node, ...]:
    """A reduction over the steps of a window alone: a mean becomes a sum, an extreme is counted."""
    over, taken = node.options.get("over"), reduction_of(node).taken
    if operation_of(node).reduces == "mean":
        assert isinstance(over, tuple)
        if len(over) > 1:
            raise CannotSplit(f"`{node.name}` is a mean over the steps and the batch at once")
        return (replace(node, operation="sum_over"),)
    if not taken:
        return (node,)
    assert isinstance(over, tuple)
    build = Builder(graph.nodes)
    build.prefix, build.line = taken, node.line
    (edge,) = node.operands
    has_it = extremes(build.read(edge.source, edge.delay, edge.axis), build.read(node.name))
    build.define(taken, "sum_over", (has_it,), over=over)
    return (node, *(made for name, made in build.nodes.items() if name not in graph.by_name))
