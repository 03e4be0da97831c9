"""Sequences to learn from, and parts of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.network.network import Network
from rollc.training.batches import Lengths

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
        """The number of steps, with one time axis; None where nothing tells it."""
        slots = {**network.inputs, **network.targets}
        timed = [len(a) for name, a in self.arrays.items() if slots[name].time and a.ndim]
        return max(timed, default=None) if len(network.axes) == 1 else None


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
    axes, slots = data.axes(network), {**network.inputs, **network.targets}

    def part(start: int, stop: int) -> Sequences:
        chosen = np.arange(start, stop)
        if what == "steps":
            arrays = {
                name: a[start:stop] if slots[name].time else a for name, a in data.arrays.items()
            }
            return Sequences(arrays, masked=data.masked)
        arrays = {
            name: a.take(chosen, axes[name]) if name in axes else a
            for name, a in data.arrays.items()
        }
        own = data.lengths
        if isinstance(own, Mapping):
            own = {axis: each[chosen] for axis, each in own.items()}
        own = own if own is None or isinstance(own, dict) else own[chosen]
        return Sequences(arrays, own, data.masked)

    return [part(*pair) for pair in pairwise(borders)], what


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
