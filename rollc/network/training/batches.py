"""Data in the parts that training reads: batches of sequences, streams and windows.

Arrays are those of :mod:`rollc.network.network`: time first, then the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.arrays import as_array
from rollc.network.network import Network
from rollc.network.noise_draws import Seed, seed_of
from rollc.support.checks import mapping, whole

Array = NDArray[Any]
Lengths = Array | Mapping[str, Array]  # of one time axis, or by axis


@dataclass(frozen=True)
class Batch:
    """Inputs and targets by name, the number of steps of each sequence if they differ, and
    how many sequences these are."""

    arrays: Mapping[str, Array]
    lengths: Lengths | None = None
    size: int = 1


def streams(sequence: Array, count: int) -> Array:
    """A long sequence ``[T, ...]`` cut into ``count`` equal pieces that run side by side:
    ``[T // count, count, ...]``.  What is left over at the end is dropped.

    Read window by window (see :func:`windows`), each stream goes on where it was left.
    """
    sequence, count = as_array("`sequence`", sequence), whole("`count`", count, None)
    total = len(sequence) if sequence.ndim else 0
    steps = total // count if count >= 1 else 0
    if steps < 1:
        raise InputError(f"cannot cut {total} steps into {count} streams")
    pieces = sequence[: steps * count].reshape(count, steps, *sequence.shape[1:])
    return np.ascontiguousarray(pieces.swapaxes(0, 1))


def batches(
    network: Network,
    arrays: Mapping[str, Array],
    size: int | None = None,
    *,
    lengths: Lengths | None = None,
    seed: Seed = 0,
) -> Iterator[Batch]:
    """The data in parts of ``size`` sequences, in random order; all at once without a size.

    An array without a batch dimension is part of every batch.
    """
    random = np.random.default_rng(seed_of(seed))
    size = None if size is None else whole("`size`", size, 1)
    arrays = _arrays(arrays)
    lengths = _own_lengths(lengths)
    slots = {**network.inputs, **network.targets}
    axes = {
        name: len(slot.time)
        for name, slot in slots.items()
        if name in arrays and slot.batch and arrays[name].ndim == len(slot.dimensions())
    }
    counts = {arrays[name].shape[axis] for name, axis in axes.items()}
    if size is None or len(counts) != 1 or size >= min(counts):
        yield Batch(arrays, lengths, max(counts, default=1))
        return
    count = counts.pop()
    every = lengths.values() if isinstance(lengths, Mapping) else [lengths]
    if any(own is not None and own.shape != (count,) for own in every):
        raise InputError(f"`lengths`: expected one for each of {count} sequences")
    order = random.permutation(count)
    for start in range(0, count, size):
        chosen = order[start : start + size]
        part = {
            name: array.take(chosen, axes[name]) if name in axes else array
            for name, array in arrays.items()
        }
        yield Batch(part, _some(lengths, chosen), len(chosen))


def _arrays(arrays: Mapping[str, Any]) -> dict[str, Array]:
    given = mapping("arrays", arrays)
    return {name: as_array(f"`{name}`", array) for name, array in given.items()}


def _own_lengths(lengths: Any) -> Lengths | None:
    if lengths is None:
        return None
    if isinstance(lengths, Mapping):
        return {axis: as_array(f"`lengths` of {axis}", own) for axis, own in lengths.items()}
    return as_array("`lengths`", lengths)


def _some(lengths: Lengths | None, chosen: Array) -> Lengths | None:
    if lengths is None:
        return None
    if isinstance(lengths, Mapping):
        return {axis: own[chosen] for axis, own in lengths.items()}
    return np.asarray(lengths[chosen])


def windows(
    network: Network, arrays: Mapping[str, Array], steps: int
) -> Iterator[dict[str, Array]]:
    """What changes with time in windows of ``steps`` steps, one after the other; the last may
    be shorter.  Static arrays are part of every window."""
    arrays, steps = _arrays(arrays), whole("`steps`", steps, 1)
    slots = {**network.inputs, **network.targets}
    timed = {name for name in arrays if name in slots and slots[name].time}
    total = {len(arrays[name]) if arrays[name].ndim else 0 for name in timed}
    if len(total) != 1 or not all(total):
        raise InputError("windows need inputs or targets over time, all of the same steps")
    for start in range(0, total.pop(), steps):
        yield {
            name: array[start : start + steps] if name in timed else array
            for name, array in arrays.items()
        }
