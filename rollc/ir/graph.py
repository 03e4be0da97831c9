"""The one intermediate representation: a graph whose edges carry integer delays.

A *node* is one operation with a type: its kind, its shape and the axes it runs on.
An *edge* reads a node, at the same step (``delay=0``), from the past (``delay > 0``)
or from the future (``delay < 0``).  A read outside the sequence takes the source's
initial value, zero unless the node names one.

Axes are the time axes, in alphabetical order, and then ``batch``.  A node without a time
axis has one value for the whole sequence; a node without the batch axis has one value for
all sequences (a parameter has neither).  An array that holds a node's values has one
dimension for each axis, in that order, and then the node's own shape.

Everything here is frozen; a pass takes a graph and returns a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

BATCH = "batch"

Kind = Literal["float", "index", "bool"]
Shape = tuple[int, ...]
Attribute = int | float | str | bool | tuple[int, ...] | tuple[str, ...]
Stage = Literal["graph", "checked", "simplified", "adjoint", "dag"]

LEAVES = frozenset(
    {"input", "target", "param", "constant", "cotangent", "tangent", "state", "noise"}
)
GIVEN = frozenset({"input", "target"})
"""The leaves whose arrays are data: those of sequences."""


@dataclass(frozen=True, slots=True)
class Type:
    """What a node holds at one step of one sequence, and the axes it runs on.

    ``bound`` is the number of values that an index may take (0 to bound - 1).
    """

    kind: Kind
    shape: Shape = ()
    axes: tuple[str, ...] = ()
    bound: int | None = None

    @property
    def static(self) -> bool:
        """Whether there is one value for the whole sequence."""
        return not self.time

    @property
    def time(self) -> tuple[str, ...]:
        """The time axes, without the batch."""
        return tuple(axis for axis in self.axes if axis != BATCH)

    @property
    def size(self) -> int:
        """The number of elements at one step of one sequence."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    def __str__(self) -> str:
        kind = f"index({self.bound})" if self.kind == "index" else self.kind
        shape = f"[{', '.join(map(str, self.shape))}]" if self.shape else ""
        over = f" over {', '.join(self.axes)}" if self.axes else ""
        return f"{kind}{shape}{over}"


@dataclass(frozen=True, slots=True)
class Edge:
    """A read of ``source``, ``delay`` steps ago along the time axis ``axis``.

    ``axis`` is the empty string where the delay is zero.
    """

    source: str
    delay: int = 0
    axis: str = ""

    def __post_init__(self) -> None:
        if (self.delay == 0) != (self.axis == ""):
            raise ValueError(f"an edge has an axis exactly when it has a delay: {self}")

    def __str__(self) -> str:
        if self.delay == 0:
            return self.source
        sign = "-" if self.delay > 0 else "+"
        return f"{self.source}[{self.axis}{sign}{abs(self.delay)}]"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph.

    ``initial`` names the node whose value is read outside the sequence; it does not run over
    the axis of the delays.  Its shape is this node's own (the same for every depth), or has
    one dimension more in front, the depth: as many rows as the longest delay, the oldest step
    first.
    ``line`` is the line of the spec that the node came from; 0 where there is none.
    """

    name: str
    operation: str
    operands: tuple[Edge, ...]
    type: Type
    attributes: tuple[tuple[str, Attribute], ...] = ()
    initial: str | None = None
    line: int = 0

    @property
    def options(self) -> dict[str, Attribute]:
        """The attributes by name."""
        return dict(self.attributes)

    def reads(self) -> Iterator[Edge]:
        """Every node that this one needs: its operands, then its initial value."""
        yield from self.operands
        if self.initial is not None:
            yield Edge(self.initial)


def attributes(**values: Attribute) -> tuple[tuple[str, Attribute], ...]:
    """Attributes in the one order that makes equal nodes equal."""
    return tuple(sorted(values.items()))


@dataclass(frozen=True)
class Graph:
    """A network at some stage of its compilation.

    ``outputs`` and ``gradients`` pair a label with the node that holds the value.
    A gradient's label is the leaf that it belongs to; a state's gradient has the label
    ``state.NAME``.  ``steps`` is the number of steps of an unrolled graph, and ``grid`` has those
    along each axis of one that is unrolled along two.
    """

    name: str
    stage: Stage
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[str, str], ...] = ()
    loss: str | None = None
    gradients: tuple[tuple[str, str], ...] = ()
    axes: tuple[str, ...] = ("t",)
    dims: tuple[tuple[str, int], ...] = ()
    steps: int | None = None
    grid: tuple[tuple[str, int], ...] = ()

    @property
    def is_unrolled(self) -> bool:
        """Whether the graph is over a number of steps that is known."""
        return self.steps is not None or bool(self.grid)

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by their names."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def known(self) -> dict[str, Any]:
        """What has been found out of the graph once, since it never changes."""
        return {}

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    def leaves(self, operation: str) -> tuple[Node, ...]:
        """The leaves of one operation, in the order of the spec: ``"param"``, ``"input"`` …"""
        return self._leaves.get(operation, ())

    @cached_property
    def _leaves(self) -> Mapping[str, tuple[Node, ...]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            if node.operation in LEAVES:
                found.setdefault(node.operation, []).append(node)
        return {operation: tuple(nodes) for operation, nodes in found.items()}

    def results(self) -> tuple[str, ...]:
        """The nodes whose values leave the graph."""
        named = [name for _, name in self.outputs]
        if self.loss is not None:
            named.append(self.loss)
        named.extend(name for _, name in self.gradients)
        return tuple(dict.fromkeys(named))

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """The same network with other nodes."""
        return replace(self, nodes=tuple(nodes))

    def renamed(self, names: Mapping[str, str]) -> Graph:
        """The same network with other names for some nodes."""

        def pairs(old: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
            return tuple((label, names.get(name, name)) for label, name in old)

        return replace(
            self,
            nodes=tuple(with_names(node, names) for node in self.nodes),
            outputs=pairs(self.outputs),
            gradients=pairs(self.gradients),
            loss=None if self.loss is None else names.get(self.loss, self.loss),
        )

    def unused(self, name: str) -> str:
        """A name that no node has: this one, or this one with the next free number."""
        stem = name.rstrip("0123456789")
        number = int(name[len(stem) :] or 1)
        while name in self.by_name:
            number += 1
            name = f"{stem}{number}"
        return name

    @cached_property
    def reach(self) -> Mapping[str, Reach]:
        """How far each delayed node is read into the past and into the future."""
        found: dict[str, Reach] = {}
        for node in self.nodes:
            for edge in node.operands:
                if edge.delay:
                    known = found.get(edge.source, Reach())
                    found[edge.source] = known.extended(edge)
        return found


@dataclass(frozen=True, slots=True)
class Reach:
    """The longest delay of the reads of a node, into the past and the future, along ``axis``."""

    past: int = 0
    future: int = 0
    axis: str = field(default="")

    def extended(self, edge: Edge) -> Reach:
        """The reach with one more read."""
        return Reach(max(self.past, edge.delay), max(self.future, -edge.delay), edge.axis)


def delayed(graph: Graph, axis: str | None = None) -> dict[str, Reach]:
    """The nodes that are read with a delay, along one axis or along any, and how far."""
    return {name: reach for name, reach in graph.reach.items() if axis in (None, reach.axis)}


def outputs_only(graph: Graph) -> Graph:
    """A graph whose outputs are all its results."""
    return replace(graph, loss=None, gradients=())


def gradients_only(graph: Graph) -> Graph:
    """A graph whose gradients are its outputs, and all its results."""
    return replace(graph, outputs=graph.gradients, loss=None, gradients=())


def loss_only(graph: Graph) -> Graph:
    """A graph whose loss is its only result."""
    return replace(graph, outputs=(), gradients=())


def ordered_axes(axes: Iterable[str]) -> tuple[str, ...]:
    """The axes in the order that every array has: time axes by name, then the batch."""
    present = set(axes)
    return (*sorted(present - {BATCH}), *(present & {BATCH}))


def with_names(node: Node, names: Mapping[str, str]) -> Node:
    """A node with other names for itself and for what it reads."""
    operands = node.operands
    if any(edge.source in names for edge in operands):
        operands = tuple(
            replace(edge, source=names[edge.source]) if edge.source in names else edge
            for edge in operands
        )
    name = names.get(node.name, node.name)
    initial = None if node.initial is None else names.get(node.initial, node.initial)
    if name == node.name and operands is node.operands and initial == node.initial:
        return node
    return replace(node, name=name, operands=operands, initial=initial)
