"""Broadcasting of shapes, as NumPy has it: dimensions are aligned from the last one on.

Elementwise operations of a graph take operands of one shape, and numbers.  Those of a spec take all
that broadcast to one shape: :func:`aligned` is what inference sees, and :func:`fitted` makes the
nodes that give an operand that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

from rollc.ir.graph import Attribute, Edge, Shape, Type
from rollc.ir.operations import Operation, TypeMismatch

PRODUCT = "matmul"
# Makes a node of an operation on operands, of a type.
Make = Callable[[str, tuple[Edge, ...], Type, dict[str, Attribute]], Edge]


def broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape that two shapes broadcast to; None where they do not."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    padded = (1,) * (len(longer) - len(shorter)) + shorter
    if any(m != n and 1 not in (m, n) for m, n in zip(longer, padded, strict=True)):
        return None
    return tuple(m if n == 1 else n for m, n in zip(longer, padded, strict=True))


def broadcasts(entry: Operation) -> bool:
    """Whether an operation takes operands that broadcast.

    What has a derivative of its own has the shape of its argument.
    """
    return entry.elementwise and not entry.once


def aligned(entry: Operation, types: Sequence[Type | None]) -> list[Type | None]:
    """The types of operands, with the shape that those of an elementwise operation broadcast to.

    Numbers stay numbers.  Raises :class:`TypeMismatch` where the shapes do not fit.
    """
    if entry.name == PRODUCT:
        return _factors(types)
    if not broadcasts(entry):
        return [*types]
    shape: Shape = ()
    seen: list[int] = []
    for place, type_ in enumerate(types):
        if type_ is None or not type_.shape:
            continue
        wider = broadcast(shape, type_.shape)
        if wider is None:
            other = next(
                other
                for other in seen
                if broadcast(_shape(types[other]), type_.shape) is None or other == seen[-1]
            )
            raise TypeMismatch(
                "equal shapes, or shapes that broadcast",
                [other, place],
                _hint({place: _shape(types[place]) for place in (other, place)}),
            )
        shape = wider
        seen.append(place)
    return [
        replace(type_, shape=shape) if type_ is not None and type_.shape else type_
        for type_ in types
    ]


def _factors(types: Sequence[Type | None]) -> list[Type | None]:
    """The types of the factors of a product, with the same dimensions before the matrices."""
    a, b = types
    if a is None or b is None or max(len(a.shape), len(b.shape)) < 3 or len(a.shape) < 2:
        return [*types]
    core = min(2, len(b.shape))
    before = broadcast(a.shape[:-2], b.shape[:-core]) if core else None
    if before is None:
        raise TypeMismatch(
            "matrices in values whose dimensions before them broadcast",
            [0, 1],
            'in general, write `einsum("hnk,hk->hn", a, b)`',
        )
    return [
        replace(a, shape=(*before, *a.shape[-2:])),
        replace(b, shape=(*before, *b.shape[-core:])),
    ]


def _shape(type_: Type | None) -> Shape:
    return () if type_ is None else type_.shape


def _hint(shapes: Mapping[int, Shape]) -> str:
    """What to write where a vector has an element for each row of a matrix."""
    (place, vector), (_, matrix) = sorted(shapes.items(), key=lambda item: len(item[1]))
    if len(vector) == 1 and len(matrix) == 2 and vector[0] == matrix[0]:
        return f"with an element of `{{{place}}}` for each row, write `expand({{{place}}}, axis=1)`"
    return ""


def fitted(edge: Edge, type_: Type, shape: Shape, make: Make, numbers: bool = True) -> Edge:
    """A read in a shape that it broadcasts to, or as a number where it has one element.

    Without ``numbers`` it keeps its dimensions, as a factor of a product does.
    """
    if type_.shape in ((), shape):
        return edge
    condition = type_.kind == "bool"
    start = len(shape) - len(type_.shape)
    drops = [
        place
        for place, size in enumerate(type_.shape)
        if size == 1 and (shape[start + place] != 1 or (numbers and prod(type_.shape) == 1))
    ]
    own = replace(type_, kind="float") if drops and condition else type_
    for place in reversed(drops):
        own = replace(own, shape=(*own.shape[:place], *own.shape[place + 1 :]))
        edge = make("sum", (edge,), own, {"axis": place})
    kept = {start + place for place in range(len(type_.shape)) if place not in drops}
    for place, size in enumerate(shape) if kept else ():
        if place not in kept:
            own = replace(own, shape=(*own.shape[:place], size, *own.shape[place:]))
            edge = make("expand", (edge,), own, {"axis": place, "size": size})
    if own.kind != type_.kind:
        zero = make("constant", (), Type("float"), {"value": 0.0})
        edge = make("not_equal", (edge, zero), replace(own, kind="bool"), {})
    return edge
