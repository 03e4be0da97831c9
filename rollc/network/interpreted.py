"""Kernels that are not compiled: their graphs are interpreted.

They are called like compiled ones.  :mod:`rollc.tools.verify` compares with them, and they compute
what there is where there are no steps or no sequences: compiled code has at least one of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from rollc.entries.graphs import kernel_graphs
from rollc.errors import UndefinedError
from rollc.ir.graph import BATCH, Graph
from rollc.ir.interpreter import interpret
from rollc.ir.traversal import needed
from rollc.network.arrays import Sizes
from rollc.transforms.empty_axes import undefined, without_steps

if TYPE_CHECKING:
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]
Arrays = Mapping[str, Array]

_OF_LOSS = ("loss", "gradient", "hvp", "by_sequence")
"""Kernels whose results are those of the loss, and not of the outputs."""

_KINDS = {"index": np.dtype(np.int64), "bool": np.dtype(np.bool_)}


class Interpreted:
    """The graph of a kernel, called like the kernel."""

    def __init__(self, graph: Graph, dtype: str = "float64") -> None:
        read = {edge.source for node in graph.nodes for edge in node.reads()}
        read.update(graph.results())  # other leaves stay in a graph, and need no array
        self.graph = graph.with_nodes(node for node in graph.nodes if node.name in read)
        self.dtype = np.dtype(dtype)
        self.constants: Arrays = {}

    def with_parameters(self, params: Arrays) -> Interpreted:
        """The same graph with leaves that it has already."""
        found = Interpreted(self.graph, self.dtype.name)
        found.constants = params
        return found

    def bytes(self, sizes: Mapping[str, int]) -> int:
        """The memory of all values together."""
        types = [node.type for node in self.graph.nodes]
        return 8 * sum(prod(sizes[axis] for axis in type_.axes) * type_.size for type_ in types)

    def run(
        self, leaves: Arrays, steps: Mapping[str, int], batch: int, phases: Sequence[str]
    ) -> dict[tuple[str, str], Array]:
        """All results, whatever the phases."""
        given = {**leaves, **self.constants}
        values = interpret(self.graph, given, {**steps, BATCH: batch}, self.dtype)

        def result(name: str) -> Array:
            # A value that is the same at all places is one of NumPy's views, not to be written to.
            return np.array(values[name], _KINDS.get(self.graph[name].type.kind, self.dtype))

        found = {("output", label): result(name) for label, name in self.graph.outputs}
        found |= {("gradient", label): result(name) for label, name in self.graph.gradients}
        if self.graph.loss is not None:
            found["loss", "loss"] = result(self.graph.loss)
        return found

    def record(
        self, leaves: Arrays, steps: Mapping[str, int], batch: int, owned: object = ()
    ) -> tuple[dict[tuple[str, str], Array], _Recorded]:
        """The outputs, and a call that is finished when cotangents come."""
        outputs = replace(self.graph, loss=None, gradients=())
        first = Interpreted(needed(outputs, outputs.results()), str(self.dtype))
        kept = {name: np.array(array) for name, array in leaves.items()}
        return first.run(kept, steps, batch, ()), _Recorded(self, kept, steps, batch)


@dataclass(frozen=True)
class _Recorded:
    """A call that has begun; nothing but its leaves is kept."""

    kernel: Interpreted
    leaves: Arrays
    steps: Mapping[str, int]
    batch: int

    @property
    def bytes(self) -> int:
        return sum(np.asarray(array).nbytes for array in self.leaves.values())

    def run(self, leaves: Arrays, phases: Sequence[str]) -> dict[tuple[str, str], Array]:
        return self.kernel.run({**self.leaves, **leaves}, self.steps, self.batch, phases)


def kernel_of_nothing(graph: Graph, sizes: Sizes, dtype: str) -> Kernel:
    """The kernel of a graph's outputs, for no steps along an axis or no sequences."""
    graph = replace(graph, loss=None, gradients=())
    need_something(graph, graph.results(), sizes)
    return cast("Kernel", Interpreted(without_steps(graph, sizes.without_steps), dtype))


def need_something(
    graph: Graph, results: Iterable[str], sizes: Sizes, ragged: bool = False
) -> None:
    """Raises :class:`UndefinedError` where a result is a mean or an extreme of nothing."""
    empty = sizes.without_steps | ({BATCH} if not sizes.batch else frozenset())
    why = undefined(graph, results, empty, ragged)
    if why is not None:
        raise UndefinedError(f"`{graph.name}`: {why}")


def variant_of_nothing(graph: Graph, entry: str, sizes: Sizes, dtype: str) -> Kernel:
    """A kernel of a network, by its name, for no steps along an axis or no sequences.

    Raises :class:`UndefinedError` where a result is not defined, such as a mean over nothing.
    """
    sort, *variants = entry.split(".")
    if graph.gradients and sort in _OF_LOSS:
        raise UndefinedError(
            f"`{graph.name}` holds its gradients already, and those are of at least one step of one"
            " sequence"
        )
    carries = any(variant.startswith("state") for variant in variants)
    follows = sort in ("gradient", "by_sequence") and carries
    names = [name for _, name in graph.outputs] if sort not in _OF_LOSS or follows else []
    if sort in _OF_LOSS and graph.loss is not None:
        names.append(graph.loss)
    ragged = "lengths" in variants
    if ragged and sort in _OF_LOSS and not sizes.batch:  # the loss is a mean over them there
        raise UndefinedError(f"`{graph.name}`: a mean over nothing: there are no sequences")
    need_something(graph, names, sizes, ragged)
    built = kernel_graphs(without_steps(graph, sizes.without_steps))[entry]()
    return cast("Kernel", Interpreted(built, dtype))
