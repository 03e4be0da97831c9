"""The remarks as text: the decisions and reasons for each node, a line each, and a summary."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

from rollc.ir.graph import BATCH, LEAVES, Edge
from rollc.ir.operations import operation_of
from rollc.kernel.program import MatMul, Nest, OuterProduct, Program, Reduce, Routine
from rollc.kernel.remarks.decisions import Decision, Location, decisions, nodes_of
from rollc.kernel.schedule import Schedule
from rollc.kernel.totals import Axes, totals
from rollc.transforms.rematerialize import MARK

WIDTH = 100
WIDEST = 32  # of a column, in characters, unless a cell is wider
MOST_ON_CYCLE = 3  # nodes of a cycle that are shown
_BYTES = {"index": 8, "bool": 1}  # for any type of the numbers
_KEPT = {
    "none": "",
    "local": "not stored",
    "literal": "a number where it is read",
    "leaf": "the caller's",
    "copy": "a padded copy",
    "once": "one value",
    "row": "one row, reused",
    "block": "rows of a block",
    "steps": "all steps",
    "tape": "tape",
    "result": "leaves the kernel",
}


def print_remarks(
    scheduled: Schedule, program: Program, dtype: str, chosen: Sequence[str] = ()
) -> str:
    """The remarks for each node, by where it is computed, and a summary.

    With ``chosen`` those for these nodes alone, and for the parts and cotangents of equations of
    these names.  Raises :class:`KeyError` for a name that no node has.
    """
    found = decisions(scheduled, program)
    if chosen:
        found = _chosen(found, chosen)
    lines: list[str] = []
    for location, group in groupby(found, lambda decision: decision.location):
        rows = [_row(decision) for decision in group]
        widths = [min(max(map(len, column)), WIDEST) for column in zip(*rows, strict=True)]
        lines += ["", _heading(location)] if lines else [_heading(location)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append(_fitted("  " + "  ".join(cells).rstrip()))
    if not chosen:
        lines.append("")
        for line in summary(found, program, dtype):
            lines += textwrap.wrap(line, WIDTH, subsequent_indent=" " * 18)
    return "\n".join(lines) + "\n"


def predicate_text(product: MatMul | OuterProduct | Reduce) -> str:
    """The condition of a predicated product, in words; "" without one."""
    return "" if product.when is None else f", where {product.when.buffer} holds"


def _fitted(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _chosen(every: Sequence[Decision], names: Sequence[str]) -> tuple[Decision, ...]:
    """The decisions for some nodes, for the parts of their equations, and for their cotangents."""
    found: set[str] = set()
    for name in names:
        mine = {decision.node.name for decision in every if _belongs(decision.node.name, name)}
        if not mine:
            raise KeyError(name)
        found |= mine
    return tuple(decision for decision in every if decision.node.name in found)


def _belongs(node: str, name: str) -> bool:
    return any(
        node == start or node.startswith(tuple(f"{start}{mark}" for mark in ".':^"))
        for start in (name, f"~{name}")
    )


def _heading(location: Location) -> str:
    phase = f"{location.phase}: "
    loop = f"loop {location.loop}"
    toward = "forwards" if location.direction == "forward" else "backwards"
    match location.part:
        case "given":
            return "given"
        case "none":
            return "dead code: not computed"
        case "free":
            return phase + "all steps at once, on no cycle"
        case "body" if location.diagonals:
            return phase + f"{loop}, {toward} over the diagonals {location.diagonals}, each at once"
        case "body":
            return phase + f"{loop}, {toward} over {location.axis}, step by step: on a cycle"
        case "before":
            return phase + f"on no cycle, in front of each block of steps of {loop}"
        case "after":
            return phase + f"on no cycle, behind each block of steps of {loop}"


def _row(decision: Decision) -> tuple[str, str, str, str]:
    """The cells of a line: the node, its statement, its buffer, and why it is in a loop."""
    name = decision.node.name
    if decision.shift:
        where = decision.location.diagonals or decision.location.axis
        name += f" at {where}{-decision.shift:+d}"
    how = _how(decision)
    if decision.packed:
        how += ", packed once a call"
    if decision.pieces > 1:
        how += f", in {decision.pieces} pieces"
    return name, how, _where(decision), _why_inside(decision)


def _how(decision: Decision) -> str:
    node, statement = decision.node, decision.statement
    if decision.location.part == "none":
        return ""
    if node.operation in LEAVES:
        return node.operation
    if statement is None:
        return f"view of {decision.within}" if node.operation == "slice" else "joined in place"
    if decision.into:
        return f"inside {decision.into}"
    others = [name for name in nodes_of(statement) if name != node.name]
    match statement:
        case Nest() if operation_of(node).renames:
            return f"one copy, along {node.options['to']}"
        case Nest():
            return f"nest {decision.number}: {len(others) + 1} fused" if others else "alone"
        case MatMul():
            how = f"stacked with {', '.join(others)}" if others else "matrix product"
            return how + predicate_text(statement)
        case OuterProduct():
            return f"one product over {_axes(statement.over)}" + predicate_text(statement)
        case Reduce():
            how = f"{node.operation.partition('_')[0]} over {_axes(statement.over)}"
            return how + predicate_text(statement)
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
    if decision.location.part != "body":
        return ""
    if MARK in decision.node.name:
        return "recomputed, to keep less"
    if decision.moved:
        return "moved in: cheap, only read here"
    return _cycle_text(decision.cycle) if decision.cycle else "no code, on no cycle itself"


def _cycle_text(cycle: Sequence[Edge]) -> str:
    """A cycle by its delays and the names of the spec, without the node that it is for."""
    shown = [
        edge
        for number, edge in enumerate(cycle, 1)
        if edge.delay or (number < len(cycle) and not set(edge.source) & set("':^"))
    ]
    words = [str(edge) for edge in shown]
    delayed = next(index for index, edge in enumerate(shown) if edge.delay)
    if delayed >= MOST_ON_CYCLE:
        words[1:delayed] = ["…"]
    if len(words) > MOST_ON_CYCLE:
        words[MOST_ON_CYCLE:] = ["…"]
    return f"through {' <- '.join(words)}"


def _axes(axes: Axes) -> str:
    """``t, sequences``."""
    return ", ".join("sequences" if axis == BATCH else axis for axis in axes)


def summary(every: Sequence[Decision], program: Program, dtype: str) -> list[str]:
    """The lines of a summary: nodes in and outside loops, blocks, the tape, and products."""
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
    parts = Counter(decision.location.part for decision in every)
    moved = sum(decision.moved for decision in every)
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
    """``a step and sequence``, or ``once``; with ``several`` time axes, ``a step of s``."""
    time = [f"step of {axis}" if several else "step" for axis in axes if axis != BATCH]
    words = [*time, *(["sequence"] if BATCH in axes else [])]
    return f"a {' and '.join(words)}" if words else "once"
