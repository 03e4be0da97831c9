"""The kernels of all operations in all ways, run as plain Python.

To compile them all takes minutes; ``test_operations.py`` compiles each once, and starts this
program for the rest:

    NUMBA_DISABLE_JIT=1 python tests/operation_kernels.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from operation_cases import CASES, SIZES, on_a_bench, values

from rollc.graph.adjoint import adjoint
from rollc.graph.graph import Graph
from rollc.graph.simplify import simplify
from rollc.interp import interpret
from rollc.kernel.compiled import Kernel
from rollc.pipeline import compiled
from rollc.verify import largest_error

Array = NDArray[Any]


def disagreements(graph: Graph, folder: Path) -> list[str]:
    """What the kernel of a graph and the interpreter do not agree on."""
    leaves = values(graph, SIZES)
    derived = adjoint(graph)
    meaning = interpret(derived, leaves, SIZES)
    expected = {("output", label): meaning[name] for label, name in derived.outputs}
    expected |= {("gradient", label): meaning[name] for label, name in derived.gradients}
    expected["loss", "loss"] = meaning["loss"]
    made = compiled(simplify(derived), "float64")
    source = folder / f"{graph.name}.py"
    source.write_text(made.source, encoding="utf-8")
    kernel = Kernel(made.program, source, "float64")
    phases = ("primal", "adjoint", "inputs")
    found = kernel.run(leaves, SIZES["t"], SIZES["batch"], phases)
    assert found.keys() == expected.keys()
    return [
        f"{sort} {label}"
        for (sort, label), array in expected.items()
        if largest_error({label: array}, {label: np.asarray(found[sort, label])})[0] > 1e-9
    ]


def main() -> None:
    assert os.environ.get("NUMBA_DISABLE_JIT") == "1", "set NUMBA_DISABLE_JIT=1"
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for operation, cases in CASES.items():
            for number, case in enumerate(cases):
                graph = on_a_bench(operation, case, f"{operation}{number}")
                wrong += disagreements(graph, Path(folder))
    raise SystemExit("\n".join(wrong) if wrong else None)


if __name__ == "__main__":
    main()
