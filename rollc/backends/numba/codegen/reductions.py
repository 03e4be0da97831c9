"""Code generation of reductions over time and the batch.

A sum of contiguous numbers is one call.  A sum of vectors, each times a number, is a product of
strided matrices: attention and its gradients are such sums.  All others are loops over the terms.
"""

from __future__ import annotations

from math import prod

from rollc.backends.numba.codegen.printer import Writer, start
from rollc.ir.graph import BATCH, ordered_axes
from rollc.ir.operations import OPERATIONS
from rollc.kernel.cost_model import is_narrow
from rollc.kernel.program import Reduce, Ref


def write_reduction(write: Writer, reduction: Reduce) -> None:
    """Write a reduction."""
    write.comment([reduction.name], [reduction.line])
    if _weighted(write, reduction):
        return
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
    first = (*rows, *terms)
    write.call(
        "matmul_strided",
        write.array(numbers),
        write.array(vectors),
        out=write.array(out),
        rows=write.count(rows, span),
        inner=write.count(terms, span),
        columns=prod(vectors.shape),
        a_strides=f"({write.stride(numbers, rows)}, {write.stride(numbers, terms)})",
        b_stride=write.stride(vectors, terms),
        out_stride=write.stride(out, rows) if rows else None,
        **start("a", 0, write.first_row(numbers, first, span)),
        **start("b", write.first_row(vectors, terms, span), vectors.offset),
        **start("out", write.first_row(out, rows, span), out.offset),
        accumulate=accumulate or None,
    )
    write.depth -= opened
    return True


def _vectors_and_numbers(write: Writer, reduction: Reduce) -> tuple[Ref, Ref] | None:
    """The factors of a sum of products of vectors and numbers; None where it is no such sum."""
    pair = (reduction.operand, reduction.factor)
    if reduction.operation != "sum_over" or is_narrow(prod(reduction.shape)):
        return None
    for vectors, numbers in (pair, pair[::-1]):
        if (
            isinstance(vectors, Ref)
            and isinstance(numbers, Ref)
            and vectors.shape == reduction.out.shape == reduction.shape
            and not write.buffers[numbers.buffer].shape
        ):
            return vectors, numbers
    return None


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
    if reduction.factor is not None:
        value = f"{value} * {write.operand(reduction.factor)}"
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
