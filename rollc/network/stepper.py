"""One step of a network, again and again, for arrays that are alike.

What a step needs to know of shapes, kernels and memory is found once.  What is left of the checks
is whether an array is like those before: where it is not, nothing is done here, and
:meth:`rollc.network.streaming.Streaming.step` says what is wrong or makes it right.
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
    """What an array of a caller's is like, and its place in a kernel, as he has it.

    ``bound`` is that of an index.  An array that no kernel reads has no place.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bound: int | None
    place: Array | None
    spec: Spec


class Stepper:
    """The steps of arrays of one size; it is one thread's at a time.

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

    # Where things are ------------------------------------------------------------------

    def _slot(self, spec: Spec, axis: str = "") -> Slot:
        place = self._resident.places.get(spec.name)
        shown = None if place is None else self._shown(place, spec, axis)
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
        place = self._resident.places[STATE + spec.name]
        shown = self._shown_rows(place, spec)
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
        """The outputs of a step and the state after it; None where an array is another sort."""
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
        """Whether inputs are as before; they are at their places then."""
        return len(inputs) == len(self.inputs) and _put("input", self.inputs.values(), inputs)

    def begins(self, state: Mapping[str, Any]) -> bool:
        """Whether a state is one of these sizes: the next step begins with a copy of it then."""
        return self.takes_state(state, self._held) and _put("state", self._held, state)

    def takes_state(self, state: Mapping[str, Any], others: Sequence[Slot] = ()) -> bool:
        """Whether a state, with ``others`` beside it, is as before; it is at its place then."""
        if type(state) is not dict:
            return False
        if len(state) != len(self._states) + len(others) + len(self._counts):
            return False
        for name, count in self._counts.items():
            if name not in state or not np.array_equal(state[name], count):
                return False
        return _put("state", self._states, state)

    def _lends(self, slot: Slot, array: Any) -> bool:
        """Whether an array is as before, and can be read where it lies; it will be then."""
        name, shape, dtype, bound, place, _ = slot
        if type(array) is not np.ndarray or array.shape != shape or array.dtype is not dtype:
            return False
        if not array.flags.c_contiguous or not (bound is None or _is_below(array, bound)):
            return False
        if self._resident.takes(name):
            self._resident.give(name, array)
        elif place is not None:
            place[...] = array
        return True

    def run(self, training: bool, seed: Seed) -> None:
        """One step, from what is at its place."""
        if self._noisy:
            sizes = self.sizes.axes
            drawn = draw_noise(self._graph, sizes, seed, training, self._dtype)
            for name, array in drawn.items():
                if name in self._resident.places:
                    self._resident.places[name][...] = array
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
        rows = {slot.name: np.array(slot.place) for slot in self._states}
        return rows | {name: np.array(count) for name, count in self._counts.items()}

    def carry(self) -> None:
        """Have the next step begin with the state after the last one."""
        for slot, (_, array) in zip(self._states, self._following, strict=True):
            assert slot.place is not None
            slot.place[...] = array


def _put(sort: str, slots: Iterable[Slot], given: Mapping[str, Any]) -> bool:
    """Whether arrays are what they are to be; they are copied to their places then.

    Real numbers may be of another precision; raises :class:`InputError` where one is too large.
    """
    for name, shape, dtype, bound, place, spec in slots:
        array = given.get(name)
        if type(array) is not np.ndarray or array.shape != shape:
            return False
        if array.dtype is not dtype:
            if spec.kind != "float" or array.dtype.kind != "f":
                return False
            array = converted(f"{sort} `{name}`", array, spec)
        if bound is not None and not _is_below(array, bound):
            return False
        if place is not None:
            place[...] = array
    return True


def _is_below(array: Array, bound: int) -> bool:
    """Whether all indices are from 0 on and below a bound."""
    if array.size > _FEW:
        return bool(array.min() >= 0 and array.max() < bound)
    return all(0 <= index < bound for index in array.ravel().tolist())
