"""Canonicalization of a graph at any stage, also of a DAG: the same values from fewer nodes.

- Constant propagation: a value that is one known number everywhere becomes a ``constant``, or a
  ``fill`` or ``spread`` of one.  A product with a literal zero counts as zero, whatever the
  other factor is: so the matmuls on the zeros before the first step go.
- Value numbering: nodes that compute the same value become one.  A name that a person wrote wins
  over one that a pass made; leaves, outputs, the loss and gradients keep theirs.  Nodes that are
  read with a delay are equal only if their initial values are.
- Dead code elimination: nodes that no result needs go; leaves stay, except for constants.
- The patterns of :mod:`rollc.transforms.patterns`.

What it does not do: it moves nothing in time (no delay changes), reassociates no sum or
product except to join equal terms and slices of one vector, stacks no matmuls, and keeps
``stop``, which has a meaning for the adjoint.

It repeats to a fixed point; each round takes time linear in the graph.
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
from rollc.ir.operations.vectors.linear import over_axes
from rollc.ir.time.delay_axes import axes_of_delays, separated
from rollc.ir.traversal import cycles, without_unused
from rollc.transforms.patterns import REWRITES, known_number

_ROUNDS = 12  # a bound against patterns that undo each other; two or three rounds are usual
_PER_NODE = 12
# The default of `slice`, `concat` and `pad`.
_FIRST_DIMENSION = ("axis", 0)
# Leaves that callers know by their names.
_PINNED = LEAVES - {"constant"}


def canonicalize(graph: Graph, stage: Stage | None = None) -> Graph:
    """An equivalent graph with fewer and cheaper nodes.

    ``stage`` is the stage of the result; by default a checked graph becomes simplified, and
    any other keeps its stage.  Values may differ from the original's by rounding.
    """
    for _ in range(_ROUNDS):
        simpler = _Round(graph).result()
        if simpler == graph:
            break
        graph = simpler
    return replace(
        separated(graph), stage=stage or ("simplified" if graph.stage == "checked" else graph.stage)
    )


class _Round:
    """One round over the nodes, operands first; it is the workspace of the patterns."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kept = set(graph.results())
        # The axes along which each value is read with a delay.
        self.delayed = axes_of_delays(graph)
        self.initials = {node.initial for node in graph.nodes if node.initial is not None}
        self.terms = _terms(graph)
        self.shared = _shared(graph)
        self.nodes: dict[str, Node] = dict(graph.by_name)
        self.position = {node.name: (index, 0) for index, node in enumerate(graph.nodes)}
        self.done: set[str] = set()
        self.replacement: dict[str, Edge] = {}
        self.names: dict[str, str] = {}  # a better name for a node
        self.numbers: dict[str, float] = {}  # the values of uniform nodes
        self.numbering: dict[tuple[object, ...], str] = {}
        self.current = ""
        self.made = 0
        self.counts: dict[str, int] = {}
        self.loops: dict[str, int] | None = None

    def result(self) -> Graph:
        for node in _in_order(self.graph):
            self.current, self.made = node.name, 0
            self._visit(node)
        nodes = [self._final(node) for name, node in self.nodes.items() if name in self.done]
        nodes.sort(key=lambda node: self.position[node.name])
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
        """A node with its reads of replaced nodes resolved."""
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
                self._replace(node, changed)
                return
            node = self.nodes[node.name] = changed
        if node.operation in _PINNED:
            self.done.add(node.name)
            return
        known = self.numbering.setdefault(_key(node), node.name)
        if known == node.name or not self._may_replace(node, Edge(known)):
            self.done.add(node.name)
        else:
            self._replace(node, Edge(known))

    def _rewritten(self, node: Node) -> Node | Edge | None:
        """The result of the first pattern that applies to a node; None where none does."""
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
                found = self._replacing(node, found)
            if found is not None and found != node and self._fits(found):
                return found
        return self._read_through(node)

    def _fits(self, found: Node | Edge) -> bool:
        """Whether a rewritten node still has its type."""
        if isinstance(found, Edge):
            return True
        types = [self.type(edge) for edge in found.operands]
        try:
            return OPERATIONS[found.operation].infer(types, found.options) == found.type
        except TypeMismatch:
            return False

    def _replacing(self, node: Node, edge: Edge) -> Node | Edge | None:
        """The read that replaces a node; where the node has to stay, a copy or a broadcast."""
        if self._may_replace(node, edge):
            return edge
        if self.type(edge) != node.type:
            return self._broadcast(node, edge)
        return replace(node, operation="identity", operands=(edge,), attributes=())

    def _broadcast(self, node: Node, edge: Edge) -> Node | None:
        """A node as the broadcast of a read with fewer axes or without a shape."""
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

    def _may_replace(self, node: Node, edge: Edge) -> bool:
        source = self.nodes[edge.source]
        if source.name == node.name or self.type(edge) != node.type:
            return False
        if edge.delay:  # an initial value is a node, and no read
            return not any(node.name in of for of in (self.delayed, self.kept, self.initials))
        if node.name in self.delayed and node.initial != source.initial:
            return False
        own, other = self.delayed.get(node.name), self.delayed.get(source.name)
        if own and other and own != other:  # reads along two axes are of two values
            return False
        if node.name in self.kept:
            return source.operation not in _PINNED and not self._is_result(source.name)
        return True

    def _is_result(self, name: str) -> bool:
        return name in self.kept or self.names.get(name, name) in self.kept

    def _replace(self, node: Node, edge: Edge) -> None:
        self.replacement[node.name] = edge
        self.nodes.pop(node.name, None)
        source = edge.source
        if edge.delay:
            return
        if node.name in self.delayed:
            self.delayed[source] = self.delayed[node.name]
        better = self.names.get(node.name, node.name)
        if self.nodes[source].operation in _PINNED or self._is_result(source):
            return
        if better in self.kept or _rank(better) < _rank(self.names.get(source, source)):
            self.names[source] = better

    def _of_number(self, node: Node, number: float) -> Node | None:
        """A uniform node in its canonical form; None where it is that already, or no float."""
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
        """A node that reads the operand of a broadcast where it broadcasts its operands itself."""
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
        """The operand of a spread, along an axis that another operand runs over as well."""
        entry, source = OPERATIONS[node.operation], self.defined(node.operands[position])
        if source is None or source.operation != "spread" or source.operands[0].delay:
            return None
        axis = source.options["axis"]
        others = (*node.operands[:position], *node.operands[position + 1 :])
        if not any(axis in self.type(edge).axes for edge in others):
            return None
        reduced = axis in over_axes(node.options) or axis == node.options.get("axis")
        depends = entry.whole or entry.counts or entry.sees_end
        return None if depends or (reduced and not entry.is_product) else source.operands[0]

    def _narrower(self, edge: Edge) -> Edge | None:
        number = self.known(edge)
        source = self.defined(edge)
        if number is not None and self.type(edge).kind == "float":
            constant = source is not None and source.operation == "constant"
            return None if constant else self.number(number)
        if source is not None and operation_of(source).broadcasts:
            return source.operands[0] if source.operands[0].delay == 0 else None
        return None

    # The workspace of the patterns.

    def resolved(self, edge: Edge) -> Edge:
        """A read, by way of the replacements of its source."""
        while edge.source in self.replacement:
            other = self.replacement[edge.source]
            edge = Edge(other.source, other.delay or edge.delay, other.axis or edge.axis)
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
        # Sources of its delayed reads can be rewritten after it.
        operands = tuple(self.resolved(read) for read in node.operands)
        if operands != node.operands:
            node = self.nodes[node.name] = replace(node, operands=operands)
        return node

    def known(self, edge: Edge) -> float | None:
        """The value of a uniform read, where it is known."""
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
        """A new node in front of the one that is rewritten, or an equal one that exists."""
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
        known = self.numbering.get(_key(node))
        if known is not None:
            return Edge(known)
        node = replace(node, name=self._fresh())
        self.numbering[_key(node)] = node.name
        self.nodes[node.name] = node
        self.done.add(node.name)
        index, _ = self.position[self.current]
        self.made += 1
        self.position[node.name] = (index - 1, self.made)
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
            if name not in self.position:
                return name


def _key(node: Node) -> tuple[object, ...]:
    """The key of value numbering: equal for nodes that compute the same value."""
    operands = node.operands
    if operation_of(node).commutative:
        operands = tuple(sorted(operands, key=lambda edge: (edge.source, edge.delay)))
    # As text, which tells 0.0 from -0.0 and 1 from True.
    options = repr([pair for pair in node.attributes if pair != _FIRST_DIMENSION])
    return (node.operation, operands, options, node.type, node.initial)


def _rank(name: str) -> tuple[int, int]:
    """How far a name is from one that a spec has, which is of rank 0."""
    return (name.count("'") + 2 * name.count(":"), name.count("~"))


def _terms(graph: Graph) -> set[str]:
    """The nodes that are read once, by an addition at the same step, and are no results."""
    once: dict[str, bool] = dict.fromkeys(graph.results(), False)
    for node in graph.nodes:
        for edge in node.reads():
            first = edge.source not in once
            once[edge.source] = first and node.operation == "add" and edge.delay == 0
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
    """The nodes in depth-first topological order of their reads at the same step.

    Raises ``ValueError`` for a cycle without a delay.
    """
    nodes, done, open_ = graph.by_name, set[str](), set[str]()
    order: list[Node] = []
    for start in graph.nodes:
        path = [start]
        while path:
            node = path[-1]
            if node.name in done:
                path.pop()
                continue
            before = [
                nodes[edge.source]
                for edge in node.operands
                if edge.delay == 0 and edge.source not in done
            ]
            if not before:
                path.pop()
                done.add(node.name)
                order.append(node)
            elif node.name in open_:
                raise ValueError(f"`{node.name}` is on a cycle without a delay")
            else:
                open_.add(node.name)
                path.extend(reversed(before))
    return order
