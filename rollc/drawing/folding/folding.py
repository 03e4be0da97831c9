"""Folding of a graph to the values that a picture has boxes for.

    h = tanh(W @ x + U @ h[t-1])   ->   h reads x, and itself one step ago; it has W and U
    c = sigmoid(f) * c[t-1]        ->   the box of f is sigmoid(f), where nothing else reads f
    i, f = split(W @ x + …, 2)     ->   W @ x + … is a box too, which i and f read

Nodes without a name of the spec are folded into the value that depends on them, and delays along a
path add up.  A node without a name that spares arrows, because several values read what it reads,
is a value by itself.  Parameters are part of their readers.  In an adjoint the gradients of
parameters that come from the same values are one value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from rollc.autodiff.tangent import tangent_name
from rollc.ir.graph import LEAVES, Edge, Graph, Node
from rollc.ir.names import IMAGINARY, REAL
from rollc.ir.operations import operation_of
from rollc.ir.traversal import cycles, in_order, users, without_unused
from rollc.transforms.covering import covering

# How many steps ago along each axis: no entry where it is the same step.
Delays = tuple[tuple[str, int], ...]
_SILENT = frozenset({"constant", "noise"})
INITIAL = "'initial"
"""What the names of nodes end in that :func:`with_initial_nodes` adds; no spec can name them."""
ALONG = "along "
"""What an end of a read begins with whose axis is read along another one; that stands behind it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A read of a value, maybe with a delay; an ``initial`` one is for before the sequence.

    ``ends`` are the axes along which it is of one step alone, the ``first`` or the ``last``, or of
    ``all``, as a softmax over time is; or that are read along another one, the nearest read first.
    ``hops`` are the reads with a delay that it is made of, from the reader's on: where one leads
    outside, it is of an initial value.
    """

    source: str
    delays: Delays = ()
    initial: bool = False
    ends: tuple[tuple[str, str], ...] = ()
    hops: tuple[Edge, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Value:
    """A value of a picture: its last operation, the parameters it is made with, its reads.

    ``names`` are more than one where it stands for several nodes: gradients that read the same,
    or what is inside a cell that is closed.  ``applied`` is the node of the function that its
    readers apply to it, if they all do.
    """

    node: Node
    names: tuple[str, ...]
    parameters: tuple[str, ...]
    reads: tuple[Read, ...]
    applied: str | None = None
    closed: str = ""

    @property
    def name(self) -> str:
        """The name of its box."""
        return self.closed or self.node.name


@dataclass(frozen=True)
class Folded:
    """The values of a graph, and of each of its nodes that has a box, the name of that box.

    ``every`` says that each node is a value.
    """

    graph: Graph
    values: tuple[Value, ...]
    every: bool = False

    @cached_property
    def boxes(self) -> Mapping[str, str]:
        found = {name: value.name for value in self.values for name in value.names}
        return found | {v.applied: v.name for v in self.values if v.applied is not None}

    @cached_property
    def by_box(self) -> Mapping[str, Value]:
        """The values by the names of their boxes."""
        return {value.name: value for value in self.values}

    @cached_property
    def copies(self) -> Mapping[str, tuple[str, int]]:
        """Of each node of an unrolled graph what it is a copy of, and its step."""
        return copies(self.graph)

    @cached_property
    def cells(self) -> frozenset[str]:
        """The paths with a value of a cell inside, which has a name that is no number."""
        found: set[str] = set()
        for node in self.graph.nodes:
            parts = parts_of(self.copies.get(node.name, (node.name, 0))[0])
            while len(parts) > 1 and parts[-1].isdigit():
                parts.pop()
            found.update(".".join(parts[:count]) for count in range(1, len(parts)))
        return frozenset(found)


def copies(graph: Graph) -> dict[str, tuple[str, int]]:
    """Of each node of an unrolled graph what it is a copy of, and its step."""
    if graph.steps is None:
        return {}
    known = {name: copy for name, copy in covering(graph).items() if copy is not None}
    found = {name: (base, step) for name, (base, (step,)) in known.items() if step is not None}
    for node in graph.nodes:
        if node.name.endswith(INITIAL):
            base, _, step = node.name.removesuffix(INITIAL).rpartition(".")
            found[node.name] = (base, int(step))
    return found


def parts_of(name: str) -> list[str]:
    """The parts of the name of the spec that a node has a name of: the cells, then the value."""
    return name.removeprefix("~").split("'")[0].split(":")[0].split("^")[0].split(".")


def is_adjoint(name: str) -> bool:
    return name.startswith("~")


def is_named(name: str) -> bool:
    """Whether it is a value of the spec, a part of a complex one, or an adjoint or a tangent."""
    whole = name.removesuffix(tangent_name("")).removesuffix(REAL).removesuffix(IMAGINARY)
    return not any(mark in whole for mark in "':^")


def said_name(name: str) -> str:
    """A name as a person says it: the parts of a complex value are ``Re z`` and ``Im z``."""
    for part, word in ((REAL, "Re"), (IMAGINARY, "Im")):
        if name.endswith(part):
            return f"{word} {name.removesuffix(part)}"
    return name


def unfolded(graph: Graph) -> Folded:
    """Every node of a graph as a value."""
    return Folded(
        graph,
        tuple(
            Value(node, (node.name,), (), tuple(dict.fromkeys(_direct(node))))
            for node in graph.nodes
        ),
        every=True,
    )


def folded(graph: Graph, regions: Mapping[str, Hashable] | None = None) -> Folded:
    """The named values of a graph, in its order.

    Where nodes are in ``regions``, none is folded into a value of another.
    """
    return _Folding(_without_masks(graph), regions or {}).folded()


def _without_masks(graph: Graph) -> Graph:
    """The graph without the masks of contributions to cotangents: pictures leave them out."""
    if not any(operation_of(node).masks for node in graph.nodes):
        return graph
    return without_unused(
        graph.with_nodes(
            replace(node, operation="identity", operands=node.operands[:1])
            if operation_of(node).masks
            else node
            for node in graph.nodes
        )
    )


def _direct(node: Node) -> Iterable[Read]:
    for edge in node.operands:
        yield Read(edge.source, ((edge.axis, edge.delay),) if edge.delay else ())
    if node.initial is not None:
        yield Read(node.initial, initial=True)


@dataclass
class _Behind:
    """What lies behind a node: the values that it reads, and parameters."""

    reads: dict[Read, None] = field(default_factory=dict)
    parameters: dict[str, None] = field(default_factory=dict)


class _Folding:
    def __init__(self, graph: Graph, regions: Mapping[str, Hashable]) -> None:
        self.graph = graph
        self.regions = regions
        self.results = frozenset(graph.results())
        self.weights = {node.name for node in graph.leaves("param")}
        self.slopes = {f"~{name}" for name in self.weights}
        self.copied = {name: copy[0] for name, copy in copies(graph).items()}
        self.readers = users(graph.nodes, Node.reads)
        self.shown = {node.name for node in graph.nodes if self._has_name(node)}
        self.applied = self._applied()
        fixed = self._fixed()
        self.shown |= {
            node.name
            for node in graph.nodes
            if node.name not in fixed and self._is_read_elsewhere(node)
        }
        self.box = {applied: name for name, applied in self.applied.items()}
        self._fold()
        shared = self._shared()
        if shared:
            self.shown |= shared
            self._fold()

    def _has_name(self, node: Node) -> bool:
        if node.name in self.weights or node.operation in _SILENT:
            return False
        if node.name.endswith(INITIAL):
            return True
        name = self._base(node.name)
        if node.name in self.copied and name in self.slopes:
            return False  # the share of one step
        return is_named(name) or node.name in self.results

    def _base(self, name: str) -> str:
        return self.copied.get(name, name)

    def _fixed(self) -> set[str]:
        """What is computed of parameters and numbers alone, and functions applied to a value."""
        found = self.weights | {
            applied
            for name, applied in self.applied.items()
            if self.regions.get(name) == self.regions.get(applied)
        }
        for node in self.graph.nodes:
            inner = node.operation not in LEAVES or node.operation in _SILENT
            if inner and all(edge.source in found for edge in node.reads()):
                found.add(node.name)
        return found

    def _is_read_elsewhere(self, node: Node) -> bool:
        region = self.regions.get(node.name)
        return region is not None and any(
            self.regions.get(reader.name, region) != region
            for reader, _ in self.readers.get(node.name, ())
        )

    def _applied(self) -> dict[str, str]:
        """The values that all their readers in the network apply one function to, and which."""
        found: dict[str, str] = {}
        functions: dict[str, set[str]] = {}  # of all copies of a value
        for node in self.graph.nodes:
            if node.name in self.shown and node.operation not in LEAVES:
                reader = self._only_reader(node)
                kinds = functions.setdefault(self._base(node.name), set())
                kinds.add("" if reader is None else reader.operation)
                if reader is not None:
                    found[node.name] = reader.name
        return {
            name: applied
            for name, applied in found.items()
            if len(functions[self._base(name)]) == 1
        }

    def _only_reader(self, node: Node) -> Node | None:
        """The nonlinear function of a value that is all that the network reads of it."""
        readers = [
            (reader, edge)
            for reader, edge in self.readers.get(node.name, ())
            if not is_adjoint(reader.name)
        ]
        if len(readers) != 1 or node.name in self.results or is_adjoint(node.name):
            return None
        reader, edge = readers[0]
        fits = reader.name not in self.shown and _is_activation(reader) and not edge.delay
        return reader if fits and not node.name.endswith(INITIAL) else None

    def _fold(self) -> None:
        """Operands first.  A cycle of hidden nodes alone cannot be folded: it is shown."""
        reads = {
            node.name: [self.box.get(edge.source, edge.source) for edge in node.reads()]
            for node in self.graph.nodes
            if node.name not in self.shown and node.name not in self.box
        }
        self.shown.update(cycles((e, name) for name, sources in reads.items() for e in sources))
        order = in_order((name for name in reads if name not in self.shown), reads.__getitem__)
        self.behind: dict[str, _Behind] = {}
        for name in order:
            self.behind[name] = self._look_behind(self.graph[name])

    def _shared(self) -> set[str]:
        """The hidden nodes that would spare arrows, with all their copies."""
        found: set[str] = set()
        reading: dict[str, set[str]] = {}
        for name in reversed(self.behind):
            reading[name] = readers = set()
            direct = self.readers.get(name, ())
            for reader, _ in direct:
                readers |= self._readers_through(reader.name, reading)
            behind = self.behind[name]
            inner = sum(not read.initial for read in behind.reads)
            sources, count = inner + bool(behind.parameters), len(readers)
            if len(direct) > 1 and behind.reads and sources * count > sources + count:
                found.add(self._base(name))
                reading[name] = {name}
        return {name for name in self.behind if self._base(name) in found}

    def _readers_through(self, reader: str, reading: Mapping[str, set[str]]) -> set[str]:
        """The values that read a hidden node by way of one of its readers.

        The gradients of all parameters are one.
        """
        if self._base(reader) in self.slopes:
            return {"~"}
        if reader in reading:
            return reading[reader]
        return {self.box.get(reader, reader)}

    def _look_behind(self, node: Node) -> _Behind:
        found = _Behind()
        for edge in node.operands:
            self._add(found, edge, initial=False, ends=_ends(node))
        if node.initial is not None:
            self._add(found, Edge(node.initial), initial=True, ends=())
        return found

    def _add(
        self, found: _Behind, edge: Edge, *, initial: bool, ends: tuple[tuple[str, str], ...]
    ) -> None:
        source = self.box.get(edge.source, edge.source)
        hops = (edge,) if edge.delay else ()
        if source in self.weights:
            found.parameters[source] = None
        elif source in self.shown:
            found.reads.setdefault(Read(source, _sum((), edge), initial, ends, hops))
        else:
            behind = self.behind[source]
            found.parameters |= behind.parameters
            for read in behind.reads:
                delays = _sum(read.delays, edge)
                both = tuple(dict.fromkeys((*read.ends, *ends)))
                begun = initial or read.initial
                found.reads.setdefault(Read(read.source, delays, begun, both, (*hops, *read.hops)))

    def folded(self) -> Folded:
        found: dict[object, Value] = {}
        for node in self.graph.nodes:
            if node.name not in self.shown:
                continue
            behind = self._look_behind(node)
            reads, parameters = tuple(behind.reads), tuple(behind.parameters)
            key: object = node.name
            if node.name in self.slopes:
                # The other factors of a product are read by what is above it too.
                reads = tuple(read for read in reads if is_adjoint(read.source)) or reads
                key, parameters = frozenset(reads), ()
            if key in found:
                value = found[key]
                found[key] = replace(value, names=(*value.names, node.name))
            else:
                applied = self.applied.get(node.name)
                found[key] = Value(node, (node.name,), parameters, reads, applied)
        return Folded(self.graph, tuple(found.values()))


def _ends(node: Node) -> tuple[tuple[str, str], ...]:
    """The axes along which a node has to do with one step alone or, at each step, with all.

    And those that are read along another one.
    """
    axis, over = node.options.get("axis"), node.options.get("over")
    if operation_of(node).whole and isinstance(over, tuple):
        return tuple((str(each), "all") for each in over if each in node.type.time)
    if operation_of(node).renames:
        return ((str(axis), f"{ALONG}{node.options['to']}"),)
    end = operation_of(node).end or node.options.get("at")
    return ((axis, end),) if isinstance(axis, str) and isinstance(end, str) and end else ()


def _is_activation(node: Node) -> bool:
    """Whether a node is a nonlinear function of the elements of one value."""
    operation = operation_of(node)
    return operation.elementwise and len(node.operands) == 1 and not operation.linear_in(1)


def _sum(delays: Delays, edge: Edge) -> Delays:
    total = Counter(dict(delays))
    if edge.delay:
        total[edge.axis] += edge.delay
    return tuple(sorted((axis, delay) for axis, delay in total.items() if delay))
