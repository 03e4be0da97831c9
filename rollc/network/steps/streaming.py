"""A network step by step: the state before the first step, and windows that hand it on.

With one time axis the steps are those of the network.  A window of them gives what is computed
from all steps, such as a mean, of the window; a single step does not pass its own value off as
that.  With two time axes the steps are those along one of them, the decoder's: what does not
run along it is computed once, from the inputs that do not, and is part of the state
(:mod:`rollc.transforms.streaming_split`).  A state is arrays by name, and can be saved as such.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.entries.streaming import exposed_steps, prepared_stream, stream_entry
from rollc.errors import InputError
from rollc.ir.graph import Graph, delayed, outputs_only
from rollc.ir.interpreter import initial_values
from rollc.ir.names import lengths_leaves
from rollc.ir.time.same_steps import same_steps
from rollc.ir.traversal import needed
from rollc.network.arrays import (
    Sizes,
    Spec,
    as_array,
    given_back,
    outputs_and_state,
    shape_of,
    state_given_back,
    unknown,
    words,
)
from rollc.network.interface import Arrays, Interface, Lengths, Steps, interface_of
from rollc.network.interpreted import kernel_of_nothing, need_something
from rollc.network.noise_draws import Seed, draw_noise
from rollc.support.checks import mapping
from rollc.transforms.empty_axes import without_steps
from rollc.transforms.ragged import alive_name, with_lengths
from rollc.transforms.state import why_no_state
from rollc.transforms.streaming_split import why_no_steps, why_no_stream

if TYPE_CHECKING:
    from rollc.network.steps.stepper import Stepper
    from rollc.runtime.kernel import Kernel

Array = NDArray[Any]

_SIZES = 2  # of arrays, for which steps are kept ready


def axis_of(graph: Graph, axis: str | None = None) -> str:
    """The axis that a network is run along step by step, the only one if none is named.

    Raises :class:`InputError` where that is none, or not one.
    """
    axes = graph.axes or ("t",)
    if axis is not None and axis not in axes:
        raise InputError(unknown("axis", axis, dict.fromkeys(axes)))
    if len(axes) == 1:
        reasons = {axes[0]: why_no_state(graph)}
    else:
        reasons = {each: why_no_stream(graph, each) for each in axes if axis in (None, each)}
    possible = [each for each, reason in reasons.items() if reason is None]
    if not possible:
        along = len(axes) > 1
        why = "; ".join(
            f"along {each}, {why}" if along else f"{why}" for each, why in reasons.items()
        )
        raise InputError(_cannot(graph.name, why))
    if len(possible) > 1:
        raise InputError(
            f"`{graph.name}` can run step by step along {' and '.join(possible)}: give `axis`"
        )
    return possible[0]


def _cannot(name: str, why: str) -> str:
    return f"`{name}` cannot run step by step: {why}; give it whole sequences"


@dataclass(frozen=True)
class Streaming:
    """The steps of a network along one axis.

    ``whole`` is the interface of the network and ``own`` that of the steps, whose graph is
    ``steps``.  ``start`` computes what the steps start from; None where that is nothing but
    initial values.  ``names`` are the kernels of the steps and of the start.  ``constants`` are
    parameters that the kernels have already, and no caller gives.
    """

    axis: str
    whole: Interface
    own: Interface
    start: Graph | None
    steps: Graph
    kernel: Callable[[str], Kernel]
    names: tuple[str, str]
    dtype: str
    constants: Mapping[str, Array] = field(default_factory=dict)
    _steppers: deque[Stepper] = field(default_factory=lambda: deque(maxlen=_SIZES), compare=False)

    def initial_state(
        self,
        params: Arrays,
        inputs: Arrays | None,
        steps: Steps | None,
        lengths: Lengths | None,
        training: bool,
        seed: Seed,
    ) -> dict[str, Array]:
        """The state before the first step."""
        inputs = {} if inputs is None else mapping("inputs", inputs)
        slots = {**self.whole.inputs, **self.whole.targets}
        given = {name: array for name, array in inputs.items() if name in slots}
        for node in self._before.nodes:
            if node.name in slots and node.name not in given:
                raise InputError(f"missing input `{node.name}`: expected {words(slots[node.name])}")
        if not self._starts_with_all:
            # Any number of steps does; of an input over time the first tell the batch.
            count = self.whole.steps or 1
            given = {
                name: self._cut(name, array, slots[name], count) for name, array in given.items()
            }
            if any(self._has_no_step(array, slots[name]) for name, array in given.items()):
                count = 0
            others = {} if len(self.whole.axes) == 1 else self._others("steps", steps)
            steps = {**others, self.axis: count}
        leaves, sizes = self.whole.leaves(
            params,
            given,
            steps,
            lengths=None if lengths is None else self._others("lengths", lengths),
            need_inputs=False,
            need_targets=False,
        )
        graph = self.steps if self.start is None else self.start
        leaves |= draw_noise(graph, sizes.axes, seed, training, self.dtype)
        leaves |= self.constants
        held: dict[str, Array] = {}
        if self.start is not None and self.start.outputs:
            results = self._results(self.names[1], leaves, sizes)
            held = {label: array for (_, label), array in results.items()}
        steps_graph = self.steps
        if sizes.empty:
            starts = [self.steps[name].initial for name in delayed(self.steps, self.axis)]
            need_something(self.steps, [name for name in starts if name is not None], sizes)
            steps_graph = without_steps(self.steps, sizes.without_steps)
        values = initial_values(steps_graph, {**leaves, **held}, sizes.axes, self.dtype, self.axis)
        # With lengths, what stands for a value may be read in its place.
        kept = {name: alive_name(name) for name in self.own.states if name not in values}
        rows = {
            name: state_given_back(values[kept.get(name, name)], spec, sizes)
            for name, spec in self.own.states.items()
        }
        rows |= {name: given_back(held[name], spec, sizes) for name, spec in self.own.held.items()}
        return rows | {name: np.array(sizes.steps[axis]) for axis, name in self._counts.items()}

    def forward(
        self,
        params: Arrays,
        inputs: Arrays | None,
        state: Arrays,
        steps: Steps | None,
        training: bool,
        seed: Seed,
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs of some steps, and the state after the last of them."""
        return self._forward(params, inputs, state, steps, training, seed)[:2]

    def _forward(
        self,
        params: Arrays,
        inputs: Arrays | None,
        state: Arrays,
        steps: Steps | None,
        training: bool,
        seed: Seed,
    ) -> tuple[dict[str, Array], dict[str, Array], Sizes]:
        params, state = mapping("params", params), mapping("state", state)
        inputs = {} if inputs is None else mapping("inputs", inputs)
        if steps is not None and not isinstance(steps, Mapping):
            steps = {self.axis: steps}
        counts: dict[str, Any] = {
            axis: state[name] for axis, name in self._counts.items() if name in state
        }
        if counts:
            steps = {**counts, **(steps or {})}
            state = {name: state[name] for name in state if name not in self._counts.values()}
        known = self.whole.params.keys() - self.own.params.keys()
        params = {name: array for name, array in params.items() if name not in known}
        leaves, sizes = self.own.leaves(
            params, self._along(inputs), steps, state, need_targets=False
        )
        leaves |= draw_noise(self.steps, sizes.axes, seed, training, self.dtype)
        results = self._results(self.names[0], leaves, sizes)
        outputs, rows = outputs_and_state(results, self.own.outputs, self.own.states, sizes)
        # What is held is the same at every step, but each state is the caller's to change.
        rows |= {name: np.array(state[name]) for name in self.own.held}
        rows |= {self._counts[axis]: np.array(counts[axis]) for axis in counts}
        return outputs, rows, sizes

    def step(
        self, params: Arrays, state: Arrays, inputs: Arrays | None, training: bool, seed: Seed
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """The outputs of one step and the state after it; arrays are without the axis."""
        inputs = {} if inputs is None else mapping("inputs", inputs)
        if type(params) is dict and params.keys() == self.whole.params.keys():
            done = self._like_before(params, state, inputs, training, seed)
            if done is not None:
                return done
        outputs, following, sizes = self.one_step(params, state, inputs, training, seed)
        if not any(one.is_for(sizes, inputs) for one in self._steppers):
            stepper = self.stepper(sizes, inputs)
            if stepper is not None:
                self._steppers.append(stepper)
        return outputs, following

    def one_step(
        self, params: Arrays, state: Arrays, inputs: Arrays, training: bool, seed: Seed
    ) -> tuple[dict[str, Array], dict[str, Array], Sizes]:
        """A step for arrays of any sort, with what they tell of sizes."""
        self.need_steps()
        wide = {name: self._widened(name, array) for name, array in inputs.items()}
        found, following, sizes = self._forward(params, wide, state, {self.axis: 1}, training, seed)
        outputs = {}
        for label, spec in self.own.outputs.items():
            first = (slice(None),) * self._place(spec) + ((0,) if self.axis in spec.time else ())
            outputs[label] = found[label][(*first, ...)]
        return outputs, following, sizes

    def _like_before(
        self, params: Arrays, state: Arrays, inputs: Arrays, training: bool, seed: Seed
    ) -> tuple[dict[str, Array], dict[str, Array]] | None:
        """A step for arrays that are like those of one before, if there was one."""
        for _ in range(len(self._steppers)):
            try:
                stepper = self._steppers.pop()
            except IndexError:  # other threads have them
                return None
            done = None
            try:
                done = stepper.step(params, state, inputs, training, seed)
            finally:
                if done is None:
                    self._steppers.appendleft(stepper)
                else:
                    self._steppers.append(stepper)
            if done is not None:
                return done
        return None

    def stepper(self, sizes: Sizes, given: Iterable[str]) -> Stepper | None:
        """What does steps of arrays of one size; None where those are done otherwise."""
        from rollc.network.steps.stepper import Stepper
        from rollc.runtime.kernel import Kernel
        from rollc.runtime.resident import resident_of

        kernel = self.kernel(self.names[0])
        if sizes.empty or not isinstance(kernel, Kernel):
            return None
        resident = resident_of(kernel, sizes.steps, sizes.batch)
        if resident is None:
            return None
        counts = {name: sizes.steps[axis] for axis, name in self._counts.items()}
        return Stepper(resident, self.dtype, self.steps, self.axis, self.own, sizes, given, counts)

    def _results(
        self, name: str, leaves: Mapping[str, Array], sizes: Sizes
    ) -> dict[tuple[str, str], Array]:
        """What the kernel of the start or of the steps gives."""
        kernel = self.kernel(name)
        if sizes.empty:
            leaves = {**leaves, **self.constants}
            starts = self.start is not None and name == self.names[1]
            graph = self.start if starts else exposed_steps(self.steps, self.axis)
            assert graph is not None
            kernel = kernel_of_nothing(graph, sizes, self.dtype)
        return kernel.run(leaves, sizes.steps, sizes.batch, ("primal",))

    def taken_state(self, state: Arrays) -> tuple[dict[str, Array], Sizes]:
        """A state, looked at, with what it tells of sizes; the arrays are no one else's."""
        state = mapping("state", state)
        counts: dict[str, Any] = {
            axis: state[name] for axis, name in self._counts.items() if name in state
        }
        state = {name: state[name] for name in state if name not in self.own.beside}
        rows = {name: state[name] for name in state if name not in self._counts.values()}
        _, sizes = self.own.leaves(
            {},
            {},
            {**counts, self.axis: 1},
            rows,
            need_inputs=False,
            need_targets=False,
        )
        return {name: np.array(array) for name, array in state.items()}, sizes

    def of_batch(self, batch: int) -> dict[str, Array]:
        """Some input that tells the batch, and is not read by the state before the first step."""
        if len(self.whole.axes) > 1:
            raise InputError("with two time axes `initial_state` gives the state of a batch")
        read = {node.name for node in self._before.nodes}
        takes = {**self.whole.inputs, **self.whole.targets}
        batched = {name: spec for name, spec in takes.items() if spec.batch}
        if not batched:
            raise InputError(f"`{self.whole.name}` has no input that differs in a batch")
        sizes = Sizes({self.axis: self.whole.steps or 1}, batch, True)
        return {
            name: np.zeros(shape_of(spec, sizes), spec.dtype)
            for name, spec in batched.items()
            if name not in read
        }

    def need_steps(self) -> None:
        """Raises :class:`InputError` where a step alone has not the outputs of all."""
        if self._no_steps is not None:
            raise InputError(_cannot(self.whole.name, self._no_steps))

    def begins_with(self, inputs: Arrays | None) -> bool:
        """Whether there are all inputs that the state before the first step is computed from."""
        slots = {*self.whole.inputs, *self.whole.targets}
        given = {} if inputs is None else mapping("inputs", inputs)
        return slots.intersection(node.name for node in self._before.nodes) <= given.keys()

    @property
    def state(self) -> dict[str, Spec]:
        """The arrays of a state by name."""
        counts = {
            name: Spec(name, "index", (), "int64", (), False) for name in self._counts.values()
        }
        return {**self.own.states, **self.own.held, **counts}

    @cached_property
    def _counts(self) -> dict[str, str]:
        """What a state has of axes whose number of steps no other array of it tells."""
        told = {
            axis
            for spec in (*self.own.states.values(), *self.own.held.values())
            for axis in spec.time
        }
        return {axis: f"{axis}'steps" for axis in self.own.axes if axis not in {self.axis, *told}}

    @cached_property
    def _no_steps(self) -> str | None:
        # With two axes, steps that cannot come one by one are refused from the start.
        return why_no_steps(self.steps, self.axis) if self.start is None else None

    @cached_property
    def _before(self) -> Graph:
        """What the state before the first step is computed from."""
        if self.start is not None:
            return self.start
        names = [self.steps[name].initial for name in delayed(self.steps, self.axis)]
        return needed(self.steps, [name for name in names if name is not None])

    @cached_property
    def _starts_with_all(self) -> bool:
        """Whether the state before the first step is computed from all steps, such as a mean."""
        return any(
            self.axis in node.type.axes or node.options.get("axis") == self.axis
            for node in self._before.nodes
        )

    def _place(self, spec: Spec) -> int:
        """Which dimension the axis is."""
        return spec.time.index(self.axis) if self.axis in spec.time else 0

    def _along(self, inputs: Arrays) -> dict[str, Any]:
        """The inputs that the steps take; targets that they do not need are passed over."""
        found = dict(inputs)
        for name, spec in {**self.whole.inputs, **self.whole.targets}.items():
            if name in found and name not in {**self.own.inputs, **self.own.targets}:
                if self.axis not in spec.time:
                    raise InputError(
                        f"`{name}` does not run along {self.axis}: it is for `initial_state`"
                    )
                del found[name]
        return found

    def _widened(self, name: str, value: Any) -> Any:
        """An array of one step, as one of a sequence of steps."""
        spec = self.whole.inputs.get(name) or self.whole.targets.get(name)
        if spec is None or self.axis not in spec.time:
            return value
        array = as_array(f"input `{name}`", value)
        return np.expand_dims(array, min(self._place(spec), array.ndim))

    def _others(self, what: str, value: Any) -> dict[str, Any]:
        """What is given for the other axes: along this one there is nothing to tell."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            others = [axis for axis in self.whole.axes if axis != self.axis]
            value = dict.fromkeys(others or [self.axis], value)
        if self.axis in value:
            raise InputError(
                f"the state before the first step along {self.axis} has no `{what}` along it"
            )
        return dict(value)

    def _cut(self, name: str, value: Any, spec: Spec, count: int) -> Any:
        """The first steps of an array that runs along the axis."""
        if self.axis not in spec.time:
            return value
        array, place = as_array(f"input `{name}`", value), self._place(spec)
        return array[(slice(None),) * place + (slice(count),)] if array.ndim > place else array

    def _has_no_step(self, array: Any, spec: Spec) -> bool:
        """Whether an array that runs along the axis has nothing there."""
        place = self._place(spec)
        return self.axis in spec.time and array.ndim > place and array.shape[place] == 0


def streaming_of(
    graph: Graph,
    whole: Interface,
    kernel: Callable[[str], Kernel],
    dtype: str,
    axis: str,
    lengths: bool = False,
    constants: Mapping[str, Array] | None = None,
) -> Streaming:
    """The steps of a network along an axis (see :func:`axis_of`).

    ``lengths`` is whether the sequences have lengths along another one.  ``constants`` are
    parameters that the kernels have already.
    """
    constants = constants or {}
    if len(graph.axes) < 2:
        # Without delays the state is empty, and the steps need no kernel of their own.
        names = ("stream" if whole.states else "forward", "")
        return Streaming(axis, whole, whole, None, graph, kernel, names, dtype, constants)
    if lengths and whole.no_lengths is not None:
        raise InputError(f"`{graph.name}` takes no lengths: {whole.no_lengths}")
    found = prepared_stream(graph, axis, lengths)
    own = interface_of(found.steps, dtype, None, axis, whole.free)
    given = {node.name for node in exposed_steps(found.steps, axis).nodes} | {*_lengths_of(graph)}
    # What a loss alone reads along another axis says nothing of the steps.
    read = needed(outputs_only(graph), [name for _, name in graph.outputs])
    whole = replace(whole, same=same_steps(read), known={})
    own = replace(
        own,
        held={name: spec for name, spec in own.held.items() if name in given},
        params={name: spec for name, spec in own.params.items() if name not in constants},
        beside=frozenset(delayed(graph, axis)) - own.states.keys() - own.held.keys(),
    )
    names = (
        stream_entry(graph, "stream", axis, lengths),
        stream_entry(graph, "start", axis, lengths),
    )
    return Streaming(axis, whole, own, found.start, found.steps, kernel, names, dtype, constants)


def start_of_windows(
    graph: Graph,
    whole: Interface,
    own: Interface,
    kernel: Callable[[str], Kernel],
    dtype: str,
    axis: str,
    lengths: bool,
    constants: Mapping[str, Array],
) -> Streaming:
    """What gives the state before the first of some windows along one of several axes.

    There are no single steps; ``own`` is the interface of the windows.
    """
    if lengths and whole.no_lengths is None:
        graph = with_lengths(graph, [each for each in graph.axes if each != axis])
    return Streaming(axis, whole, own, None, graph, kernel, ("", ""), dtype, constants)


def _lengths_of(graph: Graph) -> tuple[str, ...]:
    return tuple(lengths_leaves(graph.axes).values())
