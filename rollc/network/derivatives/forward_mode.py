"""Gradients that run forward with the steps: no tape, and memory free of their number.

With the state goes its derivative in every parameter, the message

    alpha_t = ds_t/dU + (ds_t/ds_(t-1)) alpha_(t-1)

from each window of a few steps to the next (:mod:`rollc.autodiff.tangent`).  At the end of a
segment (:mod:`rollc.autodiff.segments`) the derivative of its reductions is there, and the
cotangents of those are all that has to come back.  The price is the size of the state times
the parameters, in memory, and that times the state in work at every step.

Williams and Zipser, A learning algorithm for continually running fully recurrent neural
networks (1989), Neural Computation 1(2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.autodiff.adjoint import adjoint, differentiable, seed_name
from rollc.autodiff.segments import Segment, segments
from rollc.autodiff.tangent import DIRECTION, directions, tangent_name
from rollc.autodiff.window_split import CannotSplit
from rollc.entries.forward_mode import prepared_graph, tangent_entry, with_tangents
from rollc.errors import InputError
from rollc.ir.graph import BATCH, LEAVES, Graph
from rollc.ir.interpreter import initial_values, interpret
from rollc.ir.names import STATE
from rollc.ir.operations import operation_of
from rollc.ir.operations.time_axis import step_numbers
from rollc.network.derivatives.window_reductions import WHOLE, Total, part_of
from rollc.network.evaluation import Evaluation, LossAndGradients
from rollc.support.checks import whole
from rollc.transforms.canonicalize import canonicalize
from rollc.transforms.state import expose_state

if TYPE_CHECKING:
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]

MOST = 4_000_000_000  # bytes, unless the caller says how many
LONGEST_WINDOW = 64  # steps; more of them save no more calls that one would notice
_ROOMY = 8_000_000  # bytes that a window may take without a thought


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What :meth:`rollc.Network.forward_sensitivities` takes.

    Attributes
    ----------
    directions : int
        The number of derivatives that go along with every value.
    steps : int
        The length of a window; both are those of the segment that takes most.
    bytes : int
        What the run holds at its peak besides the caller's arrays, for any number of steps.
    """

    directions: int
    steps: int
    bytes: int


class Sensitivities:
    """The loss of a prepared graph and its gradients in the parameters, forward in time.

    Raises :class:`CannotSplit` where a graph cannot run so.
    """

    def __init__(
        self,
        graph: Graph,
        kernel: Callable[[str], Kernel],
        dtype: str,
        lengths: bool = False,
        longest: int = LONGEST_WINDOW,
    ) -> None:
        self.graph = graph
        self.dtype = np.dtype(dtype)
        self.found = segments(graph)
        self.runs = [
            _Run(segment, kernel, tangent_entry(index, lengths), self.dtype, longest)
            for index, segment in enumerate(self.found.segments)
        ]

    def plan(self, steps: Mapping[str, int], batch: int) -> Sensitivity:
        """What a run over so many steps takes."""
        sizes = {**steps, BATCH: batch}
        kept = sum(run.kept(sizes) for run in self.runs)
        found = Sensitivity(0, 0, 0)
        for run in self.runs:
            every = run.every(sizes)
            taken = kept + run.bytes(every, sizes)
            if taken > found.bytes:
                found = Sensitivity(run.count, every, taken)
        return found

    def fitting(self, steps: Mapping[str, int], batch: int, most: int) -> Sensitivity:
        """The plan; raises :class:`InputError` where it takes more than ``most`` bytes."""
        plan = self.plan(steps, batch)
        if plan.bytes > most:
            raise InputError(
                f"{plan.bytes:,} bytes for the sensitivities of {plan.directions:,} parameters"
                f" are more than {most:,}: each value of the state has its derivative in every"
                " one of them; the adjoint takes memory for the steps instead"
            )
        return plan

    def value_and_grad(
        self, leaves: Mapping[str, Array], steps: Mapping[str, int], batch: int
    ) -> tuple[float, dict[str, Array]]:
        """The loss and the gradients of the parameters, by name.

        ``leaves`` are arrays with time and batch in front, as the kernels take them.
        """
        sizes = {**steps, BATCH: batch}
        given = dict(leaves)
        for node in self.found.ends:
            array = leaves[node.operands[0].source]
            given[node.name] = array[0] if operation_of(node).end == "first" else array[-1]
        totals = []
        for run in self.runs:
            totals.append(run.forward(given, sizes))
            given |= {name: total.found for name, total in totals[-1].items()}
        rest = self.found.rest
        values = interpret(rest, given, sizes, self.dtype)
        assert self.graph.loss is not None
        return float(values[self.graph.loss]), self._backward(given, sizes, totals)

    @cached_property
    def _adjoint(self) -> Graph:
        return canonicalize(adjoint(self.found.rest, of="outputs"))

    def _backward(
        self,
        given: Mapping[str, Array],
        sizes: Mapping[str, int],
        totals: Sequence[Mapping[str, Total]],
    ) -> dict[str, Array]:
        """From the loss to the reductions, to the cuts before them, and so on."""
        rest = self.found.rest
        gradients = {
            node.name: np.zeros(_extent(self.graph, node.name, sizes), WHOLE)
            for node in self.graph.leaves("param")
            if differentiable(node)
        }
        reductions = {
            reduction.node: np.zeros(_extent(run.segment.window, reduction.node, sizes), WHOLE)
            for run in self.runs
            for reduction in run.segment.reductions
        }
        none = {
            seed_name(name): np.zeros(_extent(rest, name, sizes), self.dtype)
            for _, name in rest.outputs
            if rest[name].type.kind == "float"
        }

        def pull(seeds: Mapping[str, Array]) -> None:
            named = {seed_name(name): array for name, array in seeds.items()}
            found = interpret(self._adjoint, {**given, **none, **named}, sizes, self.dtype)
            for label, name in self._adjoint.gradients:
                for into in (gradients, reductions):
                    if label in into:
                        into[label] += found[name]

        assert self.graph.loss is not None
        pull({self.graph.loss: np.asarray(1.0, self.dtype)})
        for run, own in reversed([*zip(self.runs, totals, strict=True)]):
            pull(run.pulled(reductions, own))
        return {name: array.astype(self.dtype) for name, array in gradients.items()}


def sensitivities(
    call: Evaluation, memory: int | None
) -> tuple[Sensitivity, Callable[[], LossAndGradients]]:
    """A plan for a call forward in time, in so few bytes, and what carries it out."""
    memory = MOST if memory is None else whole("`memory`", memory, 1)
    network, sizes = call.network, call.sizes
    noted = call.noted("forward_sensitivities")
    graph = prepared_graph(network.graph, network.truncate, call.lengths)
    try:
        run = Sensitivities(graph, network.kernel, network.dtype, call.lengths)
    except CannotSplit as error:
        raise InputError(f"`{graph.name}` has no forward sensitivities: {error}") from None
    if sizes.empty:
        labels = network.labels(("params", "inputs"))
        return Sensitivity(0, 0, 0), call.gradients_of_nothing(labels, noted)
    labels = network.labels("params")
    plan = run.fitting(sizes.steps, sizes.batch, memory)

    def value_and_grad() -> LossAndGradients:
        noted.check()
        loss, found = run.value_and_grad(call.leaves, sizes.steps, sizes.batch)
        results = {("gradient", label): array for label, array in found.items()}
        return loss, call.gradients(results, labels)

    return plan, value_and_grad


class _Run:
    """One segment, window by window."""

    def __init__(
        self,
        segment: Segment,
        kernel: Callable[[str], Kernel],
        name: str,
        dtype: np.dtype[Any],
        longest: int,
    ) -> None:
        self.segment = segment
        self.axis = segment.axis
        self.dtype = dtype
        self.graph = with_tangents(segment)
        self.directions = directions(segment.window, segment.cuts)
        self.count = sum(each.size for each in self.directions)
        # The place of the axis in the arrays of leaves that run along it.
        self.timed = {
            node.name: node.type.axes.index(self.axis)
            for node in segment.window.nodes
            if node.operation in LEAVES and self.axis in node.type.axes
        }
        self._kernel, self._name, self._longest = kernel, name, longest

    @property
    def kernel(self) -> Kernel:
        return self._kernel(self._name)

    def _sizes(self, sizes: Mapping[str, int], steps: int) -> dict[str, int]:
        """Those of a window of some steps."""
        return {**sizes, self.axis: steps, DIRECTION: self.count}

    def kept(self, sizes: Mapping[str, int]) -> int:
        """The bytes that stay until the gradient is there: the derivative of the reductions."""
        own = self._sizes(sizes, 1)
        names = {name for _, name in self.graph.outputs}
        numbers = sum(prod(_extent(self.graph, name, own)) for name in names)
        return numbers * WHOLE.itemsize

    def bytes(self, every: int, sizes: Mapping[str, int]) -> int:
        """The bytes of windows of ``every`` steps: two states, and what the kernel holds."""
        own = self._sizes(sizes, every)
        exposed = expose_state(self.graph, self.axis)
        state = sum(
            prod(_extent(exposed, node.name, own)) * self.dtype.itemsize
            for node in exposed.leaves("state")
        )
        return self.kernel.bytes(own) + state

    def every(self, sizes: Mapping[str, int]) -> int:
        """Windows as long as they take little memory, or little more than the shortest."""
        most = max(_ROOMY, self.bytes(1, sizes) * 5 // 4)
        every = min(self._longest, sizes[self.axis])
        while every > 1 and self.bytes(every, sizes) > most:
            every //= 2
        return every

    def forward(self, given: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, Total]:
        """The reductions and their derivatives."""
        segment, axis = self.segment, self.axis
        steps, batch = sizes[axis], sizes[BATCH]
        start = interpret(segment.start, given, sizes, self.dtype)
        static = {name: np.asarray(start[name]) for _, name in segment.start.outputs}
        leaves = {**given, **static}
        numbers = {node.name: node.options for node in segment.numbers}
        along = {**sizes, DIRECTION: self.count}
        state = {
            STATE + name: array
            for name, array in initial_values(self.graph, leaves, along, self.dtype, axis).items()
        }
        every = self.every(sizes)
        totals = {each.node: Total(each, sizes) for each in segment.reductions}
        for first in range(0, steps, every):
            last = min(first + every, steps)
            inside = {
                name: leaves[name][part_of(place, first, last)]
                for name, place in self.timed.items()
                if name not in numbers
            }
            inside |= {name: step_numbers(first, last, own) for name, own in numbers.items()}
            counts = {name: sizes[name] for name in segment.window.axes}
            counts |= {axis: last - first, DIRECTION: self.count}
            found = self.kernel.run({**leaves, **inside, **state}, counts, batch, ("primal",))
            state = {name: found["output", name] for name in state}
            for each in segment.reductions:
                slopes = found.get(("output", tangent_name(each.node)))
                taken = found["output", each.taken] if each.taken else None
                totals[each.node].add(found["output", each.node], slopes, taken)
        return totals

    def pulled(
        self, cotangents: Mapping[str, Array], totals: Mapping[str, Total]
    ) -> dict[str, Array]:
        """The cotangents of the cuts, from those of the reductions."""
        window = self.segment.window
        found: dict[str, Array] = {}
        for each in self.directions:
            type_ = window[each.leaf].type
            letters = "pb" if BATCH in type_.axes else "p"
            parts = []
            for name, reduced in totals.items():
                own = BATCH in window[name].type.axes
                if reduced.tangent is None or (BATCH in type_.axes and not own):
                    continue  # what all sequences share depends on nothing of one alone
                slopes = reduced.tangent[each.start : each.start + each.size]
                of, by = ("pbe", "be") if own else ("pe", "e")
                lead = slopes.shape[: len(by)]
                cotangent = cotangents[name].reshape(*lead[1:], -1)
                slopes = slopes.reshape(*lead, -1)
                parts.append(np.einsum(f"{of},{by}->{letters}", slopes, cotangent))
            total = np.sum(parts, axis=0).T  # the batch in front
            shape = (*total.shape[:-1], *type_.shape)
            found[each.leaf] = total.reshape(shape).astype(self.dtype)
        return found


def _extent(graph: Graph, name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    type_ = graph[name].type
    return (*(sizes[axis] for axis in type_.axes), *type_.shape)
