"""Operations of a spec that a graph has in others: `einsum`, look-ups, stacks along a dimension.

They are operations until all types are known.  Then :func:`written_out` puts products of matrices,
permutations and sums in their place, which are differentiated and run as these are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NoReturn

from rollc.ir.attributes import MOST_DIMENSIONS
from rollc.ir.builder import Builder
from rollc.ir.expressions import Value, call, spread
from rollc.ir.graph import Graph, Node, Type
from rollc.ir.operations.operation import (
    FIRST,
    Operation,
    Options,
    TypeMismatch,
    known,
    need_numbers,
    union,
)

EINSUM, GATHER, STACKED = "einsum", "gather", "stacked"


def _never(*_: object) -> NoReturn:
    raise AssertionError("an operation that no graph has")


def written_out(graph: Graph) -> Graph:
    """The graph with these operations written out in those of a graph."""
    nodes: dict[str, Node] = {node.name: node for node in graph.nodes}
    order: list[Node] = []
    for node in graph.nodes:
        form = FORMS.get(node.operation)
        if form is None:
            order.append(node)
            continue
        assert form.decompose is not None
        build = Builder(nodes.values(), mark="'")
        build.prefix, build.line = node.name.split("'")[0], node.line
        operands = [build.read(edge.source, edge.delay, edge.axis) for edge in node.operands]
        found = spread(form.decompose(*operands, **node.options), node.type.axes)
        if found.edge.source in nodes:
            found = call("identity", found)
        made = [new for name, new in build.nodes.items() if name not in nodes]
        nodes |= {new.name: new for new in made}
        outer = build.nodes[found.edge.source]
        order += [new for new in made if new is not outer]
        order.append(replace(outer, name=node.name, initial=node.initial))
    return graph.with_nodes(order)


# Sums of products ---------------------------------------------------------------------------


def flaw_of(subscripts: str, operands: int) -> str:
    """What is wrong with the subscripts of `einsum`; "" if nothing is."""
    text, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = text.split(",")
    if not arrow:
        return "the dimensions of the result stand behind `->`"
    if not all(term.isascii() and term.isalpha() for term in terms):
        return "dimensions are letters"
    if len(terms) != operands:
        return f"there are subscripts for {len(terms)} of {operands} operands"
    if result and not (result.isascii() and result.isalpha()):
        return "dimensions are letters"
    for term in (*terms, result):
        twice = [letter for letter in term if term.count(letter) > 1]
        if twice:
            return f"`{term}` has `{twice[0]}` twice: a diagonal is no such sum"
        if len(term) > MOST_DIMENSIONS:
            return f"a value has {MOST_DIMENSIONS} dimensions at most"
    unknown = [letter for letter in result if letter not in text]
    if unknown:
        return f"`{unknown[0]}` is in the result alone: no operand says its size"
    return ""


def _terms(options: Options) -> tuple[list[str], str]:
    text, _, result = str(options["subscripts"]).replace(" ", "").partition("->")
    return text.split(","), result


def _infer_einsum(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    terms, result = _terms(options)
    sizes: dict[str, tuple[int, int]] = {}  # and the operand that says it
    for place, (term, type_) in enumerate(zip(terms, types, strict=True)):
        if len(term) != len(type_.shape):
            count = f"{len(term)} dimensions" if len(term) > 1 else "a vector"
            raise TypeMismatch(f"{count} for `{term}`", [place])
        for letter, size in zip(term, type_.shape, strict=True):
            other, first = sizes.setdefault(letter, (size, place))
            if size != other:
                raise TypeMismatch(f"one size for `{letter}`", [first, place])
    left = terms[0]
    for place in range(1, len(terms)):
        left = _kept(left, terms[place], [*terms[place + 1 :], result])
        if len(left) > MOST_DIMENSIONS:
            raise TypeMismatch(f"{MOST_DIMENSIONS} dimensions at most on the way, from the left")
    return Type("float", tuple(sizes[letter][0] for letter in result), union(types))


def _kept(a: str, b: str, later: Sequence[str]) -> str:
    """The dimensions of a product that something later has: of both, of one, of the other."""
    needed = "".join(later)
    both = [letter for letter in a if letter in b]
    letters = [*both, *(x for x in a if x not in b), *(x for x in b if x not in a)]
    return "".join(letter for letter in letters if letter in needed)


def _einsum(*operands: Value, subscripts: str) -> Value:
    terms, result = _terms({"subscripts": subscripts})
    value, left = operands[0], terms[0]
    for place in range(1, len(terms)):
        later = [*terms[place + 1 :], result]
        kept = _kept(left, terms[place], later)
        value, left = _product(value, left, operands[place], terms[place], kept)
    value, left = _summed(value, left, result)
    return _ordered(value, left, result)


def _summed(value: Value, term: str, kept: str) -> tuple[Value, str]:
    """A value without the dimensions that are not kept."""
    for letter in [letter for letter in term if letter not in kept]:
        place = term.index(letter)
        value = call("sum", value, axis=place) if len(term) > 1 else call("sum", value)
        term = term.replace(letter, "")
    return value, term


def _ordered(value: Value, term: str, wanted: str) -> Value:
    order = tuple(term.index(letter) for letter in wanted)
    if order == tuple(range(len(order))):
        return value
    return call("transpose", value) if order == (1, 0) else call("permute", value, order=order)


def _product(a: Value, first: str, b: Value, second: str, kept: str) -> tuple[Value, str]:
    """The sum of the products of two values over the dimensions that are not kept."""
    a, first = _summed(a, first, second + kept)
    b, second = _summed(b, second, first + kept)
    sizes = dict(zip(first + second, (*a.type.shape, *b.type.shape), strict=True))
    both = "".join(x for x in first if x in second and x in kept)
    over = "".join(x for x in first if x in second and x not in kept)
    rows = "".join(x for x in first if x not in second)
    columns = "".join(x for x in second if x not in first)
    found = both + rows + columns
    if not over and not (rows and columns):
        return _each(a, first, sizes, found) * _each(b, second, sizes, found), found
    if not over:
        left = _matrices(a, first, both, (rows,))
        right = _matrices(b, second, both, (columns,))
        value = call("outer", left, right)
    elif rows and columns:
        value = _matmul(a, first, b, second, (both, rows, over, columns))
    elif rows or columns:
        matrix, term, vector, other = (a, first, b, second) if rows else (b, second, a, first)
        turned = both + over + (rows or columns) == term
        groups = (over, rows or columns) if turned else (rows or columns, over)
        left = _matrices(matrix, term, both, groups)
        right = _matrices(vector, other, both, (over,))
        value = call("matmul", left, right, **({"transpose_a": True} if turned else {}))
    else:
        left, right = (_matrices(x, term, both, (over,)) for x, term in ((a, first), (b, second)))
        value = call("dot", left, right)
    return _reshaped(value, tuple(sizes[letter] for letter in found)), found


def _matmul(
    a: Value, first: str, b: Value, second: str, letters: tuple[str, str, str, str]
) -> Value:
    """Matrices times matrices; one whose dimensions stand the other way is read transposed."""
    both, rows, over, columns = letters
    flags: dict[str, bool] = {}
    if both + over + rows == first:
        flags["transpose_a"] = True
    if both + columns + over == second:
        flags["transpose_b"] = True
    left = _matrices(a, first, both, (over, rows) if "transpose_a" in flags else (rows, over))
    right = _matrices(
        b, second, both, (columns, over) if "transpose_b" in flags else (over, columns)
    )
    return call("matmul", left, right, **flags)


def _matrices(value: Value, term: str, before: str, groups: Sequence[str]) -> Value:
    """A value with some dimensions in front, and behind them one for each group of others."""
    sizes = dict(zip(term, value.type.shape, strict=True))
    value = _ordered(value, term, before + "".join(groups))
    shape = [sizes[letter] for letter in before]
    shape += [prod(sizes[letter] for letter in group) for group in groups]
    return _reshaped(value, tuple(shape))


def _reshaped(value: Value, shape: tuple[int, ...]) -> Value:
    return value if value.type.shape == shape else call("reshape", value, shape=shape)


def _each(value: Value, term: str, sizes: Mapping[str, int], wanted: str) -> Value:
    """A value with the wanted dimensions, the same along those that it does not have."""
    value = _ordered(value, term, "".join(letter for letter in wanted if letter in term))
    if not term:
        return value
    for place, letter in enumerate(wanted):
        if letter not in term:
            value = call("expand", value, axis=place, size=sizes[letter])
    return value


# Look-ups -----------------------------------------------------------------------------------


_AXES = "abc", "xyz"  # letters for the dimensions of what is looked up, and of the places
_ALONG = "n"


def _infer_gather(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    x, index = types
    need_numbers(types, [0])
    if index.kind == "bool":
        hint = "to leave some out of what comes next: `where(c, x, 0)`"
        raise TypeMismatch("a number or an index", [1], hint)
    place = _place(options, len(x.shape), 0)
    if index.kind == "index" and index.bound is not None and index.bound > x.shape[place]:
        hint = "an index into three elements is declared as `index(3)`"
        raise TypeMismatch(f"at least {index.bound} elements", [0, 1], hint)
    if len(x.shape) + len(index.shape) > MOST_DIMENSIONS:
        most = MOST_DIMENSIONS - len(x.shape)
        raise TypeMismatch(f"places of {most} dimensions at most" if most else "one place", [1])
    return Type("float", (*x.shape[:place], *index.shape, *x.shape[place + 1 :]), union(types))


def _gather(x: Value, index: Value, axis: int) -> Value:
    count = len(x.type.shape)
    place = axis % count
    if index.type.kind != "index" or index.type.shape:
        return _chosen(x, index, place)
    if place:
        others = (other for other in range(count) if other != place)
        x = _ordered(x, "abcd"[:count], "".join("abcd"[at] for at in (place, *others)))
    size, *rest = x.type.shape
    if not rest:
        return call("element", x, index)
    table = _reshaped(x, (size, prod(rest)))
    return _reshaped(call("embed", table, index), tuple(rest))


def _chosen(x: Value, index: Value, place: int) -> Value:
    """The elements at several places, or at that of a number: each place is compared with each.

    A number is the place that it is rounded down to, the first or last one where it is outside.
    """
    size = x.type.shape[place]
    before, behind = _AXES[0][:place], _AXES[0][place : len(x.type.shape) - 1]
    own = _AXES[1][: len(index.type.shape)]
    wanted = before + own + _ALONG + behind
    term = before + _ALONG + behind
    sizes = dict(zip(term + own, (*x.type.shape, *index.type.shape), strict=True))
    if index.type.kind != "index":
        index = call("clip", call("floor", index), 0.0, float(size - 1))
    places = x.maker.make("range", (), size=size)
    found = call("equal", _each(index, own, sizes, wanted), _each(places, _ALONG, sizes, wanted))
    kept, _ = _summed(
        call("where", found, _each(x, term, sizes, wanted), 0.0), wanted, before + own + behind
    )
    return kept


# Stacks -------------------------------------------------------------------------------------


def _infer_stacked(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    shape = types[0].shape
    for place, type_ in enumerate(types):
        if type_.shape != shape:
            raise TypeMismatch("values of one shape", [0, place])
    if len(shape) == MOST_DIMENSIONS:
        raise TypeMismatch(f"{MOST_DIMENSIONS - 1} dimensions at most", [0])
    place = _place(options, len(shape) + 1, 1)
    return Type("float", (*shape[:place], len(types), *shape[place:]), union(types))


def _place(options: Options, count: int, more: int) -> int:
    """The dimension of ``count`` that the option says; an operand has so many, less ``more``."""
    axis = options["axis"]
    assert isinstance(axis, int)
    if not -count <= axis < count:
        least = (axis + 1 if axis >= 0 else -axis) - more
        raise TypeMismatch(f"at least {least} dimensions" if least > 1 else "a vector", [0])
    return axis % count


def _stacked(*operands: Value, axis: int) -> Value:
    count = len(operands[0].type.shape) + 1
    place = axis % count
    order = (*range(1, place + 1), 0, *range(place + 1, count))
    return _ordered(call("stack", *operands), "abcd"[:count], "".join("abcd"[at] for at in order))


def _form(
    name: str,
    operands: tuple[str, ...],
    infer: Any,
    written: Callable[..., Value],
    summary: str,
    **facts: Any,
) -> Operation:
    return Operation(
        name, operands, infer, _never, decompose=written, internal=True, summary=summary, **facts
    )


FORMS: Mapping[str, Operation] = {
    entry.name: entry
    for entry in (
        _form(
            EINSUM,
            ("x",),
            _infer_einsum,
            _einsum,
            "sums of products of elements: each letter is a dimension, summed over where the result"
            " does not have it",
            variadic=True,
            linear="each",
        ),
        _form(
            GATHER,
            ("x", "index"),
            _infer_gather,
            _gather,
            "the element at a place that is computed",
            linear=FIRST,
        ),
        _form(
            STACKED,
            ("x",),
            _infer_stacked,
            _stacked,
            "values of one shape, along a new dimension",
            variadic=True,
            linear="jointly",
        ),
    )
}
