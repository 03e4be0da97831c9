"""The reference semantics of a graph, in NumPy: what every kernel is tested against.

A node that is on no cycle is one NumPy call over all steps; the nodes of a cycle are
evaluated step by step, in the direction of their delays, each at its shift
(:mod:`rollc.ir.time.retiming`), or in loops in a loop where the cycle is along two axes
(:mod:`rollc.ir.time.loops`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rollc.ir.graph import BATCH, LEAVES, Attribute, Edge, Graph, Node, delayed
from rollc.ir.operations import OPERATIONS, Frame
from rollc.ir.time.loops import components
from rollc.ir.time.retiming import Timing
from rollc.ir.time.wavefront import cells, diagonals
from rollc.ir.traversal import needed

Array = NDArray[Any]


def interpret(
    graph: Graph,
    leaves: Mapping[str, Array],
    sizes: Mapping[str, int],
    dtype: DTypeLike = np.float64,
) -> dict[str, Array]:
    """The value of every node.

    ``leaves`` gives the arrays of parameters, inputs, targets, states and cotangents;
    ``sizes`` the length of every axis (``{"t": 100, "batch": 32}``).  An array has one
    dimension for each axis of its node, in the node's order, then the node's own shape.
    Raises ``KeyError`` for a leaf that is missing and ``ValueError`` for a wrong shape.
    """
    with np.errstate(all="ignore"):
        return _Interpreter(graph, leaves, sizes, np.dtype(dtype)).values()


def initial_values(
    graph: Graph,
    leaves: Mapping[str, Array],
    sizes: Mapping[str, int],
    dtype: DTypeLike = np.float64,
    axis: str | None = None,
) -> dict[str, Array]:
    """The values of each delayed node before the first step, the oldest first.

    An array is ``[batch, depth, ...]`` (``[depth, ...]`` for a node without the batch).  With an
    ``axis`` the nodes are those delayed along it, and their other axes come before.
    """
    names = delayed(graph, axis)
    initials = (node.initial for node in graph.nodes if node.initial and node.name in names)
    inner = needed(graph, initials)
    interpreter = _Interpreter(inner, leaves, sizes, np.dtype(dtype))
    with np.errstate(all="ignore"):
        interpreter.values()
    interpreter.graph = graph
    return {name: interpreter.history(name) for name in names}


def evaluated(
    operation: str,
    options: Mapping[str, Attribute],
    frame: Frame,
    operands: Sequence[tuple[Array, tuple[str, ...]]],
) -> Array:
    """The result of an operation on arrays, each with the axes of its leading dimensions.

    An axis that the result is constant along may have length 1, or no dimension at all.
    """
    entry = OPERATIONS[operation]
    rank = len(frame.result.shape)
    aligned = []
    for array, own in operands:
        shape = [1] * len(frame.axes)
        for position, axis in enumerate(own):
            shape[frame.axes.index(axis)] = array.shape[position]
        rest = array.shape[len(own) :]
        if entry.elementwise and not entry.broadcasts and not rest:
            rest = (1,) * rank
        aligned.append(array.reshape((*shape, *rest)))
    return entry.evaluate(frame, options, *aligned)


class _Interpreter:
    def __init__(
        self,
        graph: Graph,
        leaves: Mapping[str, Array],
        sizes: Mapping[str, int],
        dtype: np.dtype[Any],
    ) -> None:
        self.graph = graph
        self.leaves = leaves
        self.sizes = sizes
        self.dtype = dtype
        self.arrays: dict[str, Array] = {}

    def values(self) -> dict[str, Array]:
        for component, loop in components(self.graph):
            if len(component) == 1 and not _reads_itself(component[0]):
                node = component[0]
                self.arrays[node.name] = self._whole(node)
            else:
                self._by_steps(component, loop)
        return self.arrays

    def _extent(self, node: Node) -> tuple[int, ...]:
        return tuple(self.sizes[axis] for axis in node.type.axes) + node.type.shape

    def _leaf(self, node: Node) -> Array:
        if node.operation == "constant":
            return np.asarray(node.options["value"], dtype=self._dtype(node))
        array = np.asarray(self.leaves[node.name])
        if array.shape != self._extent(node):
            raise ValueError(f"{node.name}: expected {self._extent(node)}, found {array.shape}")
        return array.astype(self._dtype(node))

    def _dtype(self, node: Node) -> np.dtype[Any]:
        return np.dtype(np.int64) if node.type.kind == "index" else self.dtype

    def _whole(self, node: Node) -> Array:
        """A node that is on no cycle, at all steps."""
        if node.operation in LEAVES:
            return self._leaf(node)
        axes = self._work_axes(node)
        operands = [self._read(edge, {}) for edge in node.operands]
        return self._evaluate(node, axes, operands, node.type.axes)

    def _work_axes(self, node: Node) -> tuple[str, ...]:
        """The iteration space of a node: the union of the axes of its operands."""
        present = {axis for edge in node.operands for axis in self.graph[edge.source].type.axes}
        return (*sorted(present - {BATCH}), *(present & {BATCH}))

    def _evaluate(
        self,
        node: Node,
        axes: tuple[str, ...],
        operands: Sequence[tuple[Array, tuple[str, ...]]],
        result: tuple[str, ...],
    ) -> Array:
        frame = Frame(axes, self.sizes, self.dtype, node.type)
        value = evaluated(node.operation, node.options, frame, operands)
        full = tuple(self.sizes[axis] for axis in result) + node.type.shape
        return np.broadcast_to(value, full)

    def _initial(self, edge: Edge, outside: int) -> Array:
        """The value of a read that falls outside the sequence by ``outside`` steps (1, 2 …)."""
        source = self.graph[edge.source]
        axes = tuple(axis for axis in source.type.axes if axis != edge.axis)
        shape = tuple(self.sizes[axis] for axis in axes) + source.type.shape
        if source.initial is None:
            return np.zeros(shape, dtype=self._dtype(source))
        node = self.graph[source.initial]
        value = self.arrays[source.initial]
        lead = len(node.type.axes)
        if len(node.type.shape) == len(source.type.shape) + 1:
            depth = node.type.shape[0]
            row = depth - outside if edge.delay > 0 else outside - 1
            value = np.take(value, row, axis=lead)
        target = [1] * len(axes)
        for position, axis in enumerate(node.type.axes):
            target[axes.index(axis)] = value.shape[position]
        rest = value.shape[lead:] or (1,) * len(source.type.shape)
        return np.broadcast_to(value.reshape((*target, *rest)), shape)

    def history(self, name: str) -> Array:
        """The values of a node at the steps before the first one."""
        reach, node = self.graph.reach[name], self.graph[name]
        rows = [
            self._initial(Edge(name, reach.past, reach.axis), depth)
            for depth in range(reach.past, 0, -1)
        ]
        stacked = np.stack(rows, axis=len(node.type.axes) - 1)
        return stacked.astype(self.dtype if node.type.kind == "float" else np.int64)

    def _read(self, edge: Edge, at: Mapping[str, int]) -> tuple[Array, tuple[str, ...]]:
        """A read at a step along each axis in ``at``, and at all steps along the others."""
        array, axes = self.arrays[edge.source], self.graph[edge.source].type.axes
        if edge.delay and edge.axis in at:
            step, steps = at[edge.axis] - edge.delay, self.sizes[edge.axis]
            if 0 <= step < steps:
                array = np.take(array, step, axis=axes.index(edge.axis))
            else:
                array = self._initial(edge, -step if step < 0 else step - steps + 1)
            axes = tuple(axis for axis in axes if axis != edge.axis)
        array, axes = _at(array, axes, at)
        if edge.delay and edge.axis in axes and self.sizes[edge.axis]:
            return self._shifted(array, axes, edge, at), axes
        return array, axes

    def _shifted(
        self, array: Array, axes: tuple[str, ...], edge: Edge, at: Mapping[str, int]
    ) -> Array:
        """An array with all steps along the axis of a delay, shifted by the delay."""
        position, steps = axes.index(edge.axis), self.sizes[edge.axis]
        others = tuple(axis for axis in self.graph[edge.source].type.axes if axis != edge.axis)
        rows = []
        for step in (step - edge.delay for step in range(steps)):
            if 0 <= step < steps:
                rows.append(np.take(array, step, axis=position))
            else:
                outside = self._initial(edge, -step if step < 0 else step - steps + 1)
                rows.append(_at(outside, others, at)[0])
        return np.stack(rows, axis=position)

    def _by_steps(self, component: Sequence[Node], loop: Timing) -> None:
        """The nodes of a cycle, one step after the other."""
        for node in component:
            kind = self.dtype if node.type.kind == "float" else np.dtype(np.int64)
            self.arrays[node.name] = np.zeros(self._extent(node), dtype=kind)
        self._loop(component, loop, {})

    def _loop(self, nodes: Sequence[Node], loop: Timing, at: Mapping[str, int]) -> None:
        """One run of a loop, at a step along each axis of the loops around it."""
        if loop.across:
            self._by_diagonals(nodes, loop, at)
            return
        steps = self.sizes[loop.axis]
        for now in loop.iterations(steps):
            for part in loop.parts:
                if part.loop is not None:
                    self._loop(part.nodes, part.loop, {**at, loop.axis: now})
                else:
                    self._one_step(part.nodes[0], {**at, loop.axis: now})
            for node in () if loop.parts else nodes:
                step = now - loop.shifts.get(node.name, 0)
                if 0 <= step < steps:
                    self._one_step(node, {**at, loop.axis: step})

    def _by_diagonals(self, nodes: Sequence[Node], loop: Timing, at: Mapping[str, int]) -> None:
        """One run of a loop over the diagonals of two axes, each cell by cell."""
        extents = self.sizes[loop.across], self.sizes[loop.axis]
        for now in loop.around(diagonals(loop.weights, *extents)):
            for node in nodes:
                diagonal = now - loop.shifts.get(node.name, 0)
                for row, step in cells(loop.weights, diagonal, *extents):
                    self._one_step(node, {**at, loop.across: row, loop.axis: step})

    def _one_step(self, node: Node, at: Mapping[str, int]) -> None:
        operands = [self._read(edge, at) for edge in node.operands]
        work = tuple(axis for axis in self._work_axes(node) if axis not in at)
        result = tuple(axis for axis in node.type.axes if axis not in at)
        at_step = replace(node, type=replace(node.type, axes=result))
        value = self._evaluate(at_step, work, operands, result)
        index = tuple(at.get(axis, slice(None)) for axis in node.type.axes)
        self.arrays[node.name][index] = value


def _at(
    array: Array, axes: tuple[str, ...], at: Mapping[str, int]
) -> tuple[Array, tuple[str, ...]]:
    """An array at a step along each axis in ``at``, and the axes that are left."""
    index = tuple(at.get(axis, slice(None)) for axis in axes)
    return array[index], tuple(axis for axis in axes if axis not in at)


def _reads_itself(node: Node) -> bool:
    return any(edge.source == node.name for edge in node.operands)
