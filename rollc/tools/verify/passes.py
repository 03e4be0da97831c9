"""Every pass on the way to the main kernels: its result is valid, and equivalent to its argument.

Graphs and programs are interpreted; a schedule is verified, and has the meaning of its graph.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import Graph
from rollc.kernel.interpretation.interpreter import interpret_program
from rollc.kernel.passes import planned, scheduled
from rollc.kernel.program import Program
from rollc.kernel.verification.verifier import verify_any
from rollc.support.passes import Runner
from rollc.tools.verify.case import Case, with_gradients
from rollc.tools.verify.comparison import STAGES, Row, compared

Array = NDArray[Any]
Results = dict[str, Array]


def passes(case: Case) -> list[Row]:
    """A row for each pass that has changed something, in the order in which they ran."""
    expected = _of_graph(case, with_gradients(case.graph))
    rows: dict[str, Row] = {}
    for entry in ("forward", "gradient"):
        run = Runner(keep=True)
        makers = kernel_graphs(case.graph, run=run)
        if entry not in makers:
            continue
        run.records.clear()
        planned(scheduled(makers[entry](), run), run=run)
        for record in run.records:
            if record.before != record.after:
                row = _row(case, f"after {record.name}", record.after, expected)
                if record.name not in rows or not row.error <= rows[record.name].error:
                    rows[record.name] = row
    return list(rows.values())


def _row(case: Case, what: str, value: Any, expected: Results) -> Row:
    if flaws := verify_any(value):
        return Row(what, math.inf, STAGES, where=str(flaws[0]))
    match value:
        case Graph():
            found = _of_graph(case, value)
        case Program():
            found = _of_program(case, value)
        case _:
            found = {}
    return compared(what, {label: expected[label] for label in found}, found)


def _of_graph(case: Case, graph: Graph) -> Results:
    """What leaves a graph, as far as it is a result of the network."""
    values = case.values(graph)
    found = {f"output {label}": values[name] for label, name in graph.outputs}
    found |= {f"gradient {label}": values[name] for label, name in graph.gradients}
    return found | ({} if graph.loss is None else {"loss": values[graph.loss]})


def _of_program(case: Case, program: Program) -> Results:
    leaves = {name: case.leaves[name] for name, _ in program.leaves}
    found = interpret_program(program, leaves, case.sizes)
    return {
        "loss" if sort == "loss" else f"{sort} {label}": array
        for (sort, label), array in found.items()
    }
