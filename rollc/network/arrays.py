"""What an array must be, and whether one that a user gave is that.

Arrays have the time axes first, in alphabetical order, then the batch if there is one, then
the shape at one step.  What is wrong is an :class:`InputError` with what was expected and
what was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollc.errors import InputError
from rollc.ir.graph import BATCH, Node
from rollc.ir.names import STATE
from rollc.network import hints

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Spec:
    """What an array must be.

    Attributes
    ----------
    name : str
        The spec's.
    kind : str
        ``float``, ``complex``, ``index`` or ``bool``.
    shape : tuple of int
        That at one step of one sequence.
    dtype : str
        NumPy's name.
    time : tuple of str
        The time axes that the array has in front.
    batch : bool
        Whether the batch comes after them.
    bound : int or None
        The number of values that an index may take.
    frozen : bool
        Whether it is a parameter without a gradient.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    time: tuple[str, ...]
    batch: bool
    bound: int | None = None
    frozen: bool = False

    @property
    def differentiable(self) -> bool:
        """Whether it has a gradient, if it is one of a parameter, an input or a state."""
        return self.kind in ("float", "complex") and not self.frozen

    def dimensions(self, batched: bool = True) -> tuple[str | int, ...]:
        """The dimensions in words: ``("T", "B", 3)``; that of the axis ``s`` is ``S``.

        Parameters
        ----------
        batched : bool
            Whether to name that of the batch.

        Returns
        -------
        tuple of str and int
        """
        times = [axis.upper() for axis in self.time]
        return (*times, *(["B"] if self.batch and batched else []), *self.shape)


def spec_of(node: Node, dtype: str) -> Spec:
    kinds = {"float": dtype, "index": "int64", "bool": "bool"}
    return Spec(
        node.name,
        node.type.kind,
        node.type.shape,
        kinds[node.type.kind],
        node.type.time,
        BATCH in node.type.axes,
        node.type.bound,
        bool(node.options.get("frozen")),
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """The number of steps along each axis and of sequences that a caller's arrays have."""

    steps: Mapping[str, int]
    batch: int
    batched: bool  # whether the caller's arrays have the batch dimension

    @property
    def axes(self) -> dict[str, int]:
        """The length of every axis, the batch with them."""
        return {**self.steps, BATCH: self.batch}

    @property
    def empty(self) -> bool:
        """Whether there are no steps or no sequences at all."""
        return not (self.batch and all(self.steps.values()))

    @property
    def without_steps(self) -> frozenset[str]:
        """The time axes along which there are no steps."""
        return frozenset(axis for axis, count in self.steps.items() if not count)


def given_back(array: Array, spec: Spec, sizes: Sizes) -> Array:
    """An array as the caller gave his: without the batch if he had none."""
    if spec.batch and not sizes.batched:
        return np.asarray(array.take(0, axis=len(spec.time)))
    return array


def rows_shape(spec: Spec, batch: int | None) -> tuple[int, ...]:
    """The shape of the rows of a state along the only axis: the depth first."""
    depth, *own = spec.shape
    return (depth, *([batch] if spec.batch and batch is not None else []), *own)


def shape_of(spec: Spec, sizes: Sizes, batched: bool = True) -> tuple[int, ...]:
    times = [sizes.steps[axis] for axis in spec.time]
    return (*times, *([sizes.batch] if spec.batch and batched else []), *spec.shape)


def as_array(what: str, value: ArrayLike) -> Array:
    """Anything that NumPy takes for an array of numbers or truth values."""
    if type(value) is not np.ndarray and _has_mask(value):
        raise InputError(
            f"{what}: expected an array without a mask, found a masked one; fill it, or say by"
            " `lengths` where sequences end"
        )
    try:
        array = np.asarray(value)
    except Exception as error:  # of a foreign array it may be any
        raise InputError(f"{what}: not an array ({error})") from None
    if array.dtype.kind == "c":
        raise InputError(
            f"{what}: expected numbers, found {array.dtype}; a spec declares what is complex:"
            " `z: complex[3]`"
        )
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what}: expected numbers, found {array.dtype}")
    return array


def _has_mask(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_mask, value))
    return isinstance(value, np.ma.MaskedArray)


def fitting(
    what: str,
    value: ArrayLike,
    spec: Spec,
    sizes: Sizes,
    lengths: Mapping[str, Array] | None = None,
    dims: Iterable[tuple[str, int]] = (),
) -> Array:
    """An array of the shape with time and batch, of the right dtype and range.

    With ``lengths`` by axis, an index may be anything in the padding.  ``dims`` are the sizes that
    its shape is made of.
    """
    array = as_array(what, value)
    expected = shape_of(spec, sizes, sizes.batched)
    if array.shape != expected:
        free = [None] * (len(expected) - len(spec.shape))
        hint = (
            hints.in_order(array.shape, [*free, *spec.shape] if free else expected)
            or hints.of_classes(array.shape, expected, spec.bound)
            or hints.of_sizes(dims, expected, array.shape)
        )
        raise InputError(
            f"{what}: expected {words(spec, sizes.batched)}"
            f" with shape {brackets(expected)}, found {brackets(array.shape)}{hint}"
        )
    own, shape = lengths or {}, shape_of(spec, sizes)
    if array.shape != shape:
        array = array.reshape(shape)
    if own and spec.batch:
        array = _without_empty(array, spec, own)
    if spec.kind == "index":
        return _indices(what, _without_padding(array, spec, own), spec).reshape(shape)
    if array.dtype == spec.dtype and array.flags.c_contiguous:
        return array
    return converted(what, array, spec, own)


def converted(
    what: str, array: Array, spec: Spec, lengths: Mapping[str, Array] | None = None
) -> Array:
    """Numbers in the precision of a network; raises where one would become infinite by that."""
    with np.errstate(over="ignore", invalid="ignore"):
        # NumPy makes one of no dimensions a vector.
        found = np.ascontiguousarray(array, dtype=spec.dtype).reshape(array.shape)
    narrower = array.dtype.kind == "f" and array.dtype.itemsize > found.dtype.itemsize
    if narrower and np.isinf(found).any():
        beyond = np.isinf(found) & np.isfinite(array) & _alive(array.shape, spec, lengths or {})
        if beyond.any():
            raise InputError(
                f"{what}: {array[beyond].flat[0]:g} is too large for {spec.dtype};"
                " build the network with dtype float64"
                if spec.dtype == "float32"
                else f"{what}: {array[beyond].flat[0]!s} is too large for {spec.dtype}"
            )
    return found


def _indices(what: str, array: Array, spec: Spec) -> Array:
    if array.size and array.dtype.kind not in "iub":  # an empty list is an array of numbers
        hint = hints.of_integers(array)
        raise InputError(f"{what}: expected integers, found {array.dtype}{hint}")
    if array.size and spec.bound is not None:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= spec.bound:
            wrong = low if low < 0 else high
            hint = hints.of_range(low, high, spec.bound)
            raise InputError(f"{what}: expected 0 to {spec.bound - 1}, found {wrong}{hint}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _alive(shape: Sequence[int], spec: Spec, lengths: Mapping[str, Array]) -> Array:
    """Where an array of that shape holds steps of the sequences, and no padding."""
    inside = np.ones((1,) * len(shape), np.bool_)
    for place, axis in enumerate(spec.time):
        if axis in lengths and spec.batch:
            own = [1] * len(shape)
            own[place], own[len(spec.time)] = shape[place], len(lengths[axis])
            steps = np.arange(shape[place])[:, None] < lengths[axis]
            inside = inside & steps.reshape(own)
    return np.broadcast_to(inside, shape)


def _without_padding(array: Array, spec: Spec, lengths: Mapping[str, Array]) -> Array:
    """Indices with those of the sequences themselves where there is padding.

    The kernel does that with numbers; an index it must never see out of its range.
    """
    for place, axis in enumerate(spec.time):
        if axis in lengths and spec.batch and array.size:
            alive = _alive(array.shape, spec, {axis: lengths[axis]})
            array = np.where(alive, array, array.take([0], axis=place))
    return array


def _without_empty(array: Array, spec: Spec, lengths: Mapping[str, Array]) -> Array:
    """The array with the steps of another sequence where a sequence has none.

    They are computed with and not seen.  A padding is computed with the first step of its own
    sequence, so that there is no infinite slope that it does not have; here there is no such.
    """
    own = [lengths[axis] for axis in spec.time if axis in lengths]
    empty = np.any([each == 0 for each in own], axis=0) if own else np.zeros(0, np.bool_)
    if not (empty.any() and array.size):
        return array
    array, place = array.copy(), len(spec.time)
    sequences = np.moveaxis(array, place, 0)
    others = np.flatnonzero(~empty)
    # Where there is no other either, any number does, and of an index the first.
    sequences[empty] = sequences[others[0]] if others.size else int(spec.kind != "index")
    return array


def fitting_lengths(what: str, value: ArrayLike, steps: int, sizes: Sizes) -> Array:
    """The number of steps of each sequence along one axis, none to all of them."""
    array = as_array(what, value)
    expected = (sizes.batch,) if sizes.batched else ()
    if (array.size and array.dtype.kind not in "iu") or array.shape != expected:
        raise InputError(
            f"{what}: expected integers {brackets(expected)},"
            f" found {array.dtype} {brackets(array.shape)}"
        )
    wrong = array[(array < 0) | (array > steps)]
    if wrong.size:
        raise InputError(f"{what}: expected 0 to {steps}, found {wrong.flat[0]}")
    return array.astype(np.int64).reshape(sizes.batch)


def fitting_state(what: str, value: ArrayLike, spec: Spec, sizes: Sizes) -> Array:
    """Rows of a state as a kernel takes them: the depth after steps and batch."""
    array = as_array(what, value)
    depth, *own = spec.shape
    lead = [sizes.steps[axis] for axis in spec.time]
    batch = [sizes.batch] if spec.batch and sizes.batched else []
    expected = (depth, *lead, *batch, *own)
    if array.shape != expected:
        alone = batch and array.shape == (depth, *lead, *own)
        why = ", without a batch: `initial_state` takes any input that tells it" if alone else ""
        found = brackets(array.shape)
        raise InputError(f"{what}: expected {brackets(expected)}, found {found}{why}")
    if spec.kind == "index":
        array = _indices(what, array, spec)
    if spec.batch and not sizes.batched:
        array = np.expand_dims(array, 1 + len(lead))
    array = np.moveaxis(array, 0, len(lead) + int(spec.batch))
    return converted(what, array, spec)


def state_given_back(array: Array, spec: Spec, sizes: Sizes) -> Array:
    """Rows of a state as the caller has them: the depth first."""
    lead = len(spec.time)
    moved = np.moveaxis(array, lead + int(spec.batch), 0)
    if spec.batch and not sizes.batched:
        moved = moved.take(0, axis=1 + lead)
    return np.ascontiguousarray(moved)


def words(spec: Spec, batched: bool = True) -> str:
    dimensions = ", ".join(map(str, spec.dimensions(batched)))
    kind = f"index below {spec.bound}" if spec.kind == "index" else spec.kind
    return f"{kind} [{dimensions}]"


def brackets(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def unknown(sort: str, name: object, known: Mapping[str, object]) -> str:
    names = ", ".join(f"`{other}`" for other in known) or "none"
    return f"unknown {sort} `{name}`: expected {names}"


def outputs_and_state(
    results: Mapping[tuple[str, str], Array],
    outputs: Mapping[str, Spec],
    states: Mapping[str, Spec],
    sizes: Sizes,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What a kernel gives, as the caller has it: the outputs, and the rows of the state."""
    found: dict[str, Array] = {}
    rows: dict[str, Array] = {}
    for (sort, label), array in results.items():
        if sort == "output" and label in outputs:
            found[label] = given_back(array, outputs[label], sizes)
        elif sort == "output":
            name = label.removeprefix(STATE)
            rows[name] = state_given_back(array, states[name], sizes)
    return found, rows
