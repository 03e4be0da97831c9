"""Parameters that many calls of a kernel share, and the results of its prologue.

Weights in packed panels are most of them (:mod:`rollc.kernel.refine.prologue`).  They depend on
no size of a call, so that calls of all sizes, in all threads, read the same arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.kernel.program import PROLOGUE, used
from rollc.runtime.executable import Executable
from rollc.support.allocator import empty

Array = NDArray[Any]


def constants_of(kernel: Executable, params: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays by the names of buffers; a buffer of the prologue alone has one element."""
    program, memory = kernel.program, kernel.memory
    nothing = {kind: empty((1, 1), np.dtype(kind)) for kind in {*memory.dtypes.values()}}
    found = {
        name: np.ascontiguousarray(array).reshape(memory.dimensions(memory.buffers[name], {}))
        for name, array in params.items()
        if name in memory.buffers
    }
    for function in program.functions:
        if not function.prologue:
            continue
        known = used(function.prologue)
        for name in known:
            if name not in found:
                shape = memory.dimensions(memory.buffers[name], {})
                found[name] = empty(shape, memory.dtypes[name])
        steps = [1] * max(len(program.axes), 1)
        numbers = [*steps, 1, 1, 1, 0, 0, PROLOGUE, *([0] if function.optional else [])]
        arrays = [
            found[name] if name in known else nothing[memory.dtypes[name]]
            for name in function.buffers
        ]
        kernel.functions.phases[function.phase](numbers, arrays)()
    read = {name for function in program.functions for name in used(function.body)}
    read.update(result.ref.buffer for result in program.results)
    return {
        name: array if name in read else nothing[memory.dtypes[name]]
        for name, array in found.items()
    }
