"""How large the values and the gradients of a call are from step to step.

The network and its adjoint are interpreted: every value that the spec names has a norm at each
step, and so has the derivative of the loss by it.  A gradient that vanishes or explodes is a
sequence of norms that falls or grows from the last step to the first (Bengio, Simard and
Frasconi, Learning long-term dependencies with gradient descent is difficult, 1994).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import PREFIX, adjoint
from rollc.autodiff.truncation import truncate
from rollc.errors import InputError
from rollc.ir.graph import BATCH, Graph, Node
from rollc.ir.interpreter import interpret
from rollc.ir.names import IMAGINARY, REAL, lengths_leaves
from rollc.ir.traversal import needed
from rollc.network.evaluation import Evaluation
from rollc.transforms.ragged import with_lengths

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Flow:
    """Norms of a value, and of the derivative of the loss by it, at each step.

    A norm is the root of the sum of squares over the elements, averaged over the sequences that
    have the step; steps that no sequence has are left out.

    Attributes
    ----------
    name : str
        The value.
    line : int
        Its line in the spec.
    axis : str
        The time axis of its steps.
    delayed : bool
        Whether it is read at another step: such values carry the gradient through time.
    value : ndarray [T]
        Its norms.
    adjoint : ndarray [T] or None
        Those of the derivative; None where the loss does not depend on it, or where there is no
        loss.
    """

    name: str
    line: int
    axis: str
    delayed: bool
    value: Array
    adjoint: Array | None


def flows(evaluation: Evaluation, slopes: bool, names: Collection[str] = ()) -> tuple[Flow, ...]:
    """The flows of a call, of the values of the spec or of those named, in its order.

    With ``slopes`` they have the derivatives of the loss.  It takes the memory of all values.
    Raises :class:`InputError` for a name that no value has.
    """
    network = evaluation.network
    graph = network.graph
    if not slopes:
        graph = needed(replace(graph, loss=None), (name for _, name in graph.outputs))
    if evaluation.sizes.empty:
        raise InputError("there are no steps or no sequences, and so nothing to trace")
    known = {node.name: node for node in graph.nodes if _is_traced(node, graph)}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
            raise InputError(f"no value over time has the name `{name}`; {hint}")
    delayed = {edge.source for node in graph.nodes for edge in node.operands if edge.delay}
    if network.truncate is not None:
        graph = truncate(graph, network.truncate)
    if evaluation.lengths:
        graph = with_lengths(graph)
    if slopes:
        graph = adjoint(graph)
    sizes = {**evaluation.sizes.steps, BATCH: evaluation.sizes.batch}
    values = interpret(graph, evaluation.leaves, sizes, network.dtype)
    found = []
    for name in [name for name in known if name in names or not names]:
        node, backwards = graph[name], graph.by_name.get(PREFIX + name)
        there = _there(evaluation, node)
        slope = None if backwards is None else _norms(values[backwards.name], backwards, there)
        forwards = _norms(values[name], node, there)
        axis = node.type.time[0]
        found.append(Flow(name, node.line, axis, name in delayed, forwards, slope))
    return tuple(found)


def _is_traced(node: Node, graph: Graph) -> bool:
    """Whether a spec names the value, and it is a number that changes with time."""
    whole = node.name.removesuffix(REAL).removesuffix(IMAGINARY)  # of a part of a complex value
    named = "'" not in whole and node.name != graph.loss and node.operation != "target"
    return named and node.type.kind == "float" and bool(node.type.time)


def _there(evaluation: Evaluation, node: Node) -> NDArray[np.bool_]:
    """Which sequences have each step of the first axis of a value, ``[T, B]``."""
    axis, batch = node.type.time[0], evaluation.sizes.batch
    steps = np.arange(evaluation.sizes.steps[axis])[:, None]
    lengths = evaluation.leaves.get(lengths_leaves(evaluation.network.graph.axes)[axis])
    return steps < (np.full(batch, steps.size) if lengths is None else np.asarray(lengths))


def _norms(array: NDArray[np.floating], node: Node, there: NDArray[np.bool_]) -> Array:
    """The norms at each step of the first axis."""
    squares = np.asarray(array, np.float64) ** 2
    if BATCH not in node.type.axes:
        return np.asarray(np.sqrt(squares.reshape(squares.shape[0], -1).sum(axis=1)))
    order = node.type.axes.index(BATCH)
    sums = np.moveaxis(squares, order, 1).reshape(*there.shape, -1).sum(axis=2)
    counts = there.sum(axis=1)
    longest = int((counts > 0).sum())
    return np.asarray(np.sqrt(np.where(there, sums, 0.0).sum(axis=1)[:longest] / counts[:longest]))
