"""The reasons of :mod:`rollc.kernel.remarks.decisions` in words: a line for each node."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from rollc.ir.graph import BATCH, LEAVES, Edge
from rollc.kernel.program import MatMul, Nest, OuterProduct, Program, Reduce, Routine
from rollc.kernel.remarks.decisions import Decision, Place, nodes_of, why
from rollc.kernel.schedule import Schedule
from rollc.kernel.totals import Axes, totals
from rollc.transforms.rematerialize import MARK

WIDTH = 100
WIDEST = 32  # column, unless a cell is wider
MOST_ON_CYCLE = 3  # nodes that are shown of it
_BYTES = {"index": 8, "bool": 1}  # whatever the type of the numbers is
_KEPT = {
    "none": "",
    "local": "not stored",
    "literal": "a number where it is read",
    "leaf": "the caller's",
    "copy": "a copy, with steps around",
    "once": "one value",
    "row": "one row, reused",
    "block": "rows of a block",
    "steps": "all steps",
    "tape": "tape",
    "result": "leaves the kernel",
}


def print_why(scheduled: Schedule, program: Program, dtype: str, chosen: Sequence[str] = ()) -> str:
    """The reasons for each node, by where it is computed, and a summary.

    Of the ``chosen`` nodes alone, if there are any, with all that belongs to an equation
    that is named.  Raises :class:`KeyError` for a name that no node has.
    """
    decisions = why(scheduled, program)
    if chosen:
        decisions = _chosen(decisions, chosen)
    lines: list[str] = []
    for place, group in groupby(decisions, lambda decision: decision.place):
        rows = [_row(decision) for decision in group]
        widths = [min(max(map(len, column)), WIDEST) for column in zip(*rows, strict=True)]
        lines += ["", _heading(place)] if lines else [_heading(place)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append(_fitted("  " + "  ".join(cells).rstrip()))
    if not chosen:
        lines.append("")
        for line in summary(decisions, program, dtype):
            lines += textwrap.wrap(line, WIDTH, subsequent_indent=" " * 18)
    return "\n".join(lines) + "\n"


def waiting(product: MatMul | OuterProduct) -> str:
    """The condition under which a product is computed, in words."""
    return "" if product.when is None else f", where {product.when.buffer} holds"


def _fitted(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _chosen(decisions: Sequence[Decision], names: Sequence[str]) -> tuple[Decision, ...]:
    """The decisions for some nodes: also the parts of ``h``, and its cotangent."""
    found: set[str] = set()
    for name in names:
        mine = {decision.node.name for decision in decisions if _belongs(decision.node.name, name)}
        if not mine:
            raise KeyError(name)
        found |= mine
    return tuple(decision for decision in decisions if decision.node.name in found)


def _belongs(node: str, name: str) -> bool:
    return any(
        node == start or node.startswith(tuple(f"{start}{mark}" for mark in ".':^"))
        for start in (name, f"~{name}")
    )


def _heading(place: Place) -> str:
    phase = f"{place.phase}: "
    loop = f"loop {place.loop}"
    toward = "forwards" if place.direction == "forward" else "backwards"
    match place.part:
        case "given":
            return "given"
        case "none":
            return "not computed: nothing needs it"
        case "free":
            return phase + "all steps at once, on no cycle"
        case "body":
            return phase + f"{loop}, {toward} over {place.axis}, step by step: on a cycle"
        case "before":
            return phase + f"on no cycle, in front of each block of steps of {loop}"
        case "after":
            return phase + f"on no cycle, behind each block of steps of {loop}"


def _row(decision: Decision) -> tuple[str, str, str, str]:
    """The node, how it is computed, where its value is kept, and why in a loop."""
    name = decision.node.name
    if decision.shift:
        name += f" at {decision.place.axis}{-decision.shift:+d}"
    how = _how(decision)
    if decision.packed:
        how += ", packed once a call"
    if decision.pieces > 1:
        how += f", in {decision.pieces} pieces"
    return name, how, _where(decision), _why_inside(decision)


def _how(decision: Decision) -> str:
    node, statement = decision.node, decision.statement
    if decision.place.part == "none":
        return ""
    if node.operation in LEAVES:
        return node.operation
    if statement is None:
        return f"view of {decision.within}" if node.operation == "slice" else "put together"
    if decision.into:
        return f"inside {decision.into}"
    others = [name for name in nodes_of(statement) if name != node.name]
    match statement:
        case Nest():
            return f"nest {decision.number}: {len(others) + 1} fused" if others else "alone"
        case MatMul():
            how = f"stacked with {', '.join(others)}" if others else "matrix product"
            return how + waiting(statement)
        case OuterProduct():
            return f"one product over {_axes(statement.over)}" + waiting(statement)
        case Reduce():
            return f"{node.operation.partition('_')[0]} over {_axes(statement.over)}"
        case Routine():
            return node.operation
    raise AssertionError(statement)


def _where(decision: Decision) -> str:
    kept = _KEPT[decision.kept]
    if decision.kept == "once" and BATCH in decision.node.type.axes:
        kept = "one a sequence"
    if decision.because:
        kept += f": {decision.because}"
    if decision.within and decision.statement is not None:
        return f"in {decision.within}, {kept}"
    return kept


def _why_inside(decision: Decision) -> str:
    if decision.place.part != "body":
        return ""
    if MARK in decision.node.name:
        return "computed again, to keep less"
    if decision.moved:
        return "moved in: cheap, only read here"
    return _around(decision.cycle) if decision.cycle else "no work, on no cycle itself"


def _around(cycle: Sequence[Edge]) -> str:
    """A cycle by its delays and the names of the spec, without the node that it is for."""
    shown = [
        edge
        for place, edge in enumerate(cycle, 1)
        if edge.delay or (place < len(cycle) and not set(edge.source) & set("':^"))
    ]
    words = [str(edge) for edge in shown]
    delayed = next(place for place, edge in enumerate(shown) if edge.delay)
    if delayed >= MOST_ON_CYCLE:
        words[1:delayed] = ["…"]
    if len(words) > MOST_ON_CYCLE:
        words[MOST_ON_CYCLE:] = ["…"]
    return f"through {' <- '.join(words)}"


def _axes(axes: Axes) -> str:
    """``t, sequences``."""
    return ", ".join("sequences" if axis == BATCH else axis for axis in axes)


def summary(decisions: Sequence[Decision], program: Program, dtype: str) -> list[str]:
    """How many nodes are where, what is kept, and the products."""
    sums = totals(program)

    def counted(counts: Mapping[Axes, int], unit: str) -> str:
        parts = (
            f"{count:,} {unit} {_each(axes, several=len(program.axes) > 1)}"
            for axes, count in counts.items()
            if count
        )
        return ", ".join(parts) or "none"

    number = 4 if dtype == "float32" else 8
    taped: Counter[Axes] = Counter()
    for (axes, kind), count in sums.tape.items():
        taped[axes] += count * _BYTES.get(kind, number)
    parts = Counter(decision.place.part for decision in decisions)
    moved = sum(decision.moved for decision in decisions)
    outside = parts["free"] + parts["before"] + parts["after"]
    return [
        f"nodes: {parts['given']} given, {outside} outside loops, {parts['body']} inside"
        f" ({moved} of them moved there)",
        f"blocks: {sums.ahead} statements in front of loops, {sums.behind} behind",
        f"tape: {sums.buffers} buffers, {counted(taped, 'bytes')} in {dtype}",
        f"products in loops: {counted(sums.inside, 'multiply-adds')}",
        f"products outside:  {counted(sums.outside, 'multiply-adds')}",
    ]


def _each(axes: Axes, several: bool) -> str:
    """``a step and sequence``, or ``once``; with several time axes, which one's step."""
    time = [f"step of {axis}" if several else "step" for axis in axes if axis != BATCH]
    words = [*time, *(["sequence"] if BATCH in axes else [])]
    return f"a {' and '.join(words)}" if words else "once"
