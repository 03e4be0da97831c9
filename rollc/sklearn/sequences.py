"""Sequences as users of scikit-learn have them: tables, arrays and lists, by sequence first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array, validate_data

from rollc.errors import EstimatorError
from rollc.network.arrays import Spec
from rollc.training.data.sequences import side_by_side

Array = NDArray[Any]


@dataclass(frozen=True)
class Steps:
    """Sequences side by side, ``[T, B, F]``, and the steps of each if they differ.

    ``flat`` says that a step came as one number, without a dimension for its features.
    """

    array: Array
    lengths: Array | None = None
    flat: bool = False

    @property
    def count(self) -> int:
        return int(self.array.shape[1])

    @property
    def features(self) -> int:
        return int(self.array.shape[2])

    def as_given(self, values: Array) -> Array | list[Array]:
        """Values ``[T, B, ...]`` of these sequences, by sequence: an array, or a list of arrays."""
        by_sequence = np.moveaxis(values, 0, 1)
        if self.lengths is None:
            return np.ascontiguousarray(by_sequence)
        return [own[:end] for own, end in zip(by_sequence, self.lengths, strict=True)]

    def last(self, values: Array) -> Array:
        """Values ``[T, B, ...]`` at the last step of each sequence."""
        if self.lengths is None:
            return np.asarray(values[-1])
        return np.asarray(values[self.lengths - 1, np.arange(self.count)])

    def flattened(self, values: Array | None = None) -> Array:
        """Values ``[T, B, ...]``, or its own, of all steps of one sequence, then of the next."""
        return np.concatenate(list(self.as_given(self.array if values is None else values)))

    def restored(self, flattened: Array) -> Array:
        """``[T, B]`` of such values; zero behind the end of a sequence."""
        borders = np.cumsum(self.ends)[:-1]
        return side_by_side(np.split(flattened, borders))

    @property
    def ends(self) -> Array:
        """The steps of each sequence."""
        every = np.full(self.count, len(self.array))
        return every if self.lengths is None else self.lengths


def is_list_of_sequences(X: Any) -> bool:
    """Whether it is a list of arrays, and no table."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and len(X) > 0 and np.ndim(X[0]) > 0
    if not isinstance(X, list | tuple) or not len(X):
        return False
    try:
        shapes = {np.shape(each) for each in X}
    except ValueError:  # of uneven lists
        return False
    return min(map(len, shapes)) > 0 and (len(shapes) > 1 or max(map(len, shapes)) > 1)


def read(estimator: Any, X: Any, *, reset: bool) -> Steps:
    """The sequences of ``X``, and ``n_features_in_`` of the estimator, or a check of it."""
    if is_list_of_sequences(X):
        found = listed([numbers(each, estimator, "X", False) for each in X], "X")
    elif isinstance(X, np.ndarray) and X.ndim > 2:
        array = numbers(X, estimator, "X", True)
        found = Steps(np.ascontiguousarray(np.moveaxis(array, 0, 1)))
    else:
        same = reset or getattr(estimator, "_table", False)
        if same:
            table = validate_data(estimator, X, dtype=np.float64, reset=reset)
        else:
            table = check_array(X, dtype=np.float64, estimator=estimator, input_name="X")
        found = Steps(np.ascontiguousarray(table.T)[:, :, None], None, True)
        if reset:
            estimator._table, estimator._features = True, 1
        if same:
            return found
    if reset:
        estimator._table, estimator._features = False, found.features
        estimator.n_features_in_ = found.features
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif found.features != estimator._features:
        name = type(estimator).__name__
        raise EstimatorError(
            f"X has {found.features} features, but {name} is expecting {estimator._features}"
            " features as input"
        )
    return found


def numbers(values: Any, estimator: Any, name: str, whole: bool) -> Array:
    """Finite numbers: of one sequence, ``[T]`` or ``[T, F]``, or of all, ``[n, T, F]``."""
    found = check_array(
        values,
        dtype=np.float64,
        ensure_2d=False,
        allow_nd=whole,
        estimator=estimator,
        input_name=name,
    )
    if found.ndim > 3 or not found.size:
        raise EstimatorError(
            f"{name}: expected [sequences, steps, features], found the shape {list(found.shape)}"
        )
    return np.asarray(found)


def listed(parts: Sequence[Array], name: str) -> Steps:
    """A list of sequences, ``[T]`` or ``[T, F]`` each."""
    first = list(parts[0].shape[1:])
    for place, part in enumerate(parts):
        if list(part.shape[1:]) != first:
            raise EstimatorError(
                f"{name}: expected sequences of the same features, found {first} in the first one"
                f" and {list(part.shape[1:])} in number {place}"
            )
    flat = parts[0].ndim == 1
    ends = np.array([len(part) for part in parts])
    array = side_by_side([part[:, None] if flat else part for part in parts])
    return Steps(array, None if (ends == ends[0]).all() else ends, flat)


def like(steps: Steps, y: Any) -> Steps:
    """What is given for each step of sequences, as they are: in an array or in a list."""
    each = y if isinstance(y, list | tuple) else np.asarray(y)
    found = None
    if np.ndim(each[0] if len(each) else 0):
        found = listed([np.asarray(part) for part in each], "y")
    if found is None or not np.array_equal(found.ends, steps.ends):
        raise EstimatorError(
            "y: the target of the spec is given at each step, so one is expected for each step of"
            f" the {steps.count} sequences in X, in an array [sequences, steps] or in a list"
        )
    return found


def shared_out(steps: Steps, inputs: Sequence[Spec]) -> dict[str, Array]:
    """The features in the order of the inputs that read them."""
    found, start = {}, 0
    for slot in inputs:
        stop = start + prod(slot.shape)
        part = steps.array[:, :, start:stop].reshape(*steps.array.shape[:2], *slot.shape)
        found[slot.name] = part if slot.bound is None else indices(part, slot)
        start = stop
    return found


def indices(array: Array, slot: Spec) -> Array:
    """Numbers as what names one of some things."""
    most = (slot.bound or 1) - 1
    sound = (np.floor(array) == array) & (array >= 0) & (array <= most)
    if not sound.all():
        raise EstimatorError(
            f"X: `{slot.name}` is an index in the spec, so integers from 0 to {most} are expected;"
            f" found {array[~sound].flat[0]:g}"
        )
    return array.astype(np.int64)
