"""Derivatives in one direction: the tangents that a caller gives, and those that come of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.tangent import tangent_name
from rollc.entries.forward_mode import why_no_hessian
from rollc.errors import InputError
from rollc.ir.names import STATE, lengths_leaves
from rollc.network.arrays import (
    Sizes,
    Spec,
    fitting,
    fitting_state,
    shape_of,
    unknown,
)
from rollc.network.derivatives.pullback import seeds_of
from rollc.network.evaluation import Evaluation, Results
from rollc.network.interface import Arrays, Interface
from rollc.support.checks import mapping

Array = NDArray[Any]


def pushed(call: Evaluation, tangents: Arrays) -> tuple[dict[str, Array], dict[str, Array]]:
    """The outputs of a call, and their derivatives in the direction of ``tangents``."""
    results = call.run("jvp", more=direction(call, tangents, "tangent"))
    values, slopes = (call.outputs(found) for found in apart(results))
    return values, slopes


def products(
    call: Evaluation,
    vectors: Arrays,
    labels: Collection[str],
    cotangents: Arrays | None = None,
) -> dict[str, Array]:
    """The tangents of the gradients of a call, in the shapes of what these are gradients of.

    With ``cotangents`` they are those of the gradients of the outputs, else of the loss.
    """
    network, graph = call.network, call.network.graph
    of: Literal["loss", "outputs"] = "loss" if cotangents is None else "outputs"
    why = why_no_hessian(graph, of)
    if why is not None:
        what = "the loss of " if of == "loss" else ""
        raise InputError(f"{what}`{graph.name}` has no second derivative: {why}")
    if call.state and len(graph.axes) > 1:
        raise InputError(
            f"`{graph.name}` has two time axes: there are no second derivatives of a window along"
            " one of them; leave `state` out, and take all steps"
        )
    leaves = direction(call, vectors, "vector")
    if cotangents is not None:
        leaves |= seeds_of(
            network.interface,
            dict(graph.outputs),
            call.sizes,
            cotangents,
            call.lengths,
            call.state,
        )
    _, tangents = apart(call.run("hvp" if of == "loss" else "gradient_vjp", more=leaves))
    found = {("gradient", label): array for (_, label), array in tangents.items()}
    return call.gradients(found, labels)


def direction(call: Evaluation, tangents: Arrays, word: str) -> dict[str, Array]:
    """The leaves that a direction is: the tangents of all that have one, zero where none is given.

    ``word`` is what errors call a tangent.  Raises :class:`InputError` for what has no derivative.
    """
    interface, sizes, leaves = call.network.interface, call.sizes, call.leaves
    inputs = {**interface.params, **interface.inputs}
    rows = {STATE + name: spec for name, spec in interface.states.items() if call.state}
    _check(interface, mapping(f"{word}s", tangents), inputs | rows, word)
    axes = lengths_leaves(interface.axes)
    own = {axis: leaves[name] for axis, name in axes.items() if name in leaves}
    found: dict[str, Array] = {}
    for name, spec in (inputs | rows).items():
        if not spec.differentiable:
            continue
        what = f"{word} `{name}`"
        if name in rows:
            given = tangents.get(name, np.zeros(_rows_shape(spec, sizes)))
            found[tangent_name(name)] = fitting_state(what, given, spec, sizes)
        elif name in tangents:
            found[tangent_name(name)] = fitting(what, tangents[name], spec, sizes, own)
        else:
            found[tangent_name(name)] = np.zeros(shape_of(spec, sizes), spec.dtype)
    return found


def _rows_shape(spec: Spec, sizes: Sizes) -> tuple[int, ...]:
    """The shape of rows of a state as a caller has them: the depth first."""
    depth, *own = spec.shape
    lead = [sizes.steps[axis] for axis in spec.time]
    return (depth, *lead, *([sizes.batch] if spec.batch and sizes.batched else []), *own)


def _check(
    interface: Interface, tangents: Mapping[str, Any], known: Mapping[str, Spec], word: str
) -> None:
    for name in tangents:
        if name in interface.targets:
            raise InputError(f"{word} `{name}`: it is a target, and has no derivative")
        if name not in known:
            if isinstance(name, str) and name.removeprefix(STATE) in interface.states:
                raise InputError(f"{word} `{name}`: no state is given")
            floats = {name: spec for name, spec in known.items() if spec.differentiable}
            raise InputError(unknown(word, name, floats))
        if not known[name].differentiable:
            what = "frozen" if known[name].frozen else f"an {known[name].kind}"
            raise InputError(f"{word} `{name}`: it is {what}, and has no derivative")


def apart(results: Results) -> tuple[Results, Results]:
    """The results of a kernel with tangents: the values, and the tangents under their labels."""
    mark = tangent_name("")
    values = {key: array for key, array in results.items() if not key[1].endswith(mark)}
    tangents = {
        (sort, label.removesuffix(mark)): array
        for (sort, label), array in results.items()
        if label.endswith(mark)
    }
    return values, tangents
