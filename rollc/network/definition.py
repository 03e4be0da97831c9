"""A network as its calls know it: its graph, its kernels, the arrays that it takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.ir.graph import Graph
from rollc.network.derivatives.gradients import Wrt, wanted
from rollc.network.interface import Arrays, Interface, Lengths, Steps
from rollc.network.noise_draws import Seed
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
    _windows: dict[str, Definition] = field(default_factory=dict, compare=False, repr=False)

    def need_loss(self) -> None:
        if self.graph.loss is None:
            raise InputError(f"`{self.graph.name}` has no loss; add `loss …` to its spec")

    def need_slopes(self) -> None:
        outputs = self.interface.outputs
        if outputs and all(spec.kind != "float" for spec in outputs.values()):
            raise InputError(
                f"no output of `{self.graph.name}` has a gradient: none is of real numbers"
            )

    def labels(self, wrt: Wrt, state: Arrays | None = None) -> frozenset[str]:
        """The labels of the gradients that ``wrt`` names; those of the last names are known."""
        own = self if state is None else self.of_state(state)
        if own is not self:
            return own.labels(wrt, state)
        given = state is not None
        if not isinstance(wrt, str | tuple):
            return wanted(self.interface, wrt, given)
        key = wrt, given
        found = self._asked.get(key)
        if found is None:
            found = wanted(self.interface, wrt, given)
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

    @cached_property
    def axes_of_steps(self) -> tuple[str, ...]:
        """Those of several axes along which the network can run step by step."""
        from rollc.transforms.streaming_split import why_no_stream

        axes = self.interface.axes if len(self.interface.axes) > 1 else ()
        return tuple(axis for axis in axes if why_no_stream(self.graph, axis) is None)

    def steps_of(self, state: Arrays, axis: str | None) -> Streaming:
        """The steps that go on from a state, along its axis."""
        if axis is None and len(self.axes_of_steps) > 1:
            axis = self.axis_of_state(state)
        return self.streaming(axis, self.interface.has_lengths(state))

    def initial_state(
        self,
        params: Arrays,
        inputs: Arrays | None,
        steps: Steps | None,
        axis: str | None,
        lengths: Lengths | None,
        training: bool,
        seed: Seed,
    ) -> dict[str, Array]:
        """The state before the first step, of steps along an axis and of windows.

        What windows alone have of it, since a loss reads it, is there as far as the inputs tell.
        """
        given = (params, inputs, steps, lengths, training, seed)
        if axis is not None and not isinstance(axis, str):
            axis = choice("axis", axis, self.interface.axes)
        windows = self._starting(axis, lengths is not None)
        if windows is None:
            return self.streaming(axis, lengths is not None).initial_state(*given)
        if windows.axis not in self.axes_of_steps:
            return windows.initial_state(*given)
        found = self.streaming(windows.axis, lengths is not None).initial_state(*given)
        missing = windows.own.states.keys() - found.keys()
        if missing and windows.begins_with(inputs):
            rows = windows.initial_state(*given)
            found |= {name: rows[name] for name in rows if name in missing}
        return found

    def _starting(self, axis: str | None, lengths: bool) -> Streaming | None:
        """What gives the state before the first of windows; None where there are none of their own.

        Without an axis they are along that of the steps, if there is one.
        """
        from rollc.network.steps.streaming import start_of_windows
        from rollc.network.steps.windows import axis_of_windows

        if axis is None and self.axes_of_steps:
            axis = self.axes_of_steps[0] if len(self.axes_of_steps) == 1 else axis
            if axis is None:
                return None  # which is to be said
        found = axis_of_windows(self.graph, axis)
        if found is None:
            return None
        rest = (self.kernel, self.dtype, found, lengths, self.constants)
        return start_of_windows(self.graph, self.interface, self.windows(found).interface, *rest)

    def axis_of_state(self, state: Arrays) -> str:
        """The axis that a state is along, of several; raises :class:`InputError` for none."""
        from rollc.network.steps.windows import axis_of_state

        def beside(axis: str) -> frozenset[str]:
            return self.windows(axis).interface.beside

        return axis_of_state(self.graph, state, beside, self.axes_of_steps)

    def of_state(self, state: Arrays) -> Definition:
        """The network in windows along the axis of a state; with one axis, as it is."""
        if len(self.interface.axes) == 1 or self.interface.no_state is None:
            return self
        return self.windows(self.axis_of_state(state))

    def windows(self, axis: str) -> Definition:
        """The network in windows along one of several axes."""
        from rollc.network.steps.windows import interface_of_windows

        if axis not in self._windows:
            rest = (self.graph, self.interface, self.dtype, axis, self.streaming)
            own = interface_of_windows(*rest)
            found = replace(self, interface=own, _asked={}, _steps={}, _windows={})
            self._windows[axis] = found
        return self._windows[axis]
