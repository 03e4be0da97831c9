"""Sequences to learn from, and parts of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.arrays import as_array
from rollc.network.network import Network
from rollc.support.checks import mapping, whole
from rollc.training.data.batches import Lengths, streams

Array = NDArray[Any]


@dataclass(frozen=True)
class Sequences:
    """Inputs and targets by name, time first, and the number of steps of each sequence if they
    differ.  ``masked`` are those whose missing numbers are NaN until they are prepared."""

    arrays: Mapping[str, Array]
    lengths: Lengths | None = None
    masked: frozenset[str] = frozenset()

    def described(self, network: Network) -> str:
        """What there is, for people: ``x [500, 8], y [500, 8]: 8 sequences of 500 steps``."""
        shapes = ", ".join(f"{name} {list(a.shape)}" for name, a in self.arrays.items())
        return f"{shapes}: {counted(self.count(network), 'sequence')}{self._of(network)}"

    def _of(self, network: Network) -> str:
        if self.lengths is not None:
            every = self.lengths.values() if isinstance(self.lengths, Mapping) else [self.lengths]
            ends = [f"{own.min()} to {own.max()}" for own in every if own.size]
            return f" of {' and '.join(ends)} steps"
        steps = self.steps(network)
        return "" if steps is None else f" of {counted(steps, 'step')}"

    def axes(self, network: Network) -> dict[str, int]:
        """Where the batch dimension of each array is that has one."""
        slots = {**network.inputs, **network.targets}
        return {
            name: len(slots[name].time)
            for name, array in self.arrays.items()
            if name in slots and slots[name].batch and array.ndim == len(slots[name].dimensions())
        }

    def count(self, network: Network) -> int:
        """The number of sequences."""
        axes = self.axes(network)
        return max((self.arrays[name].shape[axis] for name, axis in axes.items()), default=1)

    def steps(self, network: Network) -> int | None:
        """The number of steps, with one time axis; None where nothing tells it.

        Raises :class:`InputError` where arrays tell different ones.
        """
        if len(network.axes) != 1:
            return None
        slots = {**network.inputs, **network.targets}
        timed = {name: a for name, a in self.arrays.items() if name in slots and slots[name].time}
        counts = {name: len(a) if a.ndim else 0 for name, a in timed.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} in `{name}`" for name, count in counts.items())
            raise InputError(f"expected one number of steps, found {found}")
        return next(iter(counts.values()), None)


def split(
    network: Network, data: Sequences, shares: Sequence[float]
) -> tuple[list[Sequences], str]:
    """The data in parts, in order and never shuffled: and of what, ``steps`` or ``sequences``.

    A single sequence is cut along time; of several, whole sequences go into each part.  Raises
    :class:`InputError` where a part would be empty.
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"`shares`: expected positive numbers whose sum is 1, found {shares}")
    count, steps = data.count(network), data.steps(network)
    what, total = ("sequences", count) if count > 1 else ("steps", steps or 0)
    borders = [0, *(round(total * float(part)) for part in np.cumsum(shares))]
    if any(stop <= start for start, stop in pairwise(borders)):
        raise InputError(f"cannot split {counted(total, what[:-1])} into parts of {list(shares)}")
    slots = {**network.inputs, **network.targets}

    def part(start: int, stop: int) -> Sequences:
        if what == "sequences":
            return chosen(network, data, np.arange(start, stop))
        arrays = {name: a[start:stop] if slots[name].time else a for name, a in data.arrays.items()}
        return Sequences(arrays, masked=data.masked)

    return [part(*pair) for pair in pairwise(borders)], what


def chosen(network: Network, data: Sequences, which: Array) -> Sequences:
    """Some of the sequences, by their numbers; what has no batch dimension is part of all."""
    axes, own = data.axes(network), data.lengths
    arrays = {
        name: a.take(which, axes[name]) if name in axes else a for name, a in data.arrays.items()
    }
    if isinstance(own, Mapping):
        own = {axis: each[which] for axis, each in own.items()}
    elif own is not None:
        own = own[which]
    return Sequences(arrays, own, data.masked)


def cut(
    network: Network, data: Sequences, window: int, stride: int | None = None
) -> tuple[Sequences, int]:
    """Pieces of ``window`` steps, each a sequence of its own, that begin every ``stride`` steps:
    side by side without a stride, else overlapping.  And the steps that are in none of them.

    Pieces of a single sequence share its memory.  Raises :class:`InputError` where no sequence has
    so many steps.
    """
    window, stride = whole("`window`", window, 1), whole("`stride`", stride or window, 1)
    if len(network.axes) != 1:
        raise InputError("windows need one time axis")
    slots, steps = {**network.inputs, **network.targets}, data.steps(network)
    if steps is None:
        raise InputError("windows need inputs or targets over time")
    axes, count = data.axes(network), data.count(network)
    own = data.lengths
    if isinstance(own, Mapping):
        own = own.get(network.axes[0])
    ends = [steps] * count if own is None else [int(end) for end in own]
    pieces = [max(0, (end - window) // stride + 1) for end in ends]
    if not sum(pieces):
        raise InputError(
            f"no sequence has a window of {counted(window, 'step')}: {max(ends)} at most"
        )
    arrays = {}
    for name, array in data.arrays.items():
        slot = slots[name]
        if slot.time:
            parts = [array[:end, at] if name in axes else array for at, end in enumerate(ends)]
            arrays[name] = _joined(
                [_windows(part, window, stride) for part in parts if len(part) >= window]
            )
        else:
            arrays[name] = array.repeat(pieces, axis=0) if name in axes else array
    covered = [(n - 1) * stride + window if n and stride < window else n * window for n in pieces]
    dropped = sum(max(0, end - each) for end, each in zip(ends, covered, strict=True))
    return Sequences(arrays, masked=data.masked), dropped


def _windows(array: Array, window: int, stride: int) -> Array:
    """``[window, pieces, ...]`` of a sequence ``[T, ...]``, in its memory."""
    found = np.lib.stride_tricks.sliding_window_view(array, window, axis=0)[::stride]
    return np.moveaxis(found, -1, 0)


def _joined(parts: Sequence[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def in_streams(network: Network, data: Sequences, count: int) -> tuple[Sequences, int]:
    """One long sequence as ``count`` equal ones side by side, and the steps that are left over."""
    steps = data.steps(network)
    if data.count(network) != 1 or steps is None:
        raise InputError("streams are cut from one sequence")
    slots = {**network.inputs, **network.targets}
    arrays = {}
    for name, array in data.arrays.items():
        slot = slots[name]
        if slot.time:
            one = array[:, 0] if name in data.axes(network) else array
            arrays[name] = streams(one, count)
        else:
            arrays[name] = array
    return Sequences(arrays, masked=data.masked), steps % count


def padded(sequences: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Array], Array]:
    """Sequences of different lengths as one batch.

    Parameters
    ----------
    sequences : mapping of str to list of array
        By the name of an input or target, an array ``[steps, ...]`` for each sequence.

    Returns
    -------
    arrays : dict of str to ndarray
        ``[T, B, ...]``, with zeros behind each end.
    lengths : ndarray [B]
        The steps of each sequence.

    Raises
    ------
    InputError
        Where two arrays of one sequence have different steps.

    Examples
    --------
    >>> import rollc
    >>> arrays, lengths = rollc.padded({"x": [[1.0, 2.0], [3.0, 4.0, 5.0]]})
    >>> arrays["x"].T.tolist(), lengths.tolist()
    ([[1.0, 2.0, 0.0], [3.0, 4.0, 5.0]], [2, 3])
    """
    found, ends = {}, None
    for name, given in mapping("sequences", sequences, "lists of arrays by name").items():
        if not isinstance(given, list | tuple) or not given:
            raise InputError(f"`{name}`: expected a list with an array for each sequence")
        parts = [as_array(f"`{name}`", each) for each in given]
        if any(part.ndim < 1 or part.shape[1:] != parts[0].shape[1:] for part in parts):
            raise InputError(f"`{name}`: expected arrays [steps, ...] that are alike but for steps")
        steps = [len(part) for part in parts]
        if ends is not None and steps != ends:
            raise InputError(f"`{name}` has sequences of other steps than the arrays before it")
        ends = steps
        found[name] = side_by_side(parts)
    return found, np.array(ends or [], np.int64)


def side_by_side(parts: Sequence[Array]) -> Array:
    """Sequences ``[T, ...]`` as ``[T, B, ...]``, with zeros behind each end."""
    longest = max(map(len, parts), default=0)
    dtype = np.result_type(*parts)
    found = np.zeros((longest, len(parts), *parts[0].shape[1:]), dtype)
    for at, part in enumerate(parts):
        found[: len(part), at] = part
    return found


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
