"""What an array must be, and whether one that a user gave is that.

Arrays have the time first, then the batch if there is one, then the shape at one step.
What is wrong is an :class:`InputError` with what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rollc.errors import InputError
from rollc.graph.graph import BATCH, Node

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Spec:
    """What an array must be.

    ``shape`` is the shape at one step of one sequence; ``time`` and ``batch`` say whether
    the array has those dimensions in front.  ``bound`` is the number of values that an
    index may take.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    time: bool
    batch: bool
    bound: int | None = None

    def dimensions(self, batched: bool = True) -> tuple[str | int, ...]:
        """The dimensions in words: ``("T", "B", 3)``."""
        lead = [*(["T"] if self.time else []), *(["B"] if self.batch and batched else [])]
        return (*lead, *self.shape)


def spec_of(node: Node, dtype: str) -> Spec:
    kinds = {"float": dtype, "index": "int64", "bool": "bool"}
    return Spec(
        node.name,
        node.type.kind,
        node.type.shape,
        kinds[node.type.kind],
        bool(node.type.time),
        BATCH in node.type.axes,
        node.type.bound,
    )


@dataclass(frozen=True, slots=True)
class Sizes:
    """The number of steps and of sequences that a caller's arrays have."""

    steps: int
    batch: int
    batched: bool  # whether the caller's arrays have the batch dimension


def given_back(array: Array, spec: Spec, sizes: Sizes) -> Array:
    """An array as the caller gave his: without the batch if he had none."""
    if spec.batch and not sizes.batched:
        return array[:, 0] if spec.time else array[0]
    return array


def shape_of(spec: Spec, sizes: Sizes) -> tuple[int, ...]:
    lead = [*([sizes.steps] if spec.time else []), *([sizes.batch] if spec.batch else [])]
    return (*lead, *spec.shape)


def as_array(what: str, value: ArrayLike) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{what}: not an array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what}: expected numbers, found {array.dtype}")
    return array


def fitting(what: str, value: ArrayLike, spec: Spec, sizes: Sizes) -> Array:
    """An array of the shape with time and batch, of the right dtype and range."""
    array = as_array(what, value)
    shape = shape_of(spec, sizes)
    bare = shape
    if spec.batch and not sizes.batched:
        bare = (*shape[: int(spec.time)], *spec.shape)
    if array.shape != bare:
        raise InputError(
            f"{what}: expected {words(spec, sizes.batched)}"
            f" with shape {brackets(bare)}, found {brackets(array.shape)}"
        )
    if spec.kind == "index":
        return _indices(what, array, spec).reshape(shape)
    return np.ascontiguousarray(array, dtype=spec.dtype).reshape(shape)


def _indices(what: str, array: Array, spec: Spec) -> Array:
    if array.dtype.kind not in "iub":
        raise InputError(f"{what}: expected integers, found {array.dtype}")
    if array.size and spec.bound is not None:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= spec.bound:
            wrong = low if low < 0 else high
            raise InputError(f"{what}: expected 0 to {spec.bound - 1}, found {wrong}")
    return np.ascontiguousarray(array, dtype=np.int64)


def fitting_lengths(value: ArrayLike, sizes: Sizes) -> Array:
    """The number of steps of each sequence, 1 to all of them."""
    array = as_array("`lengths`", value)
    expected = (sizes.batch,) if sizes.batched else ()
    if array.dtype.kind not in "iu" or array.shape != expected:
        raise InputError(
            f"`lengths`: expected integers {brackets(expected)},"
            f" found {array.dtype} {brackets(array.shape)}"
        )
    wrong = array[(array < 1) | (array > sizes.steps)]
    if wrong.size:
        raise InputError(f"`lengths`: expected 1 to {sizes.steps}, found {wrong.flat[0]}")
    return array.astype(np.int64).reshape(sizes.batch)


def without_padding(array: Array, spec: Spec, lengths: Array, sizes: Sizes) -> Array:
    """An array with indices of the sequences themselves where it has padding.

    The kernel does that with numbers; an index it must never see out of its range.
    """
    if spec.kind != "index" or not spec.time:
        return array
    inside = np.arange(sizes.steps)[:, None] < lengths
    inside = inside if sizes.batched else inside[:, 0]
    inside = inside.reshape(inside.shape + (1,) * (array.ndim - inside.ndim))
    return np.where(inside, array, array[:1])


def fitting_state(what: str, value: ArrayLike, spec: Spec, sizes: Sizes) -> Array:
    """Rows of a state as a kernel takes them, the batch first."""
    array = as_array(what, value)
    depth, *own = spec.shape
    batch = [sizes.batch] if spec.batch and sizes.batched else []
    expected = (depth, *batch, *own)
    if array.shape != expected:
        raise InputError(f"{what}: expected {brackets(expected)}, found {brackets(array.shape)}")
    if spec.kind == "index":
        array = _indices(what, array, spec)
    if spec.batch:
        array = array if sizes.batched else array[:, None]
        array = np.moveaxis(array, 1, 0)
    return np.ascontiguousarray(array, dtype=spec.dtype)


def words(spec: Spec, batched: bool = True) -> str:
    dimensions = ", ".join(map(str, spec.dimensions(batched)))
    kind = f"index below {spec.bound}" if spec.kind == "index" else spec.kind
    return f"{kind} [{dimensions}]"


def brackets(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def unknown(sort: str, name: object, known: Mapping[str, object]) -> str:
    names = ", ".join(f"`{other}`" for other in known) or "none"
    return f"unknown {sort} `{name}`: expected {names}"
