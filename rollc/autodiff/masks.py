"""Masks of contributions: zero where the cotangent is zero, whatever the derivative is there.

A value that ``where`` did not choose may be NaN or infinite, and so may its derivative; a
cotangent of zero times that would be NaN.  So the contribution ``c`` of a rule is masked by the
cotangent ``g``:

    c                       ->  where(condition, c, 0)      if one condition decides it
    c                       ->  reached(c, g)               an elementwise operation
    c                       ->  reached(c, sum |g|)         one on vectors, at one step
    g * b, outer(g, b) ...  ->  g * reached(b, g) ...       a product: the other factor is masked,
                                                            if that is no larger, so that a sum
                                                            of products stays one

Which contributions need a mask follows from the operation, by its ``slope``, and from the graph.
A derivative that can be infinite at a finite argument is always masked, since arithmetic makes
cotangents zero too (a factor of zero, a saturated tanh).  Where derivatives are finite as long as
the operands are, only nodes that may get no cotangent at some steps or elements are masked
(:mod:`rollc.autodiff.arrivals`): the adjoint of an LSTM has no masks.  In forward mode tangents
are masked likewise before they meet a derivative that can be infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rollc.autodiff.arrivals import Arrivals
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Node, Type
from rollc.ir.operations import Operation
from rollc.ir.operations.vectors.linear import over_axes


def contributions_of(
    entry: Operation,
    node: Node,
    g: Value,
    y: Value,
    operands: Sequence[Value],
    wanted: Sequence[bool],
    known: Arrivals,
    again: bool = False,
) -> Sequence[Value | None]:
    """The masked contributions of a node, of the operation ``entry``, to its operands.

    None for an operand that is not ``wanted`` or that no gradient passes to.  ``again`` where the
    contributions will be differentiated: see :func:`finite`.
    """
    rule, slope = entry.adjoint, entry.slope_at(node.options)
    assert rule is not None
    if slope == "constant" or (node.name in known.everywhere and slope != "infinite"):
        values = rule(g, y, *operands, **node.options)
        return [value if want else None for value, want in zip(values, wanted, strict=True)]
    masked = _mask(entry, node, g, known, again)
    read = list(operands)
    done = [False] * len(read)  # whether the factor of an operand's contribution is masked
    if slope == "product":
        for position, want in enumerate(wanted):
            other = operands[1 - position]
            if want and _is_smaller(entry, node, other.type, operands[position].type):
                read[1 - position], done[position] = masked(other), True
    values = rule(g, y, *read, **node.options)
    return [
        None if value is None or not want else value if ready or value is g else masked(value)
        for value, want, ready in zip(values, wanted, done, strict=True)
    ]


def _mask(
    entry: Operation, node: Node, g: Value, known: Arrivals, again: bool
) -> Callable[[Value], Value]:
    """The function that makes a value zero where the cotangent is zero."""
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
    if again:
        return lambda value: finite(value, arrives)
    return lambda value: call("reached", value, arrives)


def finite(value: Value, arrives: Value) -> Value:
    """A value, zero where nothing ``arrives`` and it is not finite.

    Like ``reached``, but with the derivative of the value: at x = 1 the slope of log(x) ** 2 is 0,
    since the cotangent of the logarithm is, and the slope of that is 2.
    """
    unreached = call("equal", arrives, 0.0)
    infinite = call("not_equal", value - value, 0.0)
    return call("where", call("and", unreached, infinite), 0.0, value)


def arrived(entry: Operation, node: Node, g: Value) -> Value:
    """A value that is zero exactly where the whole cotangent of one application is zero.

    An operation is applied to each element, to each vector, or to the steps of an axis.
    """
    over = over_axes(node.options) if entry.slope != "product" else ()
    if entry.elementwise or over:
        shared = tuple(axis for axis in over if axis in g.type.axes)
        return call("sum_over", call("abs", g), over=shared) if shared else g
    return call("sum", call("abs", g)) if g.type.shape else g


def with_tangent_in_mask(
    node: Node, build: Builder, tangent: Callable[[str], Value | None]
) -> Node:
    """A mask of an adjoint, widened for forward mode over it (second derivatives).

        reached(v, g)        ->  reached(v, |g| + |g^dot|)
        reached(v, sum |g|)  ->  reached(v, sum |g| + sum |g^dot|)

    Where a cotangent is zero and its tangent is not, the product with v has a derivative.
    ``tangent`` gives those of cotangents, None where there is none; other nodes are unchanged.
    """
    if node.operation != "reached":
        return node
    value, mask = node.operands
    made: list[Node] = []  # the nodes of :func:`arrived`, from the last one back
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
    """Whether a factor costs less to mask than its product with the cotangent."""
    covers = set(node.type.axes) <= set(factor.axes)
    if entry.elementwise:
        return covers
    return factor.size < product.size or (covers and factor.size == product.size)
