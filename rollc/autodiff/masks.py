"""Where no cotangent arrives, none leaves, whatever the slope is there.

A value that ``where`` did not choose may be NaN, and zero times its slope would be NaN too.
So what a rule passes on is masked by what arrives:

    passed                  ->  where(c, passed, 0)         if one condition decides it
    passed                  ->  reached(passed, g)          an operation on single elements
    passed                  ->  reached(passed, sum |g|)    one on vectors, at one step
    g * b, outer(g, b) ...  ->  g * reached(b, g) ...       a product: what g is multiplied with,
                                                            if that is no larger, so that a sum
                                                            of products stays one

Where that is needed is a fact of the operation, its ``slope``, and of the graph: an infinite
slope at a finite argument is always masked, for a factor of zero, or a flat tanh, make a
cotangent of zero too.  Where slopes are finite as long as the operands are, only what may get
no cotangent at all is masked (:mod:`rollc.autodiff.arrivals`): an LSTM has the adjoint that it
would have without.  Forward in time it is the same with tangents: what an infinite slope is
multiplied with is masked, and what is not picked is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rollc.autodiff.arrivals import Arrivals
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Node, Type
from rollc.ir.operations import Operation
from rollc.ir.operations.linear import over_axes


def passed_on(
    entry: Operation,
    node: Node,
    g: Value,
    y: Value,
    operands: Sequence[Value],
    wanted: Sequence[bool],
    known: Arrivals,
) -> Sequence[Value | None]:
    """What a node, of the operation ``entry``, passes on to those operands that are wanted."""
    rule, slope = entry.adjoint, entry.slope_at(node.options)
    assert rule is not None
    if slope == "constant" or (node.name in known.everywhere and slope != "infinite"):
        passed = rule(g, y, *operands, **node.options)
        return [value if want else None for value, want in zip(passed, wanted, strict=True)]
    masked = _mask(entry, node, g, known)
    read = list(operands)
    done = [False] * len(read)  # what is read for an operand's cotangent
    if slope == "product":
        for place, want in enumerate(wanted):
            other = operands[1 - place]
            if want and _is_smaller(entry, node, other.type, operands[place].type):
                read[1 - place], done[place] = masked(other), True
    passed = rule(g, y, *read, **node.options)
    return [
        None if value is None or not want else value if ready or value is g else masked(value)
        for value, want, ready in zip(passed, wanted, done, strict=True)
    ]


def _mask(entry: Operation, node: Node, g: Value, known: Arrivals) -> Callable[[Value], Value]:
    """What makes a value zero where nothing arrives."""
    infinite = entry.slope_at(node.options) == "infinite"
    choice = None if infinite else known.chosen.get(node.name)
    if choice is not None:
        edge = choice.condition
        maker = g.maker
        assert isinstance(maker, Builder)
        condition = maker.read(edge.source, edge.delay, edge.axis)
        shared = set(condition.type.axes) & set(over_axes(node.options))
        if (entry.elementwise or not condition.type.shape) and not shared:
            if choice.holds:
                return lambda value: call("where", condition, value, 0.0)
            return lambda value: call("where", condition, 0.0, value)
    arrives = arrived(entry, node, g)
    return lambda value: call("reached", value, arrives)


def arrived(entry: Operation, node: Node, g: Value) -> Value:
    """What is zero exactly where all is zero that one application of an operation gets."""
    over = over_axes(node.options) if entry.slope != "product" else ()
    if entry.elementwise or over:
        shared = tuple(axis for axis in over if axis in g.type.axes)
        return call("sum_over", call("abs", g), over=shared) if shared else g
    return call("sum", call("abs", g)) if g.type.shape else g


def where_it_moves(node: Node, build: Builder, tangent: Callable[[str], Value | None]) -> Node:
    """A node of an adjoint for derivatives of that: a mask passes on where what arrives moves too.

        reached(v, g)        ->  reached(v, |g| + |g^dot|)
        reached(v, sum |g|)  ->  reached(v, sum |g| + sum |g^dot|)

    A cotangent of zero whose tangent is not zero has a derivative in what it is multiplied with.
    ``tangent`` gives those of cotangents, None where there is none.
    """
    if node.operation != "reached":
        return node
    value, mask = node.operands
    made: list[Node] = []  # what :func:`arrived` has made of the cotangent
    name = mask.source
    while build.nodes[name].operation in ("abs", "sum", "sum_over"):
        made.append(build.nodes[name])
        name = made[-1].operands[0].source
    moved = tangent(name)
    if moved is None:
        return node
    for each in reversed(made):
        moved = call(each.operation, moved, **each.options)
    both = call("abs", build.read(mask.source)) + call("abs", moved)
    return replace(node, operands=(value, both.edge))


def _is_smaller(entry: Operation, node: Node, factor: Type, product: Type) -> bool:
    """Whether a factor is masked at less cost than its product with the cotangent."""
    covers = set(node.type.axes) <= set(factor.axes)
    if entry.elementwise:
        return covers
    return factor.size < product.size or (covers and factor.size == product.size)
