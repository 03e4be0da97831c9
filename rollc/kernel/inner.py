"""Sums of products of numbers, without the products.

    p = a * b  for each row           ->     s = the sum of a * b over all rows
    s = the sum of p over all rows

The gradient of a coefficient is such a sum.  What is guaranteed: the same terms, added in
another order.  What this pass does not do: touch a product that is read by anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rollc.kernel.program import (
    Assign,
    Buffer,
    Function,
    Local,
    Nest,
    Product,
    Program,
    Reduce,
    Ref,
    Simple,
    Statement,
    reads,
    simple_statements,
    used,
    writes,
)


def join_products(program: Program) -> Program:
    """The program with sums of products of numbers as one statement each."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    results = {result.ref.buffer for result in program.results}
    functions = tuple(
        _joined(function, program, buffers, results) for function in program.functions
    )
    if functions == program.functions:
        return program
    needed = {name for function in functions for name in function.buffers} | results
    kept = tuple(buffer for buffer in program.buffers if buffer.name in needed)
    return replace(program, functions=functions, buffers=kept)


def _joined(
    function: Function, program: Program, buffers: dict[str, Buffer], results: set[str]
) -> Function:
    statements = list(simple_statements(function.body))
    others = [
        statement
        for other in program.functions
        if other is not function
        for statement in simple_statements(other.body)
    ]
    known = {ref.buffer for other in others for ref in (*reads(other), *writes(other))} | results
    factors: dict[str, tuple[Ref, Ref]] = {}
    for reduction in (s for s in function.body if isinstance(s, Reduce)):
        operand = reduction.operand
        if not isinstance(operand, Ref) or operand.buffer in known:
            continue
        if reduction.operation != "sum_over" or reduction.kept or reduction.accumulate:
            continue
        nests = [s for s in function.body if isinstance(s, Nest)]
        pair = _factors(operand.buffer, reduction, nests, statements, buffers)
        if pair is not None:
            factors[operand.buffer] = pair
    if not factors:
        return function
    body = tuple(_without(function.body, factors))
    return replace(function, body=body, buffers=used(body))


def _factors(
    name: str,
    reduction: Reduce,
    nests: list[Nest],
    statements: list[Simple],
    buffers: dict[str, Buffer],
) -> tuple[Ref, Ref] | None:
    """The two numbers whose product a buffer holds, if it is read by a reduction alone."""
    if sum(ref.buffer == name for statement in statements for ref in reads(statement)) != 1:
        return None
    writers = [s for s in statements if any(ref.buffer == name for ref in writes(s))]
    if len(writers) != 1:
        return None
    nest = next((nest for nest in nests if nest is writers[0]), None)
    if nest is None:
        return None
    if nest.shape or nest.over != reduction.over or nest.span != reduction.span:
        return None
    assigns = [assign for assign in nest.body if assign.store == Ref(name)]
    if len(assigns) != 1 or assigns[0].operation != "multiply":
        return None
    (assign,) = assigns
    if any(Local(assign.name) in other.operands for other in nest.body):
        return None
    a, b = assign.operands
    if not isinstance(a, Ref) or not isinstance(b, Ref):
        return None
    made = {other.store.buffer for other in nest.body if other.store is not None}
    for ref in (a, b):
        buffer = buffers[ref.buffer]
        plain = not buffer.shape and buffer.kind == "float" and ref.row == "step"
        rows = (*buffer.axes, *(("batch",) if buffer.batch else ()))
        if not plain or rows != nest.over or ref.buffer in made:
            return None
    return a, b


def _without(body: Iterable[Statement], factors: dict[str, tuple[Ref, Ref]]) -> Iterator[Statement]:
    """Statements without the products, and with their sums in one."""
    for statement in body:
        match statement:
            case Nest():
                rest = tuple(a for a in statement.body if not _is_product(a, factors))
                if rest:
                    yield replace(statement, body=rest)
            case Reduce(operand=Ref(buffer=name)) if name in factors:
                a, b = factors[name]
                yield Product(
                    statement.name,
                    statement.out,
                    a,
                    b,
                    statement.over,
                    statement.span,
                    statement.line,
                )
            case _:
                yield statement


def _is_product(assign: Assign, factors: dict[str, tuple[Ref, Ref]]) -> bool:
    return assign.store is not None and assign.store.buffer in factors
