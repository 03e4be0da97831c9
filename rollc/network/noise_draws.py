"""The values of a network's noise leaves, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rollc.ir.graph import Graph
from rollc.support.checks import switch, whole
from rollc.transforms.randomness import NOISE

Seed = int | np.random.Generator


def seed_of(value: Seed) -> Seed:
    """What a caller gave as a seed: a whole number from 0 on, or a generator as it is."""
    return value if isinstance(value, np.random.Generator) else whole("`seed`", value)


def draw_noise(
    graph: Graph, sizes: Mapping[str, int], seed: Seed, training: bool, dtype: DTypeLike
) -> dict[str, NDArray[Any]]:
    """An array for each noise leaf; ``sizes`` gives the length of every axis.

    The factors of dropout are all 1 outside training.  The numbers are those of NumPy's
    default generator, in the order of the leaves, the same in both precisions.  Raises
    :class:`InputError` for a seed or a ``training`` that is none.
    """
    seed, training = seed_of(seed), switch("`training`", training)
    leaves = graph.leaves(NOISE)
    if not leaves:  # a generator takes longer to make than many a kernel to run
        return {}
    random = np.random.default_rng(seed)
    drawn: dict[str, NDArray[Any]] = {}
    for node in leaves:
        shape = (*(sizes[axis] for axis in node.type.axes), *node.type.shape)
        rate = node.options.get("rate")
        if not isinstance(rate, float):
            drawn[node.name] = random.random(shape, dtype=np.float32).astype(dtype)
        elif training:
            kept = random.random(shape, dtype=np.float32) >= rate
            drawn[node.name] = (kept / (1.0 - rate)).astype(dtype)
        else:
            drawn[node.name] = np.ones(shape, dtype)
    return drawn
