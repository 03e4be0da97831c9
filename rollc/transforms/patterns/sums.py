"""Patterns of chains of additions."""

from __future__ import annotations

from rollc.ir.graph import Edge, Node
from rollc.transforms.patterns.pattern import Workspace, changed
from rollc.transforms.patterns.slices import axis_of, option_of


def sum_of_terms(work: Workspace, node: Node) -> Node | None:
    """A chain of additions with equal terms joined, and pads that tile a vector concatenated."""
    if work.is_term(node.name):
        return None  # the chain is rewritten at its last addition
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
    """The terms of a chain of additions whose inner ones have no other reader."""
    terms: list[Edge] = []
    pending = list(reversed(node.operands))
    while pending:
        edge = pending.pop()
        inner = _addition(work, edge)
        if inner is not None:
            pending.extend(reversed(inner.operands))
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
    """The terms, with pads that tile a vector replaced by one concat."""
    groups: dict[tuple[int, int], list[tuple[int, int, Edge]]] = {}
    for number, term in enumerate(terms):
        pad = _pad(work, term)
        if pad is not None:
            axis, start, size = axis_of(pad), option_of(pad, "start"), option_of(pad, "size")
            groups.setdefault((axis, size), []).append((start, number, pad.operands[0]))
    replaced: dict[int, Edge | None] = {}
    for (axis, size), group in groups.items():
        group.sort(key=lambda piece: piece[0])
        end = 0
        for start, _, piece in group:
            end = end + work.type(piece).shape[axis] if start == end else -1
        if end == size:
            first = min(number for _, number, _ in group)
            replaced.update(dict.fromkeys((number for _, number, _ in group), None))
            pieces = (piece for _, _, piece in group)
            replaced[first] = work.make("concat", *pieces, axis=axis)
    joined = (replaced.get(number, term) for number, term in enumerate(terms))
    return [term for term in joined if term is not None]
