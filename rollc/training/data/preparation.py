"""What is done to data before a network reads them, learned from the training part alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import StoreError
from rollc.network.network import Network
from rollc.training.data.sequences import Sequences
from rollc.training.data.symbols import Symbols

Array = NDArray[Any]


@dataclass(frozen=True)
class Scale:
    """Numbers as multiples of their spread from their mean, by feature."""

    mean: Array
    spread: Array

    def to(self, array: Array) -> Array:
        return (array - self.mean) / self.spread

    def back(self, array: Array) -> Array:
        return array * self.spread + self.mean


@dataclass(frozen=True)
class Preparation:
    """The scales of inputs and targets by name, the symbols that a text is made of, and the words
    of a table that stand for the classes 0, 1, … of an input or target."""

    scales: Mapping[str, Scale] = field(default_factory=dict)
    symbols: Symbols = field(default_factory=lambda: Symbols(()))
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __call__(self, data: Sequences) -> Sequences:
        """The data as the network reads them: standardised, and 0 where a cell is masked."""
        arrays = {
            name: self.scales[name].to(array) if name in self.scales else array
            for name, array in data.arrays.items()
        }
        for name in data.masked:
            arrays[name] = np.nan_to_num(arrays[name], nan=0.0)
        return Sequences(arrays, data.lengths)

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        scales = {
            name: {"mean": scale.mean.tolist(), "spread": scale.spread.tolist()}
            for name, scale in self.scales.items()
        }
        return {
            "scales": scales,
            "symbols": list(self.symbols.names),
            "words": self.symbols.words,
            "classes": {name: list(words) for name, words in self.classes.items()},
        }


def preparation_of(told: Mapping[str, Any], network: Network, file: str) -> Preparation:
    """What a run has kept.  Raises :class:`StoreError` where it does not fit the network."""
    slots = {**network.inputs, **network.targets}
    try:
        scales = {
            name: Scale(*(np.array(each[part], np.float64) for part in ("mean", "spread")))
            for name, each in told["scales"].items()
        }
        symbols = tuple(told["symbols"])
        sound = all(isinstance(each, str) and each for each in symbols) and all(
            name in slots
            and scale.mean.shape == scale.spread.shape == slots[name].shape
            and bool(np.isfinite([scale.mean, scale.spread]).all() and (scale.spread > 0).all())
            for name, scale in scales.items()
        )
        words = bool(told["words"])
        classes = {name: tuple(own) for name, own in told.get("classes", {}).items()}
        sound = sound and all(
            name in slots and all(isinstance(each, str) and each for each in own)
            for name, own in classes.items()
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise StoreError(f"`{file}` is damaged: it is not of this network")
    return Preparation(scales, Symbols(symbols, words), classes)


def standardised(network: Network, data: Sequences, but: Iterable[str] = ()) -> dict[str, Scale]:
    """The mean and the spread of each number of the inputs and targets, over steps and sequences.

    What is missing or behind the end of a sequence does not count; a number that never changes
    is only moved.
    """
    slots = {**network.inputs, **network.targets}
    axes, found = data.axes(network), {}
    for name, array in data.arrays.items():
        slot = slots[name]
        if slot.kind != "float" or name in set(but):
            continue
        numbers = np.asarray(array, np.float64)
        over = tuple(range(numbers.ndim - len(slot.shape)))
        if not over:  # one number for all: nothing to learn from
            continue
        own = data.lengths
        if isinstance(own, Mapping):
            own = own.get(slot.time[0]) if slot.time else None
        if own is not None and slot.time and name in axes:
            behind = np.arange(len(numbers))[:, None] >= own
            numbers = numbers.copy()
            numbers[behind] = np.nan
        with np.errstate(invalid="ignore"):
            count = np.maximum((~np.isnan(numbers)).sum(axis=over), 1)
            mean = np.nansum(numbers, axis=over) / count
            spread = np.sqrt(np.nansum((numbers - mean) ** 2, axis=over) / count)
        sound = np.isfinite(mean) & np.isfinite(spread)
        large = np.maximum(np.abs(mean), 1e-300) * 1e-12  # else it is rounding alone
        spread = np.where(sound & (spread > large), spread, 1.0)
        found[name] = Scale(np.where(sound, mean, 0.0), spread)
    return found
