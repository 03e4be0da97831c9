"""Products that are due at some steps only: what a clock holds back is not computed.

    y = where(c, tanh(W @ x), y[t-1])     W @ x is wanted at the steps where c holds
    ~u = where(c, ~y, 0) * …              W' @ ~u and the sum over t of ~u x are zero elsewhere

with a condition c that is the same for all sequences; the same holds for the other choice
(:mod:`rollc.transforms.predicate.select_inversion`).  Such a product is left out at all other
steps: for a matrix times a vector, zero takes its place

    m                                 ->  where(c, m, 0)

so that nothing undefined is read, and a kernel computes a product that only such nodes read
under their condition (:func:`guards`).  A sum of products that is computed where c holds reads
x instead of where(c, x, 0).

What is guaranteed: the values of the graph, but for a product of zero with what is not finite.
What this pass does not do: look through functions that are not finite at zero, or at elementwise
work, which costs little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rollc.ir.graph import BATCH, Edge, Graph, Node, Type, attributes
from rollc.ir.operations import operation_of
from rollc.ir.traversal import in_step_order, needed, users
from rollc.transforms.predicate.select_inversion import is_zero, turned
from rollc.transforms.reassociate.sum_chains import fixed_names

MARK = "^due"


def is_weight_product(graph: Graph, node: Node) -> bool:
    """A matrix that is the same for all rows, times a vector."""
    if node.operation != "matmul" or len(node.type.shape) != 1:
        return False
    return not graph[node.operands[0].source].type.axes


def predicate(graph: Graph) -> Graph:
    """The lowered graph of a kernel with zeros for products where they are not due."""
    found = _Conditions(graph)
    if not found.uniform or graph.steps is not None:  # of which the ends are peeled off
        return graph
    made = turned(graph, found.uniform, found.is_made)
    if made is not graph.nodes:
        graph = graph.with_nodes(in_step_order(made))
        found = _Conditions(graph)
    bare = tuple(found.without_mask(node) for node in graph.nodes)
    if bare != graph.nodes:
        leaves = [node.name for node in graph.nodes if not node.operands]
        graph = needed(graph.with_nodes(bare), [*graph.results(), *leaves])
        found = _Conditions(graph)
    due = {
        node.name: condition
        for node in graph.nodes
        if is_weight_product(graph, node)
        and BATCH in node.type.axes
        and node.name not in found.fixed
        and (condition := found.zero.get(node.name) or found.wanted.get(node.name))
        and not all(
            found.selects(reader, edge) for reader, edge in found.readers.get(node.name, ())
        )
    }
    if not due:
        return graph
    zero = graph.unused("zero" + MARK)
    names = {name: graph.unused(name + MARK) for name in due}

    def nodes() -> Iterator[Node]:
        yield Node(zero, "constant", (), Type("float"), attributes(value=0.0))
        for node in graph.nodes:
            edges = (
                replace(edge, source=names.get(edge.source, edge.source)) for edge in node.operands
            )
            yield replace(node, operands=tuple(edges))
            if node.name in due:
                picked = (Edge(due[node.name]), Edge(node.name), Edge(zero))
                yield replace(
                    node,
                    name=names[node.name],
                    operation="where",
                    operands=picked,
                    attributes=(),
                )

    # Conditions may come later in the list than what they pick.
    return graph.with_nodes(in_step_order(nodes()))


def guards(graph: Graph) -> Mapping[str, str]:
    """The products that are computed under a condition, and the condition of each."""
    found = _Conditions(graph)
    guarded: dict[str, str] = {}
    for node in graph.nodes if found.uniform else ():
        conditions: set[str | None] = set()
        if is_weight_product(graph, node) and BATCH in node.type.axes:
            if node.name not in found.fixed:
                picked = (found.selects(*use) for use in found.readers.get(node.name, ()))
                conditions = {c if c and found.is_along(node, c) else None for c in picked}
        else:
            conditions = {*found.of_sum(node)}
        (condition,) = conditions if len(conditions) == 1 else (None,)
        if condition is not None:
            guarded[node.name] = condition
    return guarded


class _Conditions:
    """Where values are zero, and where they are wanted: by the condition that has to hold."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uniform = self._uniform()
        self.readers = users(graph.nodes, lambda node: node.operands) if self.uniform else {}
        self.fixed = fixed_names(graph)
        self.zero: dict[str, str] = {}
        self.wanted: dict[str, str] = {}
        self.made: set[str] = set()
        if self.uniform:
            order = in_step_order(graph.nodes)
            for node in order:
                self._see_zero(node)
                if is_weight_product(graph, node) or (
                    operation_of(node).finite and any(map(self.is_made, node.operands))
                ):
                    self.made.add(node.name)
            for node in reversed(order):
                self._see_wanted(node)

    def _uniform(self) -> set[str]:
        """The conditions that are the same for all sequences, and change with time."""
        chosen = {
            edge.source
            for node in self.graph.nodes
            if node.operation == "where" and (edge := node.operands[0]).delay == 0
        }
        return {
            name
            for name in chosen
            if (node := self.graph[name]).type.kind == "bool"
            and not node.type.shape
            and len(node.type.axes) == 1
            and node.type.time
            and not any(BATCH in node.type.axes for node in needed(self.graph, [name]).nodes)
        }

    def is_batched(self, node: Node) -> bool:
        """Whether a node reads what each sequence has of its own."""
        return any(BATCH in self.graph[edge.source].type.axes for edge in node.operands)

    def is_along(self, node: Node, condition: str) -> bool:
        """Whether a node has a value for each step of a condition: else it is one for them all."""
        return set(self.graph[condition].type.axes) <= set(node.type.axes)

    def selects(self, reader: Node, edge: Edge) -> str | None:
        """The condition under which a node picks a value that it reads, at the same step."""
        if reader.operation != "where" or edge.delay or reader.operands[1] != edge:
            return None
        condition, _, other = reader.operands
        plain = condition.delay == 0 and condition.source in self.uniform
        return condition.source if plain and other != edge else None

    def _see_zero(self, node: Node) -> None:
        found: str | None = None
        if node.operation == "where" and is_zero(self.graph, node.operands[2]):
            found = self.selects(node, node.operands[1])
        elif not (entry := operation_of(node)).whole:
            zeros = [None if edge.delay else self.zero.get(edge.source) for edge in node.operands]
            for group in entry.zero_groups(len(zeros)):
                (condition, *others) = {zeros[place] for place in group}
                found = found or (None if others else condition)
        if found is not None and self.is_along(node, found):
            self.zero[node.name] = found

    def of_sum(self, node: Node) -> set[str]:
        """The conditions under which the terms of a sum of products are not zero."""
        if node.operation != "outer" or node.type.axes or not self.is_batched(node):
            return set()
        zeros = (self.zero.get(edge.source) for edge in node.operands if edge.delay == 0)
        return {condition for condition in zeros if condition is not None}

    def without_mask(self, node: Node) -> Node:
        """A sum of products, less what is masked by its condition once more."""
        if len(conditions := self.of_sum(node)) != 1:
            return node
        for place, edge in enumerate(node.operands):
            mask, other = self.graph[edge.source], node.operands[1 - place]
            if mask.operation != "where":
                continue
            condition, picked, otherwise = mask.operands
            if (
                len(self.readers[mask.name]) == 1
                and edge.delay == condition.delay == other.delay == 0
                and condition.source in conditions
                and is_zero(self.graph, otherwise)
                and self.zero.get(other.source) in conditions
                and self.graph[picked.source].type == mask.type
            ):
                return replace(node, operands=(other, picked) if place else (picked, other))
        return node

    def is_made(self, edge: Edge) -> bool:
        """Whether a value is made of a product, at the step that reads it."""
        return edge.delay == 0 and edge.source in self.made

    def _see_wanted(self, node: Node) -> None:
        if node.name in self.fixed or not node.type.time:
            return
        conditions = {
            self._wanted_by(reader, edge) for reader, edge in self.readers.get(node.name, ())
        }
        (condition,) = conditions if len(conditions) == 1 else (None,)
        if condition is not None and self.is_along(node, condition):
            self.wanted[node.name] = condition

    def _wanted_by(self, reader: Node, edge: Edge) -> str | None:
        """The condition under which a reader wants a value."""
        if edge.delay:
            return None
        if (condition := self.selects(reader, edge)) is not None:
            return condition
        product = reader.operation == "outer" or is_weight_product(self.graph, reader)
        if product or operation_of(reader).finite:
            if reader.operation == "outer" and not reader.type.axes:
                zeros = {self.zero.get(e.source) for e in reader.operands if e.delay == 0}
                return next(filter(None, zeros), None)
            return self.zero.get(reader.name) or self.wanted.get(reader.name)
        return None


def reads(node: Node, guarded: Mapping[str, str]) -> Iterator[Edge]:
    """What a node reads, its condition with it."""
    yield from node.operands
    if node.name in guarded:
        yield Edge(guarded[node.name])
