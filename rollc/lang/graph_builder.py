"""The graph of drafts with types; or, where types are missing, its edges alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollc.ir.graph import Attribute, Edge, Graph, Kind, Node, Shape, Type, attributes
from rollc.ir.time.delay_axes import separated
from rollc.lang.diagnostics.source import Source, Span
from rollc.lang.elaboration.drafts import Drafts
from rollc.lang.inference.broadcasting import PRODUCT, Make, aligned, broadcasts, fitted
from rollc.lang.inference.dimensions import Order, along, has_axis, inverse, place
from rollc.lang.inference.shapes import Inference, cut_options
from rollc.lang.symbols.builtins import DERIVATIVES
from rollc.lang.symbols.operations import OPERATIONS
from rollc.lang.symbols.untyped_node import Draft, Row


@dataclass(frozen=True)
class Places:
    """The spans of the nodes of a graph and of their operands.

    Operand number -1 of a node is its initial value.
    """

    nodes: Mapping[str, Span]
    operands: Mapping[tuple[str, int], Span]


def wiring(drafts: Drafts, frame: Graph) -> Graph:
    """The graph of the edges; the type of every node is a number.

    A derivative reads what it is the derivative of, and at which value.
    """
    nodes = [
        Node(
            draft.name,
            "identity" if draft.operation in DERIVATIVES else draft.operation,
            tuple(operand.edge for operand in draft.operands),
            Type("float"),
            draft.attributes,
            _initial(drafts, draft),
        )
        for draft in drafts.drafts.values()
    ]
    return frame.with_nodes(nodes)


def places(drafts: Drafts) -> Places:
    """The spans of the nodes of :func:`wiring`, and of their operands."""
    nodes = drafts.drafts.values()
    operands = {
        (draft.name, place): operand.span
        for draft in nodes
        for place, operand in enumerate(draft.operands)
    }
    starts = {(name, -1): operand.span for name, operand in drafts.initials.items()}
    return Places({draft.name: draft.span for draft in nodes}, {**operands, **starts})


def assemble(drafts: Drafts, inference: Inference, frame: Graph, source: Source) -> Graph:
    """The graph.  Every type must be known.

    What is broadcast has a node of its own: operands of elementwise operations, and a number as the
    initial value of a vector.
    """
    nodes: list[Node] = []
    made: dict[tuple[Edge, Shape, bool], Edge] = {}
    for draft in drafts.drafts.values():
        line = source.line_in_spec(draft.span)
        edges = tuple(operand.edge for operand in draft.operands)
        type_, options = inference.types[draft.name], draft.attributes
        operation = draft.operation
        make = _maker(drafts, draft, nodes, line)
        if draft.cut is not None and draft.cut.row is not None:
            operation, options = "identity", attributes()
            start = inference.types[edges[0].source]
            if start.kind != type_.kind:  # the zero of an index
                operation, options, edges = "constant", attributes(value=0.0), ()
            elif start.shape != type_.shape:
                row = _row_of(drafts.fresh(draft.name.split("'")[0]), draft.cut.row, edges, start)
                nodes.append(replace(row, line=line))
                operation, options = "sum", attributes(axis=0)
                edges = (Edge(row.name),)
            if type_.kind == "bool" == start.kind:  # what is made of it is a number
                if operation == "sum":
                    number = replace(type_, kind="float")
                    edges = (make(operation, edges, number, dict(options)),)
                zero = make("constant", (), Type("float"), {"value": 0.0})
                operation, options, edges = "not_equal", attributes(), (*edges, zero)
        elif draft.cut is not None:
            options = attributes(**cut_options(draft.cut, inference.read(edges[0])))
        edges = _fitted(draft, edges, inference, made, make)
        entry = OPERATIONS.get(operation)
        back: Order = ()
        if draft.along is not None and entry is not None:
            types = [_read(inference, edge) for edge in edges]
            if has_axis(entry):
                at = place(draft.along, entry, types)
                rest = {key: value for key, value in options if key != "axis"}
                whole = entry.reduces is not None and len(types[0].shape) == 1
                usual = whole or at == dict(entry.defaults).get("axis", 0)
                chosen: dict[str, Attribute] = {} if usual else {"axis": at}
                options = attributes(**rest, **chosen)
            else:
                edges, back = along(draft, edges, types, make)
        initial = _initial(drafts, draft)
        if initial is not None:
            start = inference.types[initial]
            if start.shape == () != type_.shape:
                initial = _filled(Edge(initial), start, type_.shape, make).source
        if len(back) == len(type_.shape) > 0:
            moved = replace(type_, shape=tuple(type_.shape[at] for at in inverse(back)))
            edges = (make(operation, edges, moved, dict(options)),)
            operation, options = "permute", attributes(order=back)
            if back == (1, 0):
                operation, options = "transpose", ()
        nodes.append(Node(draft.name, operation, edges, type_, options, initial, line))
    return separated(frame.with_nodes(nodes))


def _maker(drafts: Drafts, draft: Draft, nodes: list[Node], line: int) -> Make:
    """What makes the nodes that a draft needs besides its own."""

    def make(
        operation: str, operands: tuple[Edge, ...], type_: Type, options: dict[str, Attribute]
    ) -> Edge:
        name = drafts.fresh(draft.name.split("'")[0])
        nodes.append(Node(name, operation, operands, type_, attributes(**options), line=line))
        return Edge(name)

    return make


def _filled(edge: Edge, start: Type, shape: Shape, make: Make) -> Edge:
    """An initial value that is the same for all elements: a number, an index or a condition."""
    if start.kind == "float":
        return make("fill", (edge,), replace(start, shape=shape), {"shape": shape})
    for axis, size in enumerate(shape):
        start = replace(start, shape=shape[: axis + 1])
        edge = make("expand", (edge,), start, {"axis": axis, "size": size})
    return edge


def _read(inference: Inference, edge: Edge) -> Type:
    type_ = inference.read(edge)
    assert type_ is not None
    return type_


def _fitted(
    draft: Draft,
    edges: tuple[Edge, ...],
    inference: Inference,
    made: dict[tuple[Edge, Shape, bool], Edge],
    make: Make,
) -> tuple[Edge, ...]:
    """The operands of a node in the shape that they broadcast to, by nodes that are ``made``."""
    entry = OPERATIONS.get(draft.operation)
    if draft.cut is not None or entry is None:
        return edges
    numbers = broadcasts(entry)
    if numbers:
        shapes = [inference.types[draft.name].shape] * len(edges)
    elif entry.name == PRODUCT:
        types = aligned(entry, [_read(inference, edge) for edge in edges])
        shapes = [() if type_ is None else type_.shape for type_ in types]
    else:
        return edges
    for edge, shape in zip(edges, shapes, strict=True):
        if (edge, shape, numbers) not in made:
            read = _read(inference, edge)
            made[edge, shape, numbers] = fitted(edge, read, shape, make, numbers)
    return tuple(made[edge, shape, numbers] for edge, shape in zip(edges, shapes, strict=True))


def _row_of(name: str, row: Row, edges: tuple[Edge, ...], start: Type) -> Node:
    """The row of an initial value, as a matrix of one row."""
    place = row.outside - 1 if row.ahead else start.shape[0] - row.outside
    kind: Kind = "float" if start.kind == "bool" else start.kind
    type_ = replace(start, shape=(1, *start.shape[1:]), kind=kind)
    return Node(name, "slice", edges, type_, attributes(start=place, stop=place + 1))


def _initial(drafts: Drafts, draft: Draft) -> str | None:
    operand = drafts.initials.get(draft.name)
    return None if operand is None else operand.edge.source
