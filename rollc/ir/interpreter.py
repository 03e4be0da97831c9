"""The reference semantics of a graph, in NumPy: what every kernel is tested against.

A node that is on no cycle is one NumPy call over all steps; the nodes of a cycle are
evaluated step by step, in the direction of their delays, each at its shift
(:mod:`rollc.ir.time.retiming`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rollc.ir.graph import BATCH, LEAVES, Attribute, Edge, Graph, Node, delayed
from rollc.ir.operations import OPERATIONS, Frame
from rollc.ir.time.retiming import Timing
from rollc.ir.traversal import components, needed

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
        if entry.elementwise and operation != "fill" and not rest:
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
        operands = [self._shifted(edge) for edge in node.operands]
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

    def _shifted(self, edge: Edge) -> tuple[Array, tuple[str, ...]]:
        """A read at all steps: the source's array, shifted by the delay."""
        array, axes = self.arrays[edge.source], self.graph[edge.source].type.axes
        if edge.delay == 0:
            return array, axes
        position = axes.index(edge.axis)
        steps = self.sizes[edge.axis]
        if not steps:
            return array, axes
        rows = []
        for step in range(steps):
            at = step - edge.delay
            if 0 <= at < steps:
                rows.append(np.take(array, at, axis=position))
            else:
                rows.append(self._initial(edge, -at if at < 0 else at - steps + 1))
        return np.stack(rows, axis=position), axes

    def _by_steps(self, component: Sequence[Node], loop: Timing) -> None:
        """The nodes of a cycle, one step after the other."""
        names = {node.name for node in component}
        axis = next(
            edge.axis
            for node in component
            for edge in node.operands
            if edge.source in names and edge.delay
        )
        for node in component:
            kind = self.dtype if node.type.kind == "float" else np.dtype(np.int64)
            self.arrays[node.name] = np.zeros(self._extent(node), dtype=kind)
        for now in loop.iterations(self.sizes[axis]):
            for node in component:
                step = now - loop.shifts.get(node.name, 0)
                if 0 <= step < self.sizes[axis]:
                    self._one_step(node, axis, step)

    def _one_step(self, node: Node, axis: str, step: int) -> None:
        operands = []
        for edge in node.operands:
            array, axes = self.arrays[edge.source], self.graph[edge.source].type.axes
            delay = edge.delay
            if edge.axis not in ("", axis):  # along the other axis all steps are there already
                (array, axes), delay = self._shifted(edge), 0
            if axis not in axes:
                operands.append((array, axes))
                continue
            at = step - delay
            if 0 <= at < self.sizes[axis]:
                value = np.take(array, at, axis=axes.index(axis))
            else:
                outside = -at if at < 0 else at - self.sizes[axis] + 1
                value = self._initial(edge, outside)
            operands.append((value, tuple(other for other in axes if other != axis)))
        work = tuple(other for other in self._work_axes(node) if other != axis)
        result = tuple(other for other in node.type.axes if other != axis)
        at_step = replace(node, type=replace(node.type, axes=result))
        value = self._evaluate(at_step, work, operands, result)
        index = (slice(None),) * node.type.axes.index(axis) + (step,)
        self.arrays[node.name][index] = value


def _reads_itself(node: Node) -> bool:
    return any(edge.source == node.name for edge in node.operands)
