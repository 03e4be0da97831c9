"""Derivatives in one direction without kernels, held to the adjoint and to differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint, seed_name
from rollc.autodiff.tangent import pushforward, tangent_name
from rollc.ir.graph import Graph, gradients_only
from rollc.ir.interpreter import interpret
from rollc.ir.verifier import verify
from rollc.tools.verify.ways import leaves_with_slopes

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def with_loss_among_outputs(graph: Graph) -> Graph:
    outputs = dict(graph.outputs) | ({} if graph.loss is None else {"loss": graph.loss})
    return replace(graph, outputs=tuple(outputs.items()), loss=None)


def some_directions(names: Iterable[str], leaves: Arrays, seed: int) -> dict[str, Array]:
    """A direction for each leaf."""
    random = np.random.default_rng(seed)
    return {name: random.normal(size=np.shape(leaves[name])) for name in names}


def tangents(
    graph: Graph, leaves: Arrays, sizes: Mapping[str, int], moved: Arrays
) -> dict[str, Array]:
    """The tangents of the outputs, by label."""
    pushed = pushforward(graph, tuple(moved))
    assert verify(pushed) == []
    given = {tangent_name(name): array for name, array in moved.items()}
    values = interpret(pushed, {**leaves, **given}, sizes)
    kept = len(graph.outputs)
    assert pushed.outputs[:kept] == graph.outputs
    return {label.removesuffix("^dot"): values[name] for label, name in pushed.outputs[kept:]}


def agrees_with_the_adjoint(
    graph: Graph, leaves: Arrays, sizes: Mapping[str, int], seed: int = 0
) -> None:
    """``<g, J v> == <J' g, v>``, in each output alone and in each leaf alone."""
    graph = with_loss_among_outputs(graph)
    moved = some_directions(leaves_with_slopes(graph), leaves, seed)
    derived = adjoint(graph, "outputs")
    random = np.random.default_rng(seed + 1)
    cotangents = {
        seed_name(name): random.normal(
            size=(*(sizes[axis] for axis in graph[name].type.axes), *graph[name].type.shape)
        )
        for _, name in graph.outputs
        if graph[name].type.kind == "float"
    }
    forwards = {
        leaf: tangents(graph, leaves, sizes, {leaf: array}) for leaf, array in moved.items()
    }
    for label, name in graph.outputs:
        if seed_name(name) not in cotangents:
            assert all(label not in found for found in forwards.values())
            continue
        alone = {seed: array * (seed == seed_name(name)) for seed, array in cotangents.items()}
        values = interpret(derived, {**leaves, **alone}, sizes)
        for leaf, gradient in derived.gradients:
            backwards = values[gradient] * moved[leaf]
            products = forwards[leaf][label] * cotangents[seed_name(name)]
            scale = max(1.0, np.abs(backwards).sum(), np.abs(products).sum())
            error = abs(products.sum() - backwards.sum())
            assert error <= 1e-10 * scale, (label, leaf, products.sum(), backwards.sum())


def hessian_products(
    graph: Graph, leaves: Arrays, sizes: Mapping[str, int], moved: Arrays
) -> dict[str, Array]:
    """The tangents of the gradients of the loss, by leaf."""
    derived = gradients_only(adjoint(graph))
    return tangents(derived, leaves, sizes, moved)


def gradients_along(
    graph: Graph, leaves: Arrays, sizes: Mapping[str, int], moved: Arrays
) -> dict[str, Array]:
    """Central differences of the gradients of the loss, of fourth order."""
    derived, step = adjoint(graph), 1e-4

    def at(distance: float) -> dict[str, Array]:
        there = {name: leaves[name] + distance * array for name, array in moved.items()}
        values = interpret(derived, {**leaves, **there}, sizes)
        return {leaf: values[name] for leaf, name in derived.gradients}

    far_left, left, right, far_right = (at(place * step) for place in (-2, -1, 1, 2))
    return {
        leaf: (8 * (right[leaf] - left[leaf]) - (far_right[leaf] - far_left[leaf])) / (12 * step)
        for leaf in left
    }


def agrees_with_differences(
    graph: Graph, leaves: Arrays, sizes: Mapping[str, int], seed: int = 0
) -> None:
    """Products with the Hessian of the loss: near differences, and ``<u, H v> == <v, H u>``."""
    graph = replace(graph, outputs=())
    u, v = (some_directions(leaves_with_slopes(graph), leaves, seed + place) for place in (2, 3))
    hu, hv = (hessian_products(graph, leaves, sizes, moved) for moved in (u, v))
    one, other = ([(each[name] * h[name]).sum() for name in u] for each, h in ((u, hv), (v, hu)))
    scale = max(1.0, float(np.abs([*one, *other]).sum()))
    assert abs(sum(one) - sum(other)) <= 1e-10 * scale
    expected = gradients_along(graph, leaves, sizes, v)
    scale = max(1.0, *(float(np.abs(array).max(initial=0)) for array in expected.values()))
    for leaf, array in expected.items():
        assert np.abs(hv[leaf] - array).max(initial=0) <= 1e-5 * scale, leaf
