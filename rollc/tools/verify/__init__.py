"""Differential testing of a compiled spec: every stage is compared with the next, on random data.

The interpreter on the checked graph, in float64, is the reference.  Compared with it are the other
stages in the interpreter, the kernels in both precisions, and gradients: those with central
differences, which do not depend on the adjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from rollc.driver.artefact import DTYPES
from rollc.driver.build import build_source
from rollc.driver.sources import read_spec
from rollc.errors import InputError
from rollc.network.network import Network
from rollc.tools.verify.case import Case, Given, case_of, finite_case, with_gradients
from rollc.tools.verify.comparison import Row, largest_error
from rollc.tools.verify.kernels import (
    checkpointed,
    interpreted,
    kernels,
    main_kernels,
    operations,
    variants,
)
from rollc.tools.verify.passes import passes
from rollc.tools.verify.plain import beside
from rollc.tools.verify.slopes import differences, slopes
from rollc.tools.verify.stages import stages
from rollc.transforms.unroll import UnrollError

if TYPE_CHECKING:
    from rollc.lang.elaboration.expressions import Feed

__all__ = ["Case", "Given", "Row", "largest_error", "slopes", "verify", "with_gradients"]


LARGE = 3_000_000
"""Operations of a run, from which on kernels are not run as plain Python."""


def verify(
    text: str,
    name: str = "spec.roll",
    *,
    sets: Mapping[str, int] | None = None,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    feed: Feed = "taught",
    given: Given | None = None,
    compile_all: bool = False,
) -> list[Row]:
    """Compare all stages of a spec, or of the text of a graph, on data.

    The data are random, or those that are ``given``.  ``dtypes`` are those of the kernels.
    Compiled are the kernels that are compiled when a network is built; all others, for sequences
    of different lengths, with a state, of windows, of a fixed number of steps, run as plain
    Python, or where the network is so large that this takes long their graphs are interpreted.
    With ``compile_all`` they are all compiled, which takes long.  Raises
    :class:`rollc.SpecError` where the spec is wrong, and
    :class:`rollc.errors.InputError` where no data gives finite results.
    """
    graph, _ = read_spec(text, name, sets, feed)
    random = np.random.default_rng(seed)
    given = given or Given()
    case = case_of(graph, given, random) if given.arrays else finite_case(graph, random, given)
    if case is None:
        raise InputError(
            f"`{graph.name}` gives no finite results on random data to compare: give data of your"
            " own (`--data`), or bounds that they are drawn between (`--range`)"
        )
    try:
        rows = [case.judged(row, "float64") for row in stages(case)]
    except UnrollError as error:
        raise InputError(f"`{graph.name}` cannot be unrolled: {error}") from error
    rows += differences(case, seed)

    def build(dtype: str, steps: int | None = None) -> Network:
        return build_source(text, name, sets=sets, dtype=dtype, steps=steps, feed=feed)[0]

    if compile_all:
        return [*rows, *_compiled(case, dtypes, build)]
    small = operations(case) < LARGE
    if small:
        rows += [case.judged(row, "float64") for row in passes(case)]
    with beside(case) if small else nullcontext(lambda: _interpreted(case)) as others:
        for dtype in dtypes:
            found = main_kernels(case, build(dtype), f", {dtype}")
            rows += [case.judged(row, dtype) for row in found]
        return [*rows, *(case.judged(row, "float64") for row in others())]


def _compiled(
    case: Case, dtypes: Sequence[str], build: Callable[[str, int | None], Network]
) -> Iterator[Row]:
    """Every kernel, compiled: the rarer ones in the last precision."""
    for dtype in dtypes:
        network, which = build(dtype, None), f", {dtype}"
        found = kernels(case, network, which)
        if dtype == dtypes[-1]:
            found += [*variants(case, network, which), *checkpointed(case, network, which)]
        if len(case.graph.axes) == 1:
            steps = case.sizes[network.axes[0]]
            found += main_kernels(case, build(dtype, steps), f" of {steps} steps, {dtype}")
        yield from (case.judged(row, dtype) for row in found)


def _interpreted(case: Case) -> list[Row]:
    network, which = interpreted(case.graph), ", interpreted"
    return [*kernels(case, network, which), *variants(case, network, which)]
