"""Patterns of matrix products and transposes."""

from __future__ import annotations

from collections.abc import Mapping

from rollc.ir.graph import Attribute, Edge, Node
from rollc.transforms.patterns.pattern import Rule, Workspace, changed, without_sign
from rollc.transforms.patterns.slices import length_of


def _transpose(work: Workspace, node: Node) -> Edge | None:
    inner = work.defined(node.operands[0])
    if inner is not None and inner.operation == "transpose":
        return inner.operands[0]
    return None


def _matmul(work: Workspace, node: Node) -> Node | None:
    a, b = node.operands
    for position, flag in ((0, "transpose_a"), (1, "transpose_b")):
        inner = work.defined(node.operands[position])
        if inner is not None and inner.operation == "transpose":
            options = {**node.options, flag: not node.options.get(flag, False)}
            before, after = node.operands[:position], node.operands[position + 1 :]
            operands = (*before, inner.operands[0], *after)
            return changed(node, "matmul", *operands, **_only_true(options))
    vector = work.defined(b)
    if vector is not None and vector.operation == "concat" and len(vector.type.shape) == 1:
        return _by_parts(work, node, a, vector)
    return None


def _only_true(options: dict[str, Attribute]) -> dict[str, Attribute]:
    return {name: value for name, value in options.items() if value is not False}


def _by_parts(work: Workspace, node: Node, matrix: Edge, vector: Node) -> Node | None:
    """A product with a concat, split where its parts change between on and off the cycle."""
    runs: list[tuple[str, int, int, list[Edge]]] = []
    start = 0
    for part in vector.operands:
        stop = start + length_of(work, part, 0)
        kind = "on" if work.inside_loop(node.name, part) else "off"
        kind = "zero" if work.known(part) == 0 else kind
        if runs and runs[-1][0] == kind:
            _, begin, _, parts = runs.pop()
            runs.append((kind, begin, stop, [*parts, part]))
        else:
            runs.append((kind, start, stop, [part]))
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
        joined = parts[0] if whole else work.make("concat", *parts, axis=0)
        products.append(work.make("matmul", columns, joined, **node.options))
    total, *rest = products
    if not rest:
        return changed(node, "identity", total)
    for product in rest[:-1]:
        total = work.make("add", total, product)
    return changed(node, "add", total, rest[-1])


MATRICES: Mapping[str, tuple[Rule, ...]] = {
    "transpose": (_transpose,),
    "matmul": (_matmul, without_sign),
    "outer": (without_sign,),
    "dot": (without_sign,),
}
