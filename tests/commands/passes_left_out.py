"""Kernels with optional passes left out compute what their graphs mean.

    NUMBA_DISABLE_JIT=1 python -m tests.commands.passes_left_out [NETWORK...]

All at once, and each alone; what differs is printed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rollc.driver.pipeline import PASSES, compiled
from rollc.driver.sources import read_spec
from rollc.entries.graphs import kernel_graphs
from rollc.ir.graph import BATCH
from rollc.kernel.verification.verifier import verify_any
from rollc.runtime.kernel import Kernel
from rollc.support.passes import Pass, Runner
from tests.helpers.interpreted_programs import PHASES, assert_equal, meaning, random_leaves
from tests.kernel.test_kernel_texts import NETWORKS

OPTIONAL = [pass_.name for pass_ in PASSES if pass_.optional]
BATCH_SIZE = 2


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
        leaves = random_leaves(plain, sizes)
        source = folder / f"{network}_{entry}_{len(list(folder.iterdir()))}.py"
        source.write_text(made.source)
        kernel = Kernel(made.program, source, "float64")
        steps_of = {axis: sizes[axis] for axis in graph.axes}
        try:
            found = kernel.run(leaves, steps_of, BATCH_SIZE, PHASES)
            assert_equal(found, meaning(plain, leaves, sizes))
        except AssertionError as error:
            return f"{network}, {entry}, {steps} steps, without {without}: {error}"
    return ""


def main() -> int:
    assert os.environ.get("NUMBA_DISABLE_JIT") == "1", "set NUMBA_DISABLE_JIT=1"
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for network in sys.argv[1:] or NETWORKS:
            for without in ([], OPTIONAL, *([name] for name in OPTIONAL)):
                wrong.append(differences(network, without, None, Path(folder)))
            if network != "attention":
                wrong.append(differences(network, OPTIONAL, 4, Path(folder)))
    print(*filter(None, wrong), sep="\n")
    print(len(wrong), "ways")
    return any(wrong)


if __name__ == "__main__":
    sys.exit(main())
