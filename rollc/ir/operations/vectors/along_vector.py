"""Along the elements of a vector: linear recurrences, products, orders, convolutions.

A linear recurrence makes products of all elements up to each: no division, so that zeros are no
special case.  Its derivatives are recurrences the other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rollc.ir.attributes import FLAG
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Attribute, Type
from rollc.ir.operations.operation import (
    FIRST,
    Array,
    Evaluate,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    along_last,
    known,
    need_numbers,
    need_vector,
    need_vectors,
    union,
)
from rollc.ir.operations.vectors.reductions import infer_to_number, sum_last

# Recurrences ------------------------------------------------------------------------------


def _infer_scan(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    if types[0].shape != types[1].shape:
        raise TypeMismatch("two vectors of one length", [0, 1])
    if types[2].shape not in ((), types[0].shape[:-1]):
        raise TypeMismatch("a number", [2])
    return Type("float", types[0].shape, union(types))


def _scan(frame: Frame, options: Options, factor: Array, term: Array, start: Array) -> Array:
    factor, term, start = (each.astype(frame.dtype, copy=False) for each in (factor, term, start))
    size = factor.shape[-1]
    start = start.reshape(start.shape + (1,) * (factor.ndim - 1 - start.ndim))
    lead = np.broadcast_shapes(factor.shape[:-1], term.shape[:-1], start.shape)
    found = np.empty((*lead, size), frame.dtype)
    value: Any = start
    for k in reversed(range(size)) if options.get("reverse") else range(size):
        value = factor[..., k] * value + term[..., k]
        found[..., k] = value
    return found


def _shifted(x: Value, reverse: bool) -> Value:
    """The elements one place on, with a zero for the first; one place back if reversed."""
    size = x.type.shape[-1]
    if size == 1:
        return call("fill", x.maker.number(0.0), shape=x.type.shape)
    kept = _part(x, int(reverse), size - 1 + int(reverse))
    return call("pad", kept, start=int(not reverse), size=size, **_last(x))


def _last(x: Value) -> dict[str, Attribute]:
    """The option that says the last dimension."""
    return {"axis": len(x.type.shape) - 1} if len(x.type.shape) > 1 else {}


def _part(x: Value, start: int, stop: int) -> Value:
    """Some of the last dimension."""
    return call("slice", x, start=start, stop=stop, **_last(x))


def _before(y: Value, start: Value, reverse: bool) -> Value:
    """What each step of a recurrence reads."""
    *before, size = y.type.shape
    if start.type.shape:
        start = call("expand", start, axis=len(before), size=1)
    elif before or size == 1:
        start = call("fill", start, shape=(*before, 1))
    if size == 1:
        return start
    kept = _part(y, int(reverse), size - 1 + int(reverse))
    return call("concat", *((kept, start) if reverse else (start, kept)), **_last(y))


def _linear_scan(factor: Value, term: Value, start: float, reverse: bool) -> Value:
    options: dict[str, Attribute] = {"reverse": True} if reverse else {}
    return call("linear_scan", factor, term, start, **options)


def _scan_adjoint(
    g: Value, y: Value, factor: Value, term: Value, start: Value, reverse: bool = False
) -> list[Value | None]:
    later = _shifted(factor, not reverse)
    of_term = _linear_scan(later, g, 0.0, not reverse)
    first = factor.type.shape[-1] - 1 if reverse else 0
    ends = (_part(each, first, first + 1) for each in (factor, of_term))
    return [of_term * _before(y, start, reverse), of_term, call("dot", *ends)]


# Products ---------------------------------------------------------------------------------


def _product(frame: Frame, options: Options, x: Array) -> Array:
    return np.asarray(np.prod(x.astype(frame.dtype, copy=False), axis=-1))


def _products(x: Value, reverse: bool = False) -> Value:
    """The products up to each element, or from each on."""
    nothing = call("fill", x.maker.number(0.0), shape=x.type.shape)
    return _linear_scan(x, nothing, 1.0, reverse)


def _product_adjoint(g: Value, y: Value, x: Value) -> list[Value | None]:
    one = x.maker.number(1.0)
    others = [_before(_products(x, reverse), one, reverse) for reverse in (False, True)]
    return [along_last(g, x) * (others[0] * others[1])]


def _whole_product(x: Value) -> Value:
    size = x.type.shape[-1]
    return sum_last(_part(_products(x), size - 1, size))


# Orders -----------------------------------------------------------------------------------


def _infer_arranged(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    if types[0].shape != types[1].shape:
        raise TypeMismatch("two vectors of one length", [0, 1])
    return Type("float", types[0].shape, union(types))


def _order(x: Array, keys: Array) -> tuple[Array, Array]:
    """The values, and the places of the keys from the smallest to NaN, equal ones as they stand."""
    size = x.shape[-1]
    lead = np.broadcast_shapes(x.shape[:-1], keys.shape[:-1])
    order = np.argsort(np.broadcast_to(keys, (*lead, size)), axis=-1, kind="stable")
    return np.broadcast_to(x, (*lead, size)), order


def _arrange(frame: Frame, options: Options, x: Array, keys: Array) -> Array:
    values, order = _order(x.astype(frame.dtype, copy=False), keys)
    return np.take_along_axis(values, order, axis=-1)


def _put_back(frame: Frame, options: Options, x: Array, keys: Array) -> Array:
    values, order = _order(x.astype(frame.dtype, copy=False), keys)
    found = np.empty(values.shape, frame.dtype)
    np.put_along_axis(found, order, values, axis=-1)
    return found


def _order_choices(y: Value, x: Value, keys: Value) -> list[Value]:
    places = keys.maker.make("range", (), size=keys.type.shape[-1])
    for length in reversed(keys.type.shape[:-1]):
        places = call("expand", places, axis=0, size=length)
    return [call("arrange", places, keys)]


def _permutation(name: str, evaluate: Evaluate, inverse: str, summary: str) -> Operation:
    return Operation(
        name,
        ("x", "keys"),
        _infer_arranged,
        evaluate,
        lambda g, y, x, keys: [call(inverse, g, keys), None],
        _order_choices,
        internal=True,
        summary=summary,
        core=1,
        slope="constant",
        picks=(1,),
        linear=FIRST,
        finite=True,
        moves=True,
    )


# Convolutions -----------------------------------------------------------------------------


def _infer_convolution(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    for position in (0, 1):
        need_vector(types, position)
    return Type("float", (types[0].size + types[1].size - 1,), union(types))


def _convolve(frame: Frame, options: Options, x: Array, kernel: Array) -> Array:
    x, kernel = (each.astype(frame.dtype, copy=False) for each in (x, kernel))
    size, many = x.shape[-1], kernel.shape[-1]
    lead = np.broadcast_shapes(x.shape[:-1], kernel.shape[:-1])
    found = np.zeros((*lead, size + many - 1), frame.dtype)
    for k in range(many):
        found[..., k : k + size] += x * kernel[..., k : k + 1]
    return found


def _infer_correlation(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    for position in (0, 1):
        need_vector(types, position)
    if types[1].size > types[0].size:
        raise TypeMismatch("a kernel that is no longer than the vector", [0, 1])
    return Type("float", (types[0].size - types[1].size + 1,), union(types))


def _correlate(frame: Frame, options: Options, x: Array, kernel: Array) -> Array:
    x, kernel = (each.astype(frame.dtype, copy=False) for each in (x, kernel))
    many = kernel.shape[-1]
    size = x.shape[-1] - many + 1
    terms = [x[..., k : k + size] * kernel[..., k : k + 1] for k in range(many)]
    return np.asarray(sum(terms))


ALONG_VECTOR: tuple[Operation, ...] = (
    Operation(
        "linear_scan",
        ("factor", "term", "start"),
        _infer_scan,
        _scan,
        _scan_adjoint,
        internal=True,
        summary="at each element, factor times the one before plus term; `start` is before them",
        core=1,
        slope="finite",
        linear=((1, 2),),
        finite=True,
        defaults=(("reverse", False),),
        allowed={"reverse": FLAG},
    ),
    Operation(
        "prod",
        ("x",),
        infer_to_number,
        _product,
        _product_adjoint,
        summary="the product of a vector's elements",
        core=1,
        decompose=_whole_product,
        slope="finite",
        zero=True,
        finite=True,
    ),
    _permutation(
        "arrange", _arrange, "put_back", "a vector in the order of its keys, the smallest first"
    ),
    _permutation(
        "put_back",
        _put_back,
        "arrange",
        "the vector whose elements in the order of the keys are those of x",
    ),
    Operation(
        "convolve",
        ("x", "kernel"),
        _infer_convolution,
        _convolve,
        lambda g, y, x, kernel: [call("correlate", g, kernel), call("correlate", g, x)],
        summary="at k, the sum of x[i] * kernel[k - i]: as long as both, less 1",
        slope="product",
        linear="each",
        finite=True,
    ),
    Operation(
        "correlate",
        ("x", "kernel"),
        _infer_correlation,
        _correlate,
        lambda g, y, x, kernel: [call("convolve", g, kernel), call("correlate", x, g)],
        internal=True,
        summary="at k, the sum of x[k + i] * kernel[i], where all of the kernel fits",
        slope="product",
        linear="each",
        finite=True,
    ),
)
