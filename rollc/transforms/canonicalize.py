"""The same values from fewer and cheaper nodes.  A graph at any stage, also a DAG.

- Values that are one known number everywhere become constants; what is left of them is a
  ``constant``, or a ``fill`` or ``spread`` of one.  A product with a literal zero counts as
  zero: an infinity or NaN in the other factor does not show.  This is what removes the
  matmuls on the zeros before the first step.
- Nodes that compute the same are one node.  A name that a person wrote wins over one that a
  pass made; leaves, outputs, the loss and gradients keep theirs.  Nodes that are read with a
  delay are one only if their initial values are.
- Nodes that no result needs are gone; leaves stay, constants excepted.
- The rewrites of :mod:`rollc.transforms.patterns`.

What it does not do: it moves nothing in time (no delay changes), reassociates no sum or
product except to join equal terms and pieces of one vector, stacks no matmuls, and keeps
``stop``, which has a meaning for the adjoint.

It repeats until nothing changes; each round takes time linear in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rollc.ir.graph import (
    LEAVES,
    Attribute,
    Edge,
    Graph,
    Node,
    Stage,
    Type,
    attributes,
    ordered_axes,
    with_names,
)
from rollc.ir.operations import OPERATIONS, TypeMismatch, operation_of
from rollc.ir.operations.linear import over_axes
from rollc.ir.traversal import cycles, without_unused
from rollc.transforms.patterns import REWRITES, known_number

_ROUNDS = 12  # a bound against rules that undo each other; two or three rounds are usual
_PER_NODE = 12
# What `slice`, `concat` and `pad` mean where they do not say it.
_FIRST_DIMENSION = ("axis", 0)
# Leaves that the outside world knows by their names.
_PINNED = LEAVES - {"constant"}


def canonicalize(graph: Graph, stage: Stage | None = None) -> Graph:
    """An equal graph with fewer and cheaper nodes.

    ``stage`` is the stage of the result; without one, a checked graph is now simplified and
    any other stays what it is.  Values may differ from the original's by rounding.
    """
    for _ in range(_ROUNDS):
        simpler = _Round(graph).result()
        if simpler == graph:
            break
        graph = simpler
    return replace(
        graph, stage=stage or ("simplified" if graph.stage == "checked" else graph.stage)
    )


class _Round:
    """One pass over the nodes, operands first; rewrites see it as their workspace."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kept = set(graph.results())
        self.delayed = {edge.source for node in graph.nodes for edge in node.operands if edge.delay}
        self.terms = _terms(graph)
        self.shared = _shared(graph)
        self.nodes: dict[str, Node] = dict(graph.by_name)
        self.place = {node.name: (index, 0) for index, node in enumerate(graph.nodes)}
        self.done: set[str] = set()
        self.stands_for: dict[str, Edge] = {}
        self.names: dict[str, str] = {}  # a better name for a node
        self.numbers: dict[str, float] = {}  # the one number that a node holds everywhere
        self.same: dict[tuple[object, ...], str] = {}
        self.current = ""
        self.made = 0
        self.counts: dict[str, int] = {}
        self.loops: dict[str, int] | None = None

    def result(self) -> Graph:
        for node in _in_order(self.graph):
            self.current, self.made = node.name, 0
            self._visit(node)
        nodes = [self._final(node) for name, node in self.nodes.items() if name in self.done]
        nodes.sort(key=lambda node: self.place[node.name])
        renamed = self.names

        def final(name: str) -> str:
            source = self.resolved(Edge(name)).source
            return renamed.get(source, source)

        def pairs(old: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
            return tuple((label, final(name)) for label, name in old)

        graph = replace(
            self.graph,
            nodes=tuple(with_names(node, renamed) for node in nodes),
            outputs=pairs(self.graph.outputs),
            gradients=pairs(self.graph.gradients),
            loss=None if self.graph.loss is None else final(self.graph.loss),
        )
        return without_unused(graph)

    def _final(self, node: Node) -> Node:
        """A node whose every read is of what is left."""
        operands = tuple(self.resolved(edge) for edge in node.operands)
        initial = node.initial
        if initial is not None:
            initial = self.resolved(Edge(initial)).source
            if self.numbers.get(initial) == 0:
                initial = None
        if operands == node.operands and initial == node.initial:
            return node
        return replace(node, operands=operands, initial=initial)

    def _visit(self, node: Node) -> None:
        operands = tuple(self.resolved(edge) for edge in node.operands)
        if operands != node.operands:
            node = self.nodes[node.name] = replace(node, operands=operands)
        for _ in range(_PER_NODE):
            changed = self._rewritten(node)
            if changed is None:
                break
            if isinstance(changed, Edge):
                self._stand_for(node, changed)
                return
            node = self.nodes[node.name] = changed
        if node.operation in _PINNED:
            self.done.add(node.name)
            return
        known = self.same.setdefault(_key(node), node.name)
        if known == node.name or not self._may_stand_for(node, Edge(known)):
            self.done.add(node.name)
        else:
            self._stand_for(node, Edge(known))

    def _rewritten(self, node: Node) -> Node | Edge | None:
        """What the first rule that applies makes of a node."""
        if node.operation in LEAVES:
            if node.operation == "constant":
                self.numbers[node.name] = float(node.options["value"])  # type: ignore[arg-type]
            return None
        number = known_number(self, node)
        if number is not None:
            self.numbers[node.name] = number
            return self._of_number(node, number)
        for rule in REWRITES.get(node.operation, ()):
            found = rule(self, node)
            if isinstance(found, Edge):
                found = self._standing(node, found)
            if found is not None and found != node and self._fits(found):
                return found
        return self._read_through(node)

    def _fits(self, found: Node | Edge) -> bool:
        """Whether a rewritten node has the type that it had: its kind, its shape, its axes."""
        if isinstance(found, Edge):
            return True
        types = [self.type(edge) for edge in found.operands]
        try:
            return OPERATIONS[found.operation].infer(types, found.options) == found.type
        except TypeMismatch:
            return False

    def _standing(self, node: Node, edge: Edge) -> Node | Edge | None:
        """A read that takes a node's place, or at least a node that only repeats it."""
        if self._may_stand_for(node, edge):
            return edge
        if self.type(edge) != node.type:
            return self._broadcast(node, edge)
        return replace(node, operation="identity", operands=(edge,), attributes=())

    def _broadcast(self, node: Node, edge: Edge) -> Node | None:
        """A node whose value is a read with a smaller type at every place of its own."""
        found, wanted = self.type(edge), node.type
        if found.kind != wanted.kind or found.shape not in ((), wanted.shape):
            return None
        steps = [("fill", attributes(shape=wanted.shape))] if found.shape != wanted.shape else []
        missing = [axis for axis in wanted.axes if axis not in found.axes]
        steps += [("spread", attributes(axis=axis)) for axis in missing]
        *before, (operation, options) = steps
        for inner, inner_options in before:
            edge = self.make(inner, edge, **dict(inner_options))
        return replace(node, operation=operation, operands=(edge,), attributes=options)

    def _may_stand_for(self, node: Node, edge: Edge) -> bool:
        source = self.nodes[edge.source]
        if source.name == node.name or self.type(edge) != node.type:
            return False
        if edge.delay:
            return node.name not in self.delayed and node.name not in self.kept
        if node.name in self.delayed and node.initial != source.initial:
            return False
        if node.name in self.kept:
            return source.operation not in _PINNED and not self._taken(source.name)
        return True

    def _taken(self, name: str) -> bool:
        return name in self.kept or self.names.get(name, name) in self.kept

    def _stand_for(self, node: Node, edge: Edge) -> None:
        self.stands_for[node.name] = edge
        self.nodes.pop(node.name, None)
        source = edge.source
        if edge.delay:
            return
        if node.name in self.delayed:
            self.delayed.add(source)
        better = self.names.get(node.name, node.name)
        if self.nodes[source].operation in _PINNED or self._taken(source):
            return
        if better in self.kept or _rank(better) < _rank(self.names.get(source, source)):
            self.names[source] = better

    def _of_number(self, node: Node, number: float) -> Node | None:
        """A node that holds one number everywhere, in the cheapest form."""
        type_ = node.type
        if type_.kind != "float":
            return None
        if not type_.axes and not type_.shape:
            value = attributes(value=number)
            return replace(node, operation="constant", operands=(), attributes=value)
        if type_.axes:
            axis = type_.axes[-1]
            operation, options = "spread", attributes(axis=axis)
            inner = self._uniform(number, replace(type_, axes=type_.axes[:-1]))
        else:
            operation, options = "fill", attributes(shape=type_.shape)
            inner = self.number(number)
        changed = replace(node, operation=operation, operands=(inner,), attributes=options)
        return None if changed == node else changed

    def _uniform(self, number: float, type_: Type) -> Edge:
        inner = self.number(number)
        if type_.shape:
            inner = self.make("fill", inner, shape=type_.shape)
        for axis in type_.axes:
            inner = self.make("spread", inner, axis=axis)
        return inner

    def _read_through(self, node: Node) -> Node | None:
        """What broadcasts by itself reads a number instead of a fill of it, and what is spread."""
        entry = OPERATIONS[node.operation]
        if len(node.operands) < 2:
            return None
        for position, edge in enumerate(node.operands):
            inner = self._narrower(edge) if entry.elementwise else self._unspread(node, position)
            if inner is None:
                continue
            operands = (*node.operands[:position], inner, *node.operands[position + 1 :])
            found = replace(node, operands=operands)
            if self._fits(found):
                return found
        return None

    def _unspread(self, node: Node, position: int) -> Edge | None:
        """What an operand is along an axis that another operand runs over as well."""
        entry, source = OPERATIONS[node.operation], self.defined(node.operands[position])
        if source is None or source.operation != "spread" or source.operands[0].delay:
            return None
        axis = source.options["axis"]
        others = (*node.operands[:position], *node.operands[position + 1 :])
        if not any(axis in self.type(edge).axes for edge in others):
            return None
        joins = axis in over_axes(node.options) or axis == node.options.get("axis")
        alone = joins and not entry.is_product
        return (
            None if alone or entry.whole or entry.counts or entry.sees_end else source.operands[0]
        )

    def _narrower(self, edge: Edge) -> Edge | None:
        number = self.known(edge)
        source = self.defined(edge)
        if number is not None and self.type(edge).kind == "float":
            constant = source is not None and source.operation == "constant"
            return None if constant else self.number(number)
        if source is not None and operation_of(source).broadcasts:
            return source.operands[0] if source.operands[0].delay == 0 else None
        return None

    # The workspace of the rewrites.

    def resolved(self, edge: Edge) -> Edge:
        """The read that a read has become."""
        while edge.source in self.stands_for:
            stand = self.stands_for[edge.source]
            edge = Edge(stand.source, stand.delay or edge.delay, stand.axis or edge.axis)
        return edge

    def type(self, edge: Edge) -> Type:
        found = self.nodes[edge.source].type
        if edge.delay and edge.axis not in found.axes:
            return replace(found, axes=ordered_axes((*found.axes, edge.axis)))
        return found

    def defined(self, edge: Edge) -> Node | None:
        """The node that an edge reads at the same step."""
        if edge.delay:
            return None
        node = self.nodes[edge.source]
        # What it reads with a delay may have been rewritten after it.
        operands = tuple(self.resolved(read) for read in node.operands)
        if operands != node.operands:
            node = self.nodes[node.name] = replace(node, operands=operands)
        return node

    def known(self, edge: Edge) -> float | None:
        """The one number that a read takes everywhere, where that is known."""
        number = self.numbers.get(edge.source)
        if edge.delay and (number != 0 or self.nodes[edge.source].initial is not None):
            return None
        return number

    def is_term(self, name: str) -> bool:
        """Whether a node is only read by one addition, at the same step."""
        return name in self.terms

    def is_shared(self, edge: Edge) -> bool:
        """Whether a value has several readers, or is a result."""
        return edge.source in self.shared

    def inside_loop(self, reader: str, edge: Edge) -> bool:
        """Whether a read comes from the reader's own cycle."""
        if self.loops is None:
            nodes = self.graph.nodes if self.delayed else ()
            self.loops = cycles((e.source, node.name) for node in nodes for e in node.operands)
        loop = self.loops.get(reader)
        return loop is not None and self.loops.get(edge.source) == loop

    def number(self, value: float) -> Edge:
        """The constant node of a number."""
        return self._add("constant", (), Type("float"), attributes(value=value))

    def make(self, operation: str, *operands: Edge, **options: Attribute) -> Edge:
        """A new node beside the one that is rewritten, or an equal one that exists."""
        types = [self.type(edge) for edge in operands]
        found = OPERATIONS[operation].infer(types, options)
        assert found is not None
        return self._add(operation, operands, found, attributes(**options))

    def _add(
        self,
        operation: str,
        operands: tuple[Edge, ...],
        type_: Type,
        options: tuple[tuple[str, Attribute], ...],
    ) -> Edge:
        line = self.nodes[self.current].line if self.current in self.nodes else 0
        node = Node("", operation, operands, type_, options, None, line)
        known = self.same.get(_key(node))
        if known is not None:
            return Edge(known)
        node = replace(node, name=self._fresh())
        self.same[_key(node)] = node.name
        self.nodes[node.name] = node
        self.done.add(node.name)
        index, _ = self.place[self.current]
        self.made += 1
        self.place[node.name] = (index - 1, self.made)
        number = known_number(self, node)
        if operation == "constant":
            number = float(node.options["value"])  # type: ignore[arg-type]
        if number is not None:
            self.numbers[node.name] = number
        return Edge(node.name)

    def _fresh(self) -> str:
        prefix = self.current
        if not prefix.rpartition(".")[2].isdecimal():
            prefix = prefix.split(":")[0] if prefix.startswith("~") else prefix.split("'")[0]
        mark = ":" if prefix.startswith("~") else "'"
        while True:
            self.counts[prefix] = self.counts.get(prefix, 0) + 1
            name = f"{prefix}{mark}{self.counts[prefix]}"
            if name not in self.place:
                return name


def _key(node: Node) -> tuple[object, ...]:
    """What two nodes that compute the same have in common."""
    operands = node.operands
    if operation_of(node).commutative:
        operands = tuple(sorted(operands, key=lambda edge: (edge.source, edge.delay)))
    # By their text: 0.0 and -0.0 are equal, 1 and True too, but they are not the same.
    options = repr([pair for pair in node.attributes if pair != _FIRST_DIMENSION])
    return (node.operation, operands, options, node.type, node.initial)


def _rank(name: str) -> tuple[int, int]:
    """How little a person has to do with a name: 0 for one that a spec wrote."""
    return (name.count("'") + 2 * name.count(":"), name.count("~"))


def _terms(graph: Graph) -> set[str]:
    """The nodes that are read once, by an addition at the same step, and are no results."""
    once: dict[str, bool] = dict.fromkeys(graph.results(), False)
    for node in graph.nodes:
        for edge in node.reads():
            alone = edge.source not in once
            once[edge.source] = alone and node.operation == "add" and edge.delay == 0
    return {name for name, term in once.items() if term}


def _shared(graph: Graph) -> set[str]:
    """The nodes that more than one node reads, and the results."""
    seen: set[str] = set()
    shared = set(graph.results())
    for node in graph.nodes:
        sources = {edge.source for edge in node.reads()}
        shared |= seen & sources
        seen |= sources
    return shared


def _in_order(graph: Graph) -> list[Node]:
    """The nodes, each after what it reads at the same step; otherwise as they stand."""
    nodes, done, open_ = graph.by_name, set[str](), set[str]()
    order: list[Node] = []
    for start in graph.nodes:
        waiting = [start]
        while waiting:
            node = waiting[-1]
            if node.name in done:
                waiting.pop()
                continue
            before = [
                nodes[edge.source]
                for edge in node.operands
                if edge.delay == 0 and edge.source not in done
            ]
            if not before:
                waiting.pop()
                done.add(node.name)
                order.append(node)
            elif node.name in open_:
                raise ValueError(f"`{node.name}` is on a cycle without a delay")
            else:
                open_.add(node.name)
                waiting.extend(reversed(before))
    return order
