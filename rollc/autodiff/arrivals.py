"""Where cotangents arrive, before there are any: what each node's readers take of it.

A node that another one reads at the same step, and whole, gets a cotangent wherever that one
does.  ``where`` takes what its condition says, ``max`` an element, ``last`` a step, a read
with a delay all steps but the last ones.  What arithmetic makes zero counts as a cotangent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rollc.ir.graph import Edge, Graph, Node
from rollc.ir.operations import OPERATIONS, operation_of
from rollc.ir.operations.linear import over_axes
from rollc.ir.traversal import users


@dataclass(frozen=True, slots=True)
class Choice:
    """A cotangent arrives where a condition holds, or where it does not."""

    condition: Edge
    holds: bool


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where the nodes of a graph get cotangents.

    Those in ``everywhere`` do at every step and element; or else, at its last steps, they are
    made of nothing but what does, by operations that keep finite numbers finite.  Of some
    others, ``chosen`` knows the condition.
    """

    everywhere: frozenset[str]
    chosen: Mapping[str, Choice]


def arrivals(
    graph: Graph, seeds: Iterable[str], active: Collection[str], outside: Collection[str] = ()
) -> Arrivals:
    """Where cotangents arrive if they do everywhere at the seeds.

    ``active`` are the nodes through which derivatives pass, and ``outside`` those that get
    cotangents from outside, which may be zero.
    """
    seeds = tuple(seeds)
    found = _reached(graph, seeds)
    return Arrivals(
        frozenset(found | _sound_at_borders(graph, seeds, found)),
        _chosen(graph, {*seeds, *outside}, found, active),
    )


# Everywhere ---------------------------------------------------------------------------------


def _reached(graph: Graph, seeds: Iterable[str], later: bool = False) -> set[str]:
    """The nodes that get a cotangent at every step and element.

    The last step of a value that goes on from step to step reaches all the others, one after
    the other.  ``later`` counts reads with a delay too.
    """
    ends = {node.name for node in graph.nodes if operation_of(node).end}
    while True:
        found = _reached_from(graph, seeds, ends, later)
        alone = {name for name in ends & found if not _goes_on(graph, graph[name], found)}
        if not alone:
            return found
        ends -= alone


def _goes_on(graph: Graph, end: Node, found: Collection[str]) -> bool:
    """Whether what an end is of is read at the next step, on the way to it, by what is reached."""
    (edge,) = end.operands
    delay = 1 if operation_of(end).end == "last" else -1
    onwards = Edge(edge.source, delay, str(end.options["axis"]))
    return any(
        node.name in found and any(onwards == read for read in _taken(node)) for node in graph.nodes
    )


def _reached_from(
    graph: Graph, seeds: Iterable[str], ends: Collection[str], later: bool
) -> set[str]:
    """The nodes that are reached where the ends of values reach all of their steps."""
    found: set[str] = set()
    pieces: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    waiting = list(seeds)
    while waiting:
        node = graph[waiting.pop()]
        if node.name in found:
            continue
        found.add(node.name)
        for edge in node.operands if node.name in ends else _taken(node):
            if edge.delay == 0 or later:
                waiting.append(edge.source)
            if edge.delay and (initial := graph[edge.source].initial) is not None:
                waiting.append(initial)
        if (piece := _piece(node)) is not None:
            axis, start, stop = piece
            (edge,) = node.operands
            parts = pieces[edge.source, axis]
            parts.append((start, stop))
            whole = _cover(parts, graph[edge.source].type.shape[axis])
            if whole and (edge.delay == 0 or later):
                waiting.append(edge.source)
    return found


def _taken(node: Node) -> Iterator[Edge]:
    """The operands of a node to which it always passes something on."""
    entry = OPERATIONS.get(node.operation)
    if entry is not None and entry.adjoint is not None:
        for place, edge in enumerate(node.operands):
            if not entry.may_leave(place):
                yield edge


def _piece(node: Node) -> tuple[int, int, int] | None:
    """The dimension along which a node is a piece of its operand, from where and to where."""
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


def _cover(pieces: Iterable[tuple[int, int]], size: int) -> bool:
    """Whether pieces leave no gap from 0 up to a size."""
    end = 0
    for start, stop in sorted(pieces):
        if start > end:
            return False
        end = max(end, stop)
    return end >= size


def _sound_at_borders(graph: Graph, seeds: Iterable[str], reached: Collection[str]) -> set[str]:
    """The nodes that miss a cotangent at the last steps only, and have finite values there.

    The adjoint of a state that is only read at the next step needs no masks at all steps for
    the sake of the last one.
    """
    sound = _reached(graph, seeds, later=True)
    readers = users(graph.nodes, Node.reads)

    def is_sound(node: Node) -> bool:
        if node.name in reached or node.operation in ("constant", "param"):
            return True
        entry = OPERATIONS.get(node.operation)
        finite = entry is not None and entry.slope_at(node.options) != "infinite"
        return finite and all(
            edge.source in sound or graph[edge.source].type.kind != "float" for edge in node.reads()
        )

    waiting = [node.name for node in graph.nodes if node.name in sound]
    while waiting:
        name = waiting.pop()
        if name in sound and not is_sound(graph[name]):
            sound.remove(name)
            waiting.extend(reader.name for reader, _ in readers.get(name, ()))
    return sound


# By choice ----------------------------------------------------------------------------------


def _chosen(
    graph: Graph, seeds: Collection[str], reached: Collection[str], active: Collection[str]
) -> dict[str, Choice]:
    """The condition under which a node gets a cotangent, where one ``where`` decides it.

    The readers of a node come before it: each passes its condition on.
    """
    readers: dict[str, list[tuple[Node, int]]] = defaultdict(list)
    starts = {node.initial for node in graph.nodes}
    for node in graph.nodes:
        entry = OPERATIONS.get(node.operation)
        if node.name in active and entry is not None and entry.adjoint is not None:
            for place, edge in enumerate(node.operands):
                readers[edge.source].append((node, place))
    found: dict[str, Choice] = {}
    known: set[str] = set()

    def choice(node: Node, reader: Node, place: int) -> Choice | None:
        """What a node gets of its only reader."""
        if reader.operands[place].delay:
            return None
        if reader.operation == "where" and reader.name in reached:
            made = Choice(reader.operands[0], place == 1) if place else None
        else:
            made = None if OPERATIONS[reader.operation].may_leave(place) else found.get(reader.name)
        if made is None:
            return None
        type_ = graph[made.condition.source].type
        axes = {*type_.axes, *([made.condition.axis] if made.condition.delay else [])}
        line = not type_.shape or (
            OPERATIONS[reader.operation].elementwise and type_.shape == node.type.shape
        )
        # A softmax over steps passes on to all of them what arrives at any.
        shared = axes & set(over_axes(reader.options))
        return made if line and axes <= set(node.type.axes) and not shared else None

    def see(name: str) -> None:
        path = [name]
        while path:
            node = graph[path[-1]]
            mine = readers[node.name]
            alone = len(mine) == 1 and node.name not in starts and node.name not in seeds
            if alone and mine[0][0].name not in known and not mine[0][0].operands[mine[0][1]].delay:
                path.append(mine[0][0].name)
                continue
            known.add(path.pop())
            made = choice(node, *mine[0]) if alone else None
            if made is not None:
                found[node.name] = made

    for name in active:
        if name not in known:
            see(name)
    return found
