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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from rollc.ir.builder import Builder
from rollc.ir.graph import BATCH, Graph, Node, Type, delayed
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
    It goes ``over`` some axes.
    """

    node: str
    how: str  # sum, mean, max, min, first, last
    taken: str = ""
    over: tuple[str, ...] = ()

    def count(self, sizes: Mapping[str, int]) -> int:
        """Of how many values it is."""
        return prod(sizes[axis] for axis in self.over)


@dataclass(frozen=True)
class Split:
    """The three graphs of a network in windows.

    The window's outputs are labelled with the names of the reductions (and of the counts of
    extremes), and the head has static inputs of the names of reductions.  The start's outputs are
    the initial values, labelled with the nodes that they belong to.  What does not run along the
    ``axis`` of the windows is static here, even if it runs along another one.
    """

    axis: str
    window: Graph
    head: Graph
    start: Graph
    reductions: tuple[Reduction, ...]


def split(graph: Graph, axis: str | None = None) -> Split:
    """Split a checked graph with a loss along an axis, the only one if none is named.

    Raises :class:`CannotSplit`.
    """
    if graph.loss is None:
        raise CannotSplit("it has no loss")
    if not graph.axes:
        raise CannotSplit("it has no time axis")
    if axis is None and len(graph.axes) > 1:
        axes = " and ".join(f"`{each}`" for each in graph.axes)
        raise CannotSplit(f"it has two time axes, {axes}, and windows are along one of them")
    axis = graph.axes[0] if axis is None else axis
    for name, reach in delayed(graph, axis).items():
        if reach.future:
            raise CannotSplit(f"`{name}` is read from the future")
    for node in graph.nodes:  # a window would count from its own beginning
        if node.operation == "step" and node.options["axis"] == axis:
            raise CannotSplit(f"line {node.line} counts the steps of the whole sequence")
    found = [node for node in graph.nodes if reduces(graph, node, axis)]
    late = dependents(graph.nodes, (node.name for node in found))
    for node in graph.nodes:
        if node.name in late and axis in node.type.axes:
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
        if operation_of(node).counts and node.options["axis"] == axis:
            raise CannotSplit(f"`{node.name}` counts the steps of the whole sequence")
    given = {node.name for node in found}
    head_nodes = [
        Node(node.name, "input", (), node.type, line=node.line) if node.name in given else node
        for node in graph.nodes
        if axis not in node.type.axes
    ]
    head = needed(replace(graph, nodes=tuple(head_nodes), outputs=()), [graph.loss])
    initials = {name: graph[name].initial for name in delayed(graph, axis)}
    start = needed(
        replace(
            graph,
            outputs=tuple((name, initial) for name, initial in initials.items() if initial),
            loss=None,
        ),
        [initial for initial in initials.values() if initial],
    )
    return Split(axis, window, head, start, reductions)


def reduces(graph: Graph, node: Node, along: str | None = None) -> bool:
    """Whether a node reduces a sequence, along one axis or along any, to one value.

    Raises :class:`CannotSplit` where a step needs all steps, or where results of windows do not
    combine.
    """
    entry = operation_of(node)
    if entry.renames:
        axis, to = node.options["axis"], node.options["to"]
        raise CannotSplit(f"`{node.name}` reads the steps of {axis} along {to}, which needs all")

    def timed_axes(type_: Type) -> set[str]:
        return {axis for axis in type_.time if along in (None, axis)}

    own = timed_axes(node.type)
    whole = not own.isdisjoint(over_axes(node.options))
    if whole or (entry.sees_end and own and along in (None, node.options["axis"])):
        raise CannotSplit(f"`{node.name}` needs the whole sequence at every step")
    if own or not node.operands:
        return False
    timed = any(timed_axes(graph[edge.source].type) for edge in node.operands)
    if timed and not entry.reduces and not entry.end:
        raise CannotSplit(f"`{node.name}` reduces a sequence in a way of its own")
    return timed


def reduction_of(node: Node) -> Reduction:
    """A reduction, with the way in which the results of windows combine."""
    how = operation_of(node).reduces or node.operation
    taken = f"{node.name}'taken" if how in ("max", "min") else ""
    return Reduction(node.name, how, taken, over_axes(node.options))


def outputs_of(reductions: Iterable[Reduction]) -> list[str]:
    """The outputs of a window with some reductions."""
    return [name for each in reductions for name in (each.node, each.taken) if name]


def of_window(graph: Graph, node: Node) -> tuple[Node, ...]:
    """A reduction over the steps of a window alone: a mean becomes a sum, an extreme is counted."""
    over, taken = node.options.get("over"), reduction_of(node).taken
    if operation_of(node).reduces == "mean":
        assert isinstance(over, tuple)
        if len(over) > 1 and BATCH in over:
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
