"""Is a spec compiled to what it means?  Every stage held to the next, on random data.

The interpreter on the checked graph, in float64, is the meaning.  Held to it are the other
stages in the interpreter, the kernels in both precisions, and its gradients: those against
central differences, which know nothing of the adjoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rollc.artefact import DTYPES
from rollc.errors import InputError
from rollc.graph.unroll import UnrollError
from rollc.pipeline import build_text, read_spec
from rollc.verify.case import Case, finite_case, with_gradients
from rollc.verify.comparison import Row, largest_error
from rollc.verify.kernels import kernels, main_kernels, variants
from rollc.verify.slopes import differences, slope_errors
from rollc.verify.stages import stages

if TYPE_CHECKING:
    from rollc.lang.draft import Feed

__all__ = ["Case", "Row", "largest_error", "slope_errors", "verify", "with_gradients"]


def verify(
    text: str,
    name: str = "spec.roll",
    *,
    sets: Mapping[str, int] | None = None,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    fixed: bool = True,
    rare: bool = True,
    feed: Feed = "taught",
) -> list[Row]:
    """Compare all stages of a spec, or of the text of a graph, on random data.

    ``dtypes`` are those of the kernels; ``fixed`` is whether those of a fixed number of
    steps are built too.  ``rare`` is whether kernels are compiled that a network compiles when
    they are first called: for sequences of different lengths, with a state, of windows; else
    only their graphs are compared.  Raises :class:`rollc.errors.SpecError` where the spec is
    wrong, and :class:`rollc.errors.InputError` where no data gives finite results.
    """
    graph, _ = read_spec(text, name, sets, feed)
    case = finite_case(graph, np.random.default_rng(seed))
    if case is None:
        raise InputError(f"`{graph.name}` gives no finite results on random data to compare")
    try:
        rows = stages(case)
    except UnrollError as error:
        raise InputError(f"`{graph.name}` cannot be unrolled: {error}") from error
    rows.append(differences(case, seed))
    for dtype in dtypes:
        network, _ = build_text(text, name, sets=sets, dtype=dtype, feed=feed)
        rows += kernels(case, network)
        if dtype == dtypes[-1]:
            rows += variants(case, network, rare)
        if fixed and len(network.axes) == 1:
            steps = case.sizes[network.axes[0]]
            network, _ = build_text(text, name, sets=sets, dtype=dtype, steps=steps, feed=feed)
            rows += main_kernels(case, network, f" of {steps} steps, {dtype}")
    return rows
