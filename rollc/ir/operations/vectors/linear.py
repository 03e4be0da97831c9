"""Matrix products, and gathers of rows by an index.

``matmul`` is matrix times vector or matrix times matrix; ``transpose_a`` and
``transpose_b`` read an operand transposed without moving it.  ``outer`` and
``embed_adjoint`` may contract axes (``over``), so that the gradient of a parameter is one
product over all steps and the whole batch, and not a matrix a step.

Products are of the last dimensions.  Those before are the same in both operands, and there is a
product for each of their elements: ``[heads, n, k] @ [heads, k]`` is ``[heads, n]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rollc.ir.attributes import AXES, COUNT, FLAG, SIZE
from rollc.ir.expressions import Value, call
from rollc.ir.graph import Type
from rollc.ir.operations.operation import (
    FIRST,
    Array,
    Frame,
    Operation,
    Options,
    TypeMismatch,
    along_last,
    known,
    need_numbers,
    need_vectors,
    union,
)


def over_axes(options: Options) -> tuple[str, ...]:
    """The axes that an operation sums over, as its attribute ``over`` names them."""
    over = options.get("over", ())
    assert isinstance(over, tuple)
    return tuple(str(axis) for axis in over)


def without(axes: Sequence[str], over: Sequence[str]) -> tuple[str, ...]:
    """The axes that a reduction over some of them leaves."""
    return tuple(axis for axis in axes if axis not in over)


def _infer_matmul(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    a, b = types
    before = a.shape[:-2]
    rank = len(b.shape) - len(before)
    if len(a.shape) < 2 or rank not in (1, 2) or b.shape[: len(before)] != before:
        hint, instead = "`dot({0}, {1})` multiplies two vectors, `*` multiplies elements", ""
        if len(a.shape) == 1 and len(b.shape) == 2:
            turned = b.shape[1] == a.shape[0] != b.shape[0]
            instead = "{1:tight} @ {0:tight}" if turned else "transpose({1}) @ {0:tight}"
            hint = f"a vector is multiplied from the left: `{instead}`"
        raise TypeMismatch("a matrix times a vector or a matrix", [0, 1], hint, instead)
    rows, inner = a.shape[:-3:-1] if options.get("transpose_a") else a.shape[-2:]
    columns = b.shape[len(before) :]
    columns = columns[::-1] if options.get("transpose_b") and rank == 2 else columns
    if columns[0] != inner:
        fits = not options and columns[0] == rows and not before
        instead = "transpose({0}) @ {1:tight}" if fits else ""
        hint = f"the other way round it fits: `{instead}`" if fits else ""
        raise TypeMismatch(f"{inner} rows on the right", [0, 1], hint, instead)
    return Type("float", (*before, rows, *columns[1:]), union(types))


def _matmul(frame: Frame, options: Options, a: Array, b: Array) -> Array:
    # Both have the same leading dimensions, the axes, and a has two of its own: b is a vector
    # exactly where it has one dimension less.
    a = a.astype(frame.dtype, copy=False)
    b = b.astype(frame.dtype, copy=False)
    a = np.swapaxes(a, -1, -2) if options.get("transpose_a") else a
    if b.ndim < a.ndim:
        return np.asarray(np.matmul(a, b[..., None])[..., 0])
    b = np.swapaxes(b, -1, -2) if options.get("transpose_b") else b
    return np.asarray(np.matmul(a, b))


def _matmul_adjoint(
    g: Value, y: Value, a: Value, b: Value, transpose_a: bool = False, transpose_b: bool = False
) -> list[Value | None]:
    if len(b.type.shape) < len(a.type.shape):
        da = call("outer", b, g) if transpose_a else call("outer", g, b)
        return [da, call("matmul", a, g, transpose_a=not transpose_a)]
    if transpose_a:
        da = call("matmul", b, g, transpose_a=transpose_b, transpose_b=True)
    else:
        da = call("matmul", g, b, transpose_b=not transpose_b)
    if transpose_b:
        db = call("matmul", g, a, transpose_a=True, transpose_b=transpose_a)
    else:
        db = call("matmul", a, g, transpose_a=not transpose_a)
    return [da, db]


def _infer_dot(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    need_vectors(types, 1)
    if types[0].shape != types[1].shape:
        raise TypeMismatch("two vectors of one length", [0, 1])
    return Type("float", types[0].shape[:-1], union(types))


def _dot(frame: Frame, options: Options, a: Array, b: Array) -> Array:
    return np.asarray((a * b).astype(frame.dtype, copy=False).sum(axis=-1))


def _infer_outer(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    need_vectors(types, 0)
    need_vectors(types, 1)
    a, b = (operand.shape for operand in types)
    if a[:-1] != b[:-1]:
        raise TypeMismatch("two vectors", [0, 1])
    return Type("float", (*a, b[-1]), without(union(types), over_axes(options)))


def _outer(frame: Frame, options: Options, a: Array, b: Array) -> Array:
    a, b = np.broadcast_arrays(a[..., :, None], b[..., None, :])
    positions = frame.positions(over_axes(options))
    if not positions:
        return np.asarray((a * b).astype(frame.dtype, copy=False))
    # One contraction over the axes that are summed, which einsum makes a matrix product.
    letters = "abcdefgh"[: len(frame.axes)]
    kept = "".join(letter for i, letter in enumerate(letters) if i not in positions)
    one = f"{letters}...m,{letters}...n->{kept}...mn"
    product = np.einsum(one, a[..., 0], b[..., 0, :], optimize=True)
    return np.asarray(product.astype(frame.dtype, copy=False))


def _outer_adjoint(
    g: Value, y: Value, a: Value, b: Value, over: tuple[str, ...] = ()
) -> list[Value | None]:
    return [call("matmul", g, b), call("matmul", g, a, transpose_a=True)]


def _infer_transpose(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    need_numbers(types)
    if len(types[0].shape) != 2:
        hint = "of more dimensions say the order: `transpose({0}, 0, 2, 1)`"
        raise TypeMismatch("a matrix", [0], hint if len(types[0].shape) > 2 else "")
    return Type("float", types[0].shape[::-1], types[0].axes)


def _infer_embed(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    table, index = types
    need_numbers(types, [0])
    if len(table.shape) != 2:
        raise TypeMismatch("a matrix with a row for each value of the index", [0])
    if index.kind != "index" or index.shape:
        declared = f"declare it as `input {{1:name}}: index({table.shape[0]})`"
        hint = f"{declared}; a number, or several places, look up `{{0:tight}}[{{1}}]`"
        raise TypeMismatch("an index", [1], hint)
    if index.bound is not None and index.bound > table.shape[0]:
        raise TypeMismatch(f"a table with at least {index.bound} rows", [0, 1])
    return Type("float", table.shape[1:], union(types))


def _embed(frame: Frame, options: Options, table: Array, index: Array) -> Array:
    if table.ndim == 2 + len(frame.axes) and all(size == 1 for size in table.shape[:-2]):
        table = table.reshape(table.shape[-2:])
        return np.asarray(table[index])
    rows = np.broadcast_to(
        table, np.broadcast_shapes(table.shape, (*index.shape, 1, 1))[:-2] + table.shape[-2:]
    )
    chosen = np.broadcast_to(index, rows.shape[:-2])[..., None, None]
    return np.take_along_axis(rows, chosen, axis=-2)[..., 0, :]


def _embed_gradient(g: Value, y: Value, table: Value, index: Value) -> list[Value | None]:
    return [call("embed_adjoint", g, index, rows=table.type.shape[0]), None]


def _infer_embed_adjoint(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    rows = options["rows"]
    assert isinstance(rows, int)
    axes = without(union(types), over_axes(options))
    return Type("float", (rows, *types[0].shape), axes)


def _embed_adjoint(frame: Frame, options: Options, g: Array, index: Array) -> Array:
    rows = options["rows"]
    assert isinstance(rows, int)
    chosen = index[..., None] == np.arange(rows)
    # Selected and not multiplied: 0 times what is not finite would be NaN in every row.
    product = np.where(chosen[..., :, None], g[..., None, :], frame.dtype.type(0))
    positions = frame.positions(over_axes(options))
    return np.asarray(product.sum(axis=positions) if positions else product)


def _embed_adjoint_adjoint(
    g: Value, y: Value, cotangent: Value, index: Value, rows: int, over: tuple[str, ...] = ()
) -> list[Value | None]:
    return [call("embed", g, index), None]


def _infer_one_hot(operands: Sequence[Type | None], options: Options) -> Type | None:
    types = known(operands)
    if types is None:
        return None
    (index,) = types
    if index.kind != "index" or index.shape or index.bound is None:
        size = options.get("size", 0)
        declared = f"declare it as `input {{0:name}}: index({size or 'V'})`"
        hint = f"{declared}; of a number it is `eye({size or 'N'})[{{0}}]`"
        raise TypeMismatch("an index", [0], hint)
    size = options.get("size", 0) or index.bound
    assert isinstance(size, int)
    if size < index.bound:
        raise TypeMismatch(f"a size of at least {index.bound}", [0])
    return Type("float", (size,), index.axes)


def _one_hot(frame: Frame, options: Options, index: Array) -> Array:
    return np.asarray((index[..., None] == np.arange(frame.result.size)).astype(frame.dtype))


LINEAR = (
    Operation(
        "matmul",
        ("a", "b"),
        _infer_matmul,
        _matmul,
        _matmul_adjoint,
        summary="`a @ b`: a matrix times a vector or a matrix",
        core=2,
        slope="product",
        linear="each",
        finite=True,
        allowed={"transpose_a": FLAG, "transpose_b": FLAG},
    ),
    Operation(
        "dot",
        ("a", "b"),
        _infer_dot,
        _dot,
        lambda g, y, a, b: [along_last(g, b) * b, along_last(g, a) * a],
        summary="the sum of the products of two vectors",
        core=1,
        slope="product",
        linear="each",
        finite=True,
        commutative=True,
    ),
    Operation(
        "outer",
        ("a", "b"),
        _infer_outer,
        _outer,
        _outer_adjoint,
        summary="every element of `a` times every element of `b`: a matrix",
        core=1,
        slope="product",
        linear="each",
        finite=True,
        allowed={"over": AXES},
    ),
    Operation(
        "transpose",
        ("a",),
        _infer_transpose,
        lambda frame, options, a: np.swapaxes(a, -1, -2),
        lambda g, y, a: [call("transpose", g)],
        summary="a matrix with its rows as columns",
        slope="constant",
        linear="jointly",
        finite=True,
        moves=True,
    ),
    Operation(
        "embed",
        ("table", "index"),
        _infer_embed,
        _embed,
        _embed_gradient,
        summary="the row of `table` that an index names",
        slope="constant",
        picks=True,
        linear=FIRST,
        finite=True,
    ),
    Operation(
        "embed_adjoint",
        ("cotangent", "index"),
        _infer_embed_adjoint,
        _embed_adjoint,
        _embed_adjoint_adjoint,
        internal=True,
        summary="a vector in the row that an index names, zeros elsewhere",
        slope="constant",
        linear=FIRST,
        finite=True,
        required={"rows": SIZE},
        allowed={"over": AXES},
    ),
    Operation(
        "one_hot",
        ("index",),
        _infer_one_hot,
        _one_hot,
        None,
        defaults=(("size", 0),),
        summary="a vector with a one where the index points, zeros elsewhere",
        allowed={"size": COUNT},
    ),
)
