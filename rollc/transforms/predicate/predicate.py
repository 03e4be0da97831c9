"""Predication of products: one that is used under a condition is computed under it.

    y = where(c, tanh(W @ x), y[t-1])     W @ x is used at the steps where c holds
    ~u = where(c, ~y, 0) * …              W' @ ~u and the sum over t of ~u x are zero elsewhere

with a condition c that is uniform, the same for all sequences, as a clock is; the same holds for
the other choice (:mod:`rollc.transforms.predicate.select_inversion`).  A matrix times a vector is
replaced by zero at all other steps

    m                                 ->  where(c, m, 0)

so that no undefined value is read, and a kernel computes a product whose readers are all such
selects under their condition (:func:`guards`).  A predicated sum of products over the steps reads
x in place of where(c, x, 0).

What is guaranteed: the values of the graph, but for a product of zero with what is not finite.
What this pass does not do: look through functions that are not finite at zero, or predicate
elementwise operations, which cost little.

Warter, Mahlke, Hwu and Rau, Reverse if-conversion (1993), PLDI: a select becomes control flow
where that saves a product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rollc.ir.graph import BATCH, Edge, Graph, Node, Type, attributes
from rollc.ir.operations import operation_of
from rollc.ir.traversal import in_step_order, needed, users
from rollc.transforms.predicate.select_inversion import is_zero, with_selects_inverted
from rollc.transforms.reassociate.sum_chains import fixed_names

MARK = "^guarded"


def is_weight_product(graph: Graph, node: Node) -> bool:
    """Whether a node is a parameter matrix times a vector: the same matrix for all steps."""
    if node.operation != "matmul" or len(node.type.shape) != 1:
        return False
    return not graph[node.operands[0].source].type.axes


def predicate(graph: Graph) -> Graph:
    """The lowered graph of a kernel with its products zero where their condition is false."""
    found = _Conditions(graph)
    if not found.uniform or graph.steps is not None:  # a DAG: loop peeling comes first
        return graph
    inverted = with_selects_inverted(graph, found.uniform, found.has_product)
    if inverted is not graph.nodes:
        graph = graph.with_nodes(in_step_order(inverted))
        found = _Conditions(graph)
    unmasked = tuple(found.without_mask(node) for node in graph.nodes)
    if unmasked != graph.nodes:
        leaves = [node.name for node in graph.nodes if not node.operands]
        graph = needed(graph.with_nodes(unmasked), [*graph.results(), *leaves])
        found = _Conditions(graph)
    guarded = {
        node.name: condition
        for node in graph.nodes
        if is_weight_product(graph, node)
        and BATCH in node.type.axes
        and node.name not in found.fixed
        and (condition := found.zero.get(node.name) or found.used.get(node.name))
        and not all(
            found.selects(reader, edge) for reader, edge in found.readers.get(node.name, ())
        )
    }
    if not guarded:
        return graph
    zero = graph.unused("zero" + MARK)
    names = {name: graph.unused(name + MARK) for name in guarded}

    def nodes() -> Iterator[Node]:
        yield Node(zero, "constant", (), Type("float"), attributes(value=0.0))
        for node in graph.nodes:
            edges = (
                replace(edge, source=names.get(edge.source, edge.source)) for edge in node.operands
            )
            yield replace(node, operands=tuple(edges))
            if node.name in guarded:
                select = (Edge(guarded[node.name]), Edge(node.name), Edge(zero))
                yield replace(
                    node,
                    name=names[node.name],
                    operation="where",
                    operands=select,
                    attributes=(),
                )

    # A condition can come later in the list than the product that it guards.
    return graph.with_nodes(in_step_order(nodes()))


def guards(graph: Graph) -> Mapping[str, str]:
    """The predicated products, each with its condition."""
    found = _Conditions(graph)
    guarded: dict[str, str] = {}
    for node in graph.nodes if found.uniform else ():
        conditions: set[str | None] = set()
        if is_weight_product(graph, node) and BATCH in node.type.axes:
            if node.name not in found.fixed:
                selected = (found.selects(*use) for use in found.readers.get(node.name, ()))
                conditions = {c if c and found.is_along(node, c) else None for c in selected}
        else:
            conditions = {*found.of_sum(node)}
        (condition,) = conditions if len(conditions) == 1 else (None,)
        if condition is not None:
            guarded[node.name] = condition
    return guarded


class _Conditions:
    """Two dataflow analyses by uniform conditions: where values are zero, and where used.

    ``zero`` has values that are zero where a condition is false, ``used`` those that are read
    only where it is true.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uniform = self._uniform()
        self.readers = users(graph.nodes, lambda node: node.operands) if self.uniform else {}
        self.fixed = fixed_names(graph)
        self.zero: dict[str, str] = {}
        self.used: dict[str, str] = {}
        self.products: set[str] = set()
        if self.uniform:
            order = in_step_order(graph.nodes)
            for node in order:
                self._propagate_zero(node)
                if is_weight_product(graph, node) or (
                    operation_of(node).finite and any(map(self.has_product, node.operands))
                ):
                    self.products.add(node.name)
            for node in reversed(order):
                self._propagate_use(node)

    def _uniform(self) -> set[str]:
        """The conditions of selects that are the same for all sequences, and change with time."""
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
        """Whether an operand of a node runs over the batch."""
        return any(BATCH in self.graph[edge.source].type.axes for edge in node.operands)

    def is_along(self, node: Node, condition: str) -> bool:
        """Whether a node runs over the axes of a condition."""
        return set(self.graph[condition].type.axes) <= set(node.type.axes)

    def selects(self, reader: Node, edge: Edge) -> str | None:
        """The condition under which a reader, a select, uses a value at the same step."""
        if reader.operation != "where" or edge.delay or reader.operands[1] != edge:
            return None
        condition, _, other = reader.operands
        plain = condition.delay == 0 and condition.source in self.uniform
        return condition.source if plain and other != edge else None

    def _propagate_zero(self, node: Node) -> None:
        found: str | None = None
        if node.operation == "where" and is_zero(self.graph, node.operands[2]):
            found = self.selects(node, node.operands[1])
        elif not (entry := operation_of(node)).whole:
            zeros = [None if edge.delay else self.zero.get(edge.source) for edge in node.operands]
            for group in entry.zero_groups(len(zeros)):
                (condition, *others) = {zeros[position] for position in group}
                found = found or (None if others else condition)
        if found is not None and self.is_along(node, found):
            self.zero[node.name] = found

    def of_sum(self, node: Node) -> set[str]:
        """The conditions under which the terms of a sum of products can be nonzero."""
        if node.operation != "outer" or node.type.axes or not self.is_batched(node):
            return set()
        zeros = (self.zero.get(edge.source) for edge in node.operands if edge.delay == 0)
        return {condition for condition in zeros if condition is not None}

    def without_mask(self, node: Node) -> Node:
        """A sum of products without masks of its operands by its own condition."""
        if len(conditions := self.of_sum(node)) != 1:
            return node
        for position, edge in enumerate(node.operands):
            mask, other = self.graph[edge.source], node.operands[1 - position]
            if mask.operation != "where":
                continue
            condition, value, otherwise = mask.operands
            if (
                len(self.readers[mask.name]) == 1
                and edge.delay == condition.delay == other.delay == 0
                and condition.source in conditions
                and is_zero(self.graph, otherwise)
                and self.zero.get(other.source) in conditions
                and self.graph[value.source].type == mask.type
            ):
                return replace(node, operands=(other, value) if position else (value, other))
        return node

    def has_product(self, edge: Edge) -> bool:
        """Whether a value depends on a product at the step that reads it."""
        return edge.delay == 0 and edge.source in self.products

    def _propagate_use(self, node: Node) -> None:
        if node.name in self.fixed or not node.type.time:
            return
        conditions = {
            self._used_by(reader, edge) for reader, edge in self.readers.get(node.name, ())
        }
        (condition,) = conditions if len(conditions) == 1 else (None,)
        if condition is not None and self.is_along(node, condition):
            self.used[node.name] = condition

    def _used_by(self, reader: Node, edge: Edge) -> str | None:
        """The condition under which a reader uses a value."""
        if edge.delay:
            return None
        if (condition := self.selects(reader, edge)) is not None:
            return condition
        product = reader.operation == "outer" or is_weight_product(self.graph, reader)
        if product or operation_of(reader).finite:
            if reader.operation == "outer" and not reader.type.axes:
                zeros = {self.zero.get(e.source) for e in reader.operands if e.delay == 0}
                return next(filter(None, zeros), None)
            return self.zero.get(reader.name) or self.used.get(reader.name)
        return None


def reads(node: Node, guarded: Mapping[str, str]) -> Iterator[Edge]:
    """The reads of a node, and that of its condition where it is predicated."""
    yield from node.operands
    if node.name in guarded:
        yield Edge(guarded[node.name])
