"""A static analysis of where cotangents arrive: at which steps and elements of each node.

A node that another one reads whole and at the same step gets a cotangent wherever that one
does.  ``where`` passes it on by its condition, ``max`` to an element, ``last`` to a step, a read
with a delay to all steps but the last ones.  A cotangent that arithmetic makes zero counts as
one: the analysis is of the structure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.operations import OPERATIONS, operation_of
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.traversal import users


@dataclass(frozen=True, slots=True)
class Choice:
    """A cotangent arrives where a condition holds, or where it does not."""

    condition: Edge
    holds: bool


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where the nodes of a graph get cotangents.

    Those in ``everywhere`` do at every step and element, or at all but the last steps, where
    their derivatives are finite all the same.  For some others, ``chosen`` has the condition.
    """

    everywhere: frozenset[str]
    chosen: Mapping[str, Choice]


def arrivals(
    graph: Graph, seeds: Iterable[str], active: Collection[str], outside: Collection[str] = ()
) -> Arrivals:
    """Where cotangents arrive if they do everywhere at the seeds.

    ``active`` are the nodes through which derivatives pass, and ``outside`` those whose
    cotangents the caller gives, which may be zero.
    """
    seeds = tuple(seeds)
    found = _reached(graph, seeds)
    return Arrivals(
        frozenset(found | _finite_at_boundary(graph, seeds, found)),
        _chosen(graph, {*seeds, *outside}, found, active),
    )


# Everywhere ---------------------------------------------------------------------------------


def _reached(graph: Graph, seeds: Iterable[str], delayed: bool = False) -> set[str]:
    """The nodes that get a cotangent at every step and element.

    The cotangent of the last step of a recurrence reaches all steps, one after the other.
    ``delayed`` counts reads with a delay too.
    """
    ends = {node.name for node in graph.nodes if operation_of(node).end}
    while True:
        found = _reached_from(graph, seeds, ends, delayed)
        single = {name for name in ends & found if not _recurs(graph, graph[name], found)}
        if not single:
            return found
        ends -= single


def _recurs(graph: Graph, end: Node, found: Collection[str]) -> bool:
    """Whether the operand of an end is a recurrence: a reached node reads its last step."""
    (edge,) = end.operands
    delay = 1 if operation_of(end).end == "last" else -1
    recurrent = Edge(edge.source, delay, str(end.options["axis"]))
    return any(
        node.name in found and any(recurrent == read for read in _always_read(node))
        for node in graph.nodes
    )


def _reached_from(
    graph: Graph, seeds: Iterable[str], ends: Collection[str], delayed: bool
) -> set[str]:
    """The nodes that are reached if a cotangent of ``ends`` reaches all steps of their operands."""
    found: set[str] = set()
    ranges: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    pending = list(seeds)
    while pending:
        node = graph[pending.pop()]
        if node.name in found:
            continue
        found.add(node.name)
        for edge in node.operands if node.name in ends else _always_read(node):
            if edge.delay == 0 or delayed:
                pending.append(edge.source)
            if edge.delay and (initial := graph[edge.source].initial) is not None:
                pending.append(initial)
        if (sliced := _slice(node)) is not None:
            axis, start, stop = sliced
            (edge,) = node.operands
            known = ranges[edge.source, axis]
            known.append((start, stop))
            whole = _cover(known, graph[edge.source].type.shape[axis])
            if whole and (edge.delay == 0 or delayed):
                pending.append(edge.source)
    return found


def _always_read(node: Node) -> Iterator[Edge]:
    """The operands that a node depends on at every step and element."""
    entry = OPERATIONS.get(node.operation)
    if entry is not None and entry.adjoint is not None:
        for position, edge in enumerate(node.operands):
            if not entry.may_leave(position):
                yield edge


def _slice(node: Node) -> tuple[int, int, int] | None:
    """The dimension that a node slices its operand along, and its bounds; None for no slice."""
    options = node.options
    if node.operation == "slice":
        axis, start, stop = options.get("axis", 0), options["start"], options["stop"]
        assert isinstance(axis, int) and isinstance(start, int) and isinstance(stop, int)
        return axis, start, stop
    if node.operation == "row":
        at = options["at"]
        assert isinstance(at, int)
        return 0, at, at + 1
    return None


def _cover(ranges: Iterable[tuple[int, int]], size: int) -> bool:
    """Whether ranges cover those from 0 up to a size without a gap."""
    end = 0
    for start, stop in sorted(ranges):
        if start > end:
            return False
        end = max(end, stop)
    return end >= size


def _finite_at_boundary(graph: Graph, seeds: Iterable[str], reached: Collection[str]) -> set[str]:
    """The nodes that miss a cotangent at the last steps only, where their values are finite.

    So a state that is read with a delay alone has an adjoint without masks.
    """
    finite = _reached(graph, seeds, delayed=True)
    readers = users(graph.nodes, Node.reads)

    def is_finite(node: Node) -> bool:
        if node.name in reached or node.operation in ("constant", "param"):
            return True
        entry = OPERATIONS.get(node.operation)
        keeps = entry is not None and entry.slope_at(node.options) != "infinite"
        return keeps and all(
            edge.source in finite or graph[edge.source].type.kind != "float"
            for edge in node.reads()
        )

    pending = [node.name for node in graph.nodes if node.name in finite]
    while pending:
        name = pending.pop()
        if name in finite and not is_finite(graph[name]):
            finite.remove(name)
            pending.extend(reader.name for reader, _ in readers.get(name, ()))
    return finite


# By choice ----------------------------------------------------------------------------------


def _chosen(
    graph: Graph, seeds: Collection[str], reached: Collection[str], active: Collection[str]
) -> dict[str, Choice]:
    """The condition under which a node gets a cotangent, where a single ``where`` decides it.

    It propagates from a reader to an operand that has no other reader.
    """
    readers: dict[str, list[tuple[Node, int]]] = defaultdict(list)
    starts = {node.initial for node in graph.nodes}
    for node in graph.nodes:
        entry = OPERATIONS.get(node.operation)
        if node.name in active and entry is not None and entry.adjoint is not None:
            for position, edge in enumerate(node.operands):
                readers[edge.source].append((node, position))
    found: dict[str, Choice] = {}
    known: set[str] = set()

    def choice(node: Node, reader: Node, position: int) -> Choice | None:
        """The condition that a node has by its only reader."""
        entry = OPERATIONS[reader.operation]
        if reader.operands[position].delay:
            return None
        if reader.operation == "where" and reader.name in reached:
            made = Choice(reader.operands[0], position == 1) if position else None
        else:
            made = None if entry.may_leave(position) else found.get(reader.name)
        if made is None:
            return None
        type_ = graph[made.condition.source].type
        axes = {*type_.axes, *([made.condition.axis] if made.condition.delay else [])}
        fits = not type_.shape or (entry.elementwise and type_.shape == node.type.shape)
        # A softmax over steps has a contribution to all of them from a cotangent at any.
        shared = axes & set(over_axes(reader.options))
        return made if fits and axes <= set(node.type.axes) and not shared else None

    def visit(name: str) -> None:
        path = [name]
        while path:
            node = graph[path[-1]]
            mine = readers[node.name]
            single = len(mine) == 1 and node.name not in starts and node.name not in seeds
            if single and mine[0][0].name not in known:
                reader, position = mine[0]
                if not reader.operands[position].delay:
                    path.append(reader.name)
                    continue
            known.add(path.pop())
            made = choice(node, *mine[0]) if single else None
            if made is not None:
                found[node.name] = made

    for name in active:
        if name not in known:
            visit(name)
    return found
