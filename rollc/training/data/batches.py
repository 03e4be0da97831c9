"""Data in the parts that training reads: batches of sequences, streams and windows.

Arrays are those of :mod:`rollc.network.network`: time first, then the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.arrays import as_array
from rollc.network.network import Network
from rollc.support.checks import mapping, whole

Array = NDArray[Any]
_ORDER = 0  # what random numbers are drawn for, beside the seed

Lengths = Array | Mapping[str, Array]  # of one time axis, or by axis


@dataclass(frozen=True)
class Batch:
    """Inputs and targets by name, the number of steps of each sequence if they differ, and
    how many sequences these are."""

    arrays: Mapping[str, Array]
    lengths: Lengths | None = None
    size: int = 1


class Batches:
    """Sequences in batches of ``size``, all in one without a size; ``len()`` is their number.

    ``batches.of(epoch)`` are those of an epoch, made one after the other as they are asked for:
    in an order of its own, drawn from ``seed`` and the epoch alone, so that a run that is taken up
    again reads what it would have read; in the order of the data without ``shuffle``.  Sequences
    ``by_length`` are of almost the same length in a batch.  An array without a batch dimension is
    part of every batch.

    Raises :class:`InputError` for arrays that do not have one number of sequences.
    """

    def __init__(
        self,
        network: Network,
        arrays: Mapping[str, Any],
        size: int | None = None,
        *,
        lengths: Any = None,
        seed: int = 0,
        shuffle: bool = True,
        by_length: bool = False,
    ) -> None:
        self.arrays = _arrays(arrays)
        self.lengths = _own_lengths(lengths)
        self.seed, self.shuffle = whole("`seed`", seed), shuffle
        slots = {**network.inputs, **network.targets}
        for name in self.arrays:
            if name not in slots:
                raise InputError(f"`{name!s:.40}` is no input or target of `{network.name}`")
        self._axes = {
            name: len(slot.time)
            for name, slot in slots.items()
            if name in self.arrays
            and slot.batch
            and self.arrays[name].ndim == len(slot.dimensions())
        }
        counts = {name: self.arrays[name].shape[axis] for name, axis in self._axes.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} in `{name}`" for name, count in counts.items())
            raise InputError(f"expected one number of sequences, found {found}")
        self.sequences = next(iter(counts.values()), 1)
        size = self.sequences if size is None else whole("`size`", size, 1)
        self.size = max(min(size, self.sequences), 1)
        self._sorted: Array | None = None
        self._order: tuple[int, Array] = -1, np.arange(0)  # of the epoch that was read last
        every = self.lengths.values() if isinstance(self.lengths, Mapping) else [self.lengths]
        for own in every:
            if own is not None and own.shape != (self.sequences,):
                raise InputError(f"`lengths`: expected one for each of {self.sequences} sequences")
            if own is not None and by_length:
                self._sorted = np.argsort(own, kind="stable")

    def __len__(self) -> int:
        return max(-(-self.sequences // self.size), 1)

    def at(self, epoch: int, number: int) -> Batch:
        """The batch of that number of an epoch, from 0 on."""
        if len(self) == 1:
            return Batch(self.arrays, self.lengths, self.sequences)
        chosen = self._chosen(epoch, number)
        part = {
            name: array.take(chosen, self._axes[name]) if name in self._axes else array
            for name, array in self.arrays.items()
        }
        return Batch(part, _some(self.lengths, chosen), len(chosen))

    def _chosen(self, epoch: int, number: int) -> Array:
        """The sequences of a batch."""
        start, stop = number * self.size, (number + 1) * self.size
        if not self.shuffle:
            order = np.arange(self.sequences) if self._sorted is None else self._sorted
            return order[start:stop]
        if self._order[0] != epoch:
            # Alike ones stay together where they are sorted: then the batches change places.
            count = self.sequences if self._sorted is None else len(self)
            random = np.random.default_rng((self.seed, _ORDER, epoch))
            self._order = epoch, random.permutation(count)
        order = self._order[1]
        if self._sorted is None:
            return order[start:stop]
        start = int(order[number]) * self.size
        return self._sorted[start : start + self.size]


def streams(sequence: Array, count: int) -> Array:
    """A long sequence ``[T, ...]`` cut into ``count`` equal pieces that run side by side:
    ``[T // count, count, ...]``.  What is left over at the end is dropped.

    Read window by window, each stream goes on where it was left.
    """
    sequence, count = as_array("`sequence`", sequence), whole("`count`", count, None)
    total = len(sequence) if sequence.ndim else 0
    steps = total // count if count >= 1 else 0
    if steps < 1:
        raise InputError(f"cannot cut {total} steps into {count} streams")
    pieces = sequence[: steps * count].reshape(count, steps, *sequence.shape[1:])
    return np.ascontiguousarray(pieces.swapaxes(0, 1))


class Windows:
    """What changes with time in windows of ``steps`` steps, one after the other; the last may be
    shorter.  Static arrays are part of every window; ``len()`` is their number."""

    def __init__(self, network: Network, arrays: Mapping[str, Any], steps: int) -> None:
        self.arrays, self.steps = _arrays(arrays), whole("`window`", steps, 1)
        slots = {**network.inputs, **network.targets}
        self._timed = {name for name in self.arrays if name in slots and slots[name].time}
        total = {len(self.arrays[name]) if self.arrays[name].ndim else 0 for name in self._timed}
        if len(total) != 1 or not all(total):
            raise InputError("windows need inputs or targets over time, all of the same steps")
        (self.total,) = total

    def __len__(self) -> int:
        return -(-self.total // self.steps)

    def at(self, number: int) -> dict[str, Array]:
        """The window of that number, from 0 on."""
        part = slice(number * self.steps, (number + 1) * self.steps)
        return {
            name: array[part] if name in self._timed else array
            for name, array in self.arrays.items()
        }


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
