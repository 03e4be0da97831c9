"""Gradients with little memory: windows of steps, whose insides are computed twice.

The forward pass keeps the state at the border of each window and nothing else.  The
backward pass takes the windows from the last to the first, computes each once more with
its tape, and hands the cotangent of the state to the window before.  With windows of k
steps the tape is k steps long, and a forward pass is all the extra work.

Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost (2016), section 4;
for recurrent networks, Gruslys et al., Memory-efficient backpropagation through time (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint, differentiable, seed_name
from rollc.autodiff.window_split import CannotSplit, Split, outputs_of, split
from rollc.errors import InputError
from rollc.ir.graph import BATCH, LEAVES, Graph, Node
from rollc.ir.interpreter import initial_values, interpret
from rollc.ir.names import STATE, along
from rollc.kernel.cost import work
from rollc.network.arrays import unknown
from rollc.network.derivatives.window_reductions import combined, part_of, shared
from rollc.network.evaluation import Evaluation, LossAndGradients
from rollc.support.checks import whole
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.state import expose_state, final_name

if TYPE_CHECKING:
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How :meth:`rollc.Network.windows` cuts a sequence, and what that takes.

    Attributes
    ----------
    steps : int
        Of a window.
    windows : int
        Their number.
    bytes : int
        What the run holds at its peak besides the caller's arrays, the gradients included.
    extra : float
        The work that windows add, as a part of the work of a run without them (in operations on
        numbers).
    axis : str
        The time axis that is cut.
    """

    steps: int  # of a window
    windows: int
    bytes: int
    extra: float
    axis: str = "t"


class Windowed:
    """The loss and the gradients of a network, window by window along an axis.

    ``sizes`` are the numbers of steps and of sequences.
    """

    def __init__(
        self,
        graph: Graph,
        split: Split,
        kernel: Callable[[str], Kernel],
        dtype: str,
        sizes: Mapping[str, int],
    ) -> None:
        self.graph = graph
        self.split = split
        self.axis = split.axis
        self.kernel = kernel
        self.dtype = np.dtype(dtype)
        self.sizes = sizes
        self.steps = sizes[split.axis]
        self.entry = along("window", graph.axes, split.axis)
        # The place of the axis in the arrays of leaves that run along it.
        self.timed = {
            node.name: node.type.axes.index(self.axis)
            for node in graph.nodes
            if node.operation in LEAVES and self.axis in node.type.axes
        }
        self._head_adjoint = canonicalize(adjoint(split.head))
        self._start_adjoint = canonicalize(adjoint(split.start, of="outputs"))

    def plan(self, every: int) -> Plan:
        """What windows of ``every`` steps take."""
        steps, every = self.steps, min(every, self.steps)
        sizes = {**self.sizes, self.axis: every}
        windows = -(-steps // every)

        def count(nodes: Iterable[Node]) -> int:
            types = [node.type for node in nodes]
            return sum(prod(self.sizes[a] for a in type_.axes) * type_.size for type_ in types)

        states = count(expose_state(self.split.window, self.axis).leaves("state"))
        gradients = count(filter(differentiable, self.graph.nodes))
        # The backward pass begins with the buffers of the forward pass still there.
        names = (self.entry, f"{self.entry}.vjp")
        kernels = sum(self.kernel(name).bytes(sizes) for name in names)
        kept = ((windows + 1) * states + gradients) * self.dtype.itemsize
        again, alone = (work(self.kernel(name).program, steps, self.sizes[BATCH]) for name in names)
        return Plan(every, windows, kernels + kept, again / alone, self.axis)

    def fitting(self, most: int) -> Plan:
        """The longest windows that take at most ``most`` bytes; raises :class:`InputError`."""
        best: Plan | None = None
        least: Plan | None = None
        every = self.steps
        while every >= 1:
            plan = self.plan(every)
            if plan.bytes <= most:
                best = plan
                break
            if least is None or plan.bytes < least.bytes:
                least = plan
            every = min(every - 1, int(every * 0.9))
        if best is None:
            assert least is not None
            raise InputError(
                f"{most} bytes are too few: windows of {least.steps} steps, the least that"
                f" there is, take {least.bytes}"
            )
        return best

    def value_and_grad(
        self, leaves: Mapping[str, Array], every: int
    ) -> tuple[float, dict[str, Array]]:
        """The loss and the gradients of parameters and inputs, by name.

        ``leaves`` are arrays with time and batch in front, as the kernels take them.
        """
        sizes, steps = self.sizes, self.steps
        borders = [*range(0, steps, every), steps]
        state = {
            STATE + name: array
            for name, array in initial_values(
                self.graph, leaves, sizes, self.dtype, self.axis
            ).items()
        }
        states, parts = [state], []
        for first, last in pairwise(borders):
            found = self._run(self.entry, leaves, state, first, last, ("primal",))
            parts.append(
                {name: found["output", name] for name in outputs_of(self.split.reductions)}
            )
            state = {name: found["output", name] for name in state}
            states.append(state)
        values = {
            r.node: combined(r, [part[r.node] for part in parts], sizes)
            for r in self.split.reductions
        }
        loss, gradients, cotangents = self._head(leaves, values, sizes)
        following = {name: np.zeros_like(array) for name, array in state.items()}
        states.pop()
        for index in reversed(range(len(parts))):
            seeds = {
                seed_name(r.node): shared(r, cotangents[r.node], parts, index, values, sizes)
                if r.node in cotangents
                else np.zeros_like(values[r.node])  # the loss does not read it
                for r in self.split.reductions
            }
            seeds |= {
                seed_name(final_name(name.removeprefix(STATE))): array
                for name, array in following.items()
            }
            first, last = borders[index], borders[index + 1]
            found = self._run(
                f"{self.entry}.vjp",
                {**leaves, **seeds},
                states.pop(),
                first,
                last,
                ("primal", "adjoint", "inputs"),
            )
            for (sort, label), array in found.items():
                if sort != "gradient":
                    continue
                if label in following:
                    following[label] = array
                elif label in self.timed:
                    place = self.timed[label]
                    if label not in gradients:
                        shape = (*array.shape[:place], steps, *array.shape[place + 1 :])
                        gradients[label] = np.empty(shape, array.dtype)
                    gradients[label][part_of(place, first, last)] = array
                else:
                    gradients[label] = gradients[label] + array if label in gradients else array
            del found  # before the next window takes memory
        for label, array in self._start(leaves, following, sizes).items():
            gradients[label] = gradients[label] + array if label in gradients else array
        return loss, gradients

    def _run(
        self,
        entry: str,
        leaves: Mapping[str, Array],
        state: Mapping[str, Array],
        first: int,
        last: int,
        phases: tuple[str, ...],
    ) -> dict[tuple[str, str], Array]:
        inside = {
            name: array[part_of(self.timed[name], first, last)] if name in self.timed else array
            for name, array in leaves.items()
        }
        counts = {axis: self.sizes[axis] for axis in self.graph.axes} | {self.axis: last - first}
        return self.kernel(entry).run({**inside, **state}, counts, self.sizes[BATCH], phases)

    def _head(
        self, leaves: Mapping[str, Array], values: Mapping[str, Array], sizes: Mapping[str, int]
    ) -> tuple[float, dict[str, Array], dict[str, Array]]:
        """The loss; the gradients that pass the head only, and those of the reductions."""
        derived = self._head_adjoint
        given = {**leaves, **{name: np.asarray(value) for name, value in values.items()}}
        found = interpret(derived, given, sizes, self.dtype)
        assert derived.loss is not None
        gradients = {label: np.array(found[name]) for label, name in derived.gradients}
        cotangents = {name: gradients.pop(name) for name in values if name in gradients}
        return float(found[derived.loss]), gradients, cotangents

    def _start(
        self,
        leaves: Mapping[str, Array],
        states: Mapping[str, Array],
        sizes: Mapping[str, int],
    ) -> dict[str, Array]:
        """The gradients that pass the initial values."""
        seeds: dict[str, Array] = {}
        for name, initial in self.split.start.outputs:
            folded = self._folded(name, initial, states[STATE + name])
            seed = seed_name(initial)
            seeds[seed] = seeds[seed] + folded if seed in seeds else folded
        if not seeds:
            return {}
        derived = self._start_adjoint
        found = interpret(derived, {**leaves, **seeds}, sizes, self.dtype)
        return {label: np.array(found[name]) for label, name in derived.gradients}

    def _folded(self, name: str, initial: str, cotangent: Array) -> Array:
        """The cotangent of an initial value, from that of the rows that it fills."""
        node, start = self.graph[name], self.graph[initial]
        axes = [axis for axis in node.type.axes if axis != self.axis]
        lead = len(axes)
        if len(start.type.shape) == len(node.type.shape):
            cotangent = cotangent.sum(axis=lead)
        else:  # rows that nothing reads any more are in front
            unread = start.type.shape[0] - cotangent.shape[lead]
            rows = [(unread if axis == lead else 0, 0) for axis in range(cotangent.ndim)]
            cotangent = np.pad(cotangent, rows)
        constant = tuple(axes.index(axis) for axis in axes if axis not in start.type.axes)
        return np.asarray(cotangent.sum(axis=constant))


def windows(
    call: Evaluation, checkpoint: int | None, memory: int | None, axis: str | None
) -> tuple[Plan, Callable[[], LossAndGradients]]:
    """A plan for a call in windows of so many steps, or so few bytes, and what carries it out."""
    if (checkpoint is None) == (memory is None):
        raise InputError("expected either `checkpoint`, a number of steps, or `memory`")
    if checkpoint is not None:
        checkpoint = whole("`checkpoint`", checkpoint, 1)
    if memory is not None:
        memory = whole("`memory`", memory, 1)
    network, sizes = call.network, call.sizes
    graph = canonicalize(network.graph)
    found = split_along(graph, axis, sizes.steps)
    noted, labels = call.noted("windows"), network.labels(("params", "inputs"))
    if sizes.empty:
        return Plan(0, 0, 0, 0.0, found.axis), call.gradients_of_nothing(labels, noted)
    run = Windowed(graph, found, network.kernel, network.dtype, sizes.axes)
    plan = run.plan(checkpoint) if checkpoint is not None else run.fitting(memory or 1)

    def value_and_grad() -> LossAndGradients:
        noted.check()
        loss, found = run.value_and_grad(call.leaves, plan.steps)
        results = {("gradient", label): array for label, array in found.items()}
        return loss, call.gradients(results, labels)

    return plan, value_and_grad


def split_along(graph: Graph, axis: str | None, steps: Mapping[str, int]) -> Split:
    """The graphs of windows along an axis; if none is named, along the one of the most steps.

    Raises :class:`InputError` where there are no windows, with the reason.
    """
    if axis is not None and axis not in graph.axes:
        raise InputError(unknown("axis", axis, dict.fromkeys(graph.axes)))
    found, reasons = [], {}
    for each in graph.axes or ("t",):
        if axis in (None, each):
            try:
                found.append(split(graph, each))
            except CannotSplit as error:
                reasons[each] = str(error)
    if not found:
        several = len(graph.axes) > 1
        why = (f"along {each}, {reason}" if several else reason for each, reason in reasons.items())
        raise InputError(f"`{graph.name}` cannot run in windows: {'; '.join(why)}")
    return max(found, key=lambda parts: steps[parts.axis])
