"""Kernels with optional passes left out compute what their graphs mean.

    NUMBA_DISABLE_JIT=1 python tests/passes_left_out.py

All at once, and each alone; what differs is printed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from test_kernel_texts import NETWORKS

from rollc.driver.pipeline import PASSES, compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import BATCH, LEAVES, Graph
from rollc.ir.interpreter import interpret
from rollc.kernel.verification.verifier import verify_any
from rollc.runtime.kernel import Kernel
from rollc.support.passes import Pass, Runner

OPTIONAL = [pass_.name for pass_ in PASSES if pass_.optional]
BATCH_SIZE = 2


def values(graph: Graph, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    found = {}
    for node in graph.nodes:
        if node.operation in LEAVES and node.operation != "constant":
            shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
            if node.type.kind == "index":
                found[node.name] = random.integers(0, node.type.bound or 1, shape)
            else:
                found[node.name] = random.normal(size=shape) * 0.5
    return found


def verified(pass_: Pass, value: object) -> None:
    assert verify_any(value) == [], pass_.name


def differences(network: str, without: list[str], steps: int | None, folder: Path) -> str:
    """What a network's kernels compute wrongly, in words."""
    path = NETWORKS[network]
    graph, _ = read_spec(path.read_text(encoding="utf-8"), path.name)
    sizes = {**dict.fromkeys(graph.axes, steps or 5), BATCH: BATCH_SIZE}
    for entry in ("forward", "gradient"):
        run = Runner(without, verify=verified)
        plain = kernel_graphs(graph)[entry]()
        made = compiled(kernel_graphs(graph, run=run)[entry](), "float64", steps, run)
        leaves = values(plain, sizes)
        expected = interpret(plain, leaves, sizes)
        source = folder / f"{network}_{entry}_{len(list(folder.iterdir()))}.py"
        source.write_text(made.source)
        kernel = Kernel(made.program, source, "float64")
        phases = [function.phase for function in made.program.functions]
        phases += ["inputs"] * any(f.optional for f in made.program.functions)
        given = {axis: sizes[axis] for axis in graph.axes}
        found = kernel.run(leaves, given, BATCH_SIZE, phases)
        outputs, gradients = dict(plain.outputs), dict(plain.gradients)
        for (sort, label), array in found.items():
            node = {"output": outputs, "gradient": gradients}.get(sort, {}).get(label, plain.loss)
            if not np.allclose(array, expected[node], rtol=1e-9, atol=1e-12):
                return f"{network}, {entry}, {steps} steps, without {without}: {sort} {label}"
    return ""


def main() -> int:
    assert os.environ.get("NUMBA_DISABLE_JIT") == "1", "set NUMBA_DISABLE_JIT=1"
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for network in NETWORKS:
            for without in ([], OPTIONAL, *([name] for name in OPTIONAL)):
                wrong.append(differences(network, without, None, Path(folder)))
            if network != "attention":
                wrong.append(differences(network, OPTIONAL, 4, Path(folder)))
    print(*filter(None, wrong), sep="\n")
    print(len(wrong), "ways")
    return any(wrong)


if __name__ == "__main__":
    sys.exit(main())
