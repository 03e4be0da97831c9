"""The kernels of all operations where they are not taken, run as plain Python:

NUMBA_DISABLE_JIT=1 python -m tests.commands.masked_kernels
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from rollc.autodiff.adjoint import adjoint
from rollc.driver.pipeline import compiled
from rollc.ir.graph import BATCH
from rollc.runtime.kernel import Kernel
from rollc.tools.verify import largest_error
from rollc.transforms.canonicalize import canonicalize
from tests.autodiff.test_masks import SLOPED, changed, gradients, network, ordinary, taken, varying
from tests.helpers.operation_cases import SIZES


def main() -> None:
    assert os.environ.get("NUMBA_DISABLE_JIT") == "1", "set NUMBA_DISABLE_JIT=1"
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for number, each in enumerate(SLOPED):
            operation, case = each.values
            graph, ok = network(operation, case), taken(operation, case)
            derived = canonicalize(adjoint(canonicalize(graph)))
            made = compiled(derived, "float64")
            source = Path(folder) / f"{operation}{number}.py"
            source.write_text(made.source, encoding="utf-8")
            kernel = Kernel(made.program, source, "float64")
            leaves = ordinary(graph, ok)
            expected = gradients(derived, leaves)
            for bad in (np.nan, np.inf, 0.0, -1.0):
                with np.errstate(all="ignore"):
                    found = kernel.run(
                        changed(leaves, varying(case), ~ok, bad),
                        {"t": SIZES["t"]},
                        SIZES[BATCH],
                        ("primal", "adjoint", "inputs"),
                    )
                wrong += [
                    f"{operation} {case} {bad} {label}"
                    for label, array in expected.items()
                    if not largest_error(
                        {label: array}, {label: np.asarray(found["gradient", label])}
                    )[0]
                    <= 1e-9
                ]
    raise SystemExit("\n".join(wrong) if wrong else None)


if __name__ == "__main__":
    main()
