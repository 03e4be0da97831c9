"""Steps of a network on a resident kernel, for arguments of the same shapes and types.

Shapes, kernels and memory are looked up once.  A step compares its arguments with those; where
they differ, :meth:`rollc.network.steps.streaming.Streaming.step` converts them, or raises.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rollc.ir.graph import Graph
from rollc.ir.names import STATE
from rollc.network.arrays import Sizes, Spec, converted, shape_of
from rollc.network.interface import Interface
from rollc.network.noise_draws import Seed, draw_noise, seed_of
from rollc.runtime.resident import Resident
from rollc.support.checks import switch
from rollc.transforms.randomness import NOISE

Array = NDArray[Any]
Results = dict[str, Array]

_FEW = 16  # indices that Python looks at in less time than NumPy


class Slot(NamedTuple):
    """An argument: its shape and type, the bound of an index, and the kernel's array for it.

    That is a view without a batch where the caller has none.  Of an argument that the kernel does
    not read there is none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bound: int | None
    array: Array | None
    spec: Spec


class Stepper:
    """The steps of arguments of one size, for one thread at a time.

    ``interface`` is that of the steps, whose graph is ``steps``, along ``axis``; ``given`` are the
    names of the inputs.  ``counts`` is what a state has of axes that no array tells.
    """

    def __init__(
        self,
        resident: Resident,
        dtype: str,
        steps: Graph,
        axis: str,
        interface: Interface,
        sizes: Sizes,
        given: Iterable[str],
        counts: Mapping[str, int],
    ) -> None:
        self.sizes = sizes
        self.given = frozenset(given)
        self._resident = resident
        self._graph, self._dtype = steps, dtype
        self._noisy = bool(steps.leaves(NOISE))
        self._counts = dict(counts)
        takes = {**interface.inputs, **interface.targets}
        self.inputs = {name: self._slot(takes[name], axis) for name in self.given if name in takes}
        self._states = [self._state(spec) for spec in interface.states.values()]
        self._held = [self._slot(spec) for spec in interface.held.values()]
        self._params = [self._slot(spec) for spec in interface.params.values()]
        results = self._resident.results
        self._outputs = [
            (label, self._shown(results["output", label], spec, axis))
            for label, spec in interface.outputs.items()
        ]
        self._following = [
            (name, self._shown_rows(results["output", STATE + name], spec))
            for name, spec in interface.states.items()
        ]

    def is_for(self, sizes: Sizes, given: Collection[str]) -> bool:
        """Whether it does steps of such sizes, with inputs of such names."""
        return self.sizes == sizes and self.given == frozenset(given)

    # Views -----------------------------------------------------------------------------

    def _slot(self, spec: Spec, axis: str = "") -> Slot:
        leaf = self._resident.leaves.get(spec.name)
        shown = None if leaf is None else self._shown(leaf, spec, axis)
        shape = np.broadcast_to(0, shape_of(spec, self.sizes))
        return Slot(
            spec.name,
            self._shown(shape, spec, axis).shape,
            np.dtype(spec.dtype),
            spec.bound if spec.kind == "index" else None,
            shown,
            spec,
        )

    def _state(self, spec: Spec) -> Slot:
        leaf = self._resident.leaves.get(STATE + spec.name)
        if leaf is None:  # the kernel does not read it
            leaf = np.empty_like(self._resident.results["output", STATE + spec.name])
        shown = self._shown_rows(leaf, spec)
        bound = spec.bound if spec.kind == "index" else None
        return Slot(spec.name, shown.shape, np.dtype(spec.dtype), bound, shown, spec)

    def _shown(self, array: Array, spec: Spec, axis: str = "") -> Array:
        """An array of a kernel's as the caller has it, at the one step along an axis."""
        index: list[Any] = [slice(None)] * array.ndim
        if axis in spec.time:
            index[spec.time.index(axis)] = 0
        if spec.batch and not self.sizes.batched:
            index[len(spec.time)] = 0
        return array[(*index, ...)]

    def _shown_rows(self, array: Array, spec: Spec) -> Array:
        """Rows of a state, the depth first."""
        lead = len(spec.time)
        rows = np.moveaxis(array, lead + int(spec.batch), 0)
        return rows[(slice(None),) * (1 + lead) + (0,)] if self._alone(spec) else rows

    def _alone(self, spec: Spec) -> bool:
        return spec.batch and not self.sizes.batched

    # Steps -----------------------------------------------------------------------------

    def step(
        self,
        params: Mapping[str, Any],
        state: Mapping[str, Any],
        inputs: Mapping[str, Any],
        training: bool,
        seed: Seed,
    ) -> tuple[Results, Results] | None:
        """The outputs of a step and the state after it; None where an argument differs."""
        if not (self.takes_state(state, self._held) and self.takes(inputs)):
            return None
        for slots, arrays in ((self._params, params), (self._held, state)):
            for slot in slots:
                if not self._lends(slot, arrays.get(slot.name)):
                    return None
        self.run(training, seed)
        rows = self.state()
        for slot in self._held:  # the same at every step, but each state is the caller's to change
            rows[slot.name] = np.array(state[slot.name])
        return self.outputs(), rows

    def takes(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the inputs have the shapes and types; if so they are copied."""
        return len(inputs) == len(self.inputs) and _put("input", self.inputs.values(), inputs)

    def begins(self, state: Mapping[str, Any]) -> bool:
        """Whether a state is one of these sizes: the next step begins with a copy of it then."""
        return self.takes_state(state, self._held) and _put("state", self._held, state)

    def takes_state(self, state: Mapping[str, Any], others: Sequence[Slot] = ()) -> bool:
        """Whether a state, with ``others`` in it, has the shapes and types; if so it is copied."""
        if type(state) is not dict:
            return False
        if len(state) != len(self._states) + len(others) + len(self._counts):
            return False
        for name, count in self._counts.items():
            if name not in state or not np.array_equal(state[name], count):
                return False
        return _put("state", self._states, state)

    def _lends(self, slot: Slot, array: Any) -> bool:
        """Whether an array has the shape and type; if so the kernel reads it, or a copy."""
        name, shape, dtype, bound, own, _ = slot
        if type(array) is not np.ndarray or array.shape != shape or array.dtype is not dtype:
            return False
        if not array.flags.c_contiguous or not (bound is None or _is_below(array, bound)):
            return False
        if self._resident.takes(name):
            self._resident.give(name, array)
        elif own is not None:
            own[...] = array
        return True

    def run(self, training: bool, seed: Seed) -> None:
        """One step, of the arguments that have been copied."""
        if self._noisy:
            sizes = self.sizes.axes
            drawn = draw_noise(self._graph, sizes, seed, training, self._dtype)
            for name, array in drawn.items():
                if name in self._resident.leaves:
                    self._resident.leaves[name][...] = array
        elif type(seed) is not int or seed or training is not False:
            seed_of(seed), switch("`training`", training)
        self._resident.run()

    def outputs(self) -> Results:
        """The outputs of the last step; they are the caller's own."""
        return {label: array.copy() for label, array in self._outputs}

    def state(self) -> Results:
        """The state after the last step, without what is held; it is the caller's own."""
        rows = {name: array.copy() for name, array in self._following}
        return rows | {name: np.array(count) for name, count in self._counts.items()}

    def before(self) -> Results:
        """The state that the next step begins with, without what is held."""
        rows = {slot.name: np.array(slot.array) for slot in self._states}
        return rows | {name: np.array(count) for name, count in self._counts.items()}

    def carry(self) -> None:
        """Have the next step begin with the state after the last one."""
        for slot, (_, array) in zip(self._states, self._following, strict=True):
            assert slot.array is not None
            slot.array[...] = array


def _put(sort: str, slots: Iterable[Slot], given: Mapping[str, Any]) -> bool:
    """Whether arrays have the shapes and types of arguments; if so they are copied.

    Real numbers may be of another precision; raises :class:`InputError` where one is too large.
    """
    for name, shape, dtype, bound, own, spec in slots:
        array = given.get(name)
        if type(array) is not np.ndarray or array.shape != shape:
            return False
        if array.dtype is not dtype:
            if spec.kind != "float" or array.dtype.kind != "f":
                return False
            array = converted(f"{sort} `{name}`", array, spec)
        if bound is not None and not _is_below(array, bound):
            return False
        if own is not None:
            own[...] = array
    return True


def _is_below(array: Array, bound: int) -> bool:
    """Whether all indices are from 0 on and below a bound."""
    if array.size > _FEW:
        return bool(array.min() >= 0 and array.max() < bound)
    return all(0 <= index < bound for index in array.ravel().tolist())
