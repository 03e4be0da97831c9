"""Operations that move elements of one value: concatenation, slices, padding, broadcasts.

``permute`` changes the order of the dimensions, and ``reshape`` says others of the same elements.
``slice``, ``concat`` and ``pad`` work along a dimension, the first unless ``axis`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rollc.ir.attributes import COUNT, DIMENSION, MOST_DIMENSIONS, ORDER, SHAPE, SIZE
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.operation import (
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    known,
    need_numbers,
    union,
    whole_option,
)


def _infer_expand(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    axis, size = whole_option(options, "axis"), whole_option(options, "size", 1)
    shape = types[0].shape
    if axis > len(shape):
        raise TypeMismatch("a vector" if axis == 1 else f"at least {axis} dimensions", [0])
    if len(shape) == MOST_DIMENSIONS:
        raise TypeMismatch(f"{MOST_DIMENSIONS - 1} dimensions at most", [0])
    return replace(types[0], shape=(*shape[:axis], size, *shape[axis:]))


def _expand(frame: Frame, options: Options, x: Array) -> Array:
    position = len(frame.axes) + whole_option(options, "axis")
    return np.repeat(np.expand_dims(x, position), whole_option(options, "size", 1), axis=position)


def _infer_fill(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    if types[0].shape:
        raise TypeMismatch("a number", [0])
    shape = options["shape"]
    assert isinstance(shape, tuple)
    return Type("float", tuple(int(size) for size in shape), types[0].axes)


def _infer_zero(operands: Sequence[Type | None], options: Options) -> Type | None:
    shape = options["shape"]
    assert isinstance(shape, tuple)
    return Type("float", tuple(int(size) for size in shape))


def _fill(frame: Frame, options: Options, x: Array) -> Array:
    shape = frame.result.shape
    return np.broadcast_to(x.reshape(x.shape + (1,) * len(shape)), x.shape + shape)


def _infer_range(operands: Sequence[Type | None], options: Options) -> Type | None:
    return Type("float", (whole_option(options, "size"),))


def _infer_eye(operands: Sequence[Type | None], options: Options) -> Type | None:
    return Type("float", (whole_option(options, "size"),) * 2)


def _infer_concat(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    axis = whole_option(options, "axis")
    if axis == 0:
        # A number joins a vector as one element more.
        shapes = [operand.shape or (1,) for operand in types]
    else:
        shapes = [operand.shape for operand in types]
    for position, shape in enumerate(shapes):
        rest = shape[:axis] + shape[axis + 1 :]
        first = shapes[0][:axis] + shapes[0][axis + 1 :]
        if axis >= len(shape) or len(shape) != len(shapes[0]) or rest != first:
            every = ", ".join(f"{{{place}}}" for place in range(len(types)))
            hint = f"`stack({every})` makes a matrix of vectors" if axis == len(shape) == 1 else ""
            raise TypeMismatch("shapes that differ only in what is joined", [0, position], hint)
    joined = sum(shape[axis] for shape in shapes)
    shape = (*shapes[0][:axis], joined, *shapes[0][axis + 1 :])
    return Type("float", shape, union(types))


def _concat(frame: Frame, options: Options, *operands: Array) -> Array:
    lead = len(frame.axes)
    arrays = [array[..., None] if array.ndim == lead else array for array in operands]
    common = np.broadcast_shapes(*(array.shape[:lead] for array in arrays))
    arrays = [np.broadcast_to(array, common + array.shape[lead:]) for array in arrays]
    joined = np.concatenate(arrays, axis=lead + whole_option(options, "axis"))
    return np.asarray(joined.astype(frame.dtype, copy=False))


def _concat_adjoint(g: Value, y: Value, *operands: Value, axis: int = 0) -> list[Value | None]:
    pieces: list[Value | None] = []
    start = 0
    for operand in operands:
        size = operand.type.shape[axis] if operand.type.shape else 1
        piece = call("slice", g, start=start, stop=start + size, axis=axis)
        pieces.append(piece if operand.type.shape else call("sum", piece))
        start += size
    return pieces


def _infer_slice(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    (x,) = types
    axis, start, stop = (whole_option(options, name) for name in ("axis", "start", "stop"))
    if axis >= len(x.shape):
        raise TypeMismatch("a vector", [0])
    if not 0 <= start < stop <= x.shape[axis]:
        last = x.shape[axis] - 1
        hint = f"they are counted from 0, and the last one is {last}"
        raise TypeMismatch(f"at least {max(stop, start + 1)} elements", [0], hint)
    return Type("float", (*x.shape[:axis], stop - start, *x.shape[axis + 1 :]), x.axes)


def _cut(frame: Frame, options: Options, x: Array) -> tuple[slice, ...]:
    before = len(frame.axes) + whole_option(options, "axis")
    return (slice(None),) * before + (
        slice(whole_option(options, "start"), whole_option(options, "stop")),
    )


def _slice(frame: Frame, options: Options, x: Array) -> Array:
    return np.asarray(x[_cut(frame, options, x)])


def _slice_adjoint(
    g: Value, y: Value, x: Value, start: int, stop: int, axis: int = 0
) -> list[Value | None]:
    return [call("pad", g, start=start, size=x.type.shape[axis], axis=axis)]


def _infer_pad(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    axis, size = whole_option(options, "axis"), whole_option(options, "size")
    shape = types[0].shape
    return Type("float", (*shape[:axis], size, *shape[axis + 1 :]), types[0].axes)


def _pad(frame: Frame, options: Options, x: Array) -> Array:
    position = len(frame.axes) + whole_option(options, "axis")
    start, size = whole_option(options, "start"), whole_option(options, "size")
    widths = [(0, 0)] * x.ndim
    widths[position] = (start, size - start - x.shape[position])
    return np.pad(x, widths)


def _pad_adjoint(
    g: Value, y: Value, x: Value, start: int, size: int, axis: int = 0
) -> list[Value | None]:
    return [call("slice", g, start=start, stop=start + x.type.shape[axis], axis=axis)]


def _order(options: Options) -> tuple[int, ...]:
    order = options["order"]
    assert isinstance(order, tuple)
    return tuple(int(place) for place in order)


def _infer_permute(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    (x,), order = types, _order(options)
    if len(order) != len(x.shape):
        raise TypeMismatch(f"{len(order)} dimensions", [0])
    return Type("float", tuple(x.shape[place] for place in order), x.axes)


def _permute(frame: Frame, options: Options, x: Array) -> Array:
    lead = len(frame.axes)
    return np.transpose(x, (*range(lead), *(lead + place for place in _order(options))))


def _permute_adjoint(g: Value, y: Value, x: Value, order: tuple[int, ...]) -> list[Value | None]:
    return [call("permute", g, order=tuple(order.index(place) for place in range(len(order))))]


def _infer_reshape(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    found = _infer_zero((), options)
    assert found is not None
    if found.size != types[0].size:
        raise TypeMismatch(f"{found.size} elements", [0])
    return replace(found, axes=types[0].axes)


def _reshape(frame: Frame, options: Options, x: Array) -> Array:
    return np.reshape(x, (*x.shape[: len(frame.axes)], *frame.result.shape))


def _infer_stack(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    for position, operand in enumerate(types):
        if operand.shape != types[0].shape:
            raise TypeMismatch("values of one shape", [0, position])
    shape = (len(types), *types[0].shape)
    if all(operand.kind == "index" for operand in types):  # the state of a delayed index
        return Type("index", shape, union(types), max(operand.bound or 1 for operand in types))
    if all(operand.kind == "bool" for operand in types):
        return Type("bool", shape, union(types))
    need_numbers(types)
    return Type("float", shape, union(types))


def _stack(frame: Frame, options: Options, *operands: Array) -> Array:
    stacked = np.stack(np.broadcast_arrays(*operands), axis=len(frame.axes))
    return stacked.astype(frame.dtype) if frame.result.kind == "float" else stacked


def _infer_row(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    (x,), at = types, whole_option(options, "at")
    if not x.shape or at >= x.shape[0]:
        raise TypeMismatch(f"at least {at + 1} rows", [0])
    return replace(x, shape=x.shape[1:])


def _row(frame: Frame, options: Options, x: Array) -> Array:
    return np.asarray(np.take(x, whole_option(options, "at"), axis=len(frame.axes)))


def _row_adjoint(g: Value, y: Value, x: Value, at: int) -> list[Value | None]:
    return [call("pad", call("stack", g), start=at, size=x.type.shape[0])]


def _stack_adjoint(g: Value, y: Value, *operands: Value) -> list[Value | None]:
    return [call("row", g, at=index) for index in range(len(operands))]


VECTOR = (
    Operation(
        "concat",
        ("x",),
        _infer_concat,
        _concat,
        _concat_adjoint,
        defaults=(("axis", 0),),
        variadic=True,
        summary="vectors and numbers, joined end to end",
        slope="constant",
        linear="jointly",
        finite=True,
        moves=True,
        allowed={"axis": DIMENSION},
    ),
    Operation(
        "slice",
        ("x",),
        _infer_slice,
        _slice,
        _slice_adjoint,
        summary="`x[start:stop]`: some of the elements",
        slope="constant",
        picks=True,
        linear="jointly",
        finite=True,
        moves=True,
        required={"start": COUNT, "stop": COUNT},
        allowed={"axis": DIMENSION},
    ),
    Operation(
        "pad",
        ("x",),
        _infer_pad,
        _pad,
        _pad_adjoint,
        internal=True,
        summary="x from element `start` on, zeros around it",
        slope="constant",
        linear="jointly",
        finite=True,
        required={"start": COUNT, "size": SIZE},
        allowed={"axis": DIMENSION},
    ),
    Operation(
        "permute",
        ("x",),
        _infer_permute,
        _permute,
        _permute_adjoint,
        internal=True,
        summary="x with its dimensions in another order",
        slope="constant",
        linear="jointly",
        finite=True,
        moves=True,
        required={"order": ORDER},
    ),
    Operation(
        "reshape",
        ("x",),
        _infer_reshape,
        _reshape,
        lambda g, y, x, shape: [call("reshape", g, shape=x.type.shape)],
        internal=True,
        summary="the elements of x, row by row, in another shape",
        slope="constant",
        linear="jointly",
        finite=True,
        moves=True,
        required={"shape": SHAPE},
    ),
    Operation(
        "stack",
        ("x",),
        _infer_stack,
        _stack,
        _stack_adjoint,
        variadic=True,
        internal=True,
        summary="values of one shape, along a new first dimension",
        slope="constant",
        gives="operand",
        linear="jointly",
        finite=True,
        moves=True,
    ),
    Operation(
        "row",
        ("x",),
        _infer_row,
        _row,
        _row_adjoint,
        internal=True,
        summary="one of the values that a stack holds",
        slope="constant",
        gives="operand",
        picks=True,
        linear="jointly",
        finite=True,
        moves=True,
        required={"at": COUNT},
    ),
    Operation(
        "expand",
        ("x",),
        _infer_expand,
        _expand,
        lambda g, y, x, axis=0, size=1: [call("sum", g, axis=axis)],
        defaults=(("axis", 0), ("size", 1)),
        summary="x with one more dimension, the same all along it",
        slope="constant",
        gives="operand",
        linear="jointly",
        finite=True,
        cheap=True,
        moves=True,
        selects=True,
        allowed={"axis": DIMENSION, "size": SIZE},
    ),
    Operation(
        "zero",
        (),
        _infer_zero,
        lambda frame, options: np.zeros(frame.result.shape, dtype=frame.dtype),
        None,
        elementwise=True,
        internal=True,
        summary="zeros of a shape",
        finite=True,
        cheap=True,
        required={"shape": SHAPE},
    ),
    Operation(
        "range",
        (),
        _infer_range,
        lambda frame, options: np.arange(frame.result.size).astype(frame.dtype),
        None,
        internal=True,
        summary="the numbers from 0 on",
        finite=True,
        cheap=True,
        selects=True,
        required={"size": SIZE},
    ),
    Operation(
        "eye",
        (),
        _infer_eye,
        lambda frame, options: np.eye(frame.result.shape[0], dtype=frame.dtype),
        None,
        internal=True,
        summary="the identity matrix",
        finite=True,
        cheap=True,
        selects=True,
        required={"size": SIZE},
    ),
    Operation(
        "fill",
        ("x",),
        _infer_fill,
        _fill,
        lambda g, y, x, shape: [call("sum", g)],
        elementwise=True,
        internal=True,
        summary="a number, broadcast to a shape",
        slope="constant",
        broadcasts=True,
        linear="jointly",
        finite=True,
        cheap=True,
        moves=True,
        required={"shape": SHAPE},
    ),
)
