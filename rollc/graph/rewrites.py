"""The rewrites of :mod:`rollc.graph.simplify`, one entry in a table for each operation.

    x + 0, x - 0, x * 1, x / 1, x ** 1, -(-x)      ->  x
    0 - x, x * -1                                  ->  -x
    x + (-y), x - (-y), (-x) * (-y), -(x - y)      ->  x - y, x + y, x * y, y - x
    x ** 2                                         ->  x * x
    a sum with equal terms                         ->  k * x
    where(known, a, b), where(c, a, a)             ->  a or b
    identity, a combination of one value           ->  the value
    sum, mean of a fill; sum of a repeat           ->  size * x, x
    transpose of transpose; W.T @ x                ->  the matrix; matmul{transpose_a}
    slice of slice, concat, pad, fill              ->  one slice, or none
    pad of pad; pad or slice of everything         ->  one pad; the value
    concat of neighbouring slices, of a concat     ->  one slice, one concat
    a sum of pads that tile a vector               ->  one concat (the adjoint of split)
    a row of a stack                               ->  the value stacked there
    sum, mean, max, min, first, last over an axis
        of a value spread along it or at one step  ->  the value, times the extent for a sum
    W @ concat(a, b), a on the cycle and b not     ->  W[:, :m] @ a + W[:, m:] @ b

The last one lets the product of ``b`` leave the loop; a concat whose parts are all on the
cycle, or all off it, stays whole.  Parts that are zeros are dropped from it.

A rule takes the workspace and a node whose operands are simplified.  It answers with a read
that has the node's value, with the node rewritten, or with None.  Who asks looks at types:
an answer that does not run over all the axes of the node is spread over them, or not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite, prod
from typing import Protocol

import numpy as np

from rollc.graph.graph import Attribute, Edge, Node, Type, attributes
from rollc.graph.operations import OPERATIONS, Frame
from rollc.graph.operations.vector import EVERY


class Workspace(Protocol):
    """What a rule may ask and make."""

    def type(self, edge: Edge) -> Type: ...

    def defined(self, edge: Edge) -> Node | None: ...

    def known(self, edge: Edge) -> float | None: ...

    def is_term(self, name: str) -> bool: ...

    def inside_loop(self, reader: str, edge: Edge) -> bool: ...

    def number(self, value: float) -> Edge: ...

    def make(self, operation: str, *operands: Edge, **options: Attribute) -> Edge: ...


Rule = Callable[[Workspace, Node], "Node | Edge | None"]


def changed(node: Node, operation: str, *operands: Edge, **options: Attribute) -> Node:
    """A node that computes its value in another way."""
    return replace(node, operation=operation, operands=operands, attributes=attributes(**options))


# Known numbers


def known_number(work: Workspace, node: Node) -> float | None:
    """The one number that a node holds at every place, where it follows from its operands'."""
    entry = OPERATIONS.get(node.operation)
    if entry is None or not node.operands:
        return None
    numbers = [work.known(edge) for edge in node.operands]
    if node.operation in _ZERO_WITH_ANY and any(number == 0 for number in numbers):
        return 0.0
    present = [number for number in numbers if number is not None]
    if len(present) < len(numbers):
        return None
    if node.operation in _SAME:
        return present[0] if len({repr(number) for number in present}) == 1 else None
    if node.operation in _ZERO_OF_ZEROS:
        return 0.0 if not any(present) else None
    if entry.elementwise and node.type.kind != "index":
        return _evaluated(node, present)
    return None


_ZERO_WITH_ANY = frozenset({"multiply", "matmul", "dot", "outer"})
_SAME = frozenset(
    {"identity", "stop", "fill", "spread", "repeat", "slice", "row", "transpose", "concat", "stack"}
    | {"mean", "max", "min", "mean_over", "max_over", "min_over", "first", "last"}
)
_ZERO_OF_ZEROS = frozenset(
    {"pad", "impulse", "sum", "sum_over", "tail", "tail_steps", "tail_start"}
)


def _evaluated(node: Node, numbers: list[float]) -> float | None:
    """Elementwise work on numbers; what is not finite is left to be seen in the graph."""
    frame = Frame((), {}, np.dtype(np.float64), Type(node.type.kind))
    with np.errstate(all="ignore"):
        value = OPERATIONS[node.operation].evaluate(
            frame, node.options, *(np.asarray(number) for number in numbers)
        )
    number = float(value)
    return number if isfinite(number) else None


# Arithmetic


def _identity(work: Workspace, node: Node) -> Edge:
    return node.operands[0]


def _add(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    if work.known(a) == 0:
        return b
    if work.known(b) == 0:
        return a
    for x, y in ((a, b), (b, a)):
        negative = work.defined(y)
        if negative is not None and negative.operation == "negate":
            return changed(node, "subtract", x, negative.operands[0])
    return _sum_of_terms(work, node)


def _subtract(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    if work.known(b) == 0:
        return a
    if work.known(a) == 0 and work.type(b) == node.type:
        return changed(node, "negate", b)
    negative = work.defined(b)
    if negative is not None and negative.operation == "negate":
        return changed(node, "add", a, negative.operands[0])
    return None


def _multiply(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    for x, y in ((a, b), (b, a)):
        factor = work.known(x)
        if factor == 1:
            return y
        if factor == -1 and work.type(y) == node.type:
            return changed(node, "negate", y)
    first, second = work.defined(a), work.defined(b)
    if first is None or second is None:
        return None
    if first.operation == second.operation == "negate":
        return changed(node, "multiply", first.operands[0], second.operands[0])
    return None


def _divide(work: Workspace, node: Node) -> Edge | None:
    a, b = node.operands
    return a if work.known(b) == 1 else None


def _power(work: Workspace, node: Node) -> Node | Edge | None:
    a, b = node.operands
    exponent = work.known(b)
    if exponent == 1:
        return a
    if exponent == 2 and work.type(a) == node.type:
        return changed(node, "multiply", a, a)
    return None


def _negate(work: Workspace, node: Node) -> Node | Edge | None:
    inner = work.defined(node.operands[0])
    if inner is not None and inner.operation == "negate":
        return inner.operands[0]
    if inner is not None and inner.operation == "subtract":
        return changed(node, "subtract", *reversed(inner.operands))
    return None


def _where(work: Workspace, node: Node) -> Edge | None:
    condition, then, otherwise = node.operands
    number = work.known(condition)
    if number is not None:
        return then if number else otherwise
    return then if then == otherwise else None


def _combination(work: Workspace, node: Node) -> Node | Edge | None:
    operands = node.operands
    if node.operation == "sum_of":
        operands = tuple(edge for edge in operands if work.known(edge) != 0)
    if len(operands) == 1:
        return operands[0]
    if node.operation == "sum_of" and len(set(operands)) == 1 and len(operands) > 1:
        return changed(node, "multiply", work.number(float(len(operands))), operands[0])
    return None if operands == node.operands else replace(node, operands=operands)


# Sums of several terms


def _sum_of_terms(work: Workspace, node: Node) -> Node | None:
    """Equal terms of a chain of additions joined, and pads that tile a vector."""
    if work.is_term(node.name):
        return None  # the sum that it is a part of will see to it
    if len(set(node.operands)) > 1 and not any(
        _addition(work, edge) or _pad(work, edge) for edge in node.operands
    ):
        return None
    terms = _terms(work, node)
    joined = _tiled(work, node, terms)
    counts: dict[Edge, int] = {}
    for term in joined:
        counts[term] = counts.get(term, 0) + 1
    if len(counts) == len(terms):
        return None
    *rest, final = counts
    total: Edge | None = None
    for term in rest:
        term = _times(work, term, counts[term])
        total = term if total is None else work.make("add", total, term)
    if total is not None:
        return changed(node, "add", total, _times(work, final, counts[final]))
    if counts[final] > 1:
        return changed(node, "multiply", work.number(float(counts[final])), final)
    return changed(node, "identity", final)


def _times(work: Workspace, term: Edge, count: int) -> Edge:
    return term if count == 1 else work.make("multiply", work.number(float(count)), term)


def _terms(work: Workspace, node: Node) -> list[Edge]:
    """The terms of a chain of additions, through those that nothing else reads."""
    terms: list[Edge] = []
    waiting = list(reversed(node.operands))
    while waiting:
        edge = waiting.pop()
        inner = _addition(work, edge)
        if inner is not None:
            waiting.extend(reversed(inner.operands))
        else:
            terms.append(edge)
    return terms


def _addition(work: Workspace, edge: Edge) -> Node | None:
    node = work.defined(edge)
    if node is not None and node.operation == "add" and work.is_term(node.name):
        return node
    return None


def _pad(work: Workspace, edge: Edge) -> Node | None:
    node = work.defined(edge)
    return node if node is not None and node.operation == "pad" else None


def _tiled(work: Workspace, node: Node, terms: list[Edge]) -> list[Edge]:
    """The terms, with pads that tile the whole replaced by one concat."""
    groups: dict[tuple[int, int], list[tuple[int, int, Edge]]] = {}
    for place, term in enumerate(terms):
        pad = _pad(work, term)
        if pad is not None:
            axis, start, size = _axis(pad), _option(pad, "start"), _option(pad, "size")
            groups.setdefault((axis, size), []).append((start, place, pad.operands[0]))
    replaced: dict[int, Edge | None] = {}
    for (axis, size), group in groups.items():
        group.sort(key=lambda piece: piece[0])
        end = 0
        for start, _, piece in group:
            end = end + work.type(piece).shape[axis] if start == end else -1
        if end == size:
            first = min(place for _, place, _ in group)
            replaced.update(dict.fromkeys((place for _, place, _ in group), None))
            pieces = (piece for _, _, piece in group)
            replaced[first] = work.make("concat", *pieces, axis=axis)
    joined = (replaced.get(place, term) for place, term in enumerate(terms))
    return [term for term in joined if term is not None]


# Pieces of vectors


def _option(node: Node, name: str) -> int:
    value = node.options.get(name, 0)
    assert isinstance(value, int)
    return value


def _axis(node: Node) -> int:
    return _option(node, "axis")


def _slice(work: Workspace, node: Node) -> Node | Edge | None:
    (x,) = node.operands
    axis, start, stop = _axis(node), _option(node, "start"), _option(node, "stop")
    if (start, stop) == (0, work.type(x).shape[axis]):
        return x
    inner = work.defined(x)
    if inner is None:
        return None
    if inner.operation == "fill":
        return changed(node, "fill", *inner.operands, shape=node.type.shape)
    if inner.operation not in ("slice", "concat", "pad") or _axis(inner) != axis:
        return None
    if inner.operation == "slice":
        offset = _option(inner, "start")
        (source,) = inner.operands
        return changed(node, "slice", source, axis=axis, start=start + offset, stop=stop + offset)
    if inner.operation == "pad":
        pieces = [(_option(inner, "start"), inner.operands[0])]
    else:
        pieces, end = [], 0
        for piece in inner.operands:
            pieces.append((end, piece))
            end += _length(work, piece, axis)
    return _cut(work, node, pieces, axis, start, stop)


def _length(work: Workspace, edge: Edge, axis: int) -> int:
    shape = work.type(edge).shape
    return shape[axis] if shape else 1


def _cut(
    work: Workspace, node: Node, pieces: list[tuple[int, Edge]], axis: int, start: int, stop: int
) -> Node | Edge | None:
    """A slice that lies in one piece, or takes several whole."""
    whole: list[Edge] = []
    for begin, piece in pieces:
        end = begin + _length(work, piece, axis)
        if begin <= start and stop <= end and work.type(piece).shape:
            if (begin, end) == (start, stop):
                return piece
            return changed(node, "slice", piece, axis=axis, start=start - begin, stop=stop - begin)
        if start <= begin and end <= stop:
            whole.append(piece)
    if sum(_length(work, piece, axis) for piece in whole) == stop - start:
        return changed(node, "concat", *whole, axis=axis)
    return None


def _pad_rule(work: Workspace, node: Node) -> Node | Edge | None:
    (x,) = node.operands
    axis = _axis(node)
    if work.type(x).shape[axis] == _option(node, "size"):
        return x
    inner = work.defined(x)
    if inner is None or inner.operation != "pad" or _axis(inner) != axis:
        return None
    start = _option(node, "start") + _option(inner, "start")
    size = _option(node, "size")
    return changed(node, "pad", inner.operands[0], axis=axis, start=start, size=size)


def _concat(work: Workspace, node: Node) -> Node | Edge | None:
    axis = _axis(node)
    parts: list[Edge] = []
    for edge in node.operands:
        inner = work.defined(edge)
        nested = inner is not None and inner.operation == "concat" and _axis(inner) == axis
        parts.extend(inner.operands if inner is not None and nested else (edge,))
    joined: list[Edge] = []
    for edge in parts:
        merged = _neighbours(work, joined[-1], edge, axis) if joined else None
        if merged is None:
            joined.append(edge)
        else:
            joined[-1] = merged
    if len(joined) == 1 and work.type(joined[0]).shape:
        return joined[0]
    operands = tuple(joined)
    return None if operands == node.operands else replace(node, operands=operands)


def _neighbours(work: Workspace, left: Edge, right: Edge, axis: int) -> Edge | None:
    """The one slice that two slices beside each other are."""
    a, b = work.defined(left), work.defined(right)
    if a is None or b is None or not a.operation == b.operation == "slice":
        return None
    if a.operands != b.operands or not _axis(a) == _axis(b) == axis:
        return None
    if _option(a, "stop") != _option(b, "start"):
        return None
    start, stop = _option(a, "start"), _option(b, "stop")
    (source,) = a.operands
    if (start, stop) == (0, work.type(source).shape[axis]):
        return source
    return work.make("slice", source, axis=axis, start=start, stop=stop)


# Reductions of one value


def _sum(work: Workspace, node: Node) -> Node | Edge | None:
    inner = work.defined(node.operands[0])
    if inner is None:
        return None
    axis = node.options.get("axis", EVERY)
    if inner.operation == "fill" and axis == EVERY:
        size = prod(work.type(node.operands[0]).shape)
        return changed(node, "multiply", inner.operands[0], work.number(float(size)))
    if inner.operation == "repeat" and axis == _axis(inner):
        return changed(
            node, "multiply", inner.operands[0], work.number(float(_option(inner, "size")))
        )
    if inner.operation == "slice" and axis == _axis(inner) == 0:
        start, stop = _option(inner, "start"), _option(inner, "stop")
        stack = work.defined(inner.operands[0])
        if stop == start + 1 and stack is not None and stack.operation == "stack":
            return stack.operands[start]
    return None


def _mean(work: Workspace, node: Node) -> Edge | None:
    inner = work.defined(node.operands[0])
    axis = node.options.get("axis", EVERY)
    if inner is not None and inner.operation == "fill" and axis == EVERY:
        return inner.operands[0]
    return None


def _over(work: Workspace, node: Node) -> Node | Edge | None:
    """A reduction over an axis along which there is one value, or one value and zeros."""
    over = node.options["over"]
    inner = work.defined(node.operands[0])
    assert isinstance(over, tuple)
    if not over:
        return node.operands[0]
    if inner is None or inner.operation not in ("spread", "impulse"):
        return None
    axis = inner.options["axis"]
    if axis not in over or (inner.operation == "impulse" and node.operation != "sum_over"):
        return None
    (value,) = inner.operands
    if value.delay or axis in work.type(value).axes:
        return None
    rest = tuple(str(other) for other in over if other != axis)
    if inner.operation == "spread" and node.operation == "sum_over":
        extent = work.make("extent", axis=str(axis))
        if not rest:
            return changed(node, "multiply", value, extent)
        value = work.make("multiply", value, extent)
    return changed(node, node.operation, value, over=rest) if rest else value


def _end(work: Workspace, node: Node) -> Edge | None:
    """The first or last of a value that is spread, or that stands at that very step."""
    inner = work.defined(node.operands[0])
    if inner is None or inner.options.get("axis") != node.options["axis"]:
        return None
    impulse = inner.operation == "impulse" and inner.options["at"] == node.operation
    return inner.operands[0] if inner.operation == "spread" or impulse else None


# Matrices


def _transpose(work: Workspace, node: Node) -> Edge | None:
    inner = work.defined(node.operands[0])
    if inner is not None and inner.operation == "transpose":
        return inner.operands[0]
    return None


def _matmul(work: Workspace, node: Node) -> Node | None:
    a, b = node.operands
    for place, flag in ((0, "transpose_a"), (1, "transpose_b")):
        inner = work.defined(node.operands[place])
        if inner is not None and inner.operation == "transpose":
            options = {**node.options, flag: not node.options.get(flag, False)}
            operands = (*node.operands[:place], inner.operands[0], *node.operands[place + 1 :])
            return changed(node, "matmul", *operands, **_only_true(options))
    vector = work.defined(b)
    if vector is not None and vector.operation == "concat" and len(vector.type.shape) == 1:
        return _by_parts(work, node, a, vector)
    return None


def _only_true(options: dict[str, Attribute]) -> dict[str, Attribute]:
    return {name: value for name, value in options.items() if value is not False}


def _by_parts(work: Workspace, node: Node, matrix: Edge, vector: Node) -> Node | None:
    """A matmul by a concat, with the parts that leave the cycle, or are zero, by themselves."""
    runs: list[tuple[str, int, int, list[Edge]]] = []
    start = 0
    for part in vector.operands:
        stop = start + _length(work, part, 0)
        sort = "on" if work.inside_loop(node.name, part) else "off"
        sort = "zero" if work.known(part) == 0 else sort
        if runs and runs[-1][0] == sort:
            _, begin, _, parts = runs.pop()
            runs.append((sort, begin, stop, [*parts, part]))
        else:
            runs.append((sort, start, stop, [part]))
        start = stop
    kept = [run for run in runs if run[0] != "zero"]
    if len(runs) < 2 or not kept:
        return None
    transposed = bool(node.options.get("transpose_a", False))
    products: list[Edge] = []
    for _, begin, stop, parts in kept:
        axis = 0 if transposed else 1
        columns = work.make("slice", matrix, axis=axis, start=begin, stop=stop)
        whole = len(parts) == 1 and work.type(parts[0]).shape
        piece = parts[0] if whole else work.make("concat", *parts, axis=0)
        products.append(work.make("matmul", columns, piece, **node.options))
    total, *rest = products
    if not rest:
        return changed(node, "identity", total)
    for product in rest[:-1]:
        total = work.make("add", total, product)
    return changed(node, "add", total, rest[-1])


REWRITES: Mapping[str, tuple[Rule, ...]] = {
    "identity": (_identity,),
    "add": (_add,),
    "subtract": (_subtract,),
    "multiply": (_multiply,),
    "divide": (_divide,),
    "power": (_power,),
    "negate": (_negate,),
    "where": (_where,),
    "sum_of": (_combination,),
    "max_of": (_combination,),
    "min_of": (_combination,),
    "slice": (_slice,),
    "pad": (_pad_rule,),
    "concat": (_concat,),
    "sum": (_sum,),
    "mean": (_mean,),
    "sum_over": (_over,),
    "mean_over": (_over,),
    "max_over": (_over,),
    "min_over": (_over,),
    "first": (_end,),
    "last": (_end,),
    "transpose": (_transpose,),
    "matmul": (_matmul,),
}
