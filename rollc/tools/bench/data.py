"""Numbers for a workload, drawn from its seed, and the operations that it takes.

Parameters have the initial values of the spec; vectors and single numbers are perturbed, so that
results differ if a peer leaves one out.  The input and the weights of the loss are normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import BATCH, Graph
from rollc.tools.bench.workloads import Workload

Array = NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """Arrays for all peers.

    ``params`` and ``inputs`` have the names of the spec; inputs and ``g`` are ``[T, B, H]``, or
    ``[T, B]`` where they are single numbers.  ``products`` are the multiplications, each with
    its addition, of the matrix and dot products of a forward run; a gradient takes three times
    as many.
    """

    params: dict[str, Array]
    inputs: dict[str, Array]
    g: Array
    products: int


def problem(workload: Workload, dtype: str) -> Problem:
    """The numbers of a workload in one precision."""
    from rollc.driver.sources import read_spec
    from rollc.network.parameters import initial_parameters

    graph, _ = read_spec(workload.spec, f"{workload.name}.roll")
    params = initial_parameters(graph, workload.seed, "float64")
    random = np.random.default_rng(workload.seed)
    steps, batch, width = workload.size
    shape = (steps, batch) if workload.scalar else (steps, batch, width)
    moved = {
        name: value if value.ndim > 1 else value + random.normal(0, 0.1, value.shape)
        for name, value in params.items()
    }
    return Problem(
        {name: np.asarray(value, dtype) for name, value in moved.items()},
        {leaf.name: random.normal(size=shape).astype(dtype) for leaf in graph.leaves("input")},
        random.normal(size=shape).astype(dtype),
        _products(graph, steps, batch),
    )


def write_problem(made: Problem, path: Path) -> None:
    """Keep the arrays in a file, for other processes."""
    arrays: dict[str, Any] = {f"param.{name}": value for name, value in made.params.items()}
    arrays |= {f"input.{name}": value for name, value in made.inputs.items()}
    np.savez(path, g=made.g, products=made.products, **arrays)


def read_problem(path: str | Path) -> Problem:
    """What :func:`write_problem` kept."""
    with np.load(path) as arrays:
        params, inputs = (
            {
                name.removeprefix(sort): arrays[name]
                for name in arrays.files
                if name.startswith(sort)
            }
            for sort in ("param.", "input.")
        )
        return Problem(params, inputs, arrays["g"], int(arrays["products"]))


def _products(graph: Graph, steps: int, batch: int) -> int:
    """The multiply-adds of the matrix and dot products, at all places where they are computed."""
    total = 0
    for node in graph.nodes:
        if node.operation not in ("matmul", "dot"):
            continue
        places = prod(batch if axis == BATCH else steps for axis in node.type.axes)
        inner = graph[node.operands[0].source].type.shape[-1]
        total += places * node.type.size * inner
    return total
