"""The kernels of all operations in all ways, run as plain Python.

To compile them all takes minutes; ``test_operations.py`` compiles each once, and starts this
program for the rest:

    NUMBA_DISABLE_JIT=1 python -m tests.commands.operation_kernels

With ``--first`` it has the first case of each operation.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint
from rollc.driver.pipeline import compiled
from rollc.ir.builder import Builder
from rollc.ir.expressions import call
from rollc.ir.graph import BATCH, Graph, Type
from rollc.ir.interpreter import interpret
from rollc.runtime.kernel import Kernel
from rollc.tools.verify import largest_error
from rollc.transforms.canonicalize import canonicalize
from tests.helpers.operation_cases import CASES, SIZES, on_a_bench, values

Array = NDArray[Any]


def along_another_axis() -> Graph:
    """Tails along one axis of time, in a loop along the other."""
    build = Builder()
    over = ("s", "t", BATCH)
    x = build.leaf("x", "input", Type("float", (2,), over))
    build.promise("h", Type("float", (2,), ("t", BATCH)))
    driven = x + build.read("h", 1, "t")
    e = build.define("e", "tanh", (driven + build.read("x", 2, "s"),))
    start = build.leaf("start", "param", Type("float", (6, 2)), initialiser="zeros")
    rows = build.define("rows", "tail", (e, start), axis="s")
    build.define("h", "tanh", (call("mean", rows, axis=0) * 0.5,))
    loss = call("mean_over", build.read("h") * call("row", rows, at=4), over=("t", BATCH))
    build.define("loss", "sum", (loss,))
    nodes = tuple(build.nodes.values())
    return Graph("nested", "checked", nodes, (("rows", "rows"),), "loss", axes=("s", "t"))


def disagreements(graph: Graph, folder: Path, sizes: Mapping[str, int] = SIZES) -> list[str]:
    """What the kernel of a graph and the interpreter do not agree on."""
    leaves = values(graph, sizes)
    derived = adjoint(graph)
    meaning = interpret(derived, leaves, sizes)
    expected = {("output", label): meaning[name] for label, name in derived.outputs}
    expected |= {("gradient", label): meaning[name] for label, name in derived.gradients}
    expected["loss", "loss"] = meaning["loss"]
    made = compiled(canonicalize(derived), "float64")
    source = folder / f"{graph.name}.py"
    source.write_text(made.source, encoding="utf-8")
    kernel = Kernel(made.program, source, "float64")
    phases = ("primal", "adjoint", "inputs")
    steps = {axis: count for axis, count in sizes.items() if axis != BATCH}
    found = kernel.run(leaves, steps, sizes[BATCH], phases)
    assert found.keys() == expected.keys()
    return [
        f"{sort} {label}"
        for (sort, label), array in expected.items()
        if largest_error({label: array}, {label: np.asarray(found[sort, label])})[0] > 1e-9
    ]


def main() -> None:
    assert os.environ.get("NUMBA_DISABLE_JIT") == "1", "set NUMBA_DISABLE_JIT=1"
    most = 1 if "--first" in sys.argv else None
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for operation, cases in CASES.items():
            for number, case in enumerate(cases[:most]):
                graph = on_a_bench(operation, case, f"{operation}{number}")
                wrong += disagreements(graph, Path(folder))
        for steps in (2, 5, 9):  # fewer than there are rows, and more
            wrong += disagreements(along_another_axis(), Path(folder), {**SIZES, "s": steps})
    raise SystemExit("\n".join(wrong) if wrong else None)


if __name__ == "__main__":
    main()
