"""Code generation of reductions over time and the batch.

A sum of contiguous numbers is one call.  A sum of vectors, each times a number, is a product of
strided matrices: attention and its gradients are such sums, with a product for each head.  Where
terms are left out, their numbers are zero, and that is enough as long as all vectors are finite.
All others are loops over the terms.
"""

from __future__ import annotations

from math import prod

from rollc.backends.numba.codegen.printer import Writer, shifted, start
from rollc.ir.graph import BATCH, ordered_axes
from rollc.ir.operations import OPERATIONS
from rollc.kernel.cost_model import is_narrow
from rollc.kernel.program import Reduce, Ref


def write_reduction(write: Writer, reduction: Reduce) -> None:
    """Write a reduction."""
    write.comment([reduction.name], [reduction.line])
    if reduction.when is None:
        if _weighted(write, reduction):
            return
    elif (pair := _vectors_and_numbers(write, reduction)) is not None:
        _say_finite(write, pair[0])
        write.say("if zero == 0:  # all vectors are finite")
        write.depth += 1
        if not _weighted(write, reduction):
            _in_loops(write, reduction)
        write.depth -= 1
        write.say("else:  # a term that is left out may be NaN")
        write.depth += 1
        _in_loops(write, reduction)
        write.depth -= 1
        return
    _in_loops(write, reduction)


def _in_loops(write: Writer, reduction: Reduce) -> None:
    out = write.element(reduction.out)
    size = prod(reduction.shape)
    neutral = {"max_over": "F(-np.inf)", "min_over": "F(np.inf)"}.get(reduction.operation, "F(0)")
    if not reduction.accumulate:
        opened = write.open(reduction.kept, size, reduction.span, True)
        write.say(f"{out} = {neutral}")
        write.depth -= opened
    if reduction.kept == (BATCH,) and _is_contiguous(write, reduction):
        write.say("if B == 1:  # the steps of one sequence are contiguous")
        write.depth += 1
        write.single = True
        _summed(write, reduction, (*reduction.over, BATCH))
        write.single = False
        write.depth -= 1
        write.say("else:")
        write.depth += 1
        _terms(write, reduction)
        write.depth -= 1
    elif not reduction.kept and _is_contiguous(write, reduction):
        _summed(write, reduction, reduction.over)
    else:
        _terms(write, reduction)


def _weighted(write: Writer, reduction: Reduce) -> bool:
    """Write a sum of vectors times numbers as a product of matrices, if it is one."""
    pair = _vectors_and_numbers(write, reduction)
    if pair is None or write.diagonal is not None:
        return False
    vectors, numbers = pair
    over, kept, span, out = reduction.over, reduction.kept, reduction.span, reduction.out
    # The terms: along all axes whose rows are contiguous, or along one.
    terms = write.contiguous(pair, over)
    if not terms:
        terms = tuple(axis for axis in over if write.has(vectors, axis))[-1:]
    if not terms or not all(write.has(numbers, axis) for axis in terms):
        return False
    # The rows of the result: along an axis of the numbers alone.
    rows = tuple(
        axis for axis in kept if write.has(numbers, axis) and not write.has(vectors, axis)
    )[-1:]
    outer = ordered_axes(tuple({*over, *kept} - {*terms, *rows}))
    accumulate = reduction.accumulate
    if set(outer) & set(over) and not accumulate:
        opened = write.open(kept, 1, span)
        write.clear(out, out.shape)
        write.depth -= opened
        accumulate = True
    opened = write.open(outer, 1, span)
    heads, width = prod(numbers.shape), prod(write.buffers[numbers.buffer].shape)
    columns = prod(vectors.shape) // heads
    if heads > 1:
        write.say(f"for j in range({heads}):")
        write.depth += 1
        opened += 1

    def column(ref: Ref, size: int) -> str:
        return (
            shifted(f"j * {size}" if size > 1 else "j", ref.offset)
            if heads > 1
            else str(ref.offset)
        )

    strides = (_times(write.stride(numbers, along), width) for along in (rows, terms))
    begin = _times(write.first_row(numbers, (*rows, *terms), span), width)
    write.call(
        "matmul_strided",
        write.array(numbers),
        write.array(vectors),
        out=write.array(out),
        rows=write.count(rows, span),
        inner=write.count(terms, span),
        columns=columns,
        a_strides=f"({', '.join(strides)})",
        b_stride=write.stride(vectors, terms),
        out_stride=write.stride(out, rows) if rows else None,
        **start("a", 0, _plus(begin, column(numbers, 1))),
        **start("b", write.first_row(vectors, terms, span), column(vectors, columns)),
        **start("out", write.first_row(out, rows, span), column(out, columns)),
        accumulate=accumulate or None,
    )
    write.depth -= opened
    return True


def _vectors_and_numbers(write: Writer, reduction: Reduce) -> tuple[Ref, Ref] | None:
    """The factors of a sum of products of vectors and numbers; None where it is no such sum.

    There is a number for each row, or for each vector in it.
    """
    pair = (reduction.operand, reduction.factor)
    if reduction.operation != "sum_over":
        return None
    for vectors, numbers in (pair, pair[::-1]):
        if (
            isinstance(vectors, Ref)
            and isinstance(numbers, Ref)
            and vectors.shape == reduction.out.shape == reduction.shape
            and _is_number_each(write, numbers, vectors)
        ):
            return (
                None
                if is_narrow(prod(vectors.shape) // prod(numbers.shape))
                else (vectors, numbers)
            )
    return None


def _is_number_each(write: Writer, numbers: Ref, vectors: Ref) -> bool:
    if numbers.shape:
        return numbers.shape == vectors.shape[:-1]
    return not write.buffers[numbers.buffer].shape


def _say_finite(write: Writer, vectors: Ref) -> None:
    """Write what is 0 if all vectors of a buffer are finite."""
    buffer = write.buffers[vectors.buffer]
    counts = [write.steps(axis) for axis in buffer.axes] + (["B"] if buffer.batch else [])
    write.call("sum_of_zeros", write.array(vectors), into="zero = ", rows=" * ".join(counts) or "1")


def _times(rows: str, width: int) -> str:
    """A number of rows in elements."""
    if width == 1 or rows == "0":
        return rows
    if rows.isdigit():
        return str(int(rows) * width)
    return f"({rows}) * {width}" if " " in rows else f"{rows} * {width}"


def _plus(start: str, more: str) -> str:
    """The sum of two expressions."""
    return start if more == "0" else more if start == "0" else f"{start} + {more}"


def _is_contiguous(write: Writer, reduction: Reduce) -> bool:
    """Whether a reduction is a sum of contiguous numbers."""
    operand = reduction.operand
    if (
        reduction.operation != "sum_over"
        or reduction.factor is not None
        or not isinstance(operand, Ref)
        or write.buffers[operand.buffer].shape
    ):
        return False
    over = (*reduction.over, *reduction.kept)
    return operand.row == "step" and write.contiguous([operand], over) == over


def _summed(write: Writer, reduction: Reduce, over: tuple[str, ...]) -> None:
    operand = reduction.operand
    assert isinstance(operand, Ref)
    write.call(
        "sum_row",
        write.array(operand),
        into=f"{write.element(reduction.out)} += ",
        size=write.count(over, reduction.span),
        **start("x", 0, write.first_row(operand, over, reduction.span)),
    )


def _terms(write: Writer, reduction: Reduce) -> None:
    """Write a reduction as a loop over its terms."""
    out, value = write.element(reduction.out), write.operand(reduction.operand)
    if isinstance(reduction.factor, Ref) and 0 < len(reduction.factor.shape) < len(reduction.shape):
        value = f"{value} * {write.element(reduction.factor, f'k // {reduction.shape[-1]}')}"
    elif reduction.factor is not None:
        value = f"{value} * {write.operand(reduction.factor)}"
    if reduction.when is not None:
        value = f"({value} if {write.operand(reduction.when)} else F(0))"
    axes = ordered_axes((*reduction.over, *reduction.kept))
    size = prod(reduction.shape)
    # Iterations of the innermost loop are independent unless it is over terms.  Loops over elements
    # are not marked: masked vectors would defeat store forwarding from one term to the next.
    independent = size == 1 and axes[-1:] == reduction.kept[-1:]
    opened = write.open(axes, size, reduction.span, independent)
    if (reduces := OPERATIONS[reduction.operation].reduces) in ("max", "min"):
        sign = ">" if reduces == "max" else "<"
        # NaN propagates: it is selected, and no later comparison with it holds.
        write.assign("value", value)
        write.assign(out, f"value if value {sign} {out} or value != value else {out}")
    else:
        write.assign(out, value, "+=")
    write.depth -= opened
