"""Initial values of parameters, from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rollc.ir.graph import Graph, Node
from rollc.ir.operations.initial_values import computed
from rollc.network.noise_draws import Seed, seed_of


def initial_parameters(
    graph: Graph, seed: Seed = 0, dtype: DTypeLike = np.float32
) -> dict[str, NDArray[Any]]:
    """One array for each parameter, drawn in the order of the spec.

    Of more than two dimensions the last two are matrices, each of which is drawn by itself.
    ``glorot``: uniform in ±sqrt(6 / (rows + columns)) (Glorot and Bengio 2010, equation 16).
    ``orthogonal``: the Q of a normal matrix, its signs fixed by R (Saxe et al. 2014).
    """
    generator = np.random.default_rng(seed_of(seed))
    return {
        node.name: np.array(_initial(node, generator), dtype=dtype, order="C")
        for node in graph.leaves("param")
    }


def _initial(node: Node, generator: np.random.Generator) -> NDArray[Any]:
    options = node.options
    shape = node.type.shape

    def number(name: str) -> float:
        value = options[name]
        assert isinstance(value, int | float)
        return float(value)

    match options["initialiser"]:
        case "zeros":
            return np.zeros(shape)
        case "number":
            return np.full(shape, number("value"))
        case "identity":
            return np.broadcast_to(np.eye(shape[-2], shape[-1]), shape)
        case "normal":
            return generator.normal(0.0, number("scale"), shape)
        case "uniform":
            return generator.uniform(number("low"), number("high"), shape)
        case "computed":
            words = options["values"]
            assert isinstance(words, tuple)
            return computed([str(word) for word in words], shape, generator)
        case "orthogonal":
            return _orthogonal_matrices(shape, generator)
        case _:
            limit = float(np.sqrt(6.0 / sum(shape[-2:])))
            return generator.uniform(-limit, limit, shape)


def _orthogonal_matrices(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
    if len(shape) == 2:
        return _orthogonal(shape, generator)
    return np.stack([_orthogonal_matrices(shape[1:], generator) for _ in range(shape[0])])


def _orthogonal(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
    """Orthonormal rows or columns, whichever are fewer; blocks of them if one is a multiple.

    Tall matrices of stacked gates ([4*H, H]) are orthogonal block by block.
    """
    rows, columns = shape
    if rows > columns and rows % columns == 0:
        blocks = [_orthogonal((columns, columns), generator) for _ in range(rows // columns)]
        return np.concatenate(blocks)
    normal = generator.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    q = q * np.sign(np.diag(r))
    return np.asarray(q if rows >= columns else q.T)
