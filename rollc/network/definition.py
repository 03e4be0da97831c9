"""A network as its calls know it: its graph, its kernels, the arrays that it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.network.derivatives.gradients import Wrt, wanted
from rollc.network.interface import Interface
from rollc.support.checks import choice

if TYPE_CHECKING:
    from rollc.network.steps.streaming import Streaming
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]


@dataclass(frozen=True)
class Definition:
    """What all calls of a network have in common.

    ``kernel`` gives the kernel of an entry point, ``truncate`` is the number of steps that
    gradients go back, if they are cut.  ``constants`` are parameters that the kernels have already:
    no caller gives them.
    """

    graph: Graph
    kernel: Callable[[str], Kernel]
    dtype: str
    truncate: int | None
    interface: Interface
    constants: Mapping[str, Array] = field(default_factory=dict)
    _asked: dict[object, frozenset[str]] = field(default_factory=dict, compare=False, repr=False)
    _steps: dict[object, Streaming] = field(default_factory=dict, compare=False, repr=False)

    def need_loss(self) -> None:
        if self.graph.loss is None:
            raise InputError(f"`{self.graph.name}` has no loss; add `loss …` to its spec")

    def need_slopes(self) -> None:
        outputs = self.interface.outputs
        if outputs and all(spec.kind != "float" for spec in outputs.values()):
            raise InputError(
                f"no output of `{self.graph.name}` has a gradient: none is of real numbers"
            )

    def labels(self, wrt: Wrt, state: bool) -> frozenset[str]:
        """The labels of the gradients that ``wrt`` names; those of the last names are known."""
        if not isinstance(wrt, str | tuple):
            return wanted(self.interface, wrt, state)
        key = wrt, state
        found = self._asked.get(key)
        if found is None:
            found = wanted(self.interface, wrt, state)
            self._asked.clear()
            self._asked[key] = found
        return found

    def streaming(self, axis: str | None, lengths: bool) -> Streaming:
        """The steps along an axis; the graphs are made once."""
        from rollc.network.steps.streaming import axis_of, streaming_of

        if axis is not None and not isinstance(axis, str):
            axis = choice("axis", axis, self.interface.axes)
        key = axis, lengths
        if key not in self._steps:
            found = axis_of(self.graph, axis)
            self._steps[key] = streaming_of(
                self.graph,
                self.interface,
                self.kernel,
                self.dtype,
                found,
                lengths,
                self.constants,
            )
        return self._steps[key]
