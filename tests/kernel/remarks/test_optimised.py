"""What the compiler makes of every spec: the facts of its optimisation, as goldens.

A pass that no longer fires costs time and breaks nothing, so no other test sees it.  Here each
product that is predicated, is stacked, taken out of its loop or in its blocks, each nest of
fused work and all that is moved or recomputed has its name.  ``bin/test --renew`` writes what
is found; the difference is to be read before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.kernel.program import MatMul, Nest, OuterProduct, Reduce, Simple
from rollc.kernel.remarks.decisions import Decision, nodes_of
from rollc.kernel.remarks.report import predicate_text, summary
from rollc.kernel.schedule import Item
from rollc.support.resources import specs
from rollc.transforms.rematerialize import MARK
from tests.helpers.paths import GOLDEN
from tests.helpers.shipped_specs import each_spec
from tests.kernel.remarks.test_decisions import SPECS, Explained, explained


def kernels_of(name: str) -> list[str]:
    path = specs()[name]
    graph, _ = read_spec(path.read_text(encoding="utf-8"), str(path))
    return [entry for entry in ("forward", "gradient") if entry in kernel_graphs(graph)]


@pytest.mark.parametrize("name", each_spec(SPECS, len(SPECS)))
def test_what_is_optimised_in_a_spec(name: str, expect: Callable[[str, Path], None]) -> None:
    text = "\n".join(facts(entry, explained(name, entry)) for entry in kernels_of(name))
    expect(text, GOLDEN / "optimised" / f"{name.replace('/', '.')}.txt")


def test_sums_of_products_leave_out_the_steps_that_are_zero() -> None:
    """A state is zero before its first step, whichever way it runs; where steps are so many."""
    regions = explained("sequences/bidirectional", "gradient", 5).schedule.regions
    items = [item for region in regions for item in region.items]
    found = {item.node.name: (item.start, item.stop) for item in items if over_steps(item)}
    whole = dict.fromkeys(("~V", "~U_f", "~U_g"), (0, 5))
    assert found == {**whole, "~W_f": (1, 5), "~W_g": (0, 4)}


def over_steps(item: Item) -> bool:
    return item.node.operation == "outer" and item.node.options["over"] != ()


def facts(entry: str, found: Explained) -> str:
    """The facts of a kernel, a line each."""
    lines = [entry, *summary(found.decisions, found.program, "float32")]
    lines += [f"{where}: {what}" for where, what in statements(found.decisions)]
    recomputed = [decision.node.name for decision in found.decisions if MARK in decision.node.name]
    moved = [decision.node.name for decision in found.decisions if decision.moved]
    inside = [d.node.name for d in found.decisions if d.into]
    for head, names in (("recomputed", recomputed), ("moved in", moved), ("inside others", inside)):
        lines.append(f"{head}: {', '.join(names) or 'none'}")
    return "\n  ".join(lines) + "\n"


def statements(decisions: Sequence[Decision]) -> Iterator[tuple[str, str]]:
    """Each statement of work once, with where it runs."""
    seen: set[int] = set()
    for decision in decisions:
        statement = decision.statement
        if statement is None or decision.into or id(statement) in seen:
            continue
        seen.add(id(statement))
        what = described(statement)
        if what:
            place = decision.location
            yield f"{place.phase} {place.part}{f' {place.loop}' if place.loop else ''}", what


def described(statement: Simple) -> str:
    names = ", ".join(nodes_of(statement))
    match statement:
        case MatMul():
            kind = "stacked" if len(statement.names) > 1 else "product"
            return f"{kind} {names}{predicate_text(statement)}"
        case OuterProduct():
            return f"product over {', '.join(statement.over)} {names}{predicate_text(statement)}"
        case Nest():
            return f"fused {names}" if len(statement.body) > 1 else ""
        case Reduce():
            return f"reduction {names}"
    return ""
